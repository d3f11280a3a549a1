//! Who presents what to whom, and which authority signed it: as text, as Graphviz DOT, as SVG.
//! Pure.

mod dot;
mod svg;

use std::fmt::Write as _;

use serde::Serialize;

use super::certificates::{AuthorityRow, CertificateRow, Facts, Listing};
use crate::certificate::link::{LINKS, Link, Party};
use crate::certificate::{Kind, Request};
use crate::plain::count;

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
pub fn of(requests: &[Request], listing: &Listing) -> Graph {
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
    let arrow = |link: &Link| {
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
            let (from, to) = (arrow.caller.name(), arrow.callee.name());
            writeln!(text, "{from} -> {to}{port}").expect("a string takes all");
            side(&mut text, from, &arrow.client);
            match &arrow.server {
                Some(server) => side(&mut text, to, server),
                None => writeln!(text, "  {to} shows a certificate of its own")
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
            |facts| format!("{}, {} left", facts.subject, count(facts.days_left, "day"))
        ),
        end.signer,
        end.trust,
    )
    .expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::super::certificates as listing;
    use super::*;
    use crate::authority::{Authority, Local};
    use crate::certificate::{Credentials, fixture, requests};
    use crate::inventory::{Authorities, Inventory, Role};

    /// 2026-01-01T00:00:30Z.
    const NOW: i64 = 1_767_225_630;

    fn made() -> (tempfile::TempDir, Inventory, Credentials) {
        let directory = tempfile::tempdir().unwrap();
        let mut inventory = fixture::inventory();
        inventory.directory = directory.path().to_owned();
        inventory.pki.authorities = Authorities::Kubeadm;
        inventory.nodes.retain(|name, _| name.as_str() != "az3");
        for node in inventory.nodes.values_mut() {
            node.roles.insert(Role::Worker);
        }
        let local = Local::of(&inventory).unwrap();
        let requests = requests(&inventory);
        local.obtain(&requests, NOW).unwrap();
        let kept = local.kept(&requests).unwrap();
        (directory, inventory, kept)
    }

    #[test]
    fn a_listing_tells_where_each_certificate_lies_and_who_reads_it() {
        let (_directory, inventory, kept) = made();
        let listing = listing::of(&inventory, &requests(&inventory), &kept, NOW).unwrap();
        let text = listing.text();
        for expected in [
            "authority etcd  3650 days left (until 2035-12-30), CN=home-etcd-ca, ecdsa-p256\n  signs     etcd, etcd-peer, etcd-client\n",
            "  lies at   /etc/etcd/certs/rootCA.pem on az1, az2, read by etcd\n",
            "etcd-peer-az2  365 days left (until 2027-01-01), CN=az2, ecdsa-p256\n  signed by etcd\n  shown     by etcd to etcd\n",
            "  lies at   /etc/k8s/kubelet/kubelet.kubeconfig on az1, read by kubelet\n",
            "  lies at   /etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls.pem on az2, read by kube-apiserver\n",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let nowhere = |row: &&CertificateRow| row.places.is_empty();
        let nowhere: Vec<_> = listing.certificates.iter().filter(nowhere).collect();
        assert_eq!(nowhere.len(), 1, "the administrator's lies on no node");
        assert_eq!(nowhere[0].name, "admin");
    }

    #[test]
    fn every_form_of_the_graph_tells_every_connection() {
        let (_directory, inventory, kept) = made();
        let requests = requests(&inventory);
        let listing = listing::of(&inventory, &requests, &kept, NOW).unwrap();
        let graph = of(&requests, &listing);
        assert_eq!(graph.links.len(), LINKS.len());
        let (text, dot, svg) = (graph.text(), dot(&graph), svg(&graph));
        assert!(text.contains("kube-apiserver -> etcd:2379\n  kube-apiserver shows apiserver-etcd-client (--etcd-certfile, CN=kube-apiserver-etcd-client, 365 days left), signed by etcd, which the other trusts by --trusted-ca-file\n"), "{text}");
        assert!(dot.contains("\"kube-apiserver\" -> \"etcd\" [label=\"apiserver-etcd-client (365 days)\\nby etcd\"];"), "{dot}");
        for arrow in &graph.links {
            assert!(
                svg.contains(&arrow.client.certificate),
                "{}",
                arrow.client.certificate
            );
        }
        // It needs nothing from elsewhere, and is well-formed as far as its brackets go.
        assert!(!svg.contains("href"), "{svg}");
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
