//! Why a server does not start, in the real servers' words where they are known.

use kinstall::version::Version;

use crate::log::{klog, say};

/// The reason not to start. The process says it and exits with 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The command line cannot be read.
    Usage(String),
    /// It can, and something it asks for is wrong: everything found, as Go's aggregate prints it.
    Start(Vec<String>),
}

impl Refusal {
    pub(crate) fn start(reason: impl Into<String>) -> Self {
        Self::Start(vec![reason.into()])
    }

    /// One reason stands alone, several in brackets.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Usage(reason) => reason.clone(),
            Self::Start(reasons) if reasons.len() == 1 => reasons[0].clone(),
            Self::Start(reasons) => format!("[{}]", reasons.join(", ")),
        }
    }

    /// Says it as this release does: up to 1.22 a bare line, from 1.23 on through klog.
    pub(crate) fn say(&self, version: Version) {
        let words = self.words();
        if matches!(self, Self::Usage(_)) || version.minor < 23 {
            say(&format!("Error: {words}"));
        } else {
            klog(
                'E',
                "run.go:72",
                &format!("\"command failed\" err={words:?}"),
            );
        }
    }
}
