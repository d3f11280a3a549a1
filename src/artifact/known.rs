//! The digests of releases that ship inside kinstall. Pure.
//!
//! They are what a first pin is compared with before anything that a mirror says of itself. The
//! table has the form of `sha256sum`, with paths below a base URL, so that
//! `sha256sum --ignore-missing -c` checks a mirror directory against it. `cargo xtask checksums`
//! adds to it.

use super::{Artifact, Origin};
use crate::digest::Digest;
use crate::image::Reference;
use crate::version::{Minor, Version};

/// Programs and archives, by publisher. Of an archive it is the digest of the file as it is fetched.
const TABLE: &str = include_str!("SHA256SUMS");

/// Images that kinstall chooses itself, with the digests of their indexes for all architectures. Nothing
/// sure was found of the tags 3.2, 3.4.1, 3.7 and 3.8.
///
/// Source: what projects that pin them by tag and digest agree on, four or more of each.
const IMAGES: [(&str, &str); 6] = [
    (
        "registry.k8s.io/pause:3.5",
        "1ff6c18fbef2045af6b9c16bf034cc421a29027b800e4f9b68ae9b1cb3e9ae07",
    ),
    (
        "registry.k8s.io/pause:3.6",
        "3d380ca8864549e74af4b29c10f9cb0956236dfb01c40ca076fb6c37253234db",
    ),
    (
        "registry.k8s.io/pause:3.9",
        "7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097",
    ),
    (
        "registry.k8s.io/pause:3.10",
        "ee6521f290b2168b6e0935a181d4cff9be1ac3f505666ef0e3c98fae8199917a",
    ),
    (
        "registry.k8s.io/pause:3.10.1",
        "278fb9dbcca9518083ad1e11276933a2e96f23de604a3a08cc3c80002767d24c",
    ),
    (
        "registry.k8s.io/pause:3.10.2",
        "f548e0e8e3dc1896ca956272154dde3314e8cc4fde0a57577ee9fa1c63f5baf4",
    ),
];

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

impl Reference {
    /// The digest that ships inside kinstall of what this name leads to, if it is known.
    pub fn known_digest(&self) -> Option<Digest> {
        let name = self.to_string();
        let (_, digest) = IMAGES.iter().find(|(known, _)| *known == name)?;
        Some(digest.parse().expect("a test reads every digest"))
    }
}

/// The newest release of a line of Kubernetes that is known; none if none is.
pub fn newest(line: Minor) -> Option<Version> {
    let releases = releases().map(|(release, _)| release);
    releases.filter(|release| release.minor() == line).max()
}

/// The newest Kubernetes of which the servers are known, too: what a new cluster begins with.
///
/// # Panics
/// Where none is known, of which a test knows first.
pub fn newest_of_all() -> Version {
    let servers = releases().filter(|(_, program)| *program == "kube-apiserver");
    servers
        .map(|(release, _)| release)
        .max()
        .expect("some are known")
}

/// Every release of Kubernetes with a program of it, as they stand in the table.
fn releases() -> impl Iterator<Item = (Version, &'static str)> {
    TABLE.lines().filter_map(|line| {
        let (_, path) = line.split_once("  release/v")?;
        let (release, _) = path.split_once('/')?;
        let (_, program) = path.rsplit_once('/')?;
        Some((release.parse().ok()?, program))
    })
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
        assert!(paths.len() >= 3300);
    }

    /// What collections say of some files is the digest of another architecture's, or that of what
    /// a server answers where there is no file.
    #[test]
    fn no_digest_stands_there_twice_and_none_is_that_of_nothing_or_of_an_error() {
        let answers = [
            "",
            "\n",
            "Not Found",
            "Not Found\n",
            "404: Not Found",
            "404: Not Found\n",
            "404 page not found",
            "404 page not found\n",
        ];
        let mut digests: BTreeSet<Digest> = answers.map(|it| Digest::of(it.as_bytes())).into();
        for line in TABLE.lines() {
            let (digest, path) = line.split_once("  ").unwrap();
            assert!(digests.insert(digest.parse().unwrap()), "{path}");
        }
    }

    #[test]
    fn what_kinstall_chooses_for_workers_is_known() {
        use crate::component::{COMPONENTS, Track};
        for component in COMPONENTS {
            let Track::Own(pairs) = component.track else {
                continue;
            };
            for (pair, name) in pairs.iter().flat_map(|it| {
                let programs = component.programs.iter();
                programs.map(move |name| (it, name))
            }) {
                for arch in [Arch::Amd64, Arch::Arm64] {
                    let version = pair.version.to_string();
                    assert!(
                        known(name, &version, arch).is_some(),
                        "{name} {version} {arch}"
                    );
                }
            }
        }
        assert!(known("bridge", "1.9.1", Arch::Armhf).is_some());
        assert!(known("runc", "1.1.13", Arch::Armhf).is_some());
        assert!(known("crictl", "1.28.0", Arch::Armhf).is_some());
        let kubelet = "release/v1.25.14/bin/linux/arm/kubelet";
        assert!(
            !TABLE.contains(kubelet),
            "it is that of another architecture"
        );
    }

    #[test]
    fn the_pause_image_of_the_newest_lines_is_known() {
        for minor in 26..=37 {
            let tag = crate::component::pause_tag(Minor::new(1, minor));
            let name = format!("{}:{tag}", crate::component::PAUSE);
            let image: Reference = name.parse().unwrap();
            assert!(image.known_digest().is_some(), "{name}");
        }
        let digests: BTreeSet<_> = IMAGES.iter().map(|(_, digest)| digest).collect();
        assert_eq!(digests.len(), IMAGES.len());
        for (name, digest) in IMAGES {
            let image: Reference = name.parse().unwrap();
            let known = image.known_digest().unwrap();
            assert_eq!(
                (image.to_string(), known.to_string()),
                (name.into(), digest.into())
            );
        }
        for name in ["registry.k8s.io/pause:3.2", "docker.io/library/pause:3.10"] {
            let image: Reference = name.parse().unwrap();
            assert_eq!(image.known_digest(), None, "{name}");
        }
    }

    #[test]
    fn what_a_new_cluster_begins_with_is_known_whole() {
        let newest = newest_of_all().to_string();
        let programs = [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubectl",
            "kubelet",
            "kube-proxy",
        ];
        for arch in [Arch::Amd64, Arch::Arm64] {
            for name in programs {
                assert!(
                    known(name, &newest, arch).is_some(),
                    "{name} {newest} {arch}"
                );
            }
            let etcd = crate::inventory::pairing::etcd_for(newest_of_all().minor())
                .unwrap()
                .to_string();
            assert!(known("etcd", &etcd, arch).is_some(), "etcd {etcd} {arch}");
        }
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
