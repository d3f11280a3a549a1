//! Promises about etcd's users, on real nodes with a real etcd.

use crate::bed::{Bed, NODES, PUSH};
use crate::lab::Lab;

const ADMIN: &str = "/etc/etcd/certs/healthcheck/etcd-healthcheck-client";
const APISERVER: &str = "/etc/k8s/kube-apiserver/certs/etcd/kube-apiserver";

/// What etcdctl says with a certificate.
fn ask(bed: &Bed, node: &str, stem: &str, words: &str) -> String {
    let line = format!(
        "ETCDCTL_API=3 /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 \
         --cacert=/etc/etcd/certs/rootCA.pem --cert={stem}.pem --key={stem}.key {words} 2>&1"
    );
    bed.try_on(node, &line).stdout
}

/// Where nothing is missing, whom etcd knows is told with everything else.
fn rerun(bed: &Bed, lab: &Lab) {
    let before = bed.calls();
    lab.run(PUSH)
        .exits(0)
        .never_says("etcd has now")
        .says("nothing to do");
    lab.run(["plan", "inventory.toml"])
        .exits(0)
        .never_says("etcd would get");
    let due = before.map(|(connections, sessions)| (connections + 2, sessions + 2));
    assert_eq!(bed.calls(), due, "each run is one session a node");
}

#[test]
fn etcd_keeps_each_user_to_its_prefix() {
    let Some(mut bed) = Bed::take("etcd_keeps_each_user_to_its_prefix") else {
        return;
    };
    let lab = bed.fresh();
    let access =
        "[etcd]\nauth = true\nuser = \"kube-apiserver-{node}\"\nprefix = \"/k8s\"\n\n[ssh]";
    lab.edit("[ssh]", access);
    lab.run(PUSH)
        .exits(0)
        .says("etcd has now: user kube-apiserver-node3")
        .says("etcd has now: authentication");
    rerun(&bed, &lab);
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("all healthy");
    for node in NODES {
        let name = ask(&bed, node, APISERVER, "put /k8s/a b");
        assert!(name.starts_with("OK"), "{name}");
        assert!(ask(&bed, node, APISERVER, "get /k8s/a").contains("/k8s/a\nb"));
    }
    for words in [
        "put /elsewhere x",
        "get /registry/x",
        "get / --prefix",
        "user list",
        "put /k8s0 x",
    ] {
        let refused = ask(&bed, "node1", APISERVER, words);
        assert!(refused.contains("permission denied"), "{words}: {refused}");
    }
    assert!(ask(&bed, "node1", APISERVER, "put compact_rev_key 1").starts_with("OK"));
    // etcd's own peer has a certificate that it trusts, and is no user.
    let peer = "/etc/etcd/certs/server/node1";
    let refused = ask(&bed, "node1", peer, "get /k8s/a");
    assert!(!refused.contains("/k8s/a\nb"), "{refused}");
    assert!(
        refused.contains("permission denied") || refused.contains("user"),
        "{refused}"
    );
    assert!(ask(&bed, "node1", ADMIN, "put /elsewhere x").starts_with("OK"));
    // What was taken away comes back, a user before the kube-apiserver that is it; nothing else is
    // touched.
    ask(&bed, "node1", ADMIN, "user delete kube-apiserver-node2");
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .says("etcd would get: user kube-apiserver-node2");
    let again = lab
        .run(PUSH)
        .exits(0)
        .says("etcd has now: role k8s of user kube-apiserver-node2");
    let again = again.never_says("authentication").never_says("user root");
    println!("putting a user back took {:.1} s", again.seconds);
    // Nobody is led away from what is stored, or to a door that is shut.
    lab.edit("prefix = \"/k8s\"", "prefix = \"/other\"");
    let empty =
        "what the cluster holds lies below `/k8s` in etcd, and what is asked for says `/other`";
    lab.run(PUSH).exits(1).says(empty);
    lab.edit("prefix = \"/other\"", "prefix = \"/k8s\"");
    let with = "auth = true\nuser = \"kube-apiserver-{node}\"\n";
    lab.edit(with, "auth = false\n");
    let shut = "etcd asks who its clients are, and does not know `kube-apiserver-etcd-client`";
    lab.run(PUSH).exits(1).says(shut);
    lab.edit("auth = false\n", with);
    lab.run(PUSH).exits(0).says("nothing to do");
    // Certificates are renewed and etcd restarted with authentication on.
    lab.run([
        "certs",
        "renew",
        "inventory.toml",
        "etcd-server",
        "apiserver-etcd-client",
    ])
    .exits(0);
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("all healthy");
    let path = bed.upgrade(&lab, "kube-apiserver");
    let snapshot = lab
        .run(PUSH)
        .exits(0)
        .says("snapshot of etcd: ")
        .says("digest verified");
    assert!(
        path.exists() && lab.path("backups").read_dir().unwrap().count() == 1,
        "{snapshot}"
    );
    println!("the snapshot came with authentication on");
}
