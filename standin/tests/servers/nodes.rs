//! Nodes as far as they are kept, and what runs on them as far as it is imitated.

use std::{os::unix::net::UnixListener, time::Duration};

use crate::bed::{Bed, VERSION, ports};

const NODES: &str = "/api/v1/nodes";

#[test]
fn nodes_are_kept_and_told_as_ready() {
    let bed = Bed::new();
    let _server = bed.start("kube-apiserver", VERSION, &bed.apiserver_flags());
    bed.expect(bed.apiserver_port, "/readyz", Some("admin"), 200);
    let node = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": {"x": "y"},
        "annotations": {"alpha.kubernetes.io/provided-node-ip": "10.0.0.1"}},
        "spec": {"podCIDR": "10.200.0.0/24"}}"#;
    assert_eq!(bed.api("POST", NODES, node).0, 201);
    assert_eq!(bed.api("POST", NODES, node).0, 409);
    assert_eq!(bed.api("POST", NODES, r#"{"kind": "Pod"}"#).0, 400);
    let at = format!("{NODES}/a");
    let patch =
        r#"{"metadata": {"labels": {"x": null, "z": "1"}}, "spec": {"unschedulable": true}}"#;
    let (status, patched) = bed.api("PATCH", &at, patch);
    assert_eq!(status, 200);
    assert_eq!(patched["metadata"]["labels"], serde_json::json!({"z": "1"}));
    let (status, list) = bed.api("GET", NODES, "");
    let found = &list["items"][0];
    assert_eq!(status, 200);
    for part in ["metadata", "spec"] {
        assert_eq!(found[part], patched[part]);
    }
    assert_eq!(found["spec"]["podCIDR"], "10.200.0.0/24");
    assert_eq!(found["status"]["conditions"][0]["reason"], "KubeletReady");
    assert_eq!(found["status"]["nodeInfo"]["kubeletVersion"], "v1.32.3");
    assert_eq!(found["status"]["addresses"][0]["address"], "10.0.0.1");
    // One of which it is said that it is not Ready.
    let ill = r#"{"metadata": {"labels": {"standin.test/not-ready": "KubeletNotReady"}}}"#;
    let (_, told) = bed.api("PATCH", &at, ill);
    let ready = &told["status"]["conditions"][0];
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&"False".into(), &"KubeletNotReady".into())
    );
    // What has changed since is not overwritten, and a range is given once.
    let stale = r#"{"metadata": {"resourceVersion": "1"}}"#;
    assert_eq!(bed.api("PATCH", &at, stale).0, 409);
    let range = r#"{"spec": {"podCIDR": "10.200.1.0/24"}}"#;
    assert_eq!(bed.api("PATCH", &at, range).0, 422);
    assert_eq!(
        bed.api("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Da", "")
            .0,
        200
    );
    assert_eq!(bed.api("DELETE", &at, "").0, 200);
    for verb in ["GET", "PATCH", "DELETE"] {
        assert_eq!(bed.api(verb, &at, "{}").0, 404, "{verb}");
    }
    bed.expect(bed.apiserver_port, NODES, Some("controller"), 403);
}

#[test]
fn a_kubelet_wants_its_files_and_its_runtime() {
    let bed = Bed::new();
    let [port] = ports();
    let socket = bed.path("runtime.sock");
    let config = bed.write(
        "kubelet.yaml",
        &format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
             containerRuntimeEndpoint: unix://{socket}\nhealthzPort: {port}\n\
             authentication: {{x509: {{clientCAFile: {}}}}}\n",
            bed.path("ca.pem")
        ),
    );
    let kubeconfig = bed.path("controller.kubeconfig");
    let flags = |config: &str, kubeconfig: &str| {
        [
            format!("--config={config}"),
            format!("--kubeconfig={kubeconfig}"),
        ]
    };
    let refuses = |flags: &[String], words: &str| {
        let mut kubelet = bed.start("kubelet", VERSION, flags);
        assert_eq!(kubelet.end(Duration::from_secs(10)).code(), Some(1));
        assert!(kubelet.output().contains(words), "{}", kubelet.output());
    };
    refuses(
        &flags("/nowhere", &kubeconfig),
        "open /nowhere: no such file or directory",
    );
    refuses(
        &flags(&config, "/nowhere"),
        "stat /nowhere: no such file or directory",
    );
    refuses(
        &flags(&bed.path("audit.yaml"), &kubeconfig),
        "no kind \\\"Policy\\\" is registered",
    );
    refuses(&flags(&config, &kubeconfig), "validate service connection");
    let _runtime = UnixListener::bind(&socket).unwrap();
    let mut kubelet = bed.start("kubelet", VERSION, &flags(&config, &kubeconfig));
    healthy(port, "ok");
    kubelet.terminate();
    assert_eq!(kubelet.end(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn a_kube_proxy_wants_its_files() {
    let bed = Bed::new();
    let [port] = ports();
    let text = |kubeconfig: &str| {
        format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
             healthzBindAddress: 127.0.0.1:{port}\nclientConnection: {{kubeconfig: {kubeconfig}}}\n"
        )
    };
    let config = bed.write("proxy.yaml", &text("/nowhere"));
    let flags = [format!("--config={config}")];
    let mut proxy = bed.start("kube-proxy", VERSION, &flags);
    assert_eq!(proxy.end(Duration::from_secs(10)).code(), Some(1));
    bed.write("proxy.yaml", &text(&bed.path("controller.kubeconfig")));
    let mut proxy = bed.start("kube-proxy", VERSION, &flags);
    healthy(port, "lastUpdated");
    proxy.terminate();
    assert_eq!(proxy.end(Duration::from_secs(5)).code(), Some(0));
}

#[track_caller]
fn healthy(port: u16, words: &str) {
    let url = format!("http://127.0.0.1:{port}/healthz");
    let retry = ["--retry", "10", "--retry-connrefused", "--retry-delay", "1"];
    let asked = std::process::Command::new("curl")
        .args(["-s", &url])
        .args(retry)
        .output();
    let answer = String::from_utf8(asked.unwrap().stdout).unwrap();
    assert!(answer.contains(words), "{url}: {answer}");
}
