//! Promises about who is a member of etcd, on real nodes with a genuine etcd: who joins an inventory
//! joins the cluster, who leaves it leaves the cluster, a machine that comes back empty takes its
//! place again; nobody else's etcd is restarted for it, no data is lost, and it is told beforehand.

use std::cell::Cell;

use crate::bed::{Bed, ETCDCTL, NODES, PUSH};
use crate::lab::Lab;

/// The names of the members that have a vote, as one of them tells.
fn voters(bed: &Bed, node: &str) -> Vec<String> {
    let list = bed.on(node, &format!("{ETCDCTL} member list"));
    let started = list
        .lines()
        .filter(|line| line.contains(", started, ") && line.ends_with("false"));
    assert_eq!(started.clone().count(), list.lines().count(), "{list}");
    let mut names: Vec<String> = started
        .map(|line| line.split(", ").nth(2).unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// A value that was there before everything, read through a node.
#[track_caller]
pub(crate) fn assert_kept(bed: &Bed, node: &str) {
    let value = bed.on(node, &format!("{ETCDCTL} get --print-value-only /kept"));
    assert_eq!(value, "kept", "{node}");
}

/// Runs a push and kills it as soon as it has said this.
#[track_caller]
fn kill_at(lab: &Lab, word: &str) {
    let mut going = lab.start(["push", "inventory.toml", "-v"]);
    going.wait_for(word);
    going.signal("KILL");
    going.finish();
}

#[test]
fn members_join_are_replaced_and_leave() {
    let Some(mut bed) = Bed::take("members_join_are_replaced_and_leave") else {
        return;
    };
    let lab = bed.fresh();
    lab.write(&bed.brisk_inventory(&["node1"]));
    lab.run(PUSH).exits(0);
    bed.on("node1", &format!("{ETCDCTL} put /kept kept"));
    let first = bed.started("node1", "etcd");
    let etcd = Cell::new(first);
    let not_restarted = |bed: &Bed| assert_eq!(bed.started("node1", "etcd"), etcd.get());

    // One becomes three. Each run is killed a little later than the one before.
    lab.write(&bed.brisk_inventory(&NODES));
    let url = format!("https://{}:2380", bed.address("node2"));
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .prints(&format!("etcd: add member node2 at {url}, as a learner"))
        .prints("etcd: add member node3 at ");
    kill_at(&lab, "member node2 let in");
    let unstarted = bed.on("node1", &format!("{ETCDCTL} member list"));
    assert!(unstarted.contains("unstarted"), "{unstarted}");
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .prints("etcd: start member node2, which was added before, for the first time");
    kill_at(&lab, "node2: starting etcd.service");
    kill_at(&lab, "member node2 has caught up");
    let output = lab.run(PUSH).exits(0).says("member node3 has caught up");
    println!("a member joined in {:.1} s", output.seconds);
    assert_eq!(voters(&bed, "node3"), NODES);
    for node in NODES {
        assert_kept(&bed, node);
    }
    not_restarted(&bed);
    lab.run(PUSH).exits(0).says("home: nothing to do");
    let left = "find /run/systemd/system -name '*kinstall*'; \
                grep -h -o 'initial-cluster-state=[a-z]*' /etc/systemd/system/etcd.service";
    for node in NODES {
        assert_eq!(bed.on(node, left), "initial-cluster-state=new", "{node}");
        let allowed = bed.on(
            node,
            "systemctl show etcd -p IPAddressAllow -p NeedDaemonReload",
        );
        assert!(allowed.contains(&bed.address("node3")), "{allowed}");
        assert!(allowed.contains("NeedDaemonReload=no"), "{node}: {allowed}");
    }

    // A machine comes back empty.
    bed.nodes("reset node3");
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .prints("etcd: remove member node3, which is down: its node lost its data")
        .prints("etcd: add member node3 at ");
    kill_at(&lab, "member node3 taken out");
    let output = lab.run(PUSH).exits(0);
    println!("a dead node was replaced in {:.1} s", output.seconds);
    assert_eq!(voters(&bed, "node1"), NODES);
    assert_kept(&bed, "node3");
    not_restarted(&bed);
    lab.run(["status", "inventory.toml"]).exits(0);

    // Without a majority nobody leaves.
    bed.on("node2", "systemctl stop etcd");
    bed.on("node3", "systemctl stop etcd");
    lab.write(&bed.brisk_inventory(&["node1"]));
    lab.run(PUSH)
        .exits(1)
        .says("healthy")
        .says("`kinstall status`");
    // Who leaves hands the lead over.
    bed.on("node3", "systemctl start etcd");
    crate::waves::lead(&bed, "node3");
    lab.run(PUSH)
        .exits(0)
        .says("etcd: remove member node2, which is down: the inventory does not have it")
        .says("what kinstall put on node3 stays there");
    assert_eq!(voters(&bed, "node1"), ["node1"]);
    assert_kept(&bed, "node1");
    not_restarted(&bed);
    lab.run(PUSH).exits(0).says("home: nothing to do");
}

#[test]
fn three_members_become_five_and_three_again() {
    let Some(mut bed) = Bed::take("three_members_become_five_and_three_again") else {
        return;
    };
    let lab = bed.pushed();
    lab.write(&bed.brisk_inventory(&NODES));
    bed.on("node1", &format!("{ETCDCTL} put /kept kept"));
    let etcds = |bed: &Bed| NODES.map(|node| bed.started(node, "etcd"));
    let before = etcds(&bed);
    for number in [21, 22] {
        bed.special(number, "");
    }
    let five = ["node1", "node2", "node21", "node22", "node3"];
    lab.write(&bed.brisk_inventory(&five));
    let output = lab.run(PUSH).exits(0).says("member node22 has caught up");
    println!("two members joined three in {:.1} s", output.seconds);
    assert_eq!(voters(&bed, "node22"), five);
    assert_eq!(etcds(&bed), before);
    lab.run(PUSH).exits(0).says("home: nothing to do");

    // Two may fail: the other three go on, and a push that they have no part in changes nothing.
    for node in ["node21", "node22"] {
        bed.nodes(&format!("kill {node}"));
    }
    bed.on("node2", &format!("{ETCDCTL} put /kept kept"));
    lab.write(&bed.brisk_inventory(&NODES));
    let output = lab.run(PUSH).exits(0);
    println!("two dead members were taken out in {:.1} s", output.seconds);
    assert_eq!(voters(&bed, "node1"), NODES);
    assert_kept(&bed, "node3");
    assert_eq!(etcds(&bed), before);
    lab.run(PUSH).exits(0).says("home: nothing to do");
    bed.leave(lab);
}
