//! `[pki.vault]`: certificates from the PKI engine of a `HashiCorp` Vault.
//!
//! Names are patterns over the node. What is said of one certificate goes before what is said of
//! its set, and that before what is said for all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::pattern::Pattern;

/// The sets of certificates, by the names of their authorities.
///
/// The names stand in [`crate::certificate::AuthorityName`]; a test keeps the two equal.
pub const SETS: [&str; 8] = [
    "kubernetes",
    "apiserver-client",
    "kubelet-server",
    "kubelet-client",
    "etcd",
    "etcd-peer",
    "etcd-client",
    "front-proxy",
];

/// The kinds of certificates.
///
/// The names stand in [`crate::certificate::Kind`]; a test keeps the two equal.
pub const CERTIFICATES: [&str; 13] = [
    "etcd-peer",
    "etcd-server",
    "etcd-healthcheck-client",
    "apiserver-etcd-client",
    "apiserver",
    "apiserver-kubelet-client",
    "front-proxy-client",
    "controller-manager",
    "scheduler",
    "admin",
    "kubelet-client",
    "kubelet-server",
    "kube-proxy",
];

/// `[pki.vault]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// `https://host:port`, without a path.
    pub address: String,
    /// A PEM file with the CA of Vault's own TLS, beside the system's; relative to the inventory.
    pub ca: Option<PathBuf>,
    /// How long one answer may take, in seconds.
    pub seconds: u64,
    /// What holds for all.
    pub common: Names,
    /// `[pki.vault.set.NAME]`.
    pub sets: BTreeMap<String, Names>,
    /// `[pki.vault.certificate.NAME]`.
    pub certificates: BTreeMap<String, Names>,
}

/// How certificates are asked for: all of it may be said for all, for a set, or for one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Where the engine is mounted. A set without one is signed by kinstall's own authority.
    pub mount: Option<Pattern>,
    /// The role that is asked.
    pub role: Option<Pattern>,
    /// The user that logs in.
    pub user: Option<Pattern>,
    /// Where the user's password is.
    pub password: Option<SecretPlace>,
    /// Where a token is, for those who do not log in by a user.
    pub token: Option<SecretPlace>,
    /// Where the method that users log in by is mounted.
    pub login: Option<Pattern>,
    /// The domain that the other names are made of, and that a server's certificate is valid for.
    pub domain: Option<Pattern>,
    /// The common name, in place of the table's.
    pub common_name: Option<Pattern>,
    /// Names that the certificate is valid for beside the table's.
    pub alt_names: Option<Vec<Pattern>>,
    /// Whether comfortable names that no client goes by are asked for too.
    pub names: Option<AskedNames>,
}

/// Which of the table's names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedNames {
    /// All of them.
    All,
    /// Those that some client goes by.
    Needed,
}

/// Where a secret is: never in the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a variable of the environment.
    Environment(Pattern),
    /// In a file, relative to the inventory.
    File(Pattern),
}

impl Vault {
    /// How long an answer may take where nothing is said, in seconds.
    pub const SECONDS: u64 = 15;

    /// What is said of a certificate of a set, the nearest word first.
    pub fn levels<'a>(&'a self, set: &str, certificate: &str) -> impl Iterator<Item = &'a Names> {
        let own = self.certificates.get(certificate);
        own.into_iter()
            .chain(self.sets.get(set))
            .chain([&self.common])
    }
}
