//! Which programs an inventory asks for, and where upstream keeps them and their checksums.

mod known;

pub use known::newest;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::arch::Arch;
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::version::{Minor, Version};

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

/// Who publishes an artifact: which list of base URLs it is looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// `[source] kubernetes`.
    Kubernetes,
    /// `[source] etcd`.
    Etcd,
    /// The user: a file beside the inventory.
    Own,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kubernetes, Self::Etcd, Self::Own];

    /// The word in a lockfile.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
            Self::Own => "own",
        }
    }
}

/// One file that is fetched whole: a program, or an archive that holds some.
///
/// It says nothing of a host, so that what was pinned from one mirror can be had from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Artifact {
    /// Who publishes it.
    pub origin: Origin,
    /// Its version.
    pub version: Version,
    /// What its programs run on.
    pub arch: Arch,
    /// Where it lies below a base URL, or below the inventory's directory.
    pub path: String,
}

impl Artifact {
    /// What it is called in a message: the last part of its path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether programs are taken out of it; else it is itself the program.
    pub fn is_archive(&self) -> bool {
        self.origin != Origin::Own && self.path.ends_with(".tar.gz")
    }

    /// The programs that can be taken out of it, each with its path inside; empty if it is itself
    /// the program.
    pub fn members(&self) -> Vec<(&'static str, String)> {
        if !self.is_archive() {
            return Vec::new();
        }
        let folder = self.file_name().trim_end_matches(".tar.gz");
        let member = |name| (name, format!("{folder}/{name}"));
        ["etcd", "etcdctl"].map(member).into()
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.file_name(), self.version, self.arch)
    }
}

/// The last line of releases with server programs for 32-bit ARM: v1.26.15 was the last of them.
/// `kubectl` for `linux/arm` goes on (Kubernetes 1.27's changelog lists no `linux/arm` server).
const LAST_ARMHF_SERVER: Minor = Minor::new(1, 26);

/// Upstream publishes no such build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("upstream never published `{name}` {version} for `{arch}`")]
#[diagnostic(help("{way_out}"))]
pub struct NeverBuilt {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The architecture it was asked for.
    pub arch: Arch,
    /// What the user can do.
    pub way_out: &'static str,
}

impl Program {
    /// The artifact that the program is, or comes out of.
    pub fn artifact(&self) -> Result<Artifact, NeverBuilt> {
        let Self {
            name,
            version,
            arch,
            own,
        } = self;
        let (origin, path) = if let Some(path) = own {
            (Origin::Own, path.clone())
        } else if let Some(way_out) = self.never_built() {
            return Err(NeverBuilt {
                name: name.clone(),
                version: *version,
                arch: *arch,
                way_out,
            });
        } else if name.starts_with("etcd") {
            let folder = format!("etcd-v{version}-linux-{}", arch.upstream());
            (Origin::Etcd, format!("v{version}/{folder}.tar.gz"))
        } else {
            let folder = format!("release/v{version}/bin/linux/{}", arch.upstream());
            (Origin::Kubernetes, format!("{folder}/{name}"))
        };
        Ok(Artifact {
            origin,
            version: *version,
            arch: *arch,
            path,
        })
    }

    fn never_built(&self) -> Option<&'static str> {
        if self.arch != Arch::Armhf {
            return None;
        }
        match self.name.as_str() {
            // etcd's releases hold linux-amd64, linux-arm64, linux-ppc64le and linux-s390x.
            "etcd" | "etcdctl" => Some(
                "build etcd for GOARCH=arm and name the directory that holds `etcd` and \
                 `etcdctl` as `path` under `[component.etcd]`",
            ),
            "kubectl" => None,
            _ if self.version.minor() > LAST_ARMHF_SERVER => Some(
                "the last release with servers for 32-bit ARM is 1.26.15; take that, or install a \
                 64-bit system on the node (arm64), or name your own build as `path` under \
                 `[component.NAME]`",
            ),
            _ => None,
        }
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
        let version = inventory.version(component, node);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, version: &str, arch: Arch) -> Program {
        Program {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            arch,
            own: None,
        }
    }

    #[track_caller]
    fn check(name: &str, version: &str, arch: Arch, path: &str) {
        let artifact = program(name, version, arch).artifact().unwrap();
        assert_eq!(artifact.path, path);
    }

    #[test]
    fn upstream_keeps_programs_where_it_does() {
        check(
            "kube-apiserver",
            "1.32.3",
            Arch::Arm64,
            "release/v1.32.3/bin/linux/arm64/kube-apiserver",
        );
        check(
            "kube-apiserver",
            "1.26.15",
            Arch::Armhf,
            "release/v1.26.15/bin/linux/arm/kube-apiserver",
        );
        check(
            "etcdctl",
            "3.5.21",
            Arch::Amd64,
            "v3.5.21/etcd-v3.5.21-linux-amd64.tar.gz",
        );
    }

    #[test]
    fn both_etcd_programs_come_out_of_one_archive() {
        let [etcd, etcdctl] = ["etcd", "etcdctl"]
            .map(|name| program(name, "3.5.21", Arch::Arm64).artifact().unwrap());
        assert_eq!(etcd, etcdctl);
        let expected = [
            ("etcd", "etcd-v3.5.21-linux-arm64/etcd".to_owned()),
            ("etcdctl", "etcd-v3.5.21-linux-arm64/etcdctl".to_owned()),
        ];
        assert_eq!(etcd.members(), expected);
    }

    #[test]
    fn what_was_never_built_for_armhf_is_said_with_a_way_out() {
        for (name, version) in [("kube-scheduler", "1.27.0"), ("etcd", "3.5.21")] {
            let error = program(name, version, Arch::Armhf).artifact().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("upstream never published `{name}` {version} for `armhf`")
            );
            assert!(error.way_out.contains("path"));
        }
        assert!(program("kubectl", "1.32.3", Arch::Armhf).artifact().is_ok());
    }

    #[test]
    fn an_own_build_is_taken_from_where_the_user_says() {
        let own = Program {
            own: Some("build/armhf/etcd".to_owned()),
            ..program("etcd", "3.5.21", Arch::Armhf)
        };
        let artifact = own.artifact().unwrap();
        assert_eq!(
            (artifact.origin, artifact.path.as_str()),
            (Origin::Own, "build/armhf/etcd")
        );
        assert!(artifact.members().is_empty());
    }
}
