//! One action on one node.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{JOURNAL_KEPT, Run, transaction};
use crate::action::{Action, FileOperation};
use crate::event::Event;
use crate::inventory::NodeName;
use crate::journal::BEGUN;
use crate::manifest::{Entry, Kind, Probe, UnitName};
use crate::probe::{Health, Prober};
use crate::remote_path::RemotePath;
use crate::script;
use crate::snapshot::Recorded;
use crate::transport::{self, Body, Transport};

/// How many generations a node keeps.
const GENERATIONS_KEPT: &str = "5";
/// How long between two questions whether a unit is healthy, in milliseconds.
const QUESTION_MILLISECONDS: u64 = 300;
/// Every how many questions without a good answer the unit itself is looked at.
const LOOK_EVERY: u32 = 10;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The node could not be reached, or a script failed.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The members of etcd do not become what they should.
    #[error("etcd membership change failed (via {node}): {what}: {why}")]
    Member {
        /// The node whose member was told.
        node: NodeName,
        /// What should have been.
        what: String,
        /// etcd's own words, or who is not healthy.
        why: String,
    },
    /// The members of etcd are healthy, each in a cluster of its own.
    #[error("etcd is not one cluster: {0}")]
    Split(String),
    /// Controllers are healthy, and none of them works.
    #[error("{node}: `{unit}` has no leader: {why}")]
    Leaderless {
        /// The node whose kube-apiserver was asked.
        node: NodeName,
        /// The unit.
        unit: UnitName,
        /// What the last look showed.
        why: String,
    },
    /// The Node object of a node cannot be what it should.
    #[error("{node}: {why}\n  {help}")]
    Node {
        /// The node.
        node: NodeName,
        /// Why.
        why: String,
        /// What the user can do.
        help: &'static str,
    },
    /// A unit does not become healthy.
    #[error("{0}")]
    Unhealthy(Box<Unhealthy>),
}

impl StepError {
    /// What the node is left with.
    pub fn what_is_left(&self) -> &'static str {
        match self {
            // Its files are in place, all of them or none (`install.sh`), and something else failed.
            Self::Member { .. } | Self::Split(_) | Self::Leaderless { .. } | Self::Unhealthy(_) => {
                "its new files stay in place there"
            }
            Self::Node { .. } => "nothing was started there",
            Self::Transport(transport::Error::Failed { script, .. }) => match *script {
                "begin" => "nothing was put in place there",
                "install" | "transaction" => {
                    "unless all of its new files were ready, none of them is in place there, only directories for them"
                }
                _ => "what was put in place there before stays",
            },
            Self::Transport(_) => "what it had begun there comes to its end by itself",
        }
    }
}

/// A unit that does not become healthy, with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// The node.
    pub node: NodeName,
    /// The unit.
    pub unit: UnitName,
    /// What is wrong, in one line.
    pub why: String,
    /// How systemd describes the unit.
    pub state: String,
    /// Its last lines in the journal.
    pub journal: Vec<String>,
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` {}", self.node, self.unit, self.why)?;
        if !self.state.is_empty() {
            write!(f, "\n  systemd: {}", self.state)?;
        }
        for line in &self.journal {
            write!(f, "\n  journal: {line}")?;
        }
        Ok(())
    }
}

/// Does one thing.
pub(super) async fn take(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    action: &Action,
) -> Result<(), StepError> {
    let node = transport.node();
    match action {
        Action::Begin { entries } => {
            transport
                .run(script::BEGIN, &[], Body::text(begin_text(entries)))
                .await?;
            let entry = run.entry.on(node, BEGUN);
            transport
                .run(script::JOURNAL, &[JOURNAL_KEPT], Body::text(entry.lines()))
                .await?;
        }
        Action::Install(operations) => install(run, transport, operations).await?,
        Action::Transaction(transaction) => transaction::run(run, transport, transaction).await?,
        Action::Reload => {
            transport.run(script::RELOAD, &[], Body::default()).await?;
        }
        Action::Member(action) => super::member::take(run, transport, action).await?,
        Action::Enlist {
            unit,
            initial_cluster,
        } => {
            let words = [unit.as_str(), initial_cluster];
            transport
                .run(script::ENLIST, &words, Body::default())
                .await?;
        }
        Action::Stop(unit) => {
            transport
                .run(script::STOP, &[unit.as_str()], Body::default())
                .await?;
        }
        Action::Await {
            unit,
            probe,
            settle,
        } => {
            let settle = if *settle {
                run.rollout.stable_seconds
            } else {
                0
            };
            let question = Question {
                unit,
                probe: probe.as_ref(),
                settle: Duration::from_secs(settle),
            };
            wait(run, prober, transport, &question).await?;
        }
        Action::Lead { port, leases } => {
            super::leader_election::wait(run, prober, transport, *port, leases).await?;
        }
        Action::Register {
            registration,
            machine,
        } => {
            let machine = machine.as_deref();
            super::node::register(run, prober, transport, registration, machine).await?;
        }
        Action::Drain {
            through,
            port,
            registration,
        } => {
            let kubectl = (through, *port);
            super::drain::drain(run, prober, transport, registration, kubectl).await?;
        }
        Action::Ready { unit, registration } => {
            super::node::wait(run, prober, transport, unit, registration).await?;
            super::drain::uncordon(run, prober, transport, &registration.servers).await?;
        }
        Action::Record(recorded) => {
            let generation = recorded.generation.to_string();
            let body = Body::text(record_text(recorded));
            transport
                .run(script::RECORD, &[&generation, GENERATIONS_KEPT], body)
                .await?;
            let (node, generation) = (node.clone(), recorded.generation);
            run.events.send(Event::Recorded { node, generation });
        }
    }
    Ok(())
}

/// What `begin.sh` reads.
fn begin_text(entries: &BTreeMap<RemotePath, Entry>) -> String {
    let json = serde_json::to_string(entries).expect("entries are made of texts and numbers");
    let paths = entries.keys().map(|path| format!("\n{path}"));
    json + &paths.collect::<String>() + "\nend\n"
}

/// What `record.sh` reads.
fn record_text(recorded: &Recorded) -> String {
    let json = serde_json::to_string(recorded).expect("a manifest is made of texts and numbers");
    let entries = recorded.manifest.entries.iter().chain(&recorded.retired);
    let lines = entries.map(|(path, entry)| match &entry.kind {
        Kind::File { digest, .. } => format!("\n{path} {digest}"),
        Kind::Directory | Kind::Link { .. } => format!("\n{path} -"),
    });
    json + &lines.collect::<String>() + "\nend\n"
}

/// Puts entries in place, in one session.
pub(super) async fn install(
    run: &Run<'_>,
    transport: &Transport,
    operations: &[FileOperation],
) -> Result<(), StepError> {
    let lines = operations.iter().map(|put| put.line() + "\n");
    let lines = lines.collect::<String>() + "end\n";
    transport
        .run(script::INSTALL, &[], Body::text(lines))
        .await?;
    installed(run, transport, operations);
    Ok(())
}

/// Tells that entries were put in place.
pub(super) fn installed(run: &Run<'_>, transport: &Transport, operations: &[FileOperation]) {
    let count = operations.iter().filter_map(FileOperation::path).count();
    if count > 0 {
        let node = transport.node().clone();
        run.events.send(Event::Installed { node, count });
    }
}

/// A unit that is asked until it is healthy, and stays so.
#[derive(Clone, Copy)]
struct Question<'a> {
    unit: &'a UnitName,
    probe: Option<&'a Probe>,
    settle: Duration,
}

/// Asks until the unit answers that it is healthy, and for the time that it must stay so.
async fn wait(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    question: &Question<'_>,
) -> Result<(), StepError> {
    if transport.ssh().is_none() {
        return Ok(());
    }
    let Question {
        unit,
        probe,
        settle,
    } = *question;
    let begun = Instant::now();
    let limit = Duration::from_secs(run.rollout.ready_seconds) + settle;
    let pause = Duration::from_millis(QUESTION_MILLISECONDS);
    let mut asked = 0;
    let mut healthy_since = None;
    loop {
        let why = match prober.health(transport, unit, probe).await? {
            Health::Ill(why) => why,
            Health::NotAsked(why) => return Err(not_asked(transport, probe, why)),
            Health::Well => {
                if healthy_since.get_or_insert_with(Instant::now).elapsed() >= settle {
                    break;
                }
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        healthy_since = None;
        asked += 1;
        let (node, unit_name) = (transport.node().clone(), unit.clone());
        run.events.send(Event::Waiting {
            node,
            unit: unit_name,
            why: why.clone(),
        });
        let late = begun.elapsed() >= limit;
        if late || asked % LOOK_EVERY == 0 {
            let output = transport
                .run(script::EXPLAIN, &[unit.as_str()], Body::default())
                .await?;
            if late {
                let why = format!("is not healthy after {} s: {why}", limit.as_secs());
                return Err(unhealthy(transport, unit, why, &output));
            }
            if has_died(&output) {
                return Err(unhealthy(
                    transport,
                    unit,
                    format!("keeps dying: {why}"),
                    &output,
                ));
            }
        }
        tokio::time::sleep(pause).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    run.events.send(Event::Healthy {
        node: transport.node().clone(),
        unit: unit.clone(),
        seconds,
    });
    Ok(())
}

/// Nobody knows how the unit is: that is no reason to take anything back.
pub(super) fn not_asked(transport: &Transport, probe: Option<&Probe>, why: String) -> StepError {
    transport::Error::Forward {
        node: transport.node().clone(),
        port: probe.map_or(0, |probe| probe.port),
        why,
    }
    .into()
}

/// Whether systemd has given the unit up, or restarted it again and again.
fn has_died(output: &str) -> bool {
    let state = output
        .lines()
        .find_map(|line| line.strip_prefix("state "))
        .unwrap_or_default();
    let value = |name: &str| {
        let mut words = state.split(' ').filter_map(|word| word.split_once('='));
        words
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    };
    value("ActiveState") == "failed" || value("NRestarts").parse().unwrap_or(0) >= 3
}

pub(super) fn unhealthy(
    transport: &Transport,
    unit: &UnitName,
    why: String,
    output: &str,
) -> StepError {
    let of = |word: &'static str| {
        output
            .lines()
            .filter_map(move |line| line.strip_prefix(word))
    };
    StepError::Unhealthy(Box::new(Unhealthy {
        node: transport.node().clone(),
        unit: unit.clone(),
        why,
        state: of("state ").collect::<Vec<_>>().join("; "),
        journal: of("journal ").map(ToOwned::to_owned).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_as_it_is() {
        let node: NodeName = "n1".parse().unwrap();
        let failed = |script| {
            let node = node.clone();
            let why = "No space left on device".to_owned();
            let status = 1;
            let error = transport::Error::Failed {
                node,
                script,
                status,
                why,
            };
            StepError::Transport(error).what_is_left()
        };
        assert_eq!(failed("begin"), "nothing was put in place there");
        for script in ["install", "transaction"] {
            assert!(failed(script).contains("none of them is in place there"));
        }
        assert_eq!(failed("record"), "what was put in place there before stays");
        let late = StepError::Split(String::new());
        assert_eq!(late.what_is_left(), "its new files stay in place there");
    }
}
