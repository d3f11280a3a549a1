//! Promises of `kinstall verify`: it proves what works, finds what does not, and leaves nothing behind.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::bed::Bed;
use crate::lab::Lab;
use crate::servers::kubectl;

const VERIFY: [&str; 5] = [
    "verify",
    "inventory.toml",
    "--image",
    "kinstall.test/serve:1",
    "--json",
];
/// What is there to prove in a cluster of one node with everything and two workers, without DNS.
const PROVEN: [&str; 15] = [
    "api-service",
    "apiserver",
    "cleanup",
    "encryption",
    "exec",
    "hairpin",
    "kubelet-anonymous",
    "logs",
    "namespace",
    "node",
    "node-port",
    "pod",
    "pod-to-pod",
    "port-forward",
    "secret",
];

/// The names of what ended like that, and where.
fn ended<'a>(told: &'a Value, outcome: &str) -> BTreeSet<(&'a str, &'a str)> {
    let checks = told["checks"].as_array().unwrap().iter();
    let those = checks.filter(|it| it["outcome"] == outcome);
    those
        .map(|it| {
            let node = it["node"].as_str().unwrap_or_default();
            (it["check"].as_str().unwrap(), node)
        })
        .collect()
}

/// Of three nodes that work, where `node1` is all of the control plane.
#[track_caller]
pub(crate) fn proves_a_cluster(lab: &Lab) {
    let told = lab.run(VERIFY).exits(0).json();
    let proven = ended(&told, "proven");
    for name in PROVEN.iter().chain(&["token"]) {
        assert!(proven.iter().any(|(it, _)| it == name), "{name}: {told:#}");
    }
    for node in ["node1", "node2", "node3"] {
        assert!(proven.contains(&("hairpin", node)), "{told:#}");
    }
    let dns = BTreeSet::from([("dns", "")]);
    assert_eq!(ended(&told, "not-checked"), dns, "{told:#}");
    let left = kubectl(lab, "node1", &["get", "namespaces", "-o", "name"]);
    assert!(!left.contains("kinstall-verify"), "{left}");
}

/// One whose Services lead nowhere on a node; and somebody else's namespace stays.
#[track_caller]
pub(crate) fn finds_what_is_broken(bed: &Bed, lab: &Lab) {
    bed.on("node3", "systemctl stop kube-proxy; iptables -t nat -F");
    let told = lab.run(VERIFY).exits(3).json();
    bed.on("node3", "systemctl start kube-proxy");
    let failed = ended(&told, "failed");
    let broken = ["api-service", "hairpin", "node-port"].map(|name| (name, "node3"));
    assert_eq!(failed, BTreeSet::from(broken), "{told:#}");
    let checks = told["checks"].as_array().unwrap().iter();
    let mut helps = checks.filter(|it| it["outcome"] == "failed");
    assert!(helps.all(|it| it["help"].as_str().unwrap().contains("kube-proxy")));

    kubectl(lab, "node1", &["create", "namespace", "kinstall-verify"]);
    let told = lab.run(VERIFY).exits(3).json();
    let refused = BTreeSet::from([("namespace", "")]);
    assert_eq!(ended(&told, "failed"), refused, "{told:#}");
    let why = told.to_string();
    assert!(why.contains("that kinstall did not make"), "{why}");
    kubectl(lab, "node1", &["delete", "namespace", "kinstall-verify"]);
}

#[test]
fn a_host_outside_is_a_name_and_maybe_a_port() {
    let lab = Lab::empty();
    let line = [
        "verify",
        "inventory.toml",
        "--outside",
        "http://example.org/",
    ];
    let said = "not a name or IPv4 address with or without a port";
    lab.run(line).exits(2).says(said);
}
