//! A node over SSH, by the user's own OpenSSH client: its configuration, agents, jump hosts and
//! `known_hosts` hold. One connection a node; scripts are sessions on it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use openssh::{OwningCommand, Session, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::conversation::converse;
use super::master::{self, Login};
use super::{Body, Error, Reply, limit, sockets};
use crate::inventory::{Node, NodeName};
use crate::script::{self, Limits, Script};
use crate::secret::Secret;

/// How often a script that holds something hears that we live, in seconds: the other end of a
/// connection that was cut learns of it in no other way, or hours later.
const BEAT_SECONDS: u64 = 10;

/// How long sshd may refuse a session before that counts, in milliseconds: one that has just ended
/// still counts for a moment (`MaxSessions`).
const REFUSED_MILLISECONDS: u64 = 5000;
/// How long between two tries, in milliseconds.
const RETRY_MILLISECONDS: u64 = 100;
/// How long a password may take to be tried, in seconds.
const PASSWORD_SECONDS: u64 = 60;

/// How a script becomes root's.
#[derive(Debug, Clone)]
pub enum Privilege {
    /// The user that logs in runs it as it is.
    Plain,
    /// By sudo, which asks for no password.
    Sudo,
    /// By sudo, with this password.
    Password(Secret),
}

/// Of which ports sshd was asked whether it lets them be reached, and whether it forbids it.
pub(super) type Forbidden = tokio::sync::Mutex<BTreeMap<(IpAddr, u16), bool>>;

/// A connection to a node.
pub struct Connection {
    node: NodeName,
    session: Arc<Session>,
    privilege: Privilege,
    /// Holds the sockets of forwarded ports; gone with the connection.
    sockets: tempfile::TempDir,
    forbidden: Forbidden,
    /// Says that we live to the process that keeps the connection: to it, this is a client that
    /// says nothing, and as long as it has one the connection is not idle, as while we download.
    _presence: UnixStream,
}

impl Connection {
    /// Connects. `directory` is where a relative `ssh.config` starts from.
    pub async fn open(
        node: &Node,
        directory: &Path,
        password: Option<&Secret>,
    ) -> Result<Self, Error> {
        let name = node.name.clone();
        let local = |why| Error::Local {
            node: name.clone(),
            why,
        };
        let sockets = sockets::make().map_err(local)?;
        let login = Login::new(node, directory, sockets.path())?;
        let session = login.connect(sockets.path()).await?;
        let presence = UnixStream::connect(session.control_socket()).await;
        let presence = presence.map_err(local)?;
        let privilege = match (node.ssh.sudo, password) {
            (false, _) => Privilege::Plain,
            (true, None) => Privilege::Sudo,
            (true, Some(password)) => Privilege::Password(password.clone()),
        };
        let connection = Self {
            node: node.name.clone(),
            session: Arc::new(session),
            privilege,
            sockets,
            forbidden: Forbidden::default(),
            _presence: presence,
        };
        let checking = connection.check_password();
        limit::deadline(&node.name, "sudo", PASSWORD_SECONDS, checking).await?;
        Ok(connection)
    }

    /// The node's name.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Tries a password by itself, so that a wrong one is told once and nothing that follows is
    /// taken for another attempt.
    async fn check_password(&self) -> Result<(), Error> {
        let Privilege::Password(password) = &self.privilege else {
            return Ok(());
        };
        let mut line = password.expose().to_vec();
        line.push(b'\n');
        let mut child = self
            .session
            .command("sh")
            .args([
                "-c",
                "[ \"$(id -u)\" = 0 ] || exec sudo -k -S -p '' -- true",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(|_| self.lost("sudo"))?;
        let input = child.stdin().take().expect("the standard input is a pipe");
        let output = child
            .stdout()
            .take()
            .expect("the standard output is a pipe");
        let complaint = child.stderr().take().expect("the standard error is a pipe");
        let body = Body::default();
        let limits = Limits {
            seconds: PASSWORD_SECONDS,
            silence_seconds: PASSWORD_SECONDS,
            output_kilobytes: 64,
        };
        let line = Some(Secret::new(line));
        let (_, complaint) = converse(input, output, complaint, line, body, limits)
            .await
            .map_err(|_| self.lost("sudo"))?;
        let status = child.wait().await.map_err(|_| self.lost("sudo"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Sudo {
            node: self.node.clone(),
            why: super::last_lines(&complaint, 2),
        })
    }

    /// Runs a script as root.
    pub async fn call(
        &self,
        script: Script,
        arguments: &[&str],
        body: Body,
    ) -> Result<Reply, Error> {
        let mut child = self.spawn(script, arguments).await?;
        let input = child.stdin().take().expect("the standard input is a pipe");
        let output = child
            .stdout()
            .take()
            .expect("the standard output is a pipe");
        let complaint = child.stderr().take().expect("the standard error is a pipe");
        let limits = script.limits;
        let conversed = converse(input, output, complaint, self.prefix(), body, limits).await;
        let (output, complaint) =
            conversed.map_err(|broken| broken.during(&self.node, script.name))?;
        // A connection that broke ends the output too, so this comes after it.
        let status = child.wait().await.map_err(|_| self.lost(script.name))?;
        let Some(status) = status.code() else {
            return Err(self.lost(script.name));
        };
        if status == 255 {
            return Err(self.lost(script.name));
        }
        let sudo = complaint
            .lines()
            .rev()
            .find(|line| line.starts_with("sudo:") || line.contains("sudo: not found"));
        if status != 0
            && output.is_empty()
            && let Some(why) = sudo
        {
            return Err(Error::Sudo {
                node: self.node.clone(),
                why: why.to_owned(),
            });
        }
        Ok(Reply {
            status,
            output,
            complaint,
        })
    }

    /// Starts a script that holds something until its input ends or is silent for a minute, and returns its first line
    /// together with what keeps it alive.
    pub async fn hold(&self, script: Script, arguments: &[&str]) -> Result<(String, Held), Error> {
        let seconds = script.limits.seconds;
        let holding = async {
            let held = self.take_hold(script, arguments).await?;
            // What follows needs a session beside this one.
            let beside = |session: Arc<Session>| {
                let mut command = session.arc_command("true");
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                command
            };
            self.begin(script.name, beside).await?;
            Ok(held)
        };
        limit::deadline(&self.node, script.name, seconds, holding).await
    }

    async fn take_hold(&self, script: Script, arguments: &[&str]) -> Result<(String, Held), Error> {
        let mut child = self.spawn(script, arguments).await?;
        let mut input = child.stdin().take().expect("the standard input is a pipe");
        let output = child
            .stdout()
            .take()
            .expect("the standard output is a pipe");
        if let Some(prefix) = self.prefix() {
            input
                .write_all(prefix.expose())
                .await
                .map_err(|_| self.lost(script.name))?;
        }
        let mut line = String::new();
        let kilobytes = script.limits.output_kilobytes;
        let output = BufReader::new(output);
        let mut output = output.take(kilobytes as u64 * 1024);
        output
            .read_line(&mut line)
            .await
            .map_err(|_| self.lost(script.name))?;
        if output.limit() == 0 {
            return Err(Error::TooMuch {
                node: self.node.clone(),
                script: script.name,
                kilobytes,
                where_to: "as its answer",
            });
        }
        let ended = Arc::<OnceLock<bool>>::default();
        let has_ended = Arc::clone(&ended);
        let listening = tokio::spawn(async move {
            // It says nothing more: whatever comes is its end, or that of our trust in it.
            _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
            _ = has_ended.set(output.limit() == 0);
        });
        let beating = tokio::spawn(async move {
            // Without a reader there is nothing left to keep alive.
            while input.write_all(b".").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(BEAT_SECONDS)).await;
            }
        });
        Ok((
            line.trim_end().to_owned(),
            Held {
                node: self.node.clone(),
                script,
                beating,
                listening,
                ended,
                _child: child,
            },
        ))
    }

    async fn spawn(&self, script: Script, arguments: &[&str]) -> Result<Remote, Error> {
        let how = match self.privilege {
            Privilege::Plain => "plain",
            Privilege::Sudo => "sudo",
            Privilege::Password(_) => "password",
        };
        let command = |session: Arc<Session>| {
            let mut command = session.arc_command("sh");
            command
                .args(["-c", script::BECOME_ROOT.text, "kinstall", how, script.text])
                // The first argument of every script is the directory it works below.
                .arg("")
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command
        };
        self.begin(script.name, command).await
    }

    /// Opens a session for a command.
    async fn begin(
        &self,
        script: &'static str,
        command: impl Fn(Arc<Session>) -> OwningCommand<Arc<Session>>,
    ) -> Result<Remote, Error> {
        let limit = limit::milliseconds(REFUSED_MILLISECONDS);
        let begun = Instant::now();
        loop {
            let mut command = command(Arc::clone(&self.session));
            match command.spawn().await {
                Ok(child) => return Ok(child),
                Err(error) if !is_refusal(&error) => return Err(self.lost(script)),
                Err(_) if begun.elapsed() >= limit => {
                    return Err(Error::Sessions {
                        node: self.node.clone(),
                        script,
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(RETRY_MILLISECONDS)).await,
            }
        }
    }

    /// The password and the line that ends it; see `script/become_root.sh`.
    fn prefix(&self) -> Option<Secret> {
        let Privilege::Password(password) = &self.privilege else {
            return None;
        };
        let mut prefix = password.expose().to_vec();
        prefix.extend_from_slice(b"\nKINSTALL-BODY\n");
        Some(Secret::new(prefix))
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Where the sockets of forwarded ports are.
    pub(super) fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    /// What is known of ports that sshd forbids.
    pub(super) fn forbidden(&self) -> &Forbidden {
        &self.forbidden
    }

    /// Whether the connection still stands.
    pub async fn is_alive(&self) -> bool {
        self.session.check().await.is_ok()
    }

    fn lost(&self, script: &'static str) -> Error {
        Error::Lost {
            node: self.node.clone(),
            script,
        }
    }
}

/// A process on a node.
type Remote = openssh::Child<Arc<Session>>;

/// Whether sshd refused a session on a connection that stands (OpenSSH's mux.c).
fn is_refusal(error: &openssh::Error) -> bool {
    chain(error).contains("refused by peer")
}

impl Drop for Connection {
    fn drop(&mut self) {
        master::end(self.session.control_socket());
    }
}

/// Keeps a script of [`Connection::hold`] going; dropped, it ends.
pub struct Held {
    node: NodeName,
    script: Script,
    beating: tokio::task::JoinHandle<()>,
    listening: tokio::task::JoinHandle<()>,
    /// Set once it is over: whether because it said too much.
    ended: Arc<OnceLock<bool>>,
    _child: Remote,
}

impl Held {
    /// The node that is held.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Whether the script still holds the node. It may have ended by itself, because somebody killed
    /// it or the connection broke; or it says what it has no reason to.
    pub fn state(&self) -> State {
        match self.ended.get() {
            None => State::Holds,
            Some(false) => State::Ended,
            Some(true) => State::TooMuch(Error::TooMuch {
                node: self.node.clone(),
                script: self.script.name,
                kilobytes: self.script.limits.output_kilobytes,
                where_to: "as its answer",
            }),
        }
    }
}

/// How a script of [`Connection::hold`] is.
pub enum State {
    /// It holds the node.
    Holds,
    /// It ended.
    Ended,
    /// It is no longer listened to.
    TooMuch(Error),
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its input ends with it.
        self.beating.abort();
        self.listening.abort();
    }
}

/// An error and what it rests on, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        words.push(error.to_string().trim().replace(['\r', '\n'], " "));
        next = error.source();
    }
    words.dedup();
    words.join(": ")
}
