//! What answers are worth, a row each.

use serde_json::json;

use super::*;

fn reply(status: u16, object: &Value) -> Reply {
    let text = object.to_string();
    Reply { status, text }
}

fn ready_node() -> Value {
    json!({
        "spec": { "podCIDR": "10.200.1.0/24" },
        "status": {
            "conditions": [
                { "type": "MemoryPressure", "status": "False" },
                { "type": "Ready", "status": "True" },
            ],
            "addresses": [
                { "type": "Hostname", "address": "w" },
                { "type": "InternalIP", "address": "10.0.0.7" },
            ],
            "nodeInfo": { "kubeletVersion": "v1.32.3" },
        },
    })
}

#[test]
fn a_node_is_ready_and_what_the_inventory_says() {
    let wanted = WantedNode {
        version: "1.32.3".to_owned(),
        address: "10.0.0.7".parse().unwrap(),
        pod_range: Some("10.200.1.0/24".parse().unwrap()),
    };
    let check = |place: &str, value: Value, expected: Result<&str, &str>| {
        let mut found = ready_node();
        if let Some(place) = found.pointer_mut(place) {
            *place = value;
        }
        let told = node(&found, &wanted);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(told, expected, "{place}");
    };
    let well = "Ready, kubelet v1.32.3, 10.0.0.7, Pods in 10.200.1.0/24";
    check("/none", json!(0), Ok(well));
    check(
        "/status/conditions",
        json!([]),
        Err("its kubelet has told nothing yet"),
    );
    check(
        "/status/conditions/1",
        json!({ "type": "Ready", "status": "False", "reason": "No", "message": "no CNI" }),
        Err("not Ready: No: no CNI"),
    );
    check(
        "/status/nodeInfo/kubeletVersion",
        json!("v1.32.30"),
        Err("its kubelet is v1.32.30, and v1.32.3 is asked for"),
    );
    check(
        "/status/nodeInfo/kubeletVersion",
        json!("v1.32.3-rebuilt"),
        Ok("Ready, kubelet v1.32.3-rebuilt, 10.0.0.7, Pods in 10.200.1.0/24"),
    );
    check(
        "/status/addresses/1/address",
        json!("10.0.2.15"),
        Err("its InternalIP is 10.0.2.15, and the inventory says 10.0.0.7"),
    );
    check(
        "/spec/podCIDR",
        json!("10.200.9.0/24"),
        Err("its Pod range is 10.200.9.0/24, and `kinstall.pods` gives it 10.200.1.0/24"),
    );
    check(
        "/spec",
        json!({}),
        Err("its Pod range is none, and `kinstall.pods` gives it 10.200.1.0/24"),
    );
    let theirs = WantedNode {
        pod_range: None,
        ..wanted
    };
    assert_eq!(node(&ready_node(), &theirs).as_deref(), Ok(well));
}

#[test]
fn a_pod_serves_or_tells_why_not() {
    let worker: NodeName = "w".parse().unwrap();
    let check = |status: Value, expected: Result<&str, &str>| {
        let other = json!({ "metadata": { "name": "x" }, "spec": { "nodeName": "v" } });
        let goes = json!({
            "metadata": { "name": "y", "deletionTimestamp": "now" },
            "spec": { "nodeName": "w" },
        });
        let own = json!({
            "metadata": { "name": "z" }, "spec": { "nodeName": "w" }, "status": status,
        });
        let told = pod(&json!({ "items": [other, goes, own] }), &worker);
        let told = told.map(|pod| format!("{} {}", pod.name, pod.address));
        let told = told.map_err(|(name, why)| format!("{}: {why}", name.unwrap()));
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(told, expected);
    };
    let container = |ready: bool, state: &Value| {
        json!({
            "podIP": "10.200.1.2", "phase": "Running",
            "containerStatuses": [{ "ready": ready, "state": state }],
        })
    };
    check(container(true, &json!({})), Ok("z 10.200.1.2"));
    check(
        container(false, &json!({ "running": {} })),
        Err("z: it runs, and does not answer"),
    );
    let pulls = json!({ "waiting": { "reason": "ErrImagePull", "message": "no route" } });
    check(container(false, &pulls), Err("z: ErrImagePull: no route"));
    let ended = json!({ "terminated": { "reason": "Error" } });
    check(container(false, &ended), Err("z: Error"));
    check(json!({ "phase": "Pending" }), Err("z: it is Pending"));
    let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "DiskPressure. " });
    check(evicted, Err("z: Evicted: DiskPressure."));
    check(json!({}), Err("z: it is nothing yet"));
    let none = pod(&json!({}), &worker);
    assert_eq!(none, Err((None, "no Pod is scheduled there".to_owned())));
}

#[test]
fn the_last_complaint_about_something_is_told() {
    let event = |kind: &str, name: &str, reason: &str, at: &str| {
        json!({
            "type": kind, "reason": reason, "message": "m", "lastTimestamp": at,
            "involvedObject": { "name": name },
        })
    };
    let events = json!({ "items": [
        event("Warning", "p", "FailedMount", "2026-01-01T00:00:02Z"),
        event("Warning", "p", "FailedCreatePodSandBox", "2026-01-01T00:00:03Z"),
        event("Warning", "p", "Unhealthy", "2026-01-01T00:00:04Z"),
        event("Normal", "p", "Pulled", "2026-01-01T00:00:05Z"),
        event("Warning", "q", "BackOff", "2026-01-01T00:00:06Z"),
    ] });
    let told = complaint(&events, "p");
    assert_eq!(told.as_deref(), Some("FailedCreatePodSandBox: m"));
    assert_eq!(complaint(&events, "none"), None);
}

#[test]
fn a_pod_finds_what_it_was_sent_for_or_tells_why_not() {
    let check = |status, answer: Value, sought, expected: Result<(), &str>| {
        let told = dialled(&reply(status, &answer), sought);
        assert_eq!(told, expected.map_err(str::to_owned), "{answer}");
    };
    let pod = Sought::Pod("b");
    check(200, json!({ "responses": ["b"] }), pod, Ok(()));
    check(
        200,
        json!({ "responses": ["c"] }),
        pod,
        Err("somebody else answers: c"),
    );
    check(200, json!({ "errors": ["refused"] }), pod, Err("refused"));
    check(200, json!({}), pod, Err("no answer"));
    let refusal = "Client sent an HTTP request to an HTTPS server.\n";
    check(
        200,
        json!({ "responses": [refusal] }),
        Sought::Apiserver,
        Ok(()),
    );
    check(
        200,
        json!({ "errors": [format!("400: {refusal}")] }),
        Sought::Apiserver,
        Ok(()),
    );
    check(
        200,
        json!({ "responses": ["<html>"] }),
        Sought::Apiserver,
        Err("somebody else answers: <html>"),
    );
    check(200, json!({ "responses": [""] }), Sought::Anybody, Ok(()));
    check(
        200,
        json!({ "errors": ["no such host"] }),
        Sought::Anybody,
        Err("no such host"),
    );
    check(
        503,
        json!({ "message": "error trying to reach service" }),
        pod,
        Err("the Pod cannot be asked: 503: error trying to reach service"),
    );
}

#[test]
fn one_of_the_pods_answers_at_a_node() {
    let check = |answer, expected: Result<(), Why>| {
        assert_eq!(served(answer, ["a", "b"].into_iter()), expected);
    };
    let given = |status, text: &str| {
        let text = text.to_owned();
        Answer::Given { status, text }
    };
    check(given(200, "b"), Ok(()));
    let other = |words: &str| Err(Why::Failed(format!("somebody else answers: {words}")));
    check(given(200, "c"), other("200 c"));
    check(given(404, "a"), other("404 a"));
    let why = || "refused".to_owned();
    check(Answer::Failed(why()), Err(Why::Failed(why())));
    check(Answer::NotAsked(why()), Err(Why::NotChecked(why())));
}

#[test]
fn only_a_kubelet_that_says_401_refuses() {
    let check = |answer, expected: Result<&str, Why>| {
        assert_eq!(refused(answer), expected.map(str::to_owned));
    };
    let given = |status| Answer::Given {
        status,
        text: String::new(),
    };
    check(
        given(401),
        Ok("its kubelet refuses who shows no certificate (401)"),
    );
    for status in [200, 403] {
        let why =
            format!("its kubelet answers {status} to somebody without a certificate, and not 401");
        check(given(status), Err(Why::Failed(why)));
    }
    let why = || "down".to_owned();
    let down = "its kubelet cannot be asked: down".to_owned();
    check(Answer::Failed(why()), Err(Why::Failed(down)));
    check(Answer::NotAsked(why()), Err(Why::NotChecked(why())));
}

#[test]
fn a_value_is_encrypted_if_it_begins_like_that() {
    let check = |head: &str, provider, expected: Result<&str, Why>| {
        assert_eq!(
            stored(head, provider),
            expected.map(str::to_owned),
            "{head}"
        );
    };
    let well = "in etcd the Secret begins with k8s:enc:aescbc:v1:key1:";
    check("k8s:enc:aescbc:v1:key1:\n", Provider::Aescbc, Ok(well));
    let failed = |why: &str| Err(Why::Failed(why.to_owned()));
    let plain = "the Secret is in plain text in etcd";
    check("plain\n", Provider::Aescbc, failed(plain));
    check(
        "",
        Provider::Aescbc,
        failed("the Secret is not in its etcd"),
    );
    let told = stored("plain", Provider::File);
    assert!(matches!(told, Err(Why::NotChecked(why)) if why.starts_with(plain)));
}

#[test]
fn a_token_is_good_if_it_is_that_of_the_account() {
    let check = |status, answer: Value, expected: Result<(), &str>| {
        let told = reviewed(&reply(status, &answer));
        assert_eq!(told, expected.map_err(str::to_owned));
    };
    let user =
        |name: &str| json!({ "status": { "authenticated": true, "user": { "username": name } } });
    check(201, user(ACCOUNT_USER), Ok(()));
    let nobody = "the token is not good there: it is nobody's";
    check(201, user("system:anonymous"), Err(nobody));
    let error = json!({ "status": { "error": "signed by another key" } });
    let why = "the token is not good there: signed by another key";
    check(201, error, Err(why));
    check(403, json!({ "message": "no" }), Err("403: no"));
}

#[test]
fn cluster_dns_is_known_by_its_address() {
    let services = json!({ "items": [{ "spec": { "clusterIP": "10.32.0.10" } }] });
    assert!(has_service_at(&services, "10.32.0.10".parse().unwrap()));
    assert!(!has_service_at(&services, "10.32.0.11".parse().unwrap()));
    assert!(!has_service_at(&json!({}), "10.32.0.10".parse().unwrap()));
}
