//! What kinstall renders, with any one flag made wrong, is refused.

use std::path::Path;
use std::process::Command;

use kinstall::component;
use kinstall::flags::{FlagTable, Kind};
use kinstall::inventory::Inventory;
use kinstall::manifest::{self, Situation};
use kinstall::version::Version;

const SERVERS: [&str; 3] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The command line that kinstall gives a server of this version, in a cluster of three.
fn rendered(server: &str, version: Version) -> Vec<(String, String)> {
    let node = |n| format!("[[node]]\nname = \"az{n}\"\naddress = \"10.0.{n}2.1\"\n");
    let nodes = [1, 2, 3].map(node).concat();
    let text = format!("[cluster]\nname = \"home\"\nkubernetes = \"{version}\"\n{nodes}");
    let (inventory, _) = Inventory::parse(&text, "inventory.toml", Path::new("/lab")).unwrap();
    let situation = Situation {
        inventory: &inventory,
        node: inventory.nodes.values().next().unwrap(),
        arch: None,
        signing_key: true,
    };
    let component = component::named(server).unwrap();
    let preview = manifest::Preview::of(situation).unwrap();
    let command = preview.command(component).unwrap();
    let flags = command.flags.into_iter();
    flags.map(|given| (given.name, given.value)).collect()
}

/// A value that no flag of this kind can have, where there is such a one.
fn wrong(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Bool => Some("perhaps"),
        Kind::Int | Kind::Int32 | Kind::Uint | Kind::Float => Some("many"),
        Kind::Duration => Some("10"),
        Kind::Ip => Some("nowhere"),
        Kind::Gates => Some("Gate"),
        Kind::Any | Kind::List | Kind::Text | Kind::Version => None,
    }
}

/// How a server ends with these flags, and what it says.
fn run(program: &Path, flags: &[(String, String)]) -> (Option<i32>, String) {
    let words = flags
        .iter()
        .map(|(name, value)| format!("--{name}={value}"));
    let output = Command::new(program).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[track_caller]
fn check(program: &Path, server: &str, version: Version) {
    let right = rendered(server, version);
    // The files are not there, so it ends all the same, but not over a flag.
    let (_, said) = run(program, &right);
    for complaint in ["unknown flag", "invalid argument"] {
        assert!(!said.contains(complaint), "{server} {version}: {said}");
    }
    let table = FlagTable::of(server).unwrap();
    for index in 0..right.len() {
        let (name, _) = &right[index];
        let mut misspelt = right.clone();
        misspelt[index].0 = format!("{name}x");
        let (code, said) = run(program, &misspelt);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("unknown flag: --{name}x")), "{said}");
        let kind = table.flag(name, version).unwrap().kind;
        if let Some(value) = wrong(kind) {
            let mut mistyped = right.clone();
            value.clone_into(&mut mistyped[index].1);
            let (code, said) = run(program, &mistyped);
            assert_eq!(code, Some(1), "{said}");
            assert!(
                said.contains(&format!("\"--{name}\" flag")),
                "{name}: {said}"
            );
        }
    }
}

#[test]
fn any_one_flag_made_wrong_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (major, minor, patch) in [(1, 20, 2), (1, 36, 3)] {
        let version = Version::new(major, minor, patch);
        for server in SERVERS {
            let program = directory.path().join(format!("{server}-{version}"));
            let made = Command::new(env!("CARGO_BIN_EXE_standin"))
                .args([
                    "make",
                    "--name",
                    server,
                    "--version",
                    &version.to_string(),
                    "--out",
                ])
                .arg(&program)
                .status();
            assert!(made.unwrap().success());
            check(&program, server, version);
        }
    }
}
