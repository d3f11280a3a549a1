//! A snapshot of etcd, taken through one member before an upgrade and kept on the operator's machine.
//!
//! It comes through etcd's own gateway (`/v3/maintenance/snapshot`), over the SSH connection: lines
//! of JSON whose blobs, put together, are what `etcdctl snapshot save` writes. Source: etcd's
//! `maintenance.proto`; the server appends the SHA-256 of the database to it, and so every byte is
//! verified here.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use futures_util::StreamExt;
use serde::Deserialize;

use crate::digest::{Digest, Hasher};
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
pub struct Backup {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
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

/// One message of the stream.
#[derive(Deserialize)]
struct Message {
    result: Option<Piece>,
    error: Option<serde_json::Value>,
}

/// A piece of the database; other fields are of no use here.
#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    blob: String,
}

/// Takes a snapshot through one member and keeps it in a directory under this name. Older ones
/// with the same beginning of their names, up to the first dot, go.
pub async fn take(
    prober: &Prober<'_>,
    connection: &Connection,
    member: &Probe,
    directory: &Path,
    name: &str,
) -> Result<Backup, Error> {
    fs_err::create_dir_all(directory)?;
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
        .client_for(connection, member)
        .await?
        .map_err(Error::Refused)?;
    let client = client
        .build()
        .map_err(|error| Error::Refused(error.to_string()))?;
    let url = format!("https://127.0.0.1:{}/v3/maintenance/snapshot", member.port);
    let asking = client.post(url).body("{}").send().await;
    let answer = asking.map_err(|error| Error::Refused(error.to_string()))?;
    if !answer.status().is_success() {
        return Err(Error::Refused(format!("it answered {}", answer.status())));
    }
    let mut stream = answer.bytes_stream();
    let mut line = Vec::new();
    loop {
        let silence = std::time::Duration::from_secs(SILENCE_SECONDS);
        let next = tokio::time::timeout(silence, stream.next()).await;
        let next = next.map_err(|_| Error::Refused(format!("silent for {SILENCE_SECONDS} s")))?;
        let Some(bytes) = next else { break };
        let bytes = bytes.map_err(|error| Error::Refused(error.to_string()))?;
        for byte in bytes {
            if byte == b'\n' {
                sink.message(&line)?;
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        sink.message(&line)?;
    }
    let backup = sink.finish(directory, name)?;
    forget_old(directory, name)?;
    Ok(backup)
}

struct Sink {
    file: tempfile::NamedTempFile,
    hasher: Hasher,
    /// The last bytes, which may be the digest.
    tail: Vec<u8>,
    size: u64,
}

impl Sink {
    fn message(&mut self, line: &[u8]) -> Result<(), Error> {
        let message: Message =
            serde_json::from_slice(line).map_err(|_| Error::Damaged("a message is no JSON"))?;
        if let Some(error) = message.error {
            return Err(Error::Refused(error.to_string()));
        }
        let Some(piece) = message.result else {
            return Ok(());
        };
        let blob = base64::engine::general_purpose::STANDARD.decode(piece.blob);
        let blob = blob.map_err(|_| Error::Damaged("a piece is no base64"))?;
        self.file.write_all(&blob)?;
        self.size += blob.len() as u64;
        self.tail.extend_from_slice(&blob);
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
        file.as_file().sync_all()?;
        let path = directory.join(name);
        file.persist(&path).map_err(|error| error.error)?;
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

    fn line(bytes: &[u8]) -> Vec<u8> {
        let blob = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("{{\"result\":{{\"remaining_bytes\":\"1\",\"blob\":\"{blob}\"}}}}").into_bytes()
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
            sink.message(&line(&whole[..cut])).unwrap();
            sink.message(&line(&whole[cut..])).unwrap();
            let backup = sink.finish(directory.path(), "home.1.db").unwrap();
            assert_eq!(fs_err::read(&backup.path).unwrap(), whole);
            assert_eq!(backup.size, whole.len() as u64);
        }
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b"short"] {
            let mut sink = sink(directory.path());
            sink.message(&line(damaged)).unwrap();
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
