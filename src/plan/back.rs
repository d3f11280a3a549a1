//! The way back that a node takes by itself when a unit does not start: a push of its recorded
//! generation, previewed while there is still somebody to preview it.

use std::collections::BTreeSet;

use super::{Stages, View, operations, skew, ways};
use crate::action::{FileOperation, Start, Steps, contents};
use crate::diff;
use crate::manifest::{Manifest, Stage};
use crate::remote_path::RemotePath;
use crate::snapshot::{Found, FoundKind, Snapshot, UnitState};

/// What takes a node back after this steps; none where it never held anything else, where the
/// store lacks what was there, and where data would not go back with the program.
pub(super) fn steps(
    view: &View<'_>,
    stage: Stage,
    stages: Stages,
    forward: &Steps,
) -> Option<Steps> {
    let recorded = &view.snapshot.recorded.as_ref()?.manifest;
    if !skew::may_go_back(stage, view.manifest, recorded) {
        return None;
    }
    let previewed = preview(view.snapshot, forward);
    let difference = diff::between(recorded, &previewed);
    let back = View {
        manifest: recorded,
        snapshot: &previewed,
        difference: &difference,
        ..*view
    };
    let mut touched: BTreeSet<_> = forward
        .operations
        .iter()
        .filter_map(FileOperation::path)
        .collect();
    for start in &forward.starts {
        touched.extend(&recorded.units.get(&start.unit)?.watches);
    }
    let mut operations = operations(&back, Some(stage), stages);
    operations.retain(|put| {
        put.path()
            .is_none_or(|path| touched.contains(path) && !ways::stays(path))
    });
    operations.extend(new_drop_ins(forward, recorded).map(FileOperation::Remove));
    let mut stored = view.snapshot.stored.union(&view.difference.missing);
    let stored: BTreeSet<_> = stored.by_ref().collect();
    if !contents(&operations).all(|digest| stored.contains(&digest)) {
        return None;
    }
    let after = preview(
        &previewed,
        &Steps {
            operations: operations.clone(),
            starts: vec![],
        },
    );
    let starts = forward.starts.iter();
    let starts = starts.filter_map(|start| Some((start, difference.units.get(&start.unit)?)));
    let starts: Vec<_> = starts
        .map(|(start, activation)| Start {
            unit: start.unit.clone(),
            fingerprint: if holds(recorded, &after, start) {
                activation.fingerprint.clone()
            } else {
                // What an earlier wave changed stays: the next run must not take it for whole.
                format!("{}-in-part", activation.fingerprint)
            },
            restart: true,
        })
        .collect();
    (!starts.is_empty()).then_some(Steps { operations, starts })
}

/// Drop-ins that come with a steps: what was there before would be read together with them.
fn new_drop_ins<'a>(
    forward: &'a Steps,
    recorded: &'a Manifest,
) -> impl Iterator<Item = RemotePath> + 'a {
    let entries = forward.operations.iter().filter_map(|put| match put {
        FileOperation::Entry(path, _) if !recorded.entries.contains_key(path) => {
            path.parent().zip(Some(path))
        }
        _ => None,
    });
    let is_drop_in = |directory: &RemotePath| {
        let mut starts = forward.starts.iter();
        starts.any(|start| start.unit.drop_ins() == *directory)
    };
    entries
        .filter(move |(directory, _)| is_drop_in(directory))
        .map(|(_, path)| path.clone())
}

/// What a node will hold after a steps.
fn preview(snapshot: &Snapshot, steps: &Steps) -> Snapshot {
    let mut previewed = snapshot.clone();
    for put in &steps.operations {
        match put {
            FileOperation::Entry(path, entry) => {
                let found = Found {
                    kind: FoundKind::of(&entry.kind),
                    mode: entry.mode.0,
                    user: entry.user.to_string(),
                    group: entry.group.to_string(),
                    modified: 0,
                };
                previewed.entries.insert(path.clone(), found);
            }
            FileOperation::Remove(path) => drop(previewed.entries.remove(path)),
            FileOperation::Users(_) | FileOperation::Unsettle(_) => {}
        }
    }
    for start in &steps.starts {
        let state = UnitState {
            active: "active".to_owned(),
            enabled: true,
            applied: Some(start.fingerprint.clone()),
            ..UnitState::default()
        };
        previewed.units.insert(start.unit.clone(), state);
    }
    previewed
}

/// Whether everything that a unit reads is what a manifest says.
fn holds(manifest: &Manifest, snapshot: &Snapshot, start: &Start) -> bool {
    let difference = diff::between(manifest, snapshot);
    let mut watches = manifest.units[&start.unit].watches.iter();
    watches.all(|path| !difference.entries.contains_key(path))
}
