//! `kinstall push --through`: an upgrade over several versions in one run, hop by hop, each healthy
//! before the next. Everything that could stop a later hop for want of a release or for a flag is
//! found before the first one is begun.

use std::collections::BTreeMap;

use super::fleet::{Fleet, Look};
use super::load::LoadedInventory;
use super::session::Session;
use super::steps::{self, Left};
use super::{PushOptions, releases};
use crate::arch::Arch;
use crate::artifact;
use crate::check;
use crate::component::COMPONENTS;
use crate::failure::{Exit, Failure};
use crate::inventory::{Inventory, NodeName, Problem, Problems};
use crate::plan::{self, Hop};
use crate::version::Version;

/// Goes through all hops.
pub(crate) async fn push(
    session: &Session<'_>,
    read: &LoadedInventory,
    through: &[Version],
    options: &PushOptions<'_>,
) -> Result<Exit, Failure> {
    fit(session)?;
    let session = session.stoppable();
    let preparing = prepare_all(&session, read, through);
    let ready = session.unless_stopped(preparing).await?;
    let names: Vec<String> = ready.iter().map(|(hop, _)| name(*hop)).collect();
    let mut hops = ready.iter().enumerate();
    let hop = async || {
        let Some((index, (_, inventory))) = hops.next() else {
            return Ok(Left::Nothing);
        };
        let (number, count, name) = (index + 1, names.len(), &names[index]);
        session.note(format!("hop {number} of {count}: {name}"));
        let pushed = super::push(&session.with(inventory), options).await;
        pushed.map_err(|failure| stopped(failure, &names, index))?;
        Ok(Left::Steps)
    };
    steps::take(&session, None, hop).await
}

/// How a run ends that did not come to the end of a hop.
fn stopped(mut failure: Failure, names: &[String], index: usize) -> Failure {
    let (number, count, name) = (index + 1, names.len(), &names[index]);
    let before = index.checked_sub(1).and_then(|index| names.get(index));
    let before = before.map_or_else(
        || "nothing came before it".to_owned(),
        |name| format!("{name} is done and healthy everywhere"),
    );
    let left = names[index..].join(", then ");
    failure.reports.push(miette::miette!(
        help = format!("the same command goes on from there: {left}"),
        "stopped in hop {number} of {count}, {name}; {before}",
    ));
    failure
}

fn name(hop: Hop) -> String {
    format!("Kubernetes {}, etcd {}", hop.kubernetes, hop.etcd)
}

/// A way through versions is one for a whole cluster, and nobody has a version of their own on it.
fn fit(session: &Session<'_>) -> Result<(), Failure> {
    let inventory = session.inventory;
    if !session.settings.limit.is_empty() {
        let message = "`--through` and `--limit` do not go together";
        let help = "kube-apiservers may be one minor version apart, so all nodes take each hop";
        return Err(Failure::words(Exit::Usage, message, help));
    }
    let said = inventory.nodes.values().flat_map(|node| {
        let all = COMPONENTS.iter().map(|component| component.name);
        all.map(|name| (name, inventory.component(name, node)))
    });
    let mut own = said.filter(|(_, settings)| settings.version.is_some());
    if let Some((name, _)) = own.next() {
        let message = format!("`--through`, and {name} has a `version` of its own");
        let help = "take it out: on the way each component has the version of its hop";
        return Err(Failure::words(Exit::Usage, message, help));
    }
    Ok(())
}

/// Finds the hops, and has every one of them checked, pinned and downloaded.
async fn prepare_all(
    session: &Session<'_>,
    read: &LoadedInventory,
    through: &[Version],
) -> Result<Vec<(Hop, Inventory)>, Failure> {
    let inventory = session.inventory;
    let (runs, archs) = look(session).await?;
    let wanted = Hop {
        kubernetes: inventory.cluster.kubernetes,
        etcd: inventory.cluster.etcd,
    };
    let mut nodes = inventory.nodes.values();
    let keeps_etcd = nodes.any(|node| inventory.component("etcd", node).path.is_some());
    let hops = plan::hops(runs, through, wanted, keeps_etcd)
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let inventories = hops.into_iter().map(|hop| {
        let mut at = inventory.clone();
        at.cluster.kubernetes = hop.kubernetes;
        at.cluster.etcd = hop.etcd;
        (hop, at)
    });
    let inventories: Vec<_> = inventories.collect();
    check(read, &inventories)?;
    let cache = releases::cache(session.settings)?;
    let options = releases::options(session.settings);
    for (_, at) in &inventories {
        let needs = artifact::of_cluster(at, &archs);
        releases::fetch(&session.with(at), &needs, &cache, &options).await?;
    }
    Ok(inventories)
}

/// The oldest versions that run, and the nodes' architectures.
async fn look(session: &Session<'_>) -> Result<(Hop, BTreeMap<NodeName, Arch>), Failure> {
    let fleet = Fleet::reach(session, &session.scope()?, Look::default()).await?;
    let versions = (fleet.oldest("kube-apiserver"), fleet.oldest("etcd"));
    let archs = fleet.archs.clone();
    fleet.close().await;
    let (Some(kubernetes), Some(etcd)) = versions else {
        let message = "no kube-apiserver and etcd run yet that could be taken through versions";
        let help = "a new cluster starts with its final version: `kinstall push`";
        return Err(Failure::words(Exit::Failed, message, help));
    };
    Ok((Hop { kubernetes, etcd }, archs))
}

/// Every command line of every hop must be right, before the first one is begun.
fn check(read: &LoadedInventory, inventories: &[(Hop, Inventory)]) -> Result<(), Failure> {
    for (hop, inventory) in inventories {
        let findings = check::command_lines(inventory);
        let problems = findings.iter().map(|it| it.problem(inventory));
        let wrong: Vec<Problem> = problems.filter(|it| !it.is_warning()).collect();
        if !wrong.is_empty() {
            let mut failure =
                Failure::new(Exit::Usage, Problems::new(&read.name, &read.text, wrong));
            failure.reports.push(miette::miette!(
                help = "nothing was changed; `kinstall check --kubernetes` tells more of a way",
                "that is so on the hop to {}",
                name(*hop)
            ));
            return Err(failure);
        }
    }
    Ok(())
}
