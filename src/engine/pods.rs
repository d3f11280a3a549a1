//! `kinstall.pods` beside the inventory: where each node's Pods are, and how nodes reach each other's.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::session::Session;
use crate::durable;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::inventory::pods::{BYTES_MAX, FILE, MTU, Pods};
use crate::inventory::{Inventory, Network, NodeName, Role};
use crate::machine::Machine;
use crate::regular_file;
use crate::snapshot::Snapshot;

/// What was remembered; nothing where there is no such file yet.
pub(crate) fn read(inventory: &Inventory) -> Result<Pods, Failure> {
    let path = inventory.directory.join(FILE);
    let text = regular_file::real(&inventory.directory, &path)
        .and_then(|path| regular_file::read_text(&path, BYTES_MAX));
    match text {
        Ok(text) => Pods::parse(&text).map_err(|error| Failure::new(Exit::Usage, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pods::default()),
        Err(error) => {
            let help = "kinstall reads a regular file of its own there: what is it?";
            Err(Failure::words(Exit::Usage, error.to_string(), help))
        }
    }
}

/// Remembers what was given out and chosen. A cluster without workers has nothing of the kind.
pub(crate) fn keep(session: &Session<'_>) -> Result<(), Failure> {
    let inventory = session.inventory;
    if inventory.pods == Pods::default() || read(inventory)? == inventory.pods {
        return Ok(());
    }
    let path = inventory.directory.join(FILE);
    let path = match regular_file::real(&inventory.directory, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path,
        real => real?,
    };
    durable::replace(&path, inventory.pods.to_text().as_bytes(), 0o644)?;
    session.note(format!("wrote {FILE}"));
    Ok(())
}

/// Chooses how nodes reach the Pods of others, where nobody has yet, by what the nodes' links allow;
/// tells what was chosen.
pub(crate) fn choose(
    inventory: &Inventory,
    snapshots: &BTreeMap<NodeName, Snapshot>,
    events: &Events,
) -> Inventory {
    let mut chosen = inventory.clone();
    let has_workers = inventory.with_role(Role::Worker).next().is_some();
    if !has_workers || inventory.cluster.network == Some(Network::None) {
        return chosen;
    }
    let machines = snapshots.iter();
    let machines = machines.map(|(name, snapshot)| (name, &snapshot.machine));
    let seen: BTreeMap<&NodeName, &Machine> = machines
        .filter(|(_, machine)| !machine.networks.is_empty())
        .collect();
    if seen.len() < inventory.nodes.len() {
        // Only a look at all of them can tell.
        return chosen;
    }
    if chosen.cluster.network.is_none() && chosen.pods.network.is_none() {
        let apart = apart(inventory, &seen);
        chosen.pods.network = Some(if apart.is_none() {
            Network::Routes
        } else {
            Network::Vxlan
        });
        events.send(Event::Note(match apart {
            None => "network of Pods: routes, as all nodes are on one link".to_owned(),
            Some((node, other)) => {
                format!("network of Pods: vxlan, as {node} reaches {other} by a router")
            }
        }));
    }
    if chosen.pods.mtu.is_none() {
        let links = inventory
            .nodes
            .values()
            .filter_map(|node| link(seen.get(&node.name)?, node.address));
        let least = links.min().filter(|mtu| *mtu > 0);
        let left = |mtu: u32| mtu.saturating_sub(chosen.network().overhead());
        chosen.pods.mtu = least.map(|mtu| left(mtu).clamp(*MTU.start(), *MTU.end()));
    }
    chosen
}

/// Two nodes, the first of which reaches the second by a router only; none where all are on one link.
fn apart<'a>(
    inventory: &'a Inventory,
    seen: &BTreeMap<&NodeName, &Machine>,
) -> Option<(&'a NodeName, &'a NodeName)> {
    let nodes = || inventory.nodes.values();
    nodes().find_map(|node| {
        let machine = seen.get(&node.name)?;
        let mut others = nodes().filter(|other| other.name != node.name);
        let other = others.find(|other| link(machine, other.address).is_none())?;
        Some((&node.name, &other.name))
    })
}

/// The most bytes of a packet to an address that is on a link of a machine.
fn link(machine: &Machine, address: IpAddr) -> Option<u32> {
    let networks = machine.networks.iter();
    let mut fitting = networks.filter(|(network, _)| network.contains(&address));
    fitting.next().map(|(_, mtu)| *mtu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Events;

    fn snapshots(rows: &[(&str, &str)]) -> BTreeMap<NodeName, Snapshot> {
        let of = |(name, network): &(&str, &str)| {
            let mut snapshot = Snapshot::default();
            if !network.is_empty() {
                let network = network.parse().unwrap();
                snapshot.machine.networks.insert(network, 1500);
            }
            (name.parse().unwrap(), snapshot)
        };
        rows.iter().map(of).collect()
    }

    fn inventory(more: &str) -> Inventory {
        let text = format!(
            "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n{more}\n[[node]]\nname = \"a\"\naddress = \"10.0.1.1\"\n\
             [[node]]\nname = \"b\"\naddress = \"10.0.2.1\"\nroles = [\"worker\"]\n"
        );
        let (inventory, _) = Inventory::parse(&text, "x", "/x".as_ref()).unwrap();
        inventory.with_pods(Pods::default()).unwrap()
    }

    #[test]
    fn nodes_on_one_link_get_routes_and_others_a_tunnel() {
        let (events, _receiver) = Events::channel();
        let check = |more: &str, rows: &[(&str, &str)], expected, mtu| {
            let chosen = choose(&inventory(more), &snapshots(rows), &events);
            assert_eq!(
                (chosen.pods.network, chosen.pods.mtu),
                (expected, mtu),
                "{rows:?}"
            );
        };
        let one = [("a", "10.0.0.0/16"), ("b", "10.0.0.0/16")];
        let two = [("a", "10.0.1.0/24"), ("b", "10.0.2.0/24")];
        check("", &one, Some(Network::Routes), Some(1500));
        check("", &two, Some(Network::Vxlan), Some(1430));
        // What only one of them thinks is no link of both.
        check(
            "",
            &[("a", "10.0.0.0/16"), ("b", "10.0.2.0/24")],
            Some(Network::Vxlan),
            Some(1430),
        );
        // What was said needs no choice; what was not seen cannot be chosen for.
        check("network = \"routes\"", &two, None, Some(1500));
        check("network = \"none\"", &two, None, None);
        check("", &[("a", "10.0.1.0/24"), ("b", "")], None, None);
        check("", &[("a", "10.0.1.0/24")], None, None);
    }
}
