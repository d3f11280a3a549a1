//! What genuine kubectl reads in a kubeconfig before a cluster is merged into it, it reads after.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use kinstall::certificate::{
    AuthorityName, CertificateId, Credentials, Kind, Leaf, ServiceAccountPair,
};
use kinstall::inventory::{Cluster, Inventory};
use kinstall::kubeconfig;
use kinstall::secret::Secret;
use serde_json::{Value, json};

use super::files::{Dice, file};

const FILES: usize = 2_000;
/// So many are read at once, by a list in `KUBECONFIG`: a start of kubectl takes longer than reading.
const AT_ONCE: usize = 100;
/// These are read one by one too: of a list, only the first with a current context tells it.
const ALONE: usize = 20;

fn cluster() -> Cluster {
    let text = "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n\
                [[node]]\nname = \"node1\"\naddress = \"10.0.0.1\"\n";
    let parsed = Inventory::parse(text, "inventory.toml", Path::new(""));
    parsed.unwrap().0.cluster
}

fn credentials() -> Credentials {
    let id = CertificateId {
        kind: Kind::Admin,
        node: None,
    };
    let leaf = Leaf {
        chain_pem: "certificate".to_owned(),
        key_pem: Secret::new("key"),
        dated: 0,
        not_before: 0,
        not_after: 1,
    };
    Credentials {
        authorities: [(AuthorityName::Kubernetes, "authority".to_owned())].into(),
        leaves: [(id, leaf)].into(),
        service_account: ServiceAccountPair {
            private_pem: Secret::new(""),
            public_pem: String::new(),
        },
        encryption_config: Secret::new(""),
        encryption_history: vec![],
        signing_key_pem: None,
    }
}

/// What kubectl reads in these files together.
fn view(files: &[PathBuf]) -> Result<Value, String> {
    let output = Command::new("kubectl")
        .args(["config", "view", "--raw", "-o", "json"])
        .env("KUBECONFIG", std::env::join_paths(files).unwrap())
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// The same without the cluster that was merged in, which must be there.
fn without_home(mut view: Value) -> Value {
    for (list, name) in [
        ("clusters", "home"),
        ("users", "home-admin"),
        ("contexts", "home"),
    ] {
        let entries = view[list].as_array_mut().unwrap();
        let before = entries.len();
        entries.retain(|entry| entry["name"] != name);
        assert_eq!(entries.len() + 1, before, "{list} lack `{name}`");
        if entries.is_empty() {
            view[list] = Value::Null;
        }
    }
    if view["current-context"] == "home" {
        view["current-context"] = json!("");
    }
    view
}

#[track_caller]
fn same(before: &Value, after: Value, files: &[PathBuf]) {
    let mut after = without_home(after);
    // Of several files the first that names a context wins, and one that named none names ours now.
    if files.len() > 1 && after["current-context"] == "" {
        after["current-context"] = before["current-context"].clone();
    }
    if *before == after {
        return;
    }
    for key in [
        "clusters",
        "users",
        "contexts",
        "preferences",
        "extensions",
        "current-context",
    ] {
        assert_eq!(before[key], after[key], "{key} of {files:?}");
    }
    assert_eq!(*before, after, "{files:?}");
}

#[test]
fn what_kubectl_reads_before_it_reads_after() {
    if Command::new("kubectl").arg("--help").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no `kubectl`");
        println!("NOT RUN: what_kubectl_reads_before_it_reads_after: there is no `kubectl` here");
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let (cluster, credentials) = (cluster(), credentials());
    let files: Vec<PathBuf> = (0..FILES)
        .map(|number| {
            let path = room.path().join(format!("{number}.yaml"));
            let text = file(&mut Dice::new(number), &format!("f{number}"));
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let merge = |path: &PathBuf| {
        let text = Secret::new(fs::read(path).unwrap());
        let merged = kubeconfig::merged(&text, &cluster, &credentials).unwrap();
        let merged = merged.unwrap_or_else(|problem| {
            let text = String::from_utf8_lossy(text.expose()).into_owned();
            panic!("{}: {problem}\n{text}", path.display())
        });
        fs::write(path, merged.text.expose()).unwrap();
    };
    std::thread::scope(|scope| {
        for half in files.chunks(files.len() / 2) {
            scope.spawn(move || {
                for files in half.chunks(AT_ONCE) {
                    let alone = &files[..ALONE / (FILES / AT_ONCE)];
                    let before = view(files).unwrap();
                    let each: Vec<_> = alone
                        .iter()
                        .map(|it| view(std::slice::from_ref(it)).unwrap())
                        .collect();
                    files.iter().for_each(merge);
                    same(&before, view(files).unwrap(), files);
                    for (before, file) in each.iter().zip(alone) {
                        let file = std::slice::from_ref(file);
                        same(before, view(file).unwrap(), file);
                    }
                }
            });
        }
    });
}

#[test]
fn what_kubectl_refuses_is_refused() {
    if Command::new("kubectl").arg("--help").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no `kubectl`");
        println!("NOT RUN: what_kubectl_refuses_is_refused: there is no `kubectl` here");
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("config");
    let (cluster, credentials) = (cluster(), credentials());
    for text in [
        "clusters: [{name: a}, {name: a}]",
        "users: [{name: a, user: {token: 12345678}}]",
        "users: [{name: a, user: {client-key-data: '*'}}]",
        "users: [{name: a, user: {exec: {args: [get, 1_000]}}}]",
        "users: [{name: a, user: {auth-provider: {config: {expires: yes}}}}]",
        "contexts: [{name: 1, context: {}}]",
        "contexts: [{name: a, context: {namespace: 0o17}}]",
        "clusters: [{name: a, cluster: {insecure-skip-tls-verify: 'true'}}]",
        "clusters: {a: b}",
        "contexts:\n- name: a\n  context:\n  cluster: a\n   user: b\n",
        "- a",
        "kind: Pod\napiVersion: v1",
        "a: 1\n\tb: 2",
        "a: .nan",
        "a: !!binary '*'",
        "~: a",
        "a: *none",
        "a: \u{7}",
        "a: &x [*x]",
        "<<: [a]",
        "a: {b: c",
        "a: 'b",
        "a: b: c",
        "a: @b",
        "a: %b",
        "? [a]\n: b",
        "preferences: {colors: 1}",
    ] {
        fs::write(&path, text).unwrap();
        let read = view(std::slice::from_ref(&path));
        assert!(read.is_err(), "kubectl reads {text:?}: {read:?}");
        let merged = kubeconfig::merged(&Secret::new(text), &cluster, &credentials).unwrap();
        assert!(merged.is_err(), "merged into {text:?}");
    }
}
