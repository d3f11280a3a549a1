//! One request: what is sent, which answers are taken, and which redirects are followed.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::{self, Policy};
use reqwest::{Response, StatusCode, Url};

use super::checksum;
use super::error::{Error, Fault};
use super::patience::Limits;
use super::source::shown;
use crate::regular_file;

const REDIRECTS_MAX: usize = 10;
/// The most bytes of the authorities that vouch for mirrors: more than any system trusts.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;
/// How much of an unwanted answer is read to see what it says, in bytes.
const PAGE_BYTES_MAX: usize = 2048;

/// Sends requests; made when the first one is sent.
pub(super) struct Http {
    client: OnceLock<reqwest::Client>,
    limits: Limits,
    /// The user's own CAs, beside the system's.
    authorities: Vec<reqwest::Certificate>,
}

/// What a request asks to go on with.
pub(super) struct Resume<'a> {
    pub(super) from: u64,
    /// The validator that the server gave with the first part.
    pub(super) validator: Option<&'a str>,
}

/// An answer that has the file, or the rest of it.
pub(super) struct Answer {
    response: Response,
    stall: Duration,
    /// Where in the file it begins.
    pub(super) from: u64,
    /// How long the file says it is.
    pub(super) whole: Option<u64>,
    /// What tells this version of the file from others.
    pub(super) validator: Option<String>,
}

impl Http {
    /// Trusts the system's CAs (or those of `SSL_CERT_FILE`), and those of a PEM file.
    pub(super) fn new(limits: Limits, ca: Option<&Path>) -> Result<Self, Error> {
        let authorities = ca.map(authorities).transpose()?;
        Ok(Self {
            client: OnceLock::new(),
            limits,
            authorities: authorities.unwrap_or_default(),
        })
    }

    pub(super) async fn get(&self, url: &Url, resume: Option<Resume<'_>>) -> Result<Answer, Fault> {
        let mut request = self.client()?.get(url.clone());
        // What is hashed must be what lies there, not what a server made of it for the way.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        let asked = resume.as_ref().map_or(0, |resume| resume.from);
        if let Some(resume) = resume.filter(|resume| resume.from > 0) {
            request = request.header(header::RANGE, format!("bytes={}-", resume.from));
            if let Some(validator) = resume.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let stall = Duration::from_secs(self.limits.stall_seconds);
        let stalled = Fault::Stalled {
            seconds: self.limits.stall_seconds,
            received: asked,
        };
        let sent = tokio::time::timeout(stall, request.send()).await;
        let response = sent
            .map_err(|_| stalled)?
            .map_err(|error| fault(&error, asked))?;
        Answer::of(response, asked, stall).await
    }

    fn client(&self) -> Result<&reqwest::Client, Fault> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        use_ring();
        let client = reqwest::Client::builder()
            .user_agent(concat!("kinstall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(self.limits.connect_seconds))
            .redirect(Policy::custom(follow))
            .tls_certs_merge(self.authorities.iter().cloned())
            .build()
            .map_err(|error| Fault::Tls(chain(&error)))?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn authorities(ca: &Path) -> Result<Vec<reqwest::Certificate>, Error> {
    let refuse = |problem: String| Error::Ca { problem };
    let pem =
        regular_file::read(ca, AUTHORITIES_BYTES_MAX).map_err(|error| refuse(error.to_string()))?;
    let bundle = reqwest::Certificate::from_pem_bundle(&pem);
    let bundle = bundle.map_err(|error| refuse(format!("`{}`: {error}", ca.display())))?;
    if bundle.is_empty() {
        return Err(refuse(format!("`{}` holds no certificate", ca.display())));
    }
    Ok(bundle)
}

impl Answer {
    async fn of(response: Response, asked: u64, stall: Duration) -> Result<Self, Fault> {
        let status = response.status();
        let mut answer = Self {
            from: 0,
            whole: response.content_length(),
            validator: validator(response.headers()),
            response,
            stall,
        };
        let headers = answer.response.headers();
        if status == StatusCode::PARTIAL_CONTENT {
            let range = headers.get(header::CONTENT_RANGE).and_then(content_range);
            let (from, whole) = range.ok_or(Fault::Range { asked })?;
            if from != asked {
                return Err(Fault::Range { asked });
            }
            answer.from = from;
            answer.whole = whole;
        } else if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(Fault::Range { asked });
        } else if status != StatusCode::OK {
            let page = answer.page().await;
            return Err(Fault::Status { status, page });
        }
        let encoding = answer.response.headers().get(header::CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes());
            return Err(Fault::Encoded(encoding.chars().take(40).collect()));
        }
        Ok(answer)
    }

    /// The next piece, or nothing at the end. `received` is what is there already.
    pub(super) async fn piece(
        &mut self,
        received: u64,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Fault> {
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| fault(&error, received)),
            Err(_) => Err(Fault::Stalled {
                seconds: self.stall.as_secs(),
                received,
            }),
        }
    }

    /// What the answer says, if it is a page.
    pub(super) async fn page(&mut self) -> Option<String> {
        let mut start = Vec::new();
        while start.len() < PAGE_BYTES_MAX {
            match self.piece(0).await {
                Ok(Some(piece)) => start.extend_from_slice(piece.as_ref()),
                _ => break,
            }
        }
        checksum::page(&start)
    }
}

fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    // A weak tag must not be used to put parts together (RFC 9110, 13.1.5).
    let etag = text(header::ETAG).filter(|etag| !etag.starts_with("W/"));
    etag.or_else(|| text(header::LAST_MODIFIED))
        .map(str::to_owned)
}

/// Where a part begins and how long the whole is, from `bytes 5-9/10`.
fn content_range(value: &HeaderValue) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value
        .to_str()
        .ok()?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (from, _) = range.split_once('-')?;
    let whole = if whole == "*" {
        None
    } else {
        Some(whole.parse().ok()?)
    };
    Some((from.trim().parse().ok()?, whole))
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    match refusal(attempt.previous(), attempt.url()) {
        Some(why) => attempt.error(io::Error::other(why)),
        None => attempt.follow(),
    }
}

/// Why a redirect is not followed: to another host always is, but never from protected to
/// unprotected.
fn refusal(previous: &[Url], next: &Url) -> Option<String> {
    if previous.len() > REDIRECTS_MAX {
        return Some(format!("it leads on more than {REDIRECTS_MAX} times"));
    }
    let protected = previous.iter().any(|url| url.scheme() == "https");
    if protected && next.scheme() != "https" {
        return Some(format!("it leads from https to {}", shown(next)));
    }
    None
}

fn fault(error: &reqwest::Error, received: u64) -> Fault {
    if error.is_redirect() {
        return Fault::Redirect(chain(error));
    }
    if has_tls_fault(error) {
        return Fault::Tls(chain(error));
    }
    if error.is_connect() {
        return Fault::Connect(chain(error));
    }
    let reason = chain(error);
    Fault::Cut { received, reason }
}

/// The innermost reasons; the outer ones only repeat the address, which may hold a password.
fn chain(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut inner = error.source();
    while let Some(error) = inner {
        words.push(error.to_string());
        inner = error.source();
    }
    words.dedup();
    let from = words.len().saturating_sub(2);
    match words.get(from..) {
        Some([]) | None => "the request failed".to_owned(),
        Some(last) => last.join(": "),
    }
}

fn has_tls_fault(error: &reqwest::Error) -> bool {
    let mut inner = error.source();
    while let Some(error) = inner {
        // An `io::Error` does not give the error it wraps as its source, but the source of that.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if error.is::<rustls::Error>()
            || wrapped
                .and_then(<dyn std::error::Error + Send + Sync>::downcast_ref::<rustls::Error>)
                .is_some()
        {
            return true;
        }
        inner = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// Has every TLS connection of this process use ring, which builds everywhere kinstall runs.
pub fn use_ring() {
    // An error says that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn other_hosts_are_followed_but_never_out_of_https() {
        let refusal =
            |previous: &[&str], next: &str| refusal(&urls(previous), &next.parse().unwrap());
        assert_eq!(
            refusal(&["https://dl.k8s.io/a"], "https://cdn.dl.k8s.io/a"),
            None
        );
        assert_eq!(refusal(&["http://mirror/a"], "https://mirror/a"), None);
        assert_eq!(refusal(&["http://mirror/a"], "http://other/a"), None);
        assert_eq!(
            refusal(&["https://mirror/a"], "http://me:pw@mirror/a").unwrap(),
            "it leads from https to http://mirror/a"
        );
        assert!(refusal(&["http://a/", "https://b/"], "http://c/").is_some());
        assert!(refusal(&["http://a/"; REDIRECTS_MAX], "http://a/").is_none());
        assert!(refusal(&["http://a/"; REDIRECTS_MAX + 1], "http://a/").is_some());
    }

    #[test]
    fn parts_are_put_where_they_belong() {
        let range = |text: &str| content_range(&text.parse().unwrap());
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for text in ["", "bytes */10", "5-9/10", "bytes 5-9", "bytes -5/10"] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn weak_tags_are_not_used() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, HeaderValue::from_static("W/\"a\""));
        assert_eq!(validator(&headers), None);
        headers.insert(header::ETAG, HeaderValue::from_static("\"a\""));
        assert_eq!(validator(&headers).unwrap(), "\"a\"");
    }
}
