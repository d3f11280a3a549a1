//! The table: one row for each kind of certificate that a control plane is made of.
//!
//! The rows follow what kubeadm and the guides for a cluster made by hand agree on
//! (<https://kubernetes.io/docs/setup/best-practices/certificates/>).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{AuthorityName, CertificateId, Kind, Request, Usage};
use crate::inventory::{Authorities, DomainName, Inventory, Node, NodeName, Pattern, Role, San};

/// The certificates a cluster needs, in the order of the table and then of the nodes' names.
pub fn requests(inventory: &Inventory) -> Vec<Request> {
    ROWS.iter()
        .flat_map(|row| row.requests(inventory))
        .collect()
}

/// The authorities that a cluster has certificates of, and who signs in the place of each.
pub fn signer(mode: Authorities, name: AuthorityName) -> AuthorityName {
    match (mode, name) {
        // The front proxy's authority is never shared: were it also the one for clients, every
        // client certificate would be taken for a front proxy's and fail its list of names.
        (_, AuthorityName::FrontProxy) => AuthorityName::FrontProxy,
        (
            Authorities::Kubeadm,
            AuthorityName::Etcd | AuthorityName::EtcdPeer | AuthorityName::EtcdClient,
        ) => AuthorityName::Etcd,
        (Authorities::Single | Authorities::Kubeadm, _) => AuthorityName::Kubernetes,
        (Authorities::Separate, name) => name,
    }
}

/// Whether each node of a role has one of its own.
pub fn is_of_a_node(kind: Kind, inventory: &Inventory) -> bool {
    ROWS.iter()
        .any(|row| row.kind == kind && row.each(inventory).is_some())
}

struct Row {
    kind: Kind,
    /// Who signs where each set has its own authority.
    set: AuthorityName,
    common_name: CommonName,
    organization: Option<&'static str>,
    usages: &'static [Usage],
    /// One certificate for each node of the role; one for the cluster without.
    each: Option<Role>,
    sans: Sans,
}

#[derive(Clone, Copy)]
enum CommonName {
    Fixed(&'static str),
    /// The user that a kube-apiserver is to etcd: what the inventory says, else this one.
    EtcdUser(&'static str),
    /// The name of the node that the certificate is for.
    Node,
    /// The user that a node is to kube-apiserver.
    NodeUser,
}

#[derive(Clone, Copy)]
enum Sans {
    /// A client is known by its subject.
    None,
    EtcdMember,
    Apiserver,
    Kubelet,
}

/// The group that the node authorizer looks for
/// (<https://kubernetes.io/docs/reference/access-authn-authz/node/>).
const NODES: &str = "system:nodes";

const CLIENT: &[Usage] = &[Usage::Client];
const SERVER: &[Usage] = &[Usage::Server];
const BOTH: &[Usage] = &[Usage::Server, Usage::Client];

static ROWS: [Row; 13] = [
    Row {
        kind: Kind::EtcdPeer,
        set: AuthorityName::EtcdPeer,
        common_name: CommonName::Node,
        organization: None,
        // A member listens to the others and calls them with the same certificate.
        usages: BOTH,
        each: Some(Role::Etcd),
        sans: Sans::EtcdMember,
    },
    Row {
        kind: Kind::EtcdServer,
        set: AuthorityName::Etcd,
        common_name: CommonName::Node,
        organization: None,
        // etcd's HTTP gateway calls its own client port with this certificate; without the
        // client usage it fails with "certificate specifies an incompatible key usage".
        usages: BOTH,
        each: Some(Role::Etcd),
        sans: Sans::EtcdMember,
    },
    Row {
        kind: Kind::EtcdHealthcheckClient,
        set: AuthorityName::EtcdClient,
        common_name: CommonName::Fixed("kube-etcd-healthcheck-client"),
        organization: None,
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::ApiserverEtcdClient,
        set: AuthorityName::EtcdClient,
        common_name: CommonName::EtcdUser("kube-apiserver-etcd-client"),
        organization: None,
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::Apiserver,
        set: AuthorityName::Kubernetes,
        common_name: CommonName::Fixed("kube-apiserver"),
        organization: None,
        usages: SERVER,
        each: Some(Role::ControlPlane),
        sans: Sans::Apiserver,
    },
    Row {
        kind: Kind::ApiserverKubeletClient,
        set: AuthorityName::KubeletClient,
        common_name: CommonName::Fixed("kube-apiserver-kubelet-client"),
        // The group that needs no binding: kubeadm's newer `kubeadm:cluster-admins` is only
        // allowed anything once somebody has created its ClusterRoleBinding.
        organization: Some("system:masters"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::FrontProxyClient,
        set: AuthorityName::FrontProxy,
        // What `--requestheader-allowed-names` lists.
        common_name: CommonName::Fixed("front-proxy-client"),
        organization: None,
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::ControllerManager,
        set: AuthorityName::ApiserverClient,
        common_name: CommonName::Fixed("system:kube-controller-manager"),
        organization: Some("system:kube-controller-manager"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::Scheduler,
        set: AuthorityName::ApiserverClient,
        common_name: CommonName::Fixed("system:kube-scheduler"),
        organization: Some("system:kube-scheduler"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::Admin,
        set: AuthorityName::ApiserverClient,
        common_name: CommonName::Fixed("kubernetes-admin"),
        organization: Some("system:masters"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    // A kubelet serves and calls with certificates of its own, so that each can be signed by the
    // authority of its set; one certificate from elsewhere may do for both.
    Row {
        kind: Kind::KubeletClient,
        set: AuthorityName::ApiserverClient,
        common_name: CommonName::NodeUser,
        organization: Some(NODES),
        usages: CLIENT,
        each: Some(Role::Worker),
        sans: Sans::None,
    },
    Row {
        kind: Kind::KubeletServer,
        set: AuthorityName::KubeletServer,
        common_name: CommonName::NodeUser,
        organization: Some(NODES),
        usages: SERVER,
        each: Some(Role::Worker),
        sans: Sans::Kubelet,
    },
    Row {
        kind: Kind::KubeProxy,
        set: AuthorityName::ApiserverClient,
        common_name: CommonName::Fixed("system:kube-proxy"),
        organization: Some("system:node-proxier"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
];

impl Row {
    fn requests(&self, inventory: &Inventory) -> Vec<Request> {
        let has_workers = inventory.with_role(Role::Worker).next().is_some();
        let shared = Arc::new(self.sans.of_all(inventory));
        match self.each(inventory) {
            None if self.kind == Kind::KubeProxy && !has_workers => vec![],
            None => vec![self.request(inventory, None, &shared)],
            Some(role) => inventory
                .with_role(role)
                .map(|node| self.request(inventory, Some(node), &shared))
                .collect(),
        }
    }

    /// The role whose nodes have one each, if they have.
    fn each(&self, inventory: &Inventory) -> Option<Role> {
        let user = inventory.etcd.user.as_ref();
        match self.common_name {
            CommonName::EtcdUser(_) if user.is_some_and(Pattern::is_of_a_node) => {
                Some(Role::ControlPlane)
            }
            _ => self.each,
        }
    }

    fn request(
        &self,
        inventory: &Inventory,
        node: Option<&Node>,
        shared: &Arc<BTreeSet<San>>,
    ) -> Request {
        let node_name = node.map(|node| node.name.clone());
        Request {
            common_name: match (self.common_name, &node_name) {
                (CommonName::Fixed(name), _) => name.to_owned(),
                (CommonName::EtcdUser(usual), _) => {
                    let said = inventory.etcd_user(node);
                    said.unwrap_or_else(|| usual.to_owned())
                }
                (CommonName::Node, Some(name)) => name.to_string(),
                (CommonName::NodeUser, Some(name)) => format!("system:node:{name}"),
                (CommonName::Node | CommonName::NodeUser, None) => self.kind.name().to_owned(),
            },
            id: CertificateId {
                kind: self.kind,
                node: node_name,
            },
            set: self.set,
            signer: signer(inventory.pki.authorities, self.set),
            organizations: self.organization.map(str::to_owned).into_iter().collect(),
            sans: self.sans.of(node, shared),
            needed: self.sans.needed(inventory, node),
            usages: self.usages.iter().copied().collect(),
            key: inventory.pki.key,
            days: inventory.pki.days,
        }
    }
}

impl Sans {
    /// What every certificate of the row is valid for.
    fn of_all(self, inventory: &Inventory) -> BTreeSet<San> {
        let mut sans = match self {
            Self::None => return BTreeSet::new(),
            Self::EtcdMember | Self::Kubelet => BTreeSet::new(),
            Self::Apiserver => apiserver(inventory),
        };
        sans.extend([
            San::Dns(domain_name("localhost")),
            San::Ip(Ipv4Addr::LOCALHOST.into()),
            San::Ip(Ipv6Addr::LOCALHOST.into()),
        ]);
        sans
    }

    /// The same with what a node's own is valid for besides.
    fn of(self, node: Option<&Node>, shared: &Arc<BTreeSet<San>>) -> Arc<BTreeSet<San>> {
        let Some(node) = node else {
            return Arc::clone(shared);
        };
        let mut own = match self {
            Self::None => return Arc::clone(shared),
            Self::Apiserver => BTreeSet::new(),
            Self::EtcdMember => etcd_member(node),
            Self::Kubelet => kubelet(node),
        };
        own.extend(node.sans.iter().cloned());
        if own.is_subset(shared) {
            return Arc::clone(shared);
        }
        own.extend(shared.iter().cloned());
        Arc::new(own)
    }
}

impl Sans {
    /// The names that clients of the cluster go by: addresses as flags and kubeconfigs have them,
    /// what Pods are told, and what the user asks for by name.
    fn needed(self, inventory: &Inventory, node: Option<&Node>) -> BTreeSet<San> {
        let own = |node: &Node| node.sans.clone();
        let mut sans = node.map(own).unwrap_or_default();
        match (self, node) {
            (Self::EtcdMember, Some(node)) => {
                sans.insert(San::Ip(node.etcd_address()));
                sans.insert(San::Ip(Ipv4Addr::LOCALHOST.into()));
            }
            (Self::Kubelet, Some(node)) => _ = sans.insert(San::Ip(node.address)),
            (Self::Apiserver, Some(node)) => {
                let cluster = &inventory.cluster;
                let service = format!("kubernetes.default.svc.{}", cluster.domain);
                sans.insert(San::Dns(domain_name("kubernetes.default.svc")));
                sans.insert(San::Dns(domain_name(&service)));
                sans.insert(cluster.endpoint.host.clone());
                sans.insert(San::Ip(cluster.service_address()));
                sans.insert(San::Ip(node.address));
                sans.extend(node.domain.clone().map(San::Dns));
                sans.insert(San::Ip(Ipv4Addr::LOCALHOST.into()));
            }
            _ => return BTreeSet::new(),
        }
        sans
    }
}

fn etcd_member(node: &Node) -> BTreeSet<San> {
    let domains = [&node.etcd_domain, &node.domain].into_iter().flatten();
    let mut sans: BTreeSet<San> = domains.cloned().map(San::Dns).collect();
    sans.insert(host_name(&node.name));
    sans.extend([node.etcd_address(), node.address].map(San::Ip));
    sans
}

fn kubelet(node: &Node) -> BTreeSet<San> {
    let mut sans: BTreeSet<San> = node.domain.iter().cloned().map(San::Dns).collect();
    sans.insert(host_name(&node.name));
    sans.insert(San::Ip(node.address));
    sans
}

/// Every kube-apiserver answers under the names of all: a client that is balanced, or moved by
/// hand, to another node finds the certificate it expects.
fn apiserver(inventory: &Inventory) -> BTreeSet<San> {
    let cluster = &inventory.cluster;
    let mut sans: BTreeSet<San> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        &format!("kubernetes.default.svc.{}", cluster.domain),
    ]
    .map(|name| San::Dns(domain_name(name)))
    .into();
    sans.insert(cluster.endpoint.host.clone());
    sans.insert(San::Ip(cluster.service_address()));
    for node in inventory.with_role(Role::ControlPlane) {
        sans.insert(host_name(&node.name));
        sans.extend(node.domain.clone().map(San::Dns));
        sans.insert(San::Ip(node.address));
    }
    sans
}

fn host_name(name: &NodeName) -> San {
    San::Dns(domain_name(name.as_str()))
}

fn domain_name(text: &str) -> DomainName {
    text.parse()
        .expect("labels joined by dots are a domain name")
}
