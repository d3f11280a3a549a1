//! Asking a unit whether it is healthy: over HTTPS, on the node's own loopback, through its SSH
//! connection, with the operator's credentials. Nothing is needed on the node for it, unless its sshd
//! forbids forwarding.

pub mod on_node;
pub mod served;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::certificate::{AuthorityName, Credentials, Kind};
use crate::component::Scheme;
use crate::manifest::{Probe, UnitName};
use crate::script;
use crate::secret::Secret;
use crate::transport::{self, Body, Transport, ssh::Connection};

/// How long one answer may take, in seconds.
const ANSWER_SECONDS: u64 = 5;
/// The most it may hold, in bytes: a health page has a line for each check, a Lease less than that.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Where services are asked.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Asks questions with the credentials they need.
pub struct Prober<'a> {
    credentials: &'a Credentials,
}

impl<'a> Prober<'a> {
    /// With the operator's credentials.
    pub fn new(credentials: &'a Credentials) -> Self {
        Self { credentials }
    }

    /// How a unit is: by its own answer, or where it has none by systemd's.
    pub async fn health(
        &self,
        transport: &Transport,
        unit: &UnitName,
        probe: Option<&Probe>,
    ) -> Result<Health, transport::Error> {
        if let Some(probe) = probe {
            return self.ask(transport, probe).await;
        }
        let words = [unit.as_str()];
        let output = transport
            .run(script::EXPLAIN, &words, Body::default())
            .await?;
        let mut words = output.split_ascii_whitespace();
        let state = words.find_map(|word| word.strip_prefix("ActiveState="));
        Ok(match state.unwrap_or("unknown") {
            "active" => Health::Well,
            state => Health::Ill(format!("systemd calls it {state}")),
        })
    }

    /// Asks a unit once how it is.
    pub async fn ask(
        &self,
        transport: &Transport,
        probe: &Probe,
    ) -> Result<Health, transport::Error> {
        let (status, text) = match self.get(transport, probe).await? {
            Answer::Given { status, text } => (status, text),
            Answer::Failed(why) => return Ok(Health::Ill(why)),
            Answer::NotAsked(why) => return Ok(Health::NotAsked(why)),
        };
        let reports_ill = text.contains("\"health\":\"false\"");
        if (200..300).contains(&status) && !reports_ill {
            return Ok(Health::Well);
        }
        let status = reqwest::StatusCode::from_u16(status);
        let status = status.map_or_else(|_| "no HTTP status".to_owned(), |it| it.to_string());
        Ok(Health::Ill(format!("{status}: {}", summary(&text))))
    }

    /// Asks for one page: through the SSH connection, or on the node where that is forbidden.
    pub async fn get(
        &self,
        transport: &Transport,
        probe: &Probe,
    ) -> Result<Answer, transport::Error> {
        self.get_at(transport, LOOPBACK, probe).await
    }

    /// The same of another address that the node can reach, its own for example.
    pub async fn get_at(
        &self,
        transport: &Transport,
        address: IpAddr,
        probe: &Probe,
    ) -> Result<Answer, transport::Error> {
        let Some(connection) = transport.ssh() else {
            return Ok(Answer::NotAsked("nothing runs in a directory".to_owned()));
        };
        let failed = |why| Ok(Answer::Failed(why));
        let socket = connection.forward_to(address, probe.port).await?;
        let client = match self.client(probe, &socket) {
            // What comes as HTTP/2 at etcd's port for peers is for gRPC alone.
            Ok(client) => client
                .http1_only()
                .timeout(Duration::from_secs(ANSWER_SECONDS)),
            Err(why) => return failed(why),
        };
        let client = match client.build() {
            Ok(client) => client,
            Err(error) => return failed(error.to_string()),
        };
        let url = format!(
            "{}://{}{}",
            probe.scheme.word(),
            SocketAddr::new(address, probe.port),
            probe.path
        );
        let error = match client.get(url).send().await {
            Ok(answer) => return Ok(Answer::of(answer).await),
            Err(error) => error,
        };
        if !connection.is_forbidden(address, probe.port).await? {
            return failed(last_cause(&error));
        }
        match self.credentials_of(probe) {
            Ok((authority, identity)) => {
                let identity = identity.as_ref();
                on_node::get(transport, address, probe, authority, identity).await
            }
            Err(why) => failed(why),
        }
    }

    /// A client for a unit's port, with the credentials its probe names; or why there is none.
    async fn client_for(
        &self,
        connection: &Connection,
        probe: &Probe,
    ) -> Result<Result<reqwest::ClientBuilder, String>, transport::Error> {
        let socket = connection.forward(probe.port).await?;
        Ok(self.client(probe, &socket))
    }

    /// The same for what can be asked through the SSH connection alone, and `what` that is.
    pub async fn client_to(
        &self,
        connection: &Connection,
        probe: &Probe,
        what: &str,
    ) -> Result<Result<reqwest::ClientBuilder, String>, transport::Error> {
        let port = probe.port;
        if connection.is_forbidden(LOOPBACK, port).await? {
            let why = format!("sshd forbids forwarding to it, and {what} needs it");
            return Err(connection.no_forward(port, why));
        }
        self.client_for(connection, probe).await
    }

    /// A client of the kube-apiserver of a node, with the administrator's certificate; else why
    /// there can be none.
    pub async fn api(
        &self,
        connection: &Connection,
        port: u16,
    ) -> Result<Result<reqwest::Client, String>, transport::Error> {
        let probe = administrator(port, String::new());
        let client = self.client_to(connection, &probe, "what is to be done by its API");
        Ok(client.await?.and_then(|client| {
            let client = client.timeout(Duration::from_secs(ANSWER_SECONDS));
            client.build().map_err(|error| error.to_string())
        }))
    }

    /// The same for a kube-apiserver of another node, as this node reaches it.
    pub async fn api_at(
        &self,
        connection: &Connection,
        server: SocketAddr,
    ) -> Result<Result<reqwest::Client, String>, transport::Error> {
        let (address, port) = (server.ip(), server.port());
        if connection.is_forbidden(address, port).await? {
            return Ok(Err("its sshd forbids forwarding to it".to_owned()));
        }
        let probe = administrator(port, String::new());
        let socket = connection.forward_to(address, port).await?;
        Ok(self.client(&probe, &socket).and_then(|client| {
            let client = client.timeout(Duration::from_secs(ANSWER_SECONDS));
            client.build().map_err(|error| error.to_string())
        }))
    }

    fn client(
        &self,
        probe: &Probe,
        socket: &std::path::Path,
    ) -> Result<reqwest::ClientBuilder, String> {
        crate::fetch::use_ring();
        let (authority, identity) = self.credentials_of(probe)?;
        let mut builder = reqwest::Client::builder().unix_socket(socket).no_proxy();
        builder = match authority {
            None => builder.tls_danger_accept_invalid_certs(true),
            Some(pem) => {
                let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                    .map_err(|error| error.to_string())?;
                builder.tls_certs_only(roots)
            }
        };
        if let Some(pem) = identity {
            let identity = reqwest::Identity::from_pem(pem.expose());
            builder = builder.identity(identity.map_err(|error| error.to_string())?);
        }
        Ok(builder)
    }

    /// The authority that a server is believed by, and the key and certificate that it is shown, in
    /// PEM; or what is not at hand.
    fn credentials_of(&self, probe: &Probe) -> Result<(Option<&str>, Option<Secret>), String> {
        let authority = match &probe.authority {
            None => None,
            Some(name) => {
                let pem = self.authority(name);
                Some(
                    pem.ok_or(format!("no authority `{name}` at hand"))?
                        .as_str(),
                )
            }
        };
        let identity = match &probe.client {
            None => None,
            Some(name) => {
                let mut leaves = self.credentials.leaves.iter();
                let leaf = leaves.find(|(id, _)| id.to_string() == *name);
                let (_, leaf) = leaf.ok_or(format!("no certificate `{name}` at hand"))?;
                let mut pem = leaf.key_pem.expose().to_vec();
                pem.push(b'\n');
                pem.extend_from_slice(leaf.chain_pem.as_bytes());
                Some(Secret::new(pem))
            }
        };
        Ok((authority, identity))
    }

    fn authority(&self, name: &str) -> Option<&String> {
        let name = AuthorityName::ALL
            .into_iter()
            .find(|known| known.name() == name)?;
        self.credentials.authorities.get(&name)
    }
}

/// A question to a kube-apiserver, with the administrator's certificate.
pub fn administrator(port: u16, path: String) -> Probe {
    Probe {
        scheme: Scheme::Https,
        port,
        path,
        client: Some(Kind::Admin.name().to_owned()),
        authority: Some(AuthorityName::Kubernetes.name().to_owned()),
    }
}

/// How a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It says that it is healthy.
    Well,
    /// What it says instead, or why it says nothing.
    Ill(String),
    /// It could not be asked, so nobody knows.
    NotAsked(String),
}

/// What came of asking for a page.
#[derive(Debug)]
pub enum Answer {
    /// The page.
    Given {
        /// Its HTTP status.
        status: u16,
        /// Its text.
        text: String,
    },
    /// Why there is none.
    Failed(String),
    /// Why it could not be asked for.
    NotAsked(String),
}

impl Answer {
    /// Reads an answer to its end: one that has none, or breaks off, is no answer.
    async fn of(mut answer: reqwest::Response) -> Self {
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > ANSWER_BYTES_MAX => {
                    return Self::too_large();
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    let why = last_cause(&error);
                    return Self::Failed(format!("its answer broke off: {why}"));
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self::Given { status, text }
    }

    fn too_large() -> Self {
        let kilobytes = ANSWER_BYTES_MAX >> 10;
        Self::Failed(format!("its answer is longer than {kilobytes} KiB"))
    }
}

/// The innermost reason: the outer ones say that a request failed, which is known.
pub(crate) fn last_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a health page complains of, in one line.
fn summary(text: &str) -> String {
    let failing: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("[-]"))
        .collect();
    let lines = if failing.is_empty() {
        text.lines().take(2).collect()
    } else {
        failing
    };
    lines.join("; ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes of an answer that begins like this, and then repeats something.
    async fn answer(begin: &'static str, again: &'static [u8]) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            // Until nobody reads it any more.
            while !again.is_empty() && stream.write_all(again).await.is_ok() {}
        };
        crate::fetch::use_ring();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asking = async { Answer::of(client.get(url).send().await.unwrap()).await };
        tokio::join!(serving, asking).1
    }

    #[tokio::test]
    async fn only_an_answer_with_an_end_counts() {
        let whole = answer("HTTP/1.1 200 OK\r\n\r\nok", b"").await;
        assert!(matches!(whole, Answer::Given { status: 200, text } if text == "ok"));
        let endless = answer("HTTP/1.1 200 OK\r\n\r\n", &[b'A'; 4096]).await;
        assert!(
            matches!(endless, Answer::Failed(why) if why == "its answer is longer than 64 KiB")
        );
        let cut = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", b"").await;
        assert!(matches!(cut, Answer::Failed(why) if why.starts_with("its answer broke off: ")));
    }
}
