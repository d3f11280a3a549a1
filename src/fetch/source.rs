//! The URLs of `[source]`, and the addresses that follow from them. Pure.

use std::path::PathBuf;

use reqwest::Url;

use crate::artifact::{Artifact, Origin};
use crate::component::Checksums;
use crate::image::Reference;

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

/// Where artifacts lie: below a base URL as at upstream, or where a template says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// A base URL.
    Above(Url),
    /// A URL with `{version}`, `{arch}` and `{name}` in it.
    Template(String),
}

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
        let text = text.trim();
        let refuse = |why| BadSource {
            text: text
                .rsplit_once('@')
                .map_or(text, |(_, rest)| rest)
                .to_owned(),
            why,
        };
        let url: Url = text.parse().map_err(|_| refuse("it cannot be read"))?;
        match url.scheme() {
            "http" | "https" => {}
            "file" if url.to_file_path().is_ok() => {}
            "file" => return Err(refuse("a directory on this machine is `file:///directory`")),
            _ => return Err(refuse("only https, http and file are known")),
        }
        if text.contains('{') {
            // With the words in place it must be a URL still.
            let example = filled(text, "1.0.0", "arm64", "name").parse::<Url>();
            example.map_err(|_| refuse("it cannot be read with its words in place"))?;
            return Ok(Self::Template(text.to_owned()));
        }
        Ok(Self::Above(url))
    }

    pub(super) fn all(texts: &[String]) -> Result<Vec<Self>, BadSource> {
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    /// Whether what comes from here came protected.
    pub(super) fn is_protected(&self) -> bool {
        match self {
            Self::Above(url) => url.scheme() == "https",
            Self::Template(text) => text.to_ascii_lowercase().starts_with("https:"),
        }
    }

    /// Where an artifact lies.
    pub(super) fn file(&self, artifact: &Artifact) -> Address {
        self.url(artifact).into()
    }

    /// Where its checksum lies.
    pub(super) fn checksum(&self, artifact: &Artifact) -> Address {
        let mut url = self.url(artifact);
        match artifact.origin {
            Origin::Upstream(publisher) => match publisher.checksums {
                Checksums::Beside(suffix) => url.set_path(&format!("{}{suffix}", url.path())),
                Checksums::List(name) => {
                    if let Ok(mut segments) = url.path_segments_mut() {
                        segments.pop().push(name);
                    }
                }
            },
            // The user answers for it.
            Origin::Own => {}
        }
        url.into()
    }

    /// Where a registry keeps a part of an image: `manifests` or `blobs`, by tag or digest.
    pub(super) fn part(&self, image: &Reference, kind: &str, which: &str) -> Address {
        let Self::Above(base) = self else {
            unreachable!("a registry is refused that is a template");
        };
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let path = image.path.split('/');
            let segments = segments.pop_if_empty().push("v2").extend(path);
            segments.push(kind).push(which);
        }
        url.into()
    }

    /// Refuses what cannot be asked for the parts of images.
    pub(super) fn check_registry(&self) -> Result<(), BadSource> {
        match self {
            Self::Above(_) => Ok(()),
            Self::Template(text) => Err(BadSource {
                text: text.clone(),
                why: "images are many files, and no template says where each lies",
            }),
        }
    }

    fn url(&self, artifact: &Artifact) -> Url {
        match self {
            Self::Above(base) => {
                let mut url = base.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().extend(artifact.path.split('/'));
                }
                url
            }
            Self::Template(text) => {
                let version = artifact.version.to_string();
                let (arch, name) = (artifact.arch.upstream(), artifact.file_name());
                filled(text, &version, arch, name)
                    .parse()
                    .expect("a template was tried when it was read, and the words are plain")
            }
        }
    }
}

fn filled(template: &str, version: &str, arch: &str, name: &str) -> String {
    template
        .replace("{version}", version)
        .replace("{arch}", arch)
        .replace("{name}", name)
}

impl From<Url> for Address {
    fn from(url: Url) -> Self {
        match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => Self::File(path),
            _ => Self::Web(url),
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
    use crate::arch::Arch;
    use crate::artifact::Program;

    fn artifact(name: &str, version: &str) -> Artifact {
        let program = Program {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            arch: Arch::Armhf,
            own: None,
        };
        program.artifact().unwrap()
    }

    fn kubectl() -> Artifact {
        artifact("kubectl", "1.32.3")
    }

    #[track_caller]
    fn check(base: &str, shown: &str) {
        let address = Base::parse(base).unwrap().file(&kubectl());
        assert_eq!(address.shown(), shown);
    }

    #[test]
    fn addresses_lie_below_their_base() {
        let below = "https://dl.k8s.io/release/v1.32.3/bin/linux/arm/kubectl";
        check("https://dl.k8s.io", below);
        check("https://dl.k8s.io/", below);
        check("HTTPS://DL.K8S.IO", below);
        check(
            "http://[::1]:8080/mirror/of%20it//",
            "http://[::1]:8080/mirror/of%20it//release/v1.32.3/bin/linux/arm/kubectl",
        );
        check(
            "file:///srv/my%20mirror",
            "file:///srv/my mirror/release/v1.32.3/bin/linux/arm/kubectl",
        );
    }

    #[test]
    fn secrets_are_used_but_not_shown() {
        let base = Base::parse("https://me:secret@mirror.home/k8s?token=secret").unwrap();
        let Address::Web(url) = base.file(&kubectl()) else {
            panic!("a web address");
        };
        assert_eq!(
            url.as_str(),
            "https://me:secret@mirror.home/k8s/release/v1.32.3/bin/linux/arm/kubectl?token=secret"
        );
        assert_eq!(
            shown(&url),
            "https://mirror.home/k8s/release/v1.32.3/bin/linux/arm/kubectl"
        );
    }

    #[test]
    fn a_template_says_where_everything_lies() {
        let base = Base::parse("https://mirror.home/{version}/{name}_{arch}.bin").unwrap();
        assert!(base.is_protected());
        let file = "https://mirror.home/1.32.3/kubectl_arm.bin";
        assert_eq!(base.file(&kubectl()).shown(), file);
        let beside = base.checksum(&kubectl()).shown();
        assert_eq!(beside, format!("{file}.sha256"));

        let etcd = Program {
            name: "etcd".to_owned(),
            version: "3.5.21".parse().unwrap(),
            arch: Arch::Arm64,
            own: None,
        };
        let etcd = etcd.artifact().unwrap();
        let base = Base::parse("file:///srv/etcd/{name}").unwrap();
        assert_eq!(
            base.file(&etcd).shown(),
            "file:///srv/etcd/etcd-v3.5.21-linux-arm64.tar.gz"
        );
        let list = base.checksum(&etcd).shown();
        assert_eq!(list, "file:///srv/etcd/SHA256SUMS");
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
