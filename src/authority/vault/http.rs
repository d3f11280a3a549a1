//! Requests to Vault: sent, sent again where Vault's own client would, and refused in its words.

use std::fmt::Write;
use std::time::Duration;

use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::Error;
use super::environment::Target;
use crate::inventory::vault::Address;
use crate::plain;
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
/// A certificate and its key.
pub(super) const IDENTITY_BYTES_MAX: u64 = 1 << 20;
/// How often a request is sent, and how long is waited before the first retry and at most as much
/// longer: as Vault's own client has it (`api.Config`: `MaxRetries`, `MinRetryWait`).
const TRIES_MAX: u32 = 3;
const WAIT: Duration = Duration::from_secs(1);
const JITTER_MILLISECONDS: u32 = 500;

/// Asks one Vault.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Where the address leads; of a socket only the paths below it count.
    base: Url,
    address: Address,
    namespace: Option<HeaderValue>,
    seconds: u64,
}

/// One request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: Vec<&'a str>,
    pub(super) token: Option<&'a Secret>,
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    /// What must not show in words, whatever Vault answers.
    pub(super) secrets: Vec<&'a Secret>,
}

impl<'a> Call<'a> {
    /// Asks for what is there.
    pub(super) fn get(path: &[&'a str], token: Option<&'a Secret>) -> Self {
        Self {
            method: Method::GET,
            path: path.to_vec(),
            token,
            body: None,
            secrets: token.into_iter().collect(),
        }
    }

    /// Has something done.
    pub(super) fn post(path: &[&'a str], token: Option<&'a Secret>, body: &impl Serialize) -> Self {
        let json = serde_json::to_vec(body).expect("texts are JSON");
        Self {
            method: Method::POST,
            body: Some(Zeroizing::new(json)),
            ..Self::get(path, token)
        }
    }

    /// With this kept out of any words, too.
    pub(super) fn hiding(mut self, secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        self.secrets.extend(secrets);
        self
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) words: String,
    /// Whether Vault itself cannot be reached or does not serve.
    pub(super) is_gone: bool,
    /// What it answered, if it did.
    pub(super) status: Option<u16>,
}

impl Fault {
    /// Something on this machine.
    pub(super) const fn here(words: String) -> Self {
        Self {
            words,
            is_gone: false,
            status: None,
        }
    }
}

/// How one try came to nothing.
struct Failed {
    fault: Fault,
    retry: Retry,
}

/// When a request that came to nothing is sent again.
enum Retry {
    /// Never: another try would come to the same.
    Never,
    /// After a while that grows with the tries.
    Soon,
    /// When the server said.
    After(Duration),
}

#[derive(Deserialize)]
struct Complaint {
    errors: Vec<String>,
}

impl Client {
    /// A client; `identity` is the PEM of a certificate and its key that it shows.
    pub(super) fn new(target: &Target, identity: Option<&Secret>) -> Result<Self, Error> {
        crate::fetch::use_ring();
        let mut roots = Vec::new();
        for path in &target.authorities {
            let pem = regular_file::read(path, AUTHORITIES_BYTES_MAX)?;
            let refuse = |reason: String| Error::NotACertificate {
                path: path.clone(),
                reason,
            };
            let read = reqwest::Certificate::from_pem_bundle(&pem);
            let read = read.map_err(|error| refuse(error.to_string()))?;
            if read.is_empty() {
                return Err(refuse("a file without a certificate".to_owned()));
            }
            roots.extend(read);
        }
        let address = &target.address;
        let refuse = |reason: String| Error::Crypto {
            what: format!("a connection to Vault at `{address}`"),
            reason,
        };
        let base = match address {
            Address::Url(url) => url.as_str(),
            Address::Socket(_) => "http://localhost",
        };
        let base = base
            .parse::<Url>()
            .map_err(|error| refuse(error.to_string()))?;
        let is_secure = base.scheme() == "https";
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("kinstall/", env!("CARGO_PKG_VERSION")))
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
            }));
        if let Some(identity) = identity {
            let identity = reqwest::Identity::from_pem(identity.expose());
            http = http.identity(identity.map_err(|error| refuse(last_cause(&error)))?);
        }
        if address.is_of_this_machine() {
            http = http.no_proxy();
        }
        if let Address::Socket(path) = address {
            http = http.unix_socket(path.as_path());
        }
        let namespace = target.namespace.as_deref().map(HeaderValue::from_str);
        let namespace = namespace.transpose();
        Ok(Self {
            http: http.build().map_err(|error| refuse(last_cause(&error)))?,
            base,
            address: address.clone(),
            namespace: namespace.map_err(|error| refuse(error.to_string()))?,
            seconds: target.seconds,
        })
    }

    /// Sends a request, again where Vault's own client would, and gives back the text of a good
    /// answer.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Zeroizing<String>, Fault> {
        let deadline = Instant::now() + Duration::from_secs(self.seconds);
        let mut last: Option<Fault> = None;
        for tries in 1..=TRIES_MAX {
            let Ok(tried) = tokio::time::timeout_at(deadline, self.once(call)).await else {
                let before = last.map(|fault| format!("; before that: {}", fault.words));
                let before = before.unwrap_or_default();
                let (asked, seconds) = (self.asked(call), self.seconds);
                return Err(Fault {
                    words: format!(
                        "{asked}: no answer within {}{before}",
                        plain::count(seconds, "second")
                    ),
                    is_gone: true,
                    status: None,
                });
            };
            let failed = match tried {
                Ok(text) => return Ok(text),
                Err(failed) => failed,
            };
            let wait = match failed.retry {
                Retry::Never => return Err(failed.fault),
                Retry::Soon => (WAIT + jitter()) * tries,
                Retry::After(wait) => wait,
            };
            if tries == TRIES_MAX || Instant::now() + wait >= deadline {
                let mut fault = failed.fault;
                if tries > 1 {
                    // Writing to a String cannot fail.
                    _ = write!(fault.words, " (asked {tries} times)");
                }
                return Err(fault);
            }
            last = Some(failed.fault);
            tokio::time::sleep(wait).await;
        }
        unreachable!("the last try returns")
    }

    /// The same, read as JSON.
    pub(super) async fn json<T: for<'a> Deserialize<'a>>(
        &self,
        call: &Call<'_>,
    ) -> Result<T, Fault> {
        let text = self.send(call).await?;
        // What the parser says of it may quote the answer, which may have a key in it.
        serde_json::from_str(&text).map_err(|_| {
            let asked = self.asked(call);
            Fault::here(format!("{asked}: its answer is not what Vault documents"))
        })
    }

    async fn once(&self, call: &Call<'_>) -> Result<Zeroizing<String>, Failed> {
        let gone = |error: reqwest::Error| {
            let words = format!("{}: {}", self.asked(call), last_cause(&error));
            let is_final = error.is_redirect() || error.is_builder() || is_of_tls(&error);
            Failed {
                fault: Fault {
                    words,
                    is_gone: true,
                    status: None,
                },
                retry: if is_final { Retry::Never } else { Retry::Soon },
            }
        };
        let here = |words: &str| Failed {
            fault: Fault::here(words.to_owned()),
            retry: Retry::Never,
        };
        let mut request = self
            .http
            .request(call.method.clone(), self.url(&call.path))
            // Of Vault's own client; it keeps browsers' forms out, and agents ask for it.
            .header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = call.token {
            let value = HeaderValue::from_bytes(token.expose());
            let mut value =
                value.map_err(|_| here("the token is none that a request can carry"))?;
            value.set_sensitive(true);
            request = request.header("x-vault-token", value);
        }
        if let Some(body) = &call.body {
            let request_body = body.to_vec();
            request = request
                .header("content-type", "application/json")
                .body(request_body);
        }
        let mut answer = request.send().await.map_err(gone)?;
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER).cloned();
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        while let Some(chunk) = answer.chunk().await.map_err(gone)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let asked = self.asked(call);
                return Err(here(&format!(
                    "{asked}: its answer is far too long for Vault's"
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
        if status.is_success() {
            return Ok(text);
        }
        let asked = format!("{} {}", call.method, self.url(&call.path).path());
        Err(Failed {
            fault: refusal(&asked, status, &text, &call.secrets),
            retry: match retry_after(after.as_ref()) {
                _ if !is_passing(status) => Retry::Never,
                Some(wait) => Retry::After(wait),
                None => Retry::Soon,
            },
        })
    }

    fn asked(&self, call: &Call<'_>) -> String {
        let (method, url) = (&call.method, self.url(&call.path));
        match &self.address {
            Address::Url(_) => format!("{method} {url}"),
            Address::Socket(_) => format!("{method} {} by `{}`", url.path(), self.address),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // An engine may be mounted at several words with slashes between.
            let words = path.iter().flat_map(|part| part.split('/'));
            segments
                .clear()
                .push("v1")
                .extend(words.filter(|word| !word.is_empty()));
        }
        url
    }
}

/// The PEM of a certificate and its key, as a client shows them.
pub(super) fn identity(
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> std::io::Result<Secret> {
    let certificate = regular_file::read(certificate, IDENTITY_BYTES_MAX)?;
    let key = regular_file::read(key, IDENTITY_BYTES_MAX)?;
    Ok(joined(&Secret::new(certificate), &Secret::new(key)))
}

/// The same of texts.
pub(super) fn joined(certificate: &Secret, key: &Secret) -> Secret {
    Secret::new([certificate.expose(), b"\n", key.expose()].concat())
}

/// Whether an answer may be another one in a moment: too many requests, a state that a replica does
/// not have yet, and whatever is wrong with the server; not that it knows no such method.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PRECONDITION_FAILED
    ) || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// How long the server asks to be left alone, in whole seconds; a date is not asked for by Vault.
fn retry_after(value: Option<&HeaderValue>) -> Option<Duration> {
    let seconds: u64 = value?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether a certificate was refused: another try would come to the same.
fn is_of_tls(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An error of IO passes over the one that it wraps.
        let inner = error.downcast_ref::<std::io::Error>();
        cause = match inner.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// Keeps requests that were refused together from coming back together.
fn jitter() -> Duration {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Duration::from_millis(u64::from(since.subsec_micros() % JITTER_MILLISECONDS))
}

/// An answer that refuses, in Vault's own words, or in those of whoever answered in its place.
fn refusal(asked: &str, status: StatusCode, text: &str, secrets: &[&Secret]) -> Fault {
    let complaint: Option<Complaint> = serde_json::from_str(text).ok();
    let mut words = match complaint {
        Some(complaint) => complaint.errors.join("; "),
        None => text.to_owned(),
    };
    for secret in secrets {
        if let Some(secret) = secret.expose_text().filter(|secret| !secret.is_empty()) {
            words = words.replace(secret, "…");
        }
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: String = words.chars().take(WORDS_MAX).collect();
    let mut words = plain::line(&words).into_owned();
    if words.is_empty() {
        "without a word why".clone_into(&mut words);
    }
    let code = status.as_u16();
    Fault {
        words: format!("{asked}: {code}: {words}"),
        // Sealed, or down for maintenance.
        is_gone: status == StatusCode::SERVICE_UNAVAILABLE,
        status: Some(code),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, text: &str, expected: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let secret = Secret::new("hunter2");
        let fault = refusal("POST /v1/pki/issue/r", status, text, &[&secret]);
        assert_eq!(fault.words, format!("POST /v1/pki/issue/r: {expected}"));
    }

    #[test]
    fn refusals_are_told_in_the_words_of_whoever_answered() {
        check(400, r#"{"errors":["a","b\n c"]}"#, "400: a; b c");
        check(404, r#"{"errors":[]}"#, "404: without a word why");
        check(502, "Bad gateway:\n no hunter2\n", "502: Bad gateway: no …");
        check(503, "\u{1b}[2Jgone", "503: \\x1b[2Jgone");
        check(
            500,
            &"x".repeat(5000),
            &format!("500: {}", "x".repeat(WORDS_MAX)),
        );
    }

    #[test]
    fn what_may_pass_is_asked_again() {
        let passing = |code| is_passing(StatusCode::from_u16(code).unwrap());
        for code in [412, 429, 500, 502, 503] {
            assert!(passing(code), "{code}");
        }
        for code in [400, 403, 404, 501] {
            assert!(!passing(code), "{code}");
        }
        let after = |value| retry_after(Some(&HeaderValue::from_static(value)));
        assert_eq!(after("2"), Some(Duration::from_secs(2)));
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
