//! How a command ends: its exit code, and what it reports.

use std::process::ExitCode;

use miette::{Diagnostic, Report};
use serde::Serialize;

use crate::preflight::Finding;
use crate::terminal::Terminal;
use crate::{apply, authority, survey};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed; nothing half-done stays active.
    Failed = 1,
    /// Bad usage or bad inventory; nothing was changed.
    Usage = 2,
    /// `plan` or `status` found something.
    Found = 3,
    /// A node could not be reached or refused us.
    Unreachable = 4,
    /// A download or a digest did not verify.
    Unverified = 5,
    /// A rollout failed and was reverted.
    Reverted = 6,
    /// Another run holds the lock.
    Held = 7,
    /// The user stopped it.
    Stopped = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: everything at once.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is reported.
    pub reports: Vec<Report>,
}

impl Failure {
    /// One reason.
    pub fn new(exit: Exit, report: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            exit,
            reports: vec![Report::new(report)],
        }
    }

    /// Several reasons.
    pub fn all<T>(exit: Exit, reports: impl IntoIterator<Item = T>) -> Self
    where
        T: Diagnostic + Send + Sync + 'static,
    {
        Self {
            exit,
            reports: reports.into_iter().map(Report::new).collect(),
        }
    }

    /// A reason in words, with a way out.
    pub fn words(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        let report = miette::miette!(help = help.into(), "{}", message.into());
        Self {
            exit,
            reports: vec![report],
        }
    }

    /// The first reason, in one line.
    pub(crate) fn in_words(&self) -> String {
        let first = self
            .reports
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        first.lines().next().unwrap_or_default().to_owned()
    }

    /// Tells the user.
    pub(crate) fn report(&self, terminal: Terminal, json: bool) {
        for report in &self.reports {
            terminal.report(report.as_ref());
        }
        if json {
            let errors = self.reports.iter().map(|report| {
                let finding = report.downcast_ref::<Finding>();
                JsonError {
                    message: report.to_string(),
                    help: report.help().map(|help| help.to_string()),
                    name: finding.map(|it| it.name),
                    node: finding.map(|it| it.node.to_string()),
                }
            });
            let failure = JsonFailure {
                exit_code: self.exit as u8,
                errors: errors.collect(),
            };
            terminal.print_json(&failure);
        }
    }
}

/// What `--json` prints of a failure.
#[derive(Serialize)]
struct JsonFailure {
    exit_code: u8,
    errors: Vec<JsonError>,
}

#[derive(Serialize)]
struct JsonError {
    message: String,
    help: Option<String>,
    /// Of what the first look found: its name, and the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
}

impl From<Vec<survey::Error>> for Failure {
    fn from(errors: Vec<survey::Error>) -> Self {
        let unreachable = errors.iter().any(survey::Error::is_transport);
        let exit = if unreachable {
            Exit::Unreachable
        } else {
            Exit::Failed
        };
        Self::all(exit, errors)
    }
}

impl From<Vec<apply::Error>> for Failure {
    fn from(errors: Vec<apply::Error>) -> Self {
        let exit = |error: &apply::Error| match error {
            apply::Error::Held { .. }
            | apply::Error::Changed { .. }
            | apply::Error::Lost { .. } => Exit::Held,
            apply::Error::Stopped { .. } => Exit::Stopped,
            apply::Error::Transport(_) => Exit::Unreachable,
            apply::Error::Reverted { .. } => Exit::Reverted,
            apply::Error::Staging(_)
            | apply::Error::Step { .. }
            | apply::Error::NotReverted { .. } => Exit::Failed,
        };
        let exit = errors.first().map_or(Exit::Failed, exit);
        Self::all(exit, errors)
    }
}

impl From<authority::Error> for Failure {
    fn from(error: authority::Error) -> Self {
        let exit = match error {
            authority::Error::Stopped => Exit::Stopped,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            reports: vec![miette::miette!("{error}")],
        }
    }
}
