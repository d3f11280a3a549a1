//! What becomes of Node objects.

use super::*;

fn registration() -> Registration {
    Registration {
        version: "1.20.2".to_owned(),
        labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        taints: [Taint::control_plane()].into(),
        pod_range: Some("10.200.0.0/24".parse().unwrap()),
        servers: vec!["10.0.0.1:6443".parse().unwrap()],
    }
}

fn node(value: Value) -> Node {
    serde_json::from_value(value).unwrap()
}

/// The object as the API holds it once it was made.
fn made() -> Value {
    let Change::Make(mut object) = change("w", None, &registration(), None) else {
        panic!("it is made");
    };
    object["metadata"]["resourceVersion"] = json!("7");
    object
}

#[test]
fn a_node_is_made_with_all_that_a_kubelet_may_not_say() {
    let object = made();
    assert_eq!(object["metadata"]["labels"], json!({ "disk": "ssd" }));
    assert_eq!(object["spec"]["podCIDR"], "10.200.0.0/24");
    assert_eq!(object["spec"]["podCIDRs"], json!(["10.200.0.0/24"]));
    let taint = json!({ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" });
    assert_eq!(object["spec"]["taints"], json!([taint]));
    let again = change("w", Some(&node(object)), &registration(), None);
    assert_eq!(again, Change::Nothing);
}

#[test]
fn what_others_gave_a_node_stays_and_what_kinstall_gave_goes() {
    let mut object = made();
    object["metadata"]["labels"]["theirs"] = json!("x");
    let not_ready = json!({ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" });
    object["spec"]["taints"]
        .as_array_mut()
        .unwrap()
        .push(not_ready.clone());
    let mut wanted = registration();
    wanted.labels = [("rack".to_owned(), "2".to_owned())].into();
    wanted.taints.clear();
    let Change::Patch(patch) = change("w", Some(&node(object)), &wanted, None) else {
        panic!("it is changed");
    };
    assert_eq!(
        patch["metadata"]["labels"],
        json!({ "disk": null, "rack": "2" })
    );
    assert_eq!(patch["spec"]["taints"], json!([not_ready]));
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
}

#[test]
fn a_node_that_somebody_else_made_is_taken_over() {
    let theirs = node(json!({ "metadata": { "labels": { "disk": "hdd", "a": "b" } } }));
    let Change::Patch(patch) = change("w", Some(&theirs), &registration(), None) else {
        panic!("it is changed");
    };
    assert_eq!(patch["metadata"]["labels"], json!({ "disk": "ssd" }));
    assert_eq!(patch["spec"]["podCIDR"], "10.200.0.0/24");
}

#[test]
fn a_range_that_differs_and_another_machine_are_refused() {
    let mut object = made();
    object["spec"]["podCIDR"] = json!("10.200.9.0/24");
    let Change::Refused { why, help } = change("w", Some(&node(object)), &registration(), None)
    else {
        panic!("it is refused");
    };
    assert_eq!(
        why,
        "the Node `w` has the Pod range 10.200.9.0/24, and `kinstall.pods` gives it 10.200.0.0/24"
    );
    assert!(help.contains("kinstall.pods"));
    let mut object = made();
    object["status"] = json!({
        "nodeInfo": { "machineID": "aa", "kubeletVersion": "v1.20.2" },
        "conditions": [{ "type": "Ready", "status": "True" }],
    });
    let other = change(
        "w",
        Some(&node(object.clone())),
        &registration(),
        Some("bb"),
    );
    assert!(
        matches!(other, Change::Refused { why, .. } if why.contains("another machine (aa, and this is bb)"))
    );
    let own = change(
        "w",
        Some(&node(object.clone())),
        &registration(),
        Some("aa"),
    );
    assert_eq!(own, Change::Nothing);
    // One that is not there any more gives its name away.
    object["status"]["conditions"][0]["status"] = json!("Unknown");
    let gone = change("w", Some(&node(object)), &registration(), Some("bb"));
    assert_eq!(gone, Change::Nothing);
}

#[test]
fn ready_is_what_the_new_kubelet_says() {
    let status = |status: &str, version: &str, message: &str| {
        node(json!({ "status": {
            "nodeInfo": { "kubeletVersion": version },
            "conditions": [
                { "type": "MemoryPressure", "status": "False" },
                { "type": "Ready", "status": status, "reason": "KubeletNotReady", "message": message },
            ],
        } }))
    };
    let lacks = |it: &Node| it.lacks(&registration(), None);
    assert_eq!(lacks(&status("True", "v1.20.2", "")), None);
    assert_eq!(lacks(&status("True", "v1.20.2+rpi1", "")), None);
    assert!(lacks(&status("True", "v1.20.20", "")).is_some());
    let before = lacks(&status("True", "v1.19.9", ""));
    assert_eq!(
        before.as_deref(),
        Some("it is Ready, still with kubelet v1.19.9")
    );
    let ill = status(
        "False",
        "v1.20.2",
        "runtime network not ready: cni plugin not initialized",
    );
    assert!(
        lacks(&ill)
            .unwrap()
            .starts_with("KubeletNotReady: runtime network")
    );
    assert!(ill.waits_for_a_network());
    let down = status("False", "v1.20.2", "container runtime is down");
    assert!(!down.waits_for_a_network());
    assert_eq!(
        lacks(&Node::default()).as_deref(),
        Some("its kubelet has told nothing yet")
    );
}

#[test]
fn what_a_kubelet_said_before_it_was_started_again_is_not_believed() {
    let heard = node(json!({ "status": {
        "nodeInfo": { "kubeletVersion": "v1.20.2" },
        "conditions": [{ "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-30T02:03:29Z" }],
    } }));
    let lacks = |since| heard.lacks(&registration(), since);
    assert_eq!(lacks(None), None);
    assert_eq!(lacks(Some("2026-11-30T02:03:29Z")), None);
    let stale = lacks(Some("2026-11-30T02:03:30Z")).unwrap();
    assert!(stale.starts_with("it was Ready before"), "{stale}");
    // Somebody else's condition may have no time at all.
    let other =
        json!({ "status": { "conditions": [{ "type": "Odd", "lastHeartbeatTime": null }] } });
    assert!(node(other).ready().is_none());
}

#[test]
fn a_node_is_opened_to_pods_again_by_whoever_closed_it() {
    let patch = |change| match change {
        Change::Patch(patch) => patch,
        other => panic!("{other:?}"),
    };
    let open = node(json!({ "metadata": { "resourceVersion": "7" } }));
    assert_eq!(uncordon(Some(&open)), Change::Nothing);
    let closing = patch(cordon(Some(&open)));
    assert_eq!(closing["spec"]["unschedulable"], true);
    assert_eq!(closing["metadata"]["resourceVersion"], "7");

    // As the API holds it then: nothing is done twice, and it is opened again.
    let ours = node(closing);
    assert_eq!(cordon(Some(&ours)), Change::Nothing);
    let opening = patch(uncordon(Some(&ours)));
    assert_eq!(opening["spec"]["unschedulable"], Value::Null);
    let annotations = &opening["metadata"]["annotations"];
    assert_eq!(annotations, &json!({ "kinstall/cordoned": null }));

    let theirs = node(json!({ "spec": { "unschedulable": true } }));
    assert_eq!(
        (cordon(Some(&theirs)), uncordon(Some(&theirs))),
        (Change::Nothing, Change::Nothing)
    );
}
