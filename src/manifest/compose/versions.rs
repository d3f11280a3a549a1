//! What differs from version to version and from machine to machine.

use super::fixture::{Fixture, arguments, text};
use crate::arch::Arch;
use crate::component::{COMPONENTS, Component};
use crate::flags;
use crate::inventory::Profile;
use crate::version::Version;

/// The etcd that upstream pairs with each line of Kubernetes, and one more of the line.
const ETCD_OF: [(u64, &[&str]); 18] = [
    (20, &["3.4.13", "3.4.27"]),
    (21, &["3.4.13", "3.4.27"]),
    (22, &["3.5.0", "3.5.8"]),
    (23, &["3.5.1"]),
    (24, &["3.5.3"]),
    (25, &["3.5.4"]),
    (26, &["3.5.6"]),
    (27, &["3.5.7"]),
    (28, &["3.5.9"]),
    (29, &["3.5.10"]),
    (30, &["3.5.12"]),
    (31, &["3.5.15"]),
    (32, &["3.5.16"]),
    (33, &["3.5.21"]),
    (34, &["3.6.4"]),
    (35, &["3.6.6"]),
    (36, &["3.6.8"]),
    (37, &["3.7.0"]),
];

#[test]
fn every_flag_is_right_for_its_version() {
    for (minor, etcds) in ETCD_OF {
        for (etcd, nodes) in etcds.iter().flat_map(|etcd| [(*etcd, 1), (*etcd, 3)]) {
            let kubernetes = Version::new(1, minor, 0);
            let fixture = Fixture::new(nodes, &kubernetes.to_string(), etcd);
            let (desired, az1) = (fixture.composed(), "az1".parse().unwrap());
            let on_node = |row: &&&Component| {
                row.service.is_some() && fixture.inventory.gets(row, &fixture.inventory.nodes[&az1])
            };
            for component in COMPONENTS.iter().filter(on_node) {
                let version = if component.name == "etcd" {
                    etcd.parse().unwrap()
                } else {
                    kubernetes
                };
                let arguments = arguments(&desired, "az1", component.name);
                let findings = flags::check(component.name, version, &arguments);
                // Not even a warning, save that something is deprecated: a version whose flags
                // are unknown would pass in silence.
                let errors: Vec<_> = findings
                    .into_iter()
                    .filter(|finding| !matches!(finding.problem, flags::Problem::Deprecated { .. }))
                    .collect();
                assert!(errors.is_empty(), "{version}: {errors:#?}");
            }
        }
    }
}

#[test]
fn what_changed_between_versions_is_written_as_each_wants_it() {
    #[track_caller]
    fn check(kubernetes: &str, etcd: &str, component: &str, flag: &str, expected: bool) {
        let desired = Fixture::new(3, kubernetes, etcd).composed();
        let arguments = arguments(&desired, "az1", component);
        assert_eq!(
            arguments.iter().any(|argument| argument.starts_with(flag)),
            expected,
            "{arguments:#?}"
        );
    }
    let reload = "--encryption-provider-config-automatic-reload=true";
    check("1.25.9", "3.5.6", "kube-apiserver", reload, false);
    check("1.26.0", "3.5.6", "kube-apiserver", reload, true);
    let retry = "--shutdown-send-retry-after=true";
    check("1.22.0", "3.5.6", "kube-apiserver", retry, false);
    check("1.23.0", "3.5.6", "kube-apiserver", retry, true);
    let manager = "kube-controller-manager";
    check("1.23.17", "3.5.6", manager, "--port=0", true);
    check("1.24.0", "3.5.6", manager, "--port", false);
    check("1.32.3", "3.5.21", "etcd", "--experimental-", true);
    check("1.32.3", "3.6.0", "etcd", "--experimental-", false);
    check("1.32.3", "3.6.0", "etcd", "--feature-gates=", true);
    for (etcd, expected) in [
        ("3.4.24", false),
        ("3.4.25", true),
        ("3.5.7", false),
        ("3.5.8", true),
        ("3.6.0", true),
    ] {
        check("1.32.3", etcd, "etcd", "--tls-min-version=TLS1.2", expected);
    }
}

#[test]
fn the_scheduler_reads_the_newest_configuration_it_knows() {
    #[track_caller]
    fn check(kubernetes: &str, api: &str, plain_http: bool) {
        let desired = Fixture::new(1, kubernetes, "3.5.21").composed();
        let config = text(
            &desired,
            "az1",
            "/etc/k8s/kube-scheduler/kube-scheduler.yaml",
        );
        let first = format!("apiVersion: kubescheduler.config.k8s.io/{api}\n");
        assert!(config.starts_with(&first), "{config}");
        let line = "\nhealthzBindAddress: 127.0.0.1:10251\n";
        assert_eq!(config.contains(line), plain_http, "{config}");
    }
    check("1.20.2", "v1beta1", true);
    check("1.21.14", "v1beta1", true);
    check("1.22.0", "v1beta2", true);
    check("1.23.0", "v1beta3", false);
    check("1.24.17", "v1beta3", false);
    check("1.25.0", "v1", false);
    check("1.36.3", "v1", false);
}

#[test]
fn a_foreign_etcd_on_arm_is_told_that_it_may_run() {
    #[track_caller]
    fn check(arch: Arch, etcd: &str, expected: Option<&str>) {
        let mut fixture = Fixture::new(1, "1.26.15", etcd);
        fixture.archs.insert("az1".parse().unwrap(), arch);
        let own = fixture.inventory.components.entry("etcd".to_owned());
        own.or_default().path = Some("build/{arch}/etcd".to_owned());
        let unit = text(
            &fixture.composed(),
            "az1",
            "/etc/systemd/system/etcd.service",
        );
        let line = unit.lines().find(|line| line.starts_with("Environment="));
        assert_eq!(line, expected);
    }
    check(
        Arch::Armhf,
        "3.5.21",
        Some("Environment=ETCD_UNSUPPORTED_ARCH=arm"),
    );
    check(
        Arch::Arm64,
        "3.4.27",
        Some("Environment=ETCD_UNSUPPORTED_ARCH=arm64"),
    );
    check(Arch::Arm64, "3.5.21", None);
    check(Arch::Amd64, "3.4.27", None);
}

#[test]
fn a_small_node_is_asked_for_less() {
    let mut fixture = Fixture::new(2, "1.32.3", "3.5.21");
    let small = fixture.inventory.nodes.get_mut(&"az2".parse().unwrap());
    small.unwrap().profile = Profile::Small;
    let desired = fixture.composed();
    let line = |node: &str, service: &str, start: &str| {
        let unit = text(
            &desired,
            node,
            &format!("/etc/systemd/system/{service}.service"),
        );
        let mut lines = unit.lines().map(|line| line.trim().trim_end_matches(" \\"));
        let found = lines.find_map(|line| line.strip_prefix(start).map(ToOwned::to_owned));
        found.map(|value| value.trim_matches('"').to_owned())
    };
    let check = |service: &str, start: &str, standard: Option<&str>, small: Option<&str>| {
        let found = ["az1", "az2"].map(|node| line(node, service, start));
        let found = found.each_ref().map(|value| value.as_deref());
        assert_eq!(found, [standard, small], "{service} {start}");
    };
    check("etcd", "Environment=GOGC=", None, Some("50"));
    check("etcd", "--snapshot-count=", Some("10000"), Some("5000"));
    let quotas = (Some("8589934592"), Some("2147483648"));
    check("etcd", "--quota-backend-bytes=", quotas.0, quotas.1);
    check(
        "kube-apiserver",
        "Environment=GOMEMLIMIT=",
        None,
        Some("768MiB"),
    );
    check(
        "kube-apiserver",
        "--max-requests-inflight=",
        None,
        Some("200"),
    );
    check(
        "kube-controller-manager",
        "Environment=GOGC=",
        None,
        Some("50"),
    );
    check(
        "kube-scheduler",
        "Environment=GOMEMLIMIT=",
        None,
        Some("192MiB"),
    );
}
