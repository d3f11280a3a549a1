//! Promises about etcd data that lie on a node before a push: nobody else's are taken for the
//! cluster's own, no cluster is split, and the cluster's own are taken over.

mod in_the_way;

use std::process::Command;

use fs_err as fs;

use crate::bed::{Bed, ETCDCTL, NODES, PUSH};
use crate::lab::Lab;

const PLAN: [&str; 2] = ["plan", "inventory.toml"];
const UNINSTALL: [&str; 3] = ["uninstall", "inventory.toml", "--yes"];
const KEPT: &str = "/var/lib/kinstall/kept.json";

/// Has a directory push with the keys of another.
fn share_keys(from: &Lab, to: &Lab) {
    let _ = fs::remove_dir_all(to.path("pki"));
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from.path("pki")).arg(to.path("pki"));
    assert!(copy.status().unwrap().success());
}

/// Plan and push both refuse in these words, and the node is as before.
#[track_caller]
fn refuses(bed: &Bed, lab: &Lab, more: &[&str], words: &[&str]) {
    let state = "ls /var/lib/kinstall; systemctl is-active etcd; find /var/lib/etcd -type f | sort";
    let before = (bed.holds("node1"), bed.try_on("node1", state).stdout);
    for command in [&PLAN[..], &PUSH[..]] {
        let output = lab.run([command, more].concat()).exits(1);
        words
            .iter()
            .fold(output, |output, words| output.says(words));
    }
    let after = (bed.holds("node1"), bed.try_on("node1", state).stdout);
    assert_eq!(before, after);
}

#[test]
fn leftover_data_are_refused_or_taken_over() {
    let Some(mut bed) = Bed::take("leftover_data_are_refused_or_taken_over") else {
        return;
    };
    drop(bed.fresh());
    let one = bed.lab_named("data-one", &["node1"]);
    one.run(PUSH).exits(0);
    bed.on("node1", &format!("{ETCDCTL} put /kept kept"));
    let status = bed.on("node1", &format!("{ETCDCTL} endpoint status -w json"));
    let (_, cluster) = status.split_once("\"cluster_id\":").unwrap();
    let cluster: u64 = cluster.split(',').next().unwrap().parse().unwrap();
    let kept = |bed: &Bed| bed.on("node1", &format!("{ETCDCTL} get --print-value-only /kept"));

    // A key that is gone from a node of which another one is on record.
    let encryption = "/etc/k8s/kube-apiserver/encryption-config.yaml";
    let other = bed.lab_named("data-other", &["node1"]);
    other.run(["fetch", "inventory.toml"]).exits(0);
    bed.on("node1", &format!("mv {encryption} /root/away"));
    let holds = format!("node1: `{encryption}` holds another key than the one in `pki/`");
    other.run(PUSH).exits(1).says(&holds);
    bed.on("node1", &format!("mv /root/away {encryption}"));

    // Data stay where they are, with word of whose they are.
    one.run(UNINSTALL)
        .exits(0)
        .prints("data stay: /var/lib/etcd");
    // The path of the first one may be broken over two lines.
    let keys = [
        "the etcd data in `/var/lib/etcd` were written with another ",
        "another `/etc/k8s/shared/service-account.key` than the one in `pki/`",
        "`kinstall uninstall --data`",
        "put the `pki/`",
    ];
    refuses(&bed, &other, &[], &keys);
    refuses(&bed, &other, &["--adopt-data"], &keys);

    // One of three has them.
    let three = bed.lab_named("data-three", &NODES);
    three.run(["fetch", "inventory.toml"]).exits(0);
    refuses(&bed, &three, &[], &keys);
    share_keys(&one, &three);
    let partial = "node1 has the data of an etcd cluster and node2, node3 have none";
    refuses(&bed, &three, &[], &[partial, "begin a second one"]);
    assert_eq!(bed.on("node2", "ls /etc/etcd 2>/dev/null || :"), "");

    // The same keys and the same name take the cluster over.
    one.run(PUSH).exits(0);
    assert_eq!(kept(&bed), "kept");
    bed.on("node1", &format!("test ! -e {KEPT}"));

    // Without word of whose they are they are nobody's, until somebody says so.
    one.run(UNINSTALL).exits(0);
    bed.on("node1", &format!("rm {KEPT}"));
    let foreign = format!(
        "node1: `/var/lib/etcd` holds data of an etcd member that this cluster does not know: \
         cluster {cluster:x}, member "
    );
    let ways = ["`mv /var/lib/etcd/member", "`--adopt-data`", "snapshot"];
    refuses(&bed, &one, &[], &[&[foreign.as_str()], &ways[..]].concat());
    bed.on(
        "node1",
        "mkdir /root/wal && mv /var/lib/etcd/member/wal/*.wal /root/wal",
    );
    refuses(&bed, &one, &[], &["whose they are cannot be read"]);
    bed.on("node1", "mv /root/wal/*.wal /var/lib/etcd/member/wal");
    one.run([&PUSH[..], &["--adopt-data"]].concat()).exits(0);
    assert_eq!(kept(&bed), "kept");
    one.run(PUSH).exits(0).says("home: nothing to do");

    // Data go also after all else has gone, and nothing of somebody else's beside them.
    one.run(UNINSTALL).exits(0);
    bed.on(
        "node1",
        "mkdir -p /var/lib/etcd/default/member && touch /var/lib/etcd/default/member/a",
    );
    one.run([&UNINSTALL[..], &["--data"]].concat())
        .exits(0)
        .prints("all data go, for ever: /var/lib/etcd");
    let left = bed.on(
        "node1",
        "find /var/lib/etcd /var/lib/kinstall -type f 2>/dev/null || :",
    );
    assert_eq!(left, "/var/lib/etcd/default/member/a");
    // A directory of a file system's own is no data.
    bed.on("node1", "mkdir -p /var/lib/etcd/lost+found");
    other.run(PUSH).exits(0);
    let empty = bed.on("node1", &format!("{ETCDCTL} get /kept"));
    assert_eq!(empty, "");
}

#[test]
fn two_clusters_are_never_healthy() {
    let Some(mut bed) = Bed::take("two_clusters_are_never_healthy") else {
        return;
    };
    drop(bed.fresh());
    let first = bed.lab_named("split-first", &["node1"]);
    first.run(PUSH).exits(0);
    let second = bed.lab_named("split-second", &["node2"]);
    share_keys(&first, &second);
    second.run(PUSH).exits(0);
    let both = bed.lab_named("split-both", &NODES);
    share_keys(&first, &both);
    both.run(["fetch", "inventory.toml"]).exits(0);
    both.run(["status", "inventory.toml"])
        .exits(3)
        .prints("etcd is not one cluster: the nodes are in 2 etcd clusters: node")
        .prints("something needs a look");
    let split = [
        "the nodes hold the data of 2 etcd clusters: node",
        "keep the data of one of them",
    ];
    refuses(&bed, &both, &[], &split);
}
