//! Who presents what to whom, and which authority signed it: as text, as Graphviz DOT, as SVG.
//! Pure.

mod dot;
mod svg;

use std::fmt::Write as _;

use serde::Serialize;

use super::link::{LINKS, Party};
use super::listing::{AuthorityRow, CertificateRow, Facts, Listing};
use super::{Kind, Request};

pub use dot::dot;
pub use svg::svg;

/// The connections of a cluster, with the certificates on both of their ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The cluster's name.
    pub cluster: String,
    /// Those who sign.
    pub authorities: Vec<AuthorityRow>,
    /// Who calls whom.
    pub links: Vec<Arrow>,
}

/// One kind of connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrow {
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// The port.
    pub port: Option<u16>,
    /// What the caller presents.
    pub client: End,
    /// What the callee presents, where that is a certificate of this cluster.
    pub server: Option<End>,
    /// What the caller verifies the callee by.
    pub server_trust: &'static str,
}

/// What one side presents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The kind of certificate.
    pub certificate: String,
    /// How many of them there are.
    pub count: usize,
    /// The authority that signs it.
    pub signer: String,
    /// Where its owner reads it from.
    pub flag: &'static str,
    /// What the peer verifies it by.
    pub trust: &'static str,
    /// What the one of them that ends first says of itself.
    pub facts: Option<Facts>,
}

/// The graph of a cluster.
pub fn of(requests: &[Request], listing: Listing) -> Graph {
    let rows: Vec<(Kind, &CertificateRow)> = requests
        .iter()
        .map(|request| request.id.kind)
        .zip(&listing.certificates)
        .collect();
    let end = |kind: Kind, flag, trust| {
        let of_kind = rows.iter().filter(|(row, _)| *row == kind);
        let all: Vec<&CertificateRow> = of_kind.map(|(_, row)| *row).collect();
        let first = all.iter().min_by_key(|row| days(row.facts.as_ref()))?;
        Some(End {
            certificate: kind.name().to_owned(),
            count: all.len(),
            signer: first.signer.clone(),
            flag,
            trust,
            facts: first.facts.clone(),
        })
    };
    let arrow = |link: &super::link::Link| {
        let server = link.server;
        Some(Arrow {
            caller: link.caller,
            callee: link.callee,
            port: link.port,
            client: end(link.client, link.client_flag, link.client_trust)?,
            server: server.and_then(|kind| end(kind, link.server_flag, link.server_trust)),
            server_trust: link.server_trust,
        })
    };
    Graph {
        cluster: listing.cluster.clone(),
        links: LINKS.iter().filter_map(arrow).collect(),
        authorities: listing.authorities.clone(),
    }
}

fn days(facts: Option<&Facts>) -> i64 {
    facts.map_or(i64::MAX, |facts| facts.days_left)
}

impl Graph {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for arrow in &self.links {
            let port = arrow
                .port
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            let (caller, callee) = (arrow.caller.name(), arrow.callee.name());
            writeln!(text, "{caller} -> {callee}{port}").expect("a string takes all");
            side(&mut text, caller, &arrow.client);
            match &arrow.server {
                Some(server) => side(&mut text, callee, server),
                None => writeln!(text, "  {callee} shows a certificate of its own")
                    .expect("a string takes all"),
            }
        }
        text
    }
}

fn side(text: &mut String, who: &str, end: &End) {
    writeln!(
        text,
        "  {who} shows {} ({}, {}), signed by {}, which the other trusts by {}",
        end.certificate,
        end.flag,
        end.facts.as_ref().map_or_else(
            || "not made yet".to_owned(),
            |facts| format!("{}, {} days left", facts.subject, facts.days_left)
        ),
        end.signer,
        end.trust,
    )
    .expect("a string takes all");
}
