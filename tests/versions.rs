//! Promises about versions: that genuine programs know every flag that kinstall writes.

use std::path::Path;

use fs_err as fs;

use crate::lab::Lab;

/// Genuine programs hide flags from their help that they take and call deprecated.
const HIDDEN: [&str; 1] = ["port"];

#[test]
fn genuine_programs_of_these_versions_know_every_flag() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (minor, version) in [("1.20", "1.20.2"), ("1.31", "1.31.14"), ("1.36", "1.36.3")] {
        for program in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ] {
            let unit = format!("tests/golden/versions/home-lab/{minor}/{program}.service");
            let unit = fs::read_to_string(project.join(unit)).unwrap();
            check_known(program, version, &unit);
        }
    }
}

#[test]
fn genuine_etcds_know_every_flag() {
    let lab = Lab::new();
    for version in ["3.4.23", "3.5.1", "3.6.13"] {
        lab.edit("etcd = \"3.", &format!("etcd = \"{version}\" # \"3."));
        lab.run([
            "render",
            "inventory.toml",
            "--limit",
            "node1",
            "--out",
            version,
        ])
        .exits(0);
        let unit = lab
            .path(version)
            .join("node1/etc/systemd/system/etcd.service");
        check_known("etcd", version, &fs::read_to_string(unit).unwrap());
        lab.edit(&format!("etcd = \"{version}\" # \"3."), "etcd = \"3.");
    }
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
