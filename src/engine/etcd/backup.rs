//! A snapshot of etcd, taken through one member before an upgrade and kept on the operator's machine.
//!
//! It comes by gRPC (`etcdserverpb.Maintenance/Snapshot`), over the SSH connection: messages whose
//! blobs, put together, are what `etcdctl snapshot save` writes. Source: etcd's `rpc.proto`; the
//! server appends the SHA-256 of the database to it, and so every byte is verified here. etcd's
//! HTTP gateway would do for some clusters only: it is off where each set of certificates has an
//! authority of its own, and it does not know a client by its certificate where etcd asks who it is.

mod message;

use std::io::Write;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use reqwest::header::HeaderMap;

use self::message::Messages;
use crate::digest::{Digest, Hasher};
use crate::durable;
use crate::manifest::Probe;
use crate::probe::Prober;
use crate::transport::{self, ssh::Connection};

/// How many snapshots of a cluster are kept.
const KEPT: usize = 5;
/// The bytes of the digest behind the database.
const DIGEST_BYTES: usize = 32;
/// How long a member may be silent, in seconds.
const SILENCE_SECONDS: u64 = 30;

/// A snapshot that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backup {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Error {
    /// The node could not be reached.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(#[from] transport::Error),
    /// The member did not give one.
    #[error("etcd gave no snapshot: {0}")]
    #[diagnostic(help(
        "nothing was changed; mend etcd first, or take a snapshot yourself and give `--no-snapshot`"
    ))]
    Refused(String),
    /// It is not what the member said it would be.
    #[error("the snapshot of etcd arrived damaged: {0}")]
    #[diagnostic(help("nothing was changed; run the same command again"))]
    Damaged(&'static str),
    /// It could not be kept.
    #[error("the snapshot of etcd cannot be kept: {0}")]
    #[diagnostic(help("nothing was changed; make room, or give `--no-snapshot`"))]
    Io(#[from] std::io::Error),
}

/// Takes a snapshot through one member and keeps it in a directory under this name. Older ones
/// with the same beginning of their names, up to the first dot, go.
pub(crate) async fn take(
    prober: &Prober<'_>,
    connection: &Connection,
    member: &Probe,
    directory: &Path,
    name: &str,
) -> Result<Backup, Error> {
    durable::create_directories(directory)?;
    let partial = tempfile::Builder::new()
        .prefix(".snapshot-")
        .tempfile_in(directory)?;
    let mut sink = Sink {
        file: partial,
        hasher: Hasher::default(),
        tail: Vec::new(),
        size: 0,
    };
    let client = prober
        .client_to(connection, member, "a snapshot of etcd")
        .await?
        .map_err(Error::Refused)?;
    let client = client
        .build()
        .map_err(|error| Error::Refused(error.to_string()))?;
    let url = format!(
        "https://127.0.0.1:{}/etcdserverpb.Maintenance/Snapshot",
        member.port
    );
    let asking = client
        .post(url)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(message::EMPTY.to_vec());
    let answer = asking.send().await;
    let answer = answer.map_err(|error| Error::Refused(last_cause(&error)))?;
    if let Some(why) = refusal(answer.status(), answer.headers()) {
        return Err(Error::Refused(why));
    }
    let mut stream = answer.bytes_stream();
    let mut messages = Messages::default();
    loop {
        let silence = std::time::Duration::from_secs(SILENCE_SECONDS);
        let next = tokio::time::timeout(silence, stream.next()).await;
        let next = next.map_err(|_| Error::Refused(format!("silent for {SILENCE_SECONDS} s")))?;
        let Some(bytes) = next else { break };
        let bytes = bytes.map_err(|error| Error::Refused(last_cause(&error)))?;
        messages.take(&bytes);
        while let Some(blob) = messages.next_blob().map_err(Error::Damaged)? {
            sink.add(&blob)?;
        }
    }
    let backup = sink.finish(directory, name)?;
    forget_old(directory, name)?;
    Ok(backup)
}

/// Why a member gives nothing: gRPC says it in the headers of an answer without a body.
fn refusal(status: reqwest::StatusCode, headers: &HeaderMap) -> Option<String> {
    let word = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !status.is_success() {
        return Some(format!("it answered {status}"));
    }
    let code = word("grpc-status").filter(|code| *code != "0")?;
    let why = word("grpc-message").unwrap_or_default();
    Some(format!("it answered {why} (gRPC {code})"))
}

/// The innermost reason: the outer ones say that a request failed, which is known.
fn last_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

struct Sink {
    file: tempfile::NamedTempFile,
    hasher: Hasher,
    /// The last bytes, which may be the digest.
    tail: Vec<u8>,
    size: u64,
}

impl Sink {
    fn add(&mut self, blob: &[u8]) -> Result<(), Error> {
        self.file.write_all(blob)?;
        self.size += blob.len() as u64;
        self.tail.extend_from_slice(blob);
        let hashed = self.tail.len().saturating_sub(DIGEST_BYTES);
        self.hasher.update(&self.tail[..hashed]);
        self.tail.drain(..hashed);
        Ok(())
    }

    fn finish(self, directory: &Path, name: &str) -> Result<Backup, Error> {
        let Self {
            file,
            hasher,
            tail,
            size,
        } = self;
        let told = Digest::from_bytes(&tail).ok_or(Error::Damaged("it ends too early"))?;
        if hasher.finish() != told {
            return Err(Error::Damaged("its digest is not the one at its end"));
        }
        let path = directory.join(name);
        durable::persist(file, &path)?;
        Ok(Backup { path, size })
    }
}

/// Keeps the newest few of a cluster: their names carry the time and so their order.
fn forget_old(directory: &Path, name: &str) -> Result<(), Error> {
    let family = name.split('.').next().unwrap_or(name);
    let mut names = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let found = entry?.file_name().to_string_lossy().into_owned();
        if found.split('.').next() == Some(family) {
            names.push(found);
        }
    }
    names.sort();
    let old = names.len().saturating_sub(KEPT);
    for name in &names[..old] {
        fs_err::remove_file(directory.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(directory: &Path) -> Sink {
        let file = tempfile::NamedTempFile::new_in(directory).unwrap();
        Sink {
            file,
            hasher: Hasher::default(),
            tail: Vec::new(),
            size: 0,
        }
    }

    fn digest_bytes(bytes: &[u8]) -> Vec<u8> {
        let text = Digest::of(bytes).to_string();
        (0..32)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn a_snapshot_is_kept_only_if_the_digest_at_its_end_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let whole = [b"database".as_slice(), &digest_bytes(b"database")].concat();
        for cut in [1, 8, 20, 39] {
            let mut sink = sink(directory.path());
            sink.add(&whole[..cut]).unwrap();
            sink.add(&whole[cut..]).unwrap();
            let backup = sink.finish(directory.path(), "home.1.db").unwrap();
            assert_eq!(fs_err::read(&backup.path).unwrap(), whole);
            assert_eq!(backup.size, whole.len() as u64);
        }
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b"short"] {
            let mut sink = sink(directory.path());
            sink.add(damaged).unwrap();
            assert!(sink.finish(directory.path(), "home.2.db").is_err());
            assert!(!directory.path().join("home.2.db").exists());
        }
    }

    #[test]
    fn the_newest_five_of_a_cluster_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "home.1.db",
            "home.2.db",
            "home.3.db",
            "home.4.db",
            "home.5.db",
            "home.6.db",
            "away.1.db",
        ] {
            fs_err::write(directory.path().join(name), name).unwrap();
        }
        forget_old(directory.path(), "home.6.db").unwrap();
        assert!(!directory.path().join("home.1.db").exists());
        assert!(directory.path().join("home.2.db").exists());
        assert!(directory.path().join("away.1.db").exists());
    }
}
