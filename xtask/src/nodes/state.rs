//! Where things are kept: the cache that all beds share, and the state of one bed.
//!
//! ```text
//! ~/.cache/kinstall-nodes/
//!   base/<suite>-<arch>-<recipe>/   trees that nodes are overlays of
//!   ssh/id_ed25519                  the key that may log in
//!   shaper-<digest>                 the compiled traffic shaper
//!   mirror/                         what chores keep: see `mirror.rs`
//!   genuine/                        servers built from source: see `genuine.rs`
//!   bed-<name>/                     one bed, from `up` to `down`
//!     bed.json ssh_config known_hosts
//!     cgroup/                       a cgroup2 mount; <bed>/<node> are the nodes' groups
//!     legacy/<hierarchy>/           the same of each hierarchy of cgroup v1 that the machine has
//!     hostkeys/<node>               the nodes' own ssh keys
//!     nodes/<node>/                 node.json console.log upper/ work/ root/ small/ containerd/ kubelet/
//! ```

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::name::{BedName, NodeName, Subnet};
use crate::command::poll;

/// A lock is held for as long as a base takes to build, or a node to boot.
const LOCK_SECONDS: u64 = 1500;

/// What all beds of this user share.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The state directory of one bed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: PathBuf,
}

/// What a bed remembers of itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Its name.
    pub(super) name: BedName,
    /// Its subnet.
    pub(super) subnet: Subnet,
}

/// A lock; dropping it lets go.
pub(crate) struct Lock {
    _file: fs_err::File,
}

impl Cache {
    /// `$XDG_CACHE_HOME/kinstall-nodes`, or the same below `~/.cache`.
    pub(crate) fn of_user() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let cache = set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let home = || PathBuf::from(set("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
        Self {
            root: cache.unwrap_or_else(home).join("kinstall-nodes"),
        }
    }

    /// A directory for a chore to keep things in.
    pub(super) fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where the bases are.
    pub(super) fn bases(&self) -> PathBuf {
        self.root.join("base")
    }

    /// The private key that may log in.
    pub(super) fn key(&self) -> PathBuf {
        self.root.join("ssh/id_ed25519")
    }

    /// The shaper compiled from the source with that digest.
    pub(super) fn shaper(&self, digest: &str) -> PathBuf {
        self.root.join(format!("shaper-{digest}"))
    }

    /// The place of the bed of that name, which need not exist.
    pub(super) fn place(&self, name: &BedName) -> Place {
        Place {
            root: self.root.join(format!("bed-{name}")),
        }
    }

    /// The state directories that exist.
    pub(super) fn beds(&self) -> Result<Vec<PathBuf>, Error> {
        let mut beds = Vec::new();
        for item in fs_err::read_dir(&self.root)? {
            let item = item?;
            if item.file_name().to_string_lossy().starts_with("bed-") && item.path().is_dir() {
                beds.push(item.path());
            }
        }
        Ok(beds)
    }

    /// Holds the lock of that name, unless somebody else does.
    pub(super) fn try_lock(&self, name: &str) -> Result<Option<Lock>, Error> {
        fs_err::create_dir_all(&self.root)?;
        let file = fs_err::File::create(self.root.join(format!("{name}.lock")))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(std::io::Error::from(error).into()),
            Ok(()) => Ok(Some(Lock { _file: file })),
        }
    }

    /// Waits until nobody else holds the lock of that name, then holds it.
    pub(super) fn lock(&self, name: &str) -> Result<Lock, Error> {
        fs_err::create_dir_all(&self.root)?;
        let path = self.root.join(format!("{name}.lock"));
        let file = fs_err::File::create(&path)?;
        let limit = Duration::from_secs(LOCK_SECONDS);
        let taken = poll(limit, || {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => None,
                other => Some(other),
            }
        });
        let busy = Error::Busy {
            lock: path,
            limit_seconds: LOCK_SECONDS,
        };
        taken.ok_or(busy)?.map_err(std::io::Error::from)?;
        Ok(Lock { _file: file })
    }
}

impl Place {
    /// The place at that directory.
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The state directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The cache this bed belongs to.
    pub(super) fn cache(&self) -> Cache {
        Cache {
            root: self.root.parent().unwrap_or(Path::new("/")).to_owned(),
        }
    }

    /// What the bed remembers of itself, if it exists.
    pub(super) fn record(&self) -> Result<Option<Record>, Error> {
        load(&self.root.join("bed.json"))
    }

    /// Remembers it.
    pub(super) fn set_record(&self, record: &Record) -> Result<(), Error> {
        store(&self.root.join("bed.json"), record)
    }

    /// The ssh configuration that reaches every node.
    pub(super) fn ssh_config(&self) -> PathBuf {
        self.root.join("ssh_config")
    }

    /// The real host keys of the nodes.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// The private host key of a node.
    pub(super) fn host_key(&self, node: NodeName) -> PathBuf {
        self.root.join("hostkeys").join(node.to_string())
    }

    /// Where the bed's cgroup2 is mounted.
    pub(super) fn cgroup(&self) -> PathBuf {
        self.root.join("cgroup")
    }

    /// Where the bed's hierarchies of cgroup v1 are mounted.
    pub(super) fn legacy(&self) -> PathBuf {
        self.root.join("legacy")
    }

    /// Where the nodes' directories are.
    pub(super) fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// The directory of one node.
    pub(super) fn node(&self, node: NodeName) -> PathBuf {
        self.nodes().join(node.to_string())
    }

    /// The nodes that exist, in order: those whose disk was made whole.
    pub(super) fn whole(&self) -> Result<Vec<NodeName>, Error> {
        let mut nodes = self.list()?;
        nodes.retain(|node| self.node(*node).join("node.json").exists());
        Ok(nodes)
    }

    /// The nodes that exist, in order, with those that an interrupted `up` only began to make.
    pub(super) fn list(&self) -> Result<Vec<NodeName>, Error> {
        let mut nodes = Vec::new();
        if !self.nodes().exists() {
            return Ok(nodes);
        }
        for item in fs_err::read_dir(self.nodes())? {
            let name = item?.file_name();
            nodes.extend(name.to_str().and_then(|name| name.parse::<NodeName>().ok()));
        }
        nodes.sort_unstable();
        Ok(nodes)
    }
}

/// Reads a JSON file, or nothing if there is none.
pub(super) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(path)?;
    let state = |source| Error::State {
        path: path.to_owned(),
        source,
    };
    serde_json::from_str(&text).map(Some).map_err(state)
}

/// Writes a JSON file.
pub(super) fn store<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let state = |source| Error::State {
        path: path.to_owned(),
        source,
    };
    replace(path, &serde_json::to_string(value).map_err(state)?)
}

/// Writes a file so that a reader sees the old text or the new, and nothing between.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    fs_err::write(&new, text)?;
    Ok(fs_err::rename(&new, path)?)
}

/// The start of a text's digest: a name that changes when the text does.
pub(super) fn short_digest(text: &str) -> String {
    let mut name = String::new();
    for byte in Sha256::digest(text).iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
