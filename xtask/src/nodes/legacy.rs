//! Control groups of version 1: where this machine's controllers are in such hierarchies, a node is given a
//! group of each, beside the group of version 2 that is its power switch (systemd calls that hybrid). So limits are
//! enforced in a node, and a container runtime finds what it needs.
//!
//! A machine whose controllers are in version 2 has none of this: [`super::cgroup`] passes those on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::{KILL_SECONDS, is_mounted, remove_tree};
use super::error::Error;
use super::name::{BedName, NodeName};
use super::state::Place;
use crate::command::{Program, poll};

/// The hierarchy without controllers in which systemd follows its services.
const OF_SYSTEMD: &str = "name=systemd";
/// A new group of the hierarchy with these takes no process before they are set.
const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Mounts this machine's hierarchies for the bed, if it has any.
pub(super) fn mount(place: &Place, bed: &BedName) -> Result<(), Error> {
    let own = fs_err::read_to_string("/proc/self/cgroup")?;
    for hierarchy in hierarchies(&own) {
        let root = place.legacy().join(hierarchy);
        fs_err::create_dir_all(&root)?;
        if !is_mounted(&root) {
            let options = match hierarchy.strip_prefix("name=") {
                Some(_) => format!("none,{hierarchy}"),
                None => hierarchy.to_owned(),
            };
            let mount = Program::new("mount").args(["-t", "cgroup", "-o", &options, "none"]);
            if !mount.arg(&root).succeeds() {
                // In a container the root may refuse: nodes work without.
                fs_err::remove_dir(&root)?;
                continue;
            }
        }
        make_group(&root, &bed.to_string())?;
    }
    Ok(())
}

/// Undoes [`mount`]; the nodes' groups must be gone.
pub(super) fn unmount(place: &Place, bed: &BedName) -> Result<(), Error> {
    for root in roots(place)? {
        if is_mounted(&root) {
            remove_tree(&root.join(bed.to_string()))?;
            Program::new("umount").arg(&root).done()?;
        }
    }
    Ok(())
}

/// Makes a node's groups.
pub(super) fn make(place: &Place, bed: &BedName, node: NodeName) -> Result<(), Error> {
    for root in roots(place)? {
        make_group(&root.join(bed.to_string()), &node.to_string())?;
    }
    Ok(())
}

/// Removes a node's groups; its processes must have been killed.
pub(super) fn remove(place: &Place, bed: &BedName, node: NodeName) -> Result<(), Error> {
    for root in roots(place)? {
        let group = root.join(bed.to_string()).join(node.to_string());
        // The kernel lets go of a killed process in one hierarchy after the other.
        let mut last = Ok(());
        poll(Duration::from_secs(KILL_SECONDS), || {
            last = remove_tree(&group);
            last.is_ok().then_some(())
        });
        last?;
    }
    Ok(())
}

/// Where the hierarchies of the bed are mounted.
fn roots(place: &Place) -> Result<Vec<PathBuf>, Error> {
    let mut roots = Vec::new();
    if place.legacy().exists() {
        for item in fs_err::read_dir(place.legacy())? {
            roots.push(item?.path());
        }
    }
    Ok(roots)
}

/// Makes a group that takes processes.
fn make_group(parent: &Path, name: &str) -> Result<(), Error> {
    let group = parent.join(name);
    fs_err::create_dir_all(&group)?;
    for file in CPUSET_FILES {
        let all = parent.join(file);
        if all.exists() {
            fs_err::write(group.join(file), fs_err::read(all)?)?;
        }
    }
    Ok(())
}

/// The hierarchies of version 1 that a process's groups are in (cgroups(7)), as mount calls them; and that of
/// systemd, which not every machine has. None where no controller is in one.
fn hierarchies(groups: &str) -> Vec<&str> {
    let parts = groups.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (names, _) = rest.split_once(':')?;
        (number != "0").then_some(names)
    });
    let mut all: Vec<&str> = parts.filter(|names| !names.starts_with("name=")).collect();
    if !all.is_empty() {
        all.push(OF_SYSTEMD);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_those_with_controllers_and_that_of_systemd() {
        let hybrid = "9:name=systemd:/\n4:memory:/a:b\n2:cpu,cpuacct:/\n1:name=other:/\n0::/\n";
        let all = ["memory", "cpu,cpuacct", OF_SYSTEMD];
        assert_eq!(hierarchies(hybrid), all);
        assert_eq!(hierarchies("3:pids:/\n0::/\n"), ["pids", OF_SYSTEMD]);
        for none in ["0::/user.slice\n", "1:name=systemd:/\n0::/\n", ""] {
            assert!(hierarchies(none).is_empty(), "{none}");
        }
    }
}
