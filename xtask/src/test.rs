//! `cargo xtask test`: every test of the workspace, with real nodes where they can be booted.
//!
//! Some tests of `tests/` take machines. They are handed a bed by the environment
//! ([`nodes::PROGRAM_VARIABLE`], [`nodes::STATE_VARIABLE`]), and a mirror to install from
//! ([`MIRROR_VARIABLE`]). Without a bed they do nothing and say so in a line that begins with
//! [`tally::NOT_RUN`]; all other tests need nothing that cargo does not build.

mod arm;
mod changed;
mod model;
mod tally;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use thiserror::Error;

use crate::command::{CommandError, Program};
use crate::genuine;
use crate::mirror::{self, Mirror, Wish};
use crate::nodes::{self, Bed, NodeOptions, Tool, Why};
use crate::say;
use crate::setup::{self, Afterwards, Lab, Seat};
use model::Model;
use tally::Tally;

/// The third number of the subnets of our beds.
const SUBNET: u8 = 3;
/// How many nodes the tests share.
const NODES: u8 = 3;
/// Every test there is, in seconds.
const TEST_SECONDS: u64 = 4500;
/// Every point of the crash matrix on a busy machine, in seconds.
const MATRIX_SECONDS: u64 = 8 * 3600;

/// The variable that says how many tests run at a time (libtest).
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";
/// The variable with the directory of a mirror of genuine etcd and kubectl, and of stand-ins.
const MIRROR_VARIABLE: &str = "KINSTALL_MIRROR";
/// The variable with the program that makes more stand-ins.
const STANDIN_VARIABLE: &str = "KINSTALL_STANDIN";
/// The variable with the directory of a mirror of genuine kubectls of several lines.
const KUBECTLS_VARIABLE: &str = "KINSTALL_KUBECTLS";
/// The variable with the directory of a mirror of genuine etcds of two lines.
const ETCDS_VARIABLE: &str = "KINSTALL_ETCDS";
/// The variable with a genuine server of Vault's API.
const OPENBAO_VARIABLE: &str = "KINSTALL_OPENBAO";
/// The variable that says how many chains of certificates are judged beside Go.
const CHAINS_VARIABLE: &str = "KINSTALL_GO_CASES";
const CHAINS: &str = "20000";

/// How many beds the tests share where memory allows it, and how much must be free for that.
const BEDS: u8 = 2;
const BEDS_GIB: u64 = 6;

/// What has libtest tell how long each test took. It does so only where unstable options are allowed,
/// which those programs alone are told: cargo would build everything again.
const TIMED: [&str; 2] = [
    "--config",
    "target.'cfg(all())'.runner=['env', 'RUSTC_BOOTSTRAP=1']",
];
const TELL_TIMES: [&str; 3] = ["-Z", "unstable-options", "--report-time"];

/// Set up and run every test
#[derive(Args, Default)]
pub(crate) struct Arguments {
    /// Only the tests with one of these in their names
    filter: Vec<String>,
    /// Only the tests of what differs from a commit, those without nodes: a minute or two
    #[arg(long, value_name = "COMMIT", num_args = 0..=1, default_missing_value = "HEAD",
          require_equals = true, conflicts_with_all = ["filter", "crash_matrix"])]
    changed: Option<String>,
    /// A directory laid out as dl.k8s.io is, with genuine Kubernetes servers, instead of those that
    /// are built from Debian's source
    #[arg(long, value_name = "DIR")]
    mirror: Option<PathBuf>,
    /// How many beds of three nodes the tests share: that many tests on nodes run at a time. Two
    /// where memory allows it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    beds: Option<u8>,
    /// The Debian or Ubuntu release of the nodes, by its codename [default: this machine's own]
    #[arg(long, value_name = "CODENAME", conflicts_with = "changed")]
    suite: Option<String>,
    /// Only the crash matrix, at every point: an hour or so on an idle machine
    #[arg(long, conflicts_with = "filter")]
    crash_matrix: bool,
}

/// The test that is a crash matrix.
const CRASH_TEST: &str = "crash_matrix";
/// The variable that has it try every point.
const CRASH_VARIABLE: &str = "KINSTALL_CRASH_MATRIX";

/// Why tests could not be run, or failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Nothing could be built, or no bed be had.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// There is no mirror.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    /// The nodes are not as they should be.
    #[error(transparent)]
    Nodes(#[from] nodes::Error),
    /// cargo could not be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The user's mirror is not there.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// Runs them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    if let Some(commit) = &arguments.changed {
        return run_changed(commit);
    }
    let possible = Bed::possible();
    let start = Instant::now();
    let stage = match possible {
        Ok(()) => Some(Stage::set(arguments)?),
        Err(_) => None,
    };
    say::line(format!(
        "test: set up in {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    let environment = stage.as_ref().map(|stage| &stage.environment);
    let mut tally = Tally::default();
    let model = Model::start(arguments)?;
    let results =
        [DOCTESTS, OTHERS, OWN].map(|suite| run_suite(suite, arguments, environment, &mut tally));
    for lab in stage.into_iter().flat_map(|stage| stage.labs) {
        lab.close()?;
    }
    let mut good = model.map_or(Ok(true), |model| model.end(&mut tally))?;
    for result in results {
        good &= result?;
    }
    if let Err(why) = &possible {
        good &= may_do_without(why, &tally.not_run);
    }
    if possible.is_ok() {
        tally.tell_not_run();
        if arguments.filter.is_empty() {
            fs_err::write(setup::test_times(), tally.times_file())?;
        }
    }
    Ok(tally.close(good))
}

/// Runs the tests of what differs from a commit.
fn run_changed(commit: &str) -> Result<ExitCode, Error> {
    let filter = changed::since(commit)?;
    if filter.is_empty() {
        say::line(format!("test: nothing differs from {commit}"));
        return Ok(ExitCode::SUCCESS);
    }
    say::line(format!("test: {}", filter.join(" ")));
    let arguments = Arguments {
        filter,
        ..Arguments::default()
    };
    let mut tally = Tally::default();
    let mut good = true;
    for suite in [OTHERS, OWN] {
        good &= run_suite(suite, &arguments, None, &mut tally)?;
    }
    tally.tell_not_run();
    Ok(tally.close(good))
}

/// The nodes, and what tells tests of them.
struct Stage {
    labs: Vec<Lab>,
    environment: BTreeMap<&'static str, OsString>,
    _seats: Vec<Seat>,
}

/// The real peers that tests talk to, and the packages they come from.
///
/// etcd, etcdctl and kubectl are the mirror's: a package of etcd would start a service on this
/// machine, and not every distribution has one of kubectl.
const PEERS: [Tool; 5] = [
    Tool {
        command: "cfssl",
        package: "golang-cfssl",
    },
    Tool {
        command: "go",
        package: "golang-go",
    },
    Tool {
        command: "openssl",
        package: "openssl",
    },
    Tool {
        command: "curl",
        package: "curl",
    },
    Tool {
        command: "zstd",
        package: "zstd",
    },
];

impl Stage {
    fn set(arguments: &Arguments) -> Result<Self, Error> {
        nodes::require(&PEERS)?;
        let seat = Seat::take("test", SUBNET)?;
        let mirror = Mirror::make(&Wish {
            purpose: seat.name.clone(),
            from: None,
            kubernetes: None,
            stand_ins: setup::stand_ins()?,
            padding: BTreeMap::new(),
        })?;
        say::line(format!("test: a mirror of {mirror}"));
        let beds = arguments.beds.unwrap_or_else(beds);
        let others = (1..beds).map(|_| Seat::take("test", SUBNET));
        let others = others.collect::<Result<Vec<_>, _>>()?;
        let options = NodeOptions {
            suite: arguments.suite.clone(),
            ..NodeOptions::default()
        };
        let mut labs = Vec::new();
        for seat in std::iter::once(&seat).chain(&others) {
            let subnet = &seat.subnet;
            say::line(format!("test: booting {NODES} nodes, {subnet}.11 and up"));
            labs.push(Lab::open(seat, NODES, &options, Afterwards::Down)?);
        }
        let kubectls = mirror::kubectls(&seat.name)?;
        let mut environment = BTreeMap::from([
            ("PATH", path(&seat, &mirror)?),
            (STANDIN_VARIABLE, mirror.standin().into_os_string()),
            (MIRROR_VARIABLE, mirror.directory.into_os_string()),
            (CHAINS_VARIABLE, CHAINS.into()),
        ]);
        let mut states = Vec::new();
        for lab in &labs {
            let [(program_variable, program), (state_variable, state)] = lab.bed.environment()?;
            states.push(state);
            environment.insert(program_variable, program.into_os_string());
            let all = std::env::join_paths(&states).map_err(std::io::Error::other)?;
            environment.insert(state_variable, all);
        }
        // One more than there are beds, for the tests that take none.
        environment.insert(THREADS_VARIABLE, (beds + 1).to_string().into());
        if let Some(kubectls) = kubectls {
            environment.insert(KUBECTLS_VARIABLE, kubectls.into_os_string());
        }
        match mirror::etcds(&seat.name) {
            Ok(Some(etcds)) => drop(environment.insert(ETCDS_VARIABLE, etcds.into_os_string())),
            Ok(None) => say::line("test: Debian's etcd is not of the line before the other's"),
            // The others can be run all the same.
            Err(error) => say::error(&error),
        }
        match mirror::openbao() {
            Ok(program) => drop(environment.insert(OPENBAO_VARIABLE, program.into_os_string())),
            // The others can be run all the same.
            Err(error) => say::error(&error),
        }
        environment.extend(genuine_servers(arguments)?);
        if arguments.crash_matrix {
            environment.insert(CRASH_VARIABLE, "all".into());
        } else if arm::are_wanted(&arguments.filter) {
            // The others can be run all the same.
            let (name, value) = match arm::make(&format!("{}-arm", seat.name)) {
                Ok(directory) => (arm::VARIABLE, directory.into_os_string()),
                Err(error) => (arm::WHY_NOT_VARIABLE, say::sentence(&error).into()),
            };
            environment.insert(name, value);
        }
        Ok(Self {
            labs,
            environment,
            _seats: std::iter::once(seat).chain(others).collect(),
        })
    }
}

/// How many beds the memory of this machine allows.
fn beds() -> u8 {
    let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let mut lines = text.lines();
    let free = lines.find_map(|line| line.strip_prefix("MemAvailable:")?.strip_suffix(" kB"));
    let free = free.and_then(|kib| kib.trim().parse::<u64>().ok());
    let free = free.unwrap_or_default() / (1024 * 1024);
    if free >= BEDS_GIB {
        return BEDS;
    }
    say::line(format!(
        "test: one bed, as {free} GiB of memory are free, and {BEDS} take {BEDS_GIB} GiB"
    ));
    1
}

/// The variable that tells tests of genuine servers: the user's, or those built from Debian's source;
/// where there are none, the one that tells why.
fn genuine_servers(arguments: &Arguments) -> Result<Option<(&'static str, OsString)>, Error> {
    if let Some(mirror) = &arguments.mirror {
        let mirror = fs_err::canonicalize(mirror)?;
        return Ok(Some((genuine::VARIABLE, mirror.into_os_string())));
    }
    if arguments.crash_matrix || !genuine::are_wanted(&arguments.filter)? {
        return Ok(None);
    }
    Ok(Some(match genuine::ready() {
        Ok(mirror) => (genuine::VARIABLE, mirror.into_os_string()),
        // The others can be run all the same.
        Err(error) => {
            say::error(&error);
            let why = say::sentence(&error);
            // Each test says it in a line.
            let lines: Vec<&str> = why.lines().map(str::trim).collect();
            (genuine::WHY_NOT_VARIABLE, lines.join("; ").into())
        }
    }))
}

/// Where tests find programs: what this machine has, after the genuine ones of a mirror.
fn path(seat: &Seat, mirror: &Mirror) -> Result<OsString, Error> {
    let directory = nodes::cached(&format!("{}-programs", seat.name));
    if directory.exists() {
        fs_err::remove_dir_all(&directory)?;
    }
    fs_err::create_dir_all(&directory)?;
    Program::new("tar")
        .args(["--strip-components=1", "-xzf"])
        .arg(mirror.etcd_archive())
        .arg("-C")
        .arg(&directory)
        .done()?;
    let kubectl = mirror.program(mirror.kubectl, "kubectl");
    fs_err::os::unix::fs::symlink(kubectl, directory.join("kubectl"))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all).map_err(std::io::Error::other)?)
}

/// What one run of `cargo test` is about. The last of them has tests on any machine, so that its
/// closing line is a good one.
type Suite = &'static [&'static str];
const DOCTESTS: Suite = &["--workspace", "--doc"];
const OTHERS: Suite = &[
    "--workspace",
    "--exclude",
    "xtask",
    "--lib",
    "--bins",
    "--tests",
];
const OWN: Suite = &["--package", "xtask"];

/// One run of `cargo test`, told line by line; whether all went well.
fn run_suite(
    suite: Suite,
    arguments: &Arguments,
    environment: Option<&BTreeMap<&'static str, OsString>>,
    tally: &mut Tally,
) -> Result<bool, Error> {
    let is_timed = suite != DOCTESTS;
    let mut cargo = setup::cargo()
        .args(TIMED.iter().filter(|_| is_timed))
        .args(["test", "--no-fail-fast"])
        .args(suite)
        .limit_seconds(if arguments.crash_matrix {
            MATRIX_SECONDS
        } else {
            TEST_SECONDS
        });
    for (name, value) in environment.into_iter().flatten() {
        cargo = cargo.env(name, value);
    }
    // Else what a test says that did not fail is lost: that it did not run, and why.
    cargo = cargo
        .args(["--", "--show-output"])
        .args(TELL_TIMES.iter().filter(|_| is_timed))
        .args(&arguments.filter)
        .args(arguments.crash_matrix.then_some(CRASH_TEST));
    tell(cargo, &format!("cargo test {}", suite.join(" ")), tally)
}

/// Runs tests, told line by line; whether all went well.
fn tell(cargo: Program, what: &str, tally: &mut Tally) -> Result<bool, Error> {
    let start = Instant::now();
    let status = cargo.lines(|line| {
        tally.hear(line);
        say::data(line);
    })?;
    let seconds = start.elapsed().as_secs_f64();
    say::line(format!("test: {seconds:.0} s: {what}"));
    Ok(status.success())
}

/// Whether a test is among those that are asked for.
fn is_named(test: &str, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|filter| test.contains(filter.as_str()))
}

/// Says which tests were left out for want of nodes, by name. In CI that is a failure.
fn may_do_without(why: &Why, not_run: &[String]) -> bool {
    say::line(format!("test: no nodes can be booted here: {why}"));
    say::line("test: so these were not run:");
    for test in not_run {
        say::line(format!("  {test}"));
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if in_ci {
        say::line("test: CI=true, where all must run");
    }
    !in_ci
}
