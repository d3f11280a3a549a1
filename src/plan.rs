//! Everything a run will do, as data: what is staged where, and in which order things are put in
//! place, restarted and waited for. Made from differences; [`crate::apply`] carries it out.

mod guard;
mod wave;

use std::collections::{BTreeMap, BTreeSet};

pub use guard::Refusal;

use crate::action::{Action, Group, Put, Wave, WaveName};
use crate::diff::{ChangeKind, Difference};
use crate::digest::Digest;
use crate::inventory::NodeName;
use crate::manifest::{Manifest, Stage, UnitName};
use crate::remote_path::RemotePath;
use crate::snapshot::{Recorded, Snapshot};

/// What a run will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The contents that each node's store lacks.
    pub staging: BTreeMap<NodeName, BTreeSet<Digest>>,
    /// The waves, in order; those with nothing to do are left out.
    pub waves: Vec<Wave>,
}

/// One node as a plan sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What it should hold.
    pub manifest: &'a Manifest,
    /// What it holds.
    pub snapshot: &'a Snapshot,
    /// What must change.
    pub difference: &'a Difference,
    /// Contents of precious entries that may be replaced.
    pub superseded: &'a BTreeSet<Digest>,
}

impl Plan {
    /// The plan that makes every node hold what it should, or why there must be none.
    pub fn new(views: &BTreeMap<NodeName, View<'_>>) -> Result<Self, Vec<Refusal>> {
        let refusals = guard::refusals(views);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let changing = views.iter().filter(|(_, view)| !view.difference.is_empty());
        let staging = changing
            .filter(|(_, view)| !view.difference.missing.is_empty())
            .map(|(name, view)| (name.clone(), view.difference.missing.clone()))
            .collect();
        let waves = [
            base(views),
            wave::of_stage(Stage::Etcd, views),
            wave::of_stage(Stage::Apiserver, views),
            wave::of_stage(Stage::Controllers, views),
            record(views),
        ];
        let waves = waves
            .into_iter()
            .filter(|wave| !wave.groups.is_empty())
            .collect();
        Ok(Self { staging, waves })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.waves.is_empty() && self.staging.is_empty()
    }

    /// The nodes on which something is done.
    pub fn nodes(&self) -> BTreeSet<&NodeName> {
        let groups = self.waves.iter().flat_map(|wave| &wave.groups);
        groups
            .flat_map(|group| group.steps.keys())
            .chain(self.staging.keys())
            .collect()
    }
}

/// The stage at which an entry is put in place: that of the first unit that reads it.
fn stage_of(manifest: &Manifest, path: &RemotePath) -> Option<Stage> {
    let readers = manifest
        .units
        .values()
        .filter(|unit| unit.watches.contains(path));
    readers.map(|unit| unit.stage).min()
}

/// The entries of one stage that change, in an order in which they can be put in place:
/// directories before what lies in them, files before the links that make them seen.
fn puts(view: &View<'_>, stage: Option<Stage>) -> Vec<Put> {
    let changes = view.difference.entries.iter();
    let changes = changes.filter(|(_, change)| change.kind != ChangeKind::Remove);
    let mut entries: Vec<_> = changes
        .filter_map(|(path, _)| Some((path, view.manifest.entries.get(path)?)))
        .filter(|(path, entry)| {
            // Directories are made first and by themselves: a process does not read them.
            let is_directory = entry.kind == crate::manifest::Kind::Directory;
            let at = if is_directory {
                None
            } else {
                stage_of(view.manifest, path)
            };
            at == stage
        })
        .collect();
    entries.sort_by_key(|(path, entry)| {
        let rank = match entry.kind {
            crate::manifest::Kind::Directory => 0,
            crate::manifest::Kind::File { .. } => 1,
            crate::manifest::Kind::Link { .. } => 2,
        };
        (rank, (*path).clone())
    });
    entries
        .into_iter()
        .map(|(path, entry)| Put::Entry(path.clone(), entry.clone()))
        .collect()
}

/// Users, directories and what no unit reads, on all nodes at once.
fn base(views: &BTreeMap<NodeName, View<'_>>) -> Wave {
    let mut group = Group::default();
    for (name, view) in views {
        if view.difference.is_empty() {
            continue;
        }
        let mut steps = vec![Action::Begin {
            manifest: view.manifest.clone(),
        }];
        let (users, rest): (Vec<_>, Vec<_>) = puts(view, None)
            .into_iter()
            .partition(|put| matches!(put, Put::Entry(path, _) if declares_users(path)));
        if !users.is_empty() {
            let files: Vec<_> = users
                .iter()
                .filter_map(|put| match put {
                    Put::Entry(path, _) => Some(Put::Users(path.clone())),
                    _ => None,
                })
                .collect();
            steps.push(Action::Install(users.into_iter().chain(files).collect()));
        }
        if !rest.is_empty() {
            steps.push(Action::Install(rest));
        }
        group.steps.insert(name.clone(), steps);
    }
    let groups = if group.steps.is_empty() {
        vec![]
    } else {
        vec![group]
    };
    Wave {
        name: WaveName::Base,
        groups,
    }
}

fn declares_users(path: &RemotePath) -> bool {
    path.parent()
        .is_some_and(|parent| parent.as_str() == "/etc/sysusers.d")
}

/// What nothing asks for goes, and the generation is recorded, on all nodes at once.
fn record(views: &BTreeMap<NodeName, View<'_>>) -> Wave {
    let mut group = Group::default();
    for (name, view) in views {
        let difference = view.difference;
        if difference.is_empty() {
            continue;
        }
        let removed = difference
            .entries
            .iter()
            .filter(|(_, change)| change.kind == ChangeKind::Remove);
        // What lies deeper goes first.
        let removed: Vec<_> = removed
            .rev()
            .map(|(path, _)| Put::Remove(path.clone()))
            .collect();
        let mut steps = Vec::new();
        for unit in dropped(view) {
            steps.push(Action::Stop(unit));
        }
        if !removed.is_empty() {
            steps.push(Action::Install(removed));
        }
        let before = view
            .snapshot
            .recorded
            .as_ref()
            .map_or(0, |recorded| recorded.generation);
        steps.push(Action::Record(Box::new(Recorded {
            generation: before + 1,
            manifest: view.manifest.clone(),
            superseded: difference.superseded.clone(),
        })));
        group.steps.insert(name.clone(), steps);
    }
    let groups = if group.steps.is_empty() {
        vec![]
    } else {
        vec![group]
    };
    Wave {
        name: WaveName::Record,
        groups,
    }
}

/// Units on record that the node should not have any more.
fn dropped(view: &View<'_>) -> Vec<UnitName> {
    let recorded = view
        .snapshot
        .recorded
        .iter()
        .flat_map(|recorded| recorded.manifest.units.keys());
    recorded
        .filter(|unit| !view.manifest.units.contains_key(*unit))
        .cloned()
        .collect()
}
