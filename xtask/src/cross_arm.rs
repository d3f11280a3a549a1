//! `cargo xtask cross-arm`: kinstall for Raspberry Pis, built on this machine and run on it, under
//! qemu-user.

mod target;
pub(crate) mod toolchain;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use thiserror::Error;

use crate::command::CommandError;
use crate::dist;
use crate::mirror;
use crate::nodes;
use crate::say;
use crate::setup::{self, Profile, Seat};
pub(crate) use target::{Glibc, Target};
use toolchain::Toolchain;
use trial::{Emulated, Trial};

/// The newest glibc that may be needed: that of Raspberry Pi OS bullseye.
const GLIBC_MAX: Glibc = Glibc(2, 31);

/// Build kinstall for arm64 and armhf, and run both here under qemu-user
#[derive(Args, Default)]
pub(crate) struct Arguments {
    /// Only this one
    #[arg(long)]
    target: Option<Target>,
    /// Optimised
    #[arg(long)]
    release: bool,
    /// Build the standard library from Debian's packages, as if rustup's server did not answer
    #[arg(long)]
    packaged_std: bool,
}

/// Why there is no kinstall for ARM.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The native kinstall could not be built.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// A tool could not be installed.
    #[error(transparent)]
    Nodes(#[from] nodes::Error),
    /// There is nothing to fetch.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    /// Nothing could be packed.
    #[error(transparent)]
    Dist(#[from] dist::Error),
    /// There is no standard library for the target.
    #[error(
        "no standard library for {triple}: {rustup}; and none can be built here: {packaged}; \
         help: `rustup target add {triple}` where rustup's server answers"
    )]
    NoStd {
        /// The target.
        triple: &'static str,
        /// Why rustup has none.
        rustup: String,
        /// Why Debian's packages give none.
        packaged: String,
    },
    /// What was built is not what was to be built.
    #[error("{program}: {what}")]
    Wrong {
        /// The program.
        program: String,
        /// What is wrong.
        what: String,
    },
}

/// Builds and runs both.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let targets = match arguments.target {
        Some(target) => vec![target],
        None => vec![Target::Arm64, Target::Armhf],
    };
    let profile = if arguments.release {
        Profile::Release
    } else {
        Profile::Debug
    };
    let triples: Vec<_> = targets.iter().map(|target| target.triple()).collect();
    let toolchain = Toolchain::ready(&triples, arguments.packaged_std)?;
    let seat = Seat::take("cross", 4)?;
    let trial = Trial::set(&seat)?;
    say::line(format!("cross-arm: building for {}", triples.join(", ")));
    // The stand-ins are for the tests on ARM nodes, which take them as they are.
    let built = toolchain.build(&["kinstall", "standin"], &triples, profile, "cross")?;
    say::line(format!(
        "cross-arm: built after {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    let mut emulated = Vec::new();
    for target in targets {
        let program = built.program("kinstall", target.triple());
        judge(&program, target)?;
        emulated.push(Emulated::new(program, target)?);
    }
    // Each is one thread under emulation.
    std::thread::scope(|scope| {
        let runs: Vec<_> = emulated
            .iter()
            .map(|program| scope.spawn(|| trial.run(program)))
            .collect();
        let ends = runs
            .into_iter()
            .map(|run| run.join().expect("no trial panics"));
        ends.collect::<Result<(), Error>>()
    })?;
    let mut archives = Vec::new();
    for Emulated {
        program, target, ..
    } in &emulated
    {
        archives.push(dist::pack(program, &trial.native, target.dpkg())?);
    }
    dist::sum(&archives)?;
    for archive in &archives {
        say::data(format!("cross-arm: {}", archive.display()));
    }
    trial.end()?;
    say::line(format!(
        "cross-arm: done in {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Tells a program's size and the glibc it needs, and refuses one that is too new.
fn judge(program: &Path, target: Target) -> Result<(), Error> {
    let content = fs_err::read(program)?;
    let glibc = Glibc::needed_by(&content);
    let floor = glibc.map_or_else(|| "no glibc".to_owned(), |glibc| format!("glibc {glibc}"));
    say::data(format!(
        "cross-arm: {}: {}, needs {floor} or newer",
        target.dpkg(),
        say::size(content.len() as u64)
    ));
    match glibc {
        Some(glibc) if glibc > GLIBC_MAX => Err(Error::Wrong {
            program: program.display().to_string(),
            what: format!("it needs glibc {glibc}, and may need {GLIBC_MAX} at most"),
        }),
        _ => Ok(()),
    }
}

/// Where everything is kept that is worth keeping from run to run.
fn cache(name: &str) -> PathBuf {
    nodes::cached("cross-tools").join(name)
}
