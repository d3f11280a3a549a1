//! Promises of `push --through` on real nodes: a way over several versions is one command, hop by
//! hop, each healthy before the next; what cannot be gone is refused with the way that can.

use crate::bed::{Bed, NODES, PUSH};

const THROUGH: [&str; 4] = ["push", "inventory.toml", "--through", "1.33.99,1.34.99"];

#[test]
fn several_versions_are_one_push() {
    let Some(mut bed) = Bed::take("several_versions_are_one_push") else {
        return;
    };
    let lab = bed.pushed();
    bed.offer("1.33.99");
    bed.offer("1.34.99");
    lab.edit("kubernetes = \"1.32.99\"", "kubernetes = \"1.34.99\"");
    let starts = NODES.map(|node| bed.starts(node));
    lab.run(PUSH)
        .exits(1)
        .says("node1: kube-apiserver 1.32.99 runs there, and 1.34.99 may not follow it")
        .says("it skips 1.33")
        .says("`kinstall push --through 1.33.");
    lab.run(["push", "inventory.toml", "--through", "1.34.99"])
        .exits(2)
        .says("`--through` goes from 1.32.99 to 1.34.99, and no minor version may be skipped");
    lab.run(["push", "inventory.toml", "--through", "1.33.99"])
        .exits(2)
        .says("the last version of `--through` is the inventory's: 1.34.99");
    lab.run(["push", "inventory.toml", "--through", "1.33.98,1.34.99"])
        .exits(5)
        .says("could not fetch kube-apiserver 1.33.98");
    assert_eq!(NODES.map(|node| bed.starts(node)), starts);

    // The second hop fails: what is done stays, and the same command goes on from there.
    let mut going = lab.start(THROUGH);
    going.wait_for("hop 2 of 2: Kubernetes 1.34.99");
    bed.nodes("cut node3");
    let output = going.finish();
    bed.nodes("heal node3");
    output
        .exits(4)
        .says("hop 1 of 2: Kubernetes 1.33.99")
        .says("snapshot of etcd: ")
        .says("stopped in hop 2 of 2, Kubernetes 1.34.99")
        .says("Kubernetes 1.33.99, etcd 3.")
        .says("is done and healthy everywhere");
    let runs = |node: &str| bed.on(node, "readlink /proc/$(pidof kube-apiserver)/exe");
    assert_eq!(
        NODES.map(runs),
        ["/usr/local/bin/kube-apiserver-v1.33.99"; 3]
    );
    let output = lab
        .run(THROUGH)
        .exits(0)
        .says("hop 1 of 1: Kubernetes 1.34.99");
    println!("a hop took {:.1} s", output.seconds);
    assert_eq!(
        NODES.map(runs),
        ["/usr/local/bin/kube-apiserver-v1.34.99"; 3]
    );
    lab.run(THROUGH).exits(0).says("home: nothing to do");
    lab.run(["status", "inventory.toml"]).exits(0);
    lab.run(["history", "inventory.toml"])
        .exits(0)
        .prints("kubernetes 1.33.99");
}
