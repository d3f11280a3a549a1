//! What is made in the API to prove something by, and where it is.

use serde_json::{Value, json};

use super::NAMESPACE;

/// Whose namespace it is, and since when: one that says nothing of the kind is somebody else's.
pub(super) const MADE_BY: &str = "kinstall/verify";
/// The port that the Pods serve.
pub(super) const PORT: u16 = 8080;
/// The Pods' label, and the one that each has for itself.
const APP: &str = "kinstall-verify/pod";
const WORKER: &str = "kinstall-verify/worker";
/// The Service of all Pods.
const ALL: &str = "all";
/// The Secret, and the account that a token is made of.
pub(super) const SECRET: &str = "word";
const ACCOUNT: &str = "pods";
pub(super) const ACCOUNT_USER: &str = "system:serviceaccount:kinstall-verify:pods";
/// What the Pods come from.
pub(super) const PODS: &str = "pods";
pub(super) const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";

/// The namespace.
pub(super) fn namespace_path() -> String {
    format!("{NAMESPACES}/{NAMESPACE}")
}

/// Something in it: `pods`, `secrets/word`.
pub(super) fn path(rest: &str) -> String {
    format!("{NAMESPACES}/{NAMESPACE}/{rest}")
}

pub(super) fn daemon_sets() -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets")
}

pub(super) fn namespace(maker: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "annotations": { MADE_BY: maker } },
    })
}

pub(super) fn account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT },
        "automountServiceAccountToken": false,
    })
}

pub(super) fn secret(word: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET },
        "stringData": { "word": word },
    })
}

/// Where a token of the account is asked for.
pub(super) fn tokens() -> String {
    path(&format!("serviceaccounts/{ACCOUNT}/token"))
}

pub(super) fn token_request() -> Value {
    json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} })
}

pub(super) fn token_review(token: &str) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token },
    })
}

/// A Pod on each of these nodes, whatever their taints; as harmless as Pods come, so that every
/// policy for Pods lets it in.
pub(super) fn pods<'a>(image: &str, workers: impl Iterator<Item = &'a str>) -> Value {
    // A field of a Node takes one value, and terms are alternatives.
    let terms = workers.map(|name| {
        json!({ "matchFields": [
            { "key": "metadata.name", "operator": "In", "values": [name] },
        ] })
    });
    let terms: Vec<Value> = terms.collect();
    let nodes = json!({ "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": terms,
    } });
    let labels = json!({ APP: "true" });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": PODS },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "serviceAccountName": ACCOUNT,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{ "operator": "Exists" }],
                    "affinity": { "nodeAffinity": nodes },
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "serve",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["netexec", format!("--http-port={PORT}")],
                        "ports": [{ "containerPort": PORT }],
                        "readinessProbe": {
                            "httpGet": { "path": "/healthz", "port": PORT }, "periodSeconds": 1,
                        },
                        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": { "drop": ["ALL"] },
                        },
                    }],
                },
            },
        },
    })
}

/// What gives the Pod of a worker a label of its own, by the worker's number.
pub(super) fn label(number: usize) -> Value {
    json!({ "metadata": { "labels": { WORKER: number.to_string() } } })
}

/// The Service of the Pod with that label.
pub(super) fn service_of_one(number: usize) -> Value {
    let selector = json!({ WORKER: number.to_string() });
    service(&format!("worker-{number}"), "ClusterIP", &selector)
}

/// The Service of all Pods, with a port on each node.
pub(super) fn service_of_all() -> Value {
    service(ALL, "NodePort", &json!({ APP: "true" }))
}

fn service(name: &str, kind: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": {
            "type": kind, "selector": selector,
            "ports": [{ "port": 80, "targetPort": PORT, "protocol": "TCP" }],
        },
    })
}

/// Has a Pod make a request over HTTP: to a host, its port and a path there.
pub(super) fn dial(pod: &str, host: &str, port: u16, request: &str) -> String {
    path(&format!(
        "pods/{pod}:{PORT}/proxy/dial?host={host}&port={port}&protocol=http&request={request}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_for_each_of_the_nodes_and_no_other() {
        let pods = pods("x/y:1", ["a", "b"].into_iter());
        let spec = &pods["spec"]["template"]["spec"];
        let required =
            &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let terms = required["nodeSelectorTerms"].as_array().unwrap();
        let names = terms.iter().map(|it| &it["matchFields"][0]["values"]);
        assert_eq!(names.collect::<Vec<_>>(), [&json!(["a"]), &json!(["b"])]);
        assert_eq!(spec["containers"][0]["image"], "x/y:1");
        assert_eq!(
            pods["spec"]["selector"]["matchLabels"],
            service_of_all()["spec"]["selector"]
        );
        assert_eq!(
            label(3)["metadata"]["labels"],
            service_of_one(3)["spec"]["selector"]
        );
    }

    #[test]
    fn a_pod_is_asked_by_the_api() {
        assert_eq!(
            dial("pods-x1", "10.32.0.1", 443, "hostname"),
            "/api/v1/namespaces/kinstall-verify/pods/pods-x1:8080/proxy/dial\
             ?host=10.32.0.1&port=443&protocol=http&request=hostname"
        );
    }
}
