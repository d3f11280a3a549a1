//! Whether a kubelet, containerd and runc of these versions run Pods together. Pure.
//!
//! Sources: containerd's `RELEASES.md` ("Kubernetes Support"), and the versions of CRI that each
//! kubelet asks for: v1alpha2 alone before 1.23, either up to 1.25, v1 alone from 1.26 on. containerd
//! speaks v1 from 1.6 on, and v1alpha2 up to 1.7.

use std::collections::BTreeSet;

use super::Finding;
use crate::component::named;
use crate::flags::Severity;
use crate::inventory::{Inventory, Node, Setting};
use crate::version::{Minor, Version};

/// The oldest line of containerd whose configuration kinstall writes, which is the oldest that
/// speaks v1 of CRI.
const OLDEST: Minor = Minor::new(1, 6);

/// The newest line of containerd that kinstall knows.
const NEWEST: Minor = Minor::new(2, 3);

/// The first line that speaks v1 of CRI alone.
const SECOND: Minor = Minor::new(2, 0);

/// From which release on upstream names each line of containerd for a line of Kubernetes; it names
/// no others. For what comes after the last row, that one holds.
const NAMED: &[(u64, &[Version])] = &[
    (26, &[Version::new(1, 6, 15), Version::new(1, 7, 0)]),
    (30, &[Version::new(1, 7, 0)]),
    (31, &[Version::new(1, 7, 0), Version::new(2, 0, 0)]),
    (
        32,
        &[
            Version::new(1, 6, 36),
            Version::new(1, 7, 24),
            Version::new(2, 0, 1),
            Version::new(2, 1, 0),
        ],
    ),
    (
        33,
        &[
            Version::new(1, 6, 36),
            Version::new(1, 7, 24),
            Version::new(2, 0, 4),
            Version::new(2, 1, 0),
        ],
    ),
    (
        34,
        &[
            Version::new(1, 6, 39),
            Version::new(1, 7, 28),
            Version::new(2, 0, 6),
            Version::new(2, 1, 3),
        ],
    ),
    (
        35,
        &[
            Version::new(1, 7, 28),
            Version::new(2, 1, 5),
            Version::new(2, 2, 0),
        ],
    ),
    (36, &[Version::new(2, 2, 0), Version::new(2, 3, 0)]),
];

/// The first runc without CVE-2024-21626, through which a container gets out to its machine.
const RUNC_CLOSED: Version = Version::new(1, 1, 12);

/// The first runc that gives a Pod users of its own, and the line of Kubernetes that lets everyone
/// ask for them.
const RUNC_USERS: Version = Version::new(1, 2, 0);
const USERS: Minor = Minor::new(1, 33);

/// What is said of versions that do not go together.
type Field = (Severity, String, &'static str);

/// What is wrong with the versions on a node.
pub(super) fn findings(inventory: &Inventory, node: &Node) -> Vec<Finding> {
    let gets = |name: &str| named(name).is_some_and(|row| inventory.gets(row, node));
    if !["kubelet", "containerd", "runc"].into_iter().all(gets) {
        return Vec::new();
    }
    let version = |name| inventory.version(name, node);
    let place = |name| {
        let settings = inventory.component(name, node);
        let place = settings.places.get(&Setting::Version)?;
        Some(place.value.clone())
    };
    let finding = |component, (severity, message, help): Field| Finding {
        severity,
        component: Some(component),
        version: version(component),
        nodes: BTreeSet::from([node.name.clone()]),
        place: place(component).or_else(|| place("kubelet")),
        message,
        help: Some(help.to_owned()),
    };
    let kubelet = version("kubelet");
    let of_containerd = containerd(kubelet, version("containerd"));
    let of_containerd = of_containerd.map(|said| finding("containerd", said));
    // Whoever builds runc has mended it, or has not: its number does not tell.
    let is_own = inventory.component("runc", node).path.is_some();
    let of_runc = runc(kubelet, version("runc")).filter(|_| !is_own);
    let of_runc = of_runc.map(|said| finding("runc", said));
    of_containerd.into_iter().chain(of_runc).collect()
}

/// Whether a kubelet and containerd run Pods together.
fn containerd(kubelet: Version, containerd: Version) -> Option<Field> {
    let (kubernetes, line) = (kubelet.minor(), containerd.minor());
    let error = |message, help| Some((Severity::Error, message, help));
    let warning = |message, help| Some((Severity::Warning, message, help));
    if line < OLDEST {
        let message =
            format!("containerd {containerd} is older than {OLDEST}, which kinstall can set up");
        return error(message, "take 1.7.34, or leave `version` out");
    }
    if line >= SECOND && kubernetes.minor < 23 {
        let message = format!(
            "kubelet {kubelet} and containerd {containerd} have no language in common: the one \
             speaks v1alpha2 of CRI alone, the other v1"
        );
        return error(message, "take 1.7.34, or leave `version` out");
    }
    if line >= SECOND && kubernetes.minor < 26 {
        let message = format!(
            "kubelet {kubelet} is untested with containerd {containerd}: 2.x came after 1.25"
        );
        return error(message, "take 1.7.34, or leave `version` out");
    }
    if line > NEWEST {
        let message = format!(
            "containerd {line} is newer than {NEWEST}: its configuration is written as for that"
        );
        return warning(message, "try it on one node first");
    }
    if line >= SECOND && kubernetes.minor < 31 {
        let message = format!(
            "upstream names containerd 2.x for Kubernetes 1.31 and later, not {kubernetes}"
        );
        return warning(message, "take 1.7.34");
    }
    let mut rows = NAMED.iter().rev();
    let (_, named) = rows.find(|(first, _)| *first <= kubernetes.minor)?;
    let newest = named.last().map(Version::minor);
    match named.iter().find(|first| first.minor() == line) {
        Some(first) if containerd < *first => {
            let message = format!(
                "upstream names containerd {first} and later of {line} for Kubernetes {kubernetes}"
            );
            warning(message, "take the last release of its line")
        }
        None if newest.is_some_and(|newest| line < newest) => {
            let names: Vec<_> = named.iter().map(|it| it.minor().to_string()).collect();
            let message = format!(
                "upstream does not name containerd {line} for Kubernetes {kubernetes}, but {}",
                names.join(" and ")
            );
            warning(message, "take one of those, or leave `version` out")
        }
        _ => None,
    }
}

/// Whether runc should run the Pods of a kubelet.
fn runc(kubelet: Version, runc: Version) -> Option<Field> {
    let warning = |message, help| Some((Severity::Warning, message, help));
    if runc < RUNC_CLOSED {
        let message = format!(
            "runc {runc} lets a container out to its machine (CVE-2024-21626): it was mended in \
             {RUNC_CLOSED}"
        );
        return warning(message, "leave `version` out, or take a later one");
    }
    if kubelet.minor() >= USERS && runc < RUNC_USERS {
        let message = format!(
            "runc {runc} gives no Pod users of its own (`hostUsers: false`), which kubelet \
             {kubelet} may ask it for"
        );
        return warning(message, "take 1.2.9 or later, or leave `version` out");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(said: Option<Field>) -> String {
        said.map_or("good".to_owned(), |(severity, message, help)| {
            let word = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            format!("{word}: {message} ({help})")
        })
    }

    #[track_caller]
    fn check(kubelet: &str, version: &str, expected: &str) {
        let said = containerd(kubelet.parse().unwrap(), version.parse().unwrap());
        assert_eq!(line(said), expected, "{kubelet} {version}");
    }

    #[test]
    fn what_upstream_names_together_is_good() {
        for (kubelet, containerd) in [
            ("1.20.2", "1.6.20"),
            ("1.20.2", "1.7.34"),
            ("1.25.16", "1.6.39"),
            ("1.26.15", "1.6.15"),
            ("1.29.0", "1.7.0"),
            ("1.31.0", "2.0.0"),
            ("1.31.0", "2.2.7"),
            ("1.33.0", "1.6.36"),
            ("1.34.0", "2.1.3"),
            ("1.34.0", "2.3.4"),
            ("1.35.0", "1.7.28"),
            ("1.36.3", "2.2.0"),
            ("1.37.0", "2.3.4"),
        ] {
            check(kubelet, containerd, "good");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        check(
            "1.32.3",
            "1.5.18",
            "error: containerd 1.5.18 is older than 1.6, which kinstall can set up (take 1.7.34, or \
             leave `version` out)",
        );
        check(
            "1.22.17",
            "2.0.11",
            "error: kubelet 1.22.17 and containerd 2.0.11 have no language in common: the one \
             speaks v1alpha2 of CRI alone, the other v1 (take 1.7.34, or leave `version` out)",
        );
        for kubelet in ["1.23.0", "1.25.16"] {
            let expected = format!(
                "error: kubelet {kubelet} is untested with containerd 2.0.11: 2.x came after \
                 1.25 (take 1.7.34, or leave `version` out)"
            );
            check(kubelet, "2.0.11", &expected);
        }
    }

    #[test]
    fn what_upstream_does_not_name_is_doubtful() {
        check(
            "1.26.0",
            "1.6.14",
            "warning: upstream names containerd 1.6.15 and later of 1.6 for Kubernetes 1.26 (take \
             the last release of its line)",
        );
        check(
            "1.30.1",
            "2.0.11",
            "warning: upstream names containerd 2.x for Kubernetes 1.31 and later, not 1.30 (take \
             1.7.34)",
        );
        check(
            "1.30.1",
            "1.6.39",
            "warning: upstream does not name containerd 1.6 for Kubernetes 1.30, but 1.7 (take one \
             of those, or leave `version` out)",
        );
        check(
            "1.34.0",
            "2.0.5",
            "warning: upstream names containerd 2.0.6 and later of 2.0 for Kubernetes 1.34 (take \
             the last release of its line)",
        );
        check(
            "1.36.3",
            "1.7.34",
            "warning: upstream does not name containerd 1.7 for Kubernetes 1.36, but 2.2 and 2.3 \
             (take one of those, or leave `version` out)",
        );
        check(
            "1.36.3",
            "2.4.0",
            "warning: containerd 2.4 is newer than 2.3: its configuration is written as for that \
             (try it on one node first)",
        );
    }

    #[test]
    fn an_old_runc_is_told() {
        let check = |kubelet: &str, version: &str, expected: &str| {
            let said = runc(kubelet.parse().unwrap(), version.parse().unwrap());
            assert_eq!(line(said), expected, "{kubelet} {version}");
        };
        check("1.20.2", "1.1.12", "good");
        check("1.32.3", "1.1.15", "good");
        check("1.33.0", "1.2.0", "good");
        check(
            "1.32.3",
            "1.1.5",
            "warning: runc 1.1.5 lets a container out to its machine (CVE-2024-21626): it was \
             mended in 1.1.12 (leave `version` out, or take a later one)",
        );
        check(
            "1.33.0",
            "1.1.15",
            "warning: runc 1.1.15 gives no Pod users of its own (`hostUsers: false`), which kubelet \
             1.33.0 may ask it for (take 1.2.9 or later, or leave `version` out)",
        );
    }

    #[test]
    fn it_is_told_where_the_version_is_said_and_of_nobodys_own_build() {
        let text = |said: &str| {
            format!(
                "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n{said}\n\
                 [[node]]\nname = \"az1\"\naddress = \"10.0.12.1\"\n\
                 [[node]]\nname = \"worker0\"\naddress = \"10.0.12.20\"\nroles = [\"worker\"]\n"
            )
        };
        let told = |said: &str| {
            let text = text(said);
            let (inventory, _) = Inventory::parse(&text, "x", "/lab".as_ref()).unwrap();
            let nodes = inventory.nodes.values();
            let found = nodes.flat_map(|node| findings(&inventory, node));
            let place = |it: Finding| (it.component, it.place.map(|at| text[at].to_owned()));
            found.map(place).collect::<Vec<_>>()
        };
        assert_eq!(told(""), []);
        let at = |component, text: &str| vec![(Some(component), Some(text.to_owned()))];
        let said = "[component.containerd]\nversion = \"1.5.18\"";
        assert_eq!(told(said), at("containerd", "\"1.5.18\""));
        // containerd goes with the cluster's Kubernetes, whatever a kubelet is.
        let said = "[component.kubelet]\nversion = \"1.30.1\"";
        assert_eq!(told(said), at("containerd", "\"1.30.1\""));
        let said = "[component.runc]\nversion = \"1.1.5\"";
        assert_eq!(told(said), at("runc", "\"1.1.5\""));
        assert_eq!(told(&format!("{said}\npath = \"runc\"")), []);
    }

    #[test]
    fn what_kinstall_chooses_goes_together() {
        for minor in 20..=37 {
            let text = format!(
                "[cluster]\nname = \"home\"\nkubernetes = \"1.{minor}.0\"\n[[node]]\nname = \"az1\"\n\
                 address = \"10.0.12.1\"\nroles = [\"etcd\", \"control-plane\", \"worker\"]\n"
            );
            let (inventory, _) = Inventory::parse(&text, "x", "/lab".as_ref()).unwrap();
            let mut nodes = inventory.nodes.values();
            let found = findings(&inventory, nodes.next().unwrap());
            assert_eq!(found, [], "1.{minor}");
        }
    }
}
