//! What a rollback does: a push of a recorded generation, out of the nodes' own stores.

mod trust;

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::Comparison;
use super::fleet::{Fleet, Look};
use super::generations::{self, Generation};
use super::planned::Planned;
use super::session::Session;
use super::{clock, etcd, pki, preflight, remote_files};
use crate::apply::Store;
use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::manifest::Desired;
use crate::plan::{Direction, Plan, keep_ways};
use crate::snapshot::{Recorded, Snapshot};

/// What `rollback` is told beyond what every command is.
#[derive(Clone, Copy)]
pub(crate) struct RollbackOptions {
    /// The generation; by default the one before the last run.
    pub(crate) to: Option<u64>,
    /// Whether the plan is only shown.
    pub(crate) only_plan: bool,
    /// Whether a snapshot of etcd is taken before versions change.
    pub(crate) snapshot: bool,
    /// Whether nodes are taken from another run that holds them.
    pub(crate) break_lock: bool,
}

/// Takes nodes back to a recorded generation.
pub(crate) async fn rollback(
    session: &Session<'_>,
    options: RollbackOptions,
) -> Result<Exit, Failure> {
    let planned = plan(session, options.to).await?;
    let (listing, json) = (&planned.listing, session.settings.json);
    let terminal = session.terminal;
    terminal.print_data(json, listing, |color| listing.text(color));
    if planned.plan.is_empty() {
        planned.close().await;
        return Ok(Exit::Done);
    }
    if options.only_plan {
        planned.close().await;
        return Ok(Exit::Found);
    }
    check_stores(&planned.plan)?;
    if options.snapshot && planned.is_risky() {
        etcd::snapshot::take(session, &planned).await?;
    }
    let (session, store) = (session.stoppable(), Store::new());
    let applying = planned.apply(&session, "rollback", &store, options.break_lock);
    applying.await?;
    planned.close().await;
    Ok(Exit::Done)
}

/// Everything that comes before anything is changed.
async fn plan(session: &Session<'_>, to: Option<u64>) -> Result<Planned, Failure> {
    let scope = session.scope()?;
    let mut fleet = Fleet::reach(session, &scope, Look::default()).await?;
    fleet.settle(&session.events).await?;
    let recorded = recorded(&fleet, &scope, to).await?.into_iter();
    let manifests = recorded.map(|(node, recorded)| {
        let mut manifest = recorded.manifest;
        keep_ways(&mut manifest, &fleet.snapshots[&node]);
        (node, manifest)
    });
    let desired = Desired {
        manifests: manifests.collect(),
        contents: BTreeMap::new(),
        retired: BTreeSet::new(),
    };
    let mut comparison = Comparison::of(session, fleet, desired).await?;
    let texts = remote_files::recall(&comparison).await;
    comparison.desired.contents = texts.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    preflight::check(session, &comparison).await?;
    let credentials = pki::credentials_in_effect(session)?;
    let (inventory, desired) = (session.inventory, &comparison.desired);
    let users = trust::check(inventory, desired, &credentials, clock::now())?;
    comparison.find_leader().await;
    etcd::preflight::check(&comparison, &users).await?;
    Planned::new(session, comparison, credentials, Direction::Back, None).await
}

/// The generation of each node that it is taken back to.
async fn recorded(
    fleet: &Fleet,
    scope: &BTreeSet<NodeName>,
    to: Option<u64>,
) -> Result<BTreeMap<NodeName, Recorded>, Failure> {
    let asking = scope.iter().map(|node| async move {
        let wanted = to.map(|number| number.to_string());
        let wanted = wanted.unwrap_or_else(|| before_the_last_run(fleet, node));
        let told = generations::ask(&fleet.transports[node], &wanted).await;
        (node, told)
    });
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for (node, answer) in futures_util::future::join_all(asking).await {
        let (have, recorded) = answer?;
        match recorded {
            Some(recorded) => drop(found.insert(node.clone(), recorded)),
            None => missing.push(format!("{node} has {}", in_words(&have))),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let what = to.map_or("earlier generation".to_owned(), |to| {
        format!("generation {to}")
    });
    let message = format!("there is no {what} to go back to: {}", missing.join("; "));
    Err(Failure::words(
        Exit::Usage,
        message,
        "`kinstall status` tells the generations; `--limit` names nodes",
    ))
}

/// Which generation of a node was there before the last run: where that one was not finished, the
/// one that it found, and the last on nodes that it never came to.
fn before_the_last_run(fleet: &Fleet, node: &NodeName) -> String {
    let mut unfinished = fleet.snapshots.values().filter(|it| it.begun.is_some());
    if unfinished.clone().next().is_none() {
        return "previous".to_owned();
    }
    let own = &fleet.snapshots[node];
    let ran = own.ran.as_ref().filter(|ran| {
        // Where it got to its end on this node, others tell that it did not on them.
        let is_it = |other: &Snapshot| other.ran.as_ref().is_some_and(|it| it.run == ran.run);
        own.begun.is_some() || unfinished.any(is_it)
    });
    let before = ran.and_then(|ran| ran.changes.get(node.as_str())?.before);
    before.map_or("last".to_owned(), |number| number.to_string())
}

fn in_words(have: &[Generation]) -> String {
    let numbers: Vec<String> = have.iter().map(|it| it.number.to_string()).collect();
    match numbers.as_slice() {
        [] => "none".to_owned(),
        numbers => format!("generation {}", numbers.join(", ")),
    }
}

/// Everything that a way back needs must still be in the nodes' stores.
fn check_stores(plan: &Plan) -> Result<(), Failure> {
    if plan.staging.is_empty() {
        return Ok(());
    }
    let nodes: Vec<String> = plan
        .staging
        .iter()
        .map(|(node, digests)| format!("{node} lacks {} contents", digests.len()))
        .collect();
    let message = format!(
        "the nodes' stores no longer hold that generation: {}",
        nodes.join(", ")
    );
    Err(Failure::words(
        Exit::Failed,
        message,
        "put the older versions into the inventory and push that",
    ))
}
