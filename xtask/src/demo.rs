//! `cargo xtask demo`: three real nodes on this machine, what kinstall makes of them, and whether it works.

mod cluster;
mod pods;
pub(crate) mod site;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use thiserror::Error;

use crate::command::{CommandError, Program};
use crate::genuine;
use crate::mirror::{self, Mirror, Servers, Version, server::Server};
use crate::nodes::{self, Bed, NodeOptions, Why};
use crate::say;
use crate::setup::{self, Afterwards, Lab, Profile, Seat};
use site::{Purpose, Site, Source};

/// The third number of the subnets of our beds.
const SUBNET: u8 = 2;
/// How many nodes a cluster needs so that one may fail.
const NODES: u8 = 3;

/// Show what kinstall does on three real nodes: push, nothing to do, status, verify
#[derive(Args)]
pub(crate) struct Arguments {
    /// A directory laid out as dl.k8s.io is, with genuine Kubernetes servers
    #[arg(long, value_name = "DIR")]
    mirror: Option<PathBuf>,
    /// The Kubernetes to install, like 1.36.3
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<Version>,
    /// Leave the nodes up at the end
    #[arg(long)]
    keep: bool,
}

/// Why there was nothing to show.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The nodes could not be had.
    #[error(transparent)]
    Nodes(#[from] nodes::Error),
    /// Nothing could be built or cleaned up.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// There is nothing to install.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// kinstall ended otherwise than expected; it has said why.
    #[error("`{line}` ended with {found} instead of exit code {expected}")]
    Kinstall {
        /// The command line.
        line: String,
        /// How it ended.
        found: String,
        /// How it should have.
        expected: i32,
    },
    /// The cluster does not do what one should.
    #[error("{what}: {found}")]
    Wrong {
        /// What was asked.
        what: String,
        /// What was found.
        found: String,
    },
}

/// Shows it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let start = Instant::now();
    say::line("demo: building kinstall");
    let kinstall = setup::build("kinstall", Profile::Debug)?;
    let seat = Seat::take("demo", SUBNET)?;
    let source = source(&seat, arguments)?;
    say::line(format!("demo: {source}"));
    match Bed::possible() {
        Ok(()) => on_nodes(&kinstall, &seat, &source, arguments)?,
        Err(why) => into_directories(&kinstall, &seat, &source, &why)?,
    }
    let seconds = start.elapsed().as_secs_f64();
    say::line(format!("\ndemo: done in {seconds:.0} s, with {source}"));
    Ok(ExitCode::SUCCESS)
}

/// Where kinstall downloads from: the user's mirror, upstream, servers built from Debian's source, or
/// stand-ins.
fn source(seat: &Seat, arguments: &Arguments) -> Result<Source, Error> {
    if arguments.mirror.is_none() && mirror::upstream_answers() {
        let kubernetes = arguments.kubernetes.unwrap_or(mirror::KUBERNETES);
        return Ok(Source::Upstream { kubernetes });
    }
    let (mut from, mut kubernetes) = (arguments.mirror.clone(), arguments.kubernetes);
    if from.is_none() {
        from = built(kubernetes);
        kubernetes = kubernetes.or(from.as_ref().map(|_| genuine::KUBERNETES));
    }
    let mirror = Mirror::make(&mirror::Wish {
        purpose: seat.name.clone(),
        from,
        kubernetes,
        stand_ins: setup::stand_ins()?,
        padding: std::collections::BTreeMap::new(),
    })?;
    let server = Server::start(&mirror.directory)?;
    Ok(Source::Mirror { mirror, server })
}

/// Servers built from Debian's source, if that is possible and they are of the version asked for.
fn built(kubernetes: Option<Version>) -> Option<PathBuf> {
    if let Some(other) = kubernetes.filter(|it| !genuine::VERSIONS.contains(it)) {
        say::line(format!(
            "demo: dl.k8s.io does not answer, and Debian has no source of {other}; taking stand-ins"
        ));
        return None;
    }
    say::line("demo: dl.k8s.io does not answer; taking servers built from Debian's source");
    match genuine::ready() {
        Ok(mirror) => Some(mirror),
        Err(error) => {
            say::error(&error);
            say::line("demo: taking stand-ins instead");
            None
        }
    }
}

fn on_nodes(
    kinstall: &Path,
    seat: &Seat,
    source: &Source,
    arguments: &Arguments,
) -> Result<(), Error> {
    let afterwards = if arguments.keep {
        Afterwards::Keep
    } else {
        Afterwards::Down
    };
    say::line(format!(
        "demo: booting {NODES} nodes, {}.11 and up",
        seat.subnet
    ));
    let lab = Lab::open(seat, NODES, &NodeOptions::default(), afterwards)?;
    let site = Site::lay_out(kinstall, &seat.name, source, Purpose::Pods, &lab.bed)?;
    story(&site, source, &lab.bed)?;
    if arguments.keep {
        say::line(format!(
            "\ndemo: the nodes stay up until `cargo xtask nodes --name {} down`\n  \
             ssh -F {} node1\n  inventory: {}",
            seat.name,
            lab.bed.ssh_config()?.display(),
            site.inventory().display()
        ));
    } else {
        lab.close()?;
        site.remove()?;
    }
    Ok(())
}

/// What is shown.
fn story(site: &Site, source: &Source, bed: &Bed) -> Result<(), Error> {
    say::line("\n# the inventory\n");
    say::line(fs_err::read_to_string(site.inventory())?.trim_end());
    say::line("\n# a first push: three empty nodes become a cluster");
    site.kinstall(&["push"], 0)?;
    say::line("\n# a second push: there is nothing to do");
    site.kinstall(&["push"], 0)?;
    say::line("\n# what runs where");
    site.kinstall(&["status"], 0)?;
    if source.is_genuine() {
        say::line("\n# that it is one cluster");
        let cluster = cluster::prove(site, bed)?;
        pods::show(site, source, bed, &cluster)?;
    } else {
        say::line(
            "\n# stand-ins hold no cluster and run no Pods, so there is nothing to ask kubectl, and \
             nothing for `kinstall verify`: give genuine servers with --mirror DIR",
        );
    }
    Ok(())
}

/// Without nodes: what push would put on them.
fn into_directories(kinstall: &Path, seat: &Seat, source: &Source, why: &Why) -> Result<(), Error> {
    say::line(format!("demo: no nodes can be booted here: {why}"));
    say::line("demo: so this is what push puts on each of three nodes, in a directory each");
    let site = Site::without_nodes(kinstall, &seat.name, source, &seat.subnet)?;
    site.kinstall(&["push", "--into", "nodes"], 0)?;
    let list = Program::new("find").args([".", "-printf", "%M %10s %P -> %l\\n"]);
    let tree = list.directory(site.directory().join("nodes")).text()?;
    let mut lines: Vec<&str> = tree.lines().collect();
    lines.sort_by_key(|line| line.split_whitespace().nth(2));
    for line in lines {
        say::data(line.trim_end_matches(" -> "));
    }
    Ok(site.remove()?)
}

impl Source {
    fn is_genuine(&self) -> bool {
        match self {
            Self::Upstream { .. } => true,
            Self::Mirror { mirror, .. } => mirror.servers != Servers::StandIns,
        }
    }
}
