//! What is remembered of runs, one line of JSON each: in `kinstall.history` beside the inventory, and
//! on each node that a run changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::inventory::NodeName;
use crate::plain::count;

/// The outcome of a run that went well.
pub const DONE: &str = "done";
/// What a node has as the outcome of a run that it never heard the end of.
pub const BEGUN: &str = "begun, and its end is not known here";

/// One run that changed something, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// Its name, the same wherever it is remembered.
    #[serde(default)]
    pub run: String,
    /// When it ended, or on a node began, in seconds since 1970.
    pub at: i64,
    /// Who ran it, where.
    pub who: String,
    /// The inventory's file, on that machine.
    #[serde(default)]
    pub from: String,
    /// The digest of the inventory's text.
    #[serde(default)]
    pub inventory: String,
    /// The command.
    pub command: String,
    /// The Kubernetes version of the inventory.
    pub kubernetes: String,
    /// The etcd version of the inventory.
    pub etcd: String,
    /// The nodes that changed, or should have.
    pub nodes: Vec<String>,
    /// What changed on each.
    #[serde(default)]
    pub changes: BTreeMap<String, Changes>,
    /// `done`, or what went wrong.
    pub outcome: String,
}

/// What a run changes on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Changes {
    /// How many files, directories and links.
    pub entries: usize,
    /// The units that are started or restarted.
    pub units: BTreeSet<String>,
    /// The generation that it had on record before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

impl Entry {
    /// What one node writes down.
    #[must_use]
    pub fn on(&self, node: &NodeName, outcome: &str) -> Self {
        let name = node.to_string();
        let changes = self.changes.get(&name).cloned().unwrap_or_default();
        Self {
            nodes: vec![name.clone()],
            changes: [(name, changes)].into(),
            outcome: outcome.to_owned(),
            ..self.clone()
        }
    }

    /// What `journal.sh` reads.
    pub fn lines(&self) -> String {
        format!("{}\n{}\nend\n", self.run, self.json())
    }

    /// As a line of JSON, without its end.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("an entry is texts and numbers")
    }

    /// All runs of a journal; lines that cannot be understood are left out.
    pub fn all(journal: &str) -> Vec<Self> {
        let lines = journal.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// As a person reads it, after its time.
    pub fn text(&self) -> String {
        let Self {
            who,
            command,
            kubernetes,
            etcd,
            nodes,
            outcome,
            ..
        } = self;
        let units: BTreeSet<&str> = self
            .changes
            .values()
            .flat_map(|changes| changes.units.iter().map(String::as_str))
            .collect();
        // A node may tell any number.
        let entries = self.changes.values().map(|changes| changes.entries);
        let entries = entries.fold(0, usize::saturating_add);
        let mut changed = match entries {
            0 => String::new(),
            some => count(some, "file"),
        };
        for unit in units {
            if !changed.is_empty() {
                changed.push(' ');
            }
            changed.push_str(unit.trim_end_matches(".service"));
        }
        if !changed.is_empty() {
            changed = format!("  [{changed}]");
        }
        let from = if self.from.is_empty() {
            String::new()
        } else {
            format!(", {}", self.from)
        };
        let nodes = nodes.join(" ");
        format!(
            "{command}  kubernetes {kubernetes}, etcd {etcd}  {nodes}{changed}  {outcome}  ({who}{from})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"at":1,"who":"a@b","command":"push","kubernetes":"1.32.3","etcd":"3.5.21","nodes":["n1"],"outcome":"done"}"#;

    #[test]
    fn lines_of_older_programs_are_understood_and_halves_left_out() {
        let journal = format!("{OLD}\n{{\"at\":\n");
        let all = Entry::all(&journal);
        assert_eq!(all.len(), 1);
        assert_eq!(
            all[0].text(),
            "push  kubernetes 1.32.3, etcd 3.5.21  n1  done  (a@b)"
        );
    }

    #[test]
    fn a_node_remembers_what_changed_on_it_alone() {
        let mut entry = Entry::all(OLD).remove(0);
        let changes = |units: &[&str]| Changes {
            entries: 2,
            units: units.iter().map(ToString::to_string).collect(),
            before: Some(4),
        };
        entry.changes = [
            ("n1".to_owned(), changes(&["etcd.service"])),
            ("n2".to_owned(), changes(&["kube-scheduler.service"])),
        ]
        .into();
        let on = entry.on(&"n2".parse().unwrap(), BEGUN);
        assert_eq!(on.nodes, ["n2"]);
        assert_eq!(on.changes.len(), 1);
        assert!(on.text().contains("n2  [2 files kube-scheduler]  begun"));
    }
}
