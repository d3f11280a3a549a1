//! Promises about bytes: whatever is wrong in the mirror, the cache or the store, nothing wrong is
//! put in place, and no pin changes by itself.

use std::path::{Path, PathBuf};

use fs_err as fs;
use kinstall::digest::Digest;

use crate::lab::{KUBERNETES, Lab, elf, shelf, stock};
use crate::tree::content;

const PUSH: [&str; 4] = ["push", "inventory.toml", "--into", "nodes"];
const SERVER: &str = "kube-apiserver";

/// Turns one bit of a file around, in the middle.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let permissions = fs::metadata(path).unwrap().permissions();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, permissions).unwrap();
}

fn lock(lab: &Lab) -> String {
    fs::read_to_string(lab.path("kinstall.lock")).unwrap()
}

/// Every file below a directory that holds exactly these bytes.
fn holding(directory: &Path, digest: Digest) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(holding(&path, digest));
        } else if Digest::of(&fs::read(&path).unwrap_or_default()) == digest {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_mirror_that_contradicts_its_own_checksum_is_refused() {
    let lab = Lab::new();
    flip(&shelf(&lab.path("mirror")).join(SERVER));
    lab.run(PUSH).exits(5).says(SERVER).says("sha256");
    assert!(!lab.path("kinstall.lock").exists(), "nothing was pinned");
    assert!(
        !lab.path("nodes/node1/usr").exists(),
        "nothing was put in place"
    );
}

#[test]
fn a_mirror_that_changed_after_the_pin_is_refused() {
    let lab = Lab::new();
    lab.run(["fetch", "inventory.toml"])
        .exits(0)
        .says("6 programs pinned");
    let before = lock(&lab);
    stock(&lab.path("mirror"), SERVER, &elf("rebuilt"));
    fs::remove_dir_all(lab.cache()).unwrap();
    for command in [&PUSH[..], &["fetch", "inventory.toml"]] {
        lab.run(command).exits(5).says(SERVER).says("kinstall.lock");
        assert_eq!(lock(&lab), before, "a pin never changes silently");
    }
    assert!(!lab.path("nodes/node1/usr").exists());
    lab.run(["fetch", "inventory.toml", "--update"])
        .exits(0)
        .says("wrote kinstall.lock");
    assert_ne!(lock(&lab), before);
    lab.run(PUSH).exits(0);
}

/// Replaces what stands between two texts, the first time.
fn between(text: &str, from: &str, to: &str, with: &str) -> String {
    let start = text.find(from).unwrap() + from.len();
    let end = start + text[start..].find(to).unwrap();
    format!("{}{with}{}", &text[..start], &text[end..])
}

#[test]
fn a_lock_that_no_kinstall_writes_is_refused_with_its_place() {
    let lab = Lab::new();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let good = lock(&lab);
    let digest = |with: &str| between(&good, "sha256 = \"", "\"", with);
    let block = |number: usize| {
        format!(
            "[[artifact]]\nsource = \"kubernetes\"\npath = \"p{number}\"\nversion = \"1.32.3\"\narch = \"arm64\"\n\
             size = 5\nsha256 = \"{}\"\ntrust = \"published\"\n",
            "e".repeat(64)
        )
    };
    let many = good.clone() + &(0..100_000).map(block).collect::<String>();
    let rows = [
        (
            good.replace("path = \"release/", "path = \"../../../release/"),
            "is no path that",
        ),
        (
            good.replace("name = \"etcd\"", "name = \"../../../tmp/x\""),
            "is no name of a program",
        ),
        (digest("abc"), "is not a SHA-256 digest"),
        (digest(&"../".repeat(22)), "is not a SHA-256 digest"),
        (
            between(&good, "size = ", "\n", "18446744073709551615"),
            "line ",
        ),
        (
            between(&good, "size = ", "\n", "9223372036854775807"),
            "a size is from 1 to",
        ),
        (between(&good, "size = ", "\n", "-1"), "line "),
        (between(&good, "size = ", "\n", "0"), "a size is from 1 to"),
        (
            good.replace(KUBERNETES, "99999999999999999999.1.1"),
            "is not a version",
        ),
        (good.clone() + "x=" + &"[".repeat(100_000), "line "),
        (many, "is larger than 4194304 bytes"),
        (
            good.replace("arch = \"amd64\"", "arch = \"\\u001b[2J\""),
            "line ",
        ),
        (good.clone() + "\"\\u001b]0;PWNED\\u0007\" = 1\n", "line "),
    ];
    for (text, told) in rows {
        fs::write(lab.path("kinstall.lock"), &text).unwrap();
        for command in [&["fetch", "inventory.toml"][..], &PUSH] {
            let output = lab
                .run(command)
                .exits(2)
                .says("kinstall.lock` ")
                .says(told)
                .says("take the file back from version control");
            assert!(output.stderr.len() < 2000, "{output}");
        }
        assert_eq!(lock(&lab), text);
        assert!(!lab.path("nodes").exists());
    }
    fs::write(lab.path("kinstall.lock"), &good).unwrap();
    lab.run(PUSH).exits(0);
}

#[test]
fn what_a_lock_says_of_trust_is_not_believed() {
    let lab = Lab::new();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let good = lock(&lab);
    for word in ["built-in", "published", "yours"] {
        let text = good.replace("trust = \"mirror\"", &format!("trust = \"{word}\""));
        fs::write(lab.path("kinstall.lock"), &text).unwrap();
        lab.run(["fetch", "inventory.toml"])
            .exits(0)
            .prints("  claimed\n")
            .prints("the word of `kinstall.lock`, which cannot be checked here");
        for required in ["built-in", "published"] {
            lab.run(["fetch", "inventory.toml", "--require", required])
                .exits(5);
        }
        lab.edit("[source]", "[source]\nrequire = \"published\"");
        for command in ["plan", "push"] {
            lab.run([command, "inventory.toml", "--into", "nodes"])
                .exits(5)
                .says("it rests on the word of `kinstall.lock`");
        }
        lab.edit("[source]\nrequire = \"published\"", "[source]");
        assert!(!lab.path("nodes/node1/usr").exists());
    }
}

#[test]
fn an_error_page_is_no_program() {
    let lab = Lab::new();
    let shelf = shelf(&lab.path("mirror"));
    fs::remove_file(shelf.join(SERVER)).unwrap();
    lab.run(PUSH)
        .exits(5)
        .says("there is no file")
        .says("kube-apiserver");
    let page = "<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>";
    stock(&lab.path("mirror"), SERVER, page.as_bytes());
    lab.run(PUSH).exits(5).says("kube-apiserver");
    assert!(!lab.path("kinstall.lock").exists());
    stock(&lab.path("mirror"), SERVER, &elf(SERVER));
    lab.run(PUSH).exits(0);
}

#[test]
fn a_program_for_another_architecture_is_refused() {
    let lab = Lab::new();
    let mut arm = elf(SERVER);
    arm[18] = 183;
    stock(&lab.path("mirror"), SERVER, &arm);
    lab.run(PUSH).exits(5).says("kube-apiserver").says("arm64");
    assert!(!lab.path("nodes/node1/usr").exists());
}

#[test]
fn a_cache_that_rotted_is_fetched_again() {
    let lab = Lab::new();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let digest = Digest::of(&elf(SERVER));
    let rotten = holding(lab.cache(), digest);
    assert!(!rotten.is_empty());
    for path in &rotten {
        flip(path);
    }
    lab.run(PUSH)
        .exits(0)
        .says("the cache held other bytes; it is fetched again");
    assert_right(&lab);
}

#[test]
fn what_rotted_compressed_never_gets_into_place() {
    let lab = Lab::new();
    lab.run(PUSH).exits(0);
    let before = content(&lab.path("nodes/node1"));
    fs::remove_dir_all(lab.path("nodes")).unwrap();
    let members = fs::read_dir(lab.cache().join("member")).unwrap();
    let members: Vec<_> = members.map(|entry| entry.unwrap().path()).collect();
    assert!(!members.is_empty());
    for path in &members {
        flip(path);
    }
    let first = lab.run(PUSH);
    // Whether it is noticed here or on the node, a rerun must not fail for ever.
    if first.code != Some(0) {
        assert!(
            !lab.path("nodes/node1/usr/local/bin/kube-apiserver")
                .exists(),
            "{first}"
        );
        fs::remove_dir_all(lab.cache().join("member")).unwrap();
        lab.run(PUSH).exits(0);
    }
    assert_eq!(before, content(&lab.path("nodes/node1")));
}

#[test]
fn a_store_that_rotted_is_noticed() {
    let lab = Lab::new();
    lab.run(PUSH).exits(0);
    let before = content(&lab.path("nodes/node2"));
    let digest = Digest::of(&elf(SERVER));
    flip(&lab.path(&format!("nodes/node2/var/lib/kinstall/store/{digest}")));
    fs::remove_file(lab.path(&format!(
        "nodes/node2/usr/local/bin/kube-apiserver-v{KUBERNETES}"
    )))
    .unwrap();
    lab.run(PUSH).exits(0).says("node2: staged");
    assert_eq!(before, content(&lab.path("nodes/node2")));
    assert_right(&lab);
}

#[test]
fn what_rotted_without_a_trace_is_found_by_verify() {
    let lab = Lab::new();
    lab.run(PUSH).exits(0);
    let before = content(&lab.path("nodes/node3"));
    // A disk that returns other bytes changes no time: the index is told of the change, as if
    // there had been none.
    let path = lab.path("nodes/node3/etc/k8s/shared/kubernetes-ca.pem");
    let index = lab.path("nodes/node3/var/lib/kinstall/index");
    let text = fs::read_to_string(&index).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("kubernetes-ca.pem "))
        .unwrap();
    let digest = line.rsplit(' ').next().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] = b'*';
    fs::write(&path, bytes).unwrap();
    let shown = std::process::Command::new("find")
        .arg("./etc/k8s/shared/kubernetes-ca.pem")
        .args(["-printf", "%p %y %m %u %g %s %T@ %C@ %i"])
        .current_dir(lab.path("nodes/node3"))
        .env("TZ", "UTC0")
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    fs::write(&index, text.replace(line, &format!("{shown} {digest}"))).unwrap();
    lab.run(PUSH).exits(0).says("nothing to do");
    let verify = [&PUSH[..], &["--verify"]].concat();
    lab.run(verify).exits(0).says("1 change on 1 node");
    assert_eq!(before, content(&lab.path("nodes/node3")));
}

/// Every node's server is the mirror's, byte for byte.
#[track_caller]
fn assert_right(lab: &Lab) {
    for node in ["node1", "node2", "node3"] {
        let server = fs::read(lab.path(&format!("nodes/{node}/usr/local/bin/{SERVER}")));
        assert!(server.unwrap() == elf(SERVER), "{node}");
    }
}
