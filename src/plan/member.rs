//! The changes of etcd's members, put where they have their turn: who leaves goes before anything
//! that runs is touched, who comes joins when everything else of etcd is as it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Stages, View, wave};
use crate::action::{Action, Group, MemberAction, Steps, Transaction};
use crate::inventory::NodeName;
use crate::manifest::Stage;
use crate::membership::{Change, Changes, Join};

/// What is done before any member that runs is touched: who leaves and who has moved, each with a
/// turn of its own.
pub(super) fn before_others(changes: &Changes) -> Vec<Group> {
    let rest = |from: usize| {
        let later = changes.steps.get(from + 1..).unwrap_or_default();
        let down = later.iter().filter_map(|step| match step {
            Change::Remove {
                id,
                is_healthy: false,
                ..
            } => Some(*id),
            _ => None,
        });
        down.collect::<BTreeSet<u64>>()
    };
    let others = changes.steps.iter().enumerate();
    let others = others.filter(|(_, step)| !matches!(step, Change::Join(_)));
    others
        .filter_map(|(index, step)| told(changes, MemberAction::before(step, rest(index))?))
        .collect()
}

/// Who joins, one after the other: let in without a vote, started, and given the vote once it has
/// caught up.
pub(super) fn joins(
    stages: Stages,
    views: &BTreeMap<NodeName, View<'_>>,
    changes: &Changes,
) -> Vec<Group> {
    let mut groups = Vec::new();
    for step in &changes.steps {
        let Change::Join(join) = step else { continue };
        let Some(view) = views.get(&join.node) else {
            continue;
        };
        let added = MemberAction::before(step, BTreeSet::new());
        groups.extend(added.and_then(|added| told(changes, added)));
        groups.extend(alone(&join.node, starts(stages, view, join)));
        if join.promote {
            let (name, peer_url) = (join.node.clone(), join.peer_url.clone());
            groups.extend(told(changes, MemberAction::Promote { name, peer_url }));
        }
        groups.extend(alone(&join.node, wave::questions(Stage::Etcd, view, true)));
    }
    groups
}

/// Everything of the new member's turn but the question whether it is healthy: a learner has no
/// answer to that.
fn starts(stages: Stages, view: &View<'_>, join: &Join) -> Vec<Action> {
    let steps = wave::steps(Stage::Etcd, stages, view, true).into_iter();
    let mut told = Vec::new();
    for step in steps.filter(|step| !matches!(step, Action::Await { .. })) {
        let Some(initial_cluster) = &join.initial_cluster else {
            told.push(step);
            continue;
        };
        let Action::Transaction(transaction) = step else {
            told.push(step);
            continue;
        };
        // What is enlisted is a unit that is in place already.
        let Steps { operations, starts } = transaction.forward;
        if !operations.is_empty() {
            told.push(Action::Install(operations));
        }
        told.extend(starts.iter().map(|start| Action::Enlist {
            unit: start.unit.clone(),
            initial_cluster: initial_cluster.clone(),
        }));
        let forward = Steps {
            operations: Vec::new(),
            starts,
        };
        told.push(Action::Transaction(Box::new(Transaction {
            forward,
            back: None,
        })));
    }
    told
}

fn told(changes: &Changes, action: MemberAction) -> Option<Group> {
    alone(changes.speaker.as_ref()?, vec![Action::Member(action)])
}

fn alone(node: &NodeName, steps: Vec<Action>) -> Option<Group> {
    (!steps.is_empty()).then(|| Group {
        steps: [(node.clone(), steps)].into(),
    })
}
