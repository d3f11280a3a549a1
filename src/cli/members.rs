//! What a living etcd cluster says of its members, beside what an inventory says: asked before a plan
//! that changes anything.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::prepare::Site;
use super::{Exit, Failure};
use crate::component::ETCD_DATA;
use crate::diff::Difference;
use crate::etcd_data;
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::manifest::{Stage, UnitName};
use crate::membership::{self, Change, Changes, Member, Seat, Wish};
use crate::survey::members;
use crate::transport;

/// How the members must change; none where nothing changes, where no member runs, where those that
/// run do not answer, and where a part of the nodes is looked at.
pub(super) async fn changes(
    inventory: &Inventory,
    site: &Site,
    differences: &BTreeMap<NodeName, Difference>,
) -> Result<Option<Changes>, Failure> {
    let unreachable = |error: transport::Error| Failure::new(Exit::Unreachable, error);
    let is_whole = inventory
        .with_role(Role::Etcd)
        .all(|node| site.transports.contains_key(&node.name));
    if !is_whole {
        return alone(inventory, site).map(|()| None);
    }
    if differences.values().all(Difference::is_empty) {
        return Ok(None);
    }
    let Some(members) = living(site).await.map_err(unreachable)? else {
        return Ok(None);
    };
    let mut seats = BTreeMap::new();
    for node in inventory.with_role(Role::Etcd) {
        seats.insert(node.name.clone(), seat(inventory, node, site));
    }
    let versions = inventory.with_role(Role::Etcd);
    let versions = versions.map(|node| inventory.version("etcd", node));
    let wish = Wish {
        seats: &seats,
        version: versions.min().unwrap_or(inventory.cluster.etcd),
        data_directory: ETCD_DATA,
    };
    let changes = membership::changes(&members, wish);
    changes
        .map(Some)
        .map_err(|problems| Failure::all(Exit::Failed, problems))
}

/// What stays on machines whose members leave, and how to be rid of it.
pub(super) fn remains(inventory: &Inventory, changes: Option<&Changes>) -> Vec<String> {
    let steps = changes.iter().flat_map(|changes| &changes.steps);
    let gone = steps.filter_map(|step| match step {
        Change::Remove {
            title,
            is_replaced: false,
            ..
        } => Some(title),
        _ => None,
    });
    let known = |title: &&String| inventory.nodes.keys().any(|node| node.as_str() == **title);
    gone.filter(|title| !known(title))
        .map(|title| {
            format!(
                "what kinstall put on {title} stays there, services and data: no node of the \
                 inventory has that name. `kinstall uninstall --limit {title}`, with an inventory \
                 that still names it, takes it away"
            )
        })
        .collect()
}

/// The members, as the first that answers tells of them.
async fn living(site: &Site) -> Result<Option<Vec<Member>>, transport::Error> {
    for (node, transport) in &site.transports {
        let reachable = transport.ssh().is_some() && runs(site, node);
        if reachable && let Ok(members) = members::ask(transport).await? {
            return Ok(Some(members));
        }
    }
    Ok(None)
}

fn seat(inventory: &Inventory, node: &Node, site: &Site) -> Seat {
    let settings = inventory.component("etcd", node);
    let runs = runs(site, &node.name);
    let data = site.snapshots[&node.name].data.as_ref();
    let has_data = runs || data.is_some() || etcd_data::Place::of(inventory, node).is_none();
    let own = settings.flags.get("initial-advertise-peer-urls");
    let own = own.and_then(|urls| urls.split(',').next());
    let host = match node.etcd_address() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let peer_url = own.map_or_else(|| format!("https://{host}:2380"), ToOwned::to_owned);
    Seat {
        has_moved: has_moved(site, node, &peer_url),
        peer_url,
        has_data,
        runs,
    }
}

/// Whether the node is on record with a member at another address.
fn has_moved(site: &Site, node: &Node, peer_url: &str) -> bool {
    let recorded = site.snapshots[&node.name].recorded.as_ref();
    let mut units = recorded.iter().flat_map(|it| it.manifest.units.values());
    let members = units.find_map(crate::manifest::Unit::members);
    let here = format!("{}={peer_url}", node.name);
    members.is_some_and(|members| !members.contains(&here))
}

/// Whether the etcd of a node runs.
pub(super) fn runs(site: &Site, node: &NodeName) -> bool {
    let unit: UnitName = "etcd.service"
        .parse()
        .expect("`etcd.service` is the name of a service");
    let state = site.snapshots[node].units.get(&unit);
    state.is_some_and(crate::snapshot::UnitState::is_active)
}

/// A new member of several cannot be made while the others are not looked at: it would wait for
/// them, or begin a cluster of its own.
fn alone(inventory: &Inventory, site: &Site) -> Result<(), Failure> {
    let is_member = |manifest: &crate::manifest::Manifest| {
        let mut units = manifest.units.values();
        units.any(|unit| unit.stage == Stage::Etcd)
    };
    for node in inventory.with_role(Role::Etcd) {
        let Some(snapshot) = site.snapshots.get(&node.name) else {
            continue;
        };
        let recorded = snapshot.recorded.as_ref();
        let was = recorded.is_some_and(|recorded| is_member(&recorded.manifest));
        let over_ssh = site.transports[&node.name].ssh().is_some();
        if over_ssh && !was && snapshot.begun.is_none() && !runs(site, &node.name) {
            let message = format!(
                "{}: would become a member of etcd, and not all members are within `--limit`",
                node.name
            );
            let help = "a member joins with the others looking on: push without `--limit`";
            return Err(Failure::words(Exit::Usage, message, help));
        }
    }
    Ok(())
}
