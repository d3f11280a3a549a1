//! `cargo xtask ci`: everything that must hold before a change goes in.

use std::process::ExitCode;
use std::time::Instant;

use thiserror::Error;

use crate::command::CommandError;
use crate::cross_arm;
use crate::say;
use crate::setup;
use crate::test;

/// Why it could not be told whether all of it holds.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// cargo could not be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// There is no kinstall for ARM.
    #[error(transparent)]
    Cross(#[from] Box<cross_arm::Error>),
    /// Tests could not be run.
    #[error(transparent)]
    Test(#[from] test::Error),
}

/// Tries all of it, and stops at the first that does not hold.
pub(crate) fn run() -> Result<ExitCode, Error> {
    let lint = "clippy --workspace --all-targets -- -D warnings";
    for line in ["fmt --check", lint, "doc --no-deps --workspace"] {
        let cargo = setup::cargo().args(line.split(' '));
        let cargo = cargo.env("RUSTDOCFLAGS", "-Dwarnings");
        if !timed(&format!("cargo {line}"), || cargo.attached())?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    // What it builds serves the test of ARM nodes, too.
    let cross = || cross_arm::run(&cross_arm::Arguments::default());
    let built = timed("cargo xtask cross-arm", cross).map_err(Box::new)?;
    if built != ExitCode::SUCCESS {
        return Ok(built);
    }
    // Its last line is the count of the tests: nothing is said behind that.
    say::line("ci: cargo xtask test");
    Ok(test::run(&test::Arguments::default())?)
}

/// Says what is done, and how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    say::line(format!("ci: {what}"));
    let start = Instant::now();
    let done = work();
    say::line(format!(
        "ci: {:.0} s: {what}",
        start.elapsed().as_secs_f64()
    ));
    done
}
