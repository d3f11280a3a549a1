//! What an inventory means: the defaults, and the words of a node over those for all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{accepted, expanded, parse};
use crate::arch::Arch;
use crate::inventory::{
    Authorities, Drain, Encryption, HostKeys, Inventory, KeyType, NodeName, OnFailure, Pki,
    PkiSource, Profile, Provider, Requirement, Role, Rollout, San, Source, Ssh, Widths,
};
use crate::version::Version;

fn node<'a>(inventory: &'a Inventory, name: &str) -> &'a crate::inventory::Node {
    &inventory.nodes[&name.parse::<NodeName>().unwrap()]
}

#[test]
fn what_is_not_said_has_a_default() {
    let inventory = accepted("@cluster\n@az1\n@az2\n@az3");
    assert_eq!(inventory.directory, PathBuf::from("/lab"));
    let cluster = &inventory.cluster;
    assert_eq!(cluster.etcd, Version::new(3, 5, 24));
    assert_eq!(cluster.domain.as_str(), "cluster.local");
    assert_eq!(cluster.endpoint.to_string(), "https://10.0.12.1:6443");
    assert_eq!(cluster.service_cidr.to_string(), "10.32.0.0/24");
    assert_eq!(cluster.service_address().to_string(), "10.32.0.1");
    assert_eq!(cluster.pod_cidr.to_string(), "10.200.0.0/16");
    assert_eq!(inventory.source, Source::default());
    assert_eq!(inventory.pki, Pki::default());
    assert_eq!(inventory.encryption, Encryption::default());
    assert_eq!(inventory.rollout, Rollout::default());
    assert_eq!(inventory.components, BTreeMap::new());
    let az2 = node(&inventory, "az2");
    assert!(az2.roles.iter().eq(&[Role::Etcd, Role::ControlPlane]));
    assert_eq!((az2.arch, az2.etcd_address, &az2.zone), (None, None, &None));
    let ssh = Ssh {
        sudo: true,
        ..Ssh::default()
    };
    assert_eq!(az2.ssh, ssh);
    assert_eq!(az2.ssh.host_keys, HostKeys::Strict);
}

#[test]
fn every_known_kubernetes_has_a_whole_inventory() {
    for minor in crate::inventory::pairing::KUBERNETES {
        let cluster = format!("[cluster]\nname = \"a\"\nkubernetes = \"1.{minor}.0\"\n@az1");
        let inventory = accepted(&cluster);
        let expected = crate::inventory::pairing::etcd_for(inventory.cluster.kubernetes.minor());
        assert_eq!(Some(inventory.cluster.etcd), expected);
    }
}

#[test]
fn the_endpoint_is_the_first_control_plane_node_of_the_file() {
    let inventory = accepted(
        "@cluster\n@az3\nroles = [\"etcd\"]\n@az2\nroles = [\"control-plane\"]\n@az1\nroles = [\"control-plane\"]",
    );
    let endpoint = inventory.cluster.endpoint.to_string();
    assert_eq!(endpoint, "https://10.0.22.1:6443");
}

#[test]
fn a_cluster_of_ipv6_has_its_first_service_address_after_the_networks_own() {
    let inventory = accepted(
        "@cluster\nservice-cidr = \"fd00:32::/112\"\npod-cidr = \"fd00:200::/48\"\n[[node]]\nname = \"a\"\naddress = \"fd00::1\"",
    );
    assert_eq!(
        inventory.cluster.service_address().to_string(),
        "fd00:32::1"
    );
    assert_eq!(
        inventory.cluster.endpoint.to_string(),
        "https://[fd00::1]:6443"
    );
}

#[test]
fn a_nodes_own_words_lie_over_those_for_all() {
    let inventory = accepted(
        r#"@cluster
[ssh]
user = "ubuntu"
port = 2222
sudo = false
config = "ssh_config"
host-keys = "accept-new"

[component.kube-apiserver]
version = "1.32.1"
flags = { v = 2, profiling = false, tls-cipher-suites = ["a", "b"], audit-log-path = "-" }
flags-removed = ["anonymous-auth"]
environment = { GOGC = "50" }

@az1
ssh = { user = "pi", port = 22, sudo = true, host = "pi1", host-keys = "strict" }

[node.component.kube-apiserver]
flags = { v = 0x4 }
environment = { GOGC = "80" }
@az2
@az3"#,
    );
    let common = Ssh {
        host: None,
        user: Some("ubuntu".to_owned()),
        port: Some(2222),
        sudo: false,
        config: Some("ssh_config".into()),
        host_keys: HostKeys::AcceptNew,
    };
    assert_eq!(node(&inventory, "az2").ssh, common);
    let own = Ssh {
        host: Some("pi1".to_owned()),
        user: Some("pi".to_owned()),
        port: Some(22),
        sudo: true,
        host_keys: HostKeys::Strict,
        ..common
    };
    assert_eq!(node(&inventory, "az1").ssh, own);
    for (name, v, gogc) in [("az1", "4", "80"), ("az2", "2", "50")] {
        let settings = inventory.component("kube-apiserver", node(&inventory, name));
        assert_eq!(settings.version, Some(Version::new(1, 32, 1)));
        let flags = [
            ("audit-log-path", "-"),
            ("profiling", "false"),
            ("tls-cipher-suites", "a,b"),
            ("v", v),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings.flags, BTreeMap::from(flags));
        assert!(settings.flags_removed.contains("anonymous-auth"));
        assert_eq!(settings.environment["GOGC"], gogc);
    }
}

#[test]
fn everything_else_that_can_be_said_is_kept() {
    let inventory = accepted(
        r#"@cluster
etcd = "3.5.21"
domain = "k8s.home"
endpoint = "https://kube.home"
[source]
kubernetes = ["file:///srv/mirror/", "https://dl.k8s.io"]
etcd = ["http://mirror.home", "https://mirror.home/{version}/{arch}/{name}"]
require = "published"
ca = "certs/home.pem"
[pki]
from = "directory"
dir = "certs"
authorities = "separate"
key = "rsa-4096"
days = 30
ca-days = 60
[encryption]
provider = "secretbox"
resources = ["secrets", "configmaps"]
[rollout]
ready-seconds = 30
stable-seconds = 0
on-failure = "stay"
drain = "always"
drain-seconds = 60
width = { controllers = 3, workers = 20 }
@az1
arch = "arm64"
zone = "1"
labels = { "example.org/disk" = "ssd" }
sans = ["gateway.home", "10.9.9.9"]"#,
    );
    assert_eq!(inventory.cluster.etcd, Version::new(3, 5, 21));
    assert_eq!(
        inventory.cluster.endpoint.to_string(),
        "https://kube.home:6443"
    );
    assert_eq!(
        inventory.source.bases["kubernetes"],
        ["file:///srv/mirror", "https://dl.k8s.io"]
    );
    assert_eq!(
        inventory.source.bases["etcd"],
        [
            "http://mirror.home",
            "https://mirror.home/{version}/{arch}/{name}"
        ]
    );
    assert!(!inventory.source.rebuilt);
    assert_eq!(inventory.source.require, Some(Requirement::Published));
    assert_eq!(inventory.source.ca, Some("certs/home.pem".into()));
    let pki = Pki {
        from: PkiSource::Directory("certs".into()),
        authorities: Authorities::Separate,
        key: KeyType::Rsa4096,
        days: 30,
        ca_days: 60,
    };
    assert_eq!(inventory.pki, pki);
    assert_eq!(inventory.encryption.provider, Provider::Secretbox);
    assert_eq!(inventory.encryption.resources, ["secrets", "configmaps"]);
    let rollout = Rollout {
        ready_seconds: 30,
        stable_seconds: 0,
        width: Widths {
            apiserver: 1,
            controllers: 3,
            workers: 20,
        },
        on_failure: OnFailure::Stay,
        drain: Drain::Always,
        drain_seconds: 60,
    };
    assert_eq!(inventory.rollout, rollout);
    let az1 = node(&inventory, "az1");
    assert_eq!(
        (az1.arch, az1.zone.as_deref()),
        (Some(Arch::Arm64), Some("1"))
    );
    assert_eq!(az1.labels["example.org/disk"], "ssd");
    let sans = [
        San::Dns("gateway.home".parse().unwrap()),
        San::Ip("10.9.9.9".parse().unwrap()),
    ];
    assert!(az1.sans.iter().eq(&sans));
}

#[test]
fn a_node_s_profile_is_its_own_or_the_cluster_s() {
    use Profile::{Small, Standard};
    let profiles = |text: &str| {
        let inventory = accepted(text);
        ["az1", "az2", "az3"].map(|name| node(&inventory, name).profile)
    };
    let nodes = "@az1\n@az2\nprofile = \"small\"\n@az3\nprofile = \"standard\"";
    assert_eq!(
        profiles(&format!("@cluster\n{nodes}")),
        [Standard, Small, Standard]
    );
    assert_eq!(
        profiles(&format!("@cluster\nprofile = \"small\"\n{nodes}")),
        [Small, Small, Standard]
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = expanded("@cluster\n@az1").replace('\n', "\r\n");
    assert!(parse(&format!("\u{feff}{text}")).is_ok());
}

/// Reads one of the inventories that users are given.
#[track_caller]
fn example(text: &str, name: &str, kubernetes: &str, nodes: &str) -> Inventory {
    let (inventory, warnings) = parse(text)
        .map_err(|problems| super::report(&problems))
        .unwrap();
    assert_eq!(warnings, []);
    assert_eq!(inventory.cluster.name.as_str(), name);
    assert_eq!(inventory.cluster.kubernetes.to_string(), kubernetes);
    let names: Vec<_> = inventory.nodes.keys().map(NodeName::as_str).collect();
    assert_eq!(names.join(" "), nodes);
    inventory
}

#[test]
fn the_examples_are_inventories() {
    let text = include_str!("../../../inventories/single-node.toml");
    example(text, "single", "1.36.3", "node1");

    let text = include_str!("../../../inventories/home-lab.toml");
    let home = example(text, "home", "1.36.3", "az1 az2 az3");
    let az2 = node(&home, "az2");
    assert_eq!(az2.arch, Some(Arch::Arm64));
    assert_eq!(az2.etcd_address().to_string(), "10.240.1.3");
    assert_eq!(az2.etcd_domain(), "etcd.az2.k8s.home");
    assert_eq!(
        home.component("kube-apiserver", az2).flags["etcd-prefix"],
        "/k8s"
    );

    let text = include_str!("../../../inventories/home-lab-armhf.toml");
    let armhf = example(text, "home", "1.26.15", "az1 az2 az3");
    let az1 = node(&armhf, "az1");
    assert_eq!((az1.arch, az1.profile), (Some(Arch::Armhf), Profile::Small));
    assert_eq!(
        armhf.component("etcd", az1).path.as_deref(),
        Some("builds/{arch}")
    );

    let text = include_str!("../../../inventories/kubenet.toml");
    let names = "control0 control1 control2 worker0 worker1 worker2";
    let kubenet = example(text, "kubenet", "1.36.3", names);
    assert_eq!(kubenet.with_role(Role::Etcd).count(), 3);
    assert_eq!(kubenet.with_role(Role::Worker).count(), 6);
    let gateway = San::Ip("192.168.1.21".parse().unwrap());
    assert!(node(&kubenet, "control1").sans.contains(&gateway));
}

#[test]
fn the_endpoint_has_the_port_that_kube_apiserver_listens_on() {
    let flags = "component.kube-apiserver.flags = { secure-port = 7443 }";
    let of_all = accepted(&format!("{flags}\n@cluster\n@az1\n@az2\n@az3"));
    assert_eq!(
        of_all.cluster.endpoint.to_string(),
        "https://10.0.12.1:7443"
    );
    assert_eq!(of_all.api_port(node(&of_all, "az2")), 7443);
    let of_one = accepted(&format!("@cluster\n@az1\n{flags}\n@az2\n@az3"));
    assert_eq!(
        of_one.cluster.endpoint.to_string(),
        "https://10.0.12.1:7443"
    );
    assert_eq!(of_one.api_port(node(&of_one, "az2")), 6443);
    let said = accepted(&format!(
        "{flags}\n@cluster\nendpoint = \"https://10.0.9.9\"\n@az1"
    ));
    assert_eq!(said.cluster.endpoint.to_string(), "https://10.0.9.9:6443");
}

#[test]
fn small_networks_of_pods_need_small_parts() {
    let cluster = "@cluster\npod-cidr = \"10.200.0.0/26\"\n@az1\n@az2\n@az3";
    assert!(parse(&expanded(cluster)).is_err());
    let flags = "component.kube-controller-manager.flags = { node-cidr-mask-size = 28 }";
    accepted(&format!("{flags}\n{cluster}"));
}

#[test]
fn networks_are_read() {
    let inventory = accepted("component.etcd.networks = [\"192.168.0.0/16\"]\n@cluster\n@az1");
    let etcd = inventory.component("etcd", node(&inventory, "az1"));
    assert_eq!(etcd.networks, Some(vec!["192.168.0.0/16".parse().unwrap()]));
}
