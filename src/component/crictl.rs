//! crictl, for anyone who looks at the Pods and containers of a worker from the worker.

use super::{Access, BIN, Checksums, Component, File, Gap, Pair, Publisher, Release, Track};
use crate::arch::Arch;
use crate::role::Role;
use crate::template::builtin;
use crate::version::{Minor, Version};

/// cri-tools' releases on GitHub, which have a checksum beside each archive.
pub(super) const PUBLISHER: Publisher = Publisher {
    name: "crictl",
    url: "https://github.com/kubernetes-sigs/cri-tools/releases/download",
    checksums: Checksums::Beside(".sha256"),
};

/// An archive for each architecture. 1.28.0 is the last for 32-bit ARM that anyone states a digest
/// of.
const RELEASE: Release = Release {
    publisher: &PUBLISHER,
    path: "v{version}/crictl-v{version}-linux-{arch}.tar.gz",
    member: Some("crictl"),
    gaps: &[Gap {
        arch: Arch::Armhf,
        last: Some(Version::new(1, 28, 0)),
        help: "the last release for 32-bit ARM is 1.28.0, which works with later kubelets too: \
                  say that `version` under `[component.crictl]`, or name your own build as `path`",
    }],
};

const fn pair(minor: u64, patch: u64) -> Pair {
    Pair {
        since: Minor::new(1, minor),
        version: Version::new(1, minor, patch),
    }
}

/// The last release of the same line.
const VERSIONS: &[Pair] = &[
    pair(20, 0),
    pair(21, 0),
    pair(22, 0),
    pair(23, 0),
    pair(24, 2),
    pair(25, 0),
    pair(26, 1),
    pair(27, 1),
    pair(28, 0),
    pair(29, 0),
    pair(30, 1),
    pair(31, 1),
    pair(32, 0),
    pair(33, 0),
    pair(34, 0),
    pair(35, 0),
    pair(36, 0),
];

/// crictl: one on each worker.
pub(super) const CRICTL: Component = Component {
    name: "crictl",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Own(VERSIONS),
    programs: &["crictl"],
    directory: BIN,
    release: Some(RELEASE),
    directories: &[],
    // Without it crictl tries the sockets of every runtime that there ever was.
    files: &[File::Template {
        path: "/etc/crictl.yaml",
        text: builtin!("etc/crictl.yaml.hbs"),
        access: Access::Anyone,
    }],
    words: &[],
    service: None,
};

#[cfg(test)]
mod tests {
    use crate::component::CONTAINERD_SOCKET;
    use crate::manifest::compose::fixture::{Fixture, text};
    use crate::role::Role;

    #[test]
    fn it_is_told_which_socket_to_ask() {
        let mut fixture = Fixture::new(1, "1.32.3", "3.5.21");
        fixture.node("az1").roles.insert(Role::Worker);
        let file = text(&fixture.composed(), "az1", "/etc/crictl.yaml");
        for key in ["runtime-endpoint", "image-endpoint"] {
            let line = format!("{key}: {CONTAINERD_SOCKET}");
            assert!(file.lines().any(|found| found == line), "{file}");
        }
    }
}
