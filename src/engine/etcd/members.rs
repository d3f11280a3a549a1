//! What a living etcd cluster says of its members, beside what an inventory says: asked before a plan
//! that changes anything.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::component::ETCD_DATA;
use crate::diff::Difference;
use crate::engine::comparison::Comparison;
use crate::engine::fleet::Fleet;
use crate::etcd_data;
use crate::failure::{Exit, Failure};
use crate::inventory::{Inventory, Node, Role};
use crate::manifest::Stage;
use crate::membership::{self, Change, Changes, DesiredMember, DesiredMembership, Member};
use crate::survey::members;
use crate::transport;

/// How the members must change; none where nothing changes, where no member runs, where those that
/// run do not answer, and where a part of the nodes is looked at.
pub(crate) async fn changes(
    inventory: &Inventory,
    comparison: &Comparison,
) -> Result<Option<Changes>, Failure> {
    let (fleet, differences) = (&comparison.fleet, &comparison.differences);
    let unreachable = |error: transport::Error| Failure::new(Exit::Unreachable, error);
    let is_whole = inventory
        .with_role(Role::Etcd)
        .all(|node| fleet.transports.contains_key(&node.name));
    if !is_whole {
        return alone(inventory, fleet).map(|()| None);
    }
    if differences.values().all(Difference::is_empty) {
        return Ok(None);
    }
    let Some(members) = living(fleet).await.map_err(unreachable)? else {
        return Ok(None);
    };
    let mut desired = BTreeMap::new();
    for node in inventory.with_role(Role::Etcd) {
        desired.insert(node.name.clone(), member(inventory, node, fleet));
    }
    let versions = inventory.with_role(Role::Etcd);
    let versions = versions.map(|node| inventory.version("etcd", node));
    let wish = DesiredMembership {
        desired: &desired,
        version: versions.min().unwrap_or(inventory.cluster.etcd),
        data_directory: ETCD_DATA,
    };
    let changes = membership::changes(&members, wish);
    changes
        .map(Some)
        .map_err(|problems| Failure::all(Exit::Failed, problems))
}

/// What stays on machines whose members leave, and how to be rid of it.
pub(crate) fn remains(inventory: &Inventory, changes: Option<&Changes>) -> Vec<String> {
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
async fn living(fleet: &Fleet) -> Result<Option<Vec<Member>>, transport::Error> {
    for (node, transport) in &fleet.transports {
        let reachable = transport.ssh().is_some() && fleet.runs_etcd(node);
        if reachable && let Ok(members) = members::ask(transport).await? {
            return Ok(Some(members));
        }
    }
    Ok(None)
}

fn member(inventory: &Inventory, node: &Node, fleet: &Fleet) -> DesiredMember {
    let settings = inventory.component("etcd", node);
    let runs = fleet.runs_etcd(&node.name);
    let data = fleet.snapshots[&node.name].data.as_ref();
    let has_data = runs || data.is_some() || etcd_data::Place::of(inventory, node).is_none();
    let own = settings.flags.get("initial-advertise-peer-urls");
    let own = own.and_then(|urls| urls.split(',').next());
    let host = match node.etcd_address() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let peer_url = own.map_or_else(|| format!("https://{host}:2380"), ToOwned::to_owned);
    DesiredMember {
        has_moved: has_moved(fleet, node, &peer_url),
        peer_url,
        has_data,
        runs,
    }
}

/// Whether the node is on record with a member at another address.
fn has_moved(fleet: &Fleet, node: &Node, peer_url: &str) -> bool {
    let recorded = fleet.snapshots[&node.name].recorded.as_ref();
    let mut units = recorded.iter().flat_map(|it| it.manifest.units.values());
    let members = units.find_map(crate::manifest::Unit::members);
    let here = format!("{}={peer_url}", node.name);
    members.is_some_and(|members| !members.contains(&here))
}

/// A new member of several cannot be made while the others are not looked at: it would wait for
/// them, or begin a cluster of its own.
fn alone(inventory: &Inventory, fleet: &Fleet) -> Result<(), Failure> {
    let is_member = |manifest: &crate::manifest::Manifest| {
        let mut units = manifest.units.values();
        units.any(|unit| unit.stage == Stage::Etcd)
    };
    for node in inventory.with_role(Role::Etcd) {
        let Some(snapshot) = fleet.snapshots.get(&node.name) else {
            continue;
        };
        let recorded = snapshot.recorded.as_ref();
        let was = recorded.is_some_and(|recorded| is_member(&recorded.manifest));
        let over_ssh = fleet.transports[&node.name].ssh().is_some();
        if over_ssh && !was && snapshot.begun.is_none() && !fleet.runs_etcd(&node.name) {
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
