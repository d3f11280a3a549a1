//! What a run does to a node, one step at a time: plain data, made by [`crate::plan`], carried out
//! by [`crate::apply`].

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::inventory::NodeName;
use crate::manifest::{Entry, Kind, Probe, Registration, Stage, UnitName};
use crate::membership::Change;
use crate::remote_path::RemotePath;
use crate::snapshot::Recorded;

/// A step on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write down what is about to be put in place.
    Begin {
        /// What the node should hold at the end, and what unfinished runs before this one began to
        /// put in place: all of it is kinstall's own.
        entries: BTreeMap<RemotePath, Entry>,
    },
    /// Put entries in place, or remove them, in this order.
    Install(Vec<FileOperation>),
    /// Have systemd read unit files again, restarting nothing.
    Reload,
    /// Change the members of the etcd cluster, through this node's, and wait until those that are
    /// left are healthy.
    Member(MemberAction),
    /// Have the next start of a unit join a living etcd cluster.
    Enlist {
        /// The unit.
        unit: UnitName,
        /// All members and their addresses, the new one among them.
        initial_cluster: String,
    },
    /// Have the node put entries in place and start or restart what reads them.
    Transaction(Box<Transaction>),
    /// Stop a unit that the node should not have any more.
    Stop(UnitName),
    /// Ask a unit until it answers that it is healthy.
    Await {
        /// The unit.
        unit: UnitName,
        /// The question; none where only systemd can tell.
        probe: Option<Probe>,
        /// Whether it must stay healthy for a while before anything else is touched.
        settle: bool,
    },
    /// Ask the kube-apiserver of this node until each of these units is led, wherever.
    Lead {
        /// The port of the kube-apiserver.
        port: u16,
        /// The path of each unit's Lease.
        leases: BTreeMap<UnitName, String>,
    },
    /// Have the cluster's API hold the Node object of this node, before its kubelet starts.
    Register {
        /// What it should be.
        registration: Registration,
        /// The machine that it is, by its `/etc/machine-id`, where that is known.
        machine: Option<String>,
    },
    /// Have the Pods of this node moved to others, before anything that runs them is restarted.
    Drain {
        /// A node of the control plane, whose kubectl does it.
        through: NodeName,
        /// The port of the kube-apiserver there.
        port: u16,
        /// The Node object.
        registration: Registration,
    },
    /// Ask the cluster's API until this node is Ready, and let Pods come back that were moved away.
    Ready {
        /// The unit that keeps the Node object.
        unit: UnitName,
        /// The object.
        registration: Registration,
    },
    /// Record the generation.
    Record(Box<Recorded>),
}

/// What a node carries out by itself, whatever becomes of the connection: to its end, or, where a
/// unit does not start, back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What is to be done.
    pub forward: Steps,
    /// What takes the node back to its recorded generation; none where there is nothing to go back
    /// to, or no way.
    pub back: Option<Steps>,
}

/// Entries that are put in place, then units that are started or restarted, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// The entries.
    pub operations: Vec<FileOperation>,
    /// The units.
    pub starts: Vec<Start>,
}

/// A unit that is started or restarted until systemd calls it active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The unit.
    pub unit: UnitName,
    /// What it runs on from now on.
    pub fingerprint: String,
    /// Whether it runs now, so that this restarts it.
    pub restart: bool,
}

impl Action {
    /// Its word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Install(_) => "install",
            Self::Reload => "reload",
            Self::Member(_) => "member",
            Self::Enlist { .. } => "enlist",
            Self::Transaction(_) => "transaction",
            Self::Stop(_) => "stop",
            Self::Await { .. } => "await",
            Self::Lead { .. } => "lead",
            Self::Register { .. } => "register",
            Self::Drain { .. } => "drain",
            Self::Ready { .. } => "ready",
            Self::Record(_) => "record",
        }
    }

    /// The units that it starts or restarts.
    pub fn starts(&self) -> &[Start] {
        match self {
            Self::Transaction(transaction) => &transaction.forward.starts,
            _ => &[],
        }
    }
}

/// What is done about a member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberAction {
    /// It is taken out.
    Remove {
        /// Its number.
        id: u64,
        /// What a user knows it by.
        title: String,
        /// Members that are down and go later: they are not waited for.
        excused: BTreeSet<u64>,
    },
    /// Its peers reach it elsewhere from now on.
    Move {
        /// Its number.
        id: u64,
        /// Where.
        peer_url: String,
    },
    /// It is let in without a vote.
    Add {
        /// Its name.
        name: NodeName,
        /// Where its peers reach it.
        peer_url: String,
    },
    /// It is given its vote, as soon as it has caught up.
    Promote {
        /// Its name.
        name: NodeName,
        /// Where its peers reach it.
        peer_url: String,
    },
}

impl MemberAction {
    /// What it does about a change, as far as the one who is told is concerned.
    pub fn before(change: &Change, excused: BTreeSet<u64>) -> Option<Self> {
        match change {
            Change::Remove { id, title, .. } => Some(Self::Remove {
                id: *id,
                title: title.clone(),
                excused,
            }),
            Change::Move { id, peer_url, .. } => Some(Self::Move {
                id: *id,
                peer_url: peer_url.clone(),
            }),
            Change::Join(join) => join.add.then(|| Self::Add {
                name: join.node.clone(),
                peer_url: join.peer_url.clone(),
            }),
        }
    }
}

impl Transaction {
    /// The lines that `transaction.sh` reads.
    pub fn lines(&self) -> String {
        let back = self.back.iter().map(|steps| steps.lines("back-"));
        let courses = std::iter::once(self.forward.lines("")).chain(back);
        courses.collect::<String>() + "end\n"
    }
}

impl Steps {
    fn lines(&self, prefix: &str) -> String {
        let operations = self.operations.iter();
        let operations = operations.map(|put| format!("{prefix}install {}\n", put.line()));
        let starts = self.starts.iter().map(|start| {
            let Start {
                unit, fingerprint, ..
            } = start;
            format!("{prefix}activate {unit} {fingerprint}\n")
        });
        operations.chain(starts).collect()
    }
}

/// What happens to one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOperation {
    /// Make it what the entry says.
    Entry(RemotePath, Entry),
    /// Make the users that the file at this path declares.
    Users(RemotePath),
    /// Remove it.
    Remove(RemotePath),
    /// Forget what a unit runs on, before anything that it reads is put in place: whatever restarts
    /// it from then on, a run that does not come to an end leaves it to be restarted by the next.
    Unsettle(UnitName),
}

impl FileOperation {
    /// The path of an entry that is put in place or removed.
    pub fn path(&self) -> Option<&RemotePath> {
        match self {
            Self::Entry(path, _) | Self::Remove(path) => Some(path),
            Self::Users(_) | Self::Unsettle(_) => None,
        }
    }

    /// The line that `install.sh` reads.
    pub fn line(&self) -> String {
        match self {
            Self::Users(path) => format!("users {path}"),
            Self::Remove(path) => format!("remove {path}"),
            Self::Unsettle(unit) => format!("unsettle {unit}"),
            Self::Entry(
                path,
                Entry {
                    kind,
                    mode,
                    user,
                    group,
                    ..
                },
            ) => match kind {
                Kind::Directory => format!("directory {path} {mode} {user} {group}"),
                Kind::Link { target } => format!("link {path} {target}"),
                Kind::File { digest, .. } => {
                    let share = if shares_store(*mode) { "link" } else { "copy" };
                    format!("file {path} {mode} {user} {group} {digest} {share}")
                }
            },
        }
    }
}

/// Programs, and what nobody may write to, are linked into place from the store: they are large, and
/// nobody edits one. Anything else is copied, so that an edit by hand cannot reach the store.
fn shares_store(mode: crate::manifest::Mode) -> bool {
    mode.0 & 0o111 != 0 || mode.0 == 0o444
}

/// Steps of several nodes that may run at the same time; those of one node run in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The steps of each node.
    pub steps: BTreeMap<NodeName, Vec<Action>>,
}

/// Groups that run one after the other, under a name that a user is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// The name.
    pub name: WaveName,
    /// The groups, in order.
    pub groups: Vec<Group>,
}

/// The waves of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaveName {
    /// Users, directories, and what no running process reads.
    Base,
    /// The units of a stage; of workers, everything that they hold.
    Stage(Stage),
    /// What is no longer wanted goes; the generation is recorded.
    Record,
}

impl WaveName {
    /// The word a user is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Stage(stage) => stage.name(),
            Self::Record => "record",
        }
    }
}

/// The digests that putting these entries in place needs in the store.
pub fn contents(operations: &[FileOperation]) -> impl Iterator<Item = Digest> + '_ {
    operations.iter().filter_map(|put| match put {
        FileOperation::Entry(
            _,
            Entry {
                kind: Kind::File { digest, .. },
                ..
            },
        ) => Some(*digest),
        _ => None,
    })
}
