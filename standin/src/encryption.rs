//! `--encryption-provider-config`: refused for what kube-apiserver refuses it for.

mod keyring;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kinstall::version::Version;
use serde_json::{Map, Value};

pub(crate) use self::keyring::Keyring;
use crate::{arguments::is_from, manifest};

/// The old spelling is still registered in every release.
const SPELLINGS: [(&str, &str); 2] = [
    ("apiserver.config.k8s.io/v1", "EncryptionConfiguration"),
    ("v1", "EncryptionConfig"),
];

/// Judges the file's text.
pub(crate) fn check(text: &[u8], version: Version) -> Result<(), String> {
    let value = manifest::parse(text)?;
    let (api, kind) = manifest::kind(&value);
    if !SPELLINGS.contains(&(api, kind)) {
        return Err(format!(
            "no kind {kind:?} is registered for version {api:?} in scheme"
        ));
    }
    if is_from(version, 31) {
        manifest::only(&value, &["apiVersion", "kind", "resources"], "")?;
    }
    let resources = value["resources"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if resources.is_empty() {
        return Err("resources: Required value: at least one resource is required".into());
    }
    for (index, entry) in resources.iter().enumerate() {
        let at = format!("resources[{index}]");
        if is_from(version, 31) {
            manifest::only(entry, &["resources", "providers"], &format!("{at}."))?;
        }
        if entry["resources"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!(
                "{at}.resources: Required value: at least one resource is required"
            ));
        }
        let providers = entry["providers"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if providers.is_empty() {
            return Err(format!(
                "{at}.providers: Required value: at least one provider is required"
            ));
        }
        for (index, provider) in providers.iter().enumerate() {
            check_provider(provider, &format!("{at}.providers[{index}]"))?;
        }
    }
    Ok(())
}

fn check_provider(provider: &Value, at: &str) -> Result<(), String> {
    let empty = Map::new();
    let mut found = provider.as_object().unwrap_or(&empty).iter();
    let Some((name, settings)) = found.next() else {
        return Err(format!(
            "{at}: provider does not contain any of the expected providers: \
             KMS, AESGCM, AESCBC, Secretbox, Identity"
        ));
    };
    if found.next().is_some() {
        return Err(format!(
            "{at}: Invalid value: more than one provider specified in a single element, \
             should split into different list elements"
        ));
    }
    let sizes: &[usize] = match name.as_str() {
        "identity" | "kms" => return Ok(()),
        "aescbc" | "aesgcm" => &[16, 24, 32],
        "secretbox" => &[32],
        _ => {
            return Err(format!(
                "strict decoding error: unknown field \"{at}.{name}\""
            ));
        }
    };
    let keys = settings["keys"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if keys.is_empty() {
        return Err(format!(
            "{at}.{name}.keys: Required value: at least one key is required"
        ));
    }
    for (index, key) in keys.iter().enumerate() {
        check_key(key, sizes, &format!("{at}.{name}.keys[{index}]"))?;
    }
    Ok(())
}

/// The secret itself is never said.
fn check_key(key: &Value, sizes: &[usize], at: &str) -> Result<(), String> {
    if key["name"].as_str().is_none_or(str::is_empty) {
        return Err(format!(
            "{at}.name: Required value: name is a mandatory field for a key"
        ));
    }
    let secret = key["secret"].as_str().unwrap_or_default();
    if secret.is_empty() {
        return Err(format!(
            "{at}.secret: Required value: secret is a mandatory field for a key"
        ));
    }
    let invalid = |reason: &str| format!("{at}.secret: Invalid value: \"REDACTED\": {reason}");
    let secret = STANDARD
        .decode(secret)
        .map_err(|_| invalid("secrets must be base64 encoded"))?;
    if sizes.contains(&secret.len()) {
        return Ok(());
    }
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    let (length, sizes) = (secret.len(), sizes.join(" "));
    Err(invalid(&format!(
        "secret is not of the expected length, got {length}, expected one of [{sizes}]"
    )))
}
