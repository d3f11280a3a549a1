//! What is wrong with certificates, whoever made them: everything at once, before any node is
//! touched. Pure.

mod flaw;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use flaw::day;
pub use flaw::{Flaw, Severity};

use super::describe::{
    Description, certificates, describe, is_signed_by, key_of, leads_to, public_key,
};
use super::link::{Party, of_kind};
use super::{AuthorityName, CertificateId, Credentials, Kind, Leaf, Request, Usage, key};
use crate::inventory::San;

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// RSA keys below this many bits are refused by newer Go, and by everyone's advice.
const RSA_BITS_MIN: u32 = 2048;

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
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(name) => write!(f, "authority {name}"),
            Self::Certificate(id) => write!(f, "{id}"),
            Self::ServiceAccount => f.write_str("service-account pair"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.flaw)
    }
}

/// Everything that is wrong with a cluster's certificates at a moment, in seconds since 1970.
/// Certificates that end within so many days are told too.
pub fn check(requests: &[Request], credentials: &Credentials, now: i64, days: u32) -> Vec<Finding> {
    let mut checker = Checker {
        credentials,
        now,
        days: i64::from(days),
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

struct Checker<'a> {
    credentials: &'a Credentials,
    now: i64,
    days: i64,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn find(&mut self, about: About, flaw: Flaw) {
        let finding = Finding { about, flaw };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The authorities that sign something; one that stands in for others is looked at once.
    fn authorities(&mut self, requests: &[Request]) {
        let mut seen = std::collections::BTreeSet::new();
        for request in requests {
            if !seen.insert(request.signer) {
                continue;
            }
            let about = About::Authority(request.signer);
            let Some(pem) = self.credentials.authorities.get(&request.signer) else {
                self.find(about, Flaw::Missing);
                continue;
            };
            self.authority(&about, pem);
        }
        self.front_proxy();
    }

    fn authority(&mut self, about: &About, bundle: &str) {
        let certificates = certificates(bundle);
        if certificates.is_empty() {
            let reason = "it holds no certificate".to_owned();
            self.find(about.clone(), Flaw::NotACertificate { reason });
        }
        for pem in certificates {
            let description = match describe(pem) {
                Ok(description) => description,
                Err(error) => {
                    let reason = error.reason;
                    self.find(about.clone(), Flaw::NotACertificate { reason });
                    continue;
                }
            };
            if !description.is_authority {
                self.find(about.clone(), Flaw::NotAnAuthority);
            } else if !description.may_certify {
                self.find(about.clone(), Flaw::MayNotCertify);
            }
            self.life(about, &description);
            self.strength(about, pem, &description);
        }
    }

    /// Were the aggregation layer's authority also the one for clients, every client certificate
    /// would be taken for a front proxy's, and fail its list of names.
    fn front_proxy(&mut self) {
        let of = |name| {
            self.credentials
                .authorities
                .get(&name)
                .map(|pem| certificates(pem))
        };
        let (Some(front), Some(clients)) = (
            of(AuthorityName::FrontProxy),
            of(AuthorityName::ApiserverClient),
        ) else {
            return;
        };
        let keys = |pems: &[&str]| -> Vec<_> {
            let keys = pems.iter().filter_map(|pem| public_key(pem).ok());
            keys.collect()
        };
        let clients = keys(&clients);
        if keys(&front).iter().any(|key| clients.contains(key)) {
            let about = About::Authority(AuthorityName::FrontProxy);
            self.find(about, Flaw::AlsoClients);
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
        self.key(&about, leaf);
        // Of an authority's certificate nothing else is worth telling.
        if description.is_authority {
            return self.chain(&about, request, leaf, &description);
        }
        self.chain(&about, request, leaf, &description);
        self.uses(&about, request, &description);
        self.names(&about, request, &description);
        self.subject(&about, request, &description);
        self.life(&about, &description);
        self.strength(&about, &leaf.chain_pem, &description);
    }

    fn key(&mut self, about: &About, leaf: &Leaf) {
        match key::public_of(&leaf.key_pem) {
            None => self.find(about.clone(), Flaw::NotAKey),
            Some(public) => {
                if public_key(&leaf.chain_pem) != Ok(public) {
                    self.find(about.clone(), Flaw::OtherKey);
                }
            }
        }
    }

    fn chain(&mut self, about: &About, request: &Request, leaf: &Leaf, found: &Description) {
        if found.is_authority {
            let others = certificates(&leaf.chain_pem);
            let is_first = |pem: &&str| describe(pem).is_ok_and(|other| !other.is_authority);
            let flaw = if others.iter().any(is_first) {
                Flaw::ChainOrder
            } else {
                Flaw::IsAuthority
            };
            return self.find(about.clone(), flaw);
        }
        let authorities = &self.credentials.authorities;
        let Some(trusted) = authorities.get(&request.set) else {
            return;
        };
        if leads_to(&leaf.chain_pem, trusted) {
            let bundle = certificates(trusted);
            let signer = bundle
                .iter()
                .filter(|pem| is_signed_by(&leaf.chain_pem, pem) == Ok(true))
                .find_map(|pem| describe(pem).ok());
            if let Some(signer) = signer.filter(|signer| signer.not_after < found.not_after) {
                let end = signer.not_after;
                self.find(about.clone(), Flaw::Outlives { end });
            }
            return;
        }
        let other = authorities
            .iter()
            .find(|(_, pem)| leads_to(&leaf.chain_pem, pem));
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

    fn uses(&mut self, about: &About, request: &Request, found: &Description) {
        for usage in &request.usages {
            if found.usages.contains(usage) {
                continue;
            }
            // etcd's HTTP gateway alone calls with the serving certificate.
            let gateway = request.id.kind == Kind::EtcdServer && *usage == Usage::Client;
            let flaw = if gateway {
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
            if !found.sans.iter().any(|name| covers(name, san)) {
                let (san, who) = (san.to_string(), peers(request.id.kind));
                self.find(about.clone(), Flaw::LacksName { san, who });
            }
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
        let needs_group = matches!(
            request.id.kind,
            Kind::Admin | Kind::ApiserverKubeletClient | Kind::KubeletClient
        );
        for wanted in &request.organizations {
            if needs_group && !organizations.contains(wanted) {
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
        } else if end - self.now < self.days * DAY_SECONDS {
            let days = (end - self.now).div_euclid(DAY_SECONDS);
            self.find(about.clone(), Flaw::NearEnd { days, end });
        }
    }

    fn strength(&mut self, about: &About, pem: &str, found: &Description) {
        if is_weak(&found.key) {
            let key = found.key.clone();
            self.find(about.clone(), Flaw::WeakKey { key });
        }
        // What signed a certificate that signs itself proves nothing.
        let own = is_signed_by(pem, pem) == Ok(true);
        if !own && matches!(found.signature.as_str(), "md2" | "md5" | "sha1") {
            let digest = found.signature.clone();
            self.find(about.clone(), Flaw::WeakSignature { digest });
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
            self.find(about.clone(), Flaw::WeakKey { key });
        }
        if flaw::public_der(&pair.public_pem).is_none_or(|written| written != public) {
            self.find(about, Flaw::OtherPublicKey);
        }
    }
}

fn is_weak(key: &str) -> bool {
    let bits = key.strip_prefix("rsa-").and_then(|bits| bits.parse().ok());
    bits.is_some_and(|bits: u32| bits < RSA_BITS_MIN)
}

/// Whether a name of a certificate stands for one that is asked for. A star stands for one label
/// (RFC 6125, 6.4.3).
fn covers(name: &str, san: &San) -> bool {
    match san {
        San::Ip(address) => name.parse() == Ok(*address),
        San::Dns(domain) => {
            let domain = domain.as_str();
            let tail = |text: &str| {
                text.split_once('.')
                    .map(|(_, tail)| tail.to_ascii_lowercase())
            };
            name.eq_ignore_ascii_case(domain)
                || name.starts_with("*.") && tail(name) == tail(domain) && tail(name).is_some()
        }
    }
}

/// Who is presented a certificate of this kind.
fn peers(kind: Kind) -> String {
    let mut parties: Vec<Party> = of_kind(kind).map(|(_, peer)| peer).collect();
    parties.sort_unstable();
    parties.dedup();
    let names: Vec<_> = parties.into_iter().map(Party::name).collect();
    names.join(", ")
}
