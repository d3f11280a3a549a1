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
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use crate::component;
use crate::inventory::{Inventory, NodeName};
use crate::manifest::Desired;
use crate::plain;
use crate::plan::View;
use crate::remote_path::RemotePath;

pub use listen::Holder;

/// The most characters of what is told of one finding: a node may have given it any name.
const WORDS_CHARS_MAX: usize = 4000;

/// Something that a run will run into, or that somebody should know before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{node}: {text}")]
#[diagnostic(help("{help}"))]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its name, for anyone who reads JSON.
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
            // Where nobody listens, there is nothing to contest.
            if view.snapshot.machine.listeners.is_empty() {
                return None;
            }
            let starts = listen::starts(self.inventory, name, view);
            let contests = listen::contests(&starts, view);
            let inodes: BTreeSet<u64> = contests.iter().map(|it| it.listener.inode).collect();
            (!inodes.is_empty()).then(|| (name.clone(), inodes))
        };
        self.views.iter().filter_map(of).collect()
    }

    /// Everything that was found, what is worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = identity::findings(self.views);
        let left_out = self.inventory.nodes.keys();
        let left_out: Vec<&str> = left_out
            .filter(|name| !self.views.contains_key(*name))
            .map(NodeName::as_str)
            .collect();
        for (name, view) in self.views {
            let node = Node {
                inventory: self.inventory,
                name,
                view,
            };
            findings.extend(node.ways());
            findings.extend(node.unknown_to(&left_out));
            if view.difference.is_empty() {
                continue;
            }
            findings.extend(node.stopping());
            findings.extend(place::findings(&node));
            findings.extend(room::findings(&node));
            findings.extend(worker::findings(&node));
            let starts = listen::starts(self.inventory, name, view);
            findings.extend(listen::addresses(&node, &starts));
            findings.extend(listen::ports(&node, &starts, self.holders.get(name)));
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
            text: plain::cut(text, WORDS_CHARS_MAX),
            help: plain::cut(help, WORDS_CHARS_MAX),
        }
    }

    fn warning(&self, name: &'static str, text: String, help: String) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..self.error(name, text, help)
        }
    }

    /// What keeps the ways to other nodes' Pods there may be down, or not able to.
    fn ways(&self) -> Option<Finding> {
        let ways = &self.view.snapshot.ways;
        (!ways.is_empty()).then(|| {
            let text = format!("the network of Pods is not whole: {}", ways.join(", "));
            let help = "a push starts what puts it back, where that does not run; where it does, it says why it \
                        cannot: `journalctl -u kinstall-network` on the node";
            self.warning("pod-network", text, help.to_owned())
        })
    }

    /// Nodes that are left out do not learn the way to the Pods of one that comes.
    fn unknown_to(&self, others: &[&str]) -> Option<Finding> {
        if others.is_empty() {
            return None;
        }
        let before = self.view.snapshot.recorded.iter();
        let is_known = |path: &RemotePath| {
            before
                .clone()
                .any(|it| it.manifest.entries.contains_key(path))
        };
        let leads = |(_, path): &(_, RemotePath)| self.view.manifest.entries.contains_key(path);
        let mut ways = component::of_ways().filter(leads);
        let has_pods = self
            .inventory
            .pod_range(&self.inventory.nodes[self.name])
            .is_some();
        let comes = has_pods && ways.any(|(_, path)| !is_known(&path));
        comes.then(|| {
            let text = format!(
                "nodes left out do not learn the way to its Pods: {}",
                others.join(", ")
            );
            let help = "push without `--limit`, too";
            self.warning("unknown-to-others", text, help.to_owned())
        })
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
