//! How scripts reach a node: over SSH, or into a directory that stands for one.

mod answer;
mod conversation;
mod forward;
mod limit;
pub mod local_root;
mod master;
mod refusal;
mod sockets;
pub mod ssh;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::inventory::NodeName;
use crate::script::Script;
use crate::secret::Secret;

/// One node, reached.
pub enum Transport {
    /// A machine, over the user's own OpenSSH client.
    Ssh(Box<ssh::Connection>),
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
    /// Counts the bytes that were answered.
    pub received: Arc<AtomicU64>,
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
        "if it was reinstalled, forget the old key by `ssh-keygen -R {host}` and accept the new one by `{login}`"
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
    /// The login succeeds, and nothing of ours runs.
    #[error("{node}: `{host}` refused the login: {why}")]
    #[diagnostic(help(
        "ssh logs in, and the account runs none of our commands: an expired password (`chage -l`), a `nologin` shell, sshd's `ForceCommand`, or a login script may be the reason; try `{login} true`"
    ))]
    RunsNothing {
        /// The node.
        node: NodeName,
        /// What ssh was told to connect to.
        host: String,
        /// What the node said instead.
        why: String,
        /// How a user logs in by hand.
        login: String,
    },
    /// The user cannot become root.
    #[error("{node}: cannot become root: {why}")]
    #[diagnostic(help("{help}"))]
    Sudo {
        /// The node.
        node: NodeName,
        /// sudo's own words.
        why: String,
        /// What mends it.
        help: String,
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
    /// A script takes too long, or the connection does.
    #[error("{node}: `{script}` {what}; it was given up")]
    #[diagnostic(help(
        "the node may be overloaded, or one of its disks may hang: see that it answers, and run the same command again"
    ))]
    Late {
        /// The node.
        node: NodeName,
        /// What was running.
        script: &'static str,
        /// How long it took.
        what: String,
    },
    /// A script prints more than it ever has a reason to.
    #[error("{node}: `{script}` printed more than {kilobytes} kB {where_to}; it was given up")]
    #[diagnostic(help(
        "no node in order prints as much: find out what answers there in place of kinstall's script (a login script, a `ForceCommand`, another machine)"
    ))]
    TooMuch {
        /// The node.
        node: NodeName,
        /// What was running.
        script: &'static str,
        /// The limit.
        kilobytes: usize,
        /// Where it was printed.
        where_to: &'static str,
    },
    /// sshd lets no other session onto the connection.
    #[error("{node}: sshd refused a session for `{script}`")]
    #[diagnostic(help(
        "kinstall needs two sessions at a time on one connection: set `MaxSessions` to 2 or more in the node's sshd_config (10 is the default), `systemctl reload ssh`, and run the same command again"
    ))]
    Sessions {
        /// The node.
        node: NodeName,
        /// What was to run.
        script: &'static str,
    },
    /// A file of the operator's machine could not be sent.
    #[error("{node}: cannot send: {why}")]
    Local {
        /// The node.
        node: NodeName,
        /// What went wrong.
        why: std::io::Error,
    },
    /// A port of the node cannot be reached through ssh.
    #[error("{node}: port {port} cannot be asked: {why}")]
    #[diagnostic(help(
        "have the node's sshd allow it (`AllowTcpForwarding local` or `yes`, no `DisableForwarding`, and `127.0.0.1:{port}` among what `PermitOpen` lists, if anything) and `systemctl reload ssh`; for questions after health, curl or openssl on the node will do as well"
    ))]
    Forward {
        /// The node.
        node: NodeName,
        /// The port.
        port: u16,
        /// What stands in the way.
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
        let moved = limit::Moved::of(&body);
        let calling = async {
            match self {
                Self::Ssh(connection) => connection.call(script, arguments, body).await,
                Self::LocalRoot(root) => root.call(script, arguments, body).await,
            }
        };
        limit::keep(self.node(), script, &moved, calling).await
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

    /// Ends the connection, and with it whatever still goes on over it.
    pub async fn close(self) {
        // That waits for a word of ssh's. Nothing in it panics.
        _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// The connection, where there is one.
    pub fn ssh(&self) -> Option<&ssh::Connection> {
        match self {
            Self::Ssh(connection) => Some(connection),
            Self::LocalRoot(_) => None,
        }
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("; ")
}
