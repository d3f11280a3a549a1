//! `cargo xtask bench`: how long a push takes beside other ways to bring the same files.
//!
//! All bring the same six programs to the same three nodes, in turns, in one run: what is compared
//! are ratios, so that it matters little how fast or busy this machine is. kinstall does more than
//! the others: it starts a control plane and waits until that is healthy. So two times of its first
//! push are told: until every node holds every byte, checked, and until all is done.

mod fetch;
mod method;
mod payload;
mod scale;
mod table;

use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use thiserror::Error;

use crate::command::CommandError;
use crate::demo::site::{Purpose, Site, Source};
use crate::mirror::{self, Mirror, Version, Wish, server::Server};
use crate::nodes::{self, Bed, NodeOptions, Shape, Tool};
use crate::say;
use crate::setup::{self, Afterwards, Lab, Profile, Seat};
use method::{Crew, Method};
use payload::Payload;
use table::{Link, Table};

/// The third number of the subnets of our beds.
const SUBNET: u8 = 14;
/// How many nodes are brought the files at the same time.
const NODES: u8 = 3;
/// The slow link, as the rate and the delay each way.
const SLOW: (&str, &str) = ("100mbit", "5ms");
/// The most memory that kinstall may hold, whatever it does.
const MEMORY_MIB_MAX: u64 = 64;
/// What the others take that may not be here.
const TOOLS: &[Tool] = &[
    Tool {
        command: "rsync",
        package: "rsync",
    },
    Tool {
        command: "zstd",
        package: "zstd",
    },
    Tool {
        command: "scp",
        package: "openssh-client",
    },
];

/// Measure kinstall beside other tools
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// A first push of 360 MB to three nodes, and one that has nothing to do
    Push(Push),
    /// A fetch of four files, near and far, and the memory it takes
    Fetch {
        /// How often each is measured; the median counts
        #[arg(short = 'n', long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
        repeats: u8,
        /// The size of each file in MB
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
        megabytes: u32,
    },
    /// What check, render and plan take of a processor for clusters of many nodes
    Scale {
        /// How many nodes
        #[arg(value_name = "NODES", default_values_t = [10, 100, 1000], value_parser = clap::value_parser!(u16).range(1..=10_000))]
        sizes: Vec<u16>,
    },
}

#[derive(Args)]
struct Push {
    /// How often each is measured; the median counts
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    repeats: u8,
    /// A directory laid out as dl.k8s.io is, with genuine Kubernetes servers
    #[arg(long, value_name = "DIR")]
    mirror: Option<PathBuf>,
    /// The Kubernetes to push, like 1.36.3
    #[arg(long, value_name = "VERSION")]
    kubernetes: Option<Version>,
}

/// Why nothing was measured.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Nothing could be built, or no bed be had.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// The nodes do not do what they should.
    #[error(transparent)]
    Nodes(#[from] nodes::Error),
    /// There is nothing to push.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    /// There is no inventory.
    #[error(transparent)]
    Site(#[from] crate::demo::Error),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// This machine has too few programs to make a payload of.
    #[error("this machine has {found_mb} MB of programs, too few for {needed_mb} MB of payload")]
    Little {
        /// Megabytes found.
        found_mb: u64,
        /// Megabytes needed.
        needed_mb: u64,
    },
    /// A tool did not bring what it should.
    #[error("{method}: {what}")]
    Wrong {
        /// The tool.
        method: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// Measures.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.what {
        What::Push(arguments) => push(arguments),
        What::Fetch { repeats, megabytes } => {
            fetch::run(*repeats, *megabytes)?;
            Ok(ExitCode::SUCCESS)
        }
        What::Scale { sizes } => {
            scale::run(sizes)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn push(arguments: &Push) -> Result<ExitCode, Error> {
    let Push {
        repeats,
        mirror,
        kubernetes,
    } = arguments;
    Bed::possible().map_err(nodes::Error::from)?;
    nodes::require(TOOLS)?;
    let seat = Seat::take("bench", SUBNET)?;
    say::line("bench: building kinstall to be measured");
    let kinstall = setup::build("kinstall", Profile::Release)?;
    let padding = match mirror {
        Some(_) => std::collections::BTreeMap::new(),
        None => payload::padding(&nodes::cached(&format!("{}-padding", seat.name)))?,
    };
    let mirror = Mirror::make(&Wish {
        purpose: seat.name.clone(),
        from: mirror.clone(),
        kubernetes: *kubernetes,
        stand_ins: setup::stand_ins()?,
        padding,
    })?;
    say::line(format!("bench: {mirror}"));
    let payload = Payload::of(&mirror, &nodes::cached(&format!("{}-payload", seat.name)))?;
    let server = Server::start(&mirror.directory)?;
    let source = Source::Mirror { mirror, server };
    let lab = Lab::open(&seat, NODES, &NodeOptions::default(), Afterwards::Down)?;
    let site = Site::lay_out(
        &kinstall,
        &seat.name,
        &source,
        Purpose::ControlPlane,
        &lab.bed,
    )?;
    let crew = Crew {
        bed: &lab.bed,
        site: &site,
        payload: &payload,
        peak_kib: Cell::new(0),
    };
    // Downloads and compresses everything, once for all that follows.
    say::line("bench: a first push that is not timed, to fill kinstall's cache");
    crew.watch(|_| ())?;
    let table = measure(&crew, *repeats)?;
    say::data(table.text(payload.bytes(), NODES));
    let mib = crew.peak_kib.get() / 1024;
    let word = if mib <= MEMORY_MIB_MAX {
        "kept"
    } else {
        "NOT KEPT"
    };
    say::data(format!(
        "memory of kinstall in any of these: {mib} MiB (at most {MEMORY_MIB_MAX}: {word})"
    ));
    // A machine that has much else to do makes everything slower that computes, and so the ratios
    // worse for whoever compresses or checks.
    let load = fs_err::read_to_string("/proc/loadavg")?;
    let cores = std::thread::available_parallelism()?;
    say::data(format!(
        "load of this machine over the last 1, 5 and 15 minutes: {}; it has {cores} cores",
        load.split(' ').take(3).collect::<Vec<_>>().join(", ")
    ));
    lab.close()?;
    site.remove()?;
    payload.remove()?;
    Ok(ExitCode::SUCCESS)
}

/// Everything in turns, so that what slows this machine down slows all of them down.
fn measure(crew: &Crew<'_>, repeats: u8) -> Result<Table, Error> {
    let mut table = Table::default();
    let slow = Shape::new(SLOW.0, SLOW.1)?;
    for (link, shape) in [(Link::Free, None), (Link::Slow, Some(slow))] {
        for turn in 1..=repeats {
            for method in Method::here() {
                say::line(format!("bench: {link}, {turn} of {repeats}: {method}"));
                crew.clear(method)?;
                crew.shape(shape)?;
                let first = crew.first(method)?;
                for (phase, seconds) in first {
                    table.add(link, phase, method, seconds);
                }
                if let Some(seconds) = crew.again(method)? {
                    table.add(link, table::Phase::Again, method, seconds);
                }
                crew.shape(None)?;
                crew.check(method)?;
            }
        }
    }
    Ok(table)
}

/// The most memory that a process has held so far, in KiB, as the kernel remembers it (proc(5)).
fn held_kib(process: u32) -> u64 {
    let told = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    // One that ends just now has no memory any more.
    kib.unwrap_or(0)
}
