//! Moving Pods away before a worker's turn: they run elsewhere, the node is open again, and what cannot be
//! moved leaves everything as it is.

use super::{kubectl, nodes, reader, reads, wait};
use crate::bed::{Bed, NODES, PUSH};
use crate::lab::Lab;

/// Pods that may run on any worker, one whose volume lives as long as it does, and a budget that lets none
/// of them go.
const MOVABLE: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: movable}
spec:
  replicas: 2
  selector: {matchLabels: {app: movable}}
  template:
    metadata: {labels: {app: movable}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: serve
        image: kinstall.test/serve:1
        imagePullPolicy: Never
        args: [netexec, --http-port=8080]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes: [{name: scratch, emptyDir: {}}]
";
const BUDGET: &str = r"
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: movable}
spec:
  maxUnavailable: 0
  selector: {matchLabels: {app: movable}}
";
/// One that nothing would make again.
const BARE: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 1
  containers:
  - name: serve
    image: kinstall.test/serve:1
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
";

fn apply(lab: &Lab, name: &str, text: &str) {
    fs_err::write(lab.path(name), text).unwrap();
    let file = lab.path(name).display().to_string();
    kubectl(lab, "node1", &["apply", "-f", &file]);
}

/// The nodes on which the Pods of the Deployment run, once all of them are ready.
#[track_caller]
fn places(lab: &Lab) -> String {
    let ask = |path: &str| {
        let path = format!("jsonpath={path}");
        kubectl(
            lab,
            "node1",
            &["get", "pods", "-l", "app=movable", "-o", &path],
        )
    };
    wait("both Pods are ready", || {
        ask("{.items[*].status.containerStatuses[0].ready}") == "true true"
    });
    ask("{.items[*].spec.nodeName}")
}

/// The nodes that are closed to new Pods.
fn closed(lab: &Lab) -> String {
    nodes(lab, "{.items[?(@.spec.unschedulable==true)].metadata.name}")
}

#[track_caller]
pub(super) fn pods_are_moved_away(bed: &Bed, lab: &Lab) {
    apply(lab, "movable.yaml", MOVABLE);
    assert!(!places(lab).contains("node1"), "it is tainted");
    lab.edit(
        "stable-seconds = 1",
        "stable-seconds = 1\ndrain = \"always\"",
    );
    lab.edit("maxPods = 60", "maxPods = 61");
    let told = lab.run(["plan", "inventory.toml"]).exits(3);
    told.prints("! its Pods are moved to other nodes first");
    reader(bed, "node1");
    let mut pushed = lab.run(PUSH).exits(0);
    for node in ["node2", "node3"] {
        pushed = pushed
            .says(&format!("{node}: moving its Pods to other nodes"))
            .says(&format!("{node}: open to Pods again"));
    }
    pushed.says("node3: 2 Pods moved in ");
    // The last one that had its turn had its Pods moved away, and none came back since.
    assert_eq!(places(lab), "node2 node2");
    assert_eq!(
        (closed(lab), capacity(lab)),
        (String::new(), "61 61 61".to_owned())
    );
    let (ok, failed) = reads(bed, "node1");
    assert!(ok > 20 && failed == 0, "{ok} reads, {failed} failed");

    what_cannot_be_moved_stays(bed, lab);
    a_run_that_is_killed_leaves_it_to_the_next(lab);
    lab.edit("drain = \"always\"\n", "");
    kubectl(lab, "node1", &["delete", "deployment", "movable"]);
    println!("moved Pods away from three workers: {ok} reads, none failed");
}

fn capacity(lab: &Lab) -> String {
    nodes(lab, "{.items[*].status.capacity.pods}")
}

/// A Pod that would be lost, and Pods whose budget lets none of them go.
#[track_caller]
fn what_cannot_be_moved_stays(bed: &Bed, lab: &Lab) {
    let ask = || NODES.map(|node| bed.started(node, "kubelet"));
    let before = ask();
    apply(lab, "bare.yaml", BARE);
    lab.edit("maxPods = 61", "maxPods = 62");
    lab.run(PUSH)
        .exits(1)
        .says("node2: its Pods cannot be moved to other nodes (kubectl drain, on node1): error: ")
        .says("default/bare")
        .says("nothing was started there");
    assert_eq!(closed(lab), "");
    assert_eq!(ask()[1..], before[1..], "a kubelet was restarted");
    kubectl(lab, "node1", &["delete", "pod", "bare"]);

    apply(lab, "budget.yaml", BUDGET);
    lab.edit(
        "drain = \"always\"",
        "drain = \"always\"\ndrain-seconds = 10",
    );
    lab.run(PUSH)
        .exits(1)
        .says("node2: its Pods cannot be moved to other nodes")
        .says("disruption budget");
    assert_eq!(closed(lab), "");
    assert_eq!(ask()[1..], before[1..], "a kubelet was restarted");
    lab.edit("drain-seconds = 10\n", "");
}

/// Whoever comes next opens the node again.
#[track_caller]
fn a_run_that_is_killed_leaves_it_to_the_next(lab: &Lab) {
    let mut going = lab.start(PUSH);
    going.wait_for("node2: moving its Pods to other nodes");
    going.signal("KILL");
    drop(going.finish());
    assert_eq!(closed(lab), "node2");
    kubectl(lab, "node1", &["delete", "pdb", "movable"]);
    // The run that was killed holds its nodes until they know.
    wait("the nodes are free", || lab.run(PUSH).code == Some(0));
    assert_eq!(
        (closed(lab), capacity(lab)),
        (String::new(), "62 62 62".to_owned())
    );
    assert_eq!(places(lab).split(' ').count(), 2);
}
