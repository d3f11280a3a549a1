//! Asking a unit whether it is healthy: over HTTPS, on the node's own loopback, through its SSH
//! connection, with the operator's credentials. Nothing is needed on the node for it.

pub mod served;

use std::time::Duration;

use crate::certificate::{AuthorityName, Credentials, Kind};
use crate::manifest::Probe;
use crate::transport::{self, ssh::Connection};

/// How long one answer may take, in seconds.
const ANSWER_SECONDS: u64 = 5;

/// Asks questions with the credentials they need.
pub struct Prober<'a> {
    credentials: &'a Credentials,
}

impl<'a> Prober<'a> {
    /// With the operator's credentials.
    pub fn new(credentials: &'a Credentials) -> Self {
        Self { credentials }
    }

    /// Asks once: nothing if the unit is healthy, else what it answered.
    pub async fn ask(
        &self,
        connection: &Connection,
        probe: &Probe,
    ) -> Result<Option<String>, transport::Error> {
        let client = match self.client_for(connection, probe).await? {
            Ok(client) => client.timeout(Duration::from_secs(ANSWER_SECONDS)),
            Err(why) => return Ok(Some(why)),
        };
        let client = match client.build() {
            Ok(client) => client,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let url = format!("https://127.0.0.1:{}{}", probe.port, probe.path);
        let answer = match client.get(url).send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Some(last_cause(&error))),
        };
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let reports_ill = text.contains("\"health\":\"false\"");
        if status.is_success() && !reports_ill {
            return Ok(None);
        }
        Ok(Some(format!("{status}: {}", summary(&text))))
    }

    /// A client for a unit's port, with the credentials its probe names; or why there is none.
    pub async fn client_for(
        &self,
        connection: &Connection,
        probe: &Probe,
    ) -> Result<Result<reqwest::ClientBuilder, String>, transport::Error> {
        let socket = connection.forward(probe.port).await?;
        Ok(self.client(probe, &socket))
    }

    /// A client of the kube-apiserver of a node, with the administrator's certificate; else why
    /// there can be none.
    pub async fn api(
        &self,
        connection: &Connection,
        port: u16,
    ) -> Result<Result<reqwest::Client, String>, transport::Error> {
        let socket = connection.forward(port).await?;
        let probe = Probe {
            port,
            path: String::new(),
            client: Some(Kind::Admin.name().to_owned()),
            authority: Some(AuthorityName::Kubernetes.name().to_owned()),
        };
        let client = self.client(&probe, &socket).and_then(|client| {
            let client = client.timeout(Duration::from_secs(ANSWER_SECONDS));
            client.build().map_err(|error| error.to_string())
        });
        Ok(client)
    }

    fn client(
        &self,
        probe: &Probe,
        socket: &std::path::Path,
    ) -> Result<reqwest::ClientBuilder, String> {
        crate::fetch::use_ring();
        let mut builder = reqwest::Client::builder().unix_socket(socket).no_proxy();
        builder = match &probe.authority {
            None => builder.tls_danger_accept_invalid_certs(true),
            Some(name) => {
                let pem = self
                    .authority(name)
                    .ok_or(format!("no authority `{name}` at hand"))?;
                let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                    .map_err(|error| error.to_string())?;
                builder.tls_certs_only(roots)
            }
        };
        if let Some(name) = &probe.client {
            let leaf = self
                .credentials
                .leaves
                .iter()
                .find(|(id, _)| id.to_string() == *name);
            let (_, leaf) = leaf.ok_or(format!("no certificate `{name}` at hand"))?;
            let mut pem = leaf.key_pem.expose().to_vec();
            pem.push(b'\n');
            pem.extend_from_slice(leaf.chain_pem.as_bytes());
            let identity = reqwest::Identity::from_pem(&pem).map_err(|error| error.to_string())?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }

    fn authority(&self, name: &str) -> Option<&String> {
        let name = AuthorityName::ALL
            .into_iter()
            .find(|known| known.name() == name)?;
        self.credentials.authorities.get(&name)
    }
}

/// The innermost reason: the outer ones say that a request failed, which is known.
fn last_cause(error: &dyn std::error::Error) -> String {
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
