//! The way back that a node takes by itself when a unit does not start: a push of its recorded
//! generation, foreseen while there is still somebody to foresee it.

use std::collections::BTreeSet;

use super::{Stages, View, puts, skew};
use crate::action::{Course, Put, Start, contents};
use crate::diff;
use crate::manifest::{Kind, Manifest, Stage};
use crate::remote_path::RemotePath;
use crate::snapshot::{Found, FoundKind, Snapshot, UnitState};

/// What takes a node back after this course; none where it never held anything else, where the
/// store lacks what was there, and where data would not go back with the program.
pub(super) fn course(
    view: &View<'_>,
    stage: Stage,
    stages: Stages,
    forward: &Course,
) -> Option<Course> {
    let recorded = &view.snapshot.recorded.as_ref()?.manifest;
    if !skew::may_go_back(stage, view.manifest, recorded) {
        return None;
    }
    let foreseen = foresee(view.snapshot, forward);
    let difference = diff::between(recorded, &foreseen);
    let back = View {
        manifest: recorded,
        snapshot: &foreseen,
        difference: &difference,
        ..*view
    };
    let mut touched: BTreeSet<_> = forward.puts.iter().filter_map(Put::path).collect();
    for start in &forward.starts {
        touched.extend(&recorded.units.get(&start.unit)?.watches);
    }
    let mut puts = puts(&back, Some(stage), stages);
    puts.retain(|put| put.path().is_none_or(|path| touched.contains(path)));
    puts.extend(new_drop_ins(forward, recorded).map(Put::Remove));
    let mut stored = view.snapshot.stored.union(&view.difference.missing);
    let stored: BTreeSet<_> = stored.by_ref().collect();
    if !contents(&puts).all(|digest| stored.contains(&digest)) {
        return None;
    }
    let after = foresee(
        &foreseen,
        &Course {
            puts: puts.clone(),
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
    (!starts.is_empty()).then_some(Course { puts, starts })
}

/// Drop-ins that come with a course: what was there before would be read together with them.
fn new_drop_ins<'a>(
    forward: &'a Course,
    recorded: &'a Manifest,
) -> impl Iterator<Item = RemotePath> + 'a {
    let entries = forward.puts.iter().filter_map(|put| match put {
        Put::Entry(path, _) if !recorded.entries.contains_key(path) => {
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

/// What a node will hold after a course.
fn foresee(snapshot: &Snapshot, course: &Course) -> Snapshot {
    let mut foreseen = snapshot.clone();
    for put in &course.puts {
        match put {
            Put::Entry(path, entry) => {
                let kind = match &entry.kind {
                    Kind::Directory => FoundKind::Directory,
                    Kind::Link { target } => FoundKind::Link {
                        target: target.clone(),
                    },
                    Kind::File { digest, size } => FoundKind::File {
                        digest: Some(*digest),
                        size: *size,
                    },
                };
                let found = Found {
                    kind,
                    mode: entry.mode.0,
                    user: entry.user.clone(),
                    group: entry.group.clone(),
                    modified: 0,
                };
                foreseen.entries.insert(path.clone(), found);
            }
            Put::Remove(path) => drop(foreseen.entries.remove(path)),
            Put::Users(_) | Put::Unsettle(_) => {}
        }
    }
    for start in &course.starts {
        let state = UnitState {
            active: "active".to_owned(),
            enabled: true,
            applied: Some(start.fingerprint.clone()),
            ..UnitState::default()
        };
        foreseen.units.insert(start.unit.clone(), state);
    }
    foreseen
}

/// Whether everything that a unit reads is what a manifest says.
fn holds(manifest: &Manifest, snapshot: &Snapshot, start: &Start) -> bool {
    let difference = diff::between(manifest, snapshot);
    let mut watches = manifest.units[&start.unit].watches.iter();
    watches.all(|path| !difference.entries.contains_key(path))
}
