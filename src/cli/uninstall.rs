//! `kinstall uninstall`: takes away what kinstall put on nodes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Common, Exit, Failure, Login};
use crate::engine::fleet::{Fleet, Look};
use crate::engine::journal::{self, Journal};
use crate::engine::load;
use crate::engine::operator::holder;
use crate::engine::session::Session;
use crate::etcd_data::Place;
use crate::inventory::{Inventory, NodeName, Role};
use crate::journal::DONE;
use crate::plain::count;
use crate::removal::{self, Removal};
use crate::script;
use crate::survey::members as living;
use crate::terminal::Terminal;
use crate::transport::Body;

/// Take away what kinstall put on nodes, and nothing else.
#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// The inventory
    inventory: PathBuf,
    /// Take the data away too, now or later: etcd's, and with it everything the cluster knows, audit logs, and workers'
    /// images and volumes
    #[arg(long)]
    data: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would be taken away; change nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    login: Login,
}

/// What is taken away, as it is shown.
#[derive(Serialize)]
struct Listing {
    cluster: String,
    nodes: Vec<NodeListing>,
    /// Directories with data that go too.
    data: Vec<String>,
    /// Directories with data that stay.
    kept: Vec<String>,
}

#[derive(Serialize)]
struct NodeListing {
    node: String,
    /// Services that are stopped.
    units: Vec<String>,
    /// Files, links and directories that are removed.
    entries: Vec<String>,
    /// What somebody changed, and what therefore stays.
    changed: Vec<String>,
}

impl Uninstall {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let settings = common.settings(&self.login);
        let look = async |session: &Session<'_>| self.look(session).await;
        let (fleet, removals) = Session::run(&inventory, &settings, terminal, look).await?;
        let listing = self.listing(&inventory, &removals);
        terminal.print_data(common.json, &listing, |_| listing.text());
        if removals.is_empty() {
            fleet.close().await;
            return Ok(Exit::Done);
        }
        if self.plan {
            fleet.close().await;
            return Ok(Exit::Found);
        }
        let mut journal = Journal::open(&inventory)?;
        self.ask(&inventory, terminal)?;
        let take_away =
            async |session: &Session<'_>| self.take_away(session, &fleet, &removals).await;
        let outcome = Session::run(&inventory, &settings, terminal, take_away).await;
        let mut entry = journal::entry(&inventory, "uninstall", BTreeMap::new());
        entry.nodes = removals.keys().map(ToString::to_string).collect();
        entry.outcome = match &outcome {
            Ok(()) => DONE.to_owned(),
            Err(failure) => failure.in_words(),
        };
        journal.add(&entry)?;
        fleet.close().await;
        outcome.map(|()| Exit::Done)
    }

    /// What of kinstall's lies on the nodes; nodes with nothing are left out.
    async fn look(
        &self,
        session: &Session<'_>,
    ) -> Result<(Fleet, BTreeMap<NodeName, Removal>), Failure> {
        let inventory = session.inventory;
        let fleet = Fleet::reach(session, &session.scope()?, Look::default()).await?;
        stays_a_member(inventory, &fleet).await?;
        let removals = fleet
            .snapshots
            .iter()
            .map(|(node, snapshot)| {
                let place = Place::of(inventory, &inventory.nodes[node]);
                (node.clone(), Removal::of(snapshot, place.as_ref()))
            })
            .filter(|(_, removal)| !removal.is_empty(self.data));
        let removals = removals.collect();
        Ok((fleet, removals))
    }

    fn listing(&self, inventory: &Inventory, removals: &BTreeMap<NodeName, Removal>) -> Listing {
        let texts = |paths: &[crate::remote_path::RemotePath]| {
            paths.iter().map(ToString::to_string).collect()
        };
        let nodes = removals.iter().map(|(node, removal)| NodeListing {
            node: node.to_string(),
            units: removal.units.iter().map(ToString::to_string).collect(),
            entries: texts(&removal.entries),
            changed: texts(&removal.changed),
        });
        let data = removals.values().flat_map(|removal| &removal.data);
        let data: BTreeSet<String> = data.map(|data| data.path.to_string()).collect();
        let (gone, kept) = if self.data {
            (data, BTreeSet::new())
        } else {
            (BTreeSet::new(), data)
        };
        Listing {
            cluster: inventory.cluster.name.to_string(),
            nodes: nodes.collect(),
            data: gone.into_iter().collect(),
            kept: kept.into_iter().collect(),
        }
    }

    /// Asks whoever sits at the terminal for the cluster's name.
    fn ask(&self, inventory: &Inventory, terminal: Terminal) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let name = inventory.cluster.name.as_str();
        let what = if self.data {
            "this and all data"
        } else {
            "this"
        };
        let question = format!("To take {what} away, type the cluster's name ({name}): ");
        match terminal.ask(&question) {
            None => Err(Failure::words(
                Exit::Usage,
                "there is no terminal to ask at; nothing was changed",
                "give `--yes` to take it away without being asked, `--plan` to look only",
            )),
            Some(answer) if answer == name => Ok(()),
            Some(_) => Err(Failure::words(
                Exit::Stopped,
                "that is not the cluster's name; nothing was changed",
                format!("its name is {name}"),
            )),
        }
    }

    /// Takes hold of all nodes, then empties them, all at once.
    async fn take_away(
        &self,
        session: &Session<'_>,
        fleet: &Fleet,
        removals: &BTreeMap<NodeName, Removal>,
    ) -> Result<(), Failure> {
        let mut held = Vec::new();
        for node in removals.keys() {
            let Some(connection) = fleet.transports[node].ssh() else {
                continue;
            };
            let holding = connection.hold(script::LOCK, &[&holder()]).await;
            let (line, lock) = holding.map_err(|error| Failure::new(Exit::Unreachable, error))?;
            if let Some(holder) = line.strip_prefix("held ") {
                let message = format!("{node}: another run holds it: {holder}");
                let help = "wait for it to end; nothing was changed";
                return Err(Failure::words(Exit::Held, message, help));
            }
            held.push(lock);
        }
        let emptying = removals.iter().map(|(node, removal)| async move {
            let kept = removal::kept(fleet.snapshots.values(), &fleet.snapshots[node]);
            let body = Body::text(removal.text(self.data, kept.as_ref()));
            let output = fleet.transports[node].run(script::UNINSTALL, &[], body);
            output
                .await
                .map_err(|error| Failure::new(Exit::Failed, error))?;
            let count = count(removal.entries.len(), "entry");
            session.note(format!("{node}: {count} removed"));
            Ok::<(), Failure>(())
        });
        let outcomes = futures_util::future::join_all(emptying).await;
        drop(held);
        let mut failures = outcomes.into_iter().filter_map(Result::err);
        let Some(mut first) = failures.next() else {
            return Ok(());
        };
        first.reports.extend(failures.flat_map(|it| it.reports));
        Err(first)
    }
}

/// A member that others still count on is not taken from them: it would cost them their majority,
/// or bring them near to that.
async fn stays_a_member(inventory: &Inventory, fleet: &Fleet) -> Result<(), Failure> {
    let mut etcd = inventory.with_role(Role::Etcd);
    if etcd.all(|node| fleet.transports.contains_key(&node.name)) {
        return Ok(());
    }
    for (node, transport) in &fleet.transports {
        if !fleet.runs_etcd(node) {
            continue;
        }
        let told = living::ask(transport).await;
        let told = told.map_err(|error| Failure::new(Exit::Unreachable, error))?;
        let count = told.map_or(0, |members| members.len());
        if count > 1 {
            let message = format!("{node}: is one of {count} members of a living etcd cluster");
            let help = "take the node out of the inventory and push that first: its member leaves \
                        in good order; then uninstall with an inventory that still names it";
            return Err(Failure::words(Exit::Failed, message, help));
        }
    }
    Ok(())
}

impl Listing {
    fn text(&self) -> String {
        if self.nodes.is_empty() {
            return format!("{}: nothing of kinstall's is there\n", self.cluster);
        }
        let mut text = String::new();
        for node in &self.nodes {
            if node.units.is_empty() && node.entries.is_empty() && node.changed.is_empty() {
                _ = writeln!(
                    text,
                    "{}: nothing of kinstall's is there but data",
                    node.node
                );
                continue;
            }
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "{}: stops {}; removes {} (files, links and directories) and `/var/lib/kinstall`",
                node.node,
                node.units.join(" "),
                count(node.entries.len(), "entry")
            );
            for path in &node.entries {
                _ = writeln!(text, "  - {path}");
            }
            for path in &node.changed {
                _ = writeln!(text, "  {path} was changed by hand, and stays");
            }
        }
        if !self.kept.is_empty() {
            let kept = self.kept.join(", ");
            _ = writeln!(text, "data stay: {kept}; `--data` takes them away too");
        }
        if !self.data.is_empty() {
            let gone = self.data.join(", ");
            _ = writeln!(text, "all data go, for ever: {gone}");
        }
        _ = writeln!(text, "the services' users stay");
        text
    }
}
