//! Who is started or restarted together, who one after the other, and what must be healthy before.
//!
//! The facts: a new etcd cluster must start together, because a member tells systemd that it is up
//! only once there is a quorum; a running one is restarted member by member. kube-apiservers are
//! restarted one by one, so that two are never away at once. Controllers talk to the kube-apiserver
//! of their own node, so they come after all of those.

use std::collections::{BTreeMap, BTreeSet};

use super::{Stages, View, back, base_steps, is_worker, member, operations};
use crate::action::{Action, FileOperation, Group, Start, Steps, Transaction, Wave, WaveName};
use crate::component;
use crate::diff;
use crate::inventory::{Drain, NodeName, Rollout, Widths};
use crate::manifest::{Registration, Stage, Unit, UnitName};
use crate::membership::Changes;
use crate::snapshot::UnitState;
use crate::version::Version;

/// The wave of one stage. Where the members of etcd change, those who join have their turn last.
pub(super) fn of_stage(
    stage: Stage,
    stages: Stages,
    views: &BTreeMap<NodeName, View<'_>>,
    changes: Option<&Changes>,
    rollout: &Rollout,
) -> Wave {
    let name = WaveName::Stage(stage);
    let changes = changes.filter(|changes| stage == Stage::Etcd && !changes.steps.is_empty());
    // Workers need not know of each other to start, and there may be any number of them.
    let is_of_workers = stage == Stage::Workers;
    let rolling = is_of_workers || runs_anywhere(stage, views) || changes.is_some();
    let mut turns: Vec<(&NodeName, Vec<Action>)> = Vec::new();
    for (node, view) in views {
        let mut steps = steps(stage, stages, view, rolling);
        if is_of_workers {
            drain(&mut steps, view, views, rollout.drain);
        }
        if is_of_workers && is_worker(view) && !view.difference.is_empty() {
            steps.splice(0..0, base_steps(view, stages));
        }
        let joins = changes.is_some_and(|it| it.joining().any(|join| join.node == *node));
        if !steps.is_empty() && !joins {
            turns.push((node, steps));
        }
    }
    if turns.is_empty() && changes.is_none() {
        return Wave {
            name,
            groups: vec![],
        };
    }
    let lead = rolling.then(|| lead(stage, &turns, views)).flatten();
    let groups = if rolling {
        let first = changes.map_or_else(Vec::new, member::before_others);
        let mut groups = in_turns(stage, turns, first, views, width_of(stage, rollout.width));
        if let Some(changes) = changes {
            groups.extend(member::joins(stages, views, changes));
        }
        groups.extend(lead);
        groups
    } else {
        let steps = turns
            .into_iter()
            .map(|(node, steps)| (node.clone(), steps))
            .collect();
        vec![Group { steps }]
    };
    Wave { name, groups }
}

/// The question whether those that had their turn are led again, through the last of their nodes.
/// Once, at the end: a leader that is restarted is missed for a quarter of a minute by most versions,
/// and to wait for the next one each time would have the cluster without any for longer.
fn lead(
    stage: Stage,
    turns: &[(&NodeName, Vec<Action>)],
    views: &BTreeMap<NodeName, View<'_>>,
) -> Option<Group> {
    let started = |(node, steps): &(&NodeName, Vec<Action>)| {
        let units = &views[*node].manifest.units;
        let starts = steps.iter().flat_map(Action::starts);
        let leases = starts.filter_map(|start| {
            let lease = units.get(&start.unit)?.lease.clone()?;
            Some((start.unit.clone(), lease))
        });
        leases.collect::<Vec<_>>()
    };
    let leases: BTreeMap<_, _> = turns.iter().flat_map(started).collect();
    let (node, _) = turns.last().filter(|_| stage == Stage::Controllers)?;
    let mut units = views[*node].manifest.units.values();
    let server = units.find(|unit| unit.stage == Stage::Apiserver)?;
    let port = server.port()?;
    (!leases.is_empty()).then(|| Group {
        steps: [((*node).clone(), vec![Action::Lead { port, leases }])].into(),
    })
}

/// Has the Pods of a worker moved away before the first of its steps that restarts anything.
fn drain(
    steps: &mut Vec<Action>,
    view: &View<'_>,
    views: &BTreeMap<NodeName, View<'_>>,
    when: Drain,
) {
    let first = steps.iter().position(|step| !step.starts().is_empty());
    if let (Some(first), Some(registration)) = (first, drained(view, when))
        && let Some((through, port)) = servers(views).next()
    {
        let drain = Action::Drain {
            through: through.clone(),
            port,
            registration: registration.clone(),
        };
        steps.insert(first, drain);
    }
}

/// The Node object of a node whose Pods are moved away before its turn.
pub(super) fn drained<'a>(view: &View<'a>, when: Drain) -> Option<&'a Registration> {
    let changes = |(name, _, _): &Member<'_>| view.difference.units.contains_key(*name);
    if !units(Stage::Workers, view).any(|unit| changes(&unit)) {
        return None;
    }
    // Where no kubelet runs, nobody would end its Pods.
    let mut running = units(Stage::Workers, view).filter(|unit| is_active(*unit));
    let kubelet = running.find(|(_, unit, _)| unit.registration.is_some());
    let (name, kubelet, _) = kubelet?;
    let is_due = match when {
        Drain::Never => false,
        Drain::Always => true,
        Drain::Minor => {
            let recorded = view.snapshot.recorded.as_ref()?;
            let minor = |unit: &Unit| {
                let version = &unit.registration.as_ref()?.version;
                Some(version.parse::<Version>().ok()?.minor())
            };
            minor(recorded.manifest.units.get(name)?) != minor(kubelet)
        }
    };
    kubelet.registration.as_ref().filter(|_| is_due)
}

/// The nodes with a kube-apiserver, and its port.
pub(super) fn servers<'a>(
    views: &'a BTreeMap<NodeName, View<'_>>,
) -> impl Iterator<Item = (&'a NodeName, u16)> {
    views.iter().filter_map(|(node, view)| {
        let mut units = view.manifest.units.values();
        let server = units.find(|unit| unit.stage == Stage::Apiserver)?;
        Some((node, server.port()?))
    })
}

/// How many nodes of a stage have their turn at once.
const fn width_of(stage: Stage, width: Widths) -> usize {
    match stage {
        Stage::Etcd => 1,
        Stage::Apiserver => width.apiserver,
        Stage::Controllers => width.controllers,
        Stage::Workers => width.workers,
    }
}

/// So many nodes at once, one after the other by default: first those where something is down, so that nothing healthy is taken
/// away while something is missing, then what comes before anything that runs is touched; and
/// before something that runs is restarted, all others that should be healthy by then are asked.
fn in_turns(
    stage: Stage,
    mut turns: Vec<(&NodeName, Vec<Action>)>,
    mut first: Vec<Group>,
    views: &BTreeMap<NodeName, View<'_>>,
    width: usize,
) -> Vec<Group> {
    turns.sort_by_key(|(node, _)| {
        let view = &views[*node];
        let leads = stage == Stage::Etcd && view.leads;
        (units(stage, view).all(is_active), leads, (*node).clone())
    });
    let mut groups = Vec::new();
    let mut done: BTreeSet<&NodeName> = BTreeSet::new();
    let mut turns = turns.into_iter();
    loop {
        let together: BTreeMap<&NodeName, Vec<Action>> = turns.by_ref().take(width).collect();
        if together.is_empty() {
            break;
        }
        let runs = |node: &&NodeName| units(stage, &views[*node]).all(is_active);
        if together.keys().any(runs) {
            groups.append(&mut first);
        }
        let restarts = |action: &Action| action.starts().iter().any(|start| start.restart);
        // What runs on one worker does not stand in for what runs on another.
        if stage != Stage::Workers && together.values().flatten().any(restarts) {
            let others = views
                .iter()
                .filter(|(other, _)| !together.contains_key(other));
            let asked: BTreeMap<_, _> = others
                .map(|(other, view)| (other.clone(), questions(stage, view, done.contains(other))))
                .filter(|(_, questions)| !questions.is_empty())
                .collect();
            if !asked.is_empty() {
                groups.push(Group { steps: asked });
            }
        }
        done.extend(together.keys());
        let steps = together.into_iter();
        groups.push(Group {
            steps: steps.map(|(node, steps)| (node.clone(), steps)).collect(),
        });
    }
    groups.append(&mut first);
    groups
}

/// What one node does in a stage: its entries, its units, then the wait until they are healthy.
pub(super) fn steps(stage: Stage, stages: Stages, view: &View<'_>, settle: bool) -> Vec<Action> {
    let mut operations = operations(view, Some(stage), stages);
    for (name, _, _) in units(stage, view) {
        let dropped: Vec<_> = diff::dropped(view.difference, name).cloned().collect();
        if !dropped.is_empty() && view.difference.units.contains_key(name) {
            operations.push(FileOperation::Unsettle(name.clone()));
        }
        operations.extend(dropped.into_iter().map(FileOperation::Remove));
    }
    let rereads = rereads(stage, view, &operations);
    let turns: Vec<_> = units(stage, view)
        .filter_map(|(name, unit, _)| Some((name, unit, view.difference.units.get(name)?)))
        .collect();
    let starts = turns.iter().map(|(name, _, activation)| Start {
        unit: (*name).clone(),
        fingerprint: activation.fingerprint.clone(),
        restart: activation.running,
    });
    let forward = Steps {
        operations,
        starts: starts.collect(),
    };
    let mut steps = registers(stage, view);
    if !forward.starts.is_empty() {
        let back = back::steps(view, stage, stages, &forward);
        steps.push(Action::Transaction(Box::new(Transaction { forward, back })));
    } else if !forward.operations.is_empty() {
        steps.push(Action::Install(forward.operations));
    }
    if rereads {
        steps.push(Action::Reload);
    }
    for (name, unit, _) in &turns {
        steps.push(Action::Await {
            unit: (*name).clone(),
            probe: unit.probe.clone(),
            settle,
        });
    }
    // A node is Ready only once all of it runs. One that was not in time for the run before this one is
    // asked again.
    let is_asked = |name| {
        let again = view.snapshot.begun.is_some() && !view.difference.is_empty();
        again || view.difference.units.contains_key(name)
    };
    let asked = units(stage, view).filter(|(name, _, _)| is_asked(name));
    let ready = asked.filter_map(|(name, unit, _)| {
        Some(Action::Ready {
            unit: name.clone(),
            registration: unit.registration.clone()?,
        })
    });
    steps.extend(ready);
    steps
}

/// The Node objects that are made or changed before anything of a node starts.
fn registers(stage: Stage, view: &View<'_>) -> Vec<Action> {
    let recorded = |name: &UnitName| {
        let recorded = view.snapshot.recorded.as_ref()?;
        recorded.manifest.units.get(name)?.registration.as_ref()
    };
    // A run that did not come to its end may have given the Node something else than is on record.
    let is_unknown = view.snapshot.begun.is_some();
    let changing = units(stage, view).filter_map(|(name, unit, _)| {
        let registration = unit.registration.as_ref()?;
        let starts = view.difference.units.contains_key(name);
        (starts || is_unknown || recorded(name) != Some(registration)).then(|| Action::Register {
            registration: registration.clone(),
            machine: machine(view),
        })
    });
    changing.collect()
}

fn machine(view: &View<'_>) -> Option<String> {
    let identity = view.snapshot.machine.identity.as_ref()?;
    Some(identity.machine.clone())
}

/// Whether systemd must read a unit file again that no unit is restarted for: what it applies to a
/// running service, whom that may talk to, holds from then on.
fn rereads(stage: Stage, view: &View<'_>, operations: &[FileOperation]) -> bool {
    if view.difference.is_empty() {
        return false;
    }
    let mut quiet = units(stage, view)
        .filter(|(name, _, _)| !view.difference.units.contains_key(*name))
        .filter(|unit| is_active(*unit));
    quiet.any(|(_, unit, state)| {
        let is_its_file = |put: &FileOperation| matches!(put, FileOperation::Entry(path, _) if unit.is_file(path));
        let is_stale = state.is_some_and(|state| state.stale);
        is_stale || operations.iter().any(is_its_file)
    })
}

/// No transaction rolls back by itself.
pub(super) fn keep_forward(waves: &mut [Wave]) {
    let groups = waves.iter_mut().flat_map(|wave| &mut wave.groups);
    for action in groups.flat_map(|group| group.steps.values_mut().flatten()) {
        if let Action::Transaction(transaction) = action {
            transaction.back = None;
        }
    }
}

/// The questions whether a node's units of a stage are healthy: those that ran before, and all of
/// them once the node had its turn. What was down and waits for its turn is not asked.
pub(super) fn questions(stage: Stage, view: &View<'_>, done: bool) -> Vec<Action> {
    units(stage, view)
        .filter(|unit| done || is_active(*unit))
        .map(|(name, unit, _)| Action::Await {
            unit: name.clone(),
            probe: unit.probe.clone(),
            settle: false,
        })
        .collect()
}

/// A unit that a node should have, and how it is.
type Member<'a> = (&'a UnitName, &'a Unit, Option<&'a UnitState>);

/// The units of a stage, in the order of the table of components.
fn units<'a>(stage: Stage, view: &View<'a>) -> impl Iterator<Item = Member<'a>> {
    let states = &view.snapshot.units;
    let units = view.manifest.units.iter();
    let mut units: Vec<_> = units.filter(|(_, unit)| unit.stage == stage).collect();
    units.sort_by_key(|(_, unit)| component::rank(&unit.component));
    units
        .into_iter()
        .map(|(name, unit)| (name, unit, states.get(name)))
}

fn is_active((_, _, state): Member<'_>) -> bool {
    state.is_some_and(UnitState::is_active)
}

fn runs_anywhere(stage: Stage, views: &BTreeMap<NodeName, View<'_>>) -> bool {
    views.values().any(|view| units(stage, view).any(is_active))
}
