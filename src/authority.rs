//! Where certificates and keys come from.
//!
//! An [`Authority`] answers requests with everything a cluster needs, and says of each thing
//! whether it was there or is new. What it would answer can be asked without anything being kept.

pub mod local;

mod directory;
mod problem;
mod vault;

use std::collections::BTreeSet;
use std::fmt;

pub use local::Local;
pub use problem::Error;
pub use vault::{Finding as VaultFinding, Refusal};

use crate::certificate::check::Finding;
use crate::certificate::{AuthorityName, CertificateId, Credentials, Request};
use crate::inventory::NodeName;
use crate::plain::count;

/// Something that answers requests for certificates.
pub trait Authority {
    /// What [`obtain`](Self::obtain) would answer now. Nothing is written or asked to be signed
    /// elsewhere; what is not there yet is made up, and its notes say so.
    fn preview(&self, requests: &[Request], now: i64) -> Result<Obtained, Error>;

    /// The certificates and keys, those that were missing made and kept. `now` is in seconds since
    /// 1970.
    fn obtain(&self, requests: &[Request], now: i64) -> Result<Obtained, Error>;

    /// Makes these certificates again, whatever is left of them, and keeps them; answers as
    /// [`obtain`](Self::obtain) does.
    fn renew(
        &self,
        requests: &[Request],
        ids: &BTreeSet<CertificateId>,
        now: i64,
    ) -> Result<Obtained, Error>;

    /// What is there, as it is, good or bad; nothing is made or made up. What is not there is not
    /// in the answer, and a service-account pair or an encryption configuration that is not there
    /// is empty.
    fn kept(&self, requests: &[Request]) -> Result<Credentials, Error>;
}

/// What an authority answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obtained {
    /// Everything for the cluster.
    pub credentials: Credentials,
    /// What became of each thing, in the order in which they were looked at.
    pub notes: Vec<Note>,
    /// What works, and should be looked at.
    pub warnings: Vec<Finding>,
    /// What else is to be told of how they were come by.
    pub remarks: Vec<String>,
}

impl Obtained {
    /// What is new.
    pub fn made(&self) -> impl Iterator<Item = &Note> {
        self.notes
            .iter()
            .filter(|note| note.outcome != Outcome::Reused)
    }

    /// What is to be told of it all, as sentences.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let warnings = self.warnings.iter();
        let warnings = warnings.map(|warning| format!("certificates: {warning}"));
        warnings.chain(self.remarks.iter().cloned())
    }
}

/// How many nodes are named one by one in a line that tells what was made.
const NAMED_NODES: usize = 3;

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The thing.
    pub item: Item,
    /// What became of it.
    pub outcome: Outcome,
}

/// A thing that an authority keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An authority's own certificate and key.
    Authority(AuthorityName),
    /// A certificate and its key.
    Certificate(CertificateId),
    /// The service-account pair.
    ServiceAccount,
    /// The encryption configuration.
    EncryptionConfig,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(name) => write!(f, "authority {name}"),
            Self::Certificate(id) => write!(f, "certificate {id}"),
            Self::ServiceAccount => f.write_str("service-account pair"),
            Self::EncryptionConfig => f.write_str("encryption configuration"),
        }
    }
}

/// Things in one line, a kind of certificate at a time, as a large cluster has thousands; nothing if
/// there are none.
pub fn in_words<'a>(items: impl IntoIterator<Item = &'a Item>) -> Option<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for item in items {
        let (what, node) = match item {
            Item::Certificate(id) => {
                let node = id.node.as_ref().map(NodeName::as_str);
                (format!("certificate {}", id.kind.name()), node)
            }
            other => (other.to_string(), None),
        };
        match groups.iter_mut().find(|(known, _)| *known == what) {
            Some((_, nodes)) => nodes.extend(node),
            None => groups.push((what, node.into_iter().collect())),
        }
    }
    let words = groups.iter().map(|(what, nodes)| match nodes.len() {
        0 => what.clone(),
        1..=NAMED_NODES => format!("{what} of {}", nodes.join(", ")),
        many => format!("{what} of {}", count(many, "node")),
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was there and serves.
    Reused,
    /// It was not there.
    Created,
    /// It was there and no longer served.
    Renewed(Reason),
}

/// Why a certificate no longer serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has expired or soon will.
    Expiring,
    /// It begins to be valid only later: the clock it was made by was ahead.
    NotYetValid,
    /// Its subject is another one than is asked for.
    Subject,
    /// Its names and addresses are others than are asked for.
    Names,
    /// Its usages are others than are asked for.
    Usages,
    /// It was signed by another authority.
    Signer,
    /// Another kind of key is asked for.
    KeyType,
    /// The key beside it is missing or another one's.
    Key,
    /// It was asked for.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expiring => "it expires soon",
            Self::NotYetValid => "it is not valid yet",
            Self::Subject => "its subject changed",
            Self::Names => "its names changed",
            Self::Usages => "its usages changed",
            Self::Signer => "its authority changed",
            Self::KeyType => "its kind of key changed",
            Self::Key => "its key was not beside it",
            Self::Asked => "it was asked for",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Kind;

    #[test]
    fn a_kind_of_certificate_is_told_once_for_all_its_nodes() {
        let of = |kind, count: usize| {
            (1..=count).map(move |at| {
                let node = format!("n{at}").parse().ok();
                Item::Certificate(CertificateId { kind, node })
            })
        };
        let admin = Item::Certificate(CertificateId {
            kind: Kind::Admin,
            node: None,
        });
        let mut items = vec![Item::ServiceAccount, admin];
        items.extend(of(Kind::Apiserver, 3));
        items.extend(of(Kind::EtcdPeer, 1000));
        assert_eq!(
            in_words(&items).unwrap(),
            "service-account pair; certificate admin; certificate apiserver of n1, n2, n3; \
             certificate etcd-peer of 1000 nodes"
        );
        assert_eq!(in_words([]), None);
    }
}
