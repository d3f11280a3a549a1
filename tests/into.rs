//! Promises of `push --into DIR`: each node's tree is written, a rerun touches nothing, and what
//! somebody changed there is noticed, told and put back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;

use crate::lab::{KUBERNETES, Lab};
use crate::tree::{Tree, content, differing, tree};

const PUSH: [&str; 4] = ["push", "inventory.toml", "--into", "nodes"];
const PLAN: [&str; 5] = ["plan", "inventory.toml", "--into", "nodes", "--json"];
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const UNIT: &str = "/etc/systemd/system/kube-apiserver.service";

/// A lab whose three directories were pushed to.
fn pushed() -> Lab {
    let lab = Lab::new();
    lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    lab
}

fn at(lab: &Lab, node: &str, path: &str) -> PathBuf {
    lab.path(&format!("nodes/{node}{path}"))
}

fn trees(lab: &Lab) -> [Tree; 3] {
    NODES.map(|node| tree(&at(lab, node, "")))
}

/// What plan says of a path on a node.
#[track_caller]
fn planned(plan: &Value, node: &str, path: &str) -> Value {
    let of = |list: &Value, key: &str, name: &str| {
        let list = list.as_array().unwrap().iter();
        list.into_iter().find(|it| it[key] == name).cloned()
    };
    let node = of(&plan["nodes"], "node", node).unwrap_or_else(|| panic!("no {node} in {plan}"));
    of(&node["entries"], "path", path).unwrap_or_else(|| panic!("no {path} in {node}"))
}

#[test]
fn each_directory_becomes_a_node_s_root() {
    let lab = pushed();
    for node in NODES {
        let tree = tree(&at(&lab, node, ""));
        let is = |path: &str| tree.get(path).unwrap_or_else(|| panic!("no {path}"));
        let server = format!("-> kube-apiserver-v{KUBERNETES}");
        assert_eq!(is("/usr/local/bin/kube-apiserver").what, server);
        assert_eq!(
            is(&format!("/usr/local/bin/kube-apiserver-v{KUBERNETES}")).mode,
            0o755
        );
        assert_eq!(is("/usr/local/bin/etcd").what, "-> etcd-v3.5.99");
        for unit in [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ] {
            let file = format!("/etc/systemd/system/{unit}.service");
            let wanted = format!("/etc/systemd/system/multi-user.target.wants/{unit}.service");
            assert_eq!(is(&wanted).what, format!("-> {file}"));
            assert!(is(&file).mode & 0o022 == 0);
        }
        let key = is("/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls.key");
        assert!(key.what.starts_with("-> kube-apiserver-tls-2"), "{key:?}");
        assert_eq!(
            is("/etc/k8s/kube-apiserver/encryption-config.yaml").mode,
            0o400
        );
        assert_eq!(
            is("/etc/k8s/kube-scheduler/kube-scheduler.kubeconfig").mode,
            0o400
        );
    }
}

#[test]
fn no_secret_can_be_read_by_others() {
    let lab = pushed();
    let mut secrets = 0;
    for node in NODES {
        let root = at(&lab, node, "");
        for (path, item) in tree(&root).iter().filter(|(_, item)| item.mode != 0) {
            let file = root.join(&path[1..]);
            if file.is_dir() || path.starts_with("/usr/local/bin/") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let is_secret = ["PRIVATE KEY", "secret: ", "client-key-data"]
                .iter()
                .any(|word| text.contains(word));
            if is_secret {
                assert_eq!(item.mode & 0o137, 0, "{path} has mode {:o}", item.mode);
                secrets += 1;
            }
        }
        let state = fs::metadata(root.join("var/lib/kinstall")).unwrap();
        assert_eq!(
            state.permissions().mode() & 0o077,
            0,
            "copies of all lie there"
        );
    }
    assert!(secrets > 30, "{secrets} secrets were looked at");
}

#[test]
fn a_second_push_touches_nothing() {
    let lab = pushed();
    let lock = fs::read(lab.path("kinstall.lock")).unwrap();
    let before = trees(&lab);
    let state = || NODES.map(|node| content(&at(&lab, node, "/var/lib")));
    let state_before = state();
    lab.run(PUSH).exits(0).says("home: nothing to do");
    lab.run(PLAN).exits(0);
    assert_eq!(
        before,
        trees(&lab),
        "contents, modes, inodes and times are the same"
    );
    assert_eq!(state_before, state());
    assert_eq!(lock, fs::read(lab.path("kinstall.lock")).unwrap());
}

#[test]
fn a_flag_replaces_one_unit_file_on_each_node() {
    let lab = pushed();
    let before = trees(&lab);
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    let plan = lab.run(PLAN).exits(3).json();
    for node in NODES {
        let diff = planned(&plan, node, UNIT)["diff"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(diff.contains("-    --audit-log-maxage=60"), "{diff}");
        assert!(diff.contains("+    --audit-log-maxage=61"), "{diff}");
    }
    lab.run(PUSH)
        .exits(0)
        .says("home: 3 changes on 3 nodes, 3 services");
    for (before, after) in before.iter().zip(trees(&lab)) {
        let directory = "/etc/systemd/system";
        let paths = differing(before, &after);
        // A rename into a directory changes the directory's times, as it must.
        let links = format!("{directory}/multi-user.target.wants");
        let link = format!("{links}/kube-apiserver.service");
        let due = [directory, UNIT, &links, &link];
        assert!(
            paths.iter().all(|path| due.contains(&path.as_str())),
            "{paths:?}"
        );
        assert_ne!(before[UNIT].what, after[UNIT].what);
        assert_eq!(before[&link].what, after[&link].what);
    }
}

/// Things that somebody does to a node by hand: at which path, what kind of change that is to
/// plan, and how it is done.
type ByHand = (&'static str, &'static str, fn(&Path));

const BY_HAND: [ByHand; 9] = [
    (UNIT, "replace", |path| {
        // In place, as an editor may: this goes through to whatever shares the inode.
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, text.replace("=60", "=99")).unwrap();
    }),
    ("/etc/systemd/system/etcd.service", "replace", |path| {
        fs::remove_file(path).unwrap();
        fs::write(path, "[Service]\n").unwrap();
    }),
    ("/etc/k8s/shared/kubernetes-ca.pem", "replace", |path| {
        // Neither size nor time of modification tell.
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let file = file.into_parts().0;
        let modified = file.metadata().unwrap().modified().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"*", 100).unwrap();
        file.set_modified(modified).unwrap();
    }),
    ("/etc/k8s/shared/service-account.pem", "create", |path| {
        fs::remove_file(path).unwrap();
    }),
    ("/usr/local/bin/kubectl", "create", |path| {
        fs::remove_file(path).unwrap();
    }),
    ("/usr/local/bin/etcd", "replace", |path| {
        fs::remove_file(path).unwrap();
        fs::os::unix::fs::symlink("/tmp/etcd", path).unwrap();
    }),
    (
        "/etc/k8s/kube-apiserver/encryption-config.yaml",
        "attributes",
        |path| fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap(),
    ),
    ("/usr/local/bin/etcdctl-v3.5.99", "attributes", |path| {
        fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    }),
    ("/etc/k8s/kube-apiserver", "attributes", |path| {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }),
];

#[test]
fn what_is_done_by_hand_is_told_and_undone() {
    let lab = pushed();
    let before = NODES.map(|node| content(&at(&lab, node, "")));
    let others = || [0, 2].map(|index: usize| trees(&lab)[index].clone());
    let others_before = others();
    for (path, _, act) in BY_HAND {
        act(&at(&lab, "node2", path));
    }
    let plan = lab.run(PLAN).exits(3).json();
    assert_eq!(plan["nodes"].as_array().unwrap().len(), 1, "{plan}");
    let entries = plan["nodes"][0]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), BY_HAND.len(), "{entries:?}");
    let mut shown = lab.run(&PLAN[..4]).exits(3);
    for (path, change, _) in BY_HAND {
        let entry = planned(&plan, "node2", path);
        assert_eq!(
            (&entry["change"], &entry["drift"]),
            (&change.into(), &true.into()),
            "{path}"
        );
        shown = shown.prints(&format!(" {path}  "));
    }
    assert_eq!(
        shown.stdout.matches("(changed by hand)").count(),
        BY_HAND.len(),
        "{shown}"
    );
    let by_hand = content(&at(&lab, "node2", ""));
    let mut refused = lab
        .run(PUSH.into_iter().chain(["--keep-drift"]))
        .exits(3)
        .says("changed by hand:")
        .says("without `--keep-drift` the inventory wins");
    for (path, change, _) in BY_HAND {
        let line = format!("node2: {path}");
        refused = if change == "create" {
            refused.never_says(&line)
        } else {
            refused.says(&line)
        };
    }
    assert_eq!(by_hand, content(&at(&lab, "node2", "")));
    lab.run(PUSH).exits(0);
    assert_eq!(before, NODES.map(|node| content(&at(&lab, node, ""))));
    assert_eq!(others_before, others(), "the other nodes are not touched");
    lab.run(PUSH).exits(0).says("nothing to do");
}

#[test]
fn what_is_in_the_way_is_replaced_only_by_who_says_so() {
    let lab = Lab::new();
    let path = at(&lab, "node1", UNIT);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "[Service]\nExecStart=/opt/kube-apiserver\n").unwrap();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let entry = planned(&lab.run(PLAN).exits(3).json(), "node1", UNIT);
    assert_eq!(
        (&entry["change"], &entry["unmanaged"]),
        (&"replace".into(), &true.into())
    );
    assert_eq!(fs::read(&path).unwrap().len(), 40, "plan changes nothing");
    lab.run(&PLAN[..4])
        .exits(3)
        .prints("(not put there by kinstall)");
    lab.run(PUSH)
        .exits(3)
        .says("in the way, and not put there by kinstall: node1: /etc/systemd/system/kube-apiserver.service")
        .says("say `--replace-unmanaged`")
        .says("nothing was changed on any node");
    assert_eq!(fs::read(&path).unwrap().len(), 40, "neither does push");
    assert!(!at(&lab, "node2", "/etc/k8s").exists());
    lab.run(PUSH.into_iter().chain(["--replace-unmanaged"]))
        .exits(0);
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .contains("--etcd-servers")
    );
}

/// A key that the cluster's data depends on differs: nothing is changed anywhere.
#[track_caller]
fn check_protected(path: &str) {
    let lab = pushed();
    fs::remove_dir_all(at(&lab, "node2", "/var/lib/kinstall")).unwrap();
    let file = at(&lab, "node2", path);
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, text + "\n").unwrap();
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    let before = trees(&lab);
    let refused = lab.run(PUSH).exits(1);
    refused
        .says(&format!(
            "node2: `{path}` holds another key than the one in `pki/`"
        ))
        .says("if the node is right, put its file into `pki/` in place of the other")
        .never_says("PRIVATE KEY")
        .never_says("secret:");
    assert_eq!(before, trees(&lab));
}

#[test]
fn another_encryption_key_is_never_replaced() {
    check_protected("/etc/k8s/kube-apiserver/encryption-config.yaml");
}

#[test]
fn another_service_account_key_is_never_replaced() {
    check_protected("/etc/k8s/shared/service-account.key");
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    let lab = pushed();
    lab.edit("name = \"home\"", "name = \"office\"");
    lab.run(PUSH)
        .exits(1)
        .says("node1: belongs to the cluster `home`, and the inventory is for `office`");
}

#[test]
fn what_a_newer_kinstall_recorded_is_told_as_such() {
    let lab = pushed();
    let record = at(&lab, "node1", "/var/lib/kinstall/recorded.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replacen('{', "{\"from-the-future\":1,", 1)).unwrap();
    let before = trees(&lab);
    lab.run(PUSH)
        .exits(1)
        .says("node1: what another kinstall recorded there cannot be read by this one")
        .says("use a kinstall as new as the one that was used there last");
    assert_eq!(trees(&lab), before);
}

#[test]
fn pins_that_rest_on_too_little_are_not_installed() {
    let lab = pushed();
    let before = trees(&lab);
    // The lockfile is older than the demand.
    lab.edit("[source]", "[source]\nrequire = \"published\"");
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    for command in ["plan", "push"] {
        lab.run([command, "inventory.toml", "--into", "nodes"])
            .exits(5)
            .says("etcd-v3.5.99-linux-amd64.tar.gz 3.5.99 amd64: it rests on ");
    }
    assert_eq!(trees(&lab), before);
}

#[test]
fn some_nodes_alone_can_be_meant() {
    let lab = Lab::new();
    lab.run([
        "push",
        "inventory.toml",
        "--into",
        "nodes",
        "--limit",
        "node2",
    ])
    .exits(0)
    .says("done: 1 node changed");
    assert!(!at(&lab, "node1", "").exists());
    assert!(at(&lab, "node2", UNIT).exists());
}

/// An `openssl` for the scripts of nodes to find: it notes its calls, then does what it is told to.
fn lend_openssl(lab: &Lab, body: &str) -> std::ffi::OsString {
    let bin = lab.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let real = std::env::var("PATH").unwrap();
    let calls = lab.path("calls").display().to_string();
    _ = fs::remove_file(&calls);
    let script = format!("#!/bin/sh\nPATH={real}\necho \"$@\" >>{calls}\n{body}\n");
    fs::write(bin.join("openssl"), script).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    fs::set_permissions(bin.join("openssl"), mode).unwrap();
    format!("{}:{real}", bin.display()).into()
}

#[test]
fn bytes_are_checked_by_openssl_where_it_is_there_and_agrees() {
    let lab = Lab::new();
    let calls = |openssl: &str, into: &str| {
        let mut command = lab.command(["push", "inventory.toml", "--into", into]);
        command.env("PATH", lend_openssl(&lab, openssl));
        crate::lab::Going::start(&mut command).finish().exits(0);
        fs::read_to_string(lab.path("calls")).unwrap()
    };
    let told = calls("exec openssl \"$@\"", "nodes");
    assert!(
        told.lines()
            .any(|line| line.starts_with("dgst -sha256 -r ")),
        "{told}"
    );
    // One that does not know what is known, and says of each file what its name is: it is asked for nothing
    // more.
    let lies = "[ $# -gt 3 ] || { echo 00 '*stdin'; exit; }
        shift 3; for it; do echo \"${it##*/} *$it\"; done";
    let told = calls(lies, "others");
    assert!(told.lines().all(|line| line == "dgst -sha256 -r"), "{told}");
    let programs = |into: &str| content(&lab.path(&format!("{into}/node1/usr/local/bin")));
    assert_eq!(programs("nodes"), programs("others"));
}
