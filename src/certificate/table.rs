//! The table: one row for each kind of certificate that a control plane is made of.
//!
//! The rows follow what kubeadm and the guides for a cluster made by hand agree on
//! (<https://kubernetes.io/docs/setup/best-practices/certificates/>).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{AuthorityName, CertificateId, Kind, Request, Usage};
use crate::inventory::{Authorities, DomainName, Inventory, Node, NodeName, Role, San};

/// The certificates a cluster needs, in the order of the table and then of the nodes' names.
///
/// With [`Authorities::Separate`] the signers are kubeadm's three; an authority that cannot give
/// each set its own refuses the inventory itself.
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
        (Authorities::Single, _) => AuthorityName::Kubernetes,
        (Authorities::Kubeadm | Authorities::Separate, name) => name,
    }
}

struct Row {
    kind: Kind,
    /// Who signs where each authority is its own.
    signer: AuthorityName,
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
    /// The name of the node that the certificate is for.
    Node,
}

#[derive(Clone, Copy)]
enum Sans {
    /// A client is known by its subject.
    None,
    EtcdMember,
    Apiserver,
}

const CLIENT: &[Usage] = &[Usage::Client];
const SERVER: &[Usage] = &[Usage::Server];
const BOTH: &[Usage] = &[Usage::Server, Usage::Client];

static ROWS: [Row; 10] = [
    Row {
        kind: Kind::EtcdPeer,
        signer: AuthorityName::Etcd,
        common_name: CommonName::Node,
        organization: None,
        // A member listens to the others and calls them with the same certificate.
        usages: BOTH,
        each: Some(Role::Etcd),
        sans: Sans::EtcdMember,
    },
    Row {
        kind: Kind::EtcdServer,
        signer: AuthorityName::Etcd,
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
        signer: AuthorityName::Etcd,
        common_name: CommonName::Fixed("kube-etcd-healthcheck-client"),
        organization: None,
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::ApiserverEtcdClient,
        signer: AuthorityName::Etcd,
        common_name: CommonName::Fixed("kube-apiserver-etcd-client"),
        organization: None,
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::Apiserver,
        signer: AuthorityName::Kubernetes,
        common_name: CommonName::Fixed("kube-apiserver"),
        organization: None,
        usages: SERVER,
        each: Some(Role::ControlPlane),
        sans: Sans::Apiserver,
    },
    Row {
        kind: Kind::ApiserverKubeletClient,
        signer: AuthorityName::Kubernetes,
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
        signer: AuthorityName::FrontProxy,
        // What `--requestheader-allowed-names` lists.
        common_name: CommonName::Fixed("front-proxy-client"),
        organization: None,
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::ControllerManager,
        signer: AuthorityName::Kubernetes,
        common_name: CommonName::Fixed("system:kube-controller-manager"),
        organization: Some("system:kube-controller-manager"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::Scheduler,
        signer: AuthorityName::Kubernetes,
        common_name: CommonName::Fixed("system:kube-scheduler"),
        organization: Some("system:kube-scheduler"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
    Row {
        kind: Kind::Admin,
        signer: AuthorityName::Kubernetes,
        common_name: CommonName::Fixed("kubernetes-admin"),
        organization: Some("system:masters"),
        usages: CLIENT,
        each: None,
        sans: Sans::None,
    },
];

impl Row {
    fn requests(&self, inventory: &Inventory) -> Vec<Request> {
        match self.each {
            None => vec![self.request(inventory, None)],
            Some(role) => inventory
                .with_role(role)
                .map(|node| self.request(inventory, Some(node)))
                .collect(),
        }
    }

    fn request(&self, inventory: &Inventory, node: Option<&Node>) -> Request {
        let node_name = node.map(|node| node.name.clone());
        Request {
            common_name: match (self.common_name, &node_name) {
                (CommonName::Fixed(name), _) => name.to_owned(),
                (CommonName::Node, Some(name)) => name.to_string(),
                (CommonName::Node, None) => self.kind.name().to_owned(),
            },
            id: CertificateId {
                kind: self.kind,
                node: node_name,
            },
            signer: signer(inventory.pki.authorities, self.signer),
            organizations: self.organization.map(str::to_owned).into_iter().collect(),
            sans: self.sans.of(inventory, node),
            usages: self.usages.iter().copied().collect(),
            key: inventory.pki.key,
            days: inventory.pki.days,
        }
    }
}

impl Sans {
    fn of(self, inventory: &Inventory, node: Option<&Node>) -> BTreeSet<San> {
        let mut sans = match self {
            Self::None => return BTreeSet::new(),
            Self::EtcdMember => node.map(etcd_member).unwrap_or_default(),
            Self::Apiserver => apiserver(inventory),
        };
        sans.extend(node.into_iter().flat_map(|node| node.sans.iter().cloned()));
        sans.extend([
            San::Dns(domain_name("localhost")),
            San::Ip(Ipv4Addr::LOCALHOST.into()),
            San::Ip(Ipv6Addr::LOCALHOST.into()),
        ]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::fixture;

    #[track_caller]
    fn check(id: &str, authorities: Authorities, expected: &str) {
        let mut inventory = fixture::inventory();
        inventory.pki.authorities = authorities;
        let request = requests(&inventory)
            .into_iter()
            .find(|request| request.id.to_string() == id)
            .unwrap();
        let sans: Vec<_> = request.sans.iter().map(San::to_string).collect();
        let line = format!(
            "{} CN={} O={} {:?} {}",
            request.signer,
            request.common_name,
            request.organizations.join(","),
            request.usages,
            sans.join(" "),
        );
        assert_eq!(line, expected);
    }

    const MEMBER: &str = "CN=az1 O= {Server, Client} az1 etcd.az1.k8s.home extra.home \
        kube-apiserver.az1.k8s.home localhost 10.0.12.1 10.240.1.2 127.0.0.1 192.168.1.21 ::1";
    const OTHER_MEMBER: &str = "CN=az2 O= {Server, Client} az2 localhost 10.0.22.1 127.0.0.1 ::1";
    const APISERVER: &str = "CN=kube-apiserver O= {Server} az1 az2 az3 extra.home \
        kube-apiserver.az1.k8s.home kube-apiserver.k8s.home kubernetes kubernetes.default \
        kubernetes.default.svc kubernetes.default.svc.cluster.local localhost \
        10.0.12.1 10.0.22.1 10.0.32.1 10.32.0.1 127.0.0.1 192.168.1.21 ::1";

    #[test]
    fn each_row_says_who_signs_whom_for_what() {
        let rows = [
            ("etcd-peer-az1", "etcd", MEMBER),
            ("etcd-server-az1", "etcd", MEMBER),
            ("etcd-peer-az2", "etcd", OTHER_MEMBER),
            (
                "etcd-healthcheck-client",
                "etcd",
                "CN=kube-etcd-healthcheck-client O= {Client} ",
            ),
            (
                "apiserver-etcd-client",
                "etcd",
                "CN=kube-apiserver-etcd-client O= {Client} ",
            ),
            ("apiserver-az1", "kubernetes", APISERVER),
            (
                "apiserver-kubelet-client",
                "kubernetes",
                "CN=kube-apiserver-kubelet-client O=system:masters {Client} ",
            ),
            (
                "front-proxy-client",
                "front-proxy",
                "CN=front-proxy-client O= {Client} ",
            ),
            (
                "controller-manager",
                "kubernetes",
                "CN=system:kube-controller-manager O=system:kube-controller-manager {Client} ",
            ),
            (
                "scheduler",
                "kubernetes",
                "CN=system:kube-scheduler O=system:kube-scheduler {Client} ",
            ),
            (
                "admin",
                "kubernetes",
                "CN=kubernetes-admin O=system:masters {Client} ",
            ),
        ];
        for (id, kubeadm, rest) in rows {
            let single = kubeadm.replace("etcd", "kubernetes");
            check(id, Authorities::Kubeadm, &format!("{kubeadm} {rest}"));
            check(id, Authorities::Single, &format!("{single} {rest}"));
        }
    }

    #[test]
    fn each_certificate_is_asked_for_once() {
        let requests = requests(&fixture::inventory());
        let ids: BTreeSet<_> = requests.iter().map(|request| &request.id).collect();
        assert_eq!(ids.len(), requests.len());
        assert_eq!(
            requests.len(),
            7 + 3 * 3,
            "seven shared, three for each node"
        );
    }

    #[test]
    fn only_the_nodes_of_a_role_get_its_certificates() {
        let mut inventory = fixture::inventory();
        for node in inventory.nodes.values_mut().skip(1) {
            node.roles = [Role::ControlPlane].into();
        }
        let etcd: Vec<_> = requests(&inventory)
            .into_iter()
            .filter(|request| request.id.kind == Kind::EtcdPeer)
            .map(|request| request.id.to_string())
            .collect();
        assert_eq!(etcd, ["etcd-peer-az1"]);
    }
}
