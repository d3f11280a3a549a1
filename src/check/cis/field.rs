//! What the checks ask of a configuration file: a field, or the flag that beats it.

use serde_json::Value;

use super::judge::{Judged, Reported};
use super::{Requirement, Status, View};
use crate::flags;
use crate::node_config::{self, Configuration};
use crate::version::{Minor, Version};

/// A field's flag, which beats it on a kubelet's command line; kube-proxy passes over its flags
/// where it has a file.
const FLAGS: [(&str, &str); 13] = [
    ("authentication.anonymous.enabled", "anonymous-auth"),
    ("authentication.x509.clientCAFile", "client-ca-file"),
    ("authorization.mode", "authorization-mode"),
    ("eventRecordQPS", "event-qps"),
    ("makeIPTablesUtilChains", "make-iptables-util-chains"),
    ("podPidsLimit", "pod-max-pids"),
    ("readOnlyPort", "read-only-port"),
    ("rotateCertificates", "rotate-certificates"),
    ("seccompDefault", "seccomp-default"),
    (
        "streamingConnectionIdleTimeout",
        "streaming-connection-idle-timeout",
    ),
    ("tlsCertFile", "tls-cert-file"),
    ("tlsCipherSuites", "tls-cipher-suites"),
    ("tlsPrivateKeyFile", "tls-private-key-file"),
];

/// Fields that mean nothing before a line of Kubernetes, although they are there: a gate is off.
const GATED: [(&str, Minor); 1] = [("seccompDefault", Minor::new(1, 25))];

/// How a wish about fields turns out on a node.
pub(super) fn of_field(view: &View<'_>, of: Configuration, wish: Requirement) -> Judged {
    let program = of.program();
    let flags = match view.programs.get(program) {
        None => {
            let why = format!("no {program} is to run here");
            return (Status::NotApplicable, why);
        }
        Some(Err(why)) => return (Status::Manual, format!("its flags are not known: {why}")),
        Some(Ok(flags)) => flags,
    };
    let version = view.inventory.version(program, view.node);
    let mut names = wish.names().iter();
    if let Some(name) = names.find(|name| !means_something(of, version, name)) {
        let why = format!("`{name}` means nothing to {program} {version}");
        return (Status::NotApplicable, why);
    }
    let file = match view.configurations.get(program) {
        Some(Ok(file)) => file,
        Some(Err(why)) => return (Status::Manual, format!("its fields are not known: {why}")),
        None => {
            return (
                Status::Manual,
                "look into the file of `--config`".to_owned(),
            );
        }
    };
    let path = format!("/etc/k8s/{program}/{program}.yaml");
    if flags.get("config") != Some(&path) {
        return (
            Status::Manual,
            "look into the file of `--config`".to_owned(),
        );
    }
    let values = wish.names().iter().map(|name| {
        let flag = flag(of, name).and_then(|flag| Some((flag, flags.get(flag)?)));
        let gate = name.strip_prefix("featureGates.").and_then(|gate| {
            let set = flags::gate(flags.get("feature-gates")?, gate)?;
            Some(("feature-gates", set.to_string()))
        });
        let flag = flag.map(|(flag, value)| (flag, value.clone())).or(gate);
        (*name, flag, at(file, name))
    });
    let values: Vec<_> = values.collect();
    let of_name = |name: &str| values.iter().find(|(it, ..)| *it == name);
    let given = |name: &str| {
        let (_, flag, field) = of_name(name)?;
        let flag = flag.as_ref().map(|(_, value)| value.as_str());
        flag.or(field.as_deref())
    };
    let said = |name: &str| match of_name(name) {
        Some((_, Some((flag, value)), _)) => Reported {
            label: format!("`--{flag}`"),
            whole: Some(format!("`--{flag}={value}`")),
        },
        Some((_, None, field)) => Reported {
            label: format!("`{name}`"),
            whole: field.as_ref().map(|value| format!("`{name}: {value}`")),
        },
        None => Reported::default(),
    };
    wish.judge(given, said)
}

fn means_something(of: Configuration, version: Version, name: &str) -> bool {
    let is_gated = GATED
        .iter()
        .any(|(field, since)| *field == name && version.minor() < *since);
    // A gate is no field of its own.
    let field = if name.starts_with("featureGates.") {
        "featureGates"
    } else {
        name
    };
    node_config::has(of, version, field) && !is_gated
}

fn flag(of: Configuration, field: &str) -> Option<&'static str> {
    let mut rows = FLAGS.iter().filter(|_| of == Configuration::Kubelet);
    Some(rows.find(|(name, _)| *name == field)?.1)
}

/// The value of a field, as a flag would have it.
fn at(file: &Value, path: &str) -> Option<String> {
    let mut names = path.split('.');
    let value = names.try_fold(file, |value, name| value.get(name))?;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Null => None,
        Value::Array(values) => Some(values.iter().map(text).collect::<Vec<_>>().join(",")),
        value => Some(text(value)),
    }
}
