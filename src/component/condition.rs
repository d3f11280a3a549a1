//! For which versions, clusters and nodes something is written.

use crate::version::{Minor, Version};

/// A range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid {
    /// The first version in it.
    pub since: Version,
    /// The first line of releases that is no longer in it.
    pub before: Minor,
}

impl Valid {
    /// Every version.
    pub const ALWAYS: Self = Self {
        since: Version::new(0, 0, 0),
        before: Minor::new(u64::MAX, u64::MAX),
    };

    /// From the first release of a line on.
    pub const fn since(major: u64, minor: u64) -> Self {
        Self {
            since: Version::new(major, minor, 0),
            ..Self::ALWAYS
        }
    }

    /// Up to, but not with, a line of releases.
    pub const fn before(major: u64, minor: u64) -> Self {
        Self {
            before: Minor::new(major, minor),
            ..Self::ALWAYS
        }
    }

    /// From a release on, up to, but not with, a line of releases.
    pub const fn between(since: Version, before: Minor) -> Self {
        Self { since, before }
    }

    /// Whether a version is in it.
    pub fn contains(&self, version: Version) -> bool {
        self.since <= version && version.minor() < self.before
    }
}

/// The clusters and nodes something is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Clusters of several kube-apiservers.
    SeveralApiservers,
    /// Nodes without the role `worker`: no kube-proxy runs there.
    NotWorker,
    /// Clusters whose signing key is at hand.
    SigningKey,
    /// Clusters with an authority for each set of certificates.
    SeparateAuthorities,
    /// Nodes of the profile `small`.
    Small,
    /// All others.
    NotSmall,
    /// Clusters whose inventory says where in etcd everything is kept.
    EtcdPrefix,
    /// Nodes of the architecture `armhf`.
    Armhf,
    /// Nodes of the architecture `arm64`.
    Arm64,
}

/// What of a cluster an inventory can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// The network of Pods, unless the user brings one.
    PodNetwork,
    /// kube-proxy, unless the user brings something in its place.
    Proxy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_its_first_version_and_not_its_last_line() {
        let range = Valid::between(Version::new(3, 4, 25), Minor::new(3, 5));
        let check = |text: &str, expected| {
            assert_eq!(range.contains(text.parse().unwrap()), expected, "{text}");
        };
        check("3.4.24", false);
        check("3.4.25", true);
        check("3.4.99", true);
        check("3.5.0", false);
    }
}
