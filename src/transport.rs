//! How scripts reach a node: over SSH, or into a directory that stands for one.

pub mod local_root;
mod master;
mod sockets;
pub mod ssh;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::inventory::NodeName;
use crate::script::Script;
use crate::secret::Secret;

/// The most that a script may print, in bytes: a snapshot of a node is some ten kilobytes.
const OUTPUT_BYTES_MAX: u64 = 64 << 20;

/// One node, reached.
pub enum Transport {
    /// A machine, over the user's own OpenSSH client.
    Ssh(ssh::Connection),
    /// A directory that holds a machine's root: an SD card, an image.
    LocalRoot(local_root::LocalRoot),
}

/// What a script is fed.
#[derive(Default)]
pub struct Body {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// Counts the bytes that were sent, for progress.
    pub sent: Arc<AtomicU64>,
}

/// A piece of what a script is fed.
pub enum Piece {
    /// Bytes held in memory.
    Bytes(Secret),
    /// A file on the operator's machine.
    File(PathBuf),
}

impl Body {
    /// A body of one text.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self {
            pieces: vec![Piece::Bytes(Secret::new(text))],
            ..Self::default()
        }
    }
}

/// What a script answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub output: String,
    /// What it, or a program it ran, complained of.
    pub complaint: String,
}

/// Why a node could not be reached, or did not do as it was told.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// ssh found nobody there.
    #[error("{node}: cannot be reached at `{host}`: {why}")]
    #[diagnostic(help("is it on, is the address right, does `{login}` work by hand?"))]
    Unreachable {
        /// The node.
        node: NodeName,
        /// What ssh was told to connect to.
        host: String,
        /// ssh's own words.
        why: String,
        /// How a user logs in by hand.
        login: String,
    },
    /// ssh could not begin.
    #[error("{node}: ssh cannot be started: {why}")]
    #[diagnostic(help(
        "kinstall runs your own `ssh`, with the file of `[ssh] config` or else with `~/.ssh/config`"
    ))]
    Config {
        /// The node.
        node: NodeName,
        /// What is wrong.
        why: String,
    },
    /// An sshd closes the connection before it says anything, each time.
    #[error("{node}: {why}")]
    #[diagnostic(help(
        "an sshd that has too many logins at once does so: try `--jobs 1`, or raise `MaxStartups` (10:30:100 by default) in the sshd_config of {at}; so does a firewall or `hosts.deny` that keeps this machine out"
    ))]
    Crowded {
        /// The node.
        node: NodeName,
        /// Who closed it, how often, and ssh's own words.
        why: String,
        /// Whose sshd it is.
        at: &'static str,
    },
    /// `known_hosts` has no key of this node.
    #[error("{node}: the host key of `{host}` is not known")]
    #[diagnostic(help(
        "compare its fingerprint and accept it once by `{login}`, or say `host-keys = \"accept-new\"` under `[ssh]`"
    ))]
    HostKeyUnknown {
        /// The node.
        node: NodeName,
        /// Whose key it is: the node's, or a jump host's.
        host: String,
        /// How a user logs in by hand.
        login: String,
    },
    /// The node shows another key than the one in `known_hosts`.
    #[error("{node}: the host key of `{host}` has changed: this may be another machine")]
    #[diagnostic(help(
        "if it was installed anew, forget the old key by `ssh-keygen -R {host}` and accept the new one by `{login}`"
    ))]
    HostKeyChanged {
        /// The node.
        node: NodeName,
        /// Whose key it is: the node's, or a jump host's.
        host: String,
        /// How a user logs in by hand.
        login: String,
    },
    /// The node does not let the user in.
    #[error("{node}: `{host}` refused the login: {why}")]
    #[diagnostic(help(
        "kinstall uses your own ssh configuration, agent and keys, and asks for no password: make `{login}` work without one"
    ))]
    Denied {
        /// The node.
        node: NodeName,
        /// What ssh was told to connect to.
        host: String,
        /// ssh's own words.
        why: String,
        /// How a user logs in by hand.
        login: String,
    },
    /// The user cannot become root.
    #[error("{node}: cannot become root: {why}")]
    #[diagnostic(help(
        "log in as root, allow the user sudo without a password, or give `--ask-sudo-password`"
    ))]
    Sudo {
        /// The node.
        node: NodeName,
        /// sudo's own words.
        why: String,
    },
    /// The connection broke.
    #[error("{node}: the connection was lost during `{script}`")]
    #[diagnostic(help(
        "nothing is half in place; run the same command again once the node answers"
    ))]
    Lost {
        /// The node.
        node: NodeName,
        /// What was running.
        script: &'static str,
    },
    /// A script failed in a way that nobody foresaw.
    #[error("{node}: `{script}` failed with status {status}: {why}")]
    Failed {
        /// The node.
        node: NodeName,
        /// What was running.
        script: &'static str,
        /// Its exit status.
        status: i32,
        /// Its complaint.
        why: String,
    },
    /// A file of the operator's machine could not be sent.
    #[error("{node}: cannot send: {why}")]
    Local {
        /// The node.
        node: NodeName,
        /// What went wrong.
        why: std::io::Error,
    },
    /// The node does not let its own loopback be asked through ssh.
    #[error("{node}: its health cannot be asked for through ssh: {why}")]
    #[diagnostic(help(
        "kinstall asks services on the node's loopback; sshd needs `AllowTcpForwarding local` or `yes`, its default"
    ))]
    Forward {
        /// The node.
        node: NodeName,
        /// ssh's own words.
        why: String,
    },
}

impl Transport {
    /// Runs a script as root with arguments and a body, and waits for its end.
    pub async fn call(
        &self,
        script: Script,
        arguments: &[&str],
        body: Body,
    ) -> Result<Reply, Error> {
        match self {
            Self::Ssh(connection) => connection.call(script, arguments, body).await,
            Self::LocalRoot(root) => root.call(script, arguments, body).await,
        }
    }

    /// As [`Transport::call`], and any exit status but 0 is an error.
    pub async fn run(
        &self,
        script: Script,
        arguments: &[&str],
        body: Body,
    ) -> Result<String, Error> {
        let reply = self.call(script, arguments, body).await?;
        if reply.status == 0 {
            Ok(reply.output)
        } else {
            Err(self.failed(script, &reply))
        }
    }

    /// The error that a reply nobody foresaw stands for.
    pub fn failed(&self, script: Script, reply: &Reply) -> Error {
        let why = if reply.complaint.trim().is_empty() {
            &reply.output
        } else {
            &reply.complaint
        };
        let node = self.node().clone();
        Error::Failed {
            node,
            script: script.name,
            status: reply.status,
            why: last_lines(why, 5),
        }
    }

    /// The node's name.
    pub fn node(&self) -> &NodeName {
        match self {
            Self::Ssh(connection) => connection.node(),
            Self::LocalRoot(root) => root.node(),
        }
    }

    /// The connection, where there is one.
    pub fn ssh(&self) -> Option<&ssh::Connection> {
        match self {
            Self::Ssh(connection) => Some(connection),
            Self::LocalRoot(_) => None,
        }
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        if let Self::Ssh(connection) = self {
            connection.close().await;
        }
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("; ")
}

/// Feeds a process and drains it, both at once, so that neither waits for the other for ever.
async fn converse(
    mut input: impl AsyncWrite + Unpin,
    output: impl AsyncRead + Unpin,
    complaint: impl AsyncRead + Unpin,
    prefix: Option<Secret>,
    body: Body,
) -> std::io::Result<(String, String)> {
    let feeding = async {
        let result = async {
            if let Some(prefix) = prefix {
                input.write_all(prefix.expose()).await?;
            }
            let mut buffer = vec![0; 256 << 10];
            for piece in body.pieces {
                match piece {
                    Piece::Bytes(bytes) => {
                        input.write_all(bytes.expose()).await?;
                        body.sent
                            .fetch_add(bytes.expose().len() as u64, Ordering::Relaxed);
                    }
                    Piece::File(path) => {
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
        .await;
        drop(input);
        result
    };
    let (sent, output, complaint) = tokio::join!(feeding, drain(output), drain(complaint));
    // A process that has heard enough and gone tells why by its exit status.
    if let Err(error) = sent
        && error.kind() == std::io::ErrorKind::Other
    {
        return Err(error);
    }
    Ok((output?, complaint?))
}

/// Marks a failure of the operator's own file system, among those of the pipe.
fn local(error: std::io::Error) -> std::io::Error {
    std::io::Error::other(error)
}

async fn drain(stream: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    stream
        .take(OUTPUT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
