//! What came of the tests, read from what cargo and libtest print.

use std::process::ExitCode;

use crate::say;

/// What a test says that would take nodes and has none; its name and the reason follow.
pub(super) const NOT_RUN: &str = "NOT RUN: ";
/// What a test says that has waited for nodes; its name and the time follow.
const WAITED: &str = "WAITED: ";
/// How many of the slowest tests are named.
const SLOWEST: usize = 15;

/// How many tests came to which end, and how long each took.
#[derive(Default)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    pub(super) not_run: Vec<String>,
    /// Milliseconds, and the test.
    times: Vec<(u64, String)>,
    /// How many milliseconds of those a test waited for nodes, and its name without the module.
    waits: Vec<(u64, String)>,
}

impl Tally {
    /// Takes in a line of cargo's, such as
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; ...`, or one of
    /// libtest's, such as `test push::nothing_to_do ... ok <1.204s>`.
    pub(super) fn hear(&mut self, line: &str) {
        if let Some(test) = line.strip_prefix(NOT_RUN) {
            self.not_run.push(test.to_owned());
        }
        self.times.extend(time(line));
        self.waits.extend(wait(line));
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let count = |word: &str| {
            let part = counts.split("; ").find(|part| part.ends_with(word));
            let number = part.and_then(|part| part.split(' ').rev().nth(1)?.parse().ok());
            number.unwrap_or(0_u64)
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
        self.skipped += count(" ignored");
    }

    /// Names the tests that were not run.
    pub(super) fn tell_not_run(&self) {
        let not_run = self.not_run.iter();
        not_run.for_each(|test| say::data(format!("{NOT_RUN}{test}")));
    }

    /// The last lines of a run, the count last, and how it ends.
    pub(super) fn close(&self, good: bool) -> ExitCode {
        for line in self.slowest() {
            say::data(line);
        }
        say::data(self.line());
        if good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// How long each test took once it had its nodes, in milliseconds, the slowest first.
    fn times(&self) -> Vec<(u64, &String)> {
        let waited = |test: &str| -> u64 {
            let name = test.rsplit("::").next();
            let waits = self.waits.iter();
            let waits = waits.filter(|(_, it)| Some(it.as_str()) == name);
            waits.map(|(millis, _)| millis).sum()
        };
        let times = self.times.iter();
        let times = times.map(|(millis, test)| (millis.saturating_sub(waited(test)), test));
        let mut times: Vec<(u64, &String)> = times.collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times
    }

    /// The same as lines of a file.
    pub(super) fn times_file(&self) -> String {
        let times = self.times().into_iter();
        times.fold(String::new(), |text, (millis, test)| {
            text + &format!("{millis} {test}\n")
        })
    }

    /// The slowest tests, if any took a second.
    fn slowest(&self) -> Vec<String> {
        let slow = self
            .times()
            .into_iter()
            .filter(|(millis, _)| *millis >= 1000);
        let lines = slow.take(SLOWEST).map(|(millis, test)| {
            let tenths = millis / 100;
            format!("test: {:>5}.{} s {test}", tenths / 10, tenths % 10)
        });
        lines.collect()
    }

    /// In one line. What was not run is counted as passed by cargo.
    fn line(&self) -> String {
        let not_run = self.not_run.len() as u64;
        let (passed, skipped) = (self.passed.saturating_sub(not_run), self.skipped + not_run);
        format!(
            "test: {passed} passed, {} failed, {skipped} skipped",
            self.failed
        )
    }
}

/// How many milliseconds a test took, and its name.
fn time(line: &str) -> Option<(u64, String)> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let (_, time) = rest.strip_suffix("s>")?.split_once('<')?;
    let (seconds, millis) = time.split_once('.')?;
    let (seconds, millis): (u64, u64) = (seconds.parse().ok()?, millis.parse().ok()?);
    Some((seconds * 1000 + millis, test.to_owned()))
}

/// How many milliseconds a test waited for nodes, and its name without the module.
fn wait(line: &str) -> Option<(u64, String)> {
    let (test, time) = line.strip_prefix(WAITED)?.rsplit_once(": ")?;
    let millis = time.strip_suffix(" ms")?.parse().ok()?;
    Some((millis, test.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.hear(line);
        }
        tally
    }

    #[test]
    fn results_of_every_binary_are_added_up() {
        let tally = heard(&[
            "test push ... ok",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 4.00s",
            "test result: FAILED. 30 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
            "NOT RUN: push: no nodes",
        ]);
        assert_eq!(tally.line(), "test: 34 passed, 2 failed, 2 skipped");
    }

    #[test]
    fn the_slowest_tests_come_first() {
        let tally = heard(&[
            "test push::quick ... ok <0.004s>",
            "test push::slow ... ok <61.204s>",
            "test push::slower ... FAILED <120.050s>",
            "test push::ignored ... ignored",
            "test push::waited ... ok <63.000s>",
            "WAITED: waited: 60000 ms",
        ]);
        assert_eq!(
            tally.slowest(),
            [
                "test:   120.0 s push::slower",
                "test:    61.2 s push::slow",
                "test:     3.0 s push::waited",
            ]
        );
    }
}
