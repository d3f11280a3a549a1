//! An inventory for tests: three nodes, each with etcd and the control plane.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::inventory::{
    Cluster, Encryption, Endpoint, EtcdAccess, Inventory, Node, NodeName, Pki, Role, Rollout, San,
    Source, Ssh, VersionSpans,
};
use crate::version::Version;

/// Three nodes; the first has domains of its own and two more names.
pub(crate) fn inventory() -> Inventory {
    let nodes = [1, 2, 3].map(node).map(|node| (node.name.clone(), node));
    Inventory {
        directory: PathBuf::new(),
        file: "inventory.toml".into(),
        digest: crate::digest::Digest::of(b""),
        cluster: Cluster {
            name: "home".parse().unwrap(),
            kubernetes: Version::new(1, 32, 3),
            etcd: Version::new(3, 5, 21),
            domain: "cluster.local".parse().unwrap(),
            endpoint: Endpoint {
                host: San::Dns("kube-apiserver.k8s.home".parse().unwrap()),
                port: 8443,
            },
            service_cidr: "10.32.0.0/24".parse().unwrap(),
            pod_cidr: "10.200.0.0/16".parse().unwrap(),
            network: None,
            proxy: crate::inventory::Proxy::default(),
            dns: "10.32.0.10".parse().unwrap(),
            images: std::collections::BTreeSet::new(),
        },
        places: VersionSpans::default(),
        source: Source::default(),
        pki: Pki::default(),
        etcd: EtcdAccess::default(),
        encryption: Encryption::default(),
        rollout: Rollout::default(),
        templates: None,
        own: crate::template::Overrides::default(),
        components: BTreeMap::new(),
        nodes: nodes.into(),
        pods: crate::inventory::Pods::default(),
    }
}

fn node(number: u8) -> Node {
    let name: NodeName = format!("az{number}").parse().unwrap();
    let first = number == 1;
    let own = |text: &str| first.then(|| text.parse().unwrap());
    Node {
        name,
        address: [10, 0, number * 10 + 2, 1].into(),
        etcd_address: first.then_some([10, 240, 1, 2].into()),
        roles: [Role::Etcd, Role::ControlPlane].into(),
        profile: crate::inventory::Profile::default(),
        arch: None,
        domain: own("kube-apiserver.az1.k8s.home"),
        etcd_domain: own("etcd.az1.k8s.home"),
        zone: None,
        labels: BTreeMap::new(),
        taints: std::collections::BTreeSet::new(),
        sans: if first {
            [
                San::Dns("extra.home".parse().unwrap()),
                San::Ip([192, 168, 1, 21].into()),
            ]
            .into()
        } else {
            [].into()
        },
        ssh: Ssh::default(),
        components: BTreeMap::new(),
    }
}
