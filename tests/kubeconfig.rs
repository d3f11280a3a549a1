//! Promises about the kubeconfig that people have already: a cluster is put into it, and nothing else
//! of it changes.

use std::process::Command;

use fs_err as fs;

use crate::lab::Lab;

const THEIRS: &str = "# mine
apiVersion: v1
kind: Config
current-context: other
preferences: {}
users:
- name: me   # by hand
  user:
    token: abc
contexts:
- context: {cluster: other, user: me}
  name: other
clusters:
- cluster:
    server: https://other:6443
  name: other
";

#[test]
fn a_cluster_is_merged_into_the_users_own_file_and_kubectl_reads_it() {
    let lab = Lab::new();
    fs::create_dir(lab.path(".kube")).unwrap();
    let config = lab.path(".kube/config");
    fs::write(&config, THEIRS).unwrap();
    let merge = || {
        let mut command = lab.command(["kubeconfig", "inventory.toml", "--merge"]);
        crate::lab::Going::start(command.env("HOME", lab.path(""))).finish()
    };
    merge().exits(0).says("knows `home`").says("before: ");
    let merged = fs::read_to_string(&config).unwrap();
    // All of theirs, in their order, with more between.
    let mut lines = merged.lines();
    for line in THEIRS.lines() {
        assert!(
            lines.any(|it| it == line),
            "no `{line}` in its place in\n{merged}"
        );
    }
    let backups = fs::read_dir(lab.path(".kube")).unwrap();
    let mut backups = backups.map(|entry| entry.unwrap().path());
    let backup = backups.find(|path| path.extension().is_some_and(|it| it == "bak"));
    assert_eq!(fs::read_to_string(backup.unwrap()).unwrap(), THEIRS);
    merge().exits(0).says("has it already");
    // Any other file is named; where there is none yet, one is made.
    let named = format!("--merge={}", lab.path("new/config").display());
    lab.run(["kubeconfig", "inventory.toml", &named]).exits(0);
    assert!(lab.path("new/config").exists());

    let kubectl = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(&config)
        .args([
            "config",
            "view",
            "-o",
            "jsonpath={.contexts[*].name} {.current-context}",
        ])
        .output();
    let Ok(output) = kubectl else {
        assert!(std::env::var_os("CI").is_none(), "there is no `kubectl`");
        println!("NOT RUN: kubectl reads a merged kubeconfig: there is no `kubectl` here");
        return;
    };
    let read = String::from_utf8(output.stdout).unwrap();
    // kubectl tells them in the order of their names.
    assert_eq!(read, "home other other");
}
