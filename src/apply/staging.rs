//! Sending a node the contents it lacks: one stream, compressed beforehand, checked there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Run;
use crate::digest::Digest;
use crate::event::Event;
use crate::fetch::{Encoding, tail};
use crate::inventory::NodeName;
use crate::manifest::Content;
use crate::script;
use crate::secret::Secret;
use crate::transport::{self, Body, Piece, Transport};

/// What is kept free on a node beyond what is staged, in bytes: room to put small files in place.
const RESERVE_BYTES: u64 = 16 << 20;
/// How often progress is told, in milliseconds.
const PROGRESS_MILLISECONDS: u64 = 100;

/// A binary as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The file that holds it, as a compressed member of a tar archive.
    pub path: PathBuf,
    /// That file's size in bytes.
    pub size: u64,
}

/// The binaries that a run needs, compressed, in each encoding that some node can unpack.
pub type Store = BTreeMap<(Digest, Encoding), Encoded>;

/// Why a node could not be staged.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// There is not enough room.
    #[error(
        "{node}: `/var/lib/kinstall` has {free_mb} MB free and {needed_mb} MB are needed; nothing was activated on any node"
    )]
    #[diagnostic(help(
        "make room on the node (`apt-get clean`, `journalctl --vacuum-size=50M`) and run the same command again"
    ))]
    Full {
        /// The node.
        node: NodeName,
        /// Megabytes that are free.
        free_mb: u64,
        /// Megabytes that are needed.
        needed_mb: u64,
    },
    /// What arrived is not what was sent.
    #[error(
        "{node}: {count} of the contents arrived with other bytes than were sent; nothing was activated on any node"
    )]
    #[diagnostic(help(
        "run the same command again; if it happens again, suspect the node's memory or disk"
    ))]
    Corrupted {
        /// The node.
        node: NodeName,
        /// How many.
        count: usize,
    },
    /// The stream broke off, or could not be unpacked.
    #[error("{node}: staging failed: {why}; nothing was activated on any node")]
    #[diagnostic(help("what arrived whole is kept: the same command again sends only the rest"))]
    Broken {
        /// The node.
        node: NodeName,
        /// The node's complaint.
        why: String,
    },
    /// The node could not be reached.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(#[from] transport::Error),
}

/// Sends one node what it lacks and has it checked there.
pub(super) async fn stage(
    run: &Run<'_>,
    transport: &Transport,
    digests: &BTreeSet<Digest>,
) -> Result<(), Error> {
    let node = transport.node().clone();
    run.failpoint.before(node.as_str(), "stage").await;
    let encoding = encoding(run, &node);
    let mut large = Vec::new();
    let mut small = Vec::new();
    let (mut unpacked, mut total) = (0, 0);
    for digest in digests {
        match run.desired.contents.get(digest) {
            Some(Content::Inline(bytes)) => {
                unpacked += bytes.expose().len() as u64;
                small.push((*digest, bytes.expose()));
            }
            Some(Content::Fetched { size, .. }) => {
                let encoded = &run.store[&(*digest, encoding)];
                unpacked += size;
                total += encoded.size;
                large.push(encoded);
            }
            None => unreachable!("compose gives every digest of a manifest a content"),
        }
    }
    // The node hashes each while the next arrives: after the smallest it is soon done.
    large.sort_by_key(|encoded| Reverse(encoded.size));
    let large_count = large.len().to_string();
    let files = large
        .iter()
        .map(|encoded| Piece::File(encoded.path.clone()));
    let mut pieces: Vec<Piece> = files.collect();
    let tail = Secret::new(tail(&small, encoding));
    total += tail.expose().len() as u64;
    pieces.push(Piece::Bytes(tail));

    let body = Body {
        pieces,
        ..Body::default()
    };
    let sent = Arc::clone(&body.sent);
    let needed = (unpacked + RESERVE_BYTES) / 1024;
    let needed_text = needed.to_string();
    let arguments = [encoding.name(), needed_text.as_str(), large_count.as_str()];
    let call = transport.call(script::STAGE, &arguments, body);
    tokio::pin!(call);
    let reply = loop {
        tokio::select! {
            reply = &mut call => break reply?,
            () = tokio::time::sleep(Duration::from_millis(PROGRESS_MILLISECONDS)) => {
                let sent = sent.load(Ordering::Relaxed);
                run.events.send(Event::Staging { node: node.clone(), sent, total });
            }
        }
    };
    judge(&node, &reply, digests)?;
    run.events.send(Event::Staged(node));
    Ok(())
}

fn encoding(run: &Run<'_>, node: &NodeName) -> Encoding {
    if run.snapshots[node].zstd {
        Encoding::Zstd
    } else {
        Encoding::Gzip
    }
}

/// What the node's answer means.
fn judge(
    node: &NodeName,
    reply: &transport::Reply,
    digests: &BTreeSet<Digest>,
) -> Result<(), Error> {
    let node = node.clone();
    for line in reply.output.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["full", free, needed] = words[..] {
            let mb = |kilobytes: &str| kilobytes.parse::<u64>().unwrap_or_default() / 1024;
            return Err(Error::Full {
                node,
                free_mb: mb(free),
                needed_mb: mb(needed),
            });
        }
    }
    let corrupted = reply
        .output
        .lines()
        .filter(|line| line.starts_with("differs "))
        .count();
    if corrupted > 0 {
        return Err(Error::Corrupted {
            node,
            count: corrupted,
        });
    }
    let stored = reply
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("stored ")?.parse().ok());
    let stored: BTreeSet<Digest> = stored.collect();
    if reply.status == 0 && digests.is_subset(&stored) {
        return Ok(());
    }
    let complaint = reply
        .complaint
        .trim()
        .lines()
        .next_back()
        .unwrap_or("the stream broke off");
    Err(Error::Broken {
        node,
        why: complaint.to_owned(),
    })
}
