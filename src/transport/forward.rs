//! Ports of a node, reached through its SSH connection; and whether its sshd allows that.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssh::{ForwardType, Socket};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::Error;
use super::ssh::{Connection, chain};

/// A port where nothing listens (tcpmux, RFC 1078).
const NOBODY: u16 = 1;
/// How long a refusal of the first question is waited for before the second, in milliseconds.
const FIRST_MILLISECONDS: u64 = 50;
/// How long the second may take, in seconds.
const SECOND_SECONDS: u64 = 10;
/// How much of ssh's log is read, in bytes.
const LOG_BYTES_MAX: u64 = 1 << 20;

impl Connection {
    /// Makes a port of the node's loopback reachable as a socket here, and says where.
    pub async fn forward(&self, port: u16) -> Result<PathBuf, Error> {
        self.forward_to(Ipv4Addr::LOCALHOST.into(), port).await
    }

    /// The same for a port on another address that the node can reach, its own for example.
    pub async fn forward_to(&self, address: IpAddr, port: u16) -> Result<PathBuf, Error> {
        let name = if address.is_loopback() {
            format!("port{port}")
        } else {
            format!("{}-{port}", address.to_string().replace(':', "-"))
        };
        let socket = self.sockets().join(name);
        if socket.exists() {
            return Ok(socket);
        }
        let listen = Socket::UnixSocket {
            path: socket.clone().into(),
        };
        let address = address.to_string();
        let connect = Socket::new(&address, port);
        let made = self
            .session()
            .request_port_forward(ForwardType::Local, listen, connect)
            .await;
        made.map_err(|error| {
            self.no_forward(port, format!("ssh does not forward: {}", chain(&error)))
        })?;
        Ok(socket)
    }

    /// Whether sshd forbids a port to be reached through it: by `AllowTcpForwarding`, `PermitOpen`,
    /// `DisableForwarding`, or for the key that was used. It is asked once for each port.
    ///
    /// ssh agrees to forward whatever sshd thinks of it, and closes each connection that sshd does
    /// not open. Why, it writes to its log only, in the order in which it asked.
    pub async fn is_forbidden(&self, address: IpAddr, port: u16) -> Result<bool, Error> {
        let known = self.forbidden();
        let mut known = known.lock().await;
        if let Some(forbidden) = known.get(&(address, port)) {
            return Ok(*forbidden);
        }
        let socket = self.forward_to(address, port).await?;
        let nobody = self.forward(NOBODY).await?;
        let log = self.session().control_socket().with_file_name("log");
        let asked = refusal(&socket, &nobody, &log).await;
        let refusal = asked.map_err(|why| Error::Local {
            node: self.node().clone(),
            why,
        })?;
        let forbidden = refusal.is_some_and(|why| why.contains("administratively prohibited"));
        known.insert((address, port), forbidden);
        Ok(forbidden)
    }

    /// The error of a port that cannot be reached.
    pub fn no_forward(&self, port: u16, why: impl Into<String>) -> Error {
        Error::Forward {
            node: self.node().clone(),
            port,
            why: why.into(),
        }
    }
}

/// What ssh's log says of a connection that was not opened; nothing of one that was. One that is
/// open says nothing, and is known by the next one having been answered.
async fn refusal(socket: &Path, nobody: &Path, log: &Path) -> io::Result<Option<String>> {
    let before = refusals(log)?.len();
    let mut first = UnixStream::connect(socket).await?;
    let mut byte = [0];
    let first_milliseconds = Duration::from_millis(FIRST_MILLISECONDS);
    let mut ended = tokio::time::timeout(first_milliseconds, first.read(&mut byte)).await;
    if ended.is_err() {
        let mut second = UnixStream::connect(nobody).await?;
        let limit = Duration::from_secs(SECOND_SECONDS);
        _ = tokio::time::timeout(limit, second.read(&mut byte)).await;
        ended = tokio::time::timeout(Duration::from_millis(1), first.read(&mut byte)).await;
    }
    // Opened, or even answered.
    if matches!(ended, Err(_) | Ok(Ok(1..))) {
        return Ok(None);
    }
    Ok(refusals(log)?.into_iter().nth(before))
}

/// The lines about connections that were not opened (`channel_input_open_failure` in OpenSSH's
/// channels.c).
fn refusals(log: &Path) -> io::Result<Vec<String>> {
    use std::io::Read;
    let mut text = Vec::new();
    let log = fs_err::File::open(log)?;
    log.take(LOG_BYTES_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.contains("open failed: "));
    Ok(lines.map(ToOwned::to_owned).collect())
}
