//! Promises about versions of etcd, on real nodes with two genuine ones: a cluster goes to the next
//! line one member after the other, whatever cuts it short, and never back.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::bed::{Bed, ETCDCTL, NODES, PUSH};
use crate::lab::KUBERNETES;
use crate::members::assert_kept;
use crate::watch::Watch;
use crate::waves::lead;

/// A Kubernetes of the days of both lines of etcd.
const OF_BOTH_DAYS: &str = "1.21.99";

/// A mirror of two etcds and their versions, the older first; none, with the reason said, where
/// there is none.
fn etcds(test: &str) -> Option<(PathBuf, [String; 2])> {
    let Some(mirror) = std::env::var_os("KINSTALL_ETCDS").map(PathBuf::from) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test} must run: there are no two etcds"
        );
        println!(
            "NOT RUN: {test}: `KINSTALL_ETCDS` is not set; `cargo xtask test` sets it where \
             packages hold etcds of two lines that follow each other"
        );
        return None;
    };
    let names = fs::read_dir(&mirror).unwrap();
    let mut versions: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_start_matches('v').to_owned())
        .collect();
    versions.sort();
    Some((mirror, versions.try_into().unwrap()))
}

/// The inventory of the nodes with an etcd of that mirror.
fn inventory(bed: &Bed, mirror: &Path, etcd: &str) -> String {
    let text = bed.inventory(&NODES).replace(KUBERNETES, OF_BOTH_DAYS);
    let text = text.replace("[ssh]", "[etcd]\nauth = true\n\n[ssh]");
    let line = |line: &str| match line {
        line if line.starts_with("etcd = \"") => format!("etcd = \"{etcd}\"\n"),
        line if line.starts_with("etcd = [") => {
            format!("etcd = [\"file://{}\"]\n", mirror.display())
        }
        line => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Which version each member is of, as it tells itself, and that a value is still there.
fn members(bed: &Bed) -> [String; 3] {
    NODES.map(|node| {
        assert_kept(bed, node);
        let status = bed.on(node, &format!("{ETCDCTL} endpoint status"));
        status.split(", ").nth(2).unwrap().to_owned()
    })
}

#[test]
fn etcd_goes_to_the_next_line_and_not_back() {
    const NAME: &str = "etcd_goes_to_the_next_line_and_not_back";
    let Some((mirror, [older, newer])) = etcds(NAME) else {
        return;
    };
    let Some(mut bed) = Bed::take(NAME) else {
        return;
    };
    let lab = bed.fresh();
    bed.offer(OF_BOTH_DAYS);
    lab.write(&inventory(&bed, &mirror, &older));
    lab.run(PUSH).exits(0);
    bed.on("node1", &format!("{ETCDCTL} put /kept kept"));
    lead(&bed, "node1");
    let servers = NODES.map(|node| bed.started(node, "kube-apiserver"));

    // Members of these two lines may not ask who a client is.
    lab.write(&inventory(&bed, &mirror, &newer));
    let etcds = NODES.map(|node| bed.started(node, "etcd"));
    lab.run(PUSH)
        .exits(1)
        .says("with users and roles of etcd turned on")
        .says("etcd asks who its clients are")
        .says("`etcdctl auth disable`");
    assert_eq!(NODES.map(|node| bed.started(node, "etcd")), etcds);
    bed.on("node1", &format!("{ETCDCTL} auth disable"));

    // A run that dies between two members leaves a cluster of both lines, which goes on.
    let watch = Watch::begin(&bed);
    let mut going = lab.start(["push", "inventory.toml", "-v"]);
    going.wait_for("snapshot of etcd: ");
    going.wait_for("node2: etcd.service healthy");
    going.signal("KILL");
    going.finish();
    assert_eq!(members(&bed), [&older, &newer, &older].map(String::clone));
    let output = lab.run(PUSH).exits(0).says("etcd has now: authentication");
    assert_eq!(watch.end(), Vec::<String>::new());
    println!("the other two members took {:.1} s", output.seconds);
    assert_eq!(members(&bed), [&newer; 3].map(String::clone));
    let [first, second, third] = NODES.map(|node| bed.started(node, "etcd"));
    assert!(second < third && third < first, "who leads is the last");
    let now = NODES.map(|node| bed.started(node, "kube-apiserver"));
    assert_eq!(now, servers, "etcd alone was restarted");
    lab.run(PUSH).exits(0).says("home: nothing to do");

    // There is no way back.
    let starts = NODES.map(|node| bed.starts(node));
    let refused = format!("node1: etcd {newer} runs there, and {older} may not follow it");
    lab.run(["rollback", "inventory.toml"])
        .exits(1)
        .says(&refused)
        .says("etcd's data goes back only by restoring a snapshot");
    lab.write(&inventory(&bed, &mirror, &older));
    lab.run(PUSH).exits(1).says(&refused);
    assert_eq!(NODES.map(|node| bed.starts(node)), starts);
}
