//! What lies on the nodes, and what the running processes show.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::clock;
use super::fleet::{Fleet, Look};
use super::session::Session;
use crate::certificate::check::day;
use crate::certificate::describe::{certificates, describe};
use crate::certificate::{CertificateId, Credentials, Description, Kind};
use crate::failure::{Exit, Failure};
use crate::inventory::Node;
use crate::manifest::compose::{Holds, Place, places};
use crate::plain::count;
use crate::probe::served::{Served, served};
use crate::script;
use crate::terminal::certificates::FindingRow;
use crate::transport::{Body, Transport};

const DAY_SECONDS: i64 = 86_400;

/// What is served at which port of a node.
const PORTS: [(u16, Kind); 3] = [
    (6443, Kind::Apiserver),
    (2379, Kind::EtcdServer),
    (2380, Kind::EtcdPeer),
];

/// A look at the nodes.
pub(crate) struct Certificates<'a> {
    /// Those that are kept.
    pub(crate) kept: &'a Credentials,
    /// Those that end within so many days are told.
    pub(crate) days: u32,
}

impl Certificates<'_> {
    pub(crate) async fn find(&self, session: &Session<'_>) -> Result<Vec<FindingRow>, Failure> {
        let (inventory, scope) = (session.inventory, session.scope()?);
        let has_key = self.kept.signing_key_pem.is_some();
        let places =
            places(inventory, has_key).map_err(|error| Failure::new(Exit::Usage, error))?;
        let fleet = Fleet::reach(session, &scope, Look::default()).await?;
        let looking = fleet
            .transports
            .iter()
            .map(|(name, transport)| self.node(&inventory.nodes[name], transport, &places));
        let found = futures_util::future::try_join_all(looking).await?;
        fleet.close().await;
        Ok(found.into_iter().flatten().collect())
    }

    async fn node(
        &self,
        node: &Node,
        transport: &Transport,
        places: &[Place],
    ) -> Result<Vec<FindingRow>, Failure> {
        let name = &node.name;
        let own: Vec<&Place> = places.iter().filter(|place| place.node == *name).collect();
        let lying = read(transport, &own).await?;
        let mut findings = Vec::new();
        let mut find = |about: &CertificateId, flaw: &str, message: String, error| {
            findings.push(FindingRow {
                place: name.to_string(),
                about: about.to_string(),
                flaw: flaw.to_owned(),
                message,
                error,
            });
        };
        let mut told = BTreeSet::new();
        for place in &own {
            let id = match &place.holds {
                Holds::Certificate(id) | Holds::Kubeconfig(id) => id,
                Holds::Authority(_) => continue,
            };
            if !told.insert(place.path.clone()) {
                continue;
            }
            let Some(found) = lying.get(place.path.as_str()) else {
                let message = format!("`{}` is not there", place.path);
                find(id, "not-there", message, true);
                continue;
            };
            let path = &place.path;
            if let Some(message) = self.ending(found) {
                find(id, "near-end", format!("`{path}` {message}"), true);
            }
            let kept = self.kept.leaves.get(id);
            let kept = kept.and_then(|leaf| describe(&leaf.chain_pem).ok());
            if kept.is_some_and(|kept| kept.serial != found.serial) {
                let message = format!("`{path}` is another one than in pki/: push replaces it");
                find(id, "not-pushed", message, false);
            }
        }
        if transport.ssh().is_none() {
            return Ok(findings);
        }
        for (port, kind) in PORTS {
            let address = match kind {
                // etcd's peer port listens on the member's address alone.
                Kind::EtcdPeer => node.etcd_address(),
                _ => Ipv4Addr::LOCALHOST.into(),
            };
            let node = Some(name.clone());
            let id = CertificateId { kind, node };
            let holds = Holds::Certificate(id.clone());
            let Some(place) = own.iter().find(|place| place.holds == holds) else {
                continue;
            };
            let shown = served(transport, address, port).await;
            match shown.map_err(|error| Failure::new(Exit::Unreachable, error))? {
                Served::NotAsked(why) => {
                    let message = format!("port {port} was not asked: {why}");
                    find(&id, "not-asked", message, false);
                }
                Served::Nothing(why) => find(
                    &id,
                    "not-served",
                    format!("nothing is served at port {port}: {why}"),
                    true,
                ),
                Served::Certificate(pem) => {
                    let Ok(shown) = describe(&pem) else { continue };
                    if let Some(message) = self.ending(&shown) {
                        let message = format!("what runs at port {port} shows one that {message}");
                        find(&id, "serves-near-end", message, true);
                    }
                    let lies = lying.get(place.path.as_str());
                    if lies.is_some_and(|lies| lies.serial != shown.serial) {
                        let since = day(shown.not_before);
                        let message = format!(
                            "what runs at port {port} shows one of {since}, not the one in `{}`",
                            place.path
                        );
                        find(&id, "serves-another", message, true);
                    }
                }
            }
        }
        Ok(findings)
    }

    fn ending(&self, found: &Description) -> Option<String> {
        let left = found.not_after - clock::now();
        let days = left.div_euclid(DAY_SECONDS);
        (left < i64::from(self.days) * DAY_SECONDS).then(|| {
            format!(
                "ends in {}, on {}",
                count(days, "day"),
                day(found.not_after)
            )
        })
    }
}

/// The certificates that lie at places, by path; kubeconfigs hold theirs in base64.
async fn read(
    transport: &Transport,
    places: &[&Place],
) -> Result<BTreeMap<String, Description>, Failure> {
    let paths: BTreeSet<&str> = places.iter().map(|place| place.path.as_str()).collect();
    let asked = paths
        .iter()
        .fold(String::new(), |text, path| text + path + "\n");
    let output = transport.run(script::READ, &[], Body::text(asked)).await;
    let output = output.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    let found = output.lines().filter_map(|line| {
        let (path, text) = line.split_once(' ')?;
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let pem = match certificates(&text).first() {
            Some(pem) => (*pem).to_owned(),
            None => embedded(&text)?,
        };
        Some((path.to_owned(), describe(&pem).ok()?))
    });
    Ok(found.collect())
}

fn embedded(kubeconfig: &str) -> Option<String> {
    let mut lines = kubeconfig.lines();
    let data = lines.find_map(|line| line.trim().strip_prefix("client-certificate-data: "))?;
    String::from_utf8(STANDARD.decode(data.trim()).ok()?).ok()
}
