//! Which nodes are one machine.

use std::collections::BTreeMap;

use super::{Finding, Severity};
use crate::inventory::NodeName;
use crate::machine::Identity;
use crate::plan::View;

/// Machines that stand in the inventory twice, and machines that cannot be told apart by what their
/// system is known by.
pub(super) fn findings(views: &BTreeMap<NodeName, View<'_>>) -> Vec<Finding> {
    let identities = views.iter().filter_map(|(name, view)| {
        let identity = view.snapshot.machine.identity.as_ref()?;
        (!identity.boot.is_empty()).then_some((name, identity))
    });
    let mut findings = Vec::new();
    let mut seen: BTreeMap<&Identity, &NodeName> = BTreeMap::new();
    let mut systems: BTreeMap<&str, Vec<&NodeName>> = BTreeMap::new();
    for (name, identity) in identities {
        if let Some(first) = seen.get(identity) {
            findings.push(Finding {
                severity: Severity::Inventory,
                name: "one-machine",
                node: name.clone(),
                text: format!("{first} and {name} are one machine"),
                help: format!(
                    "each node is a machine of its own: look at `address` and `[node.ssh] host` of \
                     {first} and {name} in the inventory, or take one of them out"
                ),
            });
            continue;
        }
        seen.insert(identity, name);
        if identity.is_told() {
            systems.entry(&identity.machine).or_default().push(name);
        }
    }
    for (_, names) in systems.into_iter().filter(|(_, names)| names.len() > 1) {
        let all: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        findings.push(Finding {
            severity: Severity::Warning,
            name: "cloned-machine-id",
            node: names[0].clone(),
            text: format!(
                "{} have the same `/etc/machine-id`: one disk was copied",
                all.join(", ")
            ),
            help: "on all but one of them: `rm /etc/machine-id && systemd-machine-id-setup`, then \
                   start it again"
                .to_owned(),
        });
    }
    findings
}

impl Identity {
    /// Whether the system has been given its own number yet (`machine-id(5)`).
    fn is_told(&self) -> bool {
        !["", "uninitialized"].contains(&self.machine.as_str())
    }
}
