//! Requests to Vault and its answers.

use std::path::Path;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::super::Error;
use super::order::Order;
use crate::inventory::vault::Vault;
use crate::regular_file;
use crate::secret::Secret;

/// An answer is a few certificates; a larger one is no answer of Vault's.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How much of Vault's words is shown.
const WORDS_MAX: usize = 600;
/// A standby sends to the active one, once.
const REDIRECTS_MAX: usize = 2;
/// The most bytes of the authorities that vouch for Vault: more than any system trusts.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;

/// Asks one Vault.
pub(super) struct Client {
    http: reqwest::Client,
    address: Url,
    seconds: u64,
}

/// What Vault issued, all of it in PEM.
#[derive(Clone)]
pub(in crate::authority) struct Issued {
    /// The certificate, then those of its chain that did not sign themselves.
    pub(in crate::authority) chain: String,
    pub(in crate::authority) key: Secret,
    /// Who signed it. Not who stands above: where one root has signed an authority for each set,
    /// peers that trusted it would trust every set.
    pub(in crate::authority) authority: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) words: String,
    /// Whether Vault itself cannot be reached or does not serve.
    pub(super) is_gone: bool,
}

impl Fault {
    /// Something on this machine.
    pub(super) const fn here(words: String) -> Self {
        Self {
            words,
            is_gone: false,
        }
    }
}

#[derive(Serialize)]
struct Password<'a> {
    password: &'a str,
}

#[derive(Serialize)]
struct Ask<'a> {
    common_name: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    alt_names: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ip_sans: String,
    ttl: String,
}

#[derive(Deserialize)]
struct Entry {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(deserialize_with = "secret")]
    client_token: Secret,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    certificate: String,
    issuing_ca: String,
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
    #[serde(deserialize_with = "secret")]
    private_key: Secret,
}

#[derive(Deserialize)]
struct Complaint {
    errors: Vec<String>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

impl Client {
    pub(super) fn new(vault: &Vault, ca: Option<&Path>) -> Result<Self, Error> {
        crate::fetch::use_ring();
        let roots = match ca {
            None => Vec::new(),
            Some(path) => {
                let pem = regular_file::read(path, AUTHORITIES_BYTES_MAX)?;
                let roots = reqwest::Certificate::from_pem_bundle(&pem);
                let refuse = |reason: String| Error::NotACertificate {
                    path: path.to_owned(),
                    reason,
                };
                let roots = roots.map_err(|error| refuse(error.to_string()))?;
                if roots.is_empty() {
                    return Err(refuse("a file without a certificate".to_owned()));
                }
                roots
            }
        };
        let refuse = |reason: String| Error::Crypto {
            what: format!("a connection to Vault at `{}`", vault.address),
            reason,
        };
        let address = vault.address.parse::<Url>();
        let address = address.map_err(|error| refuse(error.to_string()))?;
        let is_secure = address.scheme() == "https";
        let http = reqwest::Client::builder()
            .user_agent(concat!("kinstall/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_secs(vault.seconds))
            .tls_certs_merge(roots)
            // A token must not leave by a plainer way than it was meant for.
            .redirect(Policy::custom(move |attempt| {
                if attempt.previous().len() > REDIRECTS_MAX {
                    return attempt.error("sent on and on");
                }
                if is_secure && attempt.url().scheme() != "https" {
                    return attempt.error("sent on to an address without TLS");
                }
                attempt.follow()
            }))
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            http,
            address,
            seconds: vault.seconds,
        })
    }

    /// Logs a user in; answers a token.
    pub(super) async fn login(
        &self,
        mount: &str,
        user: &str,
        password: &Secret,
    ) -> Result<Secret, Fault> {
        let path = ["v1", "auth", mount, "login", user];
        let body = Password {
            password: password.expose_text().unwrap_or_default(),
        };
        let text = self.post(&path, None, &body, password).await?;
        let entry: Entry = self.parsed(&path, &text)?;
        Ok(entry.auth.client_token)
    }

    /// Has a certificate issued.
    pub(super) async fn issue(&self, order: &Order, token: &Secret) -> Result<Issued, Fault> {
        let path = ["v1", &order.mount, "issue", &order.role];
        let joined = |names: &std::collections::BTreeSet<String>| {
            names
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        let body = Ask {
            common_name: &order.common_name,
            alt_names: joined(&order.dns),
            ip_sans: joined(&order.addresses),
            ttl: format!("{}h", order.hours),
        };
        let text = self.post(&path, Some(token), &body, token).await?;
        let answer: Answer = self.parsed(&path, &text)?;
        Ok(issued(answer.data))
    }

    /// Sends something and gives back the text of a good answer. The secret never shows in words.
    async fn post(
        &self,
        path: &[&str],
        token: Option<&Secret>,
        body: &impl Serialize,
        secret: &Secret,
    ) -> Result<Zeroizing<String>, Fault> {
        let url = self.url(path);
        let asked = format!("POST {url}");
        let gone = |error: reqwest::Error| {
            let words = if error.is_timeout() {
                format!("{asked}: no answer within {} seconds", self.seconds)
            } else {
                format!("{asked}: {}", last_cause(&error))
            };
            Fault {
                words,
                is_gone: true,
            }
        };
        let json = serde_json::to_vec(body).expect("texts are JSON");
        let mut request = self
            .http
            .post(url.clone())
            .header("content-type", "application/json")
            // Of Vault's own client; it keeps browsers' forms out.
            .header("x-vault-request", "true")
            .body(json);
        if let Some(token) = token {
            let value = reqwest::header::HeaderValue::from_bytes(token.expose());
            let fault = |_| Fault::here("the token is none that a request can carry".to_owned());
            let mut value = value.map_err(fault)?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        let mut answer = request.send().await.map_err(gone)?;
        let status = answer.status();
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        while let Some(chunk) = answer.chunk().await.map_err(gone)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let words = format!("{asked}: its answer is far too long for Vault's");
                return Err(Fault::here(words));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
        if status.is_success() {
            return Ok(text);
        }
        let asked = format!("POST {}", url.path());
        Err(refusal(&asked, status, &text, secret))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // An engine may be mounted at several words with slashes between.
            let words = path.iter().flat_map(|part| part.split('/'));
            segments
                .clear()
                .extend(words.filter(|word| !word.is_empty()));
        }
        url
    }

    fn parsed<T: for<'a> Deserialize<'a>>(&self, path: &[&str], text: &str) -> Result<T, Fault> {
        // What the parser says of it may quote the answer, which has a key in it.
        serde_json::from_str(text).map_err(|_| {
            let url = self.url(path);
            Fault::here(format!(
                "POST {url}: its answer is not what Vault documents"
            ))
        })
    }
}

/// An answer that refuses, in Vault's own words.
fn refusal(asked: &str, status: StatusCode, text: &str, secret: &Secret) -> Fault {
    let complaint: Option<Complaint> = serde_json::from_str(text).ok();
    let errors = complaint.map(|it| it.errors).unwrap_or_default();
    let mut words = errors.join("; ");
    if let Some(secret) = secret.expose_text().filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "…");
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut words: String = words
        .chars()
        .filter(|character| !character.is_control())
        .take(WORDS_MAX)
        .collect();
    if words.is_empty() {
        "without a word why".clone_into(&mut words);
    }
    let code = status.as_u16();
    Fault {
        words: format!("{asked}: {code}: {words}"),
        // Sealed, or down for maintenance.
        is_gone: status == StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn issued(data: Data) -> Issued {
    use crate::certificate::describe::{certificates, is_signed_by};
    let chain = data.ca_chain.unwrap_or_default().join("\n");
    let issuer = certificates(&data.issuing_ca);
    let issuer = issuer.get(..1).unwrap_or_default();
    let mut authorities = issuer.to_vec();
    for pem in certificates(&chain) {
        if !authorities.contains(&pem) {
            authorities.push(pem);
        }
    }
    let text = |pems: &[&str]| -> String { pems.iter().flat_map(|pem| [*pem, "\n"]).collect() };
    let is_above = |pem: &&&str| is_signed_by(pem, pem) != Ok(true);
    let above: Vec<&str> = authorities.iter().filter(is_above).copied().collect();
    let leaf = certificates(&data.certificate);
    Issued {
        chain: text(leaf.get(..1).unwrap_or_default()) + &text(&above),
        key: data.private_key,
        authority: text(issuer),
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
