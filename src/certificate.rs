//! Which certificates a cluster needs, as requests to an authority, and what an authority answers.
//!
//! The table of the field's certificates stands here once: who signs, whose name, which names it
//! is valid for, how it may be used. Nothing here makes a key or reads a file.

pub mod check;
pub mod describe;
#[cfg(test)]
pub(crate) mod fixture;
pub mod key;
pub mod link;
pub mod path;
pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use describe::{Description, Subject, describe};
pub use table::requests;

use crate::digest::Digest;
use crate::inventory::{KeyType, NodeName, San};
use crate::secret::Secret;

/// An authority that signs one set of certificates, by what it is for.
///
/// A cluster of fewer authorities has one of them stand in for others:
/// [`table::signer`] says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityName {
    /// What kube-apiserver shows its clients, and everything that no other one signs.
    Kubernetes,
    /// The clients of kube-apiserver.
    ApiserverClient,
    /// What kubelets show kube-apiserver.
    KubeletServer,
    /// The client of kubelets: kube-apiserver.
    KubeletClient,
    /// What etcd shows its clients.
    Etcd,
    /// etcd's members among themselves.
    EtcdPeer,
    /// The clients of etcd.
    EtcdClient,
    /// The aggregation layer's client certificate.
    FrontProxy,
}

impl AuthorityName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kubernetes,
        Self::ApiserverClient,
        Self::KubeletServer,
        Self::KubeletClient,
        Self::Etcd,
        Self::EtcdPeer,
        Self::EtcdClient,
        Self::FrontProxy,
    ];

    /// The word in file names: `kubernetes`, `etcd`, `front-proxy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::ApiserverClient => "apiserver-client",
            Self::KubeletServer => "kubelet-server",
            Self::KubeletClient => "kubelet-client",
            Self::Etcd => "etcd",
            Self::EtcdPeer => "etcd-peer",
            Self::EtcdClient => "etcd-client",
            Self::FrontProxy => "front-proxy",
        }
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One kind of certificate: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// etcd member to etcd member.
    EtcdPeer,
    /// What etcd shows its clients.
    EtcdServer,
    /// The client that asks etcd how it is.
    EtcdHealthcheckClient,
    /// kube-apiserver to etcd.
    ApiserverEtcdClient,
    /// What kube-apiserver shows its clients.
    Apiserver,
    /// kube-apiserver to kubelet.
    ApiserverKubeletClient,
    /// kube-apiserver to an aggregated API.
    FrontProxyClient,
    /// kube-controller-manager to kube-apiserver.
    ControllerManager,
    /// kube-scheduler to kube-apiserver.
    Scheduler,
    /// The administrator to kube-apiserver.
    Admin,
    /// kubelet to kube-apiserver.
    KubeletClient,
    /// What kubelet shows kube-apiserver.
    KubeletServer,
    /// kube-proxy to kube-apiserver.
    KubeProxy,
}

impl Kind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::EtcdPeer,
        Self::EtcdServer,
        Self::EtcdHealthcheckClient,
        Self::ApiserverEtcdClient,
        Self::Apiserver,
        Self::ApiserverKubeletClient,
        Self::FrontProxyClient,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Admin,
        Self::KubeletClient,
        Self::KubeletServer,
        Self::KubeProxy,
    ];

    /// The word in file names and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EtcdPeer => "etcd-peer",
            Self::EtcdServer => "etcd-server",
            Self::EtcdHealthcheckClient => "etcd-healthcheck-client",
            Self::ApiserverEtcdClient => "apiserver-etcd-client",
            Self::Apiserver => "apiserver",
            Self::ApiserverKubeletClient => "apiserver-kubelet-client",
            Self::FrontProxyClient => "front-proxy-client",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
            Self::Admin => "admin",
            Self::KubeletClient => "kubelet-client",
            Self::KubeletServer => "kubelet-server",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// One certificate: a kind, and the node it is for where each node has its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId {
    /// The row of the table.
    pub kind: Kind,
    /// The node; none for a certificate that the whole cluster shares.
    pub node: Option<NodeName>,
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}-{node}", self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

/// What a certificate may be used for (extended key usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// TLS server.
    Server,
    /// TLS client.
    Client,
}

impl Usage {
    /// The word for it in an extended key usage.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "serverAuth",
            Self::Client => "clientAuth",
        }
    }
}

/// What is asked of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which certificate it is.
    pub id: CertificateId,
    /// The set it belongs to: its peers verify it by what they trust for this set.
    pub set: AuthorityName,
    /// Who signs: the set's authority, or the one that stands in for it.
    pub signer: AuthorityName,
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations: groups, to Kubernetes.
    pub organizations: Vec<String>,
    /// Names and addresses it is valid for; empty for a client's.
    /// Shared: a thousand servers have the same thousands of them.
    pub sans: Arc<BTreeSet<San>>,
    /// Those of them that some client of the cluster goes by; the others are a comfort.
    pub needed: BTreeSet<San>,
    /// What it may be used for.
    pub usages: BTreeSet<Usage>,
    /// The kind of its key.
    pub key: KeyType,
    /// Days that it is valid.
    pub days: u32,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate in PEM, then the intermediates that signed it, the leaf first.
    pub chain_pem: String,
    /// The private key in PEM.
    pub key_pem: Secret,
    /// Seconds since 1970 that its files on nodes are named by, in minutes: no two that took each
    /// other's place have the same.
    pub dated: i64,
    /// Seconds since 1970 at which it begins to be valid.
    pub not_before: i64,
    /// Seconds since 1970 at which it ends to be valid.
    pub not_after: i64,
}

/// The service-account pair: RSA or ECDSA, tied to no authority, one for the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountPair {
    /// The private key in PEM.
    pub private_pem: Secret,
    /// The public key in PEM.
    pub public_pem: String,
}

/// Everything an authority answers for a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The authorities' certificates in PEM. In a cluster of one authority several names may hold
    /// the same one.
    pub authorities: BTreeMap<AuthorityName, String>,
    /// The certificates asked for.
    pub leaves: BTreeMap<CertificateId, Leaf>,
    /// The service-account pair.
    pub service_account: ServiceAccountPair,
    /// `encryption-config.yaml`, whole, as every kube-apiserver of the cluster gets it.
    pub encryption_config: Secret,
    /// The digests of the configurations that rotations have replaced: a node may still hold one.
    pub encryption_history: Vec<Digest>,
    /// The private key in PEM of the authority that kube-controller-manager signs requests with,
    /// where it is at hand.
    pub signing_key_pem: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::vault::{CERTIFICATES, SETS};

    #[test]
    fn the_inventory_knows_exactly_these_names() {
        assert_eq!(AuthorityName::ALL.map(AuthorityName::name), SETS);
        assert_eq!(Kind::ALL.map(Kind::name), CERTIFICATES);
    }
}
