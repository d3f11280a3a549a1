//! The base URLs of `[source]`, and addresses below them. Pure.

use std::path::PathBuf;

use reqwest::Url;

/// A base URL is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{text}` under `[source]` is no base URL: {why}")]
#[diagnostic(help("write `https://host/path`, `http://host/path` or `file:///directory`"))]
pub struct BadSource {
    /// What the inventory says, without credentials.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Where artifacts lie below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base(Url);

/// Where one file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// On a server.
    Web(Url),
    /// In a directory.
    File(PathBuf),
}

impl Base {
    pub(super) fn parse(text: &str) -> Result<Self, BadSource> {
        let refuse = |why| BadSource {
            text: text
                .rsplit_once('@')
                .map_or(text, |(_, rest)| rest)
                .to_owned(),
            why,
        };
        let url: Url = text
            .trim()
            .parse()
            .map_err(|_| refuse("it cannot be read"))?;
        match url.scheme() {
            "http" | "https" => {}
            "file" if url.to_file_path().is_ok() => {}
            "file" => return Err(refuse("a directory on this machine is `file:///directory`")),
            _ => return Err(refuse("only https, http and file are known")),
        }
        Ok(Self(url))
    }

    pub(super) fn all(texts: &[String]) -> Result<Vec<Self>, BadSource> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// Whether what comes from here came protected.
    pub(super) fn is_protected(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(super) fn at(&self, path: &str) -> Address {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => Address::File(path),
            _ => Address::Web(url),
        }
    }
}

impl Address {
    /// The address to show: without user, password and query, which may be secrets.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("file://{}", path.display()),
            Self::Web(url) => shown(url),
        }
    }
}

/// A URL to show: without user, password and query, which may be secrets.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both only fail for URLs that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, shown: &str) {
        let address = Base::parse(base).unwrap().at("release/v1.32.3/kubectl");
        assert_eq!(address.shown(), shown);
    }

    #[test]
    fn addresses_lie_below_their_base() {
        let below = "https://dl.k8s.io/release/v1.32.3/kubectl";
        check("https://dl.k8s.io", below);
        check("https://dl.k8s.io/", below);
        check("HTTPS://DL.K8S.IO", below);
        check(
            "http://[::1]:8080/mirror/of%20it//",
            "http://[::1]:8080/mirror/of%20it//release/v1.32.3/kubectl",
        );
        check(
            "file:///srv/my%20mirror",
            "file:///srv/my mirror/release/v1.32.3/kubectl",
        );
    }

    #[test]
    fn secrets_are_used_but_not_shown() {
        let base = Base::parse("https://me:secret@mirror.home/k8s?token=secret").unwrap();
        let Address::Web(url) = base.at("kubectl") else {
            panic!("a web address");
        };
        assert_eq!(
            url.as_str(),
            "https://me:secret@mirror.home/k8s/kubectl?token=secret"
        );
        assert_eq!(shown(&url), "https://mirror.home/k8s/kubectl");
    }

    #[test]
    fn what_is_no_base_is_refused() {
        for text in [
            "",
            "dl.k8s.io",
            "/srv/mirror",
            "file://mirror/k8s",
            "ftp://dl.k8s.io",
            "s3://bucket",
        ] {
            let error = Base::parse(text).unwrap_err();
            assert_eq!(error.text, text);
        }
        assert_eq!(
            Base::parse("ssh://me:secret@host").unwrap_err().text,
            "host"
        );
    }
}
