//! Which versions kinstall knows, and which etcd belongs to which Kubernetes.

use std::ops::RangeInclusive;

use crate::version::{Minor, Version};

/// The Kubernetes lines kinstall installs, as the second number of `1.x`.
pub const KUBERNETES: RangeInclusive<u64> = 20..=37;

/// The etcd lines whose flags kinstall knows, as the second number of `3.x`.
pub const ETCD: RangeInclusive<u64> = 3..=7;

/// The etcd that upstream pairs with a line of Kubernetes; none for a line kinstall does not know.
///
/// Source: `SupportedEtcdVersion` of kubeadm's constants in each line's last releases. Of 1.27 and
/// 1.28 only "3.5" is certain: they get their successors' 3.5.24, since 3.5.11 is the least that
/// the Kubernetes documentation recommends for production. 1.33 and 1.36 have a later patch than
/// kubeadm's: the one that etcd's upgrade guides ask for before the line of etcd that the next
/// Kubernetes brings (3.5.32 before 3.6, 3.6.11 before 3.7). All of them are published for amd64
/// and arm64.
pub fn etcd_for(kubernetes: Minor) -> Option<Version> {
    let (minor, patch) = match (kubernetes.major, kubernetes.minor) {
        (1, 20..=21) => (4, 13),
        (1, 22..=26) => (5, 6),
        (1, 27..=32) => (5, 24),
        (1, 33) => (5, 32),
        (1, 34) => (6, 5),
        (1, 35) => (6, 6),
        (1, 36) => (6, 11),
        (1, 37) => (7, 0),
        _ => return None,
    };
    Some(Version::new(3, minor, patch))
}

/// The oldest etcd of the line before that may go to a line of etcd; none where any may.
///
/// Source: etcd's upgrade guides to 3.6 and 3.7.
pub fn etcd_floor(line: Minor) -> Option<Version> {
    match (line.major, line.minor) {
        (3, 6) => Some(Version::new(3, 5, 32)),
        (3, 7) => Some(Version::new(3, 6, 11)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kubernetes_has_an_etcd_and_a_newer_one_never_an_older() {
        let etcds: Vec<_> = KUBERNETES
            .map(|minor| etcd_for(Minor::new(1, minor)).unwrap())
            .collect();
        assert!(etcds.is_sorted());
        assert!(etcds.iter().all(|etcd| ETCD.contains(&etcd.minor)));
        // One line of etcd at a time: an upgrade of Kubernetes by one may not need two.
        assert!(
            etcds
                .windows(2)
                .all(|pair| pair[1].minor - pair[0].minor <= 1)
        );
    }

    #[test]
    fn other_lines_have_none() {
        for text in ["1.19", "1.38", "2.20"] {
            assert_eq!(etcd_for(text.parse().unwrap()), None, "{text}");
        }
    }
}
