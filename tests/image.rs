//! Promises about images with links in them: below `--into` a link leads where it would lead on the
//! machine that the image is for, and never to what the operator's machine has at that path.

use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use crate::lab::Lab;
use crate::tree::{Tree, tree};

const PUSH: [&str; 4] = ["push", "inventory.toml", "--into", "nodes"];

/// An image with links in it, and a directory outside that an absolute link names.
fn linked() -> (Lab, tempfile::TempDir) {
    let lab = Lab::new();
    let outside = tempfile::tempdir().unwrap();
    let image = lab.path("nodes/node1");
    let link = |target: &str, at: &str| {
        let at = image.join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    };
    link(outside.path().to_str().unwrap(), "usr/local");
    link("../../../../outside", "etc/systemd/system");
    link("/elsewhere", "var/lib/kinstall");
    link("/etc/passwd.real", "etc/passwd");
    link("/usr/bin/sh", "bin/sh");
    fs::create_dir_all(lab.path("outside")).unwrap();
    fs::create_dir_all(image.join("elsewhere")).unwrap();
    (lab, outside)
}

fn is_untouched(lab: &Lab, outside: &Path) {
    assert_eq!(tree(outside), Tree::new());
    assert_eq!(tree(&lab.path("outside")), Tree::new());
    assert!(!Path::new("/elsewhere").exists());
}

#[test]
fn links_in_an_image_never_lead_out_of_it() {
    let (lab, outside) = linked();
    lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    is_untouched(&lab, outside.path());
    let image = lab.path("nodes/node1");
    let local = image.join(outside.path().strip_prefix("/").unwrap());
    for path in [
        local.join("bin/kube-apiserver"),
        image.join("outside/etcd.service"),
        image.join("outside/multi-user.target.wants/etcd.service"),
        image.join("elsewhere/recorded.json"),
    ] {
        assert!(fs::symlink_metadata(&path).is_ok(), "{}", path.display());
    }
    // It is seen where it was put, too.
    let before = tree(&image);
    lab.run(PUSH).exits(0).says("home: nothing to do");
    lab.run(["plan", "inventory.toml", "--into", "nodes", "--verify"])
        .exits(0);
    assert_eq!(before, tree(&image));
    fs::write(image.join("outside/etcd.service"), "[Service]\n").unwrap();
    lab.run(["plan", "inventory.toml", "--into", "nodes"])
        .exits(3)
        .prints("/etc/systemd/system/etcd.service")
        .prints("+[Unit]");
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    lab.run(PUSH).exits(0);
    lab.run(PUSH).exits(0).says("home: nothing to do");
    is_untouched(&lab, outside.path());
}

#[test]
fn a_file_of_the_operator_s_is_not_read_through_an_image() {
    let lab = Lab::new();
    let secret = lab.path("secret");
    fs::write(&secret, "what only the operator may read\n").unwrap();
    let unit = lab.path("nodes/node1/etc/systemd/system/etcd.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    symlink(&secret, &unit).unwrap();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    lab.run(["plan", "inventory.toml", "--into", "nodes"])
        .exits(3)
        .never_says("what only the operator may read");
}

#[test]
fn kinstall_s_own_state_in_an_image_holds_no_links() {
    for name in ["busy", "journal.new", "store", "units", "recorded.json"] {
        let lab = Lab::new();
        let victim = lab.path("victim");
        let link = lab.path("nodes/node1/var/lib/kinstall").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&victim, &link).unwrap();
        let words = format!("{name} is no file that kinstall made: remove it");
        lab.run(PUSH).exits(4).says("node1").says(&words);
        assert!(!victim.exists());
    }
}

#[test]
fn a_link_that_leads_in_a_circle_is_refused() {
    let lab = Lab::new();
    let image = lab.path("nodes/node1/usr");
    fs::create_dir_all(&image).unwrap();
    symlink("local", image.join("local")).unwrap();
    lab.run(PUSH)
        .exits(4)
        .says("/usr/local is a link that cannot be followed: local");
    assert!(!lab.path("nodes/node2/etc").exists());
}

#[test]
fn a_rendered_tree_stays_in_its_directory() {
    let lab = Lab::new();
    let outside = tempfile::tempdir().unwrap();
    let root = lab.path("out/node1");
    fs::create_dir_all(root.join("etc/systemd")).unwrap();
    symlink(outside.path(), root.join("etc/systemd/system")).unwrap();
    symlink("/k8s", root.join("etc/k8s")).unwrap();
    fs::create_dir_all(root.join("k8s")).unwrap();
    lab.run(["render", "inventory.toml", "--out", "out"])
        .exits(0);
    assert_eq!(tree(outside.path()), Tree::new());
    assert!(root.join("k8s/shared/kubernetes-ca.pem").exists());
    assert!(!Path::new("/k8s").exists());
}
