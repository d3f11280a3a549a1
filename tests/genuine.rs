//! Promises about genuine releases: kubectl as upstream published it, by way of packages.

use std::path::PathBuf;

use fs_err as fs;
use kinstall::digest::Digest;

use crate::lab::{Lab, Output};

/// The lines of Kubernetes whose kubectl `cargo xtask test` brings.
const LINES: [&str; 3] = ["1.31.", "1.34.", "1.36."];

/// The mirror of genuine kubectls; none, with the reason said, where there is none.
fn mirror(test: &str) -> Option<PathBuf> {
    let mirror = std::env::var_os("KINSTALL_KUBECTLS").map(PathBuf::from);
    if mirror.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test} must run: there are no kubectls"
        );
        println!(
            "NOT RUN: {test}: `KINSTALL_KUBECTLS` is not set; `cargo xtask test` brings \
             genuine kubectls for amd64"
        );
    }
    mirror
}

fn versions(mirror: &std::path::Path) -> Vec<String> {
    let releases = fs::read_dir(mirror.join("release")).unwrap();
    let names = releases.map(|release| release.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| name.trim_start_matches('v').to_owned())
        .collect()
}

fn path(version: &str) -> String {
    format!("release/v{version}/bin/linux/amd64/kubectl")
}

fn fetch(lab: &Lab) -> Output {
    lab.run(["fetch", "--json", "inventory.toml"])
}

/// A lab that takes kubectl from a second source, for its own has none of that version.
fn lab(version: &str, second: &std::path::Path) -> Lab {
    let lab = Lab::new();
    let own = format!("kubernetes = [\"file://{}\"]", lab.path("mirror").display());
    let both = own.replace(']', &format!(", \"file://{}\"]", second.display()));
    lab.edit(&own, &both);
    lab.edit(
        "[component.kube-apiserver]",
        &format!("[component.kubectl]\nversion = \"{version}\"\n\n[component.kube-apiserver]"),
    );
    lab
}

#[test]
fn genuine_kubectls_verify_as_built_in() {
    let Some(mirror) = mirror("genuine_kubectls_verify_as_built_in") else {
        return;
    };
    let versions = versions(&mirror);
    for line in LINES {
        let version = versions.iter().find(|version| version.starts_with(line));
        let version = version.unwrap_or_else(|| panic!("no kubectl {line}x among {versions:?}"));
        let lab = lab(version, &mirror);
        let said = fetch(&lab).exits(0).json();
        let programs = said.as_array().unwrap_or_else(|| panic!("{said}"));
        let kubectl = programs.iter().find(|it| it["version"] == **version);
        let kubectl = kubectl.unwrap_or_else(|| panic!("no kubectl {version} in {said}"));
        assert_eq!(kubectl["trust"], "built-in", "{kubectl}");
        let genuine = fs::read(mirror.join(path(version))).unwrap();
        let digest = Digest::of(&genuine).to_string();
        assert_eq!(kubectl["sha256"], digest.as_str(), "{kubectl}");

        // A mirror that has one byte otherwise, and says so in its checksum file too.
        let bad = lab.path("bad");
        let place = bad.join(path(version));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let mut content = genuine;
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&place, &content).unwrap();
        let wrong = Digest::of(&content).to_string();
        fs::write(place.with_extension("sha256"), &wrong).unwrap();
        let lab = self::lab(version, &bad);
        fetch(&lab).exits(5).says(&digest).says(&wrong);
        assert!(!lab.path("kinstall.lock").exists());
    }
}
