//! Data of etcd that lie on nodes, running or not: where they are looked for, and whose they are.
//! Pure. Whether a push may start etcd on them is for [`crate::plan`] to say.

mod wal;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use wal::identity;

use crate::component::ETCD_DATA;
use crate::digest::Digest;
use crate::inventory::{Inventory, Node, Role};
use crate::remote_path::RemotePath;

/// Where the data of a node's member lie, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `--data-dir`.
    pub directory: RemotePath,
    /// `--wal-dir`, where the log lies elsewhere.
    pub wal: Option<RemotePath>,
}

/// Data that lie on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The data directory.
    pub directory: RemotePath,
    /// Whose they are; none where that cannot be read.
    pub identity: Option<Identity>,
}

/// A member of a cluster, as etcd numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cluster.
    pub cluster: u64,
    /// The member.
    pub member: u64,
}

/// What `uninstall` leaves beside data that stay, so that a later push knows whose they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The cluster's name.
    pub cluster: String,
    /// The data directory of etcd, if its data stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RemotePath>,
    /// Whose the data were.
    pub identity: Option<Identity>,
    /// The keys that the data depend on, by path; where no node had one, the authority of etcd.
    pub keys: BTreeMap<RemotePath, Digest>,
    /// The services of workers whose data stay, too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<String>,
}

impl Place {
    /// Where a node's member has its data; none where the node is no member, and where that cannot
    /// be told from the inventory.
    pub fn of(inventory: &Inventory, node: &Node) -> Option<Self> {
        if !node.roles.contains(&Role::Etcd) {
            return None;
        }
        let settings = inventory.component("etcd", node);
        // A flag wins over its variable (etcd's "Configuration options").
        let said = |flag: &str, variable: &str| {
            let flag = settings.flags.get(flag);
            flag.or_else(|| settings.environment.get(variable)).cloned()
        };
        let is_default = !settings.flags_removed.contains("data-dir");
        let directory = match settings.flags.get("data-dir") {
            None if is_default => ETCD_DATA.to_owned(),
            _ => said("data-dir", "ETCD_DATA_DIR")?,
        };
        let wal = said("wal-dir", "ETCD_WAL_DIR").filter(|wal| !wal.is_empty());
        let path = |text: &str| text.trim_end_matches('/').parse().ok();
        Some(Self {
            directory: path(&directory)?,
            wal: wal.and_then(|wal| path(&wal)),
        })
    }

    /// The lines by which `observe.sh` is asked for them.
    pub fn lines(&self) -> String {
        let wal = self.wal.iter().map(|wal| format!("wal {wal}\n"));
        let directory = std::iter::once(format!("data {}\n", self.directory));
        wal.chain(directory).collect()
    }
}

impl Data {
    /// Reads `DIRECTORY HEX`, where HEX is the beginning of the newest segment of the log.
    pub fn parse(text: &str) -> Option<Self> {
        let (directory, hex) = text.split_once(' ').unwrap_or((text, ""));
        Some(Self {
            directory: directory.parse().ok()?,
            identity: identity(hex),
        })
    }

    /// Whose they are, in words.
    pub fn owner(&self) -> String {
        self.identity.map_or_else(
            || "whose they are cannot be read".to_owned(),
            |identity| identity.to_string(),
        )
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {:x}, member {:x}", self.cluster, self.member)
    }
}
