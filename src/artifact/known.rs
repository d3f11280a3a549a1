//! The digests of releases that ship inside kinstall. Pure.
//!
//! They are what a first pin is compared with before anything that a mirror says of itself. The
//! table has the form of `sha256sum`, with paths below a base URL, so that
//! `sha256sum --ignore-missing -c` checks a mirror directory against it. `cargo xtask checksums`
//! adds to it.

use super::{Artifact, Origin};
use crate::digest::Digest;
use crate::version::{Minor, Version};

/// Programs and etcd's archives.
const TABLE: &str = include_str!("SHA256SUMS");

impl Artifact {
    /// The digest that ships inside kinstall, if this release is known.
    pub fn known_digest(&self) -> Option<Digest> {
        if self.origin == Origin::Own {
            return None;
        }
        let line = TABLE.lines().find_map(|line| {
            let (digest, path) = line.split_once("  ")?;
            (path == self.path).then_some(digest)
        })?;
        Some(line.parse().expect("a test reads every line of the table"))
    }
}

/// The newest release of a line of Kubernetes that is known; none if none is.
pub fn newest(line: Minor) -> Option<Version> {
    let releases = TABLE.lines().filter_map(|line| {
        let (_, path) = line.split_once("  release/v")?;
        path.split('/').next()?.parse::<Version>().ok()
    });
    releases.filter(|release| release.minor() == line).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::artifact::Program;
    use std::collections::BTreeSet;

    fn program(name: &str, version: &str, arch: Arch) -> Program {
        Program {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            arch,
            own: None,
        }
    }

    fn known(name: &str, version: &str, arch: Arch) -> Option<Digest> {
        program(name, version, arch)
            .artifact()
            .unwrap()
            .known_digest()
    }

    #[test]
    fn every_line_is_a_digest_and_a_path_that_stands_there_once() {
        let mut paths = BTreeSet::new();
        for line in TABLE.lines() {
            let (digest, path) = line.split_once("  ").unwrap();
            assert_eq!(digest.parse::<Digest>().unwrap().to_string(), digest);
            assert!(paths.insert(path), "{path}");
        }
        assert!(paths.len() >= 2900);
    }

    #[test]
    fn no_server_before_1_24_is_known() {
        for version in ["1.20.0", "1.21.14", "1.22.17", "1.23.15"] {
            for arch in Arch::ALL {
                assert_eq!(known("kube-apiserver", version, arch), None);
            }
        }
        assert!(known("kubectl", "1.20.0", Arch::Armhf).is_some());
    }

    #[test]
    fn releases_are_known_for_every_architecture_they_were_built_for() {
        for (name, version, arch) in [
            ("kube-apiserver", "1.24.0", Arch::Arm64),
            ("kube-apiserver", "1.32.3", Arch::Arm64),
            ("kube-controller-manager", "1.36.3", Arch::Amd64),
            ("kube-scheduler", "1.32.3", Arch::Arm64),
            ("kubectl", "1.32.3", Arch::Armhf),
            ("etcd", "3.5.21", Arch::Arm64),
        ] {
            assert!(known(name, version, arch).is_some(), "{name} {version}");
        }
    }

    #[test]
    fn the_newest_release_of_a_line_is_found() {
        assert_eq!(newest(Minor::new(1, 24)), Some(Version::new(1, 24, 17)));
        assert_eq!(newest(Minor::new(1, 99)), None);
    }

    #[test]
    fn what_is_doubtful_or_not_upstreams_is_not_known() {
        assert_eq!(known("kubectl", "1.27.13", Arch::Arm64), None);
        assert_eq!(known("etcd", "3.5.0", Arch::Arm64), None);
        assert_eq!(known("kube-apiserver", "1.99.0", Arch::Arm64), None);
        let own = Program {
            name: "kubectl".to_owned(),
            version: "1.32.3".parse().unwrap(),
            arch: Arch::Arm64,
            own: Some("release/v1.32.3/bin/linux/arm64/kubectl".to_owned()),
        };
        assert_eq!(own.artifact().unwrap().known_digest(), None);
    }
}
