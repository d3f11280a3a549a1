//! What stands where, whose it is, and what restarts whom.

use super::fixture::{Fixture, arguments, manifest, text};
use super::*;
use crate::certificate::{AuthorityName, Kind};
use crate::component::Scheme;
use crate::diff::fingerprint;
use crate::digest::Digest;
use crate::inventory::Role;
use crate::manifest::{Content, Entry, Kind as EntryKind};

fn three() -> Fixture {
    Fixture::new(3, "1.32.3", "3.5.21")
}

fn entry<'a>(manifest: &'a Manifest, path: &str) -> &'a Entry {
    let entry = manifest.entries.get(&RemotePath::fixed(path));
    entry.unwrap_or_else(|| panic!("`{path}` is no entry"))
}

#[test]
fn the_same_input_gives_the_same_manifests() {
    assert_eq!(three().composed(), three().composed());
}

#[test]
fn one_node_and_several_differ_where_they_should() {
    let flags = |nodes, name| {
        let desired = Fixture::new(nodes, "1.32.3", "3.5.21").composed();
        arguments(&desired, "az2", name)
    };
    let three = flags(3, "kube-apiserver");
    let servers =
        "--etcd-servers=https://10.0.22.1:2379,https://10.0.12.1:2379,https://10.0.32.1:2379";
    assert!(three.contains(&servers.to_owned()), "{three:#?}");
    assert!(three.contains(&"--goaway-chance=0.001".to_owned()));
    let one = arguments(
        &Fixture::new(1, "1.32.3", "3.5.21").composed(),
        "az1",
        "kube-apiserver",
    );
    assert!(one.contains(&"--etcd-servers=https://10.0.12.1:2379".to_owned()));
    assert!(
        !one.iter()
            .any(|flag| flag.contains("goaway") || flag.contains("shutdown"))
    );
    let etcd = flags(3, "etcd");
    let cluster = "--initial-cluster=az1=https://10.0.12.1:2380,az2=https://10.0.22.1:2380,az3=https://10.0.32.1:2380";
    assert!(etcd.contains(&cluster.to_owned()), "{etcd:#?}");
}

#[test]
fn roles_decide_what_is_written() {
    let mut fixture = three();
    fixture.node("az1").roles = [Role::Etcd].into();
    fixture.node("az2").roles = [Role::ControlPlane, Role::Worker].into();
    fixture.node("az3").roles = [Role::Worker].into();
    let desired = fixture.composed();
    let units = |node| {
        let names = manifest(&desired, node).units.keys();
        names.map(UnitName::as_str).collect::<Vec<_>>()
    };
    assert_eq!(units("az1"), ["etcd.service"]);
    assert_eq!(
        units("az2"),
        [
            "containerd.service",
            "kinstall-images.service",
            "kinstall-network.service",
            "kinstall-node.service",
            "kube-apiserver.service",
            "kube-controller-manager.service",
            "kube-proxy.service",
            "kube-scheduler.service",
            "kubelet.service"
        ]
    );
    let entries = manifest(&desired, "az3").entries.keys();
    let entries = entries.map(RemotePath::as_str);
    let is_ours = |it: &&str| !["/usr/", "/var/"].iter().any(|start| it.starts_with(start));
    let share: Vec<_> = entries.filter(is_ours).collect();
    assert_eq!(
        share,
        [
            "/etc/cni",
            "/etc/cni/net.d",
            "/etc/cni/net.d/10-kinstall.conflist",
            "/etc/containerd",
            "/etc/containerd/config.toml",
            "/etc/crictl.yaml",
            "/etc/k8s",
            "/etc/k8s/kinstall-images",
            "/etc/k8s/kinstall-images/import.sh",
            "/etc/k8s/kinstall-network",
            "/etc/k8s/kinstall-network/network.conf",
            "/etc/k8s/kinstall-network/network.sh",
            "/etc/k8s/kinstall-network/ways.conf",
            "/etc/k8s/kinstall-node",
            "/etc/k8s/kinstall-node/setup.sh",
            "/etc/k8s/kube-proxy",
            "/etc/k8s/kube-proxy/kube-proxy.kubeconfig",
            "/etc/k8s/kube-proxy/kube-proxy.yaml",
            "/etc/k8s/kubelet",
            "/etc/k8s/kubelet/kubelet-20250102T0304.key",
            "/etc/k8s/kubelet/kubelet-20250102T0304.pem",
            "/etc/k8s/kubelet/kubelet.key",
            "/etc/k8s/kubelet/kubelet.kubeconfig",
            "/etc/k8s/kubelet/kubelet.pem",
            "/etc/k8s/kubelet/kubelet.yaml",
            "/etc/k8s/shared",
            "/etc/k8s/shared/kubernetes-ca.pem",
            "/etc/modules-load.d/kinstall.conf",
            "/etc/sysctl.d/90-kinstall.conf",
            "/etc/systemd/system/containerd.service",
            "/etc/systemd/system/kinstall-images.service",
            "/etc/systemd/system/kinstall-network.service",
            "/etc/systemd/system/kinstall-node.service",
            "/etc/systemd/system/kube-proxy.service",
            "/etc/systemd/system/kubelet.service",
            "/etc/sysusers.d/kinstall.conf",
            "/etc/tmpfiles.d/kinstall.conf",
            "/opt/cni",
            "/opt/cni/bin",
            "/opt/cni/bin/bridge",
            "/opt/cni/bin/bridge-v1.9.1",
            "/opt/cni/bin/host-local",
            "/opt/cni/bin/host-local-v1.9.1",
            "/opt/cni/bin/loopback",
            "/opt/cni/bin/loopback-v1.9.1",
            "/opt/cni/bin/portmap",
            "/opt/cni/bin/portmap-v1.9.1",
        ]
    );
}

#[test]
fn roles_and_credentials_decide_what_the_control_plane_is_told() {
    let mut fixture = three();
    fixture.node("az2").roles = [Role::ControlPlane, Role::Worker].into();
    fixture.node("az3").roles = [Role::Worker].into();
    fixture.node("az1").roles = [Role::Etcd].into();
    fixture.credentials.signing_key_pem = None;
    let desired = fixture.composed();
    let apiserver = arguments(&desired, "az2", "kube-apiserver");
    assert!(
        !apiserver
            .iter()
            .any(|flag| flag.contains("aggregator-routing"))
    );
    assert!(apiserver.contains(&"--etcd-servers=https://10.0.12.1:2379".to_owned()));
    let manager = arguments(&desired, "az2", "kube-controller-manager");
    assert!(!manager.iter().any(|flag| flag.contains("cluster-signing")));
    let key = RemotePath::fixed("/etc/k8s/kube-controller-manager/kubernetes-ca.key");
    assert!(!manifest(&desired, "az2").entries.contains_key(&key));
}

#[test]
fn a_node_whose_architecture_is_unknown_gets_no_manifest() {
    let mut fixture = three();
    fixture.archs.remove(&"az2".parse().unwrap());
    let desired = fixture.composed();
    let nodes: Vec<_> = desired.manifests.keys().map(NodeName::as_str).collect();
    assert_eq!(nodes, ["az1", "az3"]);
}

#[test]
fn the_users_flags_count_most() {
    let mut fixture = three();
    let settings = &mut fixture.node("az1").components;
    let apiserver = settings.entry("kube-apiserver".to_owned()).or_default();
    for (name, value) in [
        ("audit-log-maxage", "60"),
        ("v", "2"),
        ("secure-port", "7443"),
    ] {
        apiserver.flags.insert(name.to_owned(), value.to_owned());
    }
    apiserver.flags_removed.insert("profiling".to_owned());
    let proxy = ("HTTPS_PROXY".to_owned(), "http://a b/%".to_owned());
    apiserver.environment.extend([proxy]);
    let etcd = settings.entry("etcd".to_owned()).or_default();
    let tls = ("tls-min-version".to_owned(), "TLS1.3".to_owned());
    etcd.flags.extend([tls]);
    let desired = fixture.composed();
    let apiserver = arguments(&desired, "az1", "kube-apiserver");
    for (flag, count) in [
        ("--audit-log-maxage=60", 1),
        ("--audit-log-maxage=30", 0),
        ("--profiling=false", 0),
        ("--v=2", 1),
    ] {
        let found = apiserver.iter().filter(|argument| *argument == flag);
        assert_eq!(found.count(), count, "{flag}");
    }
    let etcd = arguments(&desired, "az1", "etcd");
    let tls = etcd.iter().filter(|flag| flag.contains("tls-min-version"));
    assert_eq!(tls.collect::<Vec<_>>(), ["--tls-min-version=TLS1.3"]);
    let path = "/etc/systemd/system/kube-apiserver.service";
    let unit = text(&desired, "az1", path);
    assert!(
        unit.contains("\nEnvironment=\"HTTPS_PROXY=http://a b/%%\"\n"),
        "{unit}"
    );
    let units = &manifest(&desired, "az1").units;
    let port = |name: &str| units[&name.parse().unwrap()].port().unwrap();
    assert_eq!(port("kube-apiserver.service"), 7443);
    assert_eq!(port("kube-scheduler.service"), 10259);
    assert_ne!(unit, text(&desired, "az2", path));
}

#[test]
fn what_cannot_stand_in_a_unit_is_refused() {
    #[track_caller]
    fn check(flag: (&str, &str), variable: (&str, &str), expected: &str) {
        let mut fixture = three();
        let settings = fixture.inventory.components.entry("etcd".to_owned());
        let settings = settings.or_default();
        settings.flags.insert(flag.0.to_owned(), flag.1.to_owned());
        let variable = (variable.0.to_owned(), variable.1.to_owned());
        settings.environment.extend([variable]);
        assert_eq!(fixture.compose().unwrap_err().to_string(), expected);
    }
    check(
        ("name", "a\nExecStartPre=b"),
        ("A", "b"),
        "the flag `name` of `etcd` on the node `az1` cannot be written",
    );
    let variable =
        |name: &str| format!("the variable `{name}` of `etcd` on the node `az1` cannot be written");
    check(("name", "a"), ("A", "b\nc"), &variable("A"));
    check(("name", "a"), ("A B", "c"), &variable("A B"));
    check(("name", "a"), ("1A", "c"), &variable("1A"));
    check(
        ("secure-port", "70000"),
        ("A", "b"),
        "`secure-port` of `etcd` on the node `az1` is `70000`, which is no port",
    );
}

#[test]
fn programs_and_certificates_lie_under_names_of_their_own_behind_stable_links() {
    let mut fixture = three();
    let own = fixture.inventory.components.entry("etcd".to_owned());
    own.or_default().path = Some("build/etcd".to_owned());
    let desired = fixture.composed();
    let manifest = manifest(&desired, "az1");
    let digest = Digest::of(b"etcd 3.5.21 arm64").to_string();
    for (link, target) in [
        ("/usr/local/bin/kubectl", "kubectl-v1.32.3"),
        (
            "/usr/local/bin/etcd",
            &format!("etcd-v3.5.21-own-{}", &digest[..8]),
        ),
        (
            "/etc/etcd/certs/server/etcd.az1.k8s.home.pem",
            "etcd.az1.k8s.home-20250102T0304.pem",
        ),
        (
            "/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls.key",
            "kube-apiserver-tls-20250102T0304.key",
        ),
    ] {
        let expected = EntryKind::Link {
            target: target.to_owned(),
        };
        assert_eq!(entry(manifest, link).kind, expected, "{link}");
        let beside = RemotePath::fixed(link).parent().unwrap().join(target);
        entry(manifest, beside.unwrap().as_str());
    }
}

#[test]
fn each_path_belongs_to_whom_it_should() {
    let desired = three().composed();
    #[rustfmt::skip]
    let rows = [
        ("/etc/etcd", "0750", "root", "etcd", false),
        ("/etc/etcd/certs/rootCA.pem", "0644", "root", "root", false),
        ("/etc/etcd/certs/server/etcd.az1.k8s.home-20250102T0304.key", "0400", "etcd", "etcd", true),
        ("/etc/etcd/certs/client/etcd.az1.k8s.home-20250102T0304.pem", "0644", "root", "root", false),
        ("/etc/etcd/certs/healthcheck", "0700", "root", "root", false),
        ("/etc/etcd/certs/healthcheck/etcd-healthcheck-client-20250102T0304.key", "0600", "root", "root", true),
        ("/etc/k8s", "0755", "root", "root", false),
        ("/etc/k8s/kube-apiserver", "0750", "root", "kube-apiserver", false),
        ("/etc/k8s/kube-apiserver/audit-policy.yaml", "0400", "kube-apiserver", "kube-apiserver", false),
        ("/etc/k8s/kube-apiserver/certs/etcd/kube-apiserver-20250102T0304.key", "0400", "kube-apiserver", "kube-apiserver", true),
        ("/etc/k8s/kube-apiserver/encryption-config.yaml", "0400", "kube-apiserver", "kube-apiserver", true),
        ("/etc/k8s/kube-controller-manager/kubernetes-ca.key", "0400", "kube-controller-manager", "kube-controller-manager", true),
        ("/etc/k8s/kube-controller-manager/kube-controller-manager.kubeconfig", "0400", "kube-controller-manager", "kube-controller-manager", true),
        ("/etc/k8s/kube-scheduler/kube-scheduler.kubeconfig", "0400", "kube-scheduler", "kube-scheduler", true),
        ("/etc/k8s/shared/kubernetes-ca.pem", "0644", "root", "root", false),
        ("/etc/k8s/shared/service-account.key", "0440", "root", "kube-service-account", true),
        ("/etc/systemd/system/etcd.service", "0600", "root", "root", false),
        ("/etc/sysusers.d/kinstall.conf", "0644", "root", "root", false),
        ("/usr/local/bin/kube-apiserver-v1.32.3", "0755", "root", "root", false),
    ];
    for (path, mode, user, group, secret) in rows {
        let found = entry(manifest(&desired, "az1"), path);
        let found = (
            found.mode.to_string(),
            &*found.user,
            &*found.group,
            found.secret,
        );
        assert_eq!(found, (mode.to_owned(), user, group, secret), "{path}");
    }
}

#[test]
fn only_what_cannot_be_made_again_is_protected() {
    let desired = three().composed();
    let entries = manifest(&desired, "az1").entries.iter();
    let protected = entries.filter(|(_, entry)| entry.protected);
    let paths: Vec<_> = protected.map(|(path, _)| path.as_str()).collect();
    let expected = [
        "/etc/k8s/kube-apiserver/encryption-config.yaml",
        "/etc/k8s/shared/service-account.key",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn every_directory_is_an_entry_and_every_content_is_there() {
    let mut fixture = three();
    fixture.node("az3").roles.insert(Role::Worker);
    let desired = fixture.composed();
    let manifests = ["az1", "az3"].map(|node| &manifest(&desired, node).entries);
    for (entries, (path, entry)) in manifests
        .iter()
        .flat_map(|it| it.iter().map(move |row| (it, row)))
    {
        let parent = path.parent().unwrap();
        let known = BASE_DIRECTORIES.contains(&parent.as_str())
            || entries
                .get(&parent)
                .is_some_and(|parent| parent.kind == EntryKind::Directory);
        assert!(known, "{path}");
        if let EntryKind::File { digest, size } = entry.kind {
            let found = match &desired.contents[&digest] {
                Content::Inline(content) => content.expose().len() as u64,
                Content::Fetched { size, .. } => *size,
            };
            assert_eq!(found, size, "{path}");
        }
    }
}

#[test]
fn a_key_is_in_no_entry_that_may_be_shown() {
    let desired = three().composed();
    let secrets = ["key ", "private", "encryption\n", "signing key"];
    for (path, entry) in &manifest(&desired, "az1").entries {
        let EntryKind::File { digest, .. } = &entry.kind else {
            continue;
        };
        let Content::Inline(content) = &desired.contents[digest] else {
            continue;
        };
        let text = content.expose_text().unwrap();
        if text.lines().count() == 1 && secrets.iter().any(|secret| text.contains(secret)) {
            assert!(entry.secret, "{path}");
        }
    }
    assert!(!format!("{desired:?}").contains("signing key\\n"));
}

#[test]
fn a_unit_watches_what_its_service_reads_and_nothing_else() {
    let desired = three().composed();
    let manifest = manifest(&desired, "az1");
    for (name, unit) in &manifest.units {
        for path in &unit.watches {
            assert!(manifest.entries.contains_key(path), "{name} {path}");
        }
        // Each file that the command line names is watched.
        for argument in arguments(&desired, "az1", &unit.component) {
            let (_, value) = argument.split_once('=').unwrap();
            if value.starts_with("/etc/") {
                assert!(
                    unit.watches.contains(&RemotePath::fixed(value)),
                    "{argument}"
                );
            }
        }
    }
    let watches = |unit: &str, path: &str| {
        let unit = &manifest.units[&format!("{unit}.service").parse().unwrap()];
        unit.watches.contains(&RemotePath::fixed(path))
    };
    for (unit, path, expected) in [
        ("etcd", "/usr/local/bin/etcd", true),
        ("etcd", "/usr/local/bin/etcd-v3.5.21", true),
        ("etcd", "/usr/local/bin/etcdctl", false),
        ("etcd", "/etc/systemd/system/etcd.service", true),
        (
            "etcd",
            "/etc/etcd/certs/healthcheck/etcd-healthcheck-client.pem",
            false,
        ),
        (
            "etcd",
            "/etc/etcd/certs/server/etcd.az1.k8s.home-20250102T0304.pem",
            true,
        ),
        (
            "kube-apiserver",
            "/etc/k8s/shared/service-account.key",
            true,
        ),
        (
            "kube-controller-manager",
            "/etc/k8s/shared/service-account.key",
            true,
        ),
        (
            "kube-scheduler",
            "/etc/k8s/shared/service-account.key",
            false,
        ),
        (
            "kube-scheduler",
            "/etc/k8s/kube-scheduler/kube-scheduler.yaml",
            true,
        ),
        ("kube-scheduler", "/etc/sysusers.d/kinstall.conf", false),
    ] {
        assert_eq!(watches(unit, path), expected, "{unit} {path}");
    }
}

#[test]
fn users_are_made_and_owners_put_right_at_boot() {
    let desired = three().composed();
    let users = text(&desired, "az1", SYSUSERS);
    for line in [
        "u etcd - \"etcd\" /var/lib/etcd",
        "u kube-scheduler - \"kube-scheduler\" /nonexistent",
        "g kube-service-account -",
        "m kube-apiserver kube-service-account",
        "m kube-controller-manager kube-service-account",
    ] {
        assert!(users.lines().any(|found| found == line), "{users}");
    }
    assert!(!users.contains("m kube-scheduler"));
    let owners = text(&desired, "az1", TMPFILES);
    for line in [
        "z /etc/k8s/shared/service-account.key 0440 root kube-service-account -",
        "z /etc/k8s/kube-scheduler 0750 root kube-scheduler -",
    ] {
        assert!(owners.lines().any(|found| found == line), "{owners}");
    }
    assert!(
        !owners.contains("/usr/local/bin/etcd "),
        "a link has no owner"
    );
}

#[test]
fn what_is_missing_is_named() {
    #[track_caller]
    fn check(break_it: impl Fn(&mut Fixture), expected: &str) {
        let mut fixture = three();
        break_it(&mut fixture);
        assert_eq!(fixture.compose().unwrap_err().to_string(), expected);
    }
    check(
        |fixture| {
            let leaves = &mut fixture.credentials.leaves;
            leaves.retain(|id, _| id.kind != Kind::FrontProxyClient);
        },
        "the certificate `front-proxy-client` for the node `az1` is missing",
    );
    check(
        |fixture| {
            fixture.credentials.authorities.remove(&AuthorityName::Etcd);
        },
        "the certificate of the authority `etcd` is missing",
    );
    let fixture = three();
    let unpinned = compose(
        &fixture.inventory,
        &fixture.archs,
        &Lockfile::default(),
        &fixture.credentials,
    );
    assert_eq!(
        unpinned.unwrap_err().to_string(),
        "`etcd 3.5.21 arm64` for the node `az1` is not pinned"
    );
}

#[test]
fn the_probes_are_the_components_own() {
    let desired = three().composed();
    let units = &manifest(&desired, "az1").units;
    let rows = [
        (
            "etcd",
            2379,
            "/health",
            Some("etcd-healthcheck-client"),
            Some("etcd"),
        ),
        (
            "kube-apiserver",
            6443,
            "/readyz",
            Some("admin"),
            Some("kubernetes"),
        ),
        ("kube-controller-manager", 10257, "/healthz", None, None),
        ("kube-scheduler", 10259, "/healthz", None, None),
    ];
    for (name, port, path, client, authority) in rows {
        let unit = &units[&format!("{name}.service").parse().unwrap()];
        let expected = Probe {
            scheme: Scheme::Https,
            port,
            path: path.to_owned(),
            client: client.map(str::to_owned),
            authority: authority.map(str::to_owned),
        };
        assert_eq!(unit.probe, Some(expected));
        assert_eq!(Some(unit.stage), component::named(name).unwrap().stage());
    }
}

#[test]
fn a_port_of_the_users_own_reaches_whoever_asks_there() {
    let mut fixture = three();
    let settings = fixture
        .node("az2")
        .components
        .entry("kube-apiserver".to_owned());
    let port = ("secure-port".to_owned(), "7443".to_owned());
    settings.or_default().flags.extend([port]);
    let desired = fixture.composed();
    for (node, port) in [("az1", 6443), ("az2", 7443)] {
        for component in ["kube-controller-manager", "kube-scheduler"] {
            let entry = entry(
                manifest(&desired, node),
                &format!("/etc/k8s/{component}/{component}.kubeconfig"),
            );
            let EntryKind::File { digest, .. } = &entry.kind else {
                panic!("{entry:?}");
            };
            let Content::Inline(content) = &desired.contents[digest] else {
                panic!("{entry:?}");
            };
            let server = format!("server: \"https://127.0.0.1:{port}\"");
            assert!(content.expose_text().unwrap().contains(&server), "{node}");
        }
        let unit = "kube-apiserver.service".parse().unwrap();
        assert_eq!(manifest(&desired, node).units[&unit].port(), Some(port));
    }
}

#[test]
fn a_service_is_kept_to_its_networks() {
    let mut fixture = three();
    fixture.node("az3").roles = [Role::Worker].into();
    let networks = |desired: &Desired, component: &str| {
        let unit = text(
            desired,
            "az1",
            &format!("/etc/systemd/system/{component}.service"),
        );
        let lines = unit
            .lines()
            .filter_map(|line| line.strip_prefix("IPAddress"));
        lines.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let members = "Deny=any Allow=localhost Allow=10.0.12.1/32 Allow=10.0.22.1/32";
    let composed = fixture.composed();
    assert_eq!(networks(&composed, "etcd"), members);
    assert_eq!(networks(&composed, "kube-apiserver"), "");
    for component in ["etcd", "kube-apiserver", "kube-scheduler"] {
        let settings = fixture.inventory.components.entry(component.to_owned());
        settings.or_default().networks = Some(vec!["192.168.0.0/16".parse().unwrap()]);
    }
    let composed = fixture.composed();
    let office = "Allow=192.168.0.0/16";
    assert_eq!(networks(&composed, "etcd"), format!("{members} {office}"));
    let cluster = "Allow=10.0.32.1/32 Allow=10.32.0.0/24 Allow=10.200.0.0/16";
    let expected = format!("{members} {cluster} {office}");
    assert_eq!(networks(&composed, "kube-apiserver"), expected);
    let own = format!("Deny=any Allow=localhost {office}");
    assert_eq!(networks(&composed, "kube-scheduler"), own);
    assert_eq!(networks(&composed, "kube-controller-manager"), "");
    let settings = fixture
        .inventory
        .components
        .entry("kube-scheduler".to_owned());
    settings.or_default().networks = Some(Vec::new());
    let alone = networks(&fixture.composed(), "kube-scheduler");
    assert_eq!(alone, "Deny=any Allow=localhost");
}

#[test]
fn where_another_node_is_restarts_no_service_that_may_talk_to_it() {
    let mut fixture = three();
    fixture.node("az2").roles = [Role::Worker].into();
    fixture.node("az3").roles = [Role::Etcd].into();
    let units = ["kubelet", "kube-proxy"];
    let of_az2 = |fixture: &Fixture| {
        let desired = fixture.composed();
        let manifest = manifest(&desired, "az2");
        units.map(|name| {
            let unit = &manifest.units[&format!("{name}.service").parse().unwrap()];
            let path = format!("/etc/systemd/system/{name}.service");
            (text(&desired, "az2", &path), fingerprint(manifest, unit))
        })
    };
    let before = of_az2(&fixture);
    fixture.node("az3").address = "10.0.99.1".parse().unwrap();
    let after = of_az2(&fixture);
    for ((text, runs_on), (other_text, runs_on_then)) in before.iter().zip(&after) {
        assert!(
            other_text.contains("IPAddressAllow=10.0.99.1/32\n"),
            "{other_text}"
        );
        assert_ne!(text, other_text);
        assert_eq!(runs_on, runs_on_then, "{other_text}");
    }
}

#[test]
fn a_kubelet_is_told_of_nodes_in_as_few_networks_as_can_be() {
    let mut fixture = three();
    for (node, address) in [
        ("az1", "10.0.0.6"),
        ("az2", "10.0.0.4"),
        ("az3", "10.0.0.5"),
    ] {
        let node = fixture.node(node);
        node.roles.insert(Role::Worker);
        node.address = address.parse().unwrap();
        node.etcd_address = None;
    }
    let unit = text(
        &fixture.composed(),
        "az1",
        "/etc/systemd/system/kubelet.service",
    );
    let allowed = unit
        .lines()
        .filter_map(|line| line.strip_prefix("IPAddressAllow="));
    let expected = [
        "localhost",
        "10.0.0.4/31",
        "10.0.0.6/32",
        "10.32.0.0/24",
        "10.200.0.0/16",
    ];
    assert_eq!(allowed.collect::<Vec<_>>(), expected);
}

#[test]
fn where_pods_are_is_the_same_on_every_node_and_no_text_grows_with_nodes() {
    let mut fixture = three();
    fixture.node("az2").roles.insert(Role::Worker);
    fixture.node("az3").roles = [Role::Worker].into();
    let pods = crate::inventory::Pods::default();
    fixture.inventory = fixture.inventory.with_pods(pods).unwrap();
    let desired = fixture.composed();
    let ways = |node| text(&desired, node, "/etc/k8s/kinstall-network/ways.conf");
    let expected = "\
10.200.0.0/24 10.0.22.1 10.200.0.0 02:70:0a:00:16:01 az2
10.200.1.0/24 10.0.32.1 10.200.1.0 02:70:0a:00:20:01 az3
";
    assert!(ways("az1").ends_with(expected), "{}", ways("az1"));
    assert_eq!([ways("az2"), ways("az3")], [ways("az1"), ways("az1")]);
    let own = |node| text(&desired, node, "/etc/k8s/kinstall-network/network.conf");
    assert!(own("az1").contains("own 10.0.12.1 - 02:70:0a:00:0c:01\n"));
    assert!(own("az3").contains("own 10.0.32.1 10.200.1.0/24 02:70:0a:00:20:01\n"));
    let seen = |name: &str| {
        let node = &fixture.inventory.nodes[&name.parse().unwrap()];
        serde_json::to_string(&context(&fixture.inventory, node)).unwrap()
    };
    assert!(
        !seen("az1").contains("az3"),
        "each text would hold every node"
    );
}
