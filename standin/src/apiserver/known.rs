//! What there is to ask for, as kubectl asks before anything else; and that there are no Pods.

use serde_json::{Value, json};

use crate::http::{Asked, Response};

/// The answer to a request, if it is about what there is.
pub(crate) fn answer(asked: &Asked) -> Option<Response> {
    let path = asked.path.split('?').next().unwrap_or_default();
    let body = match (asked.verb.as_str(), path) {
        ("GET", "/api") => json!({"kind": "APIVersions", "versions": ["v1"]}),
        ("GET", "/apis") => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        ("GET", "/api/v1") => resources(),
        // So nothing keeps a node from being drained.
        ("GET", "/api/v1/pods") => {
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})
        }
        _ => return None,
    };
    Some(Response::json(200, body.to_string()))
}

fn resources() -> Value {
    let resource = |name: &str, kind: &str, namespaced: bool, verbs: &[&str]| {
        json!({
            "name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs,
        })
    };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
            resource("nodes", "Node", false, &["create", "delete", "get", "list", "patch", "update"]),
            resource("pods", "Pod", true, &["list"]),
            resource("secrets", "Secret", true, &["create", "delete", "get", "list", "update"]),
        ],
    })
}
