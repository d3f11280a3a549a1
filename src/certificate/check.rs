//! What is wrong with certificates, no matter who made them: everything at once, before any node is
//! touched. Pure.

mod authority;
mod flaw;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use flaw::day;
pub use flaw::{Flaw, Severity};

use super::describe::{Description, certificates, describe, key_of};
use super::link::{Party, of_kind};
use super::path::{Go, Name, Paths, Presented, Refusal, covers};
use super::{AuthorityName, CertificateId, Credentials, Kind, Leaf, Request, Usage, key};

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// RSA keys below this many bits are weak by everyone's advice; Go takes them.
const RSA_BITS_MIN: u32 = 2048;
/// RSA keys below this many bits are refused by newer Go.
const RSA_BITS_REFUSED: u32 = 1024;

const DAY_SECONDS: i64 = 86_400;

/// Something that is wrong with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is wrong with.
    pub about: About,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The certificate that one set is verified by.
    Authority(AuthorityName),
    /// A certificate.
    Certificate(CertificateId),
    /// The service-account pair.
    ServiceAccount,
    /// A file where certificates come from.
    File(String),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(name) => write!(f, "authority {name}"),
            Self::Certificate(id) => write!(f, "{id}"),
            Self::ServiceAccount => f.write_str("service-account pair"),
            Self::File(path) => write!(f, "`{path}`"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.flaw)
    }
}

/// By what certificates are judged.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The moment, in seconds since 1970.
    pub now: i64,
    /// Certificates that end within so many days are told too.
    pub days: u32,
    /// The newest Go that a peer is built with.
    pub go: Go,
}

/// Everything that is wrong with a cluster's certificates.
pub fn check(requests: &[Request], credentials: &Credentials, terms: Terms) -> Vec<Finding> {
    let mut checker = Checker {
        credentials,
        now: terms.now,
        days: i64::from(terms.days),
        go: terms.go,
        findings: Vec::new(),
    };
    checker.authorities(requests);
    for request in requests {
        match credentials.leaves.get(&request.id) {
            Some(leaf) => checker.leaf(request, leaf),
            None => checker.find(About::Certificate(request.id.clone()), Flaw::Missing),
        }
    }
    checker.service_account();
    checker.findings
}

/// Whether a certificate's holder is allowed what it does as a member of a group.
pub(crate) const fn needs_group(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Admin | Kind::ApiserverKubeletClient | Kind::KubeletClient
    )
}

struct Checker<'a> {
    credentials: &'a Credentials,
    now: i64,
    days: i64,
    go: Go,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn find(&mut self, about: About, flaw: Flaw) {
        let finding = Finding { about, flaw };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn leaf(&mut self, request: &Request, leaf: &Leaf) {
        let about = About::Certificate(request.id.clone());
        let description = match describe(&leaf.chain_pem) {
            Ok(description) => description,
            Err(error) => {
                let reason = error.reason;
                return self.find(about, Flaw::NotACertificate { reason });
            }
        };
        self.key(&about, leaf, &description);
        // Where a file begins with an authority's certificate nothing else is worth telling.
        if description.is_authority && self.order(&about, leaf) {
            return;
        }
        self.chain(&about, request, leaf, &description);
        self.uses(&about, request, &description);
        self.names(&about, request, &description);
        self.subject(&about, request, &description);
        self.life(&about, &description);
        self.weak_key(&about, &description);
        self.weak_signature(&about, &description);
    }

    /// Whether a file holds a leaf behind an authority's certificate; else it is only strange that
    /// the certificate may sign others.
    fn order(&mut self, about: &About, leaf: &Leaf) -> bool {
        let others = certificates(&leaf.chain_pem);
        let is_leaf = |pem: &&str| describe(pem).is_ok_and(|other| !other.is_authority);
        let is_behind = others.iter().any(is_leaf);
        let flaw = if is_behind {
            Flaw::ChainOrder
        } else {
            Flaw::IsAuthority
        };
        self.find(about.clone(), flaw);
        is_behind
    }

    fn key(&mut self, about: &About, leaf: &Leaf, found: &Description) {
        match key::public_of(&leaf.key_pem) {
            None => self.find(about.clone(), Flaw::NotAKey),
            Some(public) if public != found.public_key => {
                self.find(about.clone(), Flaw::OtherKey);
            }
            Some(_) => {}
        }
    }

    fn chain(&mut self, about: &About, request: &Request, leaf: &Leaf, found: &Description) {
        let authorities = &self.credentials.authorities;
        let Some(trusted) = authorities.get(&request.set) else {
            return;
        };
        let presented = match self.presented(leaf, trusted) {
            Ok(presented) => presented,
            // An authority that cannot be read is told of as such.
            Err(_) if self.presented(leaf, "").is_ok() => return,
            Err(refusal) => return self.refused(about, request, refusal),
        };
        if let Err(refusal @ Refusal::Critical { .. }) = presented.verify_alone() {
            self.refused(about, request, refusal);
        }
        match presented.paths() {
            Ok(paths) => {
                self.above(about, request, &paths);
                let end = paths
                    .signer_end()
                    .filter(|end| *end + DAY_SECONDS <= found.not_after);
                if let Some(end) = end {
                    self.find(about.clone(), Flaw::Outlives { end });
                }
            }
            Err(refusal) if refusal.is_no_way() => {
                let is_of = |pem: &str| {
                    let presented = self.presented(leaf, pem);
                    presented.is_ok_and(|presented| presented.paths().is_ok())
                };
                let other = authorities.iter().find(|(_, pem)| is_of(pem));
                let set = request.set;
                let flaw = match other {
                    Some((other, _)) => Flaw::OtherAuthority { set, other: *other },
                    None if found.subject == found.issuer => Flaw::SelfSigned { set },
                    None => Flaw::NotTrusted {
                        set,
                        issuer: found.issuer.to_string(),
                    },
                };
                self.find(about.clone(), flaw);
            }
            Err(refusal) => self.refused(about, request, refusal),
        }
    }

    fn presented(&self, leaf: &Leaf, trusted: &str) -> Result<Presented, Refusal> {
        Presented::new(&leaf.chain_pem, trusted, self.go, self.now)
    }

    /// Whether those above it may sign for what it is used for.
    fn above(&mut self, about: &About, request: &Request, paths: &Paths<'_>) {
        for usage in &request.usages {
            match paths.serve(*usage) {
                Ok(unchecked) => {
                    for algorithm in unchecked {
                        let algorithm = algorithm.clone();
                        self.find(about.clone(), Flaw::Unchecked { algorithm });
                    }
                }
                // Its own uses are told of as such, and etcd's gateway alone is cut off.
                Err(Refusal::Usage { is_leaf: true, .. }) => {}
                Err(_) if is_of_gateway(request, *usage) => {
                    self.find(about.clone(), Flaw::NoGateway);
                }
                Err(refusal) => self.refused(about, request, refusal),
            }
        }
    }

    /// What is wrong with an authority is told of that, and a weak digest of the leaf by itself.
    fn refused(&mut self, about: &About, request: &Request, refusal: Refusal) {
        let authority = About::Authority(request.signer);
        let is_told = self
            .findings
            .iter()
            .any(|found| found.about == authority && found.flaw.severity() == Severity::Error);
        let is_of_authority = matches!(
            refusal,
            Refusal::NotAnAuthority { .. }
                | Refusal::MayNotCertify { .. }
                | Refusal::Expired { .. }
                | Refusal::NotYetValid { .. }
        );
        if !(is_told && is_of_authority) {
            self.find(about.clone(), Flaw::Refused(refusal));
        }
    }

    fn uses(&mut self, about: &About, request: &Request, found: &Description) {
        for usage in &request.usages {
            if found.allows(*usage) {
                continue;
            }
            let flaw = if is_of_gateway(request, *usage) {
                Flaw::NoGateway
            } else {
                let usage = *usage;
                let who = peers(request.id.kind);
                Flaw::LacksUsage { usage, who }
            };
            self.find(about.clone(), flaw);
        }
        if !found.may_sign {
            self.find(about.clone(), Flaw::MayNotSign);
        }
    }

    fn names(&mut self, about: &About, request: &Request, found: &Description) {
        if !request.sans.is_empty() && found.sans.is_empty() {
            return self.find(about.clone(), Flaw::NoNames);
        }
        // Names that nobody goes by are a comfort, and a certificate from elsewhere does without.
        for san in &request.needed {
            // Most often it stands there as it is.
            let is_there = found.sans.contains(&Name::from(san));
            if is_there || found.sans.iter().any(|name| covers(name, san)) {
                continue;
            }
            let who = peers(request.id.kind);
            let is_other_type = found.sans.contains(&Name::Dns(san.to_string()));
            let san = san.to_string();
            let flaw = if is_other_type {
                Flaw::AddressAsName { san, who }
            } else {
                Flaw::LacksName { san, who }
            };
            self.find(about.clone(), flaw);
        }
    }

    fn subject(&mut self, about: &About, request: &Request, found: &Description) {
        let name = found.subject.common_name.clone().unwrap_or_default();
        let bound = match request.id.kind {
            Kind::ControllerManager | Kind::Scheduler | Kind::KubeProxy => Some("RBAC"),
            Kind::KubeletClient => Some("the node authorizer"),
            Kind::FrontProxyClient => Some("`--requestheader-allowed-names`"),
            _ => None,
        };
        if let Some(by) = bound.filter(|_| name != request.common_name) {
            let wanted = request.common_name.clone();
            let found = name;
            self.find(about.clone(), Flaw::CommonName { found, wanted, by });
        }
        let organizations = &found.subject.organizations;
        for wanted in &request.organizations {
            if needs_group(request.id.kind) && !organizations.contains(wanted) {
                let wanted = wanted.clone();
                self.find(about.clone(), Flaw::Organization { wanted });
            }
        }
        let is_client = request.set == AuthorityName::ApiserverClient;
        let is_master = |groups: &[String]| groups.iter().any(|group| group == MASTERS);
        if is_client && is_master(organizations) && !is_master(&request.organizations) {
            self.find(about.clone(), Flaw::TooPowerful);
        }
    }

    fn life(&mut self, about: &About, found: &Description) {
        let (from, end) = (found.not_before, found.not_after);
        if self.now >= end {
            self.find(about.clone(), Flaw::Expired { end });
        } else if self.now < from {
            self.find(about.clone(), Flaw::NotYetValid { from });
        } else {
            self.near_end(about, found);
        }
    }

    fn near_end(&mut self, about: &About, found: &Description) {
        let end = found.not_after;
        if end - self.now < self.days * DAY_SECONDS {
            let days = (end - self.now).div_euclid(DAY_SECONDS);
            self.find(about.clone(), Flaw::NearEnd { days, end });
        }
    }

    fn weak_key(&mut self, about: &About, found: &Description) {
        if let Some(bits) = rsa_bits(&found.key).filter(|bits| *bits < RSA_BITS_MIN) {
            let is_refused = bits < RSA_BITS_REFUSED && self.go >= Go::NO_SHORT_RSA;
            let key = found.key.clone();
            self.find(about.clone(), Flaw::WeakKey { key, is_refused });
        }
    }

    /// What signed a certificate that is trusted as it stands proves nothing, so this is of leaves.
    fn weak_signature(&mut self, about: &About, found: &Description) {
        let digest = found.signature.clone();
        // From Go 1.18 on SHA-1 is refused with all others.
        if digest == "sha1" && self.go < Go::NO_SHA1 {
            self.find(about.clone(), Flaw::OldSignature);
        }
        // A negative serial number is refused by what this cluster may be upgraded to.
        if found.is_serial_negative() && self.go < Go::NO_NEGATIVE_SERIAL {
            let kubernetes = Go::NO_NEGATIVE_SERIAL.first_kubernetes();
            self.find(about.clone(), Flaw::NegativeSerial { kubernetes });
        }
    }

    fn service_account(&mut self) {
        let pair = &self.credentials.service_account;
        let about = About::ServiceAccount;
        if pair.private_pem.expose().is_empty() {
            return self.find(about, Flaw::Missing);
        }
        let Some(public) = key::public_of(&pair.private_pem) else {
            return self.find(about, Flaw::NotAKey);
        };
        if let Some(key) = key_of(&public).filter(|key| is_weak(key)) {
            let is_refused = true;
            self.find(about.clone(), Flaw::WeakKey { key, is_refused });
        }
        if !flaw::public_ders(&pair.public_pem).contains(&public) {
            self.find(about, Flaw::OtherPublicKey);
        }
    }
}

fn is_weak(key: &str) -> bool {
    rsa_bits(key).is_some_and(|bits| bits < RSA_BITS_MIN)
}

fn rsa_bits(key: &str) -> Option<u32> {
    key.strip_prefix("rsa-")?.parse().ok()
}

/// etcd's HTTP gateway alone calls with the serving certificate.
fn is_of_gateway(request: &Request, usage: Usage) -> bool {
    request.id.kind == Kind::EtcdServer && usage == Usage::Client
}

/// Who is presented a certificate of this kind.
fn peers(kind: Kind) -> String {
    let mut parties: Vec<Party> = of_kind(kind).map(|(_, peer)| peer).collect();
    parties.sort_unstable();
    parties.dedup();
    let names: Vec<_> = parties.into_iter().map(Party::name).collect();
    names.join(", ")
}
