//! Carries a plan out. It decides nothing but when to stop.

mod agree;
mod answer;
mod drain;
mod failpoint;
mod leader_election;
mod member;
mod node;
mod partial_report;
mod reach;
mod revert;
mod staging;
mod step;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use tokio::sync::watch;

pub(crate) use answer::LockAnswer;
pub use failpoint::Failpoint;
pub use staging::{Encoded, Store};
pub use step::StepError;

use crate::action::{Group, WaveName};
use crate::certificate::Credentials;
use crate::event::{Event, Events};
use crate::inventory::{Cluster, NodeName, OnFailure, Rollout};
use crate::journal::{DONE, Entry};
use crate::manifest::{Desired, Stage};
use crate::plan::Plan;
use crate::probe::Prober;
use crate::script;
use crate::snapshot::Snapshot;
use crate::transport::ssh::{Held, State};
use crate::transport::{self, Body, Transport};

/// How many runs a node remembers.
const JOURNAL_KEPT: &str = "100";
/// How long a node may take to write down how a run ended, in seconds.
const JOURNAL_SECONDS: u64 = 10;

/// The groups that a run has come past, and the nodes of each.
type Passed<'a> = Vec<(&'a Group, &'a NodeName)>;

/// Everything a run works with.
pub struct Run<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// The nodes.
    pub transports: &'a BTreeMap<NodeName, Transport>,
    /// What the nodes held before.
    pub snapshots: &'a BTreeMap<NodeName, Snapshot>,
    /// What they should hold, and the contents.
    pub desired: &'a Desired,
    /// Where the binaries lie, compressed.
    pub store: &'a Store,
    /// What health is asked with.
    pub credentials: &'a Credentials,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Time limits.
    pub rollout: &'a Rollout,
    /// How many nodes are staged at a time.
    pub jobs: usize,
    /// Who runs this, where and since when: shown to another run that finds the node held.
    pub holder: String,
    /// Whether nodes are taken from another run that holds them.
    pub break_lock: bool,
    /// What the nodes write down of this run.
    pub entry: &'a Entry,
    /// Where progress is told.
    pub events: &'a Events,
    /// Becomes true when the user wants to stop.
    pub stop: watch::Receiver<bool>,
    /// Where it is held, for tests.
    pub failpoint: Failpoint,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// Another run works on a node.
    #[error("{node}: another run holds it: {holder}")]
    #[diagnostic(help(
        "wait for it to end; the lock is free as soon as the run that held it is gone, and a minute after its network is; `--break-lock` takes it from a stuck run"
    ))]
    Held {
        /// The node.
        node: NodeName,
        /// What the other run says of itself.
        holder: String,
    },
    /// A node is no longer held for this run.
    #[error("{node}: it is no longer held for this run")]
    #[diagnostic(help(
        "another run took it by `--break-lock`, or the connection broke; every service runs on what is in place, and the same command goes on from there"
    ))]
    Lost {
        /// The node.
        node: NodeName,
    },
    /// Another run changed a node after this one had looked at it.
    #[error("{node}: another run changed it while this one was being prepared")]
    #[diagnostic(help("run the same command again"))]
    Changed {
        /// The node.
        node: NodeName,
    },
    /// A node could not be staged; nothing was activated anywhere.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Staging(#[from] staging::Error),
    /// A node could not be reached.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(#[from] transport::Error),
    /// A step failed.
    #[error("{failure}")]
    #[diagnostic(help(
        "{}, nodes that were done stay as they are, the others were not touched; run the same command again once the cause is gone, and it goes on from there",
        failure.what_is_left()
    ))]
    Step {
        /// The wave it was in.
        wave: WaveName,
        /// What failed.
        failure: StepError,
    },
    /// A step failed, and the node was taken back to what it had been.
    #[error("{failure}\n  {node} was taken back to generation {generation} and is healthy")]
    #[diagnostic(help(
        "nodes that were done stay as they are, the others were not touched; mend the cause and run the same command again"
    ))]
    Reverted {
        /// The node.
        node: NodeName,
        /// The generation it is at again.
        generation: u64,
        /// What failed.
        failure: StepError,
    },
    /// A step failed, and the node could not be taken back.
    #[error("{failure}\n  {node} could not be taken back: {why}")]
    #[diagnostic(help(
        "nodes that were done stay as they are, the others were not touched; mend the cause and run the same command again"
    ))]
    NotReverted {
        /// The node.
        node: NodeName,
        /// Why not.
        why: String,
        /// What failed.
        failure: StepError,
    },
    /// The user wanted to stop.
    #[error("stopped on request {what}")]
    #[diagnostic(help("run the same command again to go on from there"))]
    Stopped {
        /// How far it came.
        what: &'static str,
    },
}

impl Run<'_> {
    /// Stages everything everywhere, then goes through the waves.
    pub async fn carry_out(&self) -> Result<(), Vec<Error>> {
        let mut stop = self.stop.clone();
        let held = tokio::select! {
            held = async {
                reach::check(self).await?;
                self.lock().await
            } => held?,
            _ = stop.wait_for(|stop| *stop) => {
                return Err(vec![Error::Stopped { what: "while taking hold of the nodes; nothing was changed" }]);
            }
        };
        let result = self.go_through(&held).await;
        let outcome = match &result {
            Ok(()) => DONE.to_owned(),
            Err(errors) => errors.first().map(ToString::to_string).unwrap_or_default(),
        };
        self.write_down(outcome.lines().next().unwrap_or_default())
            .await;
        result
    }

    async fn go_through(&self, held: &[Held]) -> Result<(), Vec<Error>> {
        self.stage().await?;
        let mut passed = Vec::new();
        let result = self.walk(held, &mut passed).await;
        if let Err(errors) = &result {
            for line in partial_report::told(self, &passed, errors) {
                self.events.send(Event::Note(format!("  {line}")));
            }
        }
        result
    }

    /// Goes through the waves, and notes what is behind it.
    async fn walk<'a>(&'a self, held: &[Held], passed: &mut Passed<'a>) -> Result<(), Vec<Error>> {
        for wave in &self.plan.waves {
            self.events.send(Event::Wave(wave.name));
            for group in &wave.groups {
                if let Some(lost) = held.iter().find_map(lost) {
                    return Err(vec![lost]);
                }
                if *self.stop.borrow() {
                    return Err(vec![Error::Stopped {
                        what: "between two nodes; every service runs on what is in place",
                    }]);
                }
                if let Err(errors) = self.group(wave.name, group, passed).await {
                    return Err(self.take_back(errors).await);
                }
            }
            let is_last = self.plan.waves.last() == Some(wave);
            let of_etcd = WaveName::Stage(Stage::Etcd);
            let asks = wave.name == of_etcd || (is_last && !self.plan.has(of_etcd));
            if asks {
                let agreed = agree::wait(self).await;
                let wave = wave.name;
                agreed.map_err(|failure| vec![Error::Step { wave, failure }])?;
            }
        }
        Ok(())
    }

    /// Has every node that was changed write down how the run ended. A node that cannot be reached
    /// any more knows as much as it wrote at the beginning.
    async fn write_down(&self, outcome: &str) {
        let groups = self.plan.waves.iter().flat_map(|wave| &wave.groups);
        let nodes: BTreeSet<_> = groups.flat_map(|group| group.steps.keys()).collect();
        let writing = nodes.into_iter().map(|node| {
            let entry = self.entry.on(node, outcome);
            let body = Body::text(entry.lines());
            let writing = self.transports[node].run(script::JOURNAL, &[JOURNAL_KEPT], body);
            tokio::time::timeout(Duration::from_secs(JOURNAL_SECONDS), writing)
        });
        future::join_all(writing).await;
    }

    /// Takes the nodes on which a unit did not become healthy back to their recorded generations.
    async fn take_back(&self, errors: Vec<Error>) -> Vec<Error> {
        // What was recorded was made for other members of etcd: it would cut off the new ones.
        if !self.plan.members.is_empty() || self.rollout.on_failure == OnFailure::Stay {
            return errors;
        }
        let mut outcomes = Vec::new();
        for error in errors {
            outcomes.push(match error {
                Error::Step {
                    failure: StepError::Unhealthy(unhealthy),
                    ..
                } if self.snapshots[&unhealthy.node].recorded.is_some() => {
                    let node = unhealthy.node.clone();
                    let failure = StepError::Unhealthy(unhealthy);
                    match revert::revert(self, &node).await {
                        Ok(generation) => Error::Reverted {
                            node,
                            generation,
                            failure,
                        },
                        Err(why) => Error::NotReverted { node, why, failure },
                    }
                }
                other => other,
            });
        }
        outcomes
    }

    /// Takes hold of every node that will change, or of none.
    async fn lock(&self) -> Result<Vec<Held>, Vec<Error>> {
        let nodes = self.plan.nodes();
        let connections = nodes
            .iter()
            .filter_map(|node| self.transports.get(*node)?.ssh());
        let holding = connections.map(|connection| async move {
            let how = if self.break_lock { "break" } else { "wait" };
            let arguments = [self.holder.as_str(), how];
            let (line, held) = connection.hold(script::LOCK, &arguments).await?;
            let node = connection.node().clone();
            let LockAnswer { version, broke } = LockAnswer::read(&line);
            if !broke.is_empty() {
                let what = format!("{node}: took it from a run that held it: {broke}");
                self.events.send(Event::Warning(what));
            }
            match version {
                Ok(version) if version == self.snapshots[&node].version => Ok(held),
                Ok(_) => Err(Error::Changed { node }),
                Err(holder) => {
                    let holder = holder.to_owned();
                    Err(Error::Held { node, holder })
                }
            }
        });
        settle(future::join_all(holding).await)
    }

    /// Fills the stores of all nodes, while everything still runs as before.
    async fn stage(&self) -> Result<(), Vec<Error>> {
        if self.plan.staging.is_empty() {
            return Ok(());
        }
        self.events.send(Event::Phase("staging"));
        let jobs = self
            .plan
            .staging
            .iter()
            .map(|(node, digests)| staging::stage(self, &self.transports[node], digests));
        let staging = stream::iter(jobs)
            .buffer_unordered(self.jobs)
            .collect::<Vec<_>>();
        let mut stop = self.stop.clone();
        let results = tokio::select! {
            results = staging => results,
            _ = stop.wait_for(|stop| *stop) => {
                return Err(vec![Error::Stopped { what: "while staging; nothing was changed" }]);
            }
        };
        settle(results).map(|_: Vec<()>| ())
    }

    /// The steps of a group: several nodes at once, one node's in order. A failure on one node
    /// lets the others of the group finish.
    async fn group<'a>(
        &self,
        wave: WaveName,
        group: &'a Group,
        passed: &mut Passed<'a>,
    ) -> Result<(), Vec<Error>> {
        let prober = Prober::new(self.credentials);
        let prober = &prober;
        let nodes = group.steps.iter().map(|(node, actions)| async move {
            for action in actions {
                self.failpoint.before(node.as_str(), action.name()).await;
                step::take(self, prober, &self.transports[node], action)
                    .await
                    .map_err(|failure| Error::Step { wave, failure })?;
            }
            Ok::<(), Error>(())
        });
        let results: Vec<Result<(), Error>> = future::join_all(nodes).await;
        let ended = group.steps.keys().zip(&results);
        let well = ended.filter(|(_, result)| result.is_ok());
        passed.extend(well.map(|(node, _)| (group, node)));
        settle(results).map(|_: Vec<()>| ())
    }
}

/// Why a node is no longer held, if it is not.
fn lost(held: &Held) -> Option<Error> {
    match held.state() {
        State::Holds => None,
        State::Ended => Some(Error::Lost {
            node: held.node().clone(),
        }),
        State::TooMuch(error) => Some(Error::Transport(error)),
    }
}

/// All results, or all errors.
fn settle<T, E>(results: Vec<Result<T, E>>) -> Result<Vec<T>, Vec<Error>>
where
    Error: From<E>,
{
    let mut right = Vec::new();
    let mut wrong = Vec::new();
    for result in results {
        match result {
            Ok(value) => right.push(value),
            Err(error) => wrong.push(error.into()),
        }
    }
    if wrong.is_empty() {
        Ok(right)
    } else {
        Err(wrong)
    }
}
