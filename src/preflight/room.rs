//! Whether there is room for what is put on each file system, and whether it can be written at all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Node};
use crate::component::BIN;
use crate::diff::ChangeKind;
use crate::digest::Digest;
use crate::machine::Room;
use crate::manifest::{Entry, Kind};
use crate::remote_path::RemotePath;

/// Where kinstall keeps what it knows of a node, and contents before they are put in place.
const STATE: &str = "/var/lib/kinstall";
/// Where a transaction is carried out (`script/transaction.sh`).
const TRANSACTION: &str = "/run/kinstall";
/// Where units are enabled.
const UNITS: &str = "/etc/systemd/system";
/// What is kept free beyond what is staged, in bytes: records, the journal, half a step.
const RESERVE_BYTES: u64 = 16 << 20;
/// The same in files.
const RESERVE_INODES: u64 = 64;

/// What goes onto one file system.
struct Need<'a> {
    room: &'a Room,
    /// The directory that a message names.
    directory: &'a RemotePath,
    bytes: u64,
    inodes: u64,
    is_store: bool,
}

/// What cannot be written, run, or held.
pub(super) fn findings(node: &Node<'_>) -> Vec<Finding> {
    let written = written(node);
    let mut findings = fixed(node, &written);
    findings.extend(no_exec(node));
    findings.extend(full(node));
    findings
}

/// Every directory that something is put in or taken out of.
fn written(node: &Node<'_>) -> BTreeSet<RemotePath> {
    let difference = node.view.difference;
    let mut written: BTreeSet<_> = difference
        .entries
        .keys()
        .filter_map(RemotePath::parent)
        .collect();
    written.insert(RemotePath::fixed(STATE));
    if !difference.units.is_empty() {
        written.extend([TRANSACTION, UNITS].map(RemotePath::fixed));
    }
    written
}

fn fixed(node: &Node<'_>, written: &BTreeSet<RemotePath>) -> Vec<Finding> {
    let machine = &node.view.snapshot.machine;
    let mut fixed: BTreeMap<&str, &RemotePath> = BTreeMap::new();
    for directory in written {
        if let Some((at, room)) = machine.room(directory)
            && room.fixed
        {
            fixed.entry(at).or_insert(directory);
        }
    }
    let found = fixed.into_iter().map(|(at, directory)| {
        let at = if at.is_empty() { "/" } else { at };
        let text = if at == directory.as_str() {
            format!("`{at}` cannot be written")
        } else {
            format!("`{at}` cannot be written, and `{directory}` is to be made there")
        };
        let help = format!(
            "`findmnt -T {at}` on the node tells what is mounted there: `mount -o remount,rw` it; of a \
             directory that `lsattr -d {at}` shows an `i` for: `chattr -i {at}`"
        );
        node.error("read-only", text, help)
    });
    found.collect()
}

fn no_exec(node: &Node<'_>) -> Option<Finding> {
    let difference = node.view.difference;
    let programs = RemotePath::fixed(BIN);
    let (_, room) = node.view.snapshot.machine.room(&programs)?;
    let places = difference.entries.keys();
    let puts = places
        .filter_map(RemotePath::parent)
        .any(|it| it == programs);
    (room.no_exec && (puts || !difference.units.is_empty())).then(|| {
        let text = format!("`{BIN}` is mounted `noexec`: no program runs from there");
        let help = format!(
            "take `noexec` out of its line in `/etc/fstab`, and for now: `mount -o remount,exec \
             \"$(findmnt -n -o TARGET -T {BIN})\"`"
        );
        node.error("noexec", text, help)
    })
}

/// File systems that have too little room.
fn full(node: &Node<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for need in needs(node).into_values() {
        let Need {
            room, directory, ..
        } = need;
        // What the store may take is what everybody may; root's reserve is left for the system.
        let free = if need.is_store {
            room.available
        } else {
            room.free
        };
        let free = free.saturating_mul(room.block);
        if room.blocks > 0 && need.bytes > free {
            let (free, needed) = (free >> 20, need.bytes.div_ceil(1 << 20));
            let text = format!("`{directory}` has {free} MB free and {needed} MB are needed");
            let help = "make room on the node (`apt-get clean`, `journalctl --vacuum-size=50M`) and \
                        run the same command again; nothing was changed on any node";
            findings.push(node.error("no-room", text, help.to_owned()));
        }
        if room.inodes > 0 && need.inodes > room.inodes_free {
            let (left, needed) = (room.inodes_free, need.inodes);
            let text = format!("`{directory}` has {left} inodes free and {needed} are needed");
            let help = format!(
                "remove files: `du --inodes -x -d 3 {directory} | sort -n | tail` tells where most are"
            );
            findings.push(node.error("no-inodes", text, help));
        }
    }
    findings
}

/// What goes where, by file system.
fn needs<'a>(node: &'a Node<'_>) -> BTreeMap<&'a str, Need<'a>> {
    let view = node.view;
    let machine = &view.snapshot.machine;
    let mut needs: BTreeMap<&str, Need<'_>> = BTreeMap::new();
    let Some((_, store)) = machine.room(&STATE_DIRECTORY) else {
        return needs;
    };
    let missing: BTreeMap<Digest, u64> = view
        .manifest
        .entries
        .values()
        .filter_map(|entry| match entry.kind {
            Kind::File { digest, size } => Some((digest, size)),
            _ => None,
        })
        .filter(|(digest, _)| view.difference.missing.contains(digest))
        .collect();
    let sizes = missing.values().map(|size| on_disk(*size, store.block));
    needs.insert(
        &store.device,
        Need {
            room: store,
            directory: &STATE_DIRECTORY,
            bytes: sizes.sum::<u64>() + RESERVE_BYTES,
            inodes: missing.len() as u64 + RESERVE_INODES,
            is_store: true,
        },
    );
    for (path, change) in &view.difference.entries {
        let entry = view.manifest.entries.get(path);
        let (Some(entry), Some((directory, room))) = (entry, of_parent(node, path)) else {
            continue;
        };
        if change.kind == ChangeKind::Remove {
            continue;
        }
        let need = needs.entry(&room.device).or_insert(Need {
            room,
            directory,
            bytes: 0,
            inodes: 0,
            is_store: false,
        });
        if let Some(bytes) = taken(entry, room, store) {
            need.bytes += bytes;
            need.inodes += 1;
        }
    }
    needs
}

static STATE_DIRECTORY: std::sync::LazyLock<RemotePath> =
    std::sync::LazyLock::new(|| RemotePath::fixed(STATE));

/// Where the directory of a path lies.
fn of_parent<'a>(node: &'a Node<'_>, path: &RemotePath) -> Option<(&'a RemotePath, &'a Room)> {
    node.view.snapshot.machine.room_by_name(&path.parent()?)
}

/// The bytes that an entry takes where it is put; none where it is a link into the store.
fn taken(entry: &Entry, room: &Room, store: &Room) -> Option<u64> {
    match entry.kind {
        Kind::File { size, .. } => {
            let linked = entry.mode.0 & 0o111 != 0 && room.mount == store.mount;
            (!linked).then(|| on_disk(size, room.block))
        }
        Kind::Directory | Kind::Link { .. } => Some(room.block),
    }
}

fn on_disk(size: u64, block: u64) -> u64 {
    let block = block.max(1);
    size.div_ceil(block) * block
}
