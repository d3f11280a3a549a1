//! What is wrong with a field, as data and in words.

use thiserror::Error;

use crate::flags::{Elsewhere, Finding, Severity, since};
use crate::version::Version;

/// Something wrong with a field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The release has no such field: it would be passed over in silence.
    #[error("{program} {version} has no field `{field}`{}", since(.elsewhere.as_ref()))]
    Unknown {
        /// The program.
        program: &'static str,
        /// Its release.
        version: Version,
        /// How bad it is: of the newest release not everything is known.
        severity: Severity,
        /// The path of the field.
        field: String,
        /// Where it exists, if anywhere.
        elsewhere: Option<Elsewhere>,
        /// What may have been meant.
        help: Option<String>,
    },
    /// A path in place of a name.
    #[error("`{field}` is no name of a field")]
    Dotted {
        /// What stands there.
        field: String,
    },
    /// The value is of another kind: the program would not start.
    #[error("{}: expected {expected}, found {found}", named(.field))]
    Shape {
        /// The path of the field; none where it is the whole.
        field: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The value is no word that the program knows: it would not start.
    #[error("`{field}` cannot be `{value}`")]
    Choice {
        /// The path of the field.
        field: String,
        /// What it is.
        value: String,
        /// What it can be.
        words: &'static [&'static str],
    },
    /// A feature gate that the release does not have, or that is locked.
    #[error("{}", .0.message)]
    Gate(Finding),
    /// kinstall says it, and relies on it.
    #[error("`{field}` is not for you to say: {why}")]
    Decided {
        /// The path of the field.
        field: String,
        /// Why.
        why: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// It is read and means nothing.
    #[error("`{field}` has no effect{place} in {program} {version}")]
    Idle {
        /// The program.
        program: &'static str,
        /// Its release.
        version: Version,
        /// The path of the field.
        field: String,
        /// Where it has none.
        place: &'static str,
    },
}

impl Problem {
    /// Whether it must be mended.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Unknown { severity, .. } => *severity,
            Self::Gate(finding) => finding.severity,
            Self::Idle { .. } => Severity::Warning,
            Self::Dotted { .. }
            | Self::Shape { .. }
            | Self::Choice { .. }
            | Self::Decided { .. } => Severity::Error,
        }
    }

    /// The path of the field it is about: `authentication.x509`; empty if it is the whole.
    pub fn field(&self) -> &str {
        match self {
            Self::Unknown { field, .. }
            | Self::Dotted { field }
            | Self::Shape { field, .. }
            | Self::Choice { field, .. }
            | Self::Decided { field, .. }
            | Self::Idle { field, .. } => field,
            Self::Gate(_) => "featureGates",
        }
    }

    /// What to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { help, .. } => help.clone().or_else(|| {
                Some("leave it out: the program would pass over it without a word".to_owned())
            }),
            Self::Dotted { .. } => Some("write tables in tables".to_owned()),
            Self::Shape { field, .. } if field.is_empty() => {
                Some("write fields with their values, as in `{ maxPods = 60 }`".to_owned())
            }
            Self::Shape { expected, .. } => Some(format!("write {expected}")),
            Self::Choice { words, .. } => {
                let quoted = words.iter().map(|word| format!("`\"{word}\"`"));
                let quoted: Vec<_> = quoted.collect();
                Some(format!("write one of {}", quoted.join(", ")))
            }
            Self::Gate(finding) => finding.help.clone().or_else(|| {
                Some(
                    "leave it out: with a gate that it does not have, it does not start".to_owned(),
                )
            }),
            Self::Decided { instead, .. } => Some((*instead).to_owned()),
            Self::Idle { .. } => Some("leave it out".to_owned()),
        }
    }
}

fn named(field: &str) -> String {
    if field.is_empty() {
        "the configuration".to_owned()
    } else {
        format!("`{field}`")
    }
}
