//! What the fields of a kubeconfig are to kubectl (`k8s.io/client-go/tools/clientcmd/api/v1`), which
//! refuses the whole file for one that is something else. Fields that it does not know it passes over.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Problem;
use crate::yaml::Shape;
use crate::yaml::Shape::{Bool, Bytes, List, Map, Table, Text};

const KUBECONFIG: Shape = Table(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("current-context", Text),
    (
        "preferences",
        Table(&[("colors", Bool), ("extensions", EXTENSIONS)]),
    ),
    ("extensions", EXTENSIONS),
    (
        "clusters",
        List(&Table(&[("name", Text), ("cluster", CLUSTER)])),
    ),
    ("users", List(&Table(&[("name", Text), ("user", USER)]))),
    (
        "contexts",
        List(&Table(&[("name", Text), ("context", CONTEXT)])),
    ),
]);

const EXTENSIONS: Shape = List(&Table(&[("name", Text)]));

const CLUSTER: Shape = Table(&[
    ("server", Text),
    ("tls-server-name", Text),
    ("insecure-skip-tls-verify", Bool),
    ("certificate-authority", Text),
    ("certificate-authority-data", Bytes),
    ("proxy-url", Text),
    ("disable-compression", Bool),
    ("extensions", EXTENSIONS),
]);

const USER: Shape = Table(&[
    ("client-certificate", Text),
    ("client-certificate-data", Bytes),
    ("client-key", Text),
    ("client-key-data", Bytes),
    ("token", Text),
    ("tokenFile", Text),
    ("as", Text),
    ("as-uid", Text),
    ("as-groups", List(&Text)),
    ("as-user-extra", Map(&List(&Text))),
    ("username", Text),
    ("password", Text),
    (
        "auth-provider",
        Table(&[("name", Text), ("config", Map(&Text))]),
    ),
    ("exec", EXEC),
    ("extensions", EXTENSIONS),
]);

const EXEC: Shape = Table(&[
    ("command", Text),
    ("args", List(&Text)),
    ("env", List(&Table(&[("name", Text), ("value", Text)]))),
    ("apiVersion", Text),
    ("installHint", Text),
    ("provideClusterInfo", Bool),
    ("interactiveMode", Text),
]);

const CONTEXT: Shape = Table(&[
    ("cluster", Text),
    ("user", Text),
    ("namespace", Text),
    ("extensions", EXTENSIONS),
]);

/// Checks that kubectl would read it.
pub(super) fn check(kubeconfig: &Value) -> Result<(), Problem> {
    if kubeconfig.is_null() {
        return Ok(());
    }
    if !kubeconfig.is_object() {
        return Err(Problem::NotAKubeconfig("it is no table"));
    }
    let other = |key: &str, own: &str| {
        kubeconfig[key]
            .as_str()
            .is_some_and(|word| !word.is_empty() && word != own)
    };
    if other("kind", "Config") || other("apiVersion", "v1") {
        return Err(Problem::NotAKubeconfig("it is not `Config` of `v1`"));
    }
    KUBECONFIG.check(kubeconfig)?;
    for list in ["clusters", "users", "contexts"] {
        let mut names = BTreeSet::new();
        for entry in kubeconfig[list].as_array().into_iter().flatten() {
            let name = entry["name"].as_str().unwrap_or_default();
            if !names.insert(name) {
                let name = name.to_owned();
                return Err(Problem::Twice { list, name });
            }
        }
    }
    Ok(())
}
