//! That each check is asked, and fails by itself.

mod fields;

use std::collections::{BTreeMap, BTreeSet};

use super::{CHECKS, SECTIONS, Scored, Status, View, score};
use crate::inventory::{Authorities, Provider, Role};
use crate::manifest::Desired;
use crate::manifest::compose::fixture::Fixture;
use crate::remote_path::RemotePath;
use crate::version::Version;

fn fixture(version: &str) -> Fixture {
    let mut fixture = Fixture::new(3, version, "3.5.21");
    fixture.node("az3").roles.insert(Role::Worker);
    fixture
}

/// The views of a fixture's nodes, changed, scored.
fn scored(fixture: &Fixture, change: impl Fn(&mut View<'_>)) -> Vec<Scored> {
    scored_as(fixture, &fixture.composed(), change)
}

fn scored_as(fixture: &Fixture, desired: &Desired, change: impl Fn(&mut View<'_>)) -> Vec<Scored> {
    let view = |(name, manifest)| {
        let node = &fixture.inventory.nodes[name];
        let mut view = View::rendered(&fixture.inventory, node, manifest, desired);
        change(&mut view);
        view
    };
    score(&desired.manifests.iter().map(view).collect::<Vec<_>>())
}

fn statuses(scored: &[Scored]) -> BTreeMap<&'static str, Status> {
    let status = |it: &Scored| (it.check.id, it.verdict.status);
    scored.iter().map(status).collect()
}

fn of_status(scored: &[Scored], status: Status) -> Vec<&'static str> {
    let of_it = scored.iter().filter(|it| it.verdict.status == status);
    of_it.map(|it| it.check.id).collect()
}

#[test]
fn there_are_97_in_their_sections() {
    let ids: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!((CHECKS.len(), ids.len()), (97, 97));
    let sizes = SECTIONS.map(|(section, _)| {
        let within = CHECKS.iter().filter(|check| check.section() == section);
        within.count()
    });
    assert_eq!(sizes, [21, 30, 7, 2, 7, 3, 2, 10, 14, 1]);
}

#[test]
fn what_is_rendered_fails_none() {
    for minor in 20..=37 {
        let scored = scored(&fixture(&Version::new(1, minor, 0).to_string()), |_| {});
        let failed: Vec<_> = scored
            .iter()
            .filter(|it| it.verdict.status == Status::Fail)
            .collect();
        assert!(failed.is_empty(), "1.{minor}: {failed:#?}");
    }
    let scored = scored(&fixture("1.32.3"), |_| {});
    assert_eq!(
        of_status(&scored, Status::Manual),
        [
            "1.1.21", "1.2.3", "1.2.9", "1.2.11", "1.2.20", "2.7", "3.1.1", "3.1.2", "3.1.3",
            "3.2.2"
        ]
    );
    assert_eq!(of_status(&scored, Status::NotApplicable).len(), 2);
    assert_eq!(of_status(&scored, Status::Pass).len(), 85);
}

#[test]
fn what_only_a_person_can_judge_passes_once_it_is_so() {
    let mut fixture = fixture("1.32.3");
    fixture.inventory.pki.authorities = Authorities::Kubeadm;
    let settings = fixture
        .inventory
        .components
        .entry("kube-apiserver".to_owned());
    let plugins = "NodeRestriction,DenyServiceExternalIPs,EventRateLimit,AlwaysPullImages";
    let flag = ("enable-admission-plugins".to_owned(), plugins.to_owned());
    settings.or_default().flags.extend([flag]);
    let statuses = statuses(&scored(&fixture, |_| {}));
    for id in ["1.2.3", "1.2.9", "1.2.11", "2.7"] {
        assert_eq!(statuses[id], Status::Pass, "{id}");
    }
}

/// A check, and what breaks it: `FLAG` for one left out, `FLAG=VALUE` for one that is said.
const FLAGS: &[(&str, &str, &str)] = &[
    ("1.2.1", "kube-apiserver", "anonymous-auth=true"),
    ("1.2.1", "kube-apiserver", "anonymous-auth"),
    ("1.2.2", "kube-apiserver", "token-auth-file=/x"),
    ("1.2.4", "kube-apiserver", "kubelet-client-certificate"),
    ("1.2.4", "kube-apiserver", "kubelet-client-key"),
    ("1.2.5", "kube-apiserver", "kubelet-certificate-authority"),
    (
        "1.2.6",
        "kube-apiserver",
        "authorization-mode=Node,RBAC,AlwaysAllow",
    ),
    ("1.2.7", "kube-apiserver", "authorization-mode=RBAC"),
    ("1.2.8", "kube-apiserver", "authorization-mode=Node"),
    (
        "1.2.10",
        "kube-apiserver",
        "enable-admission-plugins=NodeRestriction,AlwaysAdmit",
    ),
    (
        "1.2.12",
        "kube-apiserver",
        "disable-admission-plugins=ServiceAccount",
    ),
    (
        "1.2.13",
        "kube-apiserver",
        "disable-admission-plugins=A,NamespaceLifecycle",
    ),
    (
        "1.2.14",
        "kube-apiserver",
        "enable-admission-plugins=PodSecurity",
    ),
    ("1.2.15", "kube-apiserver", "profiling=true"),
    ("1.2.16", "kube-apiserver", "audit-log-path"),
    ("1.2.17", "kube-apiserver", "audit-log-maxage=29"),
    ("1.2.18", "kube-apiserver", "audit-log-maxbackup=9"),
    ("1.2.19", "kube-apiserver", "audit-log-maxsize"),
    ("1.2.21", "kube-apiserver", "service-account-lookup=false"),
    ("1.2.22", "kube-apiserver", "service-account-key-file"),
    ("1.2.23", "kube-apiserver", "etcd-certfile"),
    ("1.2.23", "kube-apiserver", "etcd-keyfile"),
    ("1.2.24", "kube-apiserver", "tls-cert-file"),
    ("1.2.24", "kube-apiserver", "tls-private-key-file"),
    ("1.2.25", "kube-apiserver", "client-ca-file"),
    ("1.2.26", "kube-apiserver", "etcd-cafile"),
    ("1.2.27", "kube-apiserver", "encryption-provider-config"),
    (
        "1.2.29",
        "kube-apiserver",
        "tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA",
    ),
    (
        "1.2.30",
        "kube-apiserver",
        "service-account-extend-token-expiration=true",
    ),
    (
        "1.3.1",
        "kube-controller-manager",
        "terminated-pod-gc-threshold",
    ),
    ("1.3.2", "kube-controller-manager", "profiling"),
    (
        "1.3.3",
        "kube-controller-manager",
        "use-service-account-credentials=false",
    ),
    (
        "1.3.4",
        "kube-controller-manager",
        "service-account-private-key-file",
    ),
    ("1.3.5", "kube-controller-manager", "root-ca-file"),
    (
        "1.3.6",
        "kube-controller-manager",
        "feature-gates=RotateKubeletServerCertificate=false",
    ),
    ("1.3.7", "kube-controller-manager", "bind-address=0.0.0.0"),
    ("1.4.1", "kube-scheduler", "profiling=true"),
    ("1.4.2", "kube-scheduler", "bind-address=0.0.0.0"),
    ("2.1", "etcd", "cert-file"),
    ("2.1", "etcd", "key-file"),
    ("2.2", "etcd", "client-cert-auth=false"),
    ("2.3", "etcd", "auto-tls=true"),
    ("2.4", "etcd", "peer-cert-file"),
    ("2.4", "etcd", "peer-key-file"),
    ("2.5", "etcd", "peer-client-cert-auth"),
    ("2.6", "etcd", "peer-auto-tls=true"),
    ("2.7", "etcd", "trusted-ca-file"),
    ("3.2.1", "kube-apiserver", "audit-policy-file"),
    // They beat the file.
    ("4.2.1", "kubelet", "anonymous-auth=true"),
    ("4.2.4", "kubelet", "read-only-port=10255"),
    ("4.2.7", "kubelet", "hostname-override=x"),
    (
        "4.2.11",
        "kubelet",
        "feature-gates=RotateKubeletServerCertificate=false",
    ),
    (
        "4.2.12",
        "kubelet",
        "tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA",
    ),
];

/// A check, a path, and what breaks it: another mode, or another owner.
const FILES: &[(&str, &str, &str)] = &[
    (
        "1.1.1",
        "/etc/systemd/system/kube-apiserver.service",
        "0644",
    ),
    (
        "1.1.2",
        "/etc/systemd/system/kube-apiserver.service",
        "kube-apiserver",
    ),
    (
        "1.1.3",
        "/etc/systemd/system/kube-controller-manager.service",
        "0640",
    ),
    (
        "1.1.4",
        "/etc/systemd/system/kube-controller-manager.service",
        "nobody",
    ),
    (
        "1.1.5",
        "/etc/systemd/system/kube-scheduler.service",
        "0601",
    ),
    (
        "1.1.6",
        "/etc/systemd/system/kube-scheduler.service",
        "nobody",
    ),
    ("1.1.7", "/etc/systemd/system/etcd.service", "0604"),
    ("1.1.8", "/etc/systemd/system/etcd.service", "etcd"),
    ("1.1.11", "/var/lib/etcd", "0750"),
    ("1.1.12", "/var/lib/etcd", "root"),
    (
        "1.1.15",
        "/etc/k8s/kube-scheduler/kube-scheduler.kubeconfig",
        "0444",
    ),
    (
        "1.1.16",
        "/etc/k8s/kube-scheduler/kube-scheduler.kubeconfig",
        "etcd",
    ),
    (
        "1.1.17",
        "/etc/k8s/kube-controller-manager/kube-controller-manager.kubeconfig",
        "0440",
    ),
    (
        "1.1.18",
        "/etc/k8s/kube-controller-manager/kube-controller-manager.kubeconfig",
        "ubuntu",
    ),
    ("1.1.19", "/etc/k8s/shared", "kube-apiserver"),
    ("1.1.19", "/etc/etcd/certs/rootCA.pem", "etcd"),
    ("1.1.20", "/etc/etcd/certs/rootCA.pem", "0664"),
    (
        "1.1.21",
        "/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls-20250102T0304.key",
        "0440",
    ),
    ("4.1.3", "/etc/k8s/kube-proxy/kube-proxy.kubeconfig", "0444"),
    (
        "4.1.4",
        "/etc/k8s/kube-proxy/kube-proxy.kubeconfig",
        "nobody",
    ),
    ("1.1.9", "/etc/cni/net.d/10-kinstall.conflist", "0644"),
    ("1.1.10", "/etc/cni/net.d/10-kinstall.conflist", "nobody"),
    ("4.1.1", "/etc/systemd/system/kubelet.service", "0644"),
    ("4.1.2", "/etc/systemd/system/kubelet.service", "nobody"),
    ("4.1.9", "/etc/k8s/kubelet/kubelet.yaml", "0644"),
    ("4.1.10", "/etc/k8s/kubelet/kubelet.yaml", "nobody"),
    ("4.1.5", "/etc/k8s/kubelet/kubelet.kubeconfig", "0640"),
    ("4.1.6", "/etc/k8s/kubelet/kubelet.kubeconfig", "nobody"),
];

/// Of these, those that the row cannot help failing too: they are about the same thing.
fn along(id: &str) -> &'static [&'static str] {
    match id {
        // The kubelet's authority is in a directory of certificates, and is one.
        "4.1.7" => &["1.1.20", "4.1.7"],
        "4.1.8" => &["1.1.19", "4.1.8"],
        _ => &[],
    }
}

/// Whether it is asked of one node of the fixture alone.
fn is_of_workers(id: &str) -> bool {
    id.starts_with('4') || ["1.1.9", "1.1.10"].contains(&id)
}

#[track_caller]
fn check(id: &str, what: &str, scored: &[Scored]) {
    let failed = of_status(scored, Status::Fail);
    let expected = match along(id) {
        [] => vec![id],
        along => along.to_vec(),
    };
    assert_eq!(failed, expected, "{what}");
    let failed = scored.iter().filter(|it| it.verdict.status == Status::Fail);
    for it in failed {
        assert!(
            it.verdict.reason.contains(": "),
            "no way out: {}",
            it.verdict.reason
        );
    }
}

#[test]
fn a_flag_breaks_its_own_check_and_no_other() {
    let mut fixture = fixture("1.32.3");
    fixture.inventory.pki.authorities = Authorities::Kubeadm;
    let desired = fixture.composed();
    for (id, component, words) in FLAGS {
        let scored = scored_as(&fixture, &desired, |view| {
            let Some(Ok(flags)) = view.programs.get_mut(component) else {
                assert!(id.starts_with('4'), "{component} runs on every node");
                return;
            };
            match words.split_once('=') {
                Some((name, value)) => drop(flags.insert(name.to_owned(), value.to_owned())),
                None => assert!(flags.remove(*words).is_some(), "{words} is not written"),
            }
        });
        if *id == "2.7" {
            assert_eq!(statuses(&scored)[id], Status::Manual);
        } else {
            check(id, words, &scored);
        }
    }
}

#[test]
fn a_mode_or_an_owner_breaks_its_own_check_and_no_other() {
    let fixture = fixture("1.32.3");
    let ca = "/etc/k8s/shared/kubernetes-ca.pem";
    let further = [("4.1.7", ca, "0646"), ("4.1.8", ca, "nobody")];
    let desired = fixture.composed();
    for (id, path, what) in FILES.iter().chain(&further) {
        let path = RemotePath::fixed(path);
        let scored = scored_as(&fixture, &desired, |view| {
            let Some(file) = view.files.get_mut(&path) else {
                assert!(is_of_workers(id), "{path} is not there");
                return;
            };
            match u16::from_str_radix(what, 8) {
                Ok(mode) => file.mode = mode,
                Err(_) => (*what).clone_into(&mut file.user),
            }
        });
        check(id, &format!("{path} {what}"), &scored);
        let worst = scored.iter().find(|it| it.check.id == *id).unwrap();
        let nodes = if is_of_workers(id) { 1 } else { 3 };
        assert_eq!(worst.verdict.nodes.len(), nodes, "{id}");
    }
}

#[test]
fn a_weak_provider_and_a_lost_file_are_told() {
    let mut fixture = fixture("1.32.3");
    fixture.inventory.encryption.provider = Provider::Aesgcm;
    check("1.2.28", "aesgcm", &scored(&fixture, |_| {}));
    fixture.inventory.encryption.provider = Provider::Identity;
    check("1.2.28", "identity", &scored(&fixture, |_| {}));
    fixture.inventory.encryption.provider = Provider::Secretbox;
    let unit = RemotePath::fixed("/etc/systemd/system/etcd.service");
    let lost = scored(&fixture, |view| {
        view.files.remove(&unit);
        view.missing.push(unit.clone());
    });
    assert_eq!(of_status(&lost, Status::Fail), ["1.1.7", "1.1.8"]);
}

#[test]
fn every_check_that_can_be_broken_is() {
    let rows = FLAGS
        .iter()
        .chain(FILES)
        .chain(fields::FIELDS)
        .map(|row| row.0);
    let broken: BTreeSet<&str> = rows.chain(["1.2.28", "4.1.7", "4.1.8"]).collect();
    let passed = of_status(&scored(&fixture("1.32.3"), |_| {}), Status::Pass);
    let unbroken: Vec<_> = passed.iter().filter(|id| !broken.contains(**id)).collect();
    assert!(unbroken.is_empty(), "{unbroken:?}");
}
