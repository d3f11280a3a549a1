//! Promises about a cluster that gets other authorities while it runs: everybody trusts everybody
//! all the while, and one member at a time is away.

use std::fmt::Write as _;

use fs_err as fs;

use crate::bed::{Bed, ETCDCTL, NODES, PUSH, is_well};
use crate::rotating::Reader;
use crate::watch::Watch;

const MOVE: [&str; 3] = ["certs", "move", "inventory.toml"];
/// Where a node has the authorities of etcd's servers, and of kube-apiserver's clients.
const ETCD_CA: &str = "/etc/k8s/kube-apiserver/certs/etcd/rootCA.pem";

/// The node whose member leads, as etcd tells of itself.
fn leader(bed: &Bed) -> &'static str {
    let ask = format!("{ETCDCTL} endpoint status");
    let mut nodes = NODES.into_iter();
    let leads = |node: &&str| bed.on(node, &ask).split(", ").nth(4) == Some("true");
    nodes.find(leads).unwrap()
}

/// How many authorities a node trusts for etcd's servers.
fn trusted(bed: &Bed, node: &str) -> String {
    bed.on(node, &format!("grep -c BEGIN {ETCD_CA}"))
}

#[test]
fn a_living_cluster_gets_an_authority_for_each_set() {
    let Some(mut bed) = Bed::take("a_living_cluster_gets_an_authority_for_each_set") else {
        return;
    };
    let lab = bed.pushed();
    lab.write(&bed.brisk_inventory(&NODES));
    let reader = Reader::of(&bed, &lab, false);
    let mut text = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    _ = write!(text, "\n[pki]\nauthorities = \"separate\"\n");
    lab.write(&text);
    lab.run(PUSH)
        .exits(1)
        .says("those of `authorities = \"single\"`, and the inventory says `\"separate\"`")
        .says("`kinstall certs move INVENTORY` takes a running cluster there");
    let watch = Watch::begin(&bed);

    let step = ["certs", "move", "inventory.toml", "--steps", "1"];
    let first = reader.reads_while(|| lab.run(step));
    let first = first.exits(0).says("1/3 every peer trusts");
    for node in NODES {
        assert_eq!(trusted(&bed, node), "7");
    }
    // Killed when some members have new certificates and others have not.
    Reader::of(&bed, &lab, false).reads_while(|| {
        let mut going = lab.start(MOVE);
        going.wait_for("proven by 12 handshakes");
        going.wait_for("2/3 the new authorities");
        going.wait_until("a member is being restarted", |said| {
            let rest = said.split("2/3 the new authorities").nth(1);
            rest.is_some_and(|rest| rest.matches("etcd.service healthy after").count() > 1)
        });
        going.signal("KILL");
        going.finish();
        lab.run(step).exits(0);
    });
    let moved = Reader::of(&bed, &lab, false).reads_while(|| lab.run(MOVE));
    let moved = moved.exits(0).says("3/3 the old authorities");
    let seen = watch.end();
    assert!(seen.is_empty(), "{seen:#?}");
    for node in NODES {
        assert_eq!(trusted(&bed, node), "1");
    }
    is_well(&lab);

    // Here nobody can ask etcd by HTTP who leads; it goes last all the same.
    let last = leader(&bed);
    lab.run(["certs", "renew", "inventory.toml", "etcd-peer"])
        .exits(0);
    let starts = NODES.map(|node| (bed.started(node, "etcd"), node));
    assert_eq!(starts.iter().max().unwrap().1, last, "{starts:?}");
    println!(
        "every peer trusts both after {:.0} s, the rest in {:.0} s",
        first.seconds, moved.seconds
    );
}
