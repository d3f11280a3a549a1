//! Whether a peer would accept a chain of certificates. The peers are written in Go, so this follows
//! Go's `crypto/x509`, step by step: `Certificate.Verify` and what it calls (`verify.go`).
//!
//! `tests/go.rs` holds it to that: it has Go judge the same chains.

mod constraint;
mod name;
mod parsed;
mod refusal;
mod signature;

use std::collections::BTreeSet;

pub use name::{Name, covers};
pub use parsed::Parsed;
pub use refusal::Refusal;
use signature::Check;

use super::Usage;
use crate::inventory::{Cluster, San};
use crate::version::Version;

/// `maxChainSignatureChecks` of `verify.go`.
const SIGNATURE_CHECKS_MAX: usize = 100;

/// A release of Go, by its minor number: 23 for Go 1.23.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Go(pub u8);

impl Go {
    /// Refuses signatures over SHA-1 (<https://go.dev/doc/go1.18#sha1>).
    pub const NO_SHA1: Self = Self(18);
    /// Refuses negative serial numbers (<https://go.dev/doc/go1.23#crypto/x509>).
    pub const NO_NEGATIVE_SERIAL: Self = Self(23);
    /// Refuses RSA keys below 1024 bits (<https://go.dev/doc/go1.24#crypto/rsa>).
    pub const NO_SHORT_RSA: Self = Self(24);

    /// The newest that a program of this cluster is built with.
    ///
    /// Kubernetes: `build/dependencies.yaml` of each minor's first release. etcd: its changelogs; 3.5
    /// moved to Go 1.23 with 3.5.19.
    pub fn of(cluster: &Cluster) -> Self {
        Self::of_kubernetes(&cluster.kubernetes).max(Self::of_etcd(&cluster.etcd))
    }

    fn of_kubernetes(version: &Version) -> Self {
        const FIRST: u64 = 19;
        const BUILT_WITH: [u8; 17] = [
            15, 15, 16, 16, 17, 18, 19, 19, 20, 20, 21, 22, 22, 23, 24, 24, 25,
        ];
        let index = usize::try_from(version.minor.saturating_sub(FIRST)).unwrap_or(usize::MAX);
        Self(BUILT_WITH[index.min(BUILT_WITH.len() - 1)])
    }

    fn of_etcd(version: &Version) -> Self {
        let is_new = *version >= Version::new(3, 5, 19);
        if is_new {
            Self::NO_NEGATIVE_SERIAL
        } else {
            Self(16)
        }
    }

    /// The first minor of Kubernetes that is built with this one or a newer one.
    pub fn first_kubernetes(self) -> u64 {
        let mut minors = 19..40;
        let is_built = |minor: &u64| Self::of_kubernetes(&Version::new(1, *minor, 0)) >= self;
        minors.find(is_built).unwrap_or(40)
    }
}

/// A certificate as it is presented, with what comes with it and what its peer trusts.
#[derive(Debug)]
pub struct Presented {
    leaf: Parsed,
    intermediates: Vec<Parsed>,
    roots: Vec<Parsed>,
    now: i64,
}

/// The ways from a certificate to one that is trusted, at least one.
#[derive(Debug)]
pub struct Paths<'a>(Vec<Path<'a>>);

/// A way: the leaf first, the trusted one last.
#[derive(Debug, Clone)]
struct Path<'a> {
    certificates: Vec<&'a Parsed>,
    /// Ways of signing on it that cannot be checked here.
    unchecked: BTreeSet<String>,
}

impl Presented {
    /// Takes a chain, its leaf first, and a bundle of trusted certificates, all in PEM. Go refuses a
    /// chain that holds anything it cannot read.
    pub fn new(chain: &str, trusted: &str, go: Go, now: i64) -> Result<Self, Refusal> {
        let mut chain = Parsed::all(chain, go)?;
        if chain.is_empty() {
            return Err(Refusal::unreadable("", "it holds no certificate"));
        }
        let leaf = chain.remove(0);
        Ok(Self {
            leaf,
            intermediates: chain,
            roots: Parsed::all(trusted, go)?,
            now,
        })
    }

    /// Whether a peer accepts it for a use, and for a name if it is a server's.
    pub fn verify(&self, usage: Usage, name: Option<&San>) -> Result<(), Refusal> {
        self.verify_alone()?;
        if let Some(san) = name
            && !self.leaf.names.iter().any(|name| covers(name, san))
        {
            return Err(Refusal::OtherName {
                name: san.to_string(),
            });
        }
        self.paths()?.serve(usage).map(drop)
    }

    /// Whether the leaf by itself would do.
    pub fn verify_alone(&self) -> Result<(), Refusal> {
        self.leaf.is_valid(&[], false, self.now)
    }

    /// Every way to what is trusted. The leaf's own validity is not looked at.
    pub fn paths(&self) -> Result<Paths<'_>, Refusal> {
        if self.roots.contains(&self.leaf) {
            let certificates = vec![&self.leaf];
            let unchecked = BTreeSet::new();
            return Ok(Paths(vec![Path {
                certificates,
                unchecked,
            }]));
        }
        let mut search = Search {
            presented: self,
            checks: 0,
            found: Vec::new(),
            refusal: (
                0,
                Refusal::Unknown {
                    issuer: self.leaf.issuer_words.clone(),
                },
            ),
        };
        search.extend(&Path {
            certificates: vec![&self.leaf],
            unchecked: BTreeSet::new(),
        });
        if search.found.is_empty() {
            return Err(search.refusal.1);
        }
        Ok(Paths(search.found))
    }
}

/// `buildChains`.
struct Search<'a> {
    presented: &'a Presented,
    checks: usize,
    found: Vec<Path<'a>>,
    /// The most telling refusal so far, and how telling it is.
    refusal: (usize, Refusal),
}

impl<'a> Search<'a> {
    fn extend(&mut self, path: &Path<'a>) {
        let presented = self.presented;
        for root in &presented.roots {
            self.consider(path, root, true);
        }
        for intermediate in &presented.intermediates {
            self.consider(path, intermediate, false);
        }
    }

    fn consider(&mut self, path: &Path<'a>, parent: &'a Parsed, is_root: bool) {
        let child = path.certificates[path.certificates.len() - 1];
        let is_known = |known: &&Parsed| known.is_same_entity(parent);
        if child.issuer != parent.subject || path.certificates.iter().any(is_known) {
            return;
        }
        self.checks += 1;
        if self.checks > SIGNATURE_CHECKS_MAX {
            return;
        }
        let mut next = path.clone();
        let signed = parent.may_sign().and_then(|()| {
            match signature::check(child, parent) {
                Check::Signed => {}
                Check::Unknown(algorithm) => _ = next.unchecked.insert(algorithm),
                Check::Refused(refusal) => return Err(refusal),
            }
            parent.is_valid(&path.certificates, !is_root, self.presented.now)
        });
        if let Err(refusal) = signed {
            // Of two authorities of one name the other one's signature is not what is wrong.
            let telling = 2 * path.certificates.len() - usize::from(refusal.is_of_signature());
            if telling > self.refusal.0 {
                self.refusal = (telling, refusal);
            }
            return;
        }
        next.certificates.push(parent);
        if is_root {
            self.found.push(next);
        } else {
            let telling = 2 * path.certificates.len();
            if telling > self.refusal.0 {
                let issuer = parent.issuer_words.clone();
                self.refusal = (telling, Refusal::Unknown { issuer });
            }
            self.extend(&next);
        }
    }
}

impl Paths<'_> {
    /// Whether one of them serves for a use: every certificate on it that tells its uses tells this
    /// one (`checkChainForKeyUsage`). Answers the ways of signing that could not be checked here.
    pub fn serve(&self, usage: Usage) -> Result<&BTreeSet<String>, Refusal> {
        let serving = self.0.iter().map(|path| {
            let all = path.certificates.iter().enumerate().rev();
            let mut lacking = all.filter(|(_, it)| !it.usages.allow(usage));
            lacking.next().map_or(Ok(&path.unchecked), |(at, it)| {
                Err(Refusal::Usage {
                    is_leaf: at == 0,
                    subject: it.subject_words.clone(),
                    only: it.usages.words(),
                    usage,
                })
            })
        });
        // A way that is all checked goes before one that is not.
        serving
            .min_by_key(|served| {
                served
                    .as_ref()
                    .map_or(usize::MAX, |unchecked| unchecked.len())
            })
            .expect("there is at least one way")
    }

    /// The authority that signed the leaf, and when it ends: of several the one that lasts longest.
    pub fn signer_end(&self) -> Option<i64> {
        let signers = self.0.iter().filter_map(|path| path.certificates.get(1));
        signers.map(|signer| signer.not_after).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_a_peer_is_built_with_is_known_of_its_version() {
        let of = |minor| Go::of_kubernetes(&Version::new(1, minor, 0));
        assert_eq!(
            [20, 23, 24, 31, 32, 33].map(of),
            [15, 17, 18, 22, 23, 24].map(Go)
        );
        assert_eq!(of(99), of(35));
        assert_eq!(Go::NO_NEGATIVE_SERIAL.first_kubernetes(), 32);
        assert_eq!(Go::NO_SHA1.first_kubernetes(), 24);
        assert_eq!(Go::of_etcd(&Version::new(3, 5, 18)), Go(16));
        assert_eq!(Go::of_etcd(&Version::new(3, 6, 0)), Go(23));
    }
}
