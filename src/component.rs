//! What a node runs: one row a component, plain static data.
//!
//! Values and paths are handlebars text over [`crate::template::Context`]. A new component is one
//! file below this one, one line in [`COMPONENTS`], its templates, and what ARCHITECTURE.md lists
//! under "Adding a component"; [`compose`](mod@crate::manifest::compose) knows none by name.

mod etcd;
mod kube_apiserver;
mod kube_controller_manager;
mod kube_scheduler;
mod kubectl;
mod shared;
mod worker;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::credential::{AuthorityName, Client, Kind};
use crate::role::Role;
use crate::template::{self, Builtin};
use crate::unit_name::UnitName;
use crate::version::{Minor, Version};

/// Every component, in the order of a rollout.
pub const COMPONENTS: &[&Component] = &[
    &etcd::ETCD,
    &kube_apiserver::KUBE_APISERVER,
    &kube_controller_manager::KUBE_CONTROLLER_MANAGER,
    &kube_scheduler::KUBE_SCHEDULER,
    &kubectl::KUBECTL,
];

/// What nodes get that no component of a rollout reads.
pub const SHARES: &[&Component] = &[&worker::KUBELET, &worker::KUBE_PROXY];

/// The component of a name.
pub fn named(name: &str) -> Option<&'static Component> {
    COMPONENTS
        .iter()
        .copied()
        .find(|component| component.name == name)
}

/// Which version a component of that name has; what nobody knows has that of Kubernetes.
pub fn track(name: &str) -> Track {
    let all = COMPONENTS.iter().chain(SHARES);
    let mut named = all.filter(|component| component.name == name);
    named
        .next()
        .map_or(Track::Kubernetes(Skew::SERVER), |it| it.track)
}

/// What a user may put texts of their own in the place of, and beside.
pub fn texts() -> template::Known {
    let files = COMPONENTS.iter().flat_map(|component| component.files);
    let files = files.filter_map(|file| match file {
        File::Template { text, .. } => Some(text.name),
        _ => None,
    });
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
    /// Its name: what an inventory calls it, and the program whose version is its version.
    pub name: &'static str,
    /// The nodes that get it.
    pub role: Role,
    /// Which version it has, unless the inventory gives it one of its own.
    pub track: Track,
    /// Its programs, each behind a stable link in `/usr/local/bin`.
    pub programs: &'static [&'static str],
    /// The directories its files need, parents first.
    pub directories: &'static [Directory],
    /// Its configuration, certificates and keys.
    pub files: &'static [File],
    /// Words of its templates that depend on its version.
    pub words: &'static [Word],
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
            Self::Etcd => None,
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

    /// The stage of a rollout in which its unit has its turn.
    pub fn stage(&self) -> Option<Stage> {
        self.service.as_ref().map(|service| service.stage)
    }
}

/// The order in which units are brought up, and which of them may be touched together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// etcd: a new cluster together, a running one member by member.
    Etcd,
    /// kube-apiserver: one by one.
    Apiserver,
    /// What talks to the kube-apiserver of its own node.
    Controllers,
}

/// A systemd service.
#[derive(Debug)]
pub struct Service {
    /// Whom it runs as.
    pub account: Account,
    /// When it has its turn.
    pub stage: Stage,
    /// The text of its unit file.
    pub template: Builtin,
    /// The flags of its command line, in the order they are written.
    pub flags: &'static [Flag],
    /// Those of them that only its first start reads.
    pub first_start: &'static [&'static str],
    /// Its environment, where kinstall has something to say.
    pub environment: &'static [Variable],
    /// Whom it has to talk to.
    pub reach: Reach,
    /// How to ask whether it is healthy; none where only systemd can tell.
    pub probe: Option<Probe>,
}

/// Whom a service runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// A user and a group of the component's name.
    Own {
        /// The user's home; nothing is written there unless the unit says so.
        home: &'static str,
    },
    /// root.
    Root,
}

impl Account {
    /// Whether it can read what those who have this access can.
    pub fn can_read(self, access: Access) -> bool {
        self == Self::Root || access != Access::Root
    }
}

/// Whom a service has to talk to, beside its own machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The members of etcd and the kube-apiservers, all of which the inventory knows: it is kept
    /// from anyone else, unless the inventory names further networks.
    Members,
    /// All nodes, Pods and Services, and whoever uses the cluster: it is kept from anyone only
    /// where the inventory names the networks of those.
    Cluster,
    /// The kube-apiserver of its own machine, and what its extensions need: as before.
    Machine,
}

/// How to ask a service whether it is healthy.
#[derive(Debug)]
pub struct Probe {
    /// How it answers.
    pub scheme: Scheme,
    /// The port, unless the flag `secure-port` says another.
    pub port: u16,
    /// The path.
    pub path: &'static str,
    /// The client certificate to show.
    pub client: Option<Kind>,
    /// Who signed what the server shows.
    pub authority: Option<AuthorityName>,
}

/// How a service answers whether it is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Over TLS.
    #[default]
    Https,
    /// In the clear, on the node's loopback.
    Http,
}

impl Scheme {
    /// The word in a URL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// Whether it is the usual one.
    pub fn is_https(&self) -> bool {
        *self == Self::Https
    }
}

/// One flag of a command line, for the versions and clusters in which it is right.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without `--`.
    pub name: &'static str,
    /// Its value: handlebars text.
    pub value: &'static str,
    /// The versions it is written for.
    pub valid: Valid,
    /// The clusters and nodes it is written for.
    pub when: When,
}

/// A variable of a unit's environment.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value: handlebars text.
    pub value: &'static str,
    /// The versions it is written for.
    pub valid: Valid,
    /// The clusters and nodes it is written for.
    pub when: When,
}

/// A word that templates see as `word.<name>`. In each version one row of a name is valid.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub value: &'static str,
    /// The versions it says so in.
    pub valid: Valid,
}

/// A file or a pair of files. The paths are handlebars text.
#[derive(Debug, Clone, Copy)]
pub enum File {
    /// A text that kinstall writes.
    Template {
        /// Where it lies.
        path: &'static str,
        /// Its text: handlebars.
        text: Builtin,
        /// Who may read it.
        access: Access,
    },
    /// An authority's certificate.
    Authority {
        /// Where it lies.
        path: &'static str,
        /// Whose it is.
        name: AuthorityName,
    },
    /// A certificate and its key, each under a dated name behind a stable link.
    Pair {
        /// The stable path without its ending: `.pem` and `.key` are put behind it.
        stem: &'static str,
        /// Which certificate.
        kind: Kind,
        /// Who may read the key.
        access: Access,
    },
    /// A kubeconfig for the kube-apiserver of the same node.
    Kubeconfig {
        /// Where it lies.
        path: &'static str,
        /// Whose it is.
        client: Client,
        /// Who may read it.
        access: Access,
    },
    /// The service-account pair: `.pem` is the public key, `.key` the private one.
    ServiceAccount {
        /// The path without its ending.
        stem: &'static str,
        /// Who may read the private key.
        access: Access,
    },
    /// `encryption-config.yaml`.
    EncryptionConfig {
        /// Where it lies.
        path: &'static str,
        /// Who may read it.
        access: Access,
    },
    /// The authority that certificate requests are signed with, alone, and its key, where that is at
    /// hand.
    Signer {
        /// The path without its ending: `.pem` and `.key` are put behind it.
        stem: &'static str,
        /// Who may read the key.
        access: Access,
    },
}

impl File {
    /// Who may read it, or what is secret in it.
    pub const fn access(&self) -> Access {
        match *self {
            Self::Authority { .. } => Access::Anyone,
            Self::Template { access, .. }
            | Self::Pair { access, .. }
            | Self::Kubeconfig { access, .. }
            | Self::ServiceAccount { access, .. }
            | Self::EncryptionConfig { access, .. }
            | Self::Signer { access, .. } => access,
        }
    }
}

/// A directory.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    /// Where it lies.
    pub path: &'static str,
    /// Who may enter it.
    pub access: Access,
}

/// Who may read a file or enter a directory. Nothing but root may write either, save a service
/// that owns a key of its own, which is read-only even to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone: `root:root`, 0644 or 0755.
    Anyone,
    /// root: `root:root`, 0600 or 0700.
    Root,
    /// One user: a file is its own, 0400; a directory is root's and lets its group in, 0750.
    User(&'static str),
    /// The members of a group: `root:GROUP`, 0440 or 0750.
    Group(&'static str),
}

impl Access {
    /// The user and the group of a file, and its permission bits.
    pub const fn of_file(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Anyone => ("root", "root", 0o644),
            Self::Root => ("root", "root", 0o600),
            Self::User(user) => (user, user, 0o400),
            Self::Group(group) => ("root", group, 0o440),
        }
    }

    /// The user and the group of a directory, and its permission bits.
    pub const fn of_directory(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Anyone => ("root", "root", 0o755),
            Self::Root => ("root", "root", 0o700),
            Self::User(group) | Self::Group(group) => ("root", group, 0o750),
        }
    }
}

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

/// A flag for every version and every cluster.
const fn flag(name: &'static str, value: &'static str) -> Flag {
    Flag {
        name,
        value,
        valid: Valid::ALWAYS,
        when: When::Always,
    }
}

impl Flag {
    /// The same flag for some versions only.
    const fn valid(self, valid: Valid) -> Self {
        Self { valid, ..self }
    }

    /// The same flag for some clusters or nodes only.
    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }
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
