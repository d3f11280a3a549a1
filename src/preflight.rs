//! The first look: everything that a run will need of its nodes, asked before anything is staged or
//! changed. Pure: what nodes tell stands in their snapshots. A node on which nothing is to be done is
//! refused nothing.

mod clock;
mod identity;
mod listen;
mod place;
mod room;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Inventory, NodeName};
use crate::manifest::Desired;
use crate::plan::View;

pub use listen::Holder;

/// Something that a run will run into, or that somebody should know before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{node}: {text}")]
#[diagnostic(help("{help}"))]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its name, for whoever reads JSON.
    pub name: &'static str,
    /// The node.
    pub node: NodeName,
    /// What was found.
    pub text: String,
    /// What mends it.
    pub help: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, and may not be what was meant.
    Warning,
    /// The run would fail.
    Error,
    /// No run with this inventory can go well.
    Inventory,
}

/// What is looked at.
pub struct Look<'a> {
    /// What was asked for.
    pub inventory: &'a Inventory,
    /// What each node should hold, and the contents.
    pub desired: &'a Desired,
    /// The nodes.
    pub views: &'a BTreeMap<NodeName, View<'a>>,
    /// Whose the sockets are that [`Look::contested`] named, by node and inode.
    pub holders: BTreeMap<NodeName, BTreeMap<u64, Holder>>,
}

impl Look<'_> {
    /// The sockets, by node, of which it matters whose they are: they are where a unit will listen
    /// that is to be started.
    pub fn contested(&self) -> BTreeMap<NodeName, BTreeSet<u64>> {
        let of = |(name, view): (&NodeName, &View<'_>)| {
            let contests = listen::contests(self.inventory, name, view);
            let inodes: BTreeSet<u64> = contests.iter().map(|it| it.listener.inode).collect();
            (!inodes.is_empty()).then(|| (name.clone(), inodes))
        };
        self.views.iter().filter_map(of).collect()
    }

    /// Everything that was found, what is worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = identity::findings(self.views);
        for (name, view) in self.views {
            if view.difference.is_empty() {
                continue;
            }
            let node = Node {
                inventory: self.inventory,
                name,
                view,
            };
            findings.extend(node.stopping());
            findings.extend(place::findings(&node));
            findings.extend(room::findings(&node));
            findings.extend(listen::addresses(&node));
            findings.extend(listen::ports(&node, self.holders.get(name)));
            findings.extend(clock::certificates(&node, self.desired));
        }
        findings.extend(clock::differences(self.views));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}

/// One node on which something is to be done.
struct Node<'a> {
    inventory: &'a Inventory,
    name: &'a NodeName,
    view: &'a View<'a>,
}

impl Node<'_> {
    fn error(&self, name: &'static str, text: String, help: String) -> Finding {
        Finding {
            severity: Severity::Error,
            name,
            node: self.name.clone(),
            text,
            help,
        }
    }

    fn warning(&self, name: &'static str, text: String, help: String) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..self.error(name, text, help)
        }
    }

    /// A system that is on its way down starts nothing any more (`systemctl(1)`, `is-system-running`).
    fn stopping(&self) -> Option<Finding> {
        (self.view.snapshot.machine.state == "stopping").then(|| {
            let text = "it is shutting down".to_owned();
            let help = "push again when it is up: `systemctl is-system-running` on the node then says \
                        `running` or `degraded`";
            self.error("shutting-down", text, help.to_owned())
        })
    }
}
