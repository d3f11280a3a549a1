//! Everything a run will do, as data: what is staged where, and in which order things are put in
//! place, restarted and waited for. Made from differences; [`crate::apply`] carries it out.

mod back;
mod data;
mod guard;
mod hop;
mod member;
#[cfg(test)]
mod model;
mod skew;
#[cfg(test)]
mod tests;
mod wave;
mod ways;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use data::{
    LiveMember, Problem as DataProblem, problems as data_problems, unknown as unknown_data,
};
pub use guard::Refusal;
pub use hop::{Hop, NoWay, hops};
pub use skew::{Problem as SkewProblem, running};
pub use ways::keep as keep_ways;

use crate::action::{Action, FileOperation, Group, Wave, WaveName};
use crate::diff::{ChangeKind, Difference};
use crate::digest::Digest;
use crate::inventory::{NodeName, OnFailure, Rollout};
use crate::journal;
use crate::manifest::{Entry, Manifest, Stage, UnitName};
use crate::membership::{Change, Changes};
use crate::remote_path::RemotePath;
use crate::snapshot::{Format, Recorded, Snapshot};

/// What a run will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The contents that each node's store lacks.
    pub staging: BTreeMap<NodeName, BTreeSet<Digest>>,
    /// The waves, in order; those with nothing to do are left out.
    pub waves: Vec<Wave>,
    /// How the members of etcd change, as a user is shown it; the waves have it in its place.
    pub members: Vec<String>,
}

/// Whether a plan goes to what an inventory asks for, or back to what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To what an inventory asks for.
    Forward,
    /// To a generation that was recorded before.
    Back,
}

/// The stages in the order in which they have their turn.
type Stages = [Stage; Stage::ALL.len()];

impl Direction {
    /// Versions go up kube-apiserver first, and come down in reverse: what talks to
    /// kube-apiserver is never newer than it.
    fn stages(self) -> Stages {
        let mut stages = Stage::ALL;
        if self == Self::Back {
            stages.reverse();
        }
        stages
    }
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
    /// Whether its etcd member leads the cluster: it has its turn last, so that the lead moves once.
    pub leads: bool,
    /// Contents of protected entries that may be replaced.
    pub retired: &'a BTreeSet<Digest>,
}

impl View<'_> {
    /// What a run changes on the node, as its journal keeps it.
    pub fn changes(&self) -> journal::Changes {
        let units = self.difference.units.keys();
        journal::Changes {
            entries: self.difference.entries.len(),
            units: units.map(ToString::to_string).collect(),
            before: self.snapshot.recorded.as_ref().map(|it| it.generation),
        }
    }
}

impl Plan {
    /// The plan that makes every node hold what it should, or why there must be none. Nothing is
    /// known of a living etcd cluster: its members stay.
    pub fn new(
        views: &BTreeMap<NodeName, View<'_>>,
        direction: Direction,
        rollout: &Rollout,
    ) -> Result<Self, Vec<Refusal>> {
        Self::with_members(views, direction, None, rollout)
    }

    /// The same, with the changes of the members of a living etcd cluster, where it could be asked.
    pub fn with_members(
        views: &BTreeMap<NodeName, View<'_>>,
        direction: Direction,
        changes: Option<&Changes>,
        rollout: &Rollout,
    ) -> Result<Self, Vec<Refusal>> {
        let mut refusals = guard::refusals(views, direction, changes);
        refusals.extend(guard::undrained(views, rollout.drain));
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let changing = views.iter().filter(|(_, view)| !view.difference.is_empty());
        let staging = changing
            .filter(|(_, view)| !view.difference.missing.is_empty())
            .map(|(name, view)| (name.clone(), view.difference.missing.clone()))
            .collect();
        let stages = match changes {
            Some(changes) if changes.only_shrinks() => {
                let mut stages = Stage::ALL;
                stages.swap(0, 1);
                stages
            }
            _ => direction.stages(),
        };
        let turns = stages
            .into_iter()
            .map(|stage| wave::of_stage(stage, stages, views, changes, rollout));
        let mut waves: Vec<Wave> = std::iter::once(base(views, stages))
            .chain(turns)
            .chain([record(views)])
            .filter(|wave| !wave.groups.is_empty())
            .collect();
        // What was recorded was made for other members of etcd, and would cut off the new ones.
        let changes_members = changes.is_some_and(|changes| !changes.steps.is_empty());
        if changes_members || rollout.on_failure == OnFailure::Stay {
            wave::keep_forward(&mut waves);
        }
        let steps = changes.map_or(&[][..], |changes| &changes.steps);
        let members = steps.iter().map(Change::words).collect();
        Ok(Self {
            staging,
            waves,
            members,
        })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.waves.is_empty() && self.staging.is_empty()
    }

    /// Whether it has a wave of that name.
    pub fn has(&self, name: WaveName) -> bool {
        self.waves.iter().any(|wave| wave.name == name)
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

/// The stage at which each entry is put in place that a unit reads: that of the first that does.
fn stages_of(manifest: &Manifest, stages: Stages) -> HashMap<&RemotePath, Stage> {
    let mut first = HashMap::new();
    for stage in stages {
        let units = manifest.units.values().filter(|unit| unit.stage == stage);
        for path in units.flat_map(|unit| &unit.watches) {
            first.entry(path).or_insert(stage);
        }
    }
    first
}

/// The entries of one stage that change, in an order in which they can be put in place:
/// directories before what lies in them, files before the links that make them seen.
fn operations(view: &View<'_>, stage: Option<Stage>, stages: Stages) -> Vec<FileOperation> {
    // Nothing is put in place for what a node does not run.
    if stage.is_some_and(|stage| view.manifest.of_stage(stage).is_none()) {
        return Vec::new();
    }
    let first = stages_of(view.manifest, stages);
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
                first.get(path).copied()
            };
            at == stage
        })
        .collect();
    // A stable sort: among their like they stay in the order of their paths.
    entries.sort_by_key(|(_, entry)| match entry.kind {
        crate::manifest::Kind::Directory => 0,
        crate::manifest::Kind::File { .. } => 1,
        crate::manifest::Kind::Link { .. } => 2,
    });
    // A unit that is not to be started runs on as if nothing had changed: see `FirstStart`.
    let turns = view.manifest.units.iter();
    let turns = turns.filter(|(name, _)| view.difference.units.contains_key(*name));
    let unsettled = turns.filter(|(_, unit)| {
        let mut paths = entries.iter().map(|(path, _)| *path);
        paths.any(|path| unit.watches.contains(path) && view.difference.touches_process(path))
    });
    let unsettled = unsettled.map(|(name, _)| FileOperation::Unsettle(name.clone()));
    let put = |(path, entry): &(&RemotePath, &Entry)| {
        FileOperation::Entry((*path).clone(), (*entry).clone())
    };
    unsettled.chain(entries.iter().map(put)).collect()
}

/// Users, directories and what no unit reads, on all nodes of the control plane at once.
fn base(views: &BTreeMap<NodeName, View<'_>>, stages: Stages) -> Wave {
    let changing = views.iter().filter(|(_, view)| !is_worker(view));
    let changing = changing.filter(|(_, view)| !view.difference.is_empty());
    let steps: BTreeMap<_, _> = changing
        .map(|(name, view)| (name.clone(), base_steps(view, stages)))
        .collect();
    let group = (!steps.is_empty()).then_some(Group { steps });
    Wave {
        name: WaveName::Base,
        groups: group.into_iter().collect(),
    }
}

/// Whether nothing of the control plane runs on a node, nor should: all of it has its turn when the
/// control plane that it will talk to is through.
fn is_worker(view: &View<'_>) -> bool {
    let recorded = view.snapshot.recorded.iter();
    let before = recorded.flat_map(|recorded| recorded.manifest.units.values());
    let mut units = before.chain(view.manifest.units.values());
    units.all(|unit| unit.stage == Stage::Workers)
}

/// A node's users, directories and what no unit reads.
fn base_steps(view: &View<'_>, stages: Stages) -> Vec<Action> {
    let mut steps = vec![Action::Begin {
        entries: begun(view),
    }];
    let (users, rest): (Vec<_>, Vec<_>) = operations(view, None, stages)
        .into_iter()
        .partition(|put| matches!(put, FileOperation::Entry(path, _) if declares_users(path)));
    if !users.is_empty() {
        let files: Vec<_> = users
            .iter()
            .filter_map(|put| match put {
                FileOperation::Entry(path, _) => Some(FileOperation::Users(path.clone())),
                _ => None,
            })
            .collect();
        steps.push(Action::Install(users.into_iter().chain(files).collect()));
    }
    if !rest.is_empty() {
        steps.push(Action::Install(rest));
    }
    steps
}

/// What is kinstall's own until the record says so.
fn begun(view: &View<'_>) -> BTreeMap<RemotePath, Entry> {
    let before = view.snapshot.begun.iter().flatten();
    let all = before.chain(&view.manifest.entries);
    all.map(|(path, entry)| (path.clone(), entry.clone()))
        .collect()
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
            .map(|(path, _)| FileOperation::Remove(path.clone()))
            .collect();
        let mut steps = Vec::new();
        for unit in dropped(view) {
            steps.push(Action::Stop(unit));
        }
        if !removed.is_empty() {
            steps.push(Action::Install(removed));
        }
        steps.push(Action::Record(Box::new(Recorded {
            format: Format::default(),
            generation: generation(view),
            manifest: view.manifest.clone(),
            retired: difference.retired.clone(),
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

/// The number of the generation that a node will be at: a new one for a new manifest.
pub fn generation(view: &View<'_>) -> u64 {
    match &view.snapshot.recorded {
        Some(recorded) if recorded.manifest == *view.manifest => recorded.generation,
        Some(recorded) => recorded.generation.saturating_add(1),
        None => 1,
    }
}

/// Whether a plan takes a running etcd or kube-apiserver to another version: what a snapshot of
/// etcd is taken before.
pub fn is_upgrade(views: &BTreeMap<NodeName, View<'_>>) -> bool {
    views.values().any(|view| {
        view.manifest.units.iter().any(|(name, unit)| {
            let state = view
                .snapshot
                .units
                .get(name)
                .filter(|state| state.is_active());
            let running = state.and_then(running);
            let wanted = view.manifest.versions.get(&unit.component);
            unit.stage <= Stage::Apiserver
                && running.is_some_and(|running| wanted != Some(&running.to_string()))
        })
    })
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
