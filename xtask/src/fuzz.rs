//! `cargo xtask fuzz`: the readers of archives, of bundles and of what nodes answer, tried on bytes hurt at
//! random.
//!
//! The same cases as in `cargo xtask test`, and many more of them.

use std::process::ExitCode;

use clap::Args;
use thiserror::Error;

use crate::command::CommandError;
use crate::say;
use crate::setup;

/// The variable that sets how many cases each test tries; see `src/fuzz.rs`.
const RUNS_VARIABLE: &str = "KINSTALL_FUZZ_RUNS";
/// The name that all such tests have.
const TESTS: &str = "is_too_hostile";
/// How long all of them may take, in seconds.
const LIMIT_SECONDS: u64 = 7200;

/// Try the readers of archives, bundles and answers of nodes on bytes hurt at random
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many cases each reader is tried on
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
}

/// Why nothing could be tried.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// cargo could not be run.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// Tries them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let runs = arguments.runs;
    say::line(format!("fuzz: {runs} cases of each kind"));
    let cargo = setup::cargo()
        .args(setup::OPTIMISED)
        .args(["test", "--package", "kinstall", "--lib", TESTS])
        .args(["--", "--nocapture"])
        .env(RUNS_VARIABLE, runs.to_string())
        .limit_seconds(LIMIT_SECONDS);
    let status = cargo.lines(|line| say::data(line))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
