//! Everything a fetch can tell while it runs: plain data, for anyone who shows it.

use crate::digest::Digest;
use crate::lockfile::Trust;

/// One thing that happened. `name` is the artifact's file name, version and architecture, or the
/// image's name and architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A download begins, or goes on where an earlier one stopped.
    Started {
        /// What is downloaded.
        name: String,
        /// The address, without credentials.
        url: String,
        /// Its whole size in bytes, if it is known.
        size: Option<u64>,
        /// How many bytes are there from an earlier run.
        resumed: u64,
    },
    /// More of it is there.
    Progress {
        /// What is downloaded.
        name: String,
        /// How many bytes are there by now, the resumed ones included.
        bytes: u64,
    },
    /// An attempt failed and another one follows.
    Retrying {
        /// What is downloaded.
        name: String,
        /// Why the attempt failed.
        reason: String,
        /// How long it waits before the next one, in milliseconds.
        wait_milliseconds: u64,
    },
    /// A source is given up; the next one, if there is one, is tried.
    SourceFailed {
        /// What was to be downloaded.
        name: String,
        /// The address, without credentials.
        url: String,
        /// Why.
        reason: String,
    },
    /// The digest was right.
    Verified {
        /// What was downloaded.
        name: String,
        /// Its digest.
        digest: Digest,
        /// What it was compared with.
        trust: Trust,
    },
    /// It was in the cache.
    Cached {
        /// What was to be downloaded.
        name: String,
        /// Its digest.
        digest: Digest,
    },
    /// A cache entry did not hold what its name says, and was removed.
    Corrupt {
        /// What it should have been.
        name: String,
    },
    /// Another kinstall is fetching the same; this one waits for it.
    Waiting {
        /// What it fetches.
        name: String,
    },
    /// It is compressed for the nodes.
    Compressing {
        /// The program.
        name: String,
    },
    /// Everything about it is done.
    Done {
        /// What was downloaded.
        name: String,
    },
}
