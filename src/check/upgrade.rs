//! "What would break if I upgraded?": the way from the inventory's Kubernetes to a later one, a
//! minor version at a time, as kube-apiserver wants it (Kubernetes: version skew policy).

use std::ops::RangeInclusive;

use super::Step;
use crate::artifact;
use crate::flags::Severity;
use crate::inventory::{Inventory, pairing};
use crate::version::{Minor, Version};

/// The way of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it begins.
    pub from: Version,
    /// Each step of it; none if there is nothing to do.
    pub steps: Vec<Step>,
}

/// Why there is no way to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum NoPath {
    /// It is older than what is there.
    #[error("{to} is older than {from}: Kubernetes is not downgraded")]
    #[diagnostic(help("name later versions, in the order of the upgrade"))]
    Backwards {
        /// What is there.
        from: Version,
        /// What was asked for.
        to: Version,
    },
    /// kinstall does not know it.
    #[error("Kubernetes {to} is not one this kinstall knows")]
    #[diagnostic(help("it knows Kubernetes 1.{} to 1.{}", LINES.start(), LINES.end()))]
    Unknown {
        /// What was asked for.
        to: Version,
    },
}

const LINES: RangeInclusive<u64> = pairing::KUBERNETES;

/// The way by way of these versions, and what breaks on each step of it.
pub fn upgrade(inventory: &Inventory, targets: &[Version]) -> Result<Path, NoPath> {
    let from = inventory.cluster.kubernetes;
    let mut steps: Vec<Step> = Vec::new();
    let mut before = inventory.clone();
    for to in releases(from, targets)? {
        let mut after = before.clone();
        after.cluster.kubernetes = to;
        if let (None, Some(etcd)) = (&inventory.places.etcd, pairing::etcd_for(to.minor())) {
            after.cluster.etcd = etcd.max(before.cluster.etcd);
        }
        steps.push(Step::between(&before, &after, from));
        before = after;
    }
    Ok(Path { from, steps })
}

/// Every release on the way: the ones asked for, and between them the newest of each line.
fn releases(from: Version, targets: &[Version]) -> Result<Vec<Version>, NoPath> {
    let mut way = Vec::new();
    let mut at = from;
    for to in targets.iter().copied() {
        if to.major != 1 || !LINES.contains(&to.minor) {
            return Err(NoPath::Unknown { to });
        }
        if to < at {
            return Err(NoPath::Backwards { from: at, to });
        }
        for minor in at.minor + 1..to.minor {
            let newest = artifact::newest(Minor::new(1, minor));
            way.push(newest.unwrap_or(Version::new(1, minor, 0)));
        }
        if to != at {
            way.push(to);
        }
        at = to;
    }
    Ok(way)
}

impl Path {
    /// Whether anything is to be done or looked at.
    pub fn has_findings(&self) -> bool {
        self.steps.iter().any(|step| !step.findings.is_empty())
    }

    /// How many findings would keep something from working, and how many are to be looked at.
    pub fn counts(&self) -> (usize, usize) {
        let findings = self.steps.iter().flat_map(|step| &step.findings);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            findings.partition(|finding| finding.severity == Severity::Error);
        (errors.len(), warnings.len())
    }

    /// Where it ends.
    pub fn to(&self) -> Version {
        self.steps.last().map_or(self.from, |step| step.to)
    }
}
