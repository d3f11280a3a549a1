//! Whether the services of a node can be asked after their health, found out before anything of a run
//! is begun: one that cannot be asked can be neither restarted nor taken back in good conscience.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use futures_util::future;

use super::{Error, Run, settle};
use crate::event::Event;
use crate::inventory::NodeName;
use crate::manifest::Unit;
use crate::probe::on_node::{NO_TOOLS, Tools};
use crate::transport;

/// Finds every node of the plan whose services cannot be asked.
pub(super) async fn check(run: &Run<'_>) -> Result<(), Vec<Error>> {
    let nodes = run.plan.nodes().into_iter();
    settle(future::join_all(nodes.map(|node| check_node(run, node))).await).map(|_: Vec<()>| ())
}

async fn check_node(run: &Run<'_>, node: &NodeName) -> Result<(), transport::Error> {
    let (transport, manifest) = (&run.transports[node], run.desired.manifests.get(node));
    let (Some(connection), Some(manifest)) = (transport.ssh(), manifest) else {
        return Ok(());
    };
    let ports: BTreeSet<u16> = manifest.units.values().filter_map(Unit::port).collect();
    for port in ports {
        if !connection
            .is_forbidden(Ipv4Addr::LOCALHOST.into(), port)
            .await?
        {
            continue;
        }
        let Some(tool) = Tools::of(transport).await?.name() else {
            return Err(connection.no_forward(port, NO_TOOLS));
        };
        run.events.send(Event::Note(format!(
            "{node}: sshd forbids forwarding to its services; they are asked there, by {tool}"
        )));
        return Ok(());
    }
    Ok(())
}
