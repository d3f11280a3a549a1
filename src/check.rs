//! What can be known to be wrong before anything is contacted: the final command line of every
//! unit, the user's words included, and what an upgrade would break. Pure: an inventory in,
//! findings out, all of them at once.

pub mod cis;
mod command;
mod environment;
mod event;
mod exec_start;
mod own;
mod reliance;
mod runtime;
mod step;
mod upgrade;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

pub use self::event::{EVENTS, Event};
pub use self::own::bad_texts;
pub use self::step::{Change, Step, entered};
pub use self::upgrade::{NoPath, Path, upgrade};

use crate::component::COMPONENTS;
use crate::flags::Severity;
use crate::inventory::{self, Inventory, NodeName};
use crate::version::Version;

/// Something wrong with what an inventory says, or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The component it is about; none where it is about the cluster.
    pub component: Option<&'static str>,
    /// That component's version.
    pub version: Version,
    /// The nodes it holds for.
    pub nodes: BTreeSet<NodeName>,
    /// Where the inventory says so, in bytes of the file; nowhere if it says nothing of it.
    pub place: Option<Range<usize>>,
    /// What is wrong, as a fragment of a sentence.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Everything that is wrong with the command lines of an inventory, and with the versions of what
/// runs containers.
pub fn command_lines(inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in inventory.nodes.values() {
        merge(&mut findings, runtime::findings(inventory, node));
        for component in COMPONENTS {
            if inventory.gets(component, node) {
                let found = command::findings(inventory, node, component);
                merge(&mut findings, found);
            }
        }
    }
    findings
}

/// The same words on several nodes are wrong once.
fn merge(findings: &mut Vec<Finding>, found: Vec<Finding>) {
    for finding in found {
        let same = findings.iter_mut().find(|other| {
            (other.component, other.version) == (finding.component, finding.version)
                && (&other.place, &other.message) == (&finding.place, &finding.message)
        });
        match same {
            Some(other) => other.nodes.extend(finding.nodes),
            None => findings.push(finding),
        }
    }
}

impl Finding {
    /// The same, as it is shown in the inventory.
    pub fn problem(&self, inventory: &Inventory) -> inventory::Problem {
        let place = self.place.clone();
        let place = place.unwrap_or_else(|| inventory.places.kubernetes.clone());
        let problem = inventory::Problem::new(place, self.subject(inventory), &self.message);
        let problem = problem.maybe_help(self.help.clone());
        if self.severity == Severity::Warning {
            problem.warning()
        } else {
            problem
        }
    }

    /// What it is about: the component and its version, and the nodes unless it is all of them.
    pub fn subject(&self, inventory: &Inventory) -> String {
        let Some(component) = self.component else {
            return "this cluster".to_owned();
        };
        let component_row = crate::component::named(component);
        let nodes = inventory.nodes.values();
        let all = component_row.map_or(0, |it| {
            nodes.filter(|node| inventory.gets(it, node)).count()
        });
        let (version, nodes) = (self.version, &self.nodes);
        if nodes.len() == all {
            return format!("{component} {version}");
        }
        let nodes: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
        format!("{component} {version} on {}", nodes.join(", "))
    }
}
