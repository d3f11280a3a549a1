//! The network plugins that a Pod is connected with: those of the CNI project that a bridge on each
//! node takes.

use super::{Access, Checksums, Component, Directory, Pair, Publisher, Release, Track};
use crate::role::Role;
use crate::version::{Minor, Version};

/// Where containerd looks for them, whoever installs them.
const PROGRAMS: &str = "/opt/cni/bin";

/// The plugins' releases on GitHub, which have a checksum beside each archive.
pub(super) const PUBLISHER: Publisher = Publisher {
    name: "cni-plugins",
    url: "https://github.com/containernetworking/plugins/releases/download",
    checksums: Checksums::Beside(".sha256"),
};

/// An archive for each architecture, with the programs side by side.
const RELEASE: Release = Release {
    publisher: &PUBLISHER,
    path: "v{version}/cni-plugins-linux-{arch}-v{version}.tgz",
    member: Some("{program}"),
    gaps: &[],
};

/// Nothing ties them to a line of Kubernetes. Before 1.9.0 portmap may catch what is meant for
/// others (CVE-2025-67499).
const VERSIONS: &[Pair] = &[Pair {
    since: Minor::new(1, 20),
    version: Version::new(1, 9, 1),
}];

/// The plugins, on each worker. Where the configuration lies that names them is here too: a network
/// of the user's own puts its own file there.
pub(super) const CNI_PLUGINS: Component = Component {
    name: "cni-plugins",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Own(VERSIONS),
    programs: &["bridge", "host-local", "loopback", "portmap"],
    directory: PROGRAMS,
    release: Some(RELEASE),
    directories: &[
        Directory {
            path: "/etc/cni",
            access: Access::Anyone,
        },
        Directory {
            path: "/etc/cni/net.d",
            access: Access::Anyone,
        },
        Directory {
            path: "/opt/cni",
            access: Access::Anyone,
        },
        Directory {
            path: PROGRAMS,
            access: Access::Anyone,
        },
    ],
    files: &[],
    words: &[],
    service: None,
};
