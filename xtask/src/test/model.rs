//! The model of rollouts, at so many cases that it takes minutes: it runs beside the other tests.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use super::tally::Tally;
use super::{Arguments, Error, TEST_SECONDS, is_named};
use crate::command::{CommandError, Program};
use crate::say;
use crate::setup;

/// The test that is a model of rollouts.
const MODEL_TEST: &str =
    "plan::model::whatever_happened_before_a_push_converges_and_breaks_no_rule";
/// The variable that says how many cases it tries.
const MODEL_VARIABLE: &str = "KINSTALL_MODEL_CASES";
const MODEL_CASES: &str = "100000";

/// The program in a line of cargo's: `Executable unittests src/lib.rs (target/debug/deps/kinstall-...)`.
fn executable(line: &str) -> Option<PathBuf> {
    let (_, path) = line.trim().strip_prefix("Executable ")?.split_once('(')?;
    Some(setup::workspace().join(path.strip_suffix(')')?))
}

/// The model of rollouts at so many cases that it must be optimised. It takes what the tests on nodes
/// leave of the machine while they wait; its lines follow theirs.
pub(super) struct Model {
    begun: Instant,
    run: JoinHandle<Result<(bool, Vec<String>), CommandError>>,
}

impl Model {
    /// Builds it and has it run; none where a filter asks for other tests.
    pub(super) fn start(arguments: &Arguments) -> Result<Option<Self>, Error> {
        if arguments.crash_matrix || !is_named(MODEL_TEST, &arguments.filter) {
            return Ok(None);
        }
        let begun = Instant::now();
        let cargo = setup::cargo().args(setup::OPTIMISED);
        let build = ["test", "--package", "kinstall", "--lib", "--no-run"];
        let mut program = None;
        let status = cargo.args(build).lines(|line| {
            program = program.take().or_else(|| executable(line));
            say::data(line);
        })?;
        let Some(program) = program.filter(|_| status.success()) else {
            let line = format!("cargo {}", build.join(" "));
            return Err(setup::Error::Build { line }.into());
        };
        let model = Program::new(program)
            .args([MODEL_TEST, "--show-output"])
            .env(MODEL_VARIABLE, MODEL_CASES)
            .directory(setup::workspace())
            .at_lowest_priority()
            .limit_seconds(TEST_SECONDS);
        let run = move || {
            let mut lines = Vec::new();
            let status = model.lines(|line| lines.push(line.to_owned()))?;
            Ok((status.success(), lines))
        };
        Ok(Some(Self {
            begun,
            run: std::thread::spawn(run),
        }))
    }

    /// Tells what it said; whether all went well.
    pub(super) fn end(self, tally: &mut Tally) -> Result<bool, Error> {
        let (good, lines) = self.run.join().expect("it does not panic")?;
        for line in &lines {
            tally.hear(line);
            say::data(line);
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        say::line(format!(
            "test: {seconds:.0} s beside the others: {MODEL_CASES} cases of {MODEL_TEST}"
        ));
        Ok(good)
    }
}
