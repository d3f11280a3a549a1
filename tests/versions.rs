//! Promises about versions: the units and configurations that an inventory leads to in each line
//! of Kubernetes in which something about them changes.
//!
//! `UPDATE_GOLDEN=1 cargo test versions::` writes `tests/golden/versions/` anew.

use std::path::Path;

use fs_err as fs;

use crate::lab::Lab;

/// Releases around which flags or configuration change.
const VERSIONS: [&str; 8] = [
    "1.20.2", "1.23.17", "1.24.17", "1.26.15", "1.27.16", "1.31.14", "1.34.2", "1.36.3",
];

const TEXTS: [&str; 5] = [
    "etc/systemd/system/etcd.service",
    "etc/systemd/system/kube-apiserver.service",
    "etc/systemd/system/kube-controller-manager.service",
    "etc/systemd/system/kube-scheduler.service",
    "etc/k8s/kube-scheduler/kube-scheduler.yaml",
];

#[test]
fn each_version_gets_the_units_that_were_reviewed() {
    let lab = Lab::empty();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let inventory = fs::read_to_string(project.join("inventories/home-lab.toml")).unwrap();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for version in VERSIONS {
        let text = inventory.replace(
            "kubernetes = \"1.32.3\"",
            &format!("kubernetes = \"{version}\""),
        );
        assert!(text.contains(version));
        let (file, out) = (format!("{version}.toml"), format!("rendered/{version}"));
        fs::write(lab.path(&file), &text).unwrap();
        lab.run(["render", &file, "--limit", "az1", "--out", &out])
            .exits(0);
        for path in TEXTS {
            let rendered = fs::read_to_string(lab.path(&out).join("az1").join(path)).unwrap();
            let (minor, _) = version.rsplit_once('.').unwrap();
            let name = Path::new(path).file_name().unwrap();
            let golden = project.join("tests/golden/versions").join(minor).join(name);
            if update {
                fs::create_dir_all(golden.parent().unwrap()).unwrap();
                fs::write(&golden, &rendered).unwrap();
            } else if fs::read_to_string(&golden).ok().as_deref() != Some(&rendered) {
                wrong.push(golden);
            }
        }
    }
    assert!(wrong.is_empty(), "changed, or new: {wrong:#?}");
}

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
            let help = project.join(format!("tests/help/{program}-{version}.txt"));
            let help = fs::read_to_string(help).unwrap();
            let known: Vec<&str> = help
                .split_whitespace()
                .map(|word| word.trim_start_matches("--"))
                .collect();
            let unit = project.join(format!("tests/golden/versions/{minor}/{program}.service"));
            let unit = fs::read_to_string(unit).unwrap();
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
    }
}
