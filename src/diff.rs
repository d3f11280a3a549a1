//! The difference between what a node should hold and what it holds. Pure, and it cannot fail.

mod in_the_way;
mod intruder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub use in_the_way::{Disposition, Stranger};

use crate::digest::Digest;
use crate::manifest::{Entry, Kind, Manifest, Unit, UnitName};
use crate::remote_path::RemotePath;
use crate::snapshot::{DropIn, Found, FoundKind, Snapshot, UnitState};

/// What must change on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Entries that must be made, replaced or removed.
    pub entries: BTreeMap<RemotePath, Change>,
    /// Units that must be started or restarted.
    pub units: BTreeMap<UnitName, Activation>,
    /// Contents that the node's store lacks and the entries need.
    pub missing: BTreeSet<Digest>,
    /// Entries of the recorded generation that stay for a way back.
    pub retired: BTreeMap<RemotePath, Entry>,
    /// Whether the node's record must be rewritten although nothing else changes.
    pub unrecorded: bool,
    /// Units that somebody else made under the names of kinstall's.
    pub strangers: Vec<Stranger>,
    /// Drop-ins of units that kinstall did not put there.
    pub drop_ins: Vec<DropIn>,
    /// Units of kinstall's in which another program runs than theirs: which, in words.
    pub intruders: BTreeMap<UnitName, String>,
}

/// What happens to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// Whether it undoes what somebody did by hand.
    pub drift: bool,
    /// Whether it replaces something that kinstall did not put there.
    pub unmanaged: bool,
}

/// The kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Nothing is there.
    Create,
    /// Another content, target or kind is there.
    Replace,
    /// The content is right, the mode or the owner is not.
    Attributes,
    /// Something of kinstall's is there that nothing asks for any more.
    Remove,
}

/// Why a unit is started or restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// The reason.
    pub reason: Reason,
    /// What it will run on: kept on the node once it does.
    pub fingerprint: String,
    /// Whether it runs now.
    pub running: bool,
}

/// The reasons to start or restart a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It does not run.
    NotRunning,
    /// It runs, and something it reads changes.
    Changes(BTreeSet<RemotePath>),
    /// It runs on something else than what is in place: a run before this one was cut short.
    Outdated,
    /// Another program runs in it, and nothing that lies there says so.
    Intruder,
    /// It runs, and would not start with the machine.
    NotEnabled,
}

/// What must change on a node so that it holds what its manifest says.
pub fn between(manifest: &Manifest, snapshot: &Snapshot) -> Difference {
    let mut difference = Difference::default();
    let ours = snapshot.ours();
    for (path, entry) in &manifest.entries {
        let found = snapshot.entries.get(path);
        let Some(kind) = change_of(entry, found, snapshot.owned) else {
            continue;
        };
        let drift = match found {
            None => recorded(snapshot, path).any(|recorded| recorded == entry),
            Some(found) => is_by_hand(path, found, snapshot),
        };
        let unmanaged = kind == ChangeKind::Replace && !ours.contains_key(path);
        difference.entries.insert(
            path.clone(),
            Change {
                kind,
                drift,
                unmanaged,
            },
        );
        if let Kind::File { digest, .. } = entry.kind
            && !snapshot.stored.contains(&digest)
        {
            difference.missing.insert(digest);
        }
    }
    difference.strangers = in_the_way::strangers(manifest, snapshot);
    difference.drop_ins = in_the_way::drop_ins(manifest, snapshot);
    difference.retired = retired(manifest, snapshot);
    for path in ours.keys() {
        let wanted = manifest.entries.contains_key(*path) || difference.retired.contains_key(*path);
        if !wanted && let Some(found) = snapshot.entries.get(*path) {
            let removal = Change {
                kind: ChangeKind::Remove,
                drift: is_by_hand(path, found, snapshot),
                unmanaged: false,
            };
            difference.entries.insert((*path).clone(), removal);
        }
    }
    difference.intruders = intruder::intruders(manifest, snapshot, &difference);
    for (name, unit) in &manifest.units {
        let state = snapshot.units.get(name).cloned().unwrap_or_default();
        let changed = unit
            .watches
            .iter()
            .filter(|path| difference.touches_process(path));
        let changed = changed.filter(|path| !is_beginning_alone(name, unit, path, snapshot));
        let dropped = dropped(&difference, name);
        let changed: BTreeSet<RemotePath> = changed.chain(dropped).cloned().collect();
        let fingerprint = fingerprint(manifest, unit);
        let reason = reason(&state, changed, &fingerprint, snapshot);
        let intruder = || difference.is_taken(name).then_some(Reason::Intruder);
        if let Some(reason) = reason.or_else(intruder) {
            let running = state.is_active();
            difference.units.insert(
                name.clone(),
                Activation {
                    reason,
                    fingerprint,
                    running,
                },
            );
        }
    }
    difference.unrecorded = snapshot.begun.is_some()
        || snapshot
            .recorded
            .as_ref()
            .is_none_or(|recorded| recorded.manifest != *manifest);
    difference
}

impl Difference {
    /// Whether the node is as it should be.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.units.is_empty() && !self.unrecorded
    }

    /// Whether another program runs in a unit that starts its own when it is restarted.
    fn is_taken(&self, unit: &UnitName) -> bool {
        self.intruders.contains_key(unit) && !self.drop_ins.iter().any(|it| it.unit == *unit)
    }

    /// Has drop-ins that kinstall did not put there go, and their units restarted without them.
    pub fn take_drop_ins_away(&mut self, manifest: &Manifest, snapshot: &Snapshot) {
        for DropIn { unit: name, path } in &self.drop_ins {
            let (Ok(path), Some(unit)) = (path.parse::<RemotePath>(), manifest.units.get(name))
            else {
                continue;
            };
            let removal = Change {
                kind: ChangeKind::Remove,
                drift: true,
                unmanaged: true,
            };
            self.entries.insert(path.clone(), removal);
            let state = snapshot.units.get(name);
            let activation = self.units.entry(name.clone());
            let activation = activation.or_insert_with(|| Activation {
                reason: Reason::Changes(BTreeSet::new()),
                fingerprint: fingerprint(manifest, unit),
                running: state.is_some_and(UnitState::is_active),
            });
            if let Reason::Changes(paths) = &mut activation.reason {
                paths.insert(path);
            }
        }
    }

    /// Whether a change of this path is one that a running process would not notice by itself. A
    /// mode or an owner is looked at when a file is opened, so it matters only where it is opened
    /// again.
    pub fn touches_process(&self, path: &RemotePath) -> bool {
        let change = self.entries.get(path);
        change.is_some_and(|change| matches!(change.kind, ChangeKind::Create | ChangeKind::Replace))
    }
}

/// What the record has of a path.
fn recorded<'a>(
    snapshot: &'a Snapshot,
    path: &'a RemotePath,
) -> impl Iterator<Item = &'a Entry> + 'a {
    let recorded = snapshot.recorded.iter();
    recorded.filter_map(move |it| it.manifest.entries.get(path))
}

/// Whether somebody changed it: it is kinstall's own, and neither what the record says nor what a
/// run that did not finish began to put there.
fn is_by_hand(path: &RemotePath, found: &Found, snapshot: &Snapshot) -> bool {
    let kept = snapshot.recorded.iter();
    let kept = kept.filter_map(|it| it.retired.get(path));
    let begun = snapshot.begun.iter().filter_map(|it| it.get(path));
    let mut known = recorded(snapshot, path).chain(kept).chain(begun).peekable();
    known.peek().is_some()
        && known.all(|entry| change_of(entry, Some(found), snapshot.owned).is_some())
}

/// How an entry that should be differs from what is there; none where it does not.
fn change_of(entry: &Entry, found: Option<&Found>, owned: bool) -> Option<ChangeKind> {
    let Some(found) = found else {
        return Some(ChangeKind::Create);
    };
    let same = match (&entry.kind, &found.kind) {
        (Kind::File { digest, .. }, FoundKind::File { digest: there, .. }) => {
            *there == Some(*digest)
        }
        (Kind::Directory, FoundKind::Directory) => true,
        (Kind::Link { target }, FoundKind::Link { target: there }) => {
            return (target != there).then_some(ChangeKind::Replace);
        }
        _ => false,
    };
    if !same {
        return Some(ChangeKind::Replace);
    }
    let rightful = !owned || (entry.user == found.user && entry.group == found.group);
    (entry.mode.0 != found.mode || !rightful).then_some(ChangeKind::Attributes)
}

/// What the stable links of the recorded generation pointed at and the new ones do not: the way
/// back of somebody who works by hand.
fn retired(manifest: &Manifest, snapshot: &Snapshot) -> BTreeMap<RemotePath, Entry> {
    let Some(recorded) = &snapshot.recorded else {
        return BTreeMap::new();
    };
    let old = &recorded.manifest.entries;
    let mut kept: BTreeMap<_, _> = if *old == manifest.entries {
        recorded.retired.clone()
    } else {
        BTreeMap::new()
    };
    for (link, entry) in old {
        let Kind::Link { target } = &entry.kind else {
            continue;
        };
        let still_managed = manifest.entries.contains_key(link);
        let Some(path) = link.parent().and_then(|parent| parent.join(target).ok()) else {
            continue;
        };
        if still_managed
            && !manifest.entries.contains_key(&path)
            && let Some(entry) = old.get(&path)
        {
            kept.insert(path, entry.clone());
        }
    }
    kept.retain(|path, _| !manifest.entries.contains_key(path));
    kept
}

/// The drop-ins of a unit that go. They have to be gone before it is restarted.
pub fn dropped<'a>(
    difference: &'a Difference,
    unit: &UnitName,
) -> impl Iterator<Item = &'a RemotePath> {
    let directory = unit.drop_ins();
    let is_theirs = move |path: &RemotePath| {
        let mut theirs = difference.drop_ins.iter();
        theirs.any(|it| it.unit == *unit && it.path == path.as_str())
    };
    let removed = difference.entries.iter();
    let removed = removed.filter(|(_, change)| change.kind == ChangeKind::Remove);
    removed
        .map(|(path, _)| path)
        .filter(move |path| path.parent().as_ref() == Some(&directory) || is_theirs(path))
}

/// Whether a unit file changes in nothing but words for the first start, and lies there as it was
/// recorded: the process that runs was started from all the others.
fn is_beginning_alone(
    name: &UnitName,
    unit: &Unit,
    path: &RemotePath,
    snapshot: &Snapshot,
) -> bool {
    let (Some(first_start), Some(recorded)) = (&unit.first_start, &snapshot.recorded) else {
        return false;
    };
    let before = recorded.manifest.units.get(name);
    let before = before.and_then(|unit| unit.first_start.as_ref());
    let lasts = before.is_some_and(|before| before.lasting == first_start.lasting);
    let there = snapshot.entries.get(path).map(|found| &found.kind);
    let entry = recorded.manifest.entries.get(path).map(|it| &it.kind);
    let untouched = matches!(
        (there, entry),
        (Some(FoundKind::File { digest: Some(there), .. }), Some(Kind::File { digest, .. }))
            if there == digest
    );
    unit.is_file(path) && lasts && untouched
}

/// What stands for everything a unit reads: equal exactly when all of it is equal. Words for its
/// first start alone do not count.
pub fn fingerprint(manifest: &Manifest, unit: &Unit) -> String {
    let mut text = String::new();
    for path in &unit.watches {
        if let Some(first_start) = unit.first_start.as_ref().filter(|_| unit.is_file(path)) {
            // Writing to a String cannot fail.
            _ = writeln!(text, "{path} {}", first_start.lasting);
            continue;
        }
        let what = match manifest.entries.get(path).map(|entry| &entry.kind) {
            Some(Kind::File { digest, .. }) => digest.to_string(),
            Some(Kind::Link { target }) => format!("-> {target}"),
            Some(Kind::Directory) => "directory".to_owned(),
            None => "nothing".to_owned(),
        };
        // Writing to a String cannot fail.
        _ = writeln!(text, "{path} {what}");
    }
    Digest::of(text.as_bytes()).to_string()
}

fn reason(
    state: &UnitState,
    changed: BTreeSet<RemotePath>,
    fingerprint: &str,
    snapshot: &Snapshot,
) -> Option<Reason> {
    // A directory has no running units; what is enabled there starts on the first boot.
    let dormant = snapshot.systemd.is_none() && state.enabled && state.applied.is_some();
    if !state.is_active() && !dormant {
        return Some(Reason::NotRunning);
    }
    if !changed.is_empty() {
        return Some(Reason::Changes(changed));
    }
    if state.applied.as_deref() != Some(fingerprint) {
        return Some(Reason::Outdated);
    }
    (!state.enabled).then_some(Reason::NotEnabled)
}
