//! Promises about the trees that `render` writes for the inventories that ship with kinstall: what
//! changes in them is seen in a review, and systemd accepts every unit.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes `tests/golden/` anew. Certificates, keys and whatever
//! embeds them differ each time and are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::lab::Lab;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The inventories that ship, as copies by their names: nothing may be written beside the project's.
fn inventories(lab: &Lab) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(project().join("inventories")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            fs::copy(&path, lab.path(&format!("{name}.toml"))).unwrap();
            names.push(name);
        }
    }
    names.sort();
    assert!(names.len() >= 4, "{names:?}");
    names
}

/// The name and the rendered trees of each inventory that ships.
fn rendered(lab: &Lab) -> Vec<(String, PathBuf)> {
    let render = |name: String| {
        let out = format!("rendered/{name}");
        lab.run([
            "render",
            &format!("{name}.toml"),
            "--arch",
            "arm64",
            "--out",
            &out,
        ])
        .exits(0);
        (name, lab.path(&out))
    };
    inventories(lab).into_iter().map(render).collect()
}

/// A text without the dates that certificates bear in their names: `-20261121T2300`.
fn undated(text: &str) -> String {
    let is_date = |word: &str| {
        word.len() >= 14
            && word.as_bytes()[..14]
                .iter()
                .enumerate()
                .all(|(at, byte)| match at {
                    0 => *byte == b'-',
                    9 => *byte == b'T',
                    _ => byte.is_ascii_digit(),
                })
    };
    let mut undated = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('-') {
        let (before, from) = rest.split_at(at);
        undated.push_str(before);
        let taken = if is_date(from) { 14 } else { 1 };
        undated.push_str(if taken == 14 { "-DATE" } else { "-" });
        rest = &from[taken..];
    }
    undated + rest
}

/// The texts below a directory that are the same each time, by path; links as what they point at.
fn texts(root: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    collect(root, root, &mut texts);
    texts
}

fn collect(root: &Path, directory: &Path, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, texts);
            continue;
        }
        let text = undated(&fs::read_to_string(&path).unwrap());
        let is_same_each_time = !["-----BEGIN ", "certificate-authority-data", "secret: "]
            .iter()
            .any(|word| text.contains(word));
        if is_same_each_time {
            texts.insert(name, text);
        }
    }
}

#[test]
fn nothing_is_wrong_with_what_ships() {
    let lab = Lab::empty();
    for name in inventories(&lab) {
        lab.run(["check", &format!("{name}.toml"), "--offline"])
            .exits(0)
            .says("nothing is wrong with it");
    }
    // 32 bits: a newer Kubernetes was not built for it.
    let armhf = lab.path("home-lab-armhf.toml");
    let text = fs::read_to_string(&armhf).unwrap();
    fs::write(&armhf, text.replace("\"1.26.15\"", "\"1.27.16\"")).unwrap();
    lab.run(["check", "home-lab-armhf.toml"])
        .exits(2)
        .says(
            "there is no kube-apiserver, kube-controller-manager, kube-scheduler 1.27.16 for armhf",
        )
        .says("1.26.15 was the last for 32-bit ARM");
}

#[test]
fn rendered_trees_are_those_that_were_reviewed() {
    let lab = Lab::empty();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for (name, tree) in rendered(&lab) {
        let golden = project().join("tests/golden").join(&name);
        let found = texts(&tree);
        assert!(!found.is_empty(), "{name} renders nothing");
        if update {
            if golden.exists() {
                fs::remove_dir_all(&golden).unwrap();
            }
            for (path, text) in &found {
                let path = golden.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
        }
        let expected = texts(&golden);
        let paths: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
        for path in paths {
            let (old, new) = (expected.get(path), found.get(path));
            if old != new {
                let empty = String::new();
                let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
                let diff = similar::TextDiff::from_lines(old.as_str(), new.as_str());
                wrong.push(format!(
                    "{name}/{path}\n{}",
                    diff.unified_diff().context_radius(1)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "these differ from tests/golden (right? then UPDATE_GOLDEN=1):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn systemd_accepts_every_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("NOT RUN: systemd_accepts_every_unit: there is no systemd-analyze here");
        return;
    }
    let lab = Lab::empty();
    let mut verified = 0;
    for (name, tree) in rendered(&lab) {
        for (path, text) in texts(&tree) {
            let Some((_, unit)) = path.split_once("/etc/systemd/system/") else {
                continue;
            };
            // The programs are not installed here; everything else is as on the node.
            let text: Vec<_> = text
                .lines()
                .map(
                    |line| match line.strip_prefix("ExecStart=/usr/local/bin/") {
                        Some(_) => "ExecStart=/bin/true \\",
                        None => line,
                    },
                )
                .collect();
            let directory = lab.path(&format!("units/{name}{verified}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(unit), text.join("\n") + "\n").unwrap();
            let output = Command::new("systemd-analyze")
                .args(["verify", "--man=no", "--recursive-errors=no"])
                .arg(directory.join(unit))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && !said.contains(unit),
                "{name}/{path}: {said}"
            );
            verified += 1;
        }
    }
    assert!(verified >= 16, "{verified}");
}
