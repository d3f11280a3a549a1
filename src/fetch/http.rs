//! One request: what is sent, which answers are taken, and which redirects are followed.

mod registry;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::{self, Policy};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::checksum;
use super::error::Error;
use super::fault::{Fault, Via};
use super::oci;
use super::patience::{Limits, Pace};
use super::proxy::{self, Proxy};
use super::source::shown;
use crate::regular_file;
pub(super) use registry::is_here;
use registry::repository;

const REDIRECTS_MAX: usize = 10;
/// The most bytes of the authorities that vouch for mirrors: more than any system trusts.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;
/// An unwanted answer that is longer, in bytes, is no page that says why.
const PAGE_BYTES_MAX: u64 = 1 << 20;
/// How long is waited for what such a page says.
const PAGE_WAIT: Duration = Duration::from_secs(3);
/// How much of such an address is told, in characters.
const LOCATION_CHARS_MAX: usize = 80;
/// How much is told of what a library says of a failure: it may quote the other side.
const REASON_CHARS_MAX: usize = 200;

/// Sends requests; made when the first one is sent.
pub(super) struct Http {
    client: OnceLock<reqwest::Client>,
    limits: Limits,
    /// The user's own CAs, beside the system's.
    authorities: Vec<reqwest::Certificate>,
    /// What registries want to be told, by repository.
    known: Mutex<BTreeMap<String, HeaderValue>>,
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
    pace: Pace,
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
            known: Mutex::default(),
        })
    }

    pub(super) async fn get(&self, url: &Url, resume: Option<Resume<'_>>) -> Result<Answer, Fault> {
        let asked = resume.as_ref().map_or(0, |resume| resume.from);
        let request = self.request(url, resume.as_ref())?;
        let mut response = self.send(url, request, asked).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && response.url().origin() == url.origin()
            && let Some(repository) = repository(url)
        {
            self.log_in(url, repository, &response).await?;
            let request = self.request(url, resume.as_ref())?;
            response = self.send(url, request, asked).await?;
            if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status()) {
                return Err(self.refused(url)?.into());
            }
        }
        let from = response.url().clone();
        let answer = Answer::of(response, asked, Pace::new(self.limits)).await;
        answer.map_err(|fault| {
            let fault = redirected(url, Some(&from), fault);
            // What the mirror itself would say is not told as the proxy's word.
            match proxy::of(url) {
                Ok(Some(proxy)) if fault.may_be_a_proxys() => through(proxy, fault),
                _ => fault,
            }
        })
    }

    fn request(&self, url: &Url, resume: Option<&Resume<'_>>) -> Result<RequestBuilder, Fault> {
        let mut request = self.client()?.get(url.clone());
        // What is hashed must be what lies there, not what a server made of it for the way.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some(repository) = repository(url) {
            if url.path().contains("/manifests/") {
                request = request.header(header::ACCEPT, oci::ACCEPT);
            }
            // Whom a registry redirects to is not told: reqwest takes it out for another host.
            if let Some(known) = self.known().get(repository) {
                request = request.header(header::AUTHORIZATION, known.clone());
            }
        }
        if let Some(resume) = resume.filter(|resume| resume.from > 0) {
            request = request.header(header::RANGE, format!("bytes={}-", resume.from));
            if let Some(validator) = resume.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        Ok(request)
    }

    /// The answer to a request, by the proxy of the environment; `asked` is where in a file it begins.
    async fn send(
        &self,
        url: &Url,
        request: RequestBuilder,
        asked: u64,
    ) -> Result<Response, Fault> {
        let proxy = proxy::of(url).map_err(Fault::BadProxy)?;
        let through = |fault: Fault| match proxy {
            Some(proxy) => through(proxy, fault),
            None => fault,
        };
        let seconds = self.limits.stall_seconds;
        let sent = tokio::time::timeout(Duration::from_secs(seconds), request.send()).await;
        match sent {
            Err(_) => Err(through(Fault::Stalled {
                seconds,
                received: asked,
            })),
            Ok(Err(error)) => Err(through(redirected(url, error.url(), fault(&error, asked)))),
            Ok(Ok(response)) => Ok(response),
        }
    }

    fn client(&self) -> Result<&reqwest::Client, Fault> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.build(Policy::custom(follow))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn build(&self, policy: Policy) -> Result<reqwest::Client, Fault> {
        use_ring();
        reqwest::Client::builder()
            .user_agent(concat!("kinstall/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(self.limits.connect_seconds))
            .redirect(policy)
            .tls_certs_merge(self.authorities.iter().cloned())
            .build()
            .map_err(|error| Fault::Tls(chain(&error)))
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
    async fn of(response: Response, asked: u64, pace: Pace) -> Result<Self, Fault> {
        let status = response.status();
        let mut answer = Self {
            from: 0,
            whole: response.content_length(),
            validator: validator(response.headers()),
            response,
            pace,
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
        } else if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(Fault::ProxyLogin);
        } else if status.is_redirection() {
            // What is no address of the web is not even tried.
            let to = headers.get(header::LOCATION).map(HeaderValue::as_bytes);
            return Err(Fault::Redirect(leads_to(to.unwrap_or_default())));
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
        let piece = self.pace.wait(self.response.chunk(), received).await?;
        piece.map_err(|error| fault(&error, received))
    }

    /// What the answer says, if it is a page. Who does not say it soon is not waited for.
    pub(super) async fn page(&mut self) -> Option<String> {
        if self.whole.is_some_and(|whole| whole > PAGE_BYTES_MAX) {
            return None;
        }
        let mut start = Vec::new();
        let reading = async {
            while start.len() < checksum::PAGE_BYTES {
                match self.piece(0).await {
                    Ok(Some(piece)) => start.extend_from_slice(piece.as_ref()),
                    _ => break,
                }
            }
        };
        let _ = tokio::time::timeout(PAGE_WAIT, reading).await;
        checksum::page(&start)
    }
}

fn through(proxy: Proxy, fault: Fault) -> Fault {
    Fault::Via {
        via: Via::Proxy(proxy),
        fault: Box::new(fault),
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
    let (from, to) = range.split_once('-')?;
    let (from, to): (u64, u64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    let whole = match whole {
        "*" => None,
        whole => Some(whole.parse().ok()?),
    };
    (from <= to && whole.is_none_or(|whole| to < whole)).then_some((from, whole))
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    match refusal(attempt.previous(), attempt.url()) {
        Some(why) => attempt.error(io::Error::other(why)),
        None => attempt.follow(),
    }
}

/// Where a redirect leads that is not followed.
fn leads_to(location: &[u8]) -> String {
    let text = String::from_utf8_lossy(location);
    let to = text
        .parse()
        .map_or_else(|_| text.into_owned(), |url| shown(&url));
    let to: String = to.chars().take(LOCATION_CHARS_MAX).collect();
    format!("it leads to {to}, which is neither https nor http")
}

/// Why a redirect is not followed: to another host always is, but never from protected to
/// unprotected.
fn refusal(previous: &[Url], next: &Url) -> Option<String> {
    if previous.len() > REDIRECTS_MAX {
        return Some(format!("it leads on more than {REDIRECTS_MAX} times"));
    }
    if !matches!(next.scheme(), "http" | "https") {
        return Some(leads_to(next.as_str().as_bytes()));
    }
    let protected = previous.iter().any(|url| url.scheme() == "https");
    if protected && next.scheme() != "https" {
        return Some(format!("it leads from https to {}", shown(next)));
    }
    None
}

/// A fault of another address than was asked for says of which.
fn redirected(asked: &Url, found: Option<&Url>, fault: Fault) -> Fault {
    match found {
        Some(found) if found != asked && !matches!(fault, Fault::Redirect(_)) => Fault::Via {
            via: Via::Redirect(shown(found)),
            fault: Box::new(fault),
        },
        _ => fault,
    }
}

fn fault(error: &reqwest::Error, received: u64) -> Fault {
    let reason = || chain(error);
    if error.is_redirect() {
        return Fault::Redirect(reason());
    }
    if any_cause(error, |cause| {
        cause.downcast_ref::<rustls::Error>().is_some()
    }) {
        return Fault::Tls(reason());
    }
    if error.is_connect() {
        // What refuses a tunnel has no type of its own to be known by.
        return match reason() {
            reason if reason.contains("proxy authorization required") => Fault::ProxyLogin,
            reason => Fault::Connect(reason),
        };
    }
    if any_cause(error, is_no_http) {
        let reason = reason();
        let innermost = reason.rsplit(": ").next().unwrap_or_default();
        return Fault::Protocol(innermost.to_owned());
    }
    Fault::Cut {
        received,
        reason: reason(),
    }
}

/// Whether what came could not be read as HTTP: another attempt would bring the same.
fn is_no_http(cause: &(dyn std::error::Error + 'static)) -> bool {
    let io = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        )
    };
    let parse = |error: &hyper::Error| error.is_parse();
    cause.downcast_ref().is_some_and(io) || cause.downcast_ref().is_some_and(parse)
}

/// The innermost reasons, each once; the outer ones only repeat the address, which may hold a
/// password.
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
        Some(last) => last.join(": ").chars().take(REASON_CHARS_MAX).collect(),
    }
}

/// Whether something holds of an error below this one.
fn any_cause(
    error: &reqwest::Error,
    holds: impl Fn(&(dyn std::error::Error + 'static)) -> bool,
) -> bool {
    let mut inner = error.source();
    while let Some(error) = inner {
        if holds(error) {
            return true;
        }
        // An `io::Error` does not give the error it wraps as its source, but the source of that.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
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
        for next in ["file:///etc/shadow", "gopher://a:22/x", "ftp://a/"] {
            assert!(refusal(&["http://a/"], next).is_some(), "{next}");
        }
        assert!(refusal(&["http://a/", "https://b/"], "http://c/").is_some());
        assert!(refusal(&["http://a/"; REDIRECTS_MAX], "http://a/").is_none());
        assert!(refusal(&["http://a/"; REDIRECTS_MAX + 1], "http://a/").is_some());
    }

    #[test]
    fn parts_are_put_where_they_belong() {
        let range = |text: &str| content_range(&text.parse().unwrap());
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for text in [
            "",
            "bytes */10",
            "5-9/10",
            "bytes 5-9",
            "bytes -5/10",
            "bytes 5-/10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes 5-99999999999999999999/*",
        ] {
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
