//! What can go wrong with a bed of nodes, each with what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::host::Why;
use super::name::NodeName;
use crate::command::CommandError;

/// Why something about a bed did not work.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// This machine cannot boot nodes.
    #[error("nodes cannot be booted here")]
    Impossible(#[from] Why),
    /// Programs are missing and we may not install them.
    #[error("missing here: {}; help: apt-get install {}", .commands.join(", "), .packages.join(" "))]
    Missing {
        /// What was looked for.
        commands: Vec<String>,
        /// The packages that bring it.
        packages: Vec<String>,
    },
    /// No Debian or Ubuntu mirror in the machine's apt sources.
    #[error("no http mirror for `{suite}` in /etc/apt/sources.list or /etc/apt/sources.list.d")]
    Mirror {
        /// The release asked for.
        suite: String,
    },
    /// Not a name for a bed.
    #[error("`{text}` cannot name a bed; help: at most 8 letters and digits, a letter first")]
    BedName {
        /// What was given.
        text: String,
    },
    /// Not a name of a node.
    #[error("`{text}` names no node; help: node1 to node200")]
    NodeName {
        /// What was given.
        text: String,
    },
    /// Not the first three numbers of a private network.
    #[error("`{text}` is no private /24; help: its first three numbers, like 10.78.0")]
    Subnet {
        /// What was given.
        text: String,
    },
    /// Not a rate, or not a delay.
    #[error("`{text}` is not {what}; help: like {example}")]
    Quantity {
        /// What was given.
        text: String,
        /// What it should have been.
        what: &'static str,
        /// One that would do.
        example: &'static str,
    },
    /// The subnet is in use by another link of this machine.
    #[error("{subnet}.0/24 is already on link `{link}`; help: choose another with --subnet")]
    SubnetTaken {
        /// The subnet asked for.
        subnet: String,
        /// Who has it.
        link: String,
    },
    /// The bed is up with another subnet.
    #[error("bed `{bed}` has the subnet {subnet}; help: take it down first, or leave --subnet out")]
    OtherSubnet {
        /// The bed.
        bed: String,
        /// The subnet it has.
        subnet: String,
    },
    /// No bed in that directory.
    #[error("no bed at `{}`; help: `cargo xtask nodes up 3` makes one", .state.display())]
    NoBed {
        /// The state directory that was looked at.
        state: PathBuf,
    },
    /// The bed has no such node.
    #[error("bed `{bed}` has no `{node}`")]
    NoNode {
        /// The bed.
        bed: String,
        /// The node.
        node: NodeName,
    },
    /// The node is off.
    #[error("`{node}` is off; help: `cargo xtask nodes start {node}`")]
    Off {
        /// The node.
        node: NodeName,
    },
    /// The node did not come up in time.
    #[error("`{node}` did not boot: {lacking}{console}")]
    Boot {
        /// The node.
        node: NodeName,
        /// What it still lacked, and when.
        lacking: String,
        /// The last lines of its console, on lines of their own.
        console: String,
    },
    /// The node did not die in time.
    #[error("`{node}` still has processes {limit_seconds} s after its cgroup was killed")]
    Alive {
        /// The node.
        node: NodeName,
        /// How long it had.
        limit_seconds: u64,
    },
    /// Another xtask is busy with the same thing.
    #[error("another xtask has held `{}` for {limit_seconds} s", .lock.display())]
    Busy {
        /// The lock.
        lock: PathBuf,
        /// How long we waited.
        limit_seconds: u64,
    },
    /// A program that was to be left out is not there anyway, or a node cannot be without it.
    #[error("`{name}` cannot be left out: {why}")]
    Without {
        /// The program.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// The traffic shaper did not start.
    #[error("the traffic shaper of `{node}` did not start{said}")]
    Shaper {
        /// The node.
        node: NodeName,
        /// The last lines of its log.
        said: String,
    },
    /// Something is still there after `down`.
    #[error("`down` could not remove {what}")]
    Left {
        /// What is left.
        what: String,
    },
    /// A state file of ours does not say what it should.
    #[error("`{}` cannot be understood", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}
