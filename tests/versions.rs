//! Promises about versions: that genuine programs know every flag that kinstall writes.

use std::path::Path;

use fs_err as fs;

use crate::lab::Lab;

/// Genuine programs hide flags from their help that they take and call deprecated.
const HIDDEN: [&str; 1] = ["port"];

#[test]
fn genuine_programs_of_these_versions_know_every_flag() {
    let lab = Lab::new();
    for version in ["1.20.2", "1.31.14", "1.36.3"] {
        lab.edit(
            "kubernetes = \"1.",
            &format!("kubernetes = \"{version}\" # \"1."),
        );
        render(&lab, version);
        for program in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ] {
            check_known(program, version, &unit(&lab, version, program));
        }
        lab.edit(
            &format!("kubernetes = \"{version}\" # \"1."),
            "kubernetes = \"1.",
        );
    }
}

#[test]
fn genuine_etcds_know_every_flag() {
    let lab = Lab::new();
    for version in ["3.4.23", "3.5.1", "3.6.13"] {
        lab.edit("etcd = \"3.", &format!("etcd = \"{version}\" # \"3."));
        render(&lab, version);
        check_known("etcd", version, &unit(&lab, version, "etcd"));
        lab.edit(&format!("etcd = \"{version}\" # \"3."), "etcd = \"3.");
    }
}

/// Renders the first node, into a directory.
fn render(lab: &Lab, out: &str) {
    lab.run(["render", "inventory.toml", "--limit", "node1", "--out", out])
        .exits(0);
}

/// The unit of a program in there.
fn unit(lab: &Lab, out: &str, program: &str) -> String {
    let unit = format!("{out}/node1/etc/systemd/system/{program}.service");
    fs::read_to_string(lab.path(&unit)).unwrap()
}

#[track_caller]
fn check_known(program: &str, version: &str, unit: &str) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let help = project.join(format!("tests/help/{program}-{version}.txt"));
    let help = fs::read_to_string(help).unwrap();
    let known: Vec<&str> = help
        .split_whitespace()
        .map(|word| word.trim_start_matches("--"))
        .collect();
    let words = unit
        .split_whitespace()
        .filter_map(|word| word.trim_start_matches('"').strip_prefix("--"));
    let flags: Vec<&str> = words.filter_map(|word| word.split('=').next()).collect();
    assert!(flags.len() > 5, "{unit}");
    for flag in flags {
        assert!(
            known.contains(&flag) || HIDDEN.contains(&flag),
            "{program} {version}: --{flag}"
        );
    }
}
