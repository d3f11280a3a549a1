//! The project's chores, run as `cargo xtask CHORE`: one file a chore, one line here.

mod bench;
mod checksums;
mod ci;
mod command;
mod cross_arm;
mod debian;
mod demo;
mod dist;
mod flag_table;
mod fuzz;
mod genuine;
mod mirror;
mod nodes;
mod numbers;
mod say;
mod setup;
mod test;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

fn main() -> ExitCode {
    match Arguments::parse().chore.run() {
        Ok(code) => code,
        Err(error) => {
            say::error(&*error);
            ExitCode::FAILURE
        }
    }
}

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Real nodes on this machine: systemd as PID 1, sshd, an address each
    Nodes(nodes::cli::Arguments),
    Demo(demo::Arguments),
    Test(test::Arguments),
    /// Everything that must hold before a change goes in: format, lints, documents, ARM, tests
    Ci,
    /// Builds genuine Kubernetes servers from Debian's source, once a machine, and prints the directory of
    /// their mirror
    Genuine,
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
    CrossArm(cross_arm::Arguments),
    Dist(dist::Arguments),
    /// Prints the lines of each room, the longest files, circles of imports, and the times of tests
    Numbers,
    /// Adds digests of releases to `src/artifact/SHA256SUMS`
    Checksums(checksums::Arguments),
    /// Makes the flag tables in `src/flags/` from a directory of collected facts
    FlagTable {
        /// The directory
        data: PathBuf,
    },
}

impl Chore {
    fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self {
            Self::Nodes(arguments) => Ok(nodes::cli::run(arguments)?),
            Self::Demo(arguments) => Ok(demo::run(&arguments)?),
            Self::Test(arguments) => Ok(test::run(&arguments)?),
            Self::Ci => Ok(ci::run()?),
            Self::Genuine => {
                say::data(genuine::ready()?.display().to_string());
                Ok(ExitCode::SUCCESS)
            }
            Self::Bench(arguments) => Ok(bench::run(&arguments)?),
            Self::Fuzz(arguments) => Ok(fuzz::run(&arguments)?),
            Self::CrossArm(arguments) => Ok(cross_arm::run(&arguments)?),
            Self::Dist(arguments) => Ok(dist::run(&arguments)?),
            Self::Numbers => {
                numbers::run()?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Checksums(arguments) => Ok(checksums::run(&arguments)?),
            Self::FlagTable { data } => {
                flag_table::run(&data)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
