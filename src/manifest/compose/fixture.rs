//! Clusters to compose in tests, with credentials that are only words.

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;
use crate::certificate::{
    AuthorityName, CertificateId, Credentials, Kind, Leaf, ServiceAccountPair,
};
use crate::digest::Digest;
use crate::inventory::{
    Authorities, Cluster, Encryption, Endpoint, EtcdAccess, Inventory, Node, NodeName, Pki, Role,
    Rollout, San, Source, Ssh, VersionSpans,
};
use crate::lockfile::Lockfile;
use crate::manifest::{Content, Desired, Kind as EntryKind, Manifest};
use crate::remote_path::RemotePath;
use crate::secret::Secret;
use crate::{artifact, certificate};

/// What `compose` takes.
pub(crate) struct Fixture {
    pub(crate) inventory: Inventory,
    pub(crate) archs: BTreeMap<NodeName, Arch>,
    pub(crate) credentials: Credentials,
}

/// The certificates that each node has its own of.
const OF_A_NODE: [Kind; 5] = [
    Kind::EtcdPeer,
    Kind::EtcdServer,
    Kind::Apiserver,
    Kind::KubeletClient,
    Kind::KubeletServer,
];

const OF_THE_CLUSTER: [Kind; 8] = [
    Kind::KubeProxy,
    Kind::EtcdHealthcheckClient,
    Kind::ApiserverEtcdClient,
    Kind::ApiserverKubeletClient,
    Kind::FrontProxyClient,
    Kind::ControllerManager,
    Kind::Scheduler,
    Kind::Admin,
];

impl Fixture {
    /// Nodes `az1`, `az2`, ... that are everything, of `arm64`.
    pub(crate) fn new(nodes: u8, kubernetes: &str, etcd: &str) -> Self {
        let node = |number| {
            let node = node(number);
            (node.name.clone(), node)
        };
        let inventory = Inventory {
            directory: "/inventory".into(),
            file: "inventory.toml".into(),
            digest: Digest::of(b""),
            cluster: Cluster {
                name: "home".parse().unwrap(),
                kubernetes: kubernetes.parse().unwrap(),
                etcd: etcd.parse().unwrap(),
                domain: "cluster.local".parse().unwrap(),
                endpoint: Endpoint {
                    host: San::Ip([10, 0, 12, 1].into()),
                    port: 6443,
                },
                service_cidr: "10.32.0.0/24".parse().unwrap(),
                pod_cidr: "10.200.0.0/16".parse().unwrap(),
                network: None,
                proxy: crate::inventory::Proxy::default(),
                dns: "10.32.0.10".parse().unwrap(),
                images: BTreeSet::new(),
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
            nodes: (1..=nodes).map(node).collect(),
            pods: crate::inventory::Pods::default(),
        };
        let names = inventory.nodes.keys();
        let credentials = credentials(names.clone());
        Self {
            archs: names.map(|name| (name.clone(), Arch::Arm64)).collect(),
            inventory,
            credentials,
        }
    }

    /// A cluster of an inventory's text; nodes that say no architecture are of `arm64`.
    pub(crate) fn of(text: &str) -> Self {
        let (inventory, _) = Inventory::parse(text, "x", std::path::Path::new("/inventory"))
            .unwrap_or_else(|problems| panic!("{:?}", problems.iter().collect::<Vec<_>>()));
        let inventory = inventory
            .with_pods(crate::inventory::Pods::default())
            .unwrap();
        let nodes = inventory.nodes.values();
        let arch = |node: &Node| (node.name.clone(), node.arch.unwrap_or(Arch::Arm64));
        Self {
            archs: nodes.map(arch).collect(),
            credentials: credentials(inventory.nodes.keys()),
            inventory,
        }
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        self.inventory
            .nodes
            .get_mut(&name.parse().unwrap())
            .unwrap()
    }

    pub(crate) fn lockfile(&self) -> Lockfile {
        let mut lockfile = Lockfile::default();
        lockfile.suppose(&artifact::of_cluster(&self.inventory, &self.archs));
        lockfile
    }

    pub(crate) fn compose(&self) -> Result<Desired, super::Error> {
        super::compose(
            &self.inventory,
            &self.archs,
            &self.lockfile(),
            &self.credentials,
        )
    }

    #[track_caller]
    pub(crate) fn composed(&self) -> Desired {
        self.compose().unwrap()
    }
}

/// The manifest of a node.
#[track_caller]
pub(crate) fn manifest<'a>(desired: &'a Desired, node: &str) -> &'a Manifest {
    &desired.manifests[&node.parse().unwrap()]
}

/// The text of a file.
#[track_caller]
pub(crate) fn text(desired: &Desired, node: &str, path: &str) -> String {
    let entry = &manifest(desired, node).entries[&RemotePath::fixed(path)];
    let EntryKind::File { digest, .. } = &entry.kind else {
        panic!("`{path}` is no file");
    };
    let Content::Inline(content) = &desired.contents[digest] else {
        panic!("`{path}` is not rendered");
    };
    content.expose_text().unwrap().to_owned()
}

/// The command line of a service as systemd would run it, without the program.
#[track_caller]
pub(crate) fn arguments(desired: &Desired, node: &str, component: &str) -> Vec<String> {
    let unit = text(
        desired,
        node,
        &format!("/etc/systemd/system/{component}.service"),
    );
    let (_, command) = unit.split_once("ExecStart=").unwrap();
    let (command, _) = command.split_once("\nRestart=").unwrap();
    let words = command.split(" \\\n    ").skip(1);
    words.map(str::to_owned).collect()
}

fn node(number: u8) -> Node {
    Node {
        name: format!("az{number}").parse().unwrap(),
        address: [10, 0, 10 * number + 2, 1].into(),
        etcd_address: None,
        roles: BTreeSet::from([Role::Etcd, Role::ControlPlane]),
        profile: crate::inventory::Profile::default(),
        arch: None,
        domain: Some(format!("api.az{number}.k8s.home").parse().unwrap()),
        etcd_domain: Some(format!("etcd.az{number}.k8s.home").parse().unwrap()),
        zone: None,
        labels: BTreeMap::new(),
        taints: BTreeSet::new(),
        sans: BTreeSet::new(),
        ssh: Ssh::default(),
        components: BTreeMap::new(),
    }
}

fn credentials<'a>(nodes: impl Iterator<Item = &'a NodeName>) -> Credentials {
    let authorities = AuthorityName::ALL;
    let authority = |name: AuthorityName| {
        let signer = certificate::table::signer(Authorities::Kubeadm, name);
        (name, format!("authority {signer}\n"))
    };
    let leaf = |id: CertificateId| {
        let leaf = Leaf {
            chain_pem: format!("certificate {id}\n"),
            key_pem: Secret::new(format!("key {id}\n")),
            dated: 1_735_787_045,
            not_before: 1_735_787_045,
            not_after: 1_767_323_045,
        };
        (id, leaf)
    };
    let of_nodes = nodes.flat_map(|node| {
        OF_A_NODE.map(|kind| CertificateId {
            kind,
            node: Some(node.clone()),
        })
    });
    let of_the_cluster = OF_THE_CLUSTER.map(|kind| CertificateId { kind, node: None });
    Credentials {
        authorities: authorities.into_iter().map(authority).collect(),
        leaves: of_nodes.chain(of_the_cluster).map(leaf).collect(),
        service_account: ServiceAccountPair {
            private_pem: Secret::new("private\n"),
            public_pem: "public\n".to_owned(),
        },
        encryption_config: Secret::new("encryption\n"),
        encryption_history: vec![],
        signing_key_pem: Some(Secret::new("signing key\n")),
    }
}
