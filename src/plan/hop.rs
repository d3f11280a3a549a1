//! Upgrades that lead over several versions: in which hops, so that each is one that may be taken.
//!
//! Source: as of [`super::skew`]: kube-apiserver skips no minor version, etcd goes one line at a
//! time, and leaves some lines only from a late patch.

use crate::artifact;
use crate::inventory::pairing;
use crate::version::{Minor, Version};

/// The versions of one hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Kubernetes.
    pub kubernetes: Version,
    /// etcd.
    pub etcd: Version,
}

/// Why there is no way by these versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum NoWay {
    /// The way does not end where the inventory wants it to.
    #[error("`--through` ends at {last}, and the inventory says `kubernetes = \"{wanted}\"`")]
    #[diagnostic(help("the last version of `--through` is the inventory's: {wanted}"))]
    Elsewhere {
        /// Where it ends.
        last: Version,
        /// Where it should.
        wanted: Version,
    },
    /// A version comes before one that is not older.
    #[error("`--through` goes from {from} to {to}: Kubernetes is not downgraded")]
    #[diagnostic(help("name later versions, in the order of the upgrade"))]
    Backwards {
        /// The version before.
        from: Version,
        /// The version after.
        to: Version,
    },
    /// A minor version is skipped.
    #[error("`--through` goes from {from} to {to}, and no minor version may be skipped")]
    #[diagnostic(help("give `--through {}`", listed(way)))]
    Skips {
        /// The version before.
        from: Version,
        /// The version after.
        to: Version,
        /// A way that skips none.
        way: Vec<Version>,
    },
}

/// The hops from what runs to what an inventory wants, by way of these versions of Kubernetes.
/// Those that are behind already are left out. `keeps_etcd` is for an etcd of the user's own, of
/// which there is one version.
pub fn hops(
    runs: Hop,
    through: &[Version],
    wanted: Hop,
    keeps_etcd: bool,
) -> Result<Vec<Hop>, NoWay> {
    let last = through.last().copied().unwrap_or(wanted.kubernetes);
    let wanted_version = wanted.kubernetes;
    if last != wanted_version {
        return Err(NoWay::Elsewhere {
            last,
            wanted: wanted_version,
        });
    }
    if let Some(pair) = through.windows(2).find(|pair| pair[1] <= pair[0]) {
        let (from, to) = (pair[0], pair[1]);
        return Err(NoWay::Backwards { from, to });
    }
    let mut hops = Vec::new();
    let mut at = runs;
    let ahead = through
        .iter()
        .copied()
        .filter(|version| *version > runs.kubernetes || *version == wanted_version);
    for version in ahead {
        if version.minor() < at.kubernetes.minor() {
            let (from, to) = (at.kubernetes, version);
            return Err(NoWay::Backwards { from, to });
        }
        if version.minor.saturating_sub(at.kubernetes.minor) > 1 {
            return Err(NoWay::Skips {
                from: at.kubernetes,
                to: version,
                way: way(runs.kubernetes, wanted_version),
            });
        }
        let etcd = if version == wanted_version || keeps_etcd {
            wanted.etcd
        } else {
            let paired = pairing::etcd_for(version.minor()).unwrap_or(at.etcd);
            paired.min(wanted.etcd).max(at.etcd)
        };
        for between in etcd_between(at.etcd, etcd) {
            at.etcd = between;
            hops.push(at);
        }
        at = Hop {
            kubernetes: version,
            etcd,
        };
        hops.push(at);
    }
    Ok(hops)
}

/// The versions of Kubernetes that lead from one to another: the newest of each line between, as
/// far as it is known, and the one that is wanted.
pub(super) fn way(from: Version, to: Version) -> Vec<Version> {
    let between = (from.minor + 1..to.minor).map(|minor| Minor::new(to.major, minor));
    let newest = between
        .map(|line| artifact::newest(line).unwrap_or(Version::new(line.major, line.minor, 0)));
    newest.chain([to]).collect()
}

/// Where etcd has to stop on its way from one version to another.
fn etcd_between(from: Version, to: Version) -> Vec<Version> {
    let mut stops = Vec::new();
    let mut at = from;
    while at.minor() < to.minor() {
        let next = Minor::new(at.major, at.minor + 1);
        if let Some(floor) = pairing::etcd_floor(next).filter(|floor| at < *floor) {
            stops.push(floor);
        }
        if next == to.minor() {
            break;
        }
        let leaves = Minor::new(next.major, next.minor + 1);
        let paired = pairing::KUBERNETES
            .filter_map(|minor| pairing::etcd_for(Minor::new(1, minor)))
            .rfind(|etcd| etcd.minor() == next);
        let stop = pairing::etcd_floor(leaves).or(paired);
        at = stop.unwrap_or(Version::new(next.major, next.minor, 0));
        stops.push(at);
    }
    stops
}

/// Versions as `--through` takes them.
pub(super) fn listed(versions: &[Version]) -> String {
    let words: Vec<String> = versions.iter().map(ToString::to_string).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> Hop {
        let (kubernetes, etcd) = text.split_once('/').unwrap();
        let [kubernetes, etcd] = [kubernetes, etcd].map(|text| text.parse().unwrap());
        Hop { kubernetes, etcd }
    }

    #[track_caller]
    fn check(runs: &str, through: &str, wanted: &str, expected: &str) {
        let through: Vec<Version> = through.split(' ').map(|it| it.parse().unwrap()).collect();
        let told = match hops(hop(runs), &through, hop(wanted), false) {
            Ok(hops) => {
                let hops = hops.iter();
                let hops = hops.map(|hop| format!("{}/{}", hop.kubernetes, hop.etcd));
                hops.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn each_hop_is_one_that_may_be_taken() {
        check(
            "1.32.3/3.5.24",
            "1.33.11 1.34.8 1.35.5",
            "1.35.5/3.6.6",
            "1.33.11/3.5.32 1.34.8/3.6.5 1.35.5/3.6.6",
        );
        // A line of etcd that is left only from a late patch.
        check(
            "1.33.2/3.5.24",
            "1.34.8",
            "1.34.8/3.6.5",
            "1.33.2/3.5.32 1.34.8/3.6.5",
        );
        // An etcd that the inventory names is not passed.
        check(
            "1.32.3/3.5.32",
            "1.33.11 1.34.8",
            "1.34.8/3.5.40",
            "1.33.11/3.5.32 1.34.8/3.5.40",
        );
        check(
            "1.21.14/3.4.13",
            "1.22.17",
            "1.22.17/3.6.5",
            "1.21.14/3.5.32 1.22.17/3.6.5",
        );
    }

    #[test]
    fn what_is_behind_is_left_out() {
        let through = "1.33.11 1.34.8";
        check("1.33.11/3.5.32", through, "1.34.8/3.6.5", "1.34.8/3.6.5");
        check("1.34.8/3.6.5", through, "1.34.8/3.6.5", "1.34.8/3.6.5");
    }

    #[test]
    fn a_way_that_skips_goes_back_or_ends_elsewhere_is_none() {
        let skips = "`--through` goes from 1.32.3 to 1.34.8, and no minor version may be skipped";
        check("1.32.3/3.5.32", "1.34.8", "1.34.8/3.5.32", skips);
        let back = "`--through` goes from 1.34.8 to 1.33.11: Kubernetes is not downgraded";
        check("1.32.3/3.5.32", "1.34.8 1.33.11", "1.33.11/3.5.32", back);
        let back = "`--through` goes from 1.35.1 to 1.34.8: Kubernetes is not downgraded";
        check("1.35.1/3.5.32", "1.34.8", "1.34.8/3.5.32", back);
        let elsewhere =
            "`--through` ends at 1.33.11, and the inventory says `kubernetes = \"1.34.8\"`";
        check("1.32.3/3.5.32", "1.33.11", "1.34.8/3.5.32", elsewhere);
    }

    #[test]
    fn a_way_is_found_by_the_newest_of_each_line() {
        let [from, to] = ["1.22.3", "1.25.1"].map(|text| text.parse().unwrap());
        let known = artifact::newest(Minor::new(1, 23)).unwrap();
        assert_eq!(listed(&way(from, to)), format!("{known},1.24.17,1.25.1"));
    }
}
