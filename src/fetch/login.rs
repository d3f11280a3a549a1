//! How a registry is told who asks: its challenge, and what the user's `docker login` left.
//!
//! Sources: RFC 9110, 11; the token specification of the project "distribution"; `containers-auth.json(5)`. Helpers that
//! keep credentials elsewhere are not run: what they print would come from a program that an inventory's reader did
//! not ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Deserializer};

use crate::regular_file;
use crate::secret::Secret;

/// A file of credentials has no more bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Under which names Docker keeps what `registry-1.docker.io` asks for.
const DOCKER: (&str, [&str; 2]) = ("registry-1.docker.io", ["index.docker.io", "docker.io"]);

/// Why a registry does not let in who asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLogin {
    /// There is nothing to say.
    #[error("it asks for a login, and there is none for `{registry}`{}", looked(file.as_deref()))]
    None {
        /// The registry.
        registry: String,
        /// The file that was looked into, if there is one.
        file: Option<PathBuf>,
    },
    /// Somebody else has it.
    #[error(
        "it asks for a login, which the helper `docker-credential-{helper}` keeps; kinstall runs no helpers"
    )]
    Helper {
        /// The helper's name.
        helper: String,
    },
    /// The login is wrong, or not enough.
    #[error("it refuses the login for `{registry}` of `{}`", file.display())]
    Refused {
        /// The registry.
        registry: String,
        /// Where it is from.
        file: PathBuf,
    },
    /// Nobody in particular may have it, or there is nothing to have.
    #[error("there is no such image, or only those may have it who log in")]
    Anonymous,
    /// The way there is not protected.
    #[error("it asks for a login over http, where everyone on the way could read the password")]
    Unprotected,
    /// The file of logins cannot be read.
    #[error("it asks for a login, and `{}` cannot be read: {why}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The challenge is none that is known.
    #[error("it asks for a login in a way that is not known: `{0}`")]
    Challenge(String),
}

fn looked(file: Option<&Path>) -> String {
    file.map_or_else(String::new, |file| format!(" in `{}`", file.display()))
}

impl BadLogin {
    /// What the user can do.
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::None { .. } | Self::Anonymous | Self::Refused { .. } => {
                "look at the image's name, and run `docker login` for its registry; `REGISTRY_AUTH_FILE` or \
                 `DOCKER_CONFIG` say where the login is kept"
            }
            Self::Helper { .. } => {
                "have the login in a file of its own: `podman login --authfile FILE`, and name that as \
                 `REGISTRY_AUTH_FILE`"
            }
            Self::File { .. } => "correct the file, or name another one as `REGISTRY_AUTH_FILE`",
            Self::Unprotected => "name the registry by https, or one on this machine",
            Self::Challenge(_) => {
                "name another registry that has the image, under `[source.registries]`"
            }
        }
    }
}

/// What a registry wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user's name and password.
    Basic,
    /// What somebody else gives out.
    Bearer {
        /// Who does.
        realm: String,
        /// For what.
        query: Vec<(&'static str, String)>,
    },
}

impl Challenge {
    /// The first that is known of the challenges of an answer.
    pub(super) fn read<'a>(
        headers: impl Iterator<Item = &'a HeaderValue>,
    ) -> Result<Self, BadLogin> {
        let texts: Vec<_> = headers
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        let known = texts.iter().find_map(|text| Self::parse(text));
        known.ok_or_else(|| {
            let text = texts.join(", ");
            let visible = text.chars().filter(|it| !it.is_control());
            BadLogin::Challenge(visible.take(80).collect())
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut words = parameters(rest);
        let realm = words.remove("realm")?;
        let query = ["service", "scope"].into_iter();
        let query = query.filter_map(|name| Some((name, words.remove(name)?)));
        Some(Self::Bearer {
            realm,
            query: query.collect(),
        })
    }
}

/// `name="value"` and `name=value`, joined by commas, which may stand in quotes too.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim().to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(after) => after.split_once('"').unwrap_or((after, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(name, value.trim().to_owned());
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    found
}

/// A login, and the file it is from.
pub(super) struct Login {
    pub(super) file: PathBuf,
    pub(super) kind: Kind,
}

/// What there is of a login.
pub(super) enum Kind {
    /// `user:password`.
    Password(Secret),
    /// What a token is given for.
    Refresh(Secret),
}

impl Kind {
    /// The header that says a password; none of what is no password.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Password(pair) = self else {
            return None;
        };
        secret_header(&format!("Basic {}", BASE64.encode(pair.expose())))
    }
}

/// A header that no message shows.
pub(super) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct FileText {
    #[serde(deserialize_with = "nothing")]
    auths: BTreeMap<String, Option<AuthText>>,
    #[serde(deserialize_with = "nothing")]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

/// Go writes what is empty as `null`, and reads that as empty.
fn nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(it: D) -> Result<T, D::Error> {
    Option::deserialize(it).map(Option::unwrap_or_default)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthText {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The login for an image's address; none where the user has none.
pub(super) fn find(url: &Url) -> Result<Option<Login>, BadLogin> {
    let Some(file) = place(|name| std::env::var_os(name).map(PathBuf::from)) else {
        return Ok(None);
    };
    let refuse = |why: String| BadLogin::File {
        file: file.clone(),
        why,
    };
    let text = match regular_file::read_text(&file, FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refuse(error.to_string())),
    };
    // What is wrong is told without what stands there.
    let read: FileText = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        refuse(format!(
            "it is no such file from line {line}, column {column} on"
        ))
    })?;
    let kind = read.login(url)?;
    Ok(kind.map(|kind| Login { file, kind }))
}

/// Where logins are kept.
pub(super) fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.as_os_str().is_empty());
    let docker = || set("DOCKER_CONFIG").map(|place| place.join("config.json"));
    let home = || set("HOME").map(|home| home.join(".docker/config.json"));
    set("REGISTRY_AUTH_FILE").or_else(docker).or_else(home)
}

impl FileText {
    fn login(&self, url: &Url) -> Result<Option<Kind>, BadLogin> {
        let rated = self.auths.iter();
        let rated = rated.filter_map(|(key, auth)| Some((fit(key, url)?, auth)));
        let best = rated.max_by_key(|(length, _)| *length);
        let known = best.and_then(|(_, auth)| auth.as_ref()?.kind());
        if known.is_some() {
            return Ok(known);
        }
        let own = self
            .cred_helpers
            .iter()
            .find(|(key, _)| fit(key, url).is_some());
        let helper = own.map(|(_, helper)| helper);
        // That Docker has a store says nothing of whether this login is in it, unless it is listed.
        let store = self.creds_store.as_ref().filter(|_| best.is_some());
        match helper.or(store) {
            Some(helper) => Err(BadLogin::Helper {
                helper: helper
                    .chars()
                    .filter(|it| !it.is_control())
                    .take(40)
                    .collect(),
            }),
            None => Ok(None),
        }
    }
}

impl AuthText {
    fn kind(&self) -> Option<Kind> {
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = said(&self.identitytoken) {
            return Some(Kind::Refresh(Secret::new(token)));
        }
        if let Some(auth) = said(&self.auth) {
            let pair = BASE64.decode(auth).ok()?;
            return pair
                .contains(&b':')
                .then(|| Kind::Password(Secret::new(pair)));
        }
        let (user, password) = (said(&self.username)?, said(&self.password)?);
        Some(Kind::Password(Secret::new(format!("{user}:{password}"))))
    }
}

/// The host of an address, with its port if that is not the usual one.
pub(super) fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let port = url.port().map(|port| format!(":{port}"));
    Some(format!("{host}{}", port.unwrap_or_default()))
}

/// How much of an address a key of the file says; none where it is of another registry. A key may
/// name a part of a registry, and Docker's are addresses of its first API.
fn fit(key: &str, url: &Url) -> Option<usize> {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let bare = ["/v1/", "/v1", "/v2/", "/v2", "/"]
        .iter()
        .find_map(|end| bare.strip_suffix(end))
        .unwrap_or(bare);
    let host = host(url)?;
    let (_, path) = url.path().split_once("/v2/")?;
    let others = if host == DOCKER.0 { &DOCKER.1[..] } else { &[] };
    let mut hosts = others.iter().copied().chain([host.as_str()]);
    let fits = hosts.any(|host| {
        bare == host
            || format!("{host}/{path}").starts_with(&format!("{bare}/")) && bare.contains('/')
    });
    fits.then_some(bare.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "https://registry.home:5000/v2/team/app/manifests/3";

    #[track_caller]
    fn challenge(text: &str) -> Result<Challenge, BadLogin> {
        Challenge::read([&HeaderValue::from_str(text).unwrap()].into_iter())
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = challenge(
            "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\", \
             scope=\"repository:library/nginx:pull,push\",error=\"invalid_token\"",
        );
        let query = vec![
            ("service", "registry.docker.io".to_owned()),
            ("scope", "repository:library/nginx:pull,push".to_owned()),
        ];
        let realm = "https://auth.docker.io/token".to_owned();
        assert_eq!(bearer, Ok(Challenge::Bearer { realm, query }));
        assert_eq!(challenge("basic realm=\"Registry\""), Ok(Challenge::Basic));
        let error = challenge("Negotiate").unwrap_err();
        let told = "it asks for a login in a way that is not known: `Negotiate`";
        assert_eq!(error.to_string(), told);
        assert!(challenge("Bearer service=a").is_err());
    }

    fn password(file: &str, url: &str) -> Option<String> {
        let read: FileText = serde_json::from_str(file).unwrap();
        match read.login(&url.parse().unwrap()) {
            Ok(Some(Kind::Password(pair))) => pair.expose_text().map(str::to_owned),
            Ok(Some(Kind::Refresh(token))) => {
                Some(format!("refresh {}", token.expose_text().unwrap()))
            }
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    #[test]
    fn a_login_is_found_as_docker_and_podman_keep_it() {
        let of = |key: &str, auth: &str| format!("{{\"auths\": {{\"{key}\": {auth}}}}}");
        // me:secret
        let auth = "{\"auth\": \"bWU6c2VjcmV0\"}";
        for key in [
            "registry.home:5000",
            "https://registry.home:5000/v2/",
            "registry.home:5000/team",
        ] {
            assert_eq!(
                password(&of(key, auth), IMAGE).as_deref(),
                Some("me:secret"),
                "{key}"
            );
        }
        for key in [
            "registry.home",
            "home:5000",
            "registry.home:5000/te",
            "other",
        ] {
            assert_eq!(password(&of(key, auth), IMAGE), None, "{key}");
        }
        let docker = "https://registry-1.docker.io/v2/library/nginx/manifests/1";
        let key = "https://index.docker.io/v1/";
        assert_eq!(
            password(&of(key, auth), docker).as_deref(),
            Some("me:secret")
        );
        let plain = "{\"username\": \"me\", \"password\": \"a:b\"}";
        assert_eq!(
            password(&of("registry.home:5000", plain), IMAGE).as_deref(),
            Some("me:a:b")
        );
        let token = "{\"auth\": \"bWU6\", \"identitytoken\": \"abc\"}";
        assert_eq!(
            password(&of("registry.home:5000", token), IMAGE).as_deref(),
            Some("refresh abc")
        );
    }

    #[test]
    fn what_a_helper_keeps_is_told() {
        let told = "it asks for a login, which the helper `docker-credential-pass` keeps; kinstall runs no helpers";
        for file in [
            "{\"credHelpers\": {\"registry.home:5000\": \"pass\"}}",
            "{\"auths\": {\"registry.home:5000\": {}}, \"credsStore\": \"pass\"}",
        ] {
            assert_eq!(password(file, IMAGE).as_deref(), Some(told));
        }
        for file in [
            "{\"credsStore\": \"pass\"}",
            "{\"auths\": null, \"credHelpers\": null, \"credsStore\": null}",
            "{\"auths\": {\"registry.home:5000\": null}}",
        ] {
            assert_eq!(password(file, IMAGE), None, "{file}");
        }
    }

    #[test]
    fn logins_lie_where_the_environment_says() {
        let found = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let mut set = set.iter();
                set.find(|(key, _)| *key == name)
                    .map(|(_, value)| PathBuf::from(value))
            };
            place(variable).map(|path| path.display().to_string())
        };
        let home = ("HOME", "/home/me");
        assert_eq!(
            found(&[home]).as_deref(),
            Some("/home/me/.docker/config.json")
        );
        let docker = ("DOCKER_CONFIG", "/etc/docker");
        assert_eq!(
            found(&[home, docker]).as_deref(),
            Some("/etc/docker/config.json")
        );
        let file = ("REGISTRY_AUTH_FILE", "/run/auth.json");
        assert_eq!(
            found(&[home, docker, file]).as_deref(),
            Some("/run/auth.json")
        );
        assert_eq!(found(&[("HOME", "")]), None);
    }
}
