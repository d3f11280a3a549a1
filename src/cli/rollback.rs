//! `kinstall rollback`: a push of a recorded generation.

mod signers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;

use super::carry::{Task, carry_out, changes, notice_others, stop_on_interrupt};
use super::generations::{self, Generation};
use super::prepare::{self, Site, Talk};
use super::{Common, Exit, Failure, Login, backup, ground, load, preflight, texts};
use crate::apply::Store;
use crate::event::Events;
use crate::inventory::{Inventory, NodeName};
use crate::manifest::Desired;
use crate::plan::{Direction, Plan, is_upgrade};
use crate::snapshot::{Recorded, Snapshot};
use crate::terminal::Terminal;

/// Take nodes back to a recorded generation.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The inventory
    inventory: PathBuf,
    /// The generation, as `status` tells it [default: on each node the one before the last; after a
    /// push that was not finished, the one that was there before it]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Show what would change; change nothing
    #[arg(long)]
    plan: bool,
    /// Take no snapshot of etcd before versions change
    #[arg(long)]
    no_snapshot: bool,
    /// Take nodes from another run that holds them; that run stops
    #[arg(long)]
    break_lock: bool,
    #[command(flatten)]
    login: Login,
}

impl Rollback {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let talk = Talk::open(terminal);
        let outcome = self
            .rollback(&inventory, common, terminal, &talk.events)
            .await;
        talk.close().await;
        outcome
    }

    async fn rollback(
        &self,
        inventory: &Inventory,
        common: &Common,
        terminal: Terminal,
        events: &Events,
    ) -> Result<Exit, Failure> {
        let scope = prepare::scope(inventory, common)?;
        let password = prepare::password(&self.login)?;
        let jobs = usize::from(common.jobs);
        let reach = prepare::reach(password.as_ref(), common);
        let mut site = prepare::site(inventory, &scope, reach, false, events).await?;
        site.settle(events).await?;
        let recorded = self.recorded(&site, &scope).await?;
        let manifests = recorded
            .into_iter()
            .map(|(node, recorded)| (node, recorded.manifest));
        let mut desired = Desired {
            manifests: manifests.collect(),
            contents: BTreeMap::new(),
            superseded: BTreeSet::new(),
        };
        let differences = site.compare(&desired, jobs).await?;
        let texts = texts::recall(&site, &desired, &differences).await;
        desired.contents = texts.map_err(|error| Failure::new(Exit::Unreachable, error))?;
        preflight::look(inventory, &site, &desired, &differences, events).await?;
        let credentials = prepare::credentials_in_effect(inventory, events)?;
        let users = signers::check(inventory, &desired, &credentials, prepare::now())?;
        site.find_leader(&desired, &differences).await;
        ground::check(&site, &desired, &differences, &users).await?;
        let views = site.views(&desired, &differences);
        let plan = Plan::new(&views, Direction::Back, &inventory.rollout)
            .map_err(|refusals| Failure::all(Exit::Failed, refusals))?;
        let listing = texts::listing(inventory, &plan, &views, &site, &desired).await;
        let changes = changes(&plan, &views);
        let snapshot = is_upgrade(&views) && !self.no_snapshot;
        notice_others(inventory, &views, events);
        drop(views);
        if common.json {
            terminal.print_json(&listing);
        } else {
            terminal.print_colored(|color| listing.text(color));
        }
        if self.plan || plan.is_empty() {
            site.close().await;
            return Ok(if plan.is_empty() {
                Exit::Done
            } else {
                Exit::Found
            });
        }
        lacking(&plan)?;
        if snapshot {
            backup::take(inventory, &site, &desired, &credentials, events).await?;
        }
        let task = Task {
            command: "rollback",
            plan: &plan,
            desired: &desired,
            store: &Store::new(),
            credentials: &credentials,
            changes: &changes,
            break_lock: self.break_lock,
        };
        let stop = stop_on_interrupt(events.clone());
        carry_out(inventory, &site, task, common, events, stop).await?;
        site.close().await;
        Ok(Exit::Done)
    }

    /// The generation of each node that it is taken back to.
    async fn recorded(
        &self,
        site: &Site,
        scope: &BTreeSet<NodeName>,
    ) -> Result<BTreeMap<NodeName, Recorded>, Failure> {
        let asking = scope.iter().map(|node| async move {
            let wanted = self.to.map(|number| number.to_string());
            let wanted = wanted.unwrap_or_else(|| before_the_last_run(site, node));
            (
                node,
                generations::ask(&site.transports[node], &wanted).await,
            )
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
        let what = self.to.map_or("earlier generation".to_owned(), |to| {
            format!("generation {to}")
        });
        let message = format!("there is no {what} to go back to: {}", missing.join("; "));
        Err(Failure::words(
            Exit::Usage,
            message,
            "`kinstall status` tells the generations; `--limit` names nodes",
        ))
    }
}

/// Which generation of a node was there before the last run: where that one was not finished, the
/// one that it found, and the last on nodes that it never came to.
fn before_the_last_run(site: &Site, node: &NodeName) -> String {
    let mut unfinished = site.snapshots.values().filter(|it| it.begun.is_some());
    if unfinished.clone().next().is_none() {
        return "previous".to_owned();
    }
    let own = &site.snapshots[node];
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
fn lacking(plan: &Plan) -> Result<(), Failure> {
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
