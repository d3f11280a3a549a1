//! Promises about a repository that somebody else can write to: what lies in it leads kinstall to
//! no other file of this machine, to no device and into no wait.

use std::os::unix::fs::symlink;

use fs_err as fs;

use crate::lab::Lab;

const INTO: [&str; 4] = ["push", "inventory.toml", "--into", "nodes"];

/// A file of this machine's that is nobody else's business.
fn secret(lab: &Lab) -> std::path::PathBuf {
    let secret = lab.path("secret");
    fs::write(&secret, "root:$6$hash:19000\n").unwrap();
    secret
}

/// A lab whose project lies in a directory of its own.
fn lab() -> Lab {
    let lab = Lab::new();
    fs::create_dir(lab.path("project")).unwrap();
    fs::rename(
        lab.path("inventory.toml"),
        lab.path("project/inventory.toml"),
    )
    .unwrap();
    lab
}

fn fifo(lab: &Lab, path: &str) {
    rustix::fs::mkfifoat(rustix::fs::CWD, lab.path(path), 0o644.into()).unwrap();
}

#[test]
fn an_inventory_is_a_regular_file_or_a_link_to_an_inventory() {
    let lab = lab();
    let check = |path: &str| lab.run(["check", path]);
    symlink(secret(&lab), lab.path("project/link.toml")).unwrap();
    check("project/link.toml")
        .exits(2)
        .says("link.toml` is a link to `")
        .says("outside `project`")
        .never_says("$6$hash");
    for (name, target, kind) in [
        ("zero.toml", "/dev/zero", "outside `project`"),
        ("directory.toml", ".", "is a directory, not a regular file"),
        ("gone.toml", "nowhere", "which is not there"),
    ] {
        symlink(target, lab.path("project").join(name)).unwrap();
        check(&format!("project/{name}")).exits(2).says(kind);
    }
    check("/dev/zero")
        .exits(2)
        .says("`/dev/zero` is a device, not a regular file");
    fifo(&lab, "project/fifo.toml");
    check("project/fifo.toml")
        .exits(2)
        .says("is a FIFO, not a regular file");
    fs::write(lab.path("long.toml"), vec![b'#'; (4 << 20) + 1]).unwrap();
    check("long.toml")
        .exits(2)
        .says("`long.toml` is larger than 4194304 bytes");

    // What users do.
    symlink("project/inventory.toml", lab.path("current")).unwrap();
    check("current").exits(0);
    symlink("../project/inventory.toml", lab.path("project/same.toml")).unwrap();
    check("project/same.toml").exits(0);
    let pipe = "exec \"$0\" check <(cat project/inventory.toml)";
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", pipe, env!("CARGO_BIN_EXE_kinstall")]);
    let output = bash.current_dir(lab.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn templates_lie_in_their_directory() {
    let lab = Lab::new();
    let policy = lab.path("templates/audit-policy.yaml");
    fs::create_dir_all(lab.path("templates/shared")).unwrap();
    let refused = |said: &str| {
        lab.run(INTO).exits(2).says(said).never_says("$6$hash");
        fs::remove_file(&policy).unwrap();
        assert!(!lab.path("nodes").exists());
    };
    symlink(secret(&lab), &policy).unwrap();
    refused("audit-policy.yaml` is a link to `");
    symlink("/dev/zero", &policy).unwrap();
    refused("is a link to `/dev/zero`, outside `");
    fifo(&lab, "templates/audit-policy.yaml");
    refused("audit-policy.yaml` is a FIFO, not a regular file");
    fs::write(&policy, vec![b'#'; 256 * 1024 + 1]).unwrap();
    refused("is larger than 262144 bytes");
    symlink("/etc", &policy).unwrap();
    refused("is a link to `/etc`, outside `");
    for name in ["a", "b", "c", "d"] {
        symlink(".", lab.path("templates").join(name)).unwrap();
    }
    lab.run(INTO).exits(2).says("deeper than 8");
    for name in ["a", "b", "c", "d"] {
        fs::remove_file(lab.path("templates").join(name)).unwrap();
    }

    // One file may stand for another of the same directory.
    fs::write(lab.path("templates/shared/.policy"), "kind: Policy\n").unwrap();
    symlink("shared/.policy", &policy).unwrap();
    lab.run(["render", "inventory.toml", "--out", "out"])
        .exits(0);
    let rendered = lab.path("out/node1/etc/k8s/kube-apiserver/audit-policy.yaml");
    assert_eq!(fs::read_to_string(rendered).unwrap(), "kind: Policy\n");
}

#[test]
fn the_lockfile_and_the_journal_lie_beside_the_inventory() {
    let lab = lab();
    let push = || lab.run(["push", "project/inventory.toml", "--into", "nodes"]);
    let secret = secret(&lab);
    for name in ["kinstall.lock", "kinstall.history", "kinstall.pods"] {
        let file = lab.path("project").join(name);
        for target in [secret.as_path(), "/dev/zero".as_ref(), "nowhere".as_ref()] {
            symlink(target, &file).unwrap();
            push()
                .exits(2)
                .says(&format!("{name}` is a link to `"))
                .never_says("$6$hash");
            fs::remove_file(&file).unwrap();
        }
        fifo(&lab, &format!("project/{name}"));
        push()
            .exits(2)
            .says(&format!("{name}` is a FIFO, not a regular file"));
        fs::remove_file(&file).unwrap();
    }
    assert!(!lab.path("nodes/node1/etc").exists());
    assert_eq!(fs::read_to_string(&secret).unwrap(), "root:$6$hash:19000\n");

    // Both may be kept in a directory below, and stay there.
    let lock = lab.path("project/kinstall.lock");
    fs::create_dir(lab.path("project/kept")).unwrap();
    fs::rename(lock, lab.path("project/kept/kinstall.lock")).unwrap();
    fs::write(lab.path("project/kept/kinstall.history"), "").unwrap();
    for name in ["kinstall.lock", "kinstall.history"] {
        symlink(format!("kept/{name}"), lab.path("project").join(name)).unwrap();
    }
    push().exits(0);
    for name in ["kinstall.lock", "kinstall.history"] {
        assert!(lab.path("project").join(name).is_symlink());
        assert!(
            fs::metadata(lab.path("project/kept").join(name))
                .unwrap()
                .len()
                > 0
        );
    }
    lab.run(["history", "project/inventory.toml"])
        .exits(0)
        .prints("push");
}

#[test]
fn files_that_hold_secrets_are_regular() {
    let lab = Lab::new();
    lab.run(INTO).exits(0);
    let name = "pki/encryption-config.yaml";
    let file = lab.path(name);
    fs::rename(&file, lab.path("elsewhere")).unwrap();
    symlink("/dev/zero", &file).unwrap();
    lab.run(INTO)
        .says("encryption-config.yaml` is a device, not a regular file");
    fs::remove_file(&file).unwrap();
    fifo(&lab, name);
    lab.run(INTO)
        .says("encryption-config.yaml` is a FIFO, not a regular file");
    fs::remove_file(&file).unwrap();
    // As tools that keep secrets have it.
    symlink(lab.path("elsewhere"), &file).unwrap();
    lab.run(INTO).exits(0);
}
