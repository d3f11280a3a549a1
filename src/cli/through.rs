//! `kinstall push --through`: an upgrade over several versions in one run, hop by hop, each healthy
//! before the next. Everything that could stop a later hop for want of a release or for a flag is
//! found before the first one is begun.

use std::collections::BTreeMap;

use super::carry::{early_stop, stop_on_interrupt, stopped};
use super::load::LoadedInventory;
use super::plan::Ask;
use super::prepare::{self, Talk};
use super::push;
use super::{Common, Exit, Failure};
use crate::arch::Arch;
use crate::check;
use crate::component::COMPONENTS;
use crate::event::{Event, Events};
use crate::fetch;
use crate::inventory::{Inventory, NodeName, Problem, Problems};
use crate::plan::{self, Hop};
use crate::terminal::Terminal;
use crate::version::Version;

/// Goes through all hops.
pub(super) async fn carry(
    read: &LoadedInventory,
    through: &[Version],
    ask: Ask<'_>,
    common: &Common,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let talk = Talk::open(terminal);
    let outcome = all(read, through, ask, common, terminal, &talk.events).await;
    talk.close().await;
    outcome
}

async fn all(
    read: &LoadedInventory,
    through: &[Version],
    ask: Ask<'_>,
    common: &Common,
    terminal: Terminal,
    events: &Events,
) -> Result<Exit, Failure> {
    let inventory = &read.inventory;
    fit(inventory, common)?;
    let stop = stop_on_interrupt(events.clone());
    let ready = tokio::select! {
        ready = prepare_all(read, through, ask, common, events) => ready?,
        () = stopped(stop.clone()) => return Err(early_stop()),
    };
    let count = ready.len();
    let names: Vec<String> = ready.iter().map(|(hop, _)| name(*hop)).collect();
    for (index, (_, inventory)) in ready.iter().enumerate() {
        let name = &names[index];
        events.send(Event::Note(format!("hop {} of {count}: {name}", index + 1)));
        let hop = push::once(inventory, ask, common, terminal, events, stop.clone()).await;
        if let Err(mut failure) = hop {
            let before = index.checked_sub(1).and_then(|index| names.get(index));
            let before = before.map_or_else(
                || "nothing came before it".to_owned(),
                |name| format!("{name} is done and healthy everywhere"),
            );
            let left = names[index..].join(", then ");
            failure.reports.push(miette::miette!(
                help = format!("the same command goes on from there: {left}"),
                "stopped in hop {} of {count}, {name}; {before}",
                index + 1
            ));
            return Err(failure);
        }
    }
    Ok(Exit::Done)
}

fn name(hop: Hop) -> String {
    format!("Kubernetes {}, etcd {}", hop.kubernetes, hop.etcd)
}

/// A way through versions is one for a whole cluster, and nobody has a version of their own on it.
fn fit(inventory: &Inventory, common: &Common) -> Result<(), Failure> {
    if !common.limit.is_empty() {
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
    read: &LoadedInventory,
    through: &[Version],
    ask: Ask<'_>,
    common: &Common,
    events: &Events,
) -> Result<Vec<(Hop, Inventory)>, Failure> {
    let inventory = &read.inventory;
    let (runs, archs) = look(inventory, ask, common, events).await?;
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
    let cache = prepare::cache(common)?;
    let options = prepare::fetch_options(common);
    for (_, at) in &inventories {
        let programs = prepare::programs(at, &archs);
        let (lockfile, _) = prepare::pin(at, &programs, &cache, &options, events).await?;
        let tell = |event| events.send(Event::Fetch(event));
        fetch::ensure(at, &programs, &lockfile, &cache, &options, &tell)
            .await
            .map_err(prepare::fetch_failure)?;
    }
    Ok(inventories)
}

/// The oldest versions that run, and the nodes' architectures.
async fn look(
    inventory: &Inventory,
    ask: Ask<'_>,
    common: &Common,
    events: &Events,
) -> Result<(Hop, BTreeMap<NodeName, Arch>), Failure> {
    let scope = prepare::scope(inventory, common)?;
    let password = prepare::password(ask.login)?;
    let reach = prepare::reach(password.as_ref(), common);
    let site = prepare::site(inventory, &scope, reach, false, events).await?;
    let versions = (site.oldest("kube-apiserver"), site.oldest("etcd"));
    let archs = site.archs.clone();
    site.close().await;
    let (Some(kubernetes), Some(etcd)) = versions else {
        let message = "no kube-apiserver and etcd run yet that could be taken through versions";
        let help = "a new cluster begins with the version that it shall have: `kinstall push`";
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
