//! Promises of `rollback` on real nodes: a recorded generation comes back to the byte, shown first,
//! from the controllers down, one node after the other; what cannot go back is refused.

use std::collections::BTreeSet;

use crate::bed::{Bed, ETCDCTL, NODES, PUSH};
use crate::lab::{KUBERNETES, Lab};
use crate::watch::Watch;

const NEWER: &str = "1.33.90";
const BACK: [&str; 2] = ["rollback", "inventory.toml"];

/// When the units of all nodes started.
fn starts(bed: &Bed) -> [Vec<u64>; 3] {
    NODES.map(|node| bed.starts(node))
}

/// Lets the inventory ask for the newer version, and for a flag that has nothing to do with it.
fn upgrade(lab: &Lab) {
    lab.edit(KUBERNETES, NEWER);
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 59");
    lab.edit("stable-seconds = 1", "stable-seconds = 0");
}

#[test]
fn an_upgrade_is_taken_back_to_the_byte_from_the_controllers_down() {
    let Some(mut bed) = Bed::take("an_upgrade_is_taken_back_to_the_byte_from_the_controllers_down")
    else {
        return;
    };
    let lab = bed.fresh();
    lab.run(PUSH).exits(0);
    lab.run(BACK)
        .exits(2)
        .says("there is no earlier generation to go back to: node1 has generation 1");
    let before = NODES.map(|node| bed.holds(node));
    let differing = |bed: &Bed| {
        let nodes = NODES.into_iter().zip(&before);
        let all = nodes.flat_map(|(node, before)| {
            let now = bed.holds(node);
            let paths = now.keys().chain(before.keys());
            let paths = paths.filter(|path| now.get(*path) != before.get(*path));
            paths
                .map(|path| format!("{node}:{path}"))
                .collect::<BTreeSet<_>>()
        });
        all.collect::<BTreeSet<_>>()
    };
    bed.offer(NEWER);
    upgrade(&lab);
    lab.run(PUSH).exits(0);
    assert!(differing(&bed).contains("node3:/etc/systemd/system/kube-apiserver.service"));

    // It is shown first, with the lines that change, and nothing is touched.
    let upgraded = starts(&bed);
    lab.run(["rollback", "inventory.toml", "--plan"])
        .exits(3)
        .prints("-    --audit-log-maxage=59")
        .prints("+    --audit-log-maxage=60")
        .prints("controllers: node1, then node2, then node3");
    assert_eq!(starts(&bed), upgraded);

    // What it will run into is asked first, as of a push.
    bed.on(
        "node2",
        "cd /etc/systemd/system && mount --bind . . && mount -o remount,bind,ro /etc/systemd/system",
    );
    lab.run(BACK)
        .exits(1)
        .says("node2: `/etc/systemd/system` cannot be written");
    assert_eq!(starts(&bed), upgraded);
    bed.on("node2", "umount /etc/systemd/system");

    let watch = Watch::begin(&bed);
    lab.run(BACK).exits(0).says("snapshot of etcd: ");
    assert_eq!(watch.end(), Vec::<String>::new());
    // The programs of the generation before stay beside the ones that run.
    let left = differing(&bed).into_iter();
    let left: Vec<_> = left.filter(|path| !path.ends_with(NEWER)).collect();
    assert_eq!(left, [""; 0]);
    let after = starts(&bed);
    for (before, after) in upgraded.iter().zip(&after) {
        assert_eq!(before[0], after[0], "etcd was not touched");
    }
    let last_controller = after.iter().map(|starts| starts[2].max(starts[3])).max();
    let servers: Vec<u64> = after.iter().map(|starts| starts[1]).collect();
    assert!(servers.is_sorted() && last_controller < servers.first().copied());
    lab.run(["history", "inventory.toml"])
        .exits(0)
        .prints("rollback");

    // It is a generation of its own, and the inventory still asks for what it asked for.
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("node3 (amd64): generation 3")
        .prints(&format!("UTC, kube-apiserver {NEWER}, etcd 3."))
        .prints("; 1 (20");
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .prints("+    --audit-log-maxage=59");
    // A record that another kinstall made is not taken for none.
    let record = "/var/lib/kinstall/generations/2/recorded.json";
    bed.on("node2", &format!("sed -i 's/^{{/{{\"news\":1,/' {record}"));
    lab.run(BACK)
        .exits(1)
        .says("node2: what another kinstall recorded there cannot be read");
    lab.run(["rollback", "inventory.toml", "--to", "9"])
        .exits(2)
        .says("there is no generation 9 to go back to: node1 has generation 1, 2, 3");
}

#[test]
fn a_cluster_does_not_go_back_to_where_nothing_is_stored() {
    let Some(mut bed) = Bed::take("a_cluster_does_not_go_back_to_where_nothing_is_stored") else {
        return;
    };
    let lab = bed.fresh();
    lab.edit("[ssh]", "[etcd]\nprefix = \"/k8s\"\n\n[ssh]");
    lab.run(PUSH).exits(0);
    // Somebody moves everything, and removes what is left.
    bed.on("node1", &format!("{ETCDCTL} put /registry/it here"));
    lab.edit("/k8s", "/registry");
    lab.run(PUSH).exits(0);
    bed.on("node1", &format!("{ETCDCTL} del --prefix /k8s"));
    let before = starts(&bed);
    lab.run(BACK)
        .exits(1)
        .says("node1: what the cluster holds lies below `/registry` in etcd")
        .says("kube-apiserver would find the cluster empty");
    assert_eq!(starts(&bed), before);
}
