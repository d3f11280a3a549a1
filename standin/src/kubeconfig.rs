//! A kubeconfig: the server it names, whom it trusts and as whom it speaks.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{client::Endpoint, files, manifest};

/// Reads the kubeconfig of a flag, and prepares to talk to its server.
pub(crate) fn endpoint(path: &str) -> Result<Endpoint, String> {
    let text = files::read(path).map_err(|error| error.replacen("open ", "stat ", 1))?;
    let wrong = |reason: String| format!("error loading config file {path:?}: {reason}");
    let config = manifest::parse(&text).map_err(wrong)?;
    let kind = manifest::kind(&config);
    if kind != ("v1", "Config") {
        let reason = format!(
            "no kind {:?} is registered for version {:?}",
            kind.1, kind.0
        );
        return Err(wrong(reason));
    }
    let invalid = |reason: &str| format!("invalid configuration: {reason}");
    let current = config["current-context"].as_str().unwrap_or_default();
    let context = named(&config, "contexts", current, "context").ok_or_else(|| {
        invalid(&format!(
            "context was not found for specified context: {current}"
        ))
    })?;
    let name = context["cluster"].as_str().unwrap_or_default();
    let cluster = named(&config, "clusters", name, "cluster")
        .ok_or_else(|| invalid(&format!("cluster {name:?} does not exist")))?;
    let name = context["user"].as_str().unwrap_or_default();
    let user = named(&config, "users", name, "user")
        .ok_or_else(|| invalid(&format!("user {name:?} does not exist")))?;

    let data = |value: &Value, key: &str| content(value, key, path);
    let server = cluster["server"].as_str().unwrap_or_default();
    let authority = data(cluster, "certificate-authority")?
        .ok_or_else(|| invalid("the cluster has no certificate-authority"))?;
    let certificate = data(user, "client-certificate")?;
    let key = data(user, "client-key")?;
    let pair = certificate
        .zip(key)
        .ok_or_else(|| invalid("the user has no client certificate"))?;
    let pair = files::pair(&pair.0, &pair.1)?;
    let roots = files::authorities(&authority)
        .map_err(|error| format!("unable to load root certificates: {error}"))?;
    let expected = cluster["tls-server-name"].as_str();
    Endpoint::new(server, Some(roots), Some(pair), expected)
}

fn named<'a>(config: &'a Value, list: &str, name: &str, what: &str) -> Option<&'a Value> {
    config[list]
        .as_array()?
        .iter()
        .find(|one| one["name"] == name)
        .map(|one| &one[what])
}

/// What is embedded as `<key>-data`, or else what the file `<key>` holds, beside the kubeconfig.
fn content(value: &Value, key: &str, kubeconfig: &str) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = value[&format!("{key}-data")].as_str() {
        let decoded = STANDARD.decode(data);
        return decoded
            .map(Some)
            .map_err(|_| format!("illegal base64 data in {key}-data"));
    }
    let Some(file) = value[key].as_str() else {
        return Ok(None);
    };
    let base = Path::new(kubeconfig).parent().unwrap_or(Path::new("/"));
    files::read(&base.join(file).to_string_lossy()).map(Some)
}
