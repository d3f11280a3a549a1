//! Certificates that Vault makes: which of those that are kept still serve, and what is kept of
//! what it issues.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vault::{Finding as VaultFinding, Issued, Order, Refusal, other_authority};
use super::super::{Error, Item, Outcome, Reason};
use super::record::{digest, trust_path};
use super::sign::{self, Signer};
use super::store::Write;
use super::{DAY_SECONDS, Gathered, Local};
use crate::certificate::check::{self, About, Finding, Flaw, Severity, Terms};
use crate::certificate::describe::{certificates, is_signed_by};
use crate::certificate::path::Go;
use crate::certificate::{
    AuthorityName, CertificateId, Credentials, Description, Leaf, Request, ServiceAccountPair,
    describe, key,
};
use crate::digest::Digest;
use crate::inventory::Authorities;
use crate::secret::Secret;

/// A certificate that lasts a tenth less than was asked for is told of.
const SHORTER_PERCENT: i64 = 90;

/// What Vault issued in this run.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    outcomes: BTreeMap<CertificateId, Outcome>,
    pub(super) warnings: Vec<Finding>,
    pub(super) remarks: Vec<String>,
}

impl Local {
    /// What is to be asked of Vault for a certificate, if it is the one who makes it.
    pub(super) fn order(&self, request: &Request) -> Result<Option<Order>, Error> {
        match &self.vault {
            Some(vault) => vault.order(request),
            None => Ok(None),
        }
    }

    /// Whether an authority's certificates come from Vault: all of them or none.
    pub(super) fn is_remote(
        &self,
        name: AuthorityName,
        requests: &[Request],
    ) -> Result<bool, Error> {
        let (mut any, mut own) = (false, Vec::new());
        for request in requests.iter().filter(|request| request.signer == name) {
            match self.order(request)? {
                Some(_) => any = true,
                None => own.push(request.id.clone()),
            }
        }
        if any && !own.is_empty() {
            return Err(Error::PartlyVault { name, ids: own });
        }
        Ok(any)
    }

    /// Has Vault issue what is missing, no longer serves, or was asked for, and keeps each that
    /// does. The lock must be held.
    pub(super) fn fetch(
        &self,
        requests: &[Request],
        asked: &BTreeSet<CertificateId>,
        now: i64,
    ) -> Result<Fetched, Error> {
        let mut fetched = Fetched::default();
        for name in AuthorityName::ALL {
            self.is_remote(name, requests)?;
        }
        // An authority that is exchanged by what is fetched first makes more of it due.
        for asked in [asked, &BTreeSet::new()] {
            self.fetch_due(requests, asked, now, &mut fetched)?;
        }
        Ok(fetched)
    }

    fn fetch_due(
        &self,
        requests: &[Request],
        asked: &BTreeSet<CertificateId>,
        now: i64,
        fetched: &mut Fetched,
    ) -> Result<(), Error> {
        let Some(vault) = &self.vault else {
            return Ok(());
        };
        let due = self.due(requests, asked, now)?;
        if due.is_empty() {
            return Ok(());
        }
        let orders: Vec<Order> = due.values().map(|(_, order, _)| order.clone()).collect();
        let mut refusals = Refusals::default();
        let answers = vault.issue(&orders)?;
        fetched.remarks.extend(answers.remarks);
        for (id, answer) in answers.certificates {
            let (request, order, outcome) = &due[&id];
            let kept = match answer {
                Ok(issued) => {
                    let remark = self.rootless(order, &issued)?;
                    let is_new = |remark: &String| !fetched.remarks.contains(remark);
                    let remark = remark.filter(is_new);
                    fetched.remarks.extend(remark);
                    self.keep(request, order, &issued, now)?
                }
                Err(why) => Err(why),
            };
            match kept {
                Ok(warnings) => {
                    fetched.warnings.extend(warnings);
                    fetched.outcomes.insert(id, *outcome);
                }
                Err(why) => refusals.note(id, why),
            }
        }
        refusals.none()
    }

    /// The certificates that are to be asked for.
    fn due<'a>(
        &self,
        requests: &'a [Request],
        asked: &BTreeSet<CertificateId>,
        now: i64,
    ) -> Result<BTreeMap<CertificateId, (&'a Request, Order, Outcome)>, Error> {
        let mut due = BTreeMap::new();
        for request in requests {
            let Some(order) = self.order(request)? else {
                continue;
            };
            let outcome = match self.standing(request, &order, now)? {
                Standing::Serves(_) if asked.contains(&request.id) => {
                    Outcome::Renewed(Reason::Asked)
                }
                Standing::Serves(_) => continue,
                Standing::Fails(reason) => Outcome::Renewed(reason),
                Standing::Missing => Outcome::Created,
            };
            due.insert(request.id.clone(), (request, order, outcome));
        }
        Ok(due)
    }

    /// What a push would ask of Vault, a line for each role, or what would keep it from asking;
    /// nothing where nothing is to be asked.
    pub fn vault_outline(&self, requests: &[Request], now: i64) -> Vec<String> {
        let outline = || {
            let Some(vault) = &self.vault else {
                return Ok(Vec::new());
            };
            let due = self.due(requests, &BTreeSet::new(), now)?;
            let orders: Vec<Order> = due.into_values().map(|(_, order, _)| order).collect();
            vault.outline(&orders)
        };
        outline().unwrap_or_else(|error: Error| vec![format!("could not ask Vault: {error}")])
    }

    /// What Vault would say to all that it is ever asked for this cluster; nothing is issued.
    pub fn vault_findings(
        &self,
        requests: &[Request],
        now: i64,
    ) -> Result<Vec<VaultFinding>, Error> {
        let Some(vault) = &self.vault else {
            return Ok(Vec::new());
        };
        for name in AuthorityName::ALL {
            self.is_remote(name, requests)?;
        }
        let orders = requests.iter().map(|request| self.order(request));
        let orders = orders.collect::<Result<Vec<_>, _>>()?;
        let orders: Vec<Order> = orders.into_iter().flatten().collect();
        let mut known = BTreeMap::new();
        for name in AuthorityName::ALL {
            let path = format!("ca/{name}.pem");
            if let Some(pem) = self.text(&path)? {
                known.insert(name, (self.store.path(&path), pem));
            }
        }
        vault.examine(&orders, &known, now)
    }

    /// An authority elsewhere, as far as it is known.
    pub(super) fn remote_signer(
        &self,
        name: AuthorityName,
        gathered: &mut Gathered,
    ) -> Result<Signer, Error> {
        if let Some(known) = self.certificate(&format!("ca/{name}.pem"))? {
            gathered.note(Item::Authority(name), Outcome::Reused);
            return Signer::read(known.pem, known.description.not_after, None);
        }
        gathered.note(Item::Authority(name), Outcome::Created);
        Signer::made_up(name, &self.cluster, self.pki.ca_days, gathered.now)
    }

    /// A certificate from Vault: what is kept, or where that does not serve, one that is made up
    /// to preview with.
    pub(super) fn remote_leaf(
        &self,
        request: &Request,
        order: &Order,
        fetched: Option<&Fetched>,
        gathered: &mut Gathered,
    ) -> Result<Leaf, Error> {
        let item = Item::Certificate(request.id.clone());
        let outcome = match self.standing(request, order, gathered.now)? {
            Standing::Serves(leaf) => {
                let made = fetched.and_then(|it| it.outcomes.get(&request.id));
                gathered.note(item, made.copied().unwrap_or(Outcome::Reused));
                return Ok(leaf);
            }
            Standing::Fails(reason) => Outcome::Renewed(reason),
            Standing::Missing => Outcome::Created,
        };
        if fetched.is_some() {
            let mut refusals = Refusals::default();
            let why = "what is kept of it does not serve, and Vault was not asked again";
            refusals.note(request.id.clone(), why.to_owned());
            refusals.none()?;
        }
        gathered.note(item, outcome);
        gathered.unjudged.insert(request.id.clone());
        let days = self.pki.ca_days;
        let signer = Signer::made_up(request.signer, &self.cluster, days, gathered.now)?;
        signer.issue(request, &gathered.key(request.key)?, None, gathered.now)
    }

    /// Whether what is kept of a certificate serves.
    fn standing(&self, request: &Request, order: &Order, now: i64) -> Result<Standing, Error> {
        let Some(existing) = self.certificate(&format!("issued/{}.pem", request.id))? else {
            return Ok(Standing::Missing);
        };
        let Some(authority) = self.text(&format!("ca/{}.pem", request.signer))? else {
            return Ok(Standing::Fails(Reason::Signer));
        };
        let key = self.store.read(&format!("issued/{}.key", request.id))?;
        let not_before = existing.description.not_before;
        let leaf = Leaf {
            chain_pem: existing.pem.clone(),
            key_pem: key.unwrap_or_else(|| Secret::new("")),
            dated: self.dated(&request.id, &existing.pem, not_before)?,
            not_before,
            not_after: existing.description.not_after,
        };
        let authority_end = describe(&authority).map_or(now, |it| it.not_after);
        if let Some(flaw) = flaws(request, &leaf, &authority, now, self.go)
            .into_iter()
            .next()
        {
            return Ok(Standing::Fails(reason(&flaw)));
        }
        let found = &existing.description;
        let differs = differs(order, found);
        let new_end = authority_end.min(now + i64::from(request.days) * DAY_SECONDS);
        let expiring = existing.is_expiring(new_end, now);
        let expiring = expiring.then_some(Reason::Expiring);
        let fails = differs.map(|(reason, _)| reason).or(expiring);
        Ok(fails.map_or(Standing::Serves(leaf), Standing::Fails))
    }

    /// Keeps what Vault issued, or says why it would not do.
    fn keep(
        &self,
        request: &Request,
        order: &Order,
        issued: &Issued,
        now: i64,
    ) -> Result<Result<Vec<Finding>, String>, Error> {
        let key_pem = match key::read(&issued.key) {
            Some(pair) => sign::key_pem(&pair),
            // The servers can use it, and kinstall needs not.
            None if key::public_of(&issued.key).is_some() => issued.key.clone(),
            None => {
                return Ok(Err(
                    "Vault's answer has no private key that can be read".to_owned()
                ));
            }
        };
        let Ok(found) = describe(&issued.chain) else {
            return Ok(Err("Vault's answer has no certificate".to_owned()));
        };
        let leaf = Leaf {
            chain_pem: issued.chain.clone(),
            key_pem,
            dated: found.not_before,
            not_before: found.not_before,
            not_after: found.not_after,
        };
        let flaws = flaws(request, &leaf, &issued.authority, now, self.go);
        if !flaws.is_empty() {
            let flaws: Vec<String> = flaws.iter().map(Flaw::to_string).collect();
            return Ok(Err(format!("Vault issued one that {}", flaws.join("; "))));
        }
        if let Some((_, why)) = differs(order, &found) {
            return Ok(Err(format!("Vault issued one that {why}")));
        }
        let path = format!("ca/{}.pem", request.signer);
        let mut writes = Vec::new();
        let mut write = |path: String, bytes: Secret| writes.push(Write { path, bytes });
        let known = self.text(&path)?;
        if let Some(known) = &known
            && digest(known) != digest(&issued.authority)
        {
            let subject = describe(&issued.authority).map(|it| it.subject.to_string());
            let subject = subject.unwrap_or_default();
            let file = self.store.path(&path);
            let (message, help) = other_authority(&order.mount, order.signer, &subject, &file);
            return Ok(Err(format!("{message}: {help}")));
        }
        // What is known stays as it is; the authorities above it may be new.
        let before = known.clone();
        let mut authority = known.unwrap_or_else(|| issued.authority.clone());
        for pem in self.trusted_above(order, issued) {
            if !authority.contains(pem) {
                authority = format!("{}\n{pem}\n", authority.trim_end());
            }
        }
        if before.as_ref() != Some(&authority) {
            write(path, Secret::new(authority));
        }
        write(format!("issued/{}.key", order.id), leaf.key_pem.clone());
        if let Some(dated) = self.dated_later(&request.id, &leaf)? {
            write(dated_path(&request.id), dated);
        }
        let pem = Secret::new(leaf.chain_pem.as_bytes());
        write(format!("issued/{}.pem", order.id), pem);
        self.store.write_all(&writes)?;
        let asked = i64::from(request.days) * DAY_SECONDS;
        let is_shorter = leaf.not_after - now < asked / 100 * SHORTER_PERCENT;
        let warning = is_shorter.then(|| Finding {
            about: About::Certificate(request.id.clone()),
            flaw: Flaw::Shorter {
                asked: request.days,
                end: leaf.not_after,
            },
        });
        Ok(Ok(warning.into_iter().collect()))
    }

    /// The moment that a certificate's files are named by: when it begins, unless one before it has
    /// that name.
    pub(super) fn dated(
        &self,
        id: &CertificateId,
        pem: &str,
        not_before: i64,
    ) -> Result<i64, Error> {
        let text = self.text(&dated_path(id))?.unwrap_or_default();
        let own = Digest::of(pem.as_bytes()).to_string();
        let said = text.trim().split_once(' ');
        let said = said.filter(|(digest, _)| *digest == own);
        Ok(said
            .and_then(|(_, at)| at.parse().ok())
            .unwrap_or(not_before))
    }

    /// What is to be kept of a name that is a minute later than when the certificate begins: Vault
    /// says when that is, and may say the same minute twice.
    fn dated_later(&self, id: &CertificateId, new: &Leaf) -> Result<Option<Secret>, Error> {
        let Some(before) = self.certificate(&format!("issued/{id}.pem"))? else {
            return Ok(None);
        };
        let begun = before.description.not_before;
        let last = self.dated(id, &before.pem, begun)?.div_euclid(60);
        if new.not_before.div_euclid(60) > last {
            return Ok(None);
        }
        let digest = Digest::of(new.chain_pem.as_bytes());
        let text = format!("{digest} {}\n", (last + 1) * 60);
        Ok(Some(Secret::new(text)))
    }

    /// The authorities above the one of a mount that are to be trusted with it. kube-apiserver is
    /// called by programs of all kinds, and most trust nothing that ends at an intermediate one:
    /// Python, Node.js, OpenSSL and wget. What vouches for clients ends at who signed them, for a
    /// root may have signed an authority for each set.
    fn trusted_above<'a>(&self, order: &Order, issued: &'a Issued) -> Vec<&'a str> {
        let is_for_all = order.signer == AuthorityName::Kubernetes
            && self.pki.authorities == Authorities::Separate;
        if is_for_all {
            certificates(&issued.above)
        } else {
            Vec::new()
        }
    }

    /// What is told where Vault does not know the root that its clients need.
    fn rootless(&self, order: &Order, issued: &Issued) -> Result<Option<String>, Error> {
        if order.signer != AuthorityName::Kubernetes {
            return Ok(None);
        }
        let besides = self.text(&trust_path(order.signer))?.unwrap_or_default();
        let all = [issued.authority.as_str(), &issued.above, &besides].concat();
        let signed_itself = |pem: &&str| is_signed_by(pem, pem) == Ok(true);
        if certificates(&all).iter().any(signed_itself) {
            return Ok(None);
        }
        let file = self.store.path(&trust_path(order.signer));
        Ok(Some(format!(
            "`{}` of Vault does not know the root of its authority, and without it Python, Node.js, \
             OpenSSL and wget do not trust kube-apiserver: put the root's certificate into `{}`, or \
             import it there",
            order.mount,
            file.display()
        )))
    }
}

fn dated_path(id: &CertificateId) -> String {
    format!("issued/{id}.dated")
}

/// What is kept of a certificate.
enum Standing {
    Missing,
    Fails(Reason),
    Serves(Leaf),
}

/// What Vault refused, by why: the same for many certificates is said once.
#[derive(Default)]
struct Refusals(Vec<Refusal>);

impl Refusals {
    fn note(&mut self, id: CertificateId, why: String) {
        match self.0.iter_mut().find(|refusal| refusal.why == why) {
            Some(refusal) => refusal.ids.push(id),
            None => self.0.push(Refusal { ids: vec![id], why }),
        }
    }

    fn none(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::Vault(self.0))
    }
}

/// How a certificate is otherwise than was asked for.
fn differs(order: &Order, found: &Description) -> Option<(Reason, String)> {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    if name != order.common_name {
        let why = format!("is for `{name}`, not for `{}`", order.common_name);
        return Some((Reason::Subject, why));
    }
    let has = |name: &str| found.sans.iter().any(|san| san.to_string() == name);
    let mut names = order.dns.iter().chain(&order.addresses);
    let missing = names.find(|name| !has(name))?;
    Some((Reason::Names, format!("is not valid for `{missing}`")))
}

/// What is so wrong with a certificate that some peer would refuse it.
fn flaws(request: &Request, leaf: &Leaf, authority: &str, now: i64, go: Go) -> Vec<Flaw> {
    let credentials = Credentials {
        authorities: [(request.set, authority.to_owned())].into(),
        leaves: [(request.id.clone(), leaf.clone())].into(),
        service_account: ServiceAccountPair {
            private_pem: Secret::new(""),
            public_pem: String::new(),
        },
        encryption_config: Secret::new(""),
        encryption_history: Vec::new(),
        signing_key_pem: None,
    };
    let about = About::Certificate(request.id.clone());
    let terms = Terms { now, days: 0, go };
    let findings = check::check(std::slice::from_ref(request), &credentials, terms);
    let own = findings.into_iter().filter(|found| found.about == about);
    own.map(|found| found.flaw)
        .filter(|flaw| flaw.severity() == Severity::Error)
        .collect()
}

/// Why a certificate with this flaw is asked for again.
const fn reason(flaw: &Flaw) -> Reason {
    match flaw {
        Flaw::NotAKey | Flaw::OtherKey => Reason::Key,
        Flaw::WeakKey { .. } => Reason::KeyType,
        Flaw::LacksName { .. } | Flaw::AddressAsName { .. } | Flaw::NoNames => Reason::Names,
        Flaw::LacksUsage { .. } => Reason::Usages,
        Flaw::CommonName { .. } | Flaw::Organization { .. } => Reason::Subject,
        Flaw::Expired { .. } => Reason::Expiring,
        Flaw::NotYetValid { .. } => Reason::NotYetValid,
        _ => Reason::Signer,
    }
}
