//! What the check of a command line has to say, as data and in words.

use thiserror::Error;

use super::value::Kind;
use crate::version::{Minor, Version};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program starts, and something should be done about it.
    Warning,
    /// The program would refuse to start.
    Error,
}

/// Something wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The flag it is about, without dashes; empty when it is about no flag.
    pub flag: String,
    /// What is wrong, as a fragment of a sentence.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The same as data.
    pub problem: Problem,
}

/// What can be wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// There is no table for this program in this minor, so nothing was checked.
    #[error("the flags of `{program}` {minor} are not known to kinstall, so they are not checked")]
    Unchecked {
        /// The program.
        program: String,
        /// The minor.
        minor: Minor,
    },
    /// The program has no such flag in this release.
    #[error("`{program}` {version} has no flag `--{flag}`{}", since(.elsewhere.as_ref()))]
    UnknownFlag {
        /// The program.
        program: String,
        /// Its release.
        version: Version,
        /// The flag.
        flag: String,
        /// Where it exists, if anywhere.
        elsewhere: Option<Elsewhere>,
    },
    /// The flag needs a value and has none.
    #[error("`--{flag}` needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
    },
    /// The value is not of the flag's kind.
    #[error("`--{flag}` takes {}, not `{value}`", .kind.expected())]
    WrongValue {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// What the value should be.
        kind: Kind,
    },
    /// The value is not one of those that the program knows.
    #[error("`--{flag}` can be {expected}, not `{value}`")]
    NoChoice {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
        /// What it can be.
        expected: String,
    },
    /// The flag still works, but not for ever.
    #[error("`--{flag}` is deprecated since {since}")]
    Deprecated {
        /// The flag.
        flag: String,
        /// The minor that first said so.
        since: Minor,
    },
    /// A word that belongs to no flag.
    #[error("`{word}` belongs to no flag")]
    Stray {
        /// The word.
        word: String,
    },
    /// Dashes without a name.
    #[error("`{word}` is not a flag")]
    Malformed {
        /// The word.
        word: String,
    },
    /// The release has no such feature gate.
    #[error("Kubernetes {minor} has no feature gate `{gate}`{}", since(.elsewhere.as_ref()))]
    UnknownGate {
        /// The gate.
        gate: String,
        /// The minor.
        minor: Minor,
        /// Where it exists, if anywhere.
        elsewhere: Option<Elsewhere>,
    },
    /// The gate can no longer be changed.
    #[error("the feature gate `{gate}` is locked to {locked} in {minor}")]
    LockedGate {
        /// The gate.
        gate: String,
        /// The minor.
        minor: Minor,
        /// The value it has.
        locked: bool,
    },
    /// The release has no such admission plugin.
    #[error("Kubernetes {minor} has no admission plugin `{plugin}`{}", since(.elsewhere.as_ref()))]
    UnknownPlugin {
        /// The flag that names it.
        flag: String,
        /// The plugin.
        plugin: String,
        /// The minor.
        minor: Minor,
        /// Where it exists, if anywhere.
        elsewhere: Option<Elsewhere>,
    },
    /// Flags that do not go together, or one that is missing.
    #[error("{words}")]
    Together {
        /// The flags it is about.
        flags: &'static [&'static str],
        /// What is wrong.
        words: &'static str,
    },
}

impl Finding {
    pub(super) fn new(
        severity: Severity,
        flag: &str,
        problem: Problem,
        help: Option<String>,
    ) -> Self {
        Self {
            severity,
            flag: flag.to_owned(),
            message: problem.to_string(),
            help,
            problem,
        }
    }
}

/// Where something exists that this release does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// It was removed in this minor.
    Removed(Minor),
    /// It came with this later release.
    Added(String),
}

pub(crate) fn since(elsewhere: Option<&Elsewhere>) -> String {
    match elsewhere {
        None => String::new(),
        Some(Elsewhere::Removed(minor)) => format!("; it was removed in {minor}"),
        Some(Elsewhere::Added(release)) => format!("; it came with {release}"),
    }
}
