//! What runs on each node where a run ended early: what this run restarted, and what is as it was.

use std::collections::BTreeMap;

use super::{Error, Passed, Run, StepError};
use crate::action::{Action, Group};
use crate::inventory::NodeName;
use crate::manifest::UnitName;

/// What became of a node, beyond what the run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It is at this generation again.
    Back(u64),
    /// A service failed, and what is new is in place.
    Failed(UnitName),
}

/// A service that a run was to restart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    name: String,
    /// The new version, where that changes.
    version: Option<String>,
    /// Whether the run has come past it.
    passed: bool,
}

impl Service {
    fn label(&self) -> String {
        let version = self.version.iter().map(|version| format!(" {version}"));
        self.name.clone() + &version.collect::<String>()
    }
}

/// A line for each node on which services were to be restarted; none where none was yet.
pub(super) fn told(run: &Run<'_>, passed: &Passed<'_>, errors: &[Error]) -> Vec<String> {
    let mut nodes = BTreeMap::<&NodeName, Vec<Service>>::new();
    let groups = run.plan.waves.iter().flat_map(|wave| &wave.groups);
    for (group, (node, actions)) in groups.flat_map(|it| it.steps.iter().map(move |at| (it, at))) {
        let is_this =
            |(it, whose): &(&Group, &NodeName)| std::ptr::eq(*it, group) && *whose == node;
        let passed = passed.iter().any(is_this);
        let units = actions.iter().flat_map(Action::starts).map(|it| &it.unit);
        let services = units.map(|unit| service(run, node, unit, passed));
        nodes.entry(node).or_default().extend(services);
    }
    let outcomes: BTreeMap<&NodeName, Outcome> = errors.iter().filter_map(outcome).collect();
    let begun = nodes.values().flatten().any(|service| service.passed);
    if !begun && outcomes.is_empty() {
        return Vec::new();
    }
    nodes.retain(|_, services| !services.is_empty());
    let line = |(node, services)| line(node, services, outcomes.get(node));
    nodes
        .iter()
        .map(|(node, services)| line((*node, services)))
        .collect()
}

fn outcome(error: &Error) -> Option<(&NodeName, Outcome)> {
    match error {
        Error::Reverted {
            node, generation, ..
        } => Some((node, Outcome::Back(*generation))),
        Error::Step { failure, .. } | Error::NotReverted { failure, .. } => match failure {
            StepError::Unhealthy(it) => Some((&it.node, Outcome::Failed(it.unit.clone()))),
            _ => None,
        },
        _ => None,
    }
}

fn service(run: &Run<'_>, node: &NodeName, unit: &UnitName, passed: bool) -> Service {
    let name = name(unit).to_owned();
    let recorded = run.snapshots[node].recorded.as_ref();
    let before = recorded.and_then(|it| it.manifest.versions.get(&name));
    let manifest = run.desired.manifests.get(node);
    let after = manifest.and_then(|it| it.versions.get(&name));
    Service {
        version: after.filter(|after| before != Some(*after)).cloned(),
        name,
        passed,
    }
}

fn name(unit: &UnitName) -> &str {
    unit.as_str().trim_end_matches(".service")
}

fn line(node: &NodeName, services: &[Service], outcome: Option<&Outcome>) -> String {
    let failed = match outcome {
        Some(Outcome::Back(generation)) => {
            return format!("{node}: as before, generation {generation}");
        }
        Some(Outcome::Failed(unit)) => Some(name(unit)),
        None => None,
    };
    let others = services
        .iter()
        .filter(|it| Some(it.name.as_str()) != failed);
    let (new, old): (Vec<&Service>, Vec<_>) = others.partition(|it| it.passed);
    let mut parts = Vec::new();
    if !new.is_empty() {
        let labels: Vec<String> = new.into_iter().map(Service::label).collect();
        parts.push(format!(
            "{} restarted by this run and healthy",
            labels.join(", ")
        ));
    }
    if let Some(name) = failed {
        parts.push(format!("{name} failed"));
    }
    if parts.is_empty() {
        return format!("{node}: as before");
    }
    // What was begun together with the one that failed is neither.
    if !old.is_empty() && failed.is_none() {
        let names: Vec<&str> = old.iter().map(|it| it.name.as_str()).collect();
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
        let services = |passed: [bool; 2]| {
            let names = ["kube-apiserver", "kube-scheduler"].into_iter();
            let services = names.zip(passed).map(|(name, passed)| Service {
                name: name.to_owned(),
                version: Some("1.33.1".to_owned()),
                passed,
            });
            services.collect::<Vec<_>>()
        };
        let check = |passed, outcome: Option<Outcome>, due: &str| {
            assert_eq!(line(&node, &services(passed), outcome.as_ref()), due);
        };
        check([false, false], None, "az1: as before");
        check(
            [true, false],
            None,
            "az1: kube-apiserver 1.33.1 restarted by this run and healthy; kube-scheduler as before",
        );
        check(
            [true, false],
            Some(Outcome::Failed("kube-scheduler.service".parse().unwrap())),
            "az1: kube-apiserver 1.33.1 restarted by this run and healthy; kube-scheduler failed",
        );
        check(
            [false, false],
            Some(Outcome::Back(3)),
            "az1: as before, generation 3",
        );
    }
}
