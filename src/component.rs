//! What a node runs: one row a component, plain static data.
//!
//! Values and paths are handlebars text over [`crate::template::Context`]. A new component is one
//! file below this one, one line in [`COMPONENTS`], its templates, and what ARCHITECTURE.md lists
//! under "Adding a component"; [`compose`](mod@crate::manifest::compose) knows none by name.

mod cni_plugins;
mod condition;
mod containerd;
mod crictl;
mod etcd;
mod file;
mod images;
mod kube_apiserver;
mod kube_controller_manager;
mod kube_proxy;
mod kube_scheduler;
mod kubectl;
mod kubelet;
mod network;
mod node;
mod release;
mod runc;
mod service;
mod shared;

use std::collections::BTreeMap;

pub use condition::{Feature, Valid, When};
pub use containerd::{PAUSE, SOCKET as CONTAINERD_SOCKET, pause_tag};
pub use etcd::DATA as ETCD_DATA;
pub use file::{Access, Directory, File};
pub use release::{Checksums, Gap, Publisher, Release};
use service::flag;
pub use service::{Account, Data, Flag, Probe, Reach, Scheme, Service, Stage, Variable};

pub use crate::node_config::Configuration;
use crate::remote_path::RemotePath;
use crate::role::Role;
use crate::template;
use crate::unit_name::UnitName;
use crate::version::{Minor, Version};

/// Every component, in the order of a rollout.
pub const COMPONENTS: &[&Component] = &[
    &etcd::ETCD,
    &kube_apiserver::KUBE_APISERVER,
    &kube_controller_manager::KUBE_CONTROLLER_MANAGER,
    &kube_scheduler::KUBE_SCHEDULER,
    &kubectl::KUBECTL,
    &node::KINSTALL_NODE,
    &network::KINSTALL_NETWORK,
    &network::POD_BRIDGE,
    &runc::RUNC,
    &cni_plugins::CNI_PLUGINS,
    &crictl::CRICTL,
    &containerd::CONTAINERD,
    &images::KINSTALL_IMAGES,
    &kubelet::KUBELET,
    &kube_proxy::KUBE_PROXY,
];

/// Whose releases programs come from, in the order of a lockfile.
pub const PUBLISHERS: &[&Publisher] = &[
    &shared::KUBERNETES,
    &etcd::PUBLISHER,
    &runc::PUBLISHER,
    &cni_plugins::PUBLISHER,
    &crictl::PUBLISHER,
    &containerd::PUBLISHER,
];

/// Where programs lie that are in everybody's path.
pub const BIN: &str = "/usr/local/bin";

/// The component that a program belongs to.
pub fn of_program(program: &str) -> Option<&'static Component> {
    let mut all = COMPONENTS.iter().copied();
    all.find(|component| component.programs.contains(&program))
}

/// The component of a name.
pub fn named(name: &str) -> Option<&'static Component> {
    COMPONENTS
        .iter()
        .copied()
        .find(|component| component.name == name)
}

/// The path of the program that a component is called after.
pub fn path_of(name: &str) -> String {
    let directory = named(name).map_or(BIN, |component| component.directory);
    format!("{directory}/{name}")
}

/// Its place in a rollout; behind all others for one that this kinstall does not know.
pub fn rank(name: &str) -> usize {
    let mut names = COMPONENTS.iter().map(|component| component.name);
    names.position(|it| it == name).unwrap_or(COMPONENTS.len())
}

/// The components that lead to the Pods of all nodes, each with the file that says where those are.
pub fn of_ways() -> impl Iterator<Item = (&'static Component, RemotePath)> {
    COMPONENTS.iter().filter_map(|component| {
        let mut files = component.files.iter();
        files.find_map(|file| match file {
            File::Ways { path } => Some((*component, RemotePath::fixed(path))),
            _ => None,
        })
    })
}

/// Which version a component of that name has; what nobody knows has that of Kubernetes.
pub fn track(name: &str) -> Track {
    named(name).map_or(Track::Kubernetes(Skew::SERVER), |it| it.track)
}

/// What a user may put texts of their own in the place of, and beside.
pub fn texts() -> template::Known {
    let files = COMPONENTS.iter().flat_map(|component| component.files);
    let files = files.filter_map(|file| Some(file.text()?.name));
    let services = COMPONENTS.iter().filter_map(|it| it.service.as_ref());
    let services = services.map(|service| service.template.name);
    let partials = template::PARTIALS.iter().map(|(_, partial)| partial.name);
    let units = COMPONENTS.iter().filter_map(|it| it.unit_name());
    template::Known {
        texts: services.chain(files).chain(partials).collect(),
        units: units.map(String::from).collect(),
    }
}

/// Something that a node of a role gets.
#[derive(Debug)]
pub struct Component {
    /// Its name: what an inventory calls it, and the program that its service runs.
    pub name: &'static str,
    /// The roles of the nodes that get it.
    pub roles: &'static [Role],
    /// What of a cluster it is needed for; none where every cluster has it.
    pub feature: Option<Feature>,
    /// Which version it has, unless the inventory gives it one of its own.
    pub track: Track,
    /// Its programs, each behind a stable link in its directory.
    pub programs: &'static [&'static str],
    /// The directory that they lie in: [`BIN`], unless something looks for them elsewhere.
    pub directory: &'static str,
    /// How they are published; none where there are none.
    pub release: Option<Release>,
    /// The directories its files need, parents first.
    pub directories: &'static [Directory],
    /// Its configuration, certificates and keys.
    pub files: &'static [File],
    /// Words of its templates that depend on its version.
    pub words: &'static [TemplateWord],
    /// The systemd service that runs it; none for a tool.
    pub service: Option<Service>,
}

/// Which version a component has, unless the inventory gives it one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// The cluster's `kubernetes`.
    Kubernetes(Skew),
    /// The cluster's `etcd`.
    Etcd,
    /// One that goes with the cluster's `kubernetes`.
    Own(&'static [Pair]),
}

/// From which release of Kubernetes on a version goes with it. The last row that applies holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The first line of Kubernetes.
    pub since: Minor,
    /// The version that goes with it.
    pub version: Version,
}

impl Pair {
    /// The version that goes with a line of Kubernetes; none where that is older than every row.
    pub fn of(pairs: &[Self], kubernetes: Minor) -> Option<Version> {
        let mut rows = pairs.iter().rev();
        Some(rows.find(|pair| pair.since <= kubernetes)?.version)
    }
}

/// How many minor versions a component may be away from the kube-apiserver that it talks to.
///
/// Source: <https://kubernetes.io/releases/version-skew-policy/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// How much older it may be.
    pub older: u64,
    /// How much newer it may be.
    pub newer: u64,
    /// Whether people run it: beyond the limits it may fail, and nothing else does.
    pub is_tool: bool,
}

impl Skew {
    /// That of what runs on every node.
    pub const NODE: Self = Self {
        older: 3,
        newer: 0,
        is_tool: false,
    };

    /// That of what talks to the kube-apiserver of its own node, and of kube-apiservers among each
    /// other.
    pub const SERVER: Self = Self {
        older: 1,
        newer: 0,
        is_tool: false,
    };
}

impl Track {
    /// The distance that is allowed from kube-apiserver; none for what has versions of another kind.
    pub const fn skew(self) -> Option<Skew> {
        match self {
            Self::Kubernetes(skew) => Some(skew),
            Self::Etcd | Self::Own(_) => None,
        }
    }
}

impl Component {
    /// The name of its unit; none for a tool.
    pub fn unit_name(&self) -> Option<UnitName> {
        let name = format!("{}.service", self.name);
        self.service
            .as_ref()
            .map(|_| name.parse().expect("a component's name is a unit's name"))
    }

    /// The words of its templates in a version.
    pub fn words_in(&self, version: Version) -> BTreeMap<&'static str, &'static str> {
        let words = self.words.iter();
        let words = words.filter(|word| word.valid.contains(version));
        words.map(|word| (word.name, word.value)).collect()
    }

    /// The configuration that its service reads in YAML, and where it lies; none where it has none.
    pub fn configuration(&self) -> Option<(Configuration, RemotePath)> {
        self.files.iter().find_map(|file| match file {
            File::Configuration { of, path, .. } => Some((*of, RemotePath::fixed(path))),
            _ => None,
        })
    }

    /// The stage of a rollout in which its unit has its turn.
    pub fn stage(&self) -> Option<Stage> {
        self.service.as_ref().map(|service| service.stage)
    }
}

/// A word that templates see as `word.<name>`. In each version one row of a name is valid.
#[derive(Debug, Clone, Copy)]
pub struct TemplateWord {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub value: &'static str,
    /// The versions it says so in.
    pub valid: Valid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_has_two_rows_of_a_flag_or_a_word() {
        let versions = (20..=37)
            .flat_map(|minor| [0, 14].map(|patch| Version::new(1, minor, patch)))
            .chain((3..=7).flat_map(|minor| [0, 30].map(|patch| Version::new(3, minor, patch))));
        for version in versions {
            for component in COMPONENTS {
                let flags = component.service.iter().flat_map(|service| service.flags);
                // What is for small nodes only is no second row of what is for the others.
                let flags = flags
                    .filter(|flag| flag.valid.contains(version) && flag.when != When::NotSmall);
                let words = component.words.iter();
                let words = words.filter(|word| word.valid.contains(version));
                for mut names in [
                    flags.map(|flag| flag.name).collect::<Vec<_>>(),
                    words.map(|word| word.name).collect(),
                ] {
                    let all = names.len();
                    names.sort_unstable();
                    names.dedup();
                    assert_eq!(names.len(), all, "{} {version}", component.name);
                }
            }
        }
    }
}
