//! Control groups: every process of a node is in its group, and killing the group is the node's
//! power switch. So nothing is ever killed by name, nor by a number that was written down.
//!
//! A node's group has a child for the keeper, one for the machine and one for its traffic shaper.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::name::{BedName, NodeName};
use super::state::Place;
use crate::command::{Program, poll};

/// What a node's group is divided into; cgroup v2 wants processes in leaves only.
const PARTS: &[&str] = &["keeper", "machine", "shaper"];
/// A killed process is gone at once, unless it sits in the kernel writing to a slow disk.
pub(super) const KILL_SECONDS: u64 = 20;

/// One control group; it need not exist.
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    /// The group of a node.
    pub(super) fn of(place: &Place, bed: &BedName, node: NodeName) -> Self {
        Self {
            path: place.cgroup().join(bed.to_string()).join(node.to_string()),
        }
    }

    /// The group's part of that name.
    pub(super) fn part(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
        }
    }

    /// Where it is in the file system.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a node's group with its parts.
    pub(super) fn make(&self) -> Result<(), Error> {
        fs_err::create_dir_all(&self.path)?;
        offer_controllers(&self.path);
        for part in PARTS {
            fs_err::create_dir_all(self.path.join(part))?;
        }
        Ok(())
    }

    /// Whether any process is in it.
    pub(super) fn is_populated(&self) -> bool {
        fs_err::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Kills every process in it and waits until they are gone; tells whether they are.
    pub(super) fn kill(&self) -> Result<bool, Error> {
        if !self.path.exists() {
            return Ok(true);
        }
        fs_err::write(self.path.join("cgroup.kill"), "1")?;
        let gone = || (!self.is_populated()).then_some(());
        Ok(poll(Duration::from_secs(KILL_SECONDS), gone).is_some())
    }

    /// Removes it and all groups below it; they must be empty.
    pub(super) fn remove(&self) -> Result<(), Error> {
        remove_tree(&self.path)
    }

    /// The processes in it and below it, as this machine numbers them.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        collect(&self.path, &mut found);
        found
    }
}

/// Mounts a cgroup2 for the bed, whatever this machine has at /sys/fs/cgroup.
pub(super) fn mount(place: &Place, bed: &BedName) -> Result<(), Error> {
    let cgroup = place.cgroup();
    fs_err::create_dir_all(&cgroup)?;
    if !is_mounted(&cgroup) {
        Program::new("mount")
            .args(["-t", "cgroup2", "none"])
            .arg(&cgroup)
            .done()?;
    }
    fs_err::create_dir_all(cgroup.join(bed.to_string()))?;
    offer_controllers(&cgroup);
    offer_controllers(&cgroup.join(bed.to_string()));
    Ok(())
}

/// Undoes [`mount`]; the nodes' groups must be gone.
pub(super) fn unmount(place: &Place, bed: &BedName) -> Result<(), Error> {
    let cgroup = place.cgroup();
    if is_mounted(&cgroup) {
        remove_tree(&cgroup.join(bed.to_string()))?;
        Program::new("umount").arg(&cgroup).done()?;
    }
    Ok(())
}

/// Whether something is mounted exactly there.
pub(super) fn is_mounted(path: &Path) -> bool {
    Program::new("mountpoint")
        .arg("--quiet")
        .arg(path)
        .succeeds()
}

/// Lets the groups below use what controllers there are, each on its own, so that a node has those of a
/// machine whose controllers are in version 2. One with version 1 has none to give here (see
/// [`super::legacy`]), and in a container the root may refuse: nodes work without.
fn offer_controllers(group: &Path) {
    let offered = fs_err::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in offered.split_whitespace() {
        let _ = fs_err::write(
            group.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
}

/// Removes a group and all below it.
pub(super) fn remove_tree(group: &Path) -> Result<(), Error> {
    if !group.exists() {
        return Ok(());
    }
    for child in children(group) {
        remove_tree(&child)?;
    }
    Ok(fs_err::remove_dir(group)?)
}

fn collect(group: &Path, found: &mut Vec<u32>) {
    let list = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in children(group) {
        collect(&child, found);
    }
}

/// The groups directly below; none if this one just went away.
fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(items) = fs_err::read_dir(group) else {
        return Vec::new();
    };
    items
        .flatten()
        .map(|item| item.path())
        .filter(|path| path.is_dir())
        .collect()
}
