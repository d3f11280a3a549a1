//! Promises about nodes that are not as kinstall wants them: each is told what is missing before
//! anything is changed; and one that only lacks zstd is served without.

use crate::bed::{Bed, PUSH};

const UNTOUCHED: &str =
    "ls -d /etc/k8s /etc/etcd /etc/systemd/system/etcd.service 2>/dev/null || :";

#[test]
fn nodes_that_are_unfit_are_told_why() {
    let Some(bed) = Bed::take("nodes_that_are_unfit_are_told_why") else {
        return;
    };
    let full = bed.special(4, "--small-disk 24");
    let lab = bed.lab(&[&full]);
    lab.run(PUSH)
        .exits(1)
        .says("node4: `/var/lib/kinstall` has 2")
        .says("nothing was changed on any node")
        .says("make room on the node");
    assert_eq!(bed.on(&full, UNTOUCHED), "");

    let bare = bed.special(5, "--no-systemd");
    let lab = bed.lab(&[&bare]);
    lab.run(PUSH)
        .exits(1)
        .says("node5: is not run by systemd, and kinstall's units need systemd 241 or newer")
        .says("push --into DIR");
    assert_eq!(bed.on(&bare, UNTOUCHED), "");

    // A 32-bit system under a 64-bit kernel, and an inventory that takes it for the kernel's.
    let pi = bed.special(6, "--arch armhf");
    let lab = bed.lab(&[&pi]);
    lab.edit("name = \"node6\"", "name = \"node6\"\narch = \"arm64\"");
    lab.run(PUSH)
        .exits(1)
        .says("node6: the inventory says `arch = \"arm64\"`, and the node's programs are armhf")
        .says("a 32-bit system under a 64-bit kernel is usual on Raspberry Pis");
    lab.edit("arch = \"arm64\"", "arch = \"amd64\"");
    lab.run(PUSH).exits(1).says("the node's programs are armhf");
    assert_eq!(bed.on(&pi, UNTOUCHED), "");
}

#[test]
fn a_node_without_zstd_is_sent_gzip() {
    let Some(bed) = Bed::take("a_node_without_zstd_is_sent_gzip") else {
        return;
    };
    let old = bed.special(7, "--without zstd");
    let lab = bed.lab(&[&old]);
    assert_eq!(bed.on(&old, "command -v zstd || echo none"), "none");
    lab.run(PUSH).exits(0).says("done: 1 node changed");
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("all healthy");
    lab.run(PUSH).exits(0).says("nothing to do");
}
