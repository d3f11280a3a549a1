//! Which programs an inventory asks for, and where upstream keeps them and their checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::arch::Arch;
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::version::Version;

/// One program for one architecture: what a lockfile pins and a cache holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Program {
    /// Its file name: `kube-apiserver`, `etcdctl`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// What it runs on.
    pub arch: Arch,
    /// The user's own build, relative to the inventory, in place of upstream's.
    pub own: Option<String>,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.arch)
    }
}

/// The programs of each component, and the role of the nodes that get them.
///
/// etcdctl comes out of the same archive as etcd, and lies beside it.
const PROGRAMS: [(&str, &[&str], Role); 5] = [
    ("etcd", &["etcd", "etcdctl"], Role::Etcd),
    ("kube-apiserver", &["kube-apiserver"], Role::ControlPlane),
    (
        "kube-controller-manager",
        &["kube-controller-manager"],
        Role::ControlPlane,
    ),
    ("kube-scheduler", &["kube-scheduler"], Role::ControlPlane),
    ("kubectl", &["kubectl"], Role::ControlPlane),
];

/// The programs a node of this architecture gets.
pub fn of_node(inventory: &Inventory, node: &Node, arch: Arch) -> Vec<Program> {
    let mut programs = Vec::new();
    for (component, names, role) in PROGRAMS {
        if !node.roles.contains(&role) {
            continue;
        }
        let settings = inventory.component(component, node);
        let paired = if component == "etcd" {
            inventory.cluster.etcd
        } else {
            inventory.cluster.kubernetes
        };
        let version = settings.version.unwrap_or(paired);
        for name in names {
            let own = settings.path.as_ref().map(|path| {
                let path = path.replace("{arch}", arch.name());
                if names.len() > 1 {
                    format!("{path}/{name}")
                } else {
                    path
                }
            });
            programs.push(Program {
                name: (*name).to_owned(),
                version,
                arch,
                own,
            });
        }
    }
    programs
}

/// The programs of a whole cluster whose nodes have these architectures.
pub fn of_cluster(inventory: &Inventory, archs: &BTreeMap<NodeName, Arch>) -> BTreeSet<Program> {
    let known = |node: &Node| archs.get(&node.name).copied();
    let of = |node| known(node).map(|arch| of_node(inventory, node, arch));
    inventory.nodes.values().filter_map(of).flatten().collect()
}
