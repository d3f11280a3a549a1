//! From start to stop: what a healthy control plane of one shows.

use std::{
    os::unix::net::UnixDatagram,
    process::Command,
    time::{Duration, Instant},
};

use fs_err as fs;

use crate::bed::{Bed, VERSION, ports};

#[test]
fn a_copy_says_who_it_is_and_is_as_large_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let size = fs::metadata(env!("CARGO_BIN_EXE_standin")).unwrap().len() + 1_000_000;
    let make = |name: &str, version: &str, size: u64| {
        let out = dir.path().join(format!("{name}-{version}"));
        let made = Command::new(env!("CARGO_BIN_EXE_standin"))
            .args([
                "make",
                "--name",
                name,
                "--version",
                version,
                "--size",
                &size.to_string(),
            ])
            .arg("--out")
            .arg(&out)
            .output();
        (made.unwrap().status.code(), out)
    };
    let (code, copy) = make("kube-scheduler", "1.32.3", size);
    assert_eq!((code, fs::metadata(&copy).unwrap().len()), (Some(0), size));
    let said = Command::new(&copy).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "Kubernetes v1.32.3\n"
    );
    let first = fs::read(&copy).unwrap();
    assert!(first == fs::read(make("kube-scheduler", "1.32.3", size).1).unwrap());
    assert!(first != fs::read(make("kube-scheduler", "1.32.4", size).1).unwrap());
    assert_eq!(make("kube-scheduler", "1.32.3", 10).0, Some(2));
    assert_eq!(make("kubeadm", "1.32.3", size).0, Some(2));
    // What a small program stands in for is no copy of this one.
    assert_eq!(make("containerd", "2.0.11", size).0, Some(2));
}

#[test]
fn a_control_plane_lives_and_stops_in_order() {
    let mut bed = Bed::new();
    let path = bed.path("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut flags = bed.apiserver_flags();
    flags.push("--shutdown-delay-duration=1500ms".into());
    let mut apiserver = bed.start_told(
        "kube-apiserver",
        VERSION,
        &flags,
        Some(std::path::Path::new(&path)),
    );
    let mut told = [0; 32];
    let length = systemd.recv(&mut told).unwrap();
    assert_eq!(&told[..length], b"READY=1\n");

    let port = bed.apiserver_port;
    assert_eq!(bed.expect(port, "/readyz", Some("admin"), 200), "ok");
    let version = bed.expect(port, "/version", Some("controller"), 200);
    assert!(version.contains("\"gitVersion\":\"v1.32.3\""), "{version}");
    bed.expect(port, "/readyz", None, 401);
    bed.expect(port, "/readyz", Some("stranger"), 401);
    bed.expect(port, "/readyz", Some("serving-only"), 401);
    bed.expect(port, "/api/v1/nodes", Some("controller"), 403);
    bed.expect(port, "/api/v1/services", Some("admin"), 404);
    assert!(fs::metadata(bed.path("audit.log")).is_ok());

    let [manager_port, scheduler_port] = ports();
    let flags = bed.controller_flags(manager_port);
    let mut manager = bed.start("kube-controller-manager", VERSION, &flags);
    let config = bed.path("controller.kubeconfig");
    let config = bed.write(
        "scheduler.yaml",
        &format!(
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
             clientConnection: {{kubeconfig: {config}}}\nleaderElection: {{leaderElect: true}}\n"
        ),
    );
    let flags = [
        format!("--config={config}"),
        format!("--secure-port={scheduler_port}"),
        "--bind-address=127.0.0.1".into(),
    ];
    let mut scheduler = bed.start("kube-scheduler", VERSION, &flags);
    for port in [manager_port, scheduler_port] {
        self_signed(port, "/healthz", "HTTP/1.1 200 ");
        self_signed(port, "/metrics", "HTTP/1.1 403 ");
    }

    bed.stop_etcd();
    let body = bed.expect(port, "/readyz", Some("admin"), 500);
    assert!(
        body.contains("[-]etcd failed: Get \"https://127.0.0.1:"),
        "{body}"
    );
    assert!(body.contains("connection refused"), "{body}");
    let flags = bed.controller_flags(ports::<1>()[0]);
    let mut late = bed.start("kube-controller-manager", VERSION, &flags);
    assert_eq!(late.end(Duration::from_secs(20)).code(), Some(1));
    let words = "failed to wait for apiserver being healthy: timed out waiting for the condition";
    assert!(late.output().contains(words), "{}", late.output());

    let begun = Instant::now();
    apiserver.terminate();
    std::thread::sleep(Duration::from_millis(200));
    let body = bed.expect(port, "/readyz", Some("admin"), 500);
    assert!(body.contains("[-]shutdown failed"), "{body}");
    assert_eq!(apiserver.end(Duration::from_secs(10)).code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    for one in [&mut manager, &mut scheduler] {
        one.terminate();
        assert_eq!(
            one.end(Duration::from_secs(5)).code(),
            Some(0),
            "{}",
            one.output()
        );
    }
}

#[test]
fn the_nameless_may_ask_for_health_where_they_are_let_in() {
    let bed = Bed::new();
    let mut flags = bed.apiserver_flags();
    flags.retain(|flag| !flag.starts_with("--anonymous-auth"));
    let _apiserver = bed.start("kube-apiserver", VERSION, &flags);
    let port = bed.apiserver_port;
    bed.expect(port, "/readyz", None, 200);
    let body = bed.expect(port, "/livez?verbose", None, 200);
    assert!(body.contains("[+]etcd ok\n"), "{body}");
    bed.expect(port, "/api", None, 403);
    // A bad certificate is worse than none.
    bed.expect(port, "/readyz", Some("stranger"), 401);
}

/// curl does not mind a certificate that nobody signed.
#[track_caller]
fn self_signed(port: u16, path: &str, begins: &str) {
    let url = format!("https://127.0.0.1:{port}{path}");
    let retry = ["--retry", "20", "--retry-connrefused", "--retry-delay", "1"];
    let asked = Command::new("curl")
        .args(["-ski", &url])
        .args(retry)
        .output()
        .unwrap();
    let answer = String::from_utf8(asked.stdout).unwrap();
    assert!(answer.starts_with(begins), "{url}: {answer}");
}
