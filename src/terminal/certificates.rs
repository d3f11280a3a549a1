//! Every certificate of a cluster, told: as text, and as JSON of the same shape. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::certificate::check::{Finding, Severity, day};
use crate::certificate::link::{Party, of_kind};
use crate::certificate::table::signer;
use crate::certificate::{AuthorityName, Credentials, Request, Usage, describe};
use crate::inventory::Inventory;
use crate::manifest::compose::{Error, Holds, Place, places};
use crate::plain;

const DAY_SECONDS: i64 = 86_400;

/// A cluster's certificates. Its JSON form is documented in docs/json.md and changes only by
/// additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The cluster's name.
    pub cluster: String,
    /// Those who sign.
    pub authorities: Vec<AuthorityRow>,
    /// What they signed.
    pub certificates: Vec<CertificateRow>,
}

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorityRow {
    /// Its name.
    pub name: String,
    /// The sets that it signs.
    pub signs: Vec<String>,
    /// What it says of itself; none where it is not made yet.
    pub facts: Option<Facts>,
    /// Where it lies.
    pub places: Vec<PlaceRow>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateRow {
    /// Its name.
    pub name: String,
    /// The authority that signs it.
    pub signer: String,
    /// What it says of itself; none where it is not made yet.
    pub facts: Option<Facts>,
    /// Who presents it.
    pub presented_by: Vec<String>,
    /// Who is shown it.
    pub presented_to: Vec<String>,
    /// Where it lies.
    pub places: Vec<PlaceRow>,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Whose it is.
    pub subject: String,
    /// The names and addresses it is valid for.
    pub sans: Vec<String>,
    /// What it may be used for: `server`, `client`.
    pub usages: Vec<&'static str>,
    /// The kind of its key.
    pub key: String,
    /// Its serial number.
    pub serial: String,
    /// The day it ends.
    pub ends: String,
    /// Whole days until then; negative when it has ended.
    pub days_left: i64,
}

/// Where a certificate lies, and what reads it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceRow {
    /// The node.
    pub node: String,
    /// The path.
    pub path: String,
    /// What reads it.
    pub reader: &'static str,
    /// Whether it stands in a kubeconfig.
    pub in_kubeconfig: bool,
}

/// Lists what a cluster has, at a moment in seconds since 1970.
pub fn of(
    inventory: &Inventory,
    requests: &[Request],
    credentials: &Credentials,
    now: i64,
) -> Result<Listing, Error> {
    let places = places(inventory, credentials.signing_key_pem.is_some())?;
    let used: BTreeSet<AuthorityName> = requests.iter().map(|request| request.signer).collect();
    let authority = |name: AuthorityName| {
        let pem = credentials.authorities.get(&name);
        let mode = inventory.pki.authorities;
        let signs = AuthorityName::ALL.into_iter();
        let signs = signs.filter(|set| signer(mode, *set) == name);
        let holds = |place: &&Place| matches!(&place.holds, Holds::Authority(set) if signer(mode, *set) == name);
        AuthorityRow {
            name: name.to_string(),
            signs: signs.map(|set| set.to_string()).collect(),
            facts: pem.and_then(|pem| facts(pem, now)),
            places: rows(places.iter().filter(holds)),
        }
    };
    let certificate = |request: &Request| {
        let leaf = credentials.leaves.get(&request.id);
        let holds = |place: &&Place| match &place.holds {
            Holds::Certificate(id) | Holds::Kubeconfig(id) => *id == request.id,
            Holds::Authority(_) => false,
        };
        let (by, to): (BTreeSet<Party>, BTreeSet<Party>) = of_kind(request.id.kind).unzip();
        let names = |parties: BTreeSet<Party>| {
            let names = parties.into_iter().map(Party::name);
            names.map(str::to_owned).collect()
        };
        CertificateRow {
            name: request.id.to_string(),
            signer: request.signer.to_string(),
            facts: leaf.and_then(|leaf| facts(&leaf.chain_pem, now)),
            presented_by: names(by),
            presented_to: names(to),
            places: rows(places.iter().filter(holds)),
        }
    };
    Ok(Listing {
        cluster: inventory.cluster.name.to_string(),
        authorities: used.into_iter().map(authority).collect(),
        certificates: requests.iter().map(certificate).collect(),
    })
}

fn rows<'a>(places: impl Iterator<Item = &'a Place>) -> Vec<PlaceRow> {
    let mut rows: Vec<PlaceRow> = Vec::new();
    for place in places {
        let row = PlaceRow {
            node: place.node.to_string(),
            path: place.path.to_string(),
            reader: place.reader,
            in_kubeconfig: matches!(place.holds, Holds::Kubeconfig(_)),
        };
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

fn facts(pem: &str, now: i64) -> Option<Facts> {
    let found = describe(pem).ok()?;
    let usage = |usage: &Usage| match usage {
        Usage::Server => "server",
        Usage::Client => "client",
    };
    Some(Facts {
        subject: found.subject.to_string(),
        sans: found.sans.iter().map(ToString::to_string).collect(),
        usages: found.usages.iter().flatten().map(usage).collect(),
        key: found.key,
        serial: found.serial,
        ends: day(found.not_after),
        days_left: (found.not_after - now).div_euclid(DAY_SECONDS),
    })
}

impl Listing {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.authorities {
            head(
                &mut text,
                &format!("authority {}", row.name),
                row.facts.as_ref(),
            );
            line(&mut text, "signs", &row.signs.join(", "));
            tail(&mut text, row.facts.as_ref(), &row.places);
        }
        for row in &self.certificates {
            head(&mut text, &row.name, row.facts.as_ref());
            line(&mut text, "signed by", &row.signer);
            let (by, to) = (row.presented_by.join(", "), row.presented_to.join(", "));
            line(&mut text, "shown", &format!("by {by} to {to}"));
            tail(&mut text, row.facts.as_ref(), &row.places);
        }
        text
    }
}

fn tail(text: &mut String, facts: Option<&Facts>, places: &[PlaceRow]) {
    if let Some(facts) = facts.filter(|facts| !facts.sans.is_empty()) {
        line(text, "names", &facts.sans.join(", "));
    }
    // What lies at one path on several nodes is told once.
    let mut told: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
    for place in places {
        let (path, node, reader) = (place.path.as_str(), place.node.as_str(), place.reader);
        match told.iter_mut().find(|(known, _, _)| *known == path) {
            Some((_, nodes, readers)) => {
                nodes.push(node);
                readers.push(reader);
            }
            None => told.push((path, vec![node], vec![reader])),
        }
    }
    for (path, mut nodes, mut readers) in told {
        nodes.dedup();
        readers.sort_unstable();
        readers.dedup();
        let (nodes, readers) = (nodes.join(", "), readers.join(", "));
        line(
            text,
            "lies at",
            &format!("{path} on {nodes}, read by {readers}"),
        );
    }
    text.push('\n');
}

fn head(text: &mut String, name: &str, facts: Option<&Facts>) {
    let rest = match facts {
        Some(facts) => format!(
            "{} left (until {}), {}, {}",
            plain::count(facts.days_left, "day"),
            facts.ends,
            plain::line(&facts.subject),
            facts.key
        ),
        None => "not made yet".to_owned(),
    };
    writeln!(text, "{name}  {rest}").expect("a string takes all");
}

fn line(text: &mut String, word: &str, rest: &str) {
    writeln!(text, "  {word:<10}{}", plain::line(rest)).expect("a string takes all");
}

/// What `check` prints of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingRow {
    /// Where it was found: `pki`, or a node.
    pub place: String,
    /// What it is about.
    pub about: String,
    /// What is wrong, in one word.
    pub flaw: String,
    /// What is wrong, in words.
    pub message: String,
    /// Whether something would not work.
    pub error: bool,
}

impl FindingRow {
    /// A finding among what the operator keeps.
    pub fn of(finding: &Finding) -> Self {
        Self {
            place: "pki".to_owned(),
            about: finding.about.to_string(),
            flaw: finding.flaw.name().to_owned(),
            message: finding.flaw.to_string(),
            error: finding.flaw.severity() == Severity::Error,
        }
    }
}
