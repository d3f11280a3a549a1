//! A plan with all that it was made from: shown, and applied. What `push` and `rollback` have in
//! common.

use std::collections::BTreeMap;
use std::time::Instant;

use super::comparison::Comparison;
use super::journal::{self, Journal};
use super::session::{self, Session};
use super::{clock, operator, remote_files};
use crate::apply::{Failpoint, Run, Store};
use crate::certificate::Credentials;
use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::journal::DONE;
use crate::membership::Changes;
use crate::plain::count;
use crate::plan::{Direction, Plan, View, is_upgrade};
use crate::terminal::listing::Listing;

/// A plan.
pub(crate) struct Planned {
    pub(crate) comparison: Comparison,
    pub(crate) credentials: Credentials,
    pub(crate) plan: Plan,
    /// The plan, as it is shown.
    pub(crate) listing: Listing,
}

impl Planned {
    /// Plans, or says why there must be no plan.
    pub(crate) async fn new(
        session: &Session<'_>,
        comparison: Comparison,
        credentials: Credentials,
        direction: Direction,
        members: Option<&Changes>,
    ) -> Result<Self, Failure> {
        let views = comparison.views();
        let plan = Plan::with_members(&views, direction, members, &session.inventory.rollout);
        let plan = plan.map_err(|refusals| Failure::all(Exit::Failed, refusals))?;
        let listing = remote_files::listing(session, &comparison, &views, &plan).await;
        warn_of_others(session, &views);
        drop(views);
        Ok(Self {
            comparison,
            credentials,
            plan,
            listing,
        })
    }

    /// The nodes as the plan sees them.
    pub(crate) fn views(&self) -> BTreeMap<NodeName, View<'_>> {
        self.comparison.views()
    }

    /// Shows it in a few lines, as a run that goes on does.
    pub(crate) fn show(&self, session: &Session<'_>) {
        if session.settings.json {
            session.terminal.print_json(&self.listing);
            return;
        }
        session.note(self.listing.summary());
        for change in &self.listing.members {
            session.note(format!("etcd: {change}"));
        }
        for rest in &self.listing.remains {
            session.warn(rest);
        }
    }

    /// Whether etcd's data should be kept elsewhere first: versions change, or members do.
    pub(crate) fn is_risky(&self) -> bool {
        is_upgrade(&self.views()) || !self.plan.members.is_empty()
    }

    /// Applies it and writes the journal.
    pub(crate) async fn apply(
        &self,
        session: &Session<'_>,
        command: &'static str,
        store: &Store,
        break_lock: bool,
    ) -> Result<(), Failure> {
        let (begun, inventory) = (Instant::now(), session.inventory);
        let views = self.views();
        let nodes = self.plan.nodes().into_iter();
        let changes = nodes.map(|node| (node.to_string(), views[node].changes()));
        let mut journal = Journal::open(inventory)?;
        let mut entry = journal::entry(inventory, command, changes.collect());
        let run = Run {
            plan: &self.plan,
            transports: &self.comparison.fleet.transports,
            snapshots: &self.comparison.fleet.snapshots,
            desired: &self.comparison.desired,
            store,
            credentials: &self.credentials,
            cluster: &inventory.cluster,
            rollout: &inventory.rollout,
            jobs: session.settings.jobs,
            holder: operator::holder(),
            break_lock,
            entry: &entry,
            events: &session.events,
            stop: session.stop.receiver(),
            failpoint: Failpoint::from_environment(),
        };
        let result = run.carry_out().await.map_err(Failure::from);
        entry.at = clock::now();
        entry.outcome = match &result {
            Ok(()) => DONE.to_owned(),
            Err(failure) => failure.in_words(),
        };
        journal.add(&entry)?;
        result?;
        let (nodes, seconds) = (
            count(entry.nodes.len(), "node"),
            begun.elapsed().as_secs_f64(),
        );
        session.note(format!("done: {nodes} changed in {seconds:.1} s"));
        Ok(())
    }

    /// Ends the connections.
    pub(crate) async fn close(self) {
        session::close(self.comparison.fleet.transports).await;
    }

    /// The same for a command that has no more to do than to show the plan. For many nodes it would take longer
    /// to give all the rest back piece by piece; what has secrets in it, the contents, is wiped.
    pub(crate) async fn end(self) -> Listing {
        let Comparison {
            fleet,
            desired,
            differences,
            ..
        } = self.comparison;
        session::close(fleet.transports).await;
        std::mem::forget((self.plan, differences, desired.manifests, fleet.snapshots));
        self.listing
    }
}

/// Warns of a node that was last changed from elsewhere: what that inventory says and this one does
/// not is about to go.
fn warn_of_others(session: &Session<'_>, views: &BTreeMap<NodeName, View<'_>>) {
    let ours = journal::entry(session.inventory, "", BTreeMap::new());
    let mut others = BTreeMap::<String, Vec<&str>>::new();
    for (node, view) in views {
        let Some(last) = &view.snapshot.ran else {
            continue;
        };
        let is_ours =
            last.inventory == ours.inventory || (&last.who, &last.from) == (&ours.who, &ours.from);
        if !is_ours && !view.difference.is_empty() {
            let (who, from, at) = (&last.who, &last.from, clock::date(last.at));
            let whence = format!("by {who} from {from} at {at}");
            others.entry(whence).or_default().push(node.as_str());
        }
    }
    for (whence, nodes) in others {
        let nodes = nodes.join(", ");
        session.warn(format!(
            "{nodes}: last changed {whence}, with another inventory than this one"
        ));
    }
}
