//! Promises about a node that loses the connection while a service restarts there: it comes to an
//! end by itself, forward or back, and the next push tells which.

use std::time::{Duration, Instant};

use crate::bed::{Bed, PUSH};
use crate::lab::Lab;

/// The flag as the kube-apiserver of node1 runs with it, and how the last transaction there ended.
const ENDED: &str = "cut -d' ' -f1 /var/lib/kinstall/outcome 2>/dev/null; \
    tr '\\0' '\\n' </proc/$(pidof kube-apiserver)/cmdline | grep maxage; true";
const TRANSACTIONS: &str =
    "systemctl list-units --no-legend 'kinstall-transaction-*' | grep -c . || :";

/// Ends every session of ssh and all that runs in it. A cut cable would take etcd's quorum from the
/// node too, and with it any kube-apiserver, the old as the new.
const KILL_SESSIONS: &str = "systemctl kill -s KILL 'session-*.scope' 2>/dev/null; \
    pkill -KILL -f '^sshd: root'; true";

/// Kills both ends of the connection to node1 while it restarts its kube-apiserver, and waits until
/// nothing goes on there any more.
#[track_caller]
fn lose(bed: &Bed, lab: &Lab) {
    let mut going = lab.start(PUSH);
    going.wait_for("kube-apiserver:");
    let begun = Instant::now();
    while bed.on("node1", TRANSACTIONS) == "0" {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "no transaction begins"
        );
    }
    // First kinstall, which would tell its history how it ended.
    going.signal("KILL");
    bed.on("node1", KILL_SESSIONS);
    going.finish();
    while bed.on("node1", TRANSACTIONS) != "0" {
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "no transaction ends"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_node_that_is_cut_off_comes_to_an_end_by_itself() {
    let Some(mut bed) = Bed::take("a_node_that_is_cut_off_comes_to_an_end_by_itself") else {
        return;
    };
    let lab = bed.pushed();
    // So that a restart takes a while.
    lab.edit(
        "shutdown-delay-duration = \"0s\"",
        "shutdown-delay-duration = \"3s\"",
    );
    lab.run(PUSH).exits(0);

    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 66");
    lose(&bed, &lab);
    assert_eq!(bed.on("node1", ENDED), "finished\n--audit-log-maxage=66");
    lab.run(PUSH)
        .exits(0)
        .says("node1: a run before this one was not finished; kube-apiserver.service came to its end there");
    lab.run(["status", "inventory.toml"]).exits(0);

    // The same with a flag by which it does not start.
    lab.edit(
        "audit-log-maxage = 66",
        "audit-log-maxage = 67, audit-policy-file = \"/etc/k8s/none.yaml\"",
    );
    lose(&bed, &lab);
    assert_eq!(bed.on("node1", ENDED), "reverted\n--audit-log-maxage=66");
    lab.write(&bed.inventory(&crate::bed::NODES));
    lab.run(PUSH)
        .exits(0)
        .says("kube-apiserver.service did not start there, and the node took it back");
    lab.run(["status", "inventory.toml"]).exits(0);
    // Whoever asks the nodes hears of the runs that were killed.
    lab.run(["history", "inventory.toml", "--nodes"])
        .exits(0)
        .prints("begun, and its end is not known here");
    bed.leave(lab);
}

/// What a node's kube-apiserver needs to be given up, come back and fail again, and what systemd
/// needs to start it once etcd is there.
const GIVEN_UP: Duration = Duration::from_secs(150);

#[test]
fn a_node_whose_network_is_gone_puts_back_what_was_there() {
    let Some(mut bed) = Bed::take("a_node_whose_network_is_gone_puts_back_what_was_there") else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("ready-seconds = 30", "ready-seconds = 5");
    lab.edit(
        "shutdown-delay-duration = \"0s\"",
        "shutdown-delay-duration = \"3s\"",
    );
    lab.run(PUSH).exits(0);
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 66");
    let mut going = lab.start(PUSH);
    going.wait_for("kube-apiserver:");
    let begun = Instant::now();
    while bed.on("node1", TRANSACTIONS) == "0" {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "no transaction begins"
        );
    }
    // With the cable goes etcd's quorum, and with it any kube-apiserver, the new as the old.
    bed.nodes("cut node1");
    going.signal("KILL");
    going.finish();
    let ended = "cut -d' ' -f1 /var/lib/kinstall/outcome 2>/dev/null; \
        grep -o 'maxage=[0-9]*' /etc/systemd/system/kube-apiserver.service";
    while bed.on("node1", TRANSACTIONS) != "0" {
        assert!(begun.elapsed() < GIVEN_UP, "no transaction ends");
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(bed.on("node1", ended), "returned\nmaxage=60");
    bed.nodes("heal node1");
    let runs = "systemctl is-active -q kube-apiserver && pidof kube-apiserver || :";
    while bed.on("node1", runs).is_empty() {
        assert!(begun.elapsed() < GIVEN_UP, "systemd does not go on trying");
        std::thread::sleep(Duration::from_millis(300));
    }
    lab.edit("audit-log-maxage = 66", "audit-log-maxage = 60");
    lab.edit("ready-seconds = 5", "ready-seconds = 30");
    // The lock of a run whose network went is free a minute later.
    let mut rerun = lab.run(PUSH);
    while rerun.code == Some(7) && begun.elapsed() < GIVEN_UP + Duration::from_secs(60) {
        std::thread::sleep(Duration::from_secs(1));
        rerun = lab.run(PUSH);
    }
    rerun
        .exits(0)
        .says("kube-apiserver.service did not start there, nor did what the node then put back");
    lab.run(["status", "inventory.toml"]).exits(0);
    bed.leave(lab);
}
