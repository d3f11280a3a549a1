//! A node over SSH, by the user's own OpenSSH client: its configuration, agents, jump hosts and
//! `known_hosts` hold. One connection a node; scripts are sessions on it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openssh::{ForwardType, Session, Socket, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::master::Login;
use super::{Body, Error, Reply, converse, sockets};
use crate::inventory::{Node, NodeName};
use crate::script::{self, Script};
use crate::secret::Secret;

/// How often a script that holds something hears that we live, in seconds: the other end of a
/// connection that was cut learns of it in no other way, or hours later.
const BEAT_SECONDS: u64 = 10;

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

/// A connection to a node.
pub struct Connection {
    node: NodeName,
    session: Arc<Session>,
    privilege: Privilege,
    /// Holds the sockets of forwarded ports; gone with the connection.
    sockets: tempfile::TempDir,
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
            _presence: presence,
        };
        connection.check_password().await?;
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
        let (_, complaint) = converse(input, output, complaint, Some(Secret::new(line)), body)
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
        let conversed = converse(input, output, complaint, self.prefix(), body).await;
        let (output, complaint) = conversed.map_err(|why| Error::Local {
            node: self.node.clone(),
            why,
        })?;
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
        let mut output = BufReader::new(output);
        output
            .read_line(&mut line)
            .await
            .map_err(|_| self.lost(script.name))?;
        let ended = Arc::<AtomicBool>::default();
        let has_ended = Arc::clone(&ended);
        let listening = tokio::spawn(async move {
            let mut rest = Vec::new();
            // It says nothing more: whatever comes is its end.
            _ = output.read_to_end(&mut rest).await;
            has_ended.store(true, Ordering::Relaxed);
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
                beating,
                listening,
                ended,
                _child: child,
            },
        ))
    }

    async fn spawn(
        &self,
        script: Script,
        arguments: &[&str],
    ) -> Result<openssh::Child<Arc<Session>>, Error> {
        let how = match self.privilege {
            Privilege::Plain => "plain",
            Privilege::Sudo => "sudo",
            Privilege::Password(_) => "password",
        };
        Arc::clone(&self.session)
            .arc_command("sh")
            .args(["-c", script::BECOME_ROOT.text, "kinstall", how, script.text])
            // The first argument of every script is the directory it works below.
            .arg("")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(|_| self.lost(script.name))
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

    /// Makes a port of the node's loopback reachable as a socket here, and says where.
    pub async fn forward(&self, port: u16) -> Result<std::path::PathBuf, Error> {
        self.forward_to(Ipv4Addr::LOCALHOST.into(), port).await
    }

    /// The same for a port on another address that the node can reach, its own for example.
    pub async fn forward_to(
        &self,
        address: IpAddr,
        port: u16,
    ) -> Result<std::path::PathBuf, Error> {
        let name = if address.is_loopback() {
            format!("port{port}")
        } else {
            format!("{}-{port}", address.to_string().replace(':', "-"))
        };
        let socket = self.sockets.path().join(name);
        if socket.exists() {
            return Ok(socket);
        }
        let listen = Socket::UnixSocket {
            path: socket.clone().into(),
        };
        let address = address.to_string();
        let connect = Socket::new(&address, port);
        let made = self
            .session
            .request_port_forward(ForwardType::Local, listen, connect)
            .await;
        made.map_err(|error| Error::Forward {
            node: self.node.clone(),
            why: chain(&error),
        })?;
        Ok(socket)
    }

    /// Whether the connection still stands.
    pub async fn is_alive(&self) -> bool {
        self.session.check().await.is_ok()
    }

    /// Ends the connection.
    pub async fn close(self) {
        // One that is gone already needs no closing, and one that a script still holds ends with it.
        if let Some(session) = Arc::into_inner(self.session) {
            drop(session.close().await);
        }
    }

    fn lost(&self, script: &'static str) -> Error {
        Error::Lost {
            node: self.node.clone(),
            script,
        }
    }
}

/// Keeps a script of [`Connection::hold`] going; dropped, it ends.
pub struct Held {
    node: NodeName,
    beating: tokio::task::JoinHandle<()>,
    listening: tokio::task::JoinHandle<()>,
    ended: Arc<AtomicBool>,
    _child: openssh::Child<Arc<Session>>,
}

impl Held {
    /// The node that is held.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Whether the script ended by itself: somebody killed it, or the connection broke.
    pub fn is_lost(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its input ends with it.
        self.beating.abort();
        self.listening.abort();
    }
}

/// An error and what it rests on, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        words.push(error.to_string().trim().replace(['\r', '\n'], " "));
        next = error.source();
    }
    words.dedup();
    words.join(": ")
}
