//! `cargo xtask nodes`: the command line over a [`Bed`].

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Instant;

use clap::{Args, Subcommand};

use super::disk::NodeOptions;
use super::error::Error;
use super::name::NodeName;
use super::shape::Shape;
use super::{Bed, DEFAULT_NAME, DEFAULT_SUBNET, STATE_VARIABLE, self_test};
use crate::say;

/// Which bed, and what to do with it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The bed's name, at most 8 letters; several can be up side by side [default: kin]
    #[arg(long, global = true)]
    name: Option<String>,
    /// The bed's /24, as its first three numbers [default: 10.78.0]
    #[arg(long, global = true)]
    subnet: Option<String>,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Install what is missing and build the base, so that `up` is quick
    Setup {
        /// Debian or Ubuntu release, by its codename [default: this machine's own]
        #[arg(long)]
        suite: Option<String>,
    },
    /// Boot node1 to nodeN, or one node; those that are up stay as they are
    Up {
        /// How many nodes the bed is to have; or one of them, as `node7`
        which: Which,
        #[command(flatten)]
        options: NodeOptions,
    },
    /// Switch all off and remove everything but the cache
    Down,
    /// One line a node: address, state, shape, cable, what is special
    Status,
    /// Slow down a node's cable, each way: `netem node1 100mbit 5ms`, `netem all off`
    Netem {
        /// A node, or `all`
        node: String,
        /// Bits a second, such as 100mbit; or `off`
        rate: String,
        /// From one end to the other, such as 5ms
        #[arg(default_value = "0")]
        delay: String,
    },
    /// Cut a node's cable
    Cut { node: NodeName },
    /// Mend a node's cable
    Heal { node: NodeName },
    /// Switch a node off as a power loss does; its disk is kept
    Kill { node: NodeName },
    /// Switch a node on
    Start { node: NodeName },
    /// Wipe a node's disk and boot it again
    Reset { node: NodeName },
    /// Give a node another ssh host key, which nobody knows
    Rekey { node: NodeName },
    /// Run a command in a node as root, without ssh
    Exec {
        /// How long it may take, in seconds
        #[arg(long, default_value_t = 600)]
        limit: u64,
        node: NodeName,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Open a shell on a node over ssh; a bed that is not up is booted, with three nodes
    Shell { node: NodeName },
    /// Print a node's console
    Log { node: NodeName },
    /// Print the ssh configuration that reaches the nodes
    SshConfig,
    /// Tell whether nodes can be booted on this machine, changing nothing
    Possible,
    /// Prove, on a bed of its own, what the nodes promise
    SelfTest,
}

/// Does what the arguments ask.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.act {
        Act::Possible => possible(),
        Act::SelfTest => self_test::run(arguments.name.as_deref(), arguments.subnet.as_deref()),
        act => act_on(
            &bed(arguments.name.as_deref(), arguments.subnet.as_deref())?,
            act,
        ),
    }
}

fn possible() -> Result<ExitCode, Error> {
    Bed::possible()?;
    say::line("nodes: they can be booted here");
    Ok(ExitCode::SUCCESS)
}

/// The bed that is meant: the one named; else the one whose state directory the environment
/// names; else the default one.
fn bed(name: Option<&str>, subnet: Option<&str>) -> Result<Bed, Error> {
    let state = std::env::var_os(STATE_VARIABLE).filter(|_| name.is_none());
    match state {
        Some(state) => Bed::open(&PathBuf::from(state)),
        None => Bed::named(name.unwrap_or(DEFAULT_NAME), subnet, DEFAULT_SUBNET),
    }
}

fn act_on(bed: &Bed, act: Act) -> Result<ExitCode, Error> {
    match act {
        Act::Setup { suite } => bed.setup(suite.as_deref())?,
        Act::Up { which, options } => up(bed, which, &options)?,
        Act::Down => bed.down()?,
        Act::Status => status(bed)?,
        Act::Netem { node, rate, delay } => netem(bed, &node, &rate, &delay)?,
        Act::Cut { node } => bed.cut(node)?,
        Act::Heal { node } => bed.heal(node)?,
        Act::Kill { node } => bed.power_off(node)?,
        Act::Start { node } => bed.power_on(node)?,
        Act::Reset { node } => bed.reset(node)?,
        Act::Rekey { node } => bed.rekey(node)?,
        Act::Exec {
            limit,
            node,
            command,
        } => return exec(bed, node, &command, limit),
        Act::Shell { node } => shell(bed, node)?,
        Act::Log { node } => say::data(bed.console(node)?.trim_end()),
        Act::SshConfig => say::data(fs_err::read_to_string(bed.ssh_config()?)?.trim_end()),
        // Handled before there was a bed.
        Act::Possible | Act::SelfTest => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Which nodes are to be up.
#[derive(Clone, Copy)]
enum Which {
    First(u8),
    One(NodeName),
}

impl FromStr for Which {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse() {
            Ok(count) => Ok(Self::First(count)),
            Err(_) => text.parse().map(Self::One),
        }
    }
}

fn up(bed: &Bed, which: Which, options: &NodeOptions) -> Result<(), Error> {
    let start = Instant::now();
    let (what, first) = match which {
        Which::First(count) => {
            bed.up(count, options)?;
            (count.to_string(), "node1".to_owned())
        }
        Which::One(node) => {
            bed.up_these(&[node], options)?;
            (node.to_string(), node.to_string())
        }
    };
    say::line(format!(
        "nodes: {what} up in {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    say::line(format!(
        "nodes: ssh -F {} {first}",
        bed.ssh_config()?.display()
    ));
    for (name, value) in bed.environment()? {
        say::line(format!("nodes: export {name}={}", value.display()));
    }
    Ok(())
}

/// Becomes ssh: a terminal is handed over as it is.
fn shell(bed: &Bed, node: NodeName) -> Result<(), Error> {
    if bed.nodes()?.is_empty() {
        up(bed, Which::First(3), &NodeOptions::default())?;
    }
    let config = bed.ssh_config()?;
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(config).arg(node.to_string());
    Err(ssh.exec().into())
}

fn status(bed: &Bed) -> Result<(), Error> {
    for node in bed.nodes()? {
        say::data(bed.status(node)?.to_string());
    }
    Ok(())
}

fn netem(bed: &Bed, node: &str, rate: &str, delay: &str) -> Result<(), Error> {
    let nodes = if node == "all" {
        bed.nodes()?
    } else {
        vec![node.parse()?]
    };
    let shape = if rate == "off" {
        None
    } else {
        Some(Shape::new(rate, delay)?)
    };
    nodes
        .into_iter()
        .try_for_each(|node| bed.shape(node, shape))
}

fn exec(bed: &Bed, node: NodeName, command: &[String], limit: u64) -> Result<ExitCode, Error> {
    let code = bed.attach(node, command, limit)?.code();
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}
