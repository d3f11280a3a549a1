//! Feeding a process and listening to it, within the limits of its script.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Body, Error, Piece};
use crate::inventory::NodeName;
use crate::script::Limits;
use crate::secret::Secret;

/// How much of what a script complains of is kept, in bytes.
const COMPLAINT_BYTES_KEPT: usize = 64 << 10;
/// The most that it may complain of, in kilobytes.
const COMPLAINT_KILOBYTES_MAX: usize = 1024;
/// How much of a body is sent at a time, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// How much of an answer is read at a time at least, in bytes.
const READ_BYTES: usize = 16 << 10;

/// Why a process and we did not come to the end of a conversation.
#[derive(Debug)]
pub(super) enum Broken {
    /// A file of ours could not be read, or a pipe broke.
    Io(std::io::Error),
    /// It prints too much.
    TooMuch {
        kilobytes: usize,
        where_to: &'static str,
    },
}

impl Broken {
    pub(super) fn during(self, node: &NodeName, script: &'static str) -> Error {
        let node = node.clone();
        match self {
            Self::Io(why) => Error::Local { node, why },
            Self::TooMuch {
                kilobytes,
                where_to,
            } => Error::TooMuch {
                node,
                script,
                kilobytes,
                where_to,
            },
        }
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Feeds a process and drains it, all at once, so that none waits for another for ever; ends at once
/// when it prints more than its limits allow.
pub(super) async fn converse(
    input: impl AsyncWrite + Unpin,
    output: impl AsyncRead + Unpin,
    complaint: impl AsyncRead + Unpin,
    prefix: Option<Secret>,
    body: Body,
    limits: Limits,
) -> Result<(String, String), Broken> {
    let received = Arc::clone(&body.received);
    let feeding = async {
        match feed(input, prefix, body).await {
            Err(error) if error.kind() == std::io::ErrorKind::Other => Err(Broken::Io(error)),
            // A process that has heard enough and gone tells why by its exit status.
            Ok(()) | Err(_) => Ok(()),
        }
    };
    let output = Drain {
        kilobytes: limits.output_kilobytes,
        kept: usize::MAX,
        where_to: "as its answer",
    }
    .all(output, &received);
    let complaint = Drain {
        kilobytes: COMPLAINT_KILOBYTES_MAX,
        kept: COMPLAINT_BYTES_KEPT,
        where_to: "on its standard error",
    }
    .all(complaint, &received);
    let ((), output, complaint) = tokio::try_join!(feeding, output, complaint)?;
    Ok((output, complaint))
}

/// Sends a body, in chunks that are counted when they were taken.
async fn feed(
    mut input: impl AsyncWrite + Unpin,
    prefix: Option<Secret>,
    body: Body,
) -> std::io::Result<()> {
    if let Some(prefix) = prefix {
        input.write_all(prefix.expose()).await?;
    }
    let mut buffer = Vec::new();
    for piece in body.pieces {
        match piece {
            Piece::Bytes(bytes) => {
                for chunk in bytes.expose().chunks(CHUNK_BYTES) {
                    input.write_all(chunk).await?;
                    body.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            }
            Piece::File(path) => {
                buffer.resize(CHUNK_BYTES, 0);
                let mut file = fs_err::tokio::File::open(path).await.map_err(local)?;
                loop {
                    let count = file.read(&mut buffer).await.map_err(local)?;
                    if count == 0 {
                        break;
                    }
                    input.write_all(&buffer[..count]).await?;
                    body.sent.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        }
    }
    input.shutdown().await
}

/// Marks a failure of the operator's own file system, among those of the pipe.
fn local(error: std::io::Error) -> std::io::Error {
    std::io::Error::other(error)
}

/// How one stream of a process is read.
struct Drain {
    /// The most it may bring.
    kilobytes: usize,
    /// How many bytes of that are kept.
    kept: usize,
    where_to: &'static str,
}

impl Drain {
    async fn all(
        self,
        mut stream: impl AsyncRead + Unpin,
        received: &AtomicU64,
    ) -> Result<String, Broken> {
        let mut bytes = Vec::new();
        let mut total = 0;
        loop {
            bytes.reserve(READ_BYTES);
            let count = stream.read_buf(&mut bytes).await?;
            if count == 0 {
                break;
            }
            received.fetch_add(count as u64, Ordering::Relaxed);
            total += count;
            if total > self.kilobytes << 10 {
                return Err(Broken::TooMuch {
                    kilobytes: self.kilobytes,
                    where_to: self.where_to,
                });
            }
            bytes.truncate(self.kept);
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}
