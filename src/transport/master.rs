//! The OpenSSH process that keeps the connection to a node. It follows the user's own configuration
//! except for a few options of ours, and this module tells why there is no connection.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use openssh::Session;
use rsa::rand_core::{OsRng, RngCore};
use tokio::process::Command;

use super::{Error, limit};
use crate::inventory::{HostKeys, Node, NodeName};

/// What ssh does whatever the user's configuration says, for jump hosts too where `[ssh] config`
/// names a file: of several values ssh takes the first. We need to read what it says and cannot
/// if it is quiet or prints its log.
const EVERYWHERE: [&str; 1] = ["LogLevel=ERROR"];
/// The same, for the connection to the node alone: seconds until a node that does not answer is
/// given up, seconds between questions whether it still lives (ssh gives up after three), and how
/// long a connection outlives a kinstall that was killed and could not close it.
const NODE_ONLY: [&str; 4] = [
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=10",
    "ControlPersist=15s",
];
/// What a user's configuration asks of a connection for the user's own work: no node gets a way
/// back to the operator's agent, display or network from us, and nothing else is run at either end.
const NOTHING_ELSE: [&str; 9] = [
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "GatewayPorts=no",
    "StreamLocalBindMask=0177",
];
/// How long ssh may take to log in, in seconds; `ConnectTimeout` ends with the key exchange.
const LOGIN_SECONDS: u64 = 60;
/// How long a process that keeps a connection may take to say that it ends, in milliseconds.
const END_MILLISECONDS: u64 = 500;
/// How often a connection is tried that is closed before the key exchange.
const TRIES_MAX: u32 = 6;
/// Half the first pause between two tries, in milliseconds; each is twice as long as the one before.
const PAUSE_MILLISECONDS: u64 = 200;
/// How long ssh may take to say more about a failure, in seconds.
const EXPLAIN_SECONDS: u64 = 20;
/// What ssh calls the other end when it speaks through a proxy, so that the reason is the proxy's.
const THROUGH_PROXY: &str = "UNKNOWN port 65535";

/// How ssh is told to log in to a node.
pub(super) struct Login {
    node: NodeName,
    /// What ssh is told to connect to.
    pub(super) host: String,
    /// What a user types to log in the same way.
    pub(super) by_hand: String,
    /// The user, where the inventory names one.
    pub(super) user: Option<String>,
    arguments: Vec<OsString>,
    /// The user's configuration, and the name that ssh knows it by.
    config: Option<(PathBuf, PathBuf)>,
}

impl Login {
    /// `directory` is where a relative `ssh.config` starts from; `room` is ours to keep files in.
    pub(super) fn new(node: &Node, directory: &Path, room: &Path) -> Result<Self, Error> {
        let host = node.ssh.host.clone();
        let mut login = Self {
            node: node.name.clone(),
            host: host.unwrap_or_else(|| node.address.to_string()),
            by_hand: "ssh".to_owned(),
            user: node.ssh.user.clone(),
            arguments: Vec::new(),
            config: None,
        };
        let check = match node.ssh.host_keys {
            HostKeys::Strict => "StrictHostKeyChecking=yes",
            HostKeys::AcceptNew => "StrictHostKeyChecking=accept-new",
        };
        for option in EVERYWHERE
            .iter()
            .chain(&NODE_ONLY)
            .chain(&NOTHING_ELSE)
            .chain([&check])
        {
            login.arguments.extend(["-o".into(), option.into()]);
        }
        if let Some(config) = &node.ssh.config {
            let config = directory.join(config);
            login.by_hand = format!("{} -F {}", login.by_hand, config.display());
            let wrapped = login.wrap(config, room).map_err(|why| login.local(&why))?;
            login.arguments.extend(["-F".into(), wrapped.into()]);
        }
        let port = node.ssh.port.map(|port| port.to_string());
        for (option, value) in [("-p", port), ("-l", node.ssh.user.clone())] {
            let Some(value) = value else { continue };
            login.by_hand = format!("{} {option} {value}", login.by_hand);
            login.arguments.extend([option.into(), value.into()]);
        }
        login.by_hand = format!("{} {}", login.by_hand, login.host);
        Ok(login)
    }

    /// Writes a configuration that is ours first and then the user's.
    fn wrap(&mut self, config: PathBuf, room: &Path) -> std::io::Result<PathBuf> {
        // `Include` says nothing of a file that is not there.
        let config = std::path::absolute(config)?;
        drop(fs_err::File::open(&config)?);
        // A name without anything that means something to `Include`.
        let link = room.join("user_config");
        fs_err::os::unix::fs::symlink(&config, &link)?;
        let ours = EVERYWHERE.join("\n");
        let wrapped = room.join("config");
        fs_err::write(&wrapped, format!("{ours}\nInclude {}\n", link.display()))?;
        self.config = Some((config, link));
        Ok(wrapped)
    }

    /// Connects. A connection that is closed before the key exchange is no answer of the node's: a
    /// busy sshd (`MaxStartups`) does so at random, and it is tried again.
    pub(super) async fn connect(&self, room: &Path) -> Result<Session, Error> {
        let begun = Instant::now();
        let mut why = "ssh did not say why".to_owned();
        for tries in 1..=TRIES_MAX {
            let directory = tempfile::tempdir_in(room).map_err(|why| self.local(&why))?;
            let Some(words) = self.start(directory.path()).await? else {
                return Ok(Session::new_native_mux(directory));
            };
            if is_explained(&words) {
                why = words;
            } else if let Some(words) = self.explain().await? {
                why = proper(&words);
            } else {
                // It went well the second time.
                continue;
            }
            if !is_crowded(&why) {
                return Err(self.refused(&why));
            }
            if tries < TRIES_MAX {
                tokio::time::sleep(pause(tries)).await;
            }
        }
        Err(self.crowded(&why, begun.elapsed()).await)
    }

    /// Starts the process that keeps the connection; if there is none, what ssh said about it.
    async fn start(&self, directory: &Path) -> Result<Option<String>, Error> {
        let local = |why: std::io::Error| self.local(&why);
        let path = directory.join("said");
        let said = fs_err::File::create(&path).map_err(local)?;
        // Why sshd did not open a connection through it, ssh tells from this level on (`forward.rs`).
        let log = directory.join("log");
        let logging_in = Command::new("ssh")
            .kill_on_drop(true)
            .args(["-o", "LogLevel=INFO", "-E"])
            .arg(&log)
            .args(&self.arguments)
            .arg("-S")
            .arg(directory.join("master"))
            .args(["-M", "-f", "-N"])
            .args(["--", &self.host])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.into_parts().0)
            .status();
        let limit = limit::seconds(LOGIN_SECONDS);
        let Ok(status) = tokio::time::timeout(limit, logging_in).await else {
            let seconds = limit.as_secs();
            return Err(self.refused(&format!("the login did not end within {seconds} s")));
        };
        if status.map_err(local)?.success() {
            return Ok(None);
        }
        let mut said = fs_err::read(&path).map_err(local)?;
        said.extend(fs_err::read(&log).unwrap_or_default());
        Ok(Some(self.words(&said)))
    }

    /// Connects once more for the reason alone: a process that keeps a connection hides what jump
    /// hosts and proxies say (sshconnect.c), and by our log level what the node says before a
    /// login. Nothing if it went well.
    async fn explain(&self) -> Result<Option<String>, Error> {
        // Of the options on the command line, too, the first counts.
        let asked = Command::new("ssh")
            .args(["-o", "LogLevel=INFO", "-o", "ControlPath=none"])
            .args(&self.arguments)
            .args(["--", &self.host, "true"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let limit = Duration::from_secs(EXPLAIN_SECONDS);
        let Ok(asked) = tokio::time::timeout(limit, asked).await else {
            return Ok(Some(format!("no answer within {EXPLAIN_SECONDS} s")));
        };
        let asked = asked.map_err(|why| self.local(&why))?;
        // Any other status is that of a command that was run.
        let failed = asked.status.code() == Some(255);
        Ok(failed.then(|| self.words(&asked.stderr)))
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(&self.arguments).kill_on_drop(true);
        command
    }

    /// What ssh said, without its log and what it says of every connection.
    fn words(&self, said: &[u8]) -> String {
        let mut said = String::from_utf8_lossy(said).into_owned();
        if let Some((config, link)) = &self.config {
            let link = link.display().to_string();
            said = said.replace(&link, &config.display().to_string());
        }
        let is_noise = |line: &&str| {
            let starts = [
                "debug",
                "Warning: Permanently added",
                "** ",
                "Authenticated",
            ];
            line.is_empty() || starts.iter().any(|start| line.starts_with(start))
        };
        let lines = said.lines().map(str::trim).filter(|line| !is_noise(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What ssh's words mean.
    fn refused(&self, words: &str) -> Error {
        let (node, login) = (self.node.clone(), self.by_hand.clone());
        let host = self.host.clone();
        let mut why = super::last_lines(words, 3);
        if why.is_empty() {
            "ssh did not say why".clone_into(&mut why);
        }
        let has = |text: &str| words.contains(text);
        if has("IDENTIFICATION HAS CHANGED") || has("Host key for") && has("has changed") {
            // It may be a jump host's.
            let host = between(words, "Host key for ", " has changed").unwrap_or(host);
            Error::HostKeyChanged { node, host, login }
        } else if has("Host key verification failed") || has("host key is known") {
            let host = between(words, "host key is known for ", " and you").unwrap_or(host);
            Error::HostKeyUnknown { node, host, login }
        } else if has("onfiguration option") || has("Bad owner or permissions") {
            Error::Config { node, why }
        } else if has("Permission denied (")
            || has("Too many authentication failures")
            || has("Received disconnect from")
            || has("Connection closed by")
        {
            Error::Denied {
                node,
                host,
                why,
                login,
            }
        } else {
            Error::Unreachable {
                node,
                host,
                why,
                login,
            }
        }
    }

    /// The error of a connection that was closed before the key exchange once too often.
    async fn crowded(&self, words: &str, time: Duration) -> Error {
        let asked = self.ssh().args(["-G", "--", &self.host]).output().await;
        let resolved = asked.map(|asked| String::from_utf8_lossy(&asked.stdout).into_owned());
        let jump = resolved.ok().and_then(|text| {
            let jump = text.lines().find_map(|it| it.strip_prefix("proxyjump "));
            // ssh puts an address in brackets.
            let jump = jump.map(|it| it.trim_start_matches('[').trim_end_matches(']'));
            jump.map(ToOwned::to_owned)
        });
        let (whose, at) = match jump {
            Some(jump) => (format!("the jump host `{jump}`"), "the jump host"),
            None => (format!("`{}`", self.host), "the node"),
        };
        Error::Crowded {
            node: self.node.clone(),
            why: format!(
                "{whose} closed the connection before the key exchange, {TRIES_MAX} times in {} s: {}",
                time.as_secs(),
                super::last_lines(words, 3)
            ),
            at,
        }
    }

    fn local(&self, why: &std::io::Error) -> Error {
        Error::Config {
            node: self.node.clone(),
            why: why.to_string(),
        }
    }
}

/// Ends a connection at once, with all that still goes on over it: scripts that were given up among
/// them, which would keep it open for as long as a node likes.
///
/// Source: OpenSSH's PROTOCOL.mux, `MUX_MSG_HELLO` and `MUX_C_TERMINATE`.
pub(super) fn end(control: &Path) {
    const HELLO: [u32; 3] = [8, 0x0000_0001, 4];
    const TERMINATE: [u32; 3] = [8, 0x1000_0005, 0];
    let end = || -> std::io::Result<()> {
        let limit = Some(Duration::from_millis(END_MILLISECONDS));
        let mut control = UnixStream::connect(control)?;
        control.set_write_timeout(limit)?;
        control.set_read_timeout(limit)?;
        let words = HELLO.into_iter().chain(TERMINATE);
        let bytes: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
        control.write_all(&bytes)?;
        // Its own hello, and that it ends.
        control.read_exact(&mut [0; 24])
    };
    // One that is gone already needs no end.
    _ = end();
}

/// Whether these words tell the reason: those about a proxy's end, or of a connection that was
/// closed during the login, do not.
fn is_explained(words: &str) -> bool {
    let is_closed = words.contains("Connection closed by") && !is_crowded(words);
    !words.contains(THROUGH_PROXY) && !is_closed
}

/// The words without what ssh says of a proxy that ended, where the proxy itself said why.
fn proper(words: &str) -> String {
    let lines: Vec<&str> = words.lines().collect();
    let is_end = |at: usize| lines.get(at).is_some_and(|it| it.contains(THROUGH_PROXY));
    let of_proxy = |at: &usize| !(is_end(*at) || is_end(at + 1) && is_early(lines[*at]));
    let kept: Vec<&str> = (0..lines.len())
        .filter(of_proxy)
        .map(|at| lines[at])
        .collect();
    if kept.is_empty() {
        words.to_owned()
    } else {
        kept.join("\n")
    }
}

/// Whether the connection was closed before the key exchange.
fn is_crowded(words: &str) -> bool {
    words.lines().any(is_early)
}

fn is_early(line: &str) -> bool {
    let at = ["ssh_exchange_identification", "kex_exchange_identification"];
    let how = ["Connection closed", "Connection reset"];
    at.iter().any(|at| line.starts_with(at)) && how.iter().any(|how| line.contains(how))
}

/// Longer each time, and not as long as anybody else's: those who were turned away together would
/// come back together.
fn pause(tries: u32) -> Duration {
    let whole = PAUSE_MILLISECONDS << tries.min(8);
    let chance = u64::from(OsRng.next_u32()) % whole;
    Duration::from_millis(whole / 2 + chance)
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: &str = "kex_exchange_identification: Connection closed by remote host";

    fn login() -> Login {
        Login {
            node: "n1".parse().unwrap(),
            host: "10.0.0.1".to_owned(),
            by_hand: "ssh -l root 10.0.0.1".to_owned(),
            user: None,
            arguments: Vec::new(),
            config: None,
        }
    }

    #[track_caller]
    fn check(words: &str, expected: &str) {
        let login = login();
        let error = login.refused(&login.words(words.as_bytes()));
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_ssh_says_has_a_meaning_each() {
        check(
            "ssh: connect to host 10.0.0.1 port 22: Connection refused\r\n",
            "n1: cannot be reached at `10.0.0.1`: ssh: connect to host 10.0.0.1 port 22: Connection refused",
        );
        check(
            "debug1: Next authentication method: publickey\nroot@10.0.0.1: Permission denied (publickey).\r\n",
            "n1: `10.0.0.1` refused the login: root@10.0.0.1: Permission denied (publickey).",
        );
        check(
            "@@@@\nHost key for [10.0.0.9]:2222 has changed and you have requested strict checking.\r\nHost key verification failed.\r\n",
            "n1: the host key of `[10.0.0.9]:2222` has changed: this may be another machine",
        );
        check(
            "No ED25519 host key is known for jump and you have requested strict checking.\nHost key verification failed.",
            "n1: the host key of `jump` is not known",
        );
        check(
            "Host key verification failed.",
            "n1: the host key of `10.0.0.1` is not known",
        );
        check(
            "Connection closed by 10.0.0.1 port 22",
            "n1: `10.0.0.1` refused the login: Connection closed by 10.0.0.1 port 22",
        );
        check(
            "/home/me/config: line 3: Bad configuration option: color\n/home/me/config: terminating, 1 bad configuration options",
            "n1: ssh cannot be started: /home/me/config: line 3: Bad configuration option: color; /home/me/config: terminating, 1 bad configuration options",
        );
        check(
            "",
            "n1: cannot be reached at `10.0.0.1`: ssh did not say why",
        );
    }

    #[test]
    fn a_connection_closed_before_the_key_exchange_is_told_from_a_refusal_behind_a_proxy() {
        let end = format!("{CLOSED}\nConnection closed by {THROUGH_PROXY}");
        assert!(is_crowded(CLOSED) && is_explained(CLOSED));
        assert!(is_crowded(
            "kex_exchange_identification: read: Connection reset by peer"
        ));
        assert!(!is_explained(&end), "the proxy has the reason");
        assert!(!is_explained("Connection closed by 10.0.0.1 port 22"));
        let check = |words: &str, crowded: bool, left: &str| {
            let words = proper(&format!("{words}{end}"));
            assert_eq!((is_crowded(&words), words.as_str()), (crowded, left));
        };
        let denied = "me@jump: Permission denied (publickey).";
        check(&format!("{denied}\n"), false, denied);
        let dead =
            "channel 0: open failed: connect failed: No route to host\nstdio forwarding failed";
        check(&format!("{dead}\n"), false, dead);
        let busy = format!("{CLOSED}\nConnection closed by 10.0.0.9 port 22");
        check(&format!("{busy}\n"), true, &busy);
        check("", true, &end);
    }
}
