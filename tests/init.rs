//! Promises about the first minutes: `init`, `--help`, mistakes in the inventory or the command.

use fs_err as fs;

use crate::lab::Lab;

#[test]
fn init_writes_an_inventory_that_the_other_commands_take() {
    let lab = Lab::empty();
    lab.run([
        "init",
        "--nodes",
        "az1=10.0.12.1,az2=10.0.22.1,az3=10.0.32.1",
    ])
    .exits(0)
    .says("wrote inventory.toml; next: edit it, then `kinstall push inventory.toml`");
    lab.run([
        "render",
        "inventory.toml",
        "--arch",
        "arm64",
        "--out",
        "tree",
    ])
    .exits(0)
    .says("files for 3 nodes in tree");
    assert!(
        lab.path("tree/az2/etc/systemd/system/etcd.service")
            .is_file()
    );
}

#[test]
fn init_never_overwrites() {
    let lab = Lab::empty();
    lab.write("mine");
    lab.run(["init"])
        .exits(2)
        .says("`inventory.toml` is there already, and is left as it is");
    assert_eq!(
        fs::read_to_string(lab.path("inventory.toml")).unwrap(),
        "mine"
    );
    fs::os::unix::fs::symlink("nowhere", lab.path("link.toml")).unwrap();
    lab.run(["init", "link.toml"]).exits(2);
    assert!(!lab.path("nowhere").exists());
}

#[test]
fn a_node_that_is_none_is_refused() {
    let lab = Lab::empty();
    lab.run(["init", "--nodes", "Az1"])
        .exits(2)
        .says("`Az1` is not a node");
    assert!(!lab.path("inventory.toml").exists());
}

#[test]
fn a_bad_inventory_is_shown_where_it_is_bad() {
    let lab = Lab::new();
    lab.edit("kubernetes = \"1.32.99\"", "kubernets = \"1.32.99\"");
    for command in ["push", "plan", "status", "fetch"] {
        lab.run([command, "inventory.toml"])
            .exits(2)
            .says("`[cluster]` knows no key `kubernets`")
            .says("perhaps `kubernetes` is meant")
            .says("kubernets = \"1.32.99\"");
    }
    assert!(!lab.path("pki").exists() && !lab.path("kinstall.lock").exists());
}

#[test]
fn an_inventory_that_is_not_there_is_named() {
    Lab::empty()
        .run(["push", "inventory.toml"])
        .exits(2)
        .says("inventory.toml")
        .says("`kinstall init` writes a starter inventory");
}

#[test]
fn a_node_that_the_inventory_lacks_is_named() {
    Lab::new()
        .run([
            "push",
            "inventory.toml",
            "--into",
            "nodes",
            "--limit",
            "node1,node9",
        ])
        .exits(2)
        .says("`--limit node9`: the inventory has no node of that name")
        .says("it has node1, node2, node3");
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = Lab::empty().run(["--help"]).exits(0);
    let mut help = help;
    for word in [
        "init",
        "fetch",
        "render",
        "plan",
        "push",
        "status",
        "kubeconfig",
        "completions",
    ] {
        help = help.prints(&format!("\n  {word} "));
    }
    for code in ["0", "1", "2", "3", "4", "5", "7", "130"] {
        help = help.prints(&format!("\n  {code}  "));
    }
    assert_eq!(help.stderr, "");
}

#[test]
fn wrong_usage_ends_with_two() {
    let lab = Lab::empty();
    lab.run(["push"]).exits(2).says("<INVENTORY>");
    lab.run(["pull", "inventory.toml"]).exits(2).says("pull");
    lab.run(["push", "inventory.toml", "--jobs", "0"])
        .exits(2)
        .says("--jobs");
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Lab::empty().run(["completions", shell]).exits(0);
        assert!(output.stdout.contains("kubeconfig"), "{output}");
    }
    let lab = Lab::empty();
    let output = lab.run(["completions", "bash"]).exits(0);
    fs::write(lab.path("kinstall.bash"), &output.stdout).unwrap();
    let read = std::process::Command::new("bash")
        .args(["-n", "kinstall.bash"])
        .current_dir(lab.path(""))
        .status();
    assert!(read.unwrap().success(), "bash can read its completions");
}

#[test]
fn json_is_json_in_every_end() {
    let lab = Lab::new();
    let failed = lab
        .run(["plan", "inventory.toml", "--into", "nodes", "--json"])
        .exits(2);
    let json = failed.json();
    assert_eq!(json["exit_code"], 2);
    let message = json["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("not pinned in `kinstall.lock` yet: "),
        "{message}"
    );
    assert!(
        json["errors"][0]["help"]
            .as_str()
            .unwrap()
            .contains("kinstall fetch")
    );

    let fetched = lab
        .run(["fetch", "inventory.toml", "--json"])
        .exits(0)
        .json();
    let names: Vec<_> = fetched
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(fetched[0]["sha256"].as_str().unwrap().len(), 64);

    let plan = lab
        .run(["plan", "inventory.toml", "--into", "nodes", "--json"])
        .exits(3)
        .json();
    assert_eq!(
        (&plan["cluster"], &plan["changes"]),
        (&"home".into(), &true.into())
    );
    assert_eq!(plan["nodes"].as_array().unwrap().len(), 3);
    let pushed = lab
        .run(["push", "inventory.toml", "--into", "nodes", "--json"])
        .exits(0);
    assert_eq!(
        pushed.json()["order"],
        plan["order"],
        "push does what plan showed"
    );
}

#[test]
fn there_are_manual_pages() {
    let lab = Lab::empty();
    lab.run(["man"]).exits(0).prints(".TH kinstall 1");
    lab.run(["man", "push"]).exits(0).prints("kinstall\\-push");
    lab.run(["man", "pusch"])
        .exits(2)
        .says("there is no command `pusch`")
        .says("push");
    lab.run(["man", "--out", "pages"]).exits(0);
    let page = fs::read_to_string(lab.path("pages/kinstall-push.1")).unwrap();
    assert!(page.contains("through"), "{page}");
}
