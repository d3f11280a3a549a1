//! Promises about the trees that `render` writes for the inventories that ship with kinstall: what
//! changes in them is seen in a review, and systemd accepts every unit.
//!
//! `tests/golden/` has a file for each inventory. A text that stands on several nodes is there once, and
//! of the others what differs. Of a release of Kubernetes there is what differs from the one before.
//! `UPDATE_GOLDEN=1 cargo test golden` writes it all again. Certificates, keys and whatever embeds them
//! differ each time and are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
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

/// Inventories that are another one with some things changed: of them it is told what differs.
const VARIANTS: [(&str, &str); 2] = [("home-lab-armhf", "home-lab"), ("vault", "home-lab")];

/// The lines of Kubernetes that are rendered, 1.20 first.
const MINORS: std::ops::RangeInclusive<u32> = 20..=37;
/// The inventory of which they are, and those of its nodes that together have everything.
const OF_VERSIONS: &str = "kubenet";
const NODES_OF_VERSIONS: &str = "control0,worker0";

/// What differs from one text to another, with the line around it; nothing if nothing does.
fn difference(old: &str, new: &str) -> String {
    let diff = similar::TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(1).to_string()
}

/// A tree by its texts, of nodes with much in common.
fn whole(texts: &BTreeMap<String, String>) -> String {
    let mut told = String::new();
    // By the path on its node: the first node that has it, and the text there.
    let mut first: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (name, text) in texts {
        let (node, path) = name.split_once('/').unwrap();
        match first.get(path) {
            None => {
                first.insert(path, (node, text));
                write!(told, "=== {name}\n{text}\n").unwrap();
            }
            Some((other, there)) => {
                let difference = difference(there, text);
                write!(told, "=== {name}: as on {other}\n{difference}").unwrap();
            }
        }
    }
    told
}

/// What differs from one tree to another.
fn change(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> String {
    let mut told = String::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        match (old.get(name), new.get(name)) {
            (Some(_), None) => writeln!(told, "=== {name}: gone").unwrap(),
            (None, Some(text)) => write!(told, "=== {name}: new\n{text}\n").unwrap(),
            (Some(old), Some(new)) if old != new => {
                write!(told, "=== {name}\n{}", difference(old, new)).unwrap();
            }
            _ => {}
        }
    }
    told
}

/// Compares what was rendered with what was reviewed, file by file, or writes that again.
fn review(directory: &str, found: &BTreeMap<String, String>) {
    let directory = project().join("tests/golden").join(directory);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in found {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    let reviewed = fs::read_dir(&directory).unwrap();
    let mut reviewed: BTreeMap<String, String> = reviewed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    let mut wrong = String::new();
    for (name, found) in found {
        let reviewed = reviewed.remove(name).unwrap_or_default();
        if reviewed != *found {
            writeln!(wrong, "{name}\n{}", difference(&reviewed, found)).unwrap();
        }
    }
    assert!(
        wrong.is_empty() && reviewed.is_empty(),
        "these differ from {} (right? then UPDATE_GOLDEN=1):\n{wrong}{:?}",
        directory.display(),
        reviewed.keys()
    );
}

#[test]
fn rendered_trees_are_those_that_were_reviewed() {
    let lab = Lab::empty();
    let trees: BTreeMap<String, BTreeMap<String, String>> = rendered(&lab)
        .into_iter()
        .map(|(name, tree)| (name, texts(&tree)))
        .collect();
    let tell = |(name, tree): (&String, &BTreeMap<String, String>)| {
        assert!(!tree.is_empty(), "{name} renders nothing");
        let variant = VARIANTS.iter().find(|(variant, _)| variant == name);
        match variant {
            Some((_, base)) => (format!("{name}.diff"), change(&trees[*base], tree)),
            None => (format!("{name}.txt"), whole(tree)),
        }
    };
    review("", &trees.iter().map(tell).collect());
}

#[test]
fn each_line_of_kubernetes_gets_what_was_reviewed() {
    let lab = Lab::empty();
    inventories(&lab);
    let file = format!("{OF_VERSIONS}.toml");
    let said = fs::read_to_string(lab.path(&file)).unwrap();
    let line = said.lines().find(|line| line.starts_with("kubernetes = "));
    let mut found = BTreeMap::new();
    let mut before: Option<BTreeMap<String, String>> = None;
    for minor in MINORS {
        let version = format!("kubernetes = \"1.{minor}.0\"");
        fs::write(lab.path(&file), said.replacen(line.unwrap(), &version, 1)).unwrap();
        let out = format!("rendered/{minor}");
        let nodes = ["--limit", NODES_OF_VERSIONS, "--arch", "arm64"];
        let render = ["render", file.as_str(), "--out", &out];
        lab.run(render.into_iter().chain(nodes)).exits(0);
        let mut tree = texts(&lab.path(&out));
        // That names of programs change with the version need not be read each time.
        for text in tree.values_mut() {
            *text = text.replace(&format!("-v1.{minor}.0 "), "-vKUBERNETES ");
        }
        let (name, told) = match &before {
            None => (format!("1.{minor}.txt"), whole(&tree)),
            Some(before) => (format!("1.{minor}.diff"), change(before, &tree)),
        };
        found.insert(name, told);
        before = Some(tree);
    }
    review("versions", &found);
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
