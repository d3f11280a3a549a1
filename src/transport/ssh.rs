//! A node over SSH, by the user's own OpenSSH client: its configuration, agents, jump hosts and
//! `known_hosts` hold. One connection a node; scripts are sessions on it.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use openssh::{ChildStderr, ChildStdin, ChildStdout, OwningCommand, Session, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Chain};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::answer::{Answer, Call};
use super::conversation::converse;
use super::master::{self, Login};
use super::{Body, Error, Reply, limit, sockets};
use crate::background;
use crate::inventory::{Node, NodeName};
use crate::script::{self, Script};
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

impl Privilege {
    /// What `script/become_root.sh` calls it.
    fn word(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sudo => "sudo",
            Self::Password(_) => "password",
        }
    }
}

/// Of which ports sshd was asked whether it lets them be reached, and whether it forbids it.
pub(super) type Forbidden = tokio::sync::Mutex<BTreeMap<(IpAddr, u16), bool>>;

/// A connection to a node.
pub struct Connection {
    node: NodeName,
    session: Arc<Session>,
    login: Login,
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
            login,
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
        let limits = script::BECOME_ROOT.limits;
        let started = self.start("sudo", "check").await?;
        let prelude = Some(Call::password_alone(password));
        let conversed = converse(
            started.input,
            started.output,
            started.complaint,
            prelude,
            Body::default(),
            limits,
        )
        .await;
        let (output, complaint) = conversed.map_err(|broken| broken.during(&self.node, "sudo"))?;
        match started.call.answer(&output, &complaint) {
            Answer::Ended(_) | Answer::CutOff(_) => Ok(()),
            Answer::NotBegun(words) => Err(self.not_root("sudo", started.child, &words).await),
        }
    }

    /// Runs a script as root.
    pub async fn call(
        &self,
        script: Script,
        arguments: &[&str],
        body: Body,
    ) -> Result<Reply, Error> {
        let started = self.start(script.name, self.privilege.word()).await?;
        let prelude = Call::prelude(self.password(), script, arguments);
        let conversed = converse(
            started.input,
            started.output,
            started.complaint,
            Some(prelude),
            body,
            script.limits,
        )
        .await;
        let (output, complaint) =
            conversed.map_err(|broken| broken.during(&self.node, script.name))?;
        match started.call.answer(&output, &complaint) {
            Answer::Ended(reply) => {
                // Its status is known, but until then it counts as a session (`MaxSessions`).
                drop(started.child.wait().await);
                Ok(reply)
            }
            Answer::CutOff(words) => Err(self.cut_off(script.name, started.child, &words).await),
            Answer::NotBegun(words) => Err(self.not_root(script.name, started.child, &words).await),
        }
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
        let started = self.start(script.name, self.privilege.word()).await?;
        let Started {
            call,
            child,
            mut input,
            output,
            complaint,
        } = started;
        let lost = |_| self.lost(script.name);
        let prelude = Call::prelude(self.password(), script, arguments);
        // One that is not there to read it tells why.
        _ = input.write_all(prelude.expose()).await;
        let kilobytes = script.limits.output_kilobytes;
        let mut output = output.take(kilobytes as u64 * 1024);
        let has_begun = call.begin(&mut output).await.map_err(lost)?;
        let mut line = String::new();
        output.read_line(&mut line).await.map_err(lost)?;
        if output.limit() == 0 {
            return Err(Error::TooMuch {
                node: self.node.clone(),
                script: script.name,
                kilobytes,
                where_to: "as its answer",
            });
        }
        if line.trim().is_empty() {
            // It said nothing before its end, which the next line tells.
            output.read_line(&mut line).await.map_err(lost)?;
            drop(input);
            let status = call.status(line.trim());
            return Err(self
                .held_nothing(script, &call, child, complaint, (has_begun, status))
                .await);
        }
        // Both go on while the command computes.
        let rest = output
            .limit()
            .saturating_sub(output.get_ref().buffer().len() as u64);
        let output = output.into_inner().into_inner();
        let output = output.into_owned_fd().map_err(lost)?;
        let input = input.into_owned_fd().map_err(lost)?;
        let ended = Arc::<OnceLock<bool>>::default();
        let has_ended = Arc::clone(&ended);
        let listening = background::spawn(async move {
            // It says nothing more: whatever comes is its end, or that of our trust in it.
            let mut is_too_much = false;
            if let Ok(output) = Receiver::from_owned_fd(output) {
                let mut output = output.take(rest);
                _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
                is_too_much = output.limit() == 0;
            }
            // Closed before, it would be in the way of whatever complains there.
            drop(complaint);
            _ = has_ended.set(is_too_much);
        });
        let beating = background::spawn(async move {
            let Ok(mut input) = Sender::from_owned_fd(input) else {
                return;
            };
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

    /// Why a script that was to hold something ended without a word.
    async fn held_nothing(
        &self,
        script: Script,
        call: &Call,
        child: Remote,
        complaint: impl AsyncRead + Unpin,
        (has_begun, status): (bool, Option<i32>),
    ) -> Error {
        let mut words = Vec::new();
        _ = complaint.take(4096).read_to_end(&mut words).await;
        let words = call.complaint(&String::from_utf8_lossy(&words));
        match status {
            Some(status) => Error::Failed {
                node: self.node.clone(),
                script: script.name,
                status,
                why: super::last_lines(&words, 5),
            },
            None if has_begun => self.cut_off(script.name, child, &words).await,
            None => self.not_root(script.name, child, &words).await,
        }
    }

    /// Logs in for a script, and waits until something of ours runs there.
    async fn start(&self, script: &'static str, how: &str) -> Result<Started, Error> {
        let call = Call::new();
        let line = call.command_line(how);
        let command = |session: Arc<Session>| {
            let mut command = session.arc_raw_command(&line);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command
        };
        let mut child = self.begin(script, command).await?;
        let input = child.stdin().take().expect("the standard input is a pipe");
        let output = child.stdout().take();
        let mut output = BufReader::new(output.expect("the standard output is a pipe"));
        let mut complaint = child.stderr().take().expect("the standard error is a pipe");
        let mut complained = Vec::new();
        let said = call
            .log_in(&mut output, &mut complaint, &mut complained)
            .await
            .map_err(|_| self.lost(script))?;
        if let Some(said) = said {
            drop((input, output, complaint));
            let complained = String::from_utf8_lossy(&complained);
            return Err(self.ran_nothing(script, child, &said, &complained).await);
        }
        Ok(Started {
            call,
            child,
            input,
            output,
            complaint: Cursor::new(complained).chain(complaint),
        })
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

    fn password(&self) -> Option<&Secret> {
        match &self.privilege {
            Privilege::Password(password) => Some(password),
            Privilege::Plain | Privilege::Sudo => None,
        }
    }

    /// How it was logged in to.
    pub(super) fn login(&self) -> &Login {
        &self.login
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

    pub(super) fn lost(&self, script: &'static str) -> Error {
        Error::Lost {
            node: self.node.clone(),
            script,
        }
    }
}

/// A script that is about to be sent.
struct Started {
    call: Call,
    child: Remote,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    complaint: Chain<Cursor<Vec<u8>>, ChildStderr>,
}

/// A process on a node.
pub(super) type Remote = openssh::Child<Arc<Session>>;

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
