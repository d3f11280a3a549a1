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

pub use crate::credential::{AuthorityName, Kind};
pub use describe::{Description, Subject, describe};
pub use table::requests;

use crate::digest::Digest;
use crate::inventory::{KeyType, NodeName, San};
use crate::secret::Secret;

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
