//! What a node should hold: entries (files, directories, links) and units. Plain data, ordered,
//! the same bytes for the same input; the node keeps a copy of the last ones.

pub mod command;
pub mod compose;
pub mod texts;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::component::Stage;
pub use crate::unit_name::UnitName;
pub use command::{By, Command, Given, Preview, Situation};
pub use compose::compose;
pub use texts::UnitTexts;

use crate::arch::Arch;
use crate::component::Scheme;
use crate::digest::Digest;
use crate::inventory::{NodeName, Taint};
use crate::remote_path::RemotePath;
use crate::secret::Secret;

/// What one node should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The architecture its binaries are for.
    pub arch: Arch,
    /// The version of each component, by component name.
    pub versions: BTreeMap<String, String>,
    /// Files, directories and links.
    pub entries: BTreeMap<RemotePath, Entry>,
    /// systemd units.
    pub units: BTreeMap<UnitName, Unit>,
}

/// One path that kinstall keeps as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The permission bits; nothing for a link.
    pub mode: Mode,
    /// The user it belongs to, by name.
    pub user: Cow<'static, str>,
    /// The group it belongs to, by name.
    pub group: Cow<'static, str>,
    /// Whether its content must never be shown.
    pub secret: bool,
    /// Whether it was made once for the cluster and must never be replaced by a rerun.
    #[serde(rename = "precious")]
    pub protected: bool,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Kind {
    /// A regular file.
    File {
        /// The digest of its content.
        digest: Digest,
        /// The size of its content in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Link {
        /// What it points at, as it is written in the link: a name beside it or an absolute path.
        target: String,
    },
}

/// Permission bits, shown and read as four octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mode(pub u16);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bits = u16::from_str_radix(&text, 8)
            .ok()
            .filter(|bits| *bits <= 0o7777);
        bits.map(Self)
            .ok_or_else(|| format!("`{text}` is not a file mode"))
    }
}

/// A systemd unit that should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Unit {
    /// The component it runs.
    pub component: String,
    /// When it has its turn.
    pub stage: Stage,
    /// How to ask whether it is healthy; none where only systemd can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// The path of the Lease by which it and its like agree on who leads; none for what needs no
    /// leader, or where the user's own words say how it is elected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// Entries whose change restarts it: its own unit file, its program, its configuration.
    pub watches: BTreeSet<RemotePath>,
    /// Where its unit file holds words for its first start alone, or addresses of other nodes: what is to
    /// be known of those.
    #[serde(default, rename = "beginning", skip_serializing_if = "Option::is_none")]
    pub first_start: Option<FirstStart>,
    /// The Node object that is made before it starts, where it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// A Node object as kinstall makes it, and keeps it from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registration {
    /// The version that its kubelet tells.
    pub version: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<Taint>,
    /// The range of its Pods; none where the user's own network gives it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_range: Option<IpNet>,
    /// Where kube-apiservers answer: `address:port`, the one it talks to first.
    pub servers: Vec<SocketAddr>,
}

/// What a unit file holds that a process that runs is not restarted for: with which others it makes a
/// cluster, which counts for its first start alone, and where other nodes are, which systemd applies at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirstStart {
    /// The digest of the unit file without those words, and without what systemd applies to a
    /// service while it runs.
    pub lasting: Digest,
    /// The others, and itself; empty where it makes no cluster.
    pub members: BTreeSet<String>,
}

impl Manifest {
    /// The first unit of a stage: of etcd's and kube-apiserver's there is one at most.
    pub fn of_stage(&self, stage: Stage) -> Option<(&UnitName, &Unit)> {
        self.units.iter().find(|(_, unit)| unit.stage == stage)
    }
}

impl Unit {
    /// Whether its unit file lies at a path.
    pub fn is_file(&self, path: &RemotePath) -> bool {
        let directory = path.parent();
        directory.is_some_and(|parent| parent.as_str() == "/etc/systemd/system")
            && path.file_name().strip_suffix(".service") == Some(&self.component)
    }

    /// The port that it is asked at.
    pub fn port(&self) -> Option<u16> {
        self.probe.as_ref().map(|probe| probe.port)
    }

    /// With whom it makes a cluster; none for a service that stands alone.
    pub fn members(&self) -> Option<&BTreeSet<String>> {
        let members = self.first_start.as_ref().map(|it| &it.members);
        members.filter(|members| !members.is_empty())
    }
}

/// A question over HTTP, asked from the node's own loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Probe {
    /// How it is answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scheme: Scheme,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The path, as in `/readyz`.
    pub path: String,
    /// The client certificate shown, by the name of its row; none where none is needed.
    pub client: Option<String>,
    /// The authority that must have signed the server's certificate; none where the server signs
    /// its own, as kube-controller-manager and kube-scheduler do.
    pub authority: Option<String>,
}

/// Whether a value goes without saying in a record: what records of older versions lack.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What all nodes should hold, and the contents that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// One manifest a node.
    pub manifests: BTreeMap<NodeName, Manifest>,
    /// Where the bytes of each file entry come from.
    pub contents: BTreeMap<Digest, Content>,
    /// Contents of protected entries that were replaced on purpose: a node that still holds one may
    /// be given the one that follows.
    pub retired: BTreeSet<Digest>,
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Rendered: here they are.
    Inline(Secret),
    /// A program or a part of an image, pinned in the lockfile and held by the cache under its digest.
    Fetched {
        /// The name of the program or the image, for messages.
        of: String,
        /// Its size in bytes.
        size: u64,
    },
}
