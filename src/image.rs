//! Images of containers by name, read as Docker and containerd read them. Pure.
//!
//! Source: the grammar of `reference.go` in the project "distribution", and `docs/reference.md` of containerd.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::arch::Arch;
use crate::digest::Digest;

/// The registry of names that say none.
const DOCKER: &str = "docker.io";
/// The path there of names of one word.
const LIBRARY: &str = "library";
/// The most bytes of a name without tag and digest.
const NAME_BYTES_MAX: usize = 255;
/// The most bytes of a tag.
const TAG_BYTES_MAX: usize = 128;

/// The name of an image, with all that may be left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Whom it is from: `docker.io`, `registry.home:5000`.
    pub registry: String,
    /// What it is there: `library/nginx`.
    pub path: String,
    /// Which of them; none where the digest alone says it.
    pub tag: Option<String>,
    /// The digest of the manifest or index that it must be.
    pub digest: Option<Digest>,
}

/// An image for one architecture: what a lockfile pins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image {
    /// Its name.
    pub reference: Reference,
    /// What its programs run on.
    pub arch: Arch,
}

/// A text is no name of an image, or of too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotAReference {
    /// What is wrong with it.
    pub why: &'static str,
    /// What to write.
    pub help: String,
}

impl Reference {
    /// The registry and the path, as containerd has them: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// What a registry is asked for: the digest where there is one, for a tag may move.
    pub fn asked(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("sha256:{digest}"),
            (None, Some(tag)) => tag.clone(),
            (None, None) => unreachable!("a name without a tag and a digest is refused"),
        }
    }

    /// The names that containerd looks it up by: of a tag and a digest it leaves out the tag.
    pub fn names(&self) -> Vec<String> {
        let name = self.name();
        let tag = self.tag.iter().map(|tag| format!("{name}:{tag}"));
        let digest = self.digest.iter();
        tag.chain(digest.map(|digest| format!("{name}@sha256:{digest}")))
            .collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(f, "@sha256:{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.reference, self.arch)
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let refuse = |why, help: &str| NotAReference {
            why,
            help: help.to_owned(),
        };
        if let Some((_, rest)) = text.split_once("://") {
            let help = format!("leave out what stands before it: `{rest}`");
            return Err(refuse("it is an address", &help));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let digest = digest.map(|digest| {
            let hex = digest.strip_prefix("sha256:");
            let hex = hex.filter(|hex| !hex.contains(|it: char| it.is_ascii_uppercase()));
            hex.and_then(|hex| hex.parse().ok()).ok_or_else(|| {
                let help = "behind `@` stands `sha256:` and 64 hexadecimal digits, small ones";
                refuse("its digest is none", help)
            })
        });
        let digest = digest.transpose()?;
        // What stands behind a colon in the first part is a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            let help = "a tag is 1 to 128 letters, digits and `_.-`, none of the last two first";
            return Err(refuse("its tag is none", help));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_said_registry(first) => (first, path.to_owned()),
            Some(_) => (DOCKER, name.to_owned()),
            None => (DOCKER, format!("{LIBRARY}/{name}")),
        };
        let registry = if registry == "index.docker.io" {
            DOCKER
        } else {
            registry
        };
        let path = match registry {
            DOCKER if !path.contains('/') => format!("{LIBRARY}/{path}"),
            _ => path,
        };
        if !is_registry(registry) {
            let help = "before the first `/` stands a host in small letters, with a port if it \
                           has one of its own: `registry.home:5000/app:3`";
            return Err(refuse("its registry is none", help));
        }
        if !path.split('/').all(is_part) || registry.len() + path.len() >= NAME_BYTES_MAX {
            let help = "its parts are small letters and digits, joined by `.`, `_`, `__` or \
                           `-`, as in `library/nginx`";
            return Err(refuse("its path is none", help));
        }
        if tag.is_none() && digest.is_none() {
            let help = format!("say which: `{text}:1.27`, or `{text}@sha256:...`");
            return Err(refuse("it has neither a tag nor a digest", &help));
        }
        Ok(Self {
            registry: registry.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether the first part of a name is a registry's and not a user's.
fn is_said_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let label = |label: &str| {
        let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        !label.is_empty()
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_host = match inner {
        Some(inner) => matches!(inner.parse(), Ok(IpAddr::V6(_))),
        None => host.split('.').all(label),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_tag(tag: &str) -> bool {
    let inner = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
    (1..=TAG_BYTES_MAX).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(inner)
}

/// Whether this is a part of a path: words of small letters and digits, joined by `.`, `_`, `__` or
/// any number of `-`.
fn is_part(part: &str) -> bool {
    let is_joint = |it: char| ".-_".contains(it);
    let is_word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let mut joints = part.split(is_word).filter(|joint| !joint.is_empty());
    part.starts_with(is_word)
        && part.ends_with(is_word)
        && part.chars().all(|it| is_word(it) || is_joint(it))
        && joints
            .all(|joint| [".", "_", "__"].contains(&joint) || joint.bytes().all(|it| it == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (text, whole, asked) in [
            ("nginx:1.27", "docker.io/library/nginx:1.27", "1.27"),
            (
                "docker.io/nginx:1.27",
                "docker.io/library/nginx:1.27",
                "1.27",
            ),
            ("index.docker.io/nginx:1", "docker.io/library/nginx:1", "1"),
            (
                "grafana/loki:3.0.0",
                "docker.io/grafana/loki:3.0.0",
                "3.0.0",
            ),
            ("localhost/app:3", "localhost/app:3", "3"),
            (
                "registry.home:5000/a/b-c__d.e:v1_x",
                "registry.home:5000/a/b-c__d.e:v1_x",
                "v1_x",
            ),
            ("10.0.0.1/app:3", "10.0.0.1/app:3", "3"),
            ("[fd00::1]:5000/app:3", "[fd00::1]:5000/app:3", "3"),
            (
                "registry.k8s.io/pause:3.10",
                "registry.k8s.io/pause:3.10",
                "3.10",
            ),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(
                (read.to_string().as_str(), read.asked().as_str()),
                (whole, asked)
            );
            assert_eq!(read.names(), [whole]);
        }
    }

    #[test]
    fn a_digest_is_asked_for_in_place_of_the_tag() {
        let text = format!("nginx:1.27@sha256:{DIGEST}");
        let read: Reference = text.parse().unwrap();
        assert_eq!(read.to_string(), format!("docker.io/library/{text}"));
        assert_eq!(read.asked(), format!("sha256:{DIGEST}"));
        let by_digest = format!("docker.io/library/nginx@sha256:{DIGEST}");
        assert_eq!(read.names(), ["docker.io/library/nginx:1.27", &by_digest]);
        let alone: Reference = format!("nginx@sha256:{DIGEST}").parse().unwrap();
        assert_eq!(alone.names(), [by_digest]);
    }

    #[test]
    fn anything_else_is_refused_with_a_way_out() {
        let upper = format!("nginx@sha256:{}", DIGEST.to_uppercase());
        for (text, why, help) in [
            ("nginx", "it has neither a tag nor a digest", "`nginx:1.27`"),
            (
                "registry.home:5000/app",
                "it has neither a tag nor a digest",
                "`registry.home:5000/app:1.27`",
            ),
            (
                "https://docker.io/nginx:1",
                "it is an address",
                "`docker.io/nginx:1`",
            ),
            (
                "nginx@sha256:abc",
                "its digest is none",
                "64 hexadecimal digits",
            ),
            (
                "nginx@sha512:abc",
                "its digest is none",
                "64 hexadecimal digits",
            ),
            (&upper, "its digest is none", "small ones"),
            ("nginx:", "its tag is none", "128 letters"),
            ("nginx:-1", "its tag is none", "128 letters"),
            ("nginx:a b", "its tag is none", "128 letters"),
            ("Nginx:1", "its path is none", "small letters"),
            ("", "its path is none", "small letters"),
            ("a//b:1", "its path is none", "small letters"),
            ("a/../b:1", "its path is none", "small letters"),
            ("a___b:1", "its path is none", "small letters"),
            ("registry.home/:1", "its path is none", "small letters"),
            ("-a.home/app:3", "its registry is none", "a host"),
            ("a.home:70000/app:3", "its registry is none", "a host"),
            ("a.home:/app:3", "its registry is none", "a host"),
            ("[::1/app:3", "its registry is none", "a host"),
            ("A.home/app:3", "its registry is none", "a host"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error.to_string(), why, "{text}");
            assert!(error.help.contains(help), "{text}: {}", error.help);
        }
        let long = format!("{}:1", "a".repeat(NAME_BYTES_MAX));
        assert!(long.parse::<Reference>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_read_the_same_again(text in "([a-z.:0-9]{1,8}/)?[a-z0-9_.-]{1,8}(:[a-z0-9.]{1,5})?") {
            if let Ok(read) = text.parse::<Reference>() {
                prop_assert_eq!(read.to_string().parse::<Reference>(), Ok(read));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<Reference>();
        }
    }
}
