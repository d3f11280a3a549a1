//! Which programs an inventory asks for, and where upstream keeps them and their checksums.

mod known;

pub use known::{newest, newest_of_all};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::arch::Arch;
use crate::component::{self, COMPONENTS, Component, PUBLISHERS, Publisher};
use crate::image::Image;
use crate::inventory::{Inventory, Node, NodeName};
use crate::plain::count;
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

/// Who publishes an artifact: which list of base URLs it is looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A key of `[source]`.
    Upstream(&'static Publisher),
    /// The user: a file beside the inventory.
    Own,
}

impl Origin {
    /// The word for the user's own in a lockfile.
    const OWN: &'static str = "own";

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let upstreams = PUBLISHERS.iter().copied().map(Self::Upstream);
        upstreams.chain([Self::Own])
    }

    /// The word in a lockfile.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream(publisher) => publisher.name,
            Self::Own => Self::OWN,
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
        let endings = [".tar.gz", ".tgz"];
        self.origin != Origin::Own && endings.iter().any(|ending| self.path.ends_with(ending))
    }

    /// The programs that can be taken out of it, each with its path inside; empty if it is itself
    /// the program.
    pub fn members(&self) -> Vec<(&'static str, String)> {
        let Self { version, arch, .. } = *self;
        let all = COMPONENTS.iter().filter_map(|component| {
            let release = component.release.as_ref()?;
            (Origin::Upstream(release.publisher) == self.origin).then_some((component, release))
        });
        let members = all.flat_map(|(component, release)| {
            let programs = component.programs.iter();
            let own = programs.filter(|it| release.path(it, version, arch) == self.path);
            own.filter_map(|it| Some((*it, release.member(it, version, arch)?)))
        });
        members.collect()
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.file_name(), self.version, self.arch)
    }
}

/// Upstream publishes no such build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("upstream never published `{name}` {version} for `{arch}`")]
#[diagnostic(help("{help}"))]
pub struct NeverBuilt {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The architecture it was asked for.
    pub arch: Arch,
    /// What the user can do.
    pub help: &'static str,
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
        let component = component::of_program(name);
        let release = component.and_then(|component| component.release.as_ref());
        let gap = release.map(|release| release.gap(*version, *arch));
        let never_built = |help| NeverBuilt {
            name: name.clone(),
            version: *version,
            arch: *arch,
            help,
        };
        let (origin, path) = match (own, release, gap) {
            (Some(path), ..) => (Origin::Own, path.clone()),
            (None, Some(release), Some(None)) => {
                let path = release.path(name, *version, *arch);
                (Origin::Upstream(release.publisher), path)
            }
            (None, _, Some(Some(gap))) => return Err(never_built(gap.help)),
            (None, ..) => return Err(never_built("this kinstall does not install it")),
        };
        Ok(Artifact {
            origin,
            version: *version,
            arch: *arch,
            path,
        })
    }
}

/// The programs a node of this architecture gets.
pub fn of_node(inventory: &Inventory, node: &Node, arch: Arch) -> Vec<Program> {
    let components = COMPONENTS.iter();
    let own = components.filter(|component| inventory.gets(component, node));
    own.flat_map(|component| of_component(component, inventory, node, arch))
        .collect()
}

/// The programs of one component on a node.
pub fn of_component(
    component: &Component,
    inventory: &Inventory,
    node: &Node,
    arch: Arch,
) -> Vec<Program> {
    let settings = inventory.component(component.name, node);
    let version = inventory.version(component.name, node);
    let names = component.programs;
    let program = |name: &&str| Program {
        name: (*name).to_owned(),
        version,
        arch,
        own: settings.path.as_ref().map(|path| {
            let path = path.replace("{arch}", arch.name());
            if names.len() > 1 {
                format!("{path}/{name}")
            } else {
                path
            }
        }),
    };
    names.iter().map(program).collect()
}

/// What nodes get of others, and not of kinstall: what is pinned, fetched and carried by bundles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Programs.
    pub programs: BTreeSet<Program>,
    /// Images of containers.
    pub images: BTreeSet<Image>,
}

impl Needs {
    /// Adds what others need.
    pub fn extend(&mut self, others: Self) {
        self.programs.extend(others.programs);
        self.images.extend(others.images);
    }
}

/// So many programs and images, in words.
pub fn counted(programs: usize, images: usize) -> String {
    let programs = count(programs, "program");
    match images {
        0 => programs,
        _ => format!("{programs} and {}", count(images, "image")),
    }
}

/// What a whole cluster needs whose nodes have these architectures.
pub fn of_cluster(inventory: &Inventory, archs: &BTreeMap<NodeName, Arch>) -> Needs {
    let mut needs = Needs::default();
    for node in inventory.nodes.values() {
        let Some(arch) = archs.get(&node.name).copied() else {
            continue;
        };
        needs.programs.extend(of_node(inventory, node, arch));
        needs.images.extend(images_of(inventory, node, arch));
    }
    needs
}

/// The images of a node of this architecture.
pub fn images_of(
    inventory: &Inventory,
    node: &Node,
    arch: Arch,
) -> impl Iterator<Item = Image> + use<> {
    let images = inventory.images(node).into_iter();
    images.map(move |reference| Image { reference, arch })
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
            assert!(error.help.contains("path"));
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
