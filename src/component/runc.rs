//! runc, which containerd starts each container with.

use super::{BIN, Checksums, Component, Pair, Publisher, Release, Track};
use crate::role::Role;
use crate::version::{Minor, Version};

/// runc's releases on GitHub. Their list of checksums is a message signed by PGP.
pub(super) const PUBLISHER: Publisher = Publisher {
    name: "runc",
    url: "https://github.com/opencontainers/runc/releases/download",
    checksums: Checksums::List("runc.sha256sum"),
};

/// A static program for each architecture, by Debian's words for them since 1.1.0.
const RELEASE: Release = Release {
    publisher: &PUBLISHER,
    path: "v{version}/runc.{debian-arch}",
    member: None,
    gaps: &[],
};

/// The line that goes with each line of Kubernetes. Pods with users of their own, which 1.33 lets
/// everyone ask for, want 1.2 or later.
const VERSIONS: &[Pair] = &[
    // Not 1.1, which never got the fixes of three ways out of a container (CVE-2025-31133, -52565,
    // -52881: mended in 1.2.8).
    Pair {
        since: Minor::new(1, 20),
        version: Version::new(1, 2, 9),
    },
    Pair {
        since: Minor::new(1, 35),
        version: Version::new(1, 4, 3),
    },
];

/// runc: one on each worker.
pub(super) const RUNC: Component = Component {
    name: "runc",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Own(VERSIONS),
    programs: &["runc"],
    directory: BIN,
    release: Some(RELEASE),
    directories: &[],
    files: &[],
    words: &[],
    service: None,
};
