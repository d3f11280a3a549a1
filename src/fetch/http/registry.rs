//! What a registry wants done before it gives anything: a password, or a token that somebody else gives out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use reqwest::header::{self, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use serde::Deserialize;

use super::{Answer, Http, refusal};
use crate::fetch::fault::Fault;
use crate::fetch::login::{self, BadLogin, Challenge, Kind};
use crate::fetch::patience::Pace;

/// The answer to who asks for a token has no more bytes.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// What is given for a login: the one word is of the specification, the other of OAuth 2.
#[derive(Deserialize)]
struct TokenText {
    token: Option<String>,
    access_token: Option<String>,
}

impl Http {
    /// Does what a registry wants done before it gives anything.
    pub(super) async fn log_in(
        &self,
        url: &Url,
        repository: &str,
        asks: &Response,
    ) -> Result<(), Fault> {
        let challenges = asks.headers().get_all(header::WWW_AUTHENTICATE);
        let challenge = Challenge::read(challenges.iter())?;
        let login = login::find(url)?;
        if login.is_some() && !is_protected(url) {
            return Err(BadLogin::Unprotected.into());
        }
        let header = match challenge {
            Challenge::Basic => login.and_then(|login| login.kind.basic()),
            Challenge::Bearer { realm, query } => {
                let realm: Url = realm
                    .parse()
                    .map_err(|_| BadLogin::Challenge("a realm that is no address".to_owned()))?;
                let exposes = login.is_some() && !is_protected(&realm);
                if exposes || refusal(std::slice::from_ref(url), &realm).is_some() {
                    return Err(BadLogin::Unprotected.into());
                }
                let token = self
                    .token(&realm, &query, login.map(|login| login.kind))
                    .await?;
                token.and_then(|token| login::secret_header(&format!("Bearer {token}")))
            }
        };
        let Some(header) = header else {
            return Err(self.refused(url)?.into());
        };
        self.known().insert(repository.to_owned(), header);
        Ok(())
    }

    /// Asks for a token; none where that is refused.
    async fn token(
        &self,
        realm: &Url,
        query: &[(&'static str, String)],
        login: Option<Kind>,
    ) -> Result<Option<String>, Fault> {
        let mut realm = realm.clone();
        let request = if let Some(Kind::Refresh(token)) = &login {
            let fixed = [("grant_type", "refresh_token"), ("client_id", "kinstall")];
            let query = query.iter().map(|(name, value)| (*name, value.as_str()));
            let own = ("refresh_token", token.expose_text().unwrap_or_default());
            // A form is written as the query of an address is.
            let mut form = realm.clone();
            form.set_query(None);
            let pairs = fixed.into_iter().chain(query).chain([own]);
            form.query_pairs_mut().extend_pairs(pairs);
            let form = form.query().unwrap_or_default().to_owned();
            let kind = "application/x-www-form-urlencoded";
            // What stands in a form, a redirect would take to anybody.
            let client = self.build(Policy::none())?;
            let request = client.post(realm.clone());
            request.header(header::CONTENT_TYPE, kind).body(form)
        } else {
            realm.query_pairs_mut().extend_pairs(query);
            let request = self.client()?.get(realm.clone());
            match login.and_then(|login| login.basic()) {
                Some(basic) => request.header(header::AUTHORIZATION, basic),
                None => request,
            }
        };
        let response = self.send(&realm, request, 0).await?;
        let status = response.status();
        if status.is_client_error() || status.is_redirection() {
            return Ok(None);
        }
        let mut answer = Answer::of(response, 0, Pace::new(self.limits)).await?;
        let mut text = Vec::new();
        while let Some(piece) = answer.piece(text.len() as u64).await? {
            text.extend_from_slice(piece.as_ref());
            if text.len() > TOKEN_BYTES_MAX {
                break;
            }
        }
        let read: Result<TokenText, _> = serde_json::from_slice(&text);
        let unknown = || BadLogin::Challenge("a token that cannot be read".to_owned());
        let read = read.map_err(|_| unknown())?;
        Ok(read.token.or(read.access_token))
    }

    /// Why a registry gives nothing.
    pub(super) fn refused(&self, url: &Url) -> Result<BadLogin, BadLogin> {
        let registry = login::host(url).unwrap_or_default();
        Ok(match login::find(url)? {
            Some(login) => BadLogin::Refused {
                registry,
                file: login.file,
            },
            // Whoever asks got a token that is good for nothing.
            None if repository(url).is_some_and(|it| self.known().contains_key(it)) => {
                BadLogin::Anonymous
            }
            None => BadLogin::None {
                registry,
                file: login::place(|name| std::env::var_os(name).map(Into::into)),
            },
        })
    }

    pub(super) fn known(&self) -> MutexGuard<'_, BTreeMap<String, HeaderValue>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The repository of a registry that an address is of: all before what is asked for of it.
pub(super) fn repository(url: &Url) -> Option<&str> {
    let kinds = ["/manifests/", "/blobs/sha256:"];
    let end = kinds.iter().find_map(|kind| url.as_str().rfind(kind))?;
    let repository = &url.as_str()[..end];
    repository.contains("/v2/").then_some(repository)
}

/// Whether nobody reads a password on the way: https, or no way at all.
fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || url.host_str().is_some_and(is_here)
}

/// Whether a host is this machine, by its name or address.
pub(in crate::fetch) fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}
