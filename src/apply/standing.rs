//! What runs on each node where a run ended early: what this run restarted, and what is as it was.

use std::collections::BTreeMap;

use super::{Error, Passed, Run, StepError};
use crate::action::{Action, Group};
use crate::inventory::NodeName;
use crate::manifest::UnitName;

/// What became of a node, beyond what the run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It is at this generation again.
    Back(u64),
    /// A service failed, and what is new is in place.
    Failed(UnitName),
}

/// The services of a node that a run was to restart, in that order, each with its version where that
/// changes, and whether the run has come past it.
type Services = Vec<(String, bool)>;

/// A line for each node on which services were to be restarted; none where none was yet.
pub(super) fn told(run: &Run<'_>, passed: &Passed<'_>, errors: &[Error]) -> Vec<String> {
    let mut nodes = BTreeMap::<&NodeName, Services>::new();
    let groups = run.plan.waves.iter().flat_map(|wave| &wave.groups);
    for (group, (node, actions)) in groups.flat_map(|it| it.steps.iter().map(move |at| (it, at))) {
        let is_this =
            |(it, whose): &(&Group, &NodeName)| std::ptr::eq(*it, group) && *whose == node;
        let is_passed = passed.iter().any(is_this);
        let units = actions.iter().flat_map(Action::starts).map(|it| &it.unit);
        let services = units.map(|unit| (label(run, node, unit), is_passed));
        nodes.entry(node).or_default().extend(services);
    }
    let fates: BTreeMap<&NodeName, Fate> = errors.iter().filter_map(fate).collect();
    let begun = nodes.values().flatten().any(|(_, is_passed)| *is_passed);
    if !begun && fates.is_empty() {
        return Vec::new();
    }
    nodes.retain(|_, services| !services.is_empty());
    let line = |(node, services)| line(node, services, fates.get(node));
    nodes
        .iter()
        .map(|(node, services)| line((*node, services)))
        .collect()
}

fn fate(error: &Error) -> Option<(&NodeName, Fate)> {
    match error {
        Error::Reverted {
            node, generation, ..
        } => Some((node, Fate::Back(*generation))),
        Error::Step { failure, .. } | Error::NotReverted { failure, .. } => match failure {
            StepError::Unhealthy(it) => Some((&it.node, Fate::Failed(it.unit.clone()))),
            _ => None,
        },
        _ => None,
    }
}

fn label(run: &Run<'_>, node: &NodeName, unit: &UnitName) -> String {
    let name = unit.as_str().trim_end_matches(".service");
    let recorded = run.snapshots[node].recorded.as_ref();
    let before = recorded.and_then(|it| it.manifest.versions.get(name));
    let manifest = run.desired.manifests.get(node);
    match manifest.and_then(|it| it.versions.get(name)) {
        Some(after) if before != Some(after) => format!("{name} {after}"),
        _ => name.to_owned(),
    }
}

fn line(node: &NodeName, services: &Services, fate: Option<&Fate>) -> String {
    let failed = match fate {
        Some(Fate::Back(generation)) => {
            return format!("{node}: as before, generation {generation}");
        }
        Some(Fate::Failed(unit)) => Some(unit.as_str().trim_end_matches(".service")),
        None => None,
    };
    let is_failed = |label: &str| failed.is_some() && label.split(' ').next() == failed;
    let of = |is_new: bool| {
        let services = services
            .iter()
            .filter(|(label, passed)| !is_failed(label) && *passed == is_new);
        let labels: Vec<&str> = services.map(|(label, _)| label.as_str()).collect();
        labels.join(", ")
    };
    let mut parts = Vec::new();
    let (new, old) = (of(true), of(false));
    if !new.is_empty() {
        parts.push(format!("{new} restarted by this run and healthy"));
    }
    if let Some(name) = failed {
        parts.push(format!("{name} failed"));
    }
    if parts.is_empty() {
        return format!("{node}: as before");
    }
    // What was begun together with the one that failed is neither.
    if !old.is_empty() && failed.is_none() {
        // The version that would have come is not what runs.
        let names: Vec<&str> = old
            .split(", ")
            .filter_map(|it| it.split(' ').next())
            .collect();
        parts.push(format!("{} as before", names.join(", ")));
    }
    format!("{node}: {}", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_told_in_a_line() {
        let node: NodeName = "az1".parse().unwrap();
        let services = |passed: [bool; 2]| -> Services {
            let labels = ["kube-apiserver 1.33.1", "kube-scheduler 1.33.1"];
            labels
                .map(ToOwned::to_owned)
                .into_iter()
                .zip(passed)
                .collect()
        };
        let check = |passed, fate: Option<Fate>, due: &str| {
            assert_eq!(line(&node, &services(passed), fate.as_ref()), due);
        };
        check([false, false], None, "az1: as before");
        check(
            [true, false],
            None,
            "az1: kube-apiserver 1.33.1 restarted by this run and healthy; kube-scheduler as before",
        );
        check(
            [true, false],
            Some(Fate::Failed("kube-scheduler.service".parse().unwrap())),
            "az1: kube-apiserver 1.33.1 restarted by this run and healthy; kube-scheduler failed",
        );
        check(
            [false, false],
            Some(Fate::Back(3)),
            "az1: as before, generation 3",
        );
    }
}
