//! Promises about what a node keeps: the last five generations with everything that they need, and
//! nothing of the ones before.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;
use kinstall::digest::Digest;

use crate::lab::{Lab, elf, stock_as};

const PUSH: [&str; 4] = ["push", "inventory.toml", "--into", "nodes"];
const SERVERS: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// The digests that the records of a node's generations name.
fn named(state: &Path) -> BTreeSet<String> {
    let mut digests = BTreeSet::new();
    for generation in names(&state.join("generations")) {
        let record = state.join("generations").join(generation);
        let text = fs::read_to_string(record.join("recorded.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        for entries in [&record["manifest"]["entries"], &record["superseded"]] {
            let entries = entries.as_object().unwrap().values();
            let files = entries.filter_map(|entry| entry["kind"]["file"]["digest"].as_str());
            digests.extend(files.map(ToOwned::to_owned));
        }
    }
    digests
}

#[test]
fn five_generations_are_kept_whole_and_older_ones_go() {
    let lab = Lab::new();
    lab.run(PUSH).exits(0);
    let state = lab.path("nodes/node1/var/lib/kinstall");
    let old = Digest::of(&elf("kube-apiserver")).to_string();
    for name in SERVERS {
        let content = elf(&format!("{name} of another day"));
        stock_as(&lab.path("mirror"), "1.32.98", name, &content);
    }
    lab.edit("kubernetes = \"1.32.99\"", "kubernetes = \"1.32.98\"");
    lab.run(PUSH).exits(0);
    for value in 61..=65 {
        assert!(
            names(&state.join("store")).contains(&old),
            "generation 2 names what it followed"
        );
        let (from, to) = (value - 1, value);
        lab.edit(
            &format!("audit-log-maxage = {from}"),
            &format!("audit-log-maxage = {to}"),
        );
        lab.run(PUSH).exits(0);
        let kept = names(&state.join("generations"));
        assert!(kept.len() <= 5, "{kept:?}");
        assert_eq!(names(&state.join("store")), named(&state), "at {value}");
    }
    assert_eq!(
        names(&state.join("generations")),
        ["3", "4", "5", "6", "7"].map(ToOwned::to_owned).into()
    );
    assert!(!names(&state.join("store")).contains(&old));
    // The link leads to what is kept, and the program that it leads to is whole.
    let bin = lab.path("nodes/node1/usr/local/bin");
    let target = fs::read_link(bin.join("kube-apiserver")).unwrap();
    let program = fs::read(bin.join(target)).unwrap();
    let digest = Digest::of(&program).to_string();
    assert!(names(&state.join("store")).contains(&digest));
}
