//! Promises about the kubeconfig that people have already: a cluster is put into it, and nothing else
//! of it changes.

mod files;
mod genuine;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fs_err as fs;

use crate::lab::{Going, Lab, Output};

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

/// What `kinstall kubeconfig --merge` does with this `KUBECONFIG`, at home in the lab.
#[track_caller]
fn merge(lab: &Lab, file: Option<&str>, kubeconfig: Option<&str>) -> Output {
    let word = file.map_or("--merge".to_owned(), |file| {
        format!("--merge={}", lab.path(file).display())
    });
    let mut command = lab.command(["kubeconfig", "inventory.toml", &word]);
    command.env("HOME", lab.path("")).env_remove("KUBECONFIG");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    Going::start(&mut command).finish()
}

/// What kubectl says of a kubeconfig; none where there is no kubectl, which is said.
fn kubectl(test: &str, config: &Path, jsonpath: &str) -> Option<String> {
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(config)
        .args(["config", "view", "--raw", "-o"])
        .arg(format!("jsonpath={jsonpath}"))
        .output();
    let Ok(output) = output else {
        assert!(std::env::var_os("CI").is_none(), "there is no `kubectl`");
        println!("NOT RUN: {test}: there is no `kubectl` here");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn write(lab: &Lab, file: &str, text: impl AsRef<[u8]>) {
    fs::create_dir_all(lab.path(file).parent().unwrap()).unwrap();
    fs::write(lab.path(file), text).unwrap();
}

fn backup(lab: &Lab, directory: &str) -> std::path::PathBuf {
    let entries = fs::read_dir(lab.path(directory)).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let backup = paths.find(|path| path.extension().is_some_and(|it| it == "bak"));
    backup.expect("a copy of what was there before")
}

#[test]
fn a_cluster_is_merged_into_the_users_own_file_and_kubectl_reads_it() {
    let lab = Lab::new();
    let config = lab.path(".kube/config");
    write(&lab, ".kube/config", THEIRS);
    merge(&lab, None, None)
        .exits(0)
        .says("knows `home`; `kubectl config use-context home` makes it")
        .says("before: ");
    let merged = fs::read_to_string(&config).unwrap();
    // All of theirs, in their order, with more between.
    let mut lines = merged.lines();
    for line in THEIRS.lines() {
        assert!(
            lines.any(|it| it == line),
            "no `{line}` in its place in\n{merged}"
        );
    }
    let backup = backup(&lab, ".kube");
    assert_eq!(fs::read_to_string(&backup).unwrap(), THEIRS);
    assert_eq!(fs::metadata(backup).unwrap().mode() & 0o777, 0o600);
    merge(&lab, None, None).exits(0).says("has it already");
    // Any other file is named, and kubectl has to be told of it too; where there is none yet, one is made.
    merge(&lab, Some("new/config"), None)
        .exits(0)
        .says("`kubectl --kubeconfig ")
        .says("/new/config config use-context home` makes it");
    let made = |file: &str| fs::metadata(lab.path(file)).unwrap().mode() & 0o777;
    assert_eq!((made("new"), made("new/config")), (0o700, 0o600));

    let test = "a_cluster_is_merged_into_the_users_own_file_and_kubectl_reads_it";
    // kubectl tells them in the order of their names.
    let names = "{.contexts[*].name} {.current-context}";
    if let Some(read) = kubectl(test, &config, names) {
        assert_eq!(read, "home other other");
    }
}

#[test]
fn it_goes_where_kubectl_goes() {
    let lab = Lab::new();
    let at = |file: &str| lab.path(file).display().to_string();
    let list = format!("{}::{}:{}", at("none"), at("a"), at("b"));
    // None is there: the last.
    merge(&lab, None, Some(&list))
        .exits(0)
        .says("/b knows `home`");
    fs::remove_file(lab.path("b")).unwrap();
    // The first that is there, and what kubectl is told is true.
    write(&lab, "a", THEIRS);
    write(&lab, "b", THEIRS.replace("other", "third"));
    let said = merge(&lab, None, Some(&list))
        .exits(0)
        .says("/a knows `home`");
    drop(said.says("; `kubectl config use-context home`"));
    // The one that has the cluster, whatever comes before.
    fs::rename(lab.path("a"), lab.path("c")).unwrap();
    let list = format!("{}:{}", at("b"), at("c"));
    merge(&lab, None, Some(&list))
        .exits(0)
        .says("/c has it already");
    assert!(!lab.path(".kube").exists());
    // A link that leads nowhere yet: what it leads to is made, and the link stays.
    fs::create_dir(lab.path(".kube")).unwrap();
    symlink("../real/config", lab.path(".kube/config")).unwrap();
    merge(&lab, None, None).exits(0);
    assert!(lab.path(".kube/config").is_symlink());
    assert_eq!(
        fs::metadata(lab.path("real/config")).unwrap().mode() & 0o777,
        0o600
    );
    symlink("round", lab.path("round")).unwrap();
    merge(&lab, Some("round"), None)
        .exits(1)
        .says("is a link without an end");
}

#[test]
fn what_is_no_regular_file_is_left_alone() {
    let lab = Lab::new();
    let at = |file: &str| lab.path(file);
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let mut kinds = vec![
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("directory", "a directory"),
    ];
    // A device of our own, as /dev/null is one.
    let device = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    if rustix::fs::mknodat(rustix::fs::CWD, at("device"), kind, 0o600.into(), device).is_ok() {
        kinds.push(("device", "a device"));
    }
    for (name, kind) in kinds {
        let before = fs::symlink_metadata(at(name)).unwrap();
        merge(&lab, Some(name), None)
            .exits(2)
            .says(&format!("{name}` is {kind}, not a regular file"));
        symlink(name, at(&format!("{name}-link"))).unwrap();
        merge(&lab, Some(&format!("{name}-link")), None)
            .exits(2)
            .says(kind);
        let after = fs::symlink_metadata(at(name)).unwrap();
        let is = |it: &std::fs::Metadata| (it.ino(), it.mode(), it.rdev());
        assert_eq!(is(&before), is(&after), "{name}");
    }
    let names = fs::read_dir(lab.path("")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.contains(".bak") || name.contains(".lock")));
}

#[test]
fn owner_group_and_mode_stay_and_what_is_new_is_the_owners_alone() {
    let lab = Lab::new();
    write(&lab, "theirs/config", THEIRS);
    let config = lab.path("theirs/config");
    fs::set_permissions(&config, std::fs::Permissions::from_mode(0o640)).unwrap();
    if std::os::unix::fs::chown(&config, Some(12_345), Some(23_456)).is_err() {
        println!("NOT RUN: another owner's kubeconfig: this is not root");
    }
    let before = fs::metadata(&config).unwrap();
    merge(&lab, Some("theirs/config"), None)
        .exits(0)
        .says("others than its owner may read");
    let is = |it: &std::fs::Metadata| (it.uid(), it.gid(), it.mode());
    assert_eq!(is(&fs::metadata(&config).unwrap()), is(&before));
    let backup = fs::metadata(backup(&lab, "theirs")).unwrap();
    assert_eq!(is(&backup), (before.uid(), before.gid(), 0o100_600));
    // Whatever the umask is.
    let word = format!(
        "umask 0; exec \"$0\" kubeconfig inventory.toml --merge={}",
        lab.path("deep/.kube/config").display()
    );
    let done = Command::new("sh")
        .args(["-c", &word, env!("CARGO_BIN_EXE_kinstall")])
        .current_dir(lab.path(""))
        .env("KINSTALL_CACHE", lab.cache())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let mode = |file: &str| fs::metadata(lab.path(file)).unwrap().mode() & 0o777;
    assert_eq!(
        (mode("deep/.kube"), mode("deep/.kube/config")),
        (0o700, 0o600)
    );
}

#[test]
fn what_were_texts_stay_texts_for_kubectl() {
    let lab = Lab::new();
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "work",
        "clusters": [{"name": "w", "cluster": {"server": "https://work:6443"}}],
        "contexts": [{"name": "work", "context": {"cluster": "w", "user": "w", "namespace": "0b11"}}],
        "users": [{"name": "w", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "login",
            "args": ["1_000", "yes", "1e+3_0", "a\u{85}b", "bell\u{7}", "1:30", "0o17"],
            "env": [{"name": "A", "value": "on"}], "interactiveMode": "Never",
        }}}],
    });
    let text = json.to_string();
    write(&lab, "config", &text);
    let read = |file: &Path| {
        kubectl(
            "what_were_texts_stay_texts_for_kubectl",
            file,
            "{.users[?(@.name==\"w\")]}{.contexts[?(@.name==\"work\")]}",
        )
    };
    let before = read(&lab.path("config"));
    merge(&lab, Some("config"), None).exits(0);
    // JSON stays JSON.
    let merged = fs::read_to_string(lab.path("config")).unwrap();
    let merged: serde_json::Value = serde_json::from_str(&merged).unwrap();
    assert_eq!(merged["contexts"][1], json["contexts"][0]);
    assert_eq!(merged["users"][1], json["users"][0]);
    assert_eq!(read(&lab.path("config")), before);
    // Nothing in it, to kubectl and to us.
    for empty in ["# only a comment\n", "---\n", "", " \n"] {
        write(&lab, "empty", empty);
        merge(&lab, Some("empty"), None).exits(0);
        if let Some(read) = kubectl("what_were_texts", &lab.path("empty"), "{.contexts[*].name}") {
            assert_eq!(read, "home");
        }
    }
    // A key twice: kubectl takes the last, and so it stays; the user is told.
    write(
        &lab,
        "twice",
        THEIRS.replace("    token: abc\n", "    token: abc\n    token: abd\n"),
    );
    merge(&lab, Some("twice"), None)
        .exits(0)
        .says("sets `token` again in line 10; kubectl takes the last");
}

#[test]
fn what_kubectl_cannot_read_is_refused_with_its_reason_and_stays() {
    let lab = Lab::new();
    let laugh: String = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let alias = format!("*a{},", n - 1).repeat(10);
        format!("{text}a{n}: &a{n} [{alias}]\n")
    });
    let rows: [(&str, Vec<u8>); 7] = [
        (
            "`clusters` has two entries of the name `other`",
            format!("{THEIRS}- cluster:\n    server: a\n  name: other\n").into(),
        ),
        (
            "`contexts[0].context.user`: expected a text, found a number",
            THEIRS.replace("user: me}", "user: 0b11}").into(),
        ),
        ("it is not YAML (line 2): ", b"a: 1\nb: [\n".into()),
        ("neither UTF-8 nor UTF-16", b"kind: \xe9\n".into()),
        (
            "line 2 has a control character",
            b"kind: Config\n# \x1b[2J\n".into(),
        ),
        ("its aliases stand for more than 20000 values", laugh.into()),
        (
            "it is not a kubeconfig",
            b"kind: Pod\napiVersion: v1\n".into(),
        ),
    ];
    for (reason, text) in rows {
        write(&lab, "config", &text);
        let output = lab.run(["kubeconfig", "inventory.toml", "--merge=config"]);
        output.exits(1).says(reason).says("`config` stays as it is");
        assert_eq!(fs::read(lab.path("config")).unwrap(), text);
    }
    fs::write(lab.path("config"), vec![b'#'; (16 << 20) + 1]).unwrap();
    let output = lab.run(["kubeconfig", "inventory.toml", "--merge=config"]);
    output.exits(2).says("is larger than 16777216 bytes");
}
