//! A path on a node: absolute, normal, and made only of characters that mean nothing to a shell,
//! a unit file or a line-based protocol.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An absolute path on a node without `.`, `..`, doubled or trailing slashes. A copy shares its text: a run
/// holds some hundred thousand of them for a thousand nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RemotePath(Arc<str>);

/// The text is not such a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an absolute path of letters, digits and `._+@:-`")]
pub struct NotARemotePath(pub String);

impl RemotePath {
    /// A path known when the program is written.
    ///
    /// # Panics
    /// When the path is not one: a mistake in kinstall, not in its input.
    pub fn fixed(text: &str) -> Self {
        text.parse()
            .expect("a path written in kinstall's own code is valid")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below this one.
    pub fn join(&self, below: &str) -> Result<Self, NotARemotePath> {
        format!("{}/{below}", self.0).parse()
    }

    /// The directory it lies in; none for a path directly below `/`.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/')?;
        (!parent.is_empty()).then(|| Self(parent.into()))
    }

    /// Whether the last word ends in a dot and these letters.
    pub fn has_extension(&self, extension: &str) -> bool {
        self.file_name()
            .rsplit_once('.')
            .is_some_and(|(_, found)| found == extension)
    }

    /// The last word.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RemotePath {
    type Err = NotARemotePath;

    fn from_str(text: &str) -> Result<Self, NotARemotePath> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+@:-".contains(&byte);
        let word =
            |word: &str| !word.is_empty() && word != "." && word != ".." && word.bytes().all(plain);
        let below_root = text.strip_prefix('/').filter(|_| text.len() <= 1024);
        if below_root.is_some_and(|below| below.split('/').all(word)) {
            Ok(Self(text.into()))
        } else {
            Err(NotARemotePath(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for RemotePath {
    type Error = NotARemotePath;

    fn try_from(text: String) -> Result<Self, NotARemotePath> {
        text.parse()
    }
}

impl From<RemotePath> for String {
    fn from(path: RemotePath) -> Self {
        path.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path() {
        let path = RemotePath::fixed("/etc/k8s/kube-apiserver");
        assert_eq!(path.file_name(), "kube-apiserver");
        assert_eq!(path.parent(), Some(RemotePath::fixed("/etc/k8s")));
        assert_eq!(RemotePath::fixed("/etc").parent(), None);
        assert_eq!(
            path.join("certs/a.pem").unwrap().as_str(),
            "/etc/k8s/kube-apiserver/certs/a.pem"
        );
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        let long = format!("/{}", "a".repeat(1024));
        for text in [
            "", "/", "etc", "/a//b", "/a/", "/a/../b", "/a/./b", "/a b", "/a\nb", "/$a", "/ä",
            &long,
        ] {
            assert!(text.parse::<RemotePath>().is_err(), "{text}");
        }
        assert!(RemotePath::fixed("/etc").join("../shadow").is_err());
    }
}
