//! One step of an upgrade: from one inventory to the same one with later versions.

use std::collections::BTreeSet;

use super::event::EVENTS;
use super::{Finding, command, command_lines, merge};
use crate::component::{COMPONENTS, Component, Stage};
use crate::flags::Severity;
use crate::inventory::pairing::etcd_floor;
use crate::inventory::{Inventory, Node, Role, Setting};
use crate::manifest::By;
use crate::version::Version;

/// From one release of Kubernetes to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The release before.
    pub from: Version,
    /// The release after.
    pub to: Version,
    /// The etcd before.
    pub etcd_from: Version,
    /// The etcd after.
    pub etcd_to: Version,
    /// What breaks or changes, and what to do about it.
    pub findings: Vec<Finding>,
    /// What kinstall writes differently by itself, on some node.
    pub changes: BTreeSet<Change>,
}

/// A flag that kinstall writes differently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The component.
    pub component: &'static str,
    /// The flag.
    pub flag: String,
    /// Its value before; none if it was not written.
    pub before: Option<String>,
    /// Its value after; none if it is not written.
    pub after: Option<String>,
}

impl Step {
    /// What lies between two inventories that differ in their versions. `first` is the release
    /// that the whole upgrade begins with.
    pub(super) fn between(before: &Inventory, after: &Inventory, first: Version) -> Self {
        let mut findings = new(&command_lines(before), command_lines(after));
        merge(&mut findings, events(before, after));
        merge(&mut findings, new(&skew(before), skew(after)));
        merge(&mut findings, etcd(before, after));
        merge(&mut findings, builds(before, after));
        merge(&mut findings, kubelets(before, after, first));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self {
            from: before.cluster.kubernetes,
            to: after.cluster.kubernetes,
            etcd_from: before.cluster.etcd,
            etcd_to: after.cluster.etcd,
            findings,
            changes: changes(before, after),
        }
    }
}

/// What a change of versions brings beyond flags, from those of Kubernetes and etcd that run to
/// those of an inventory: nothing that is wrong with it, which [`command_lines`] finds.
pub fn entered(kubernetes: Version, etcd: Version, inventory: &Inventory) -> Vec<Finding> {
    let mut before = inventory.clone();
    before.cluster.kubernetes = kubernetes;
    before.cluster.etcd = etcd;
    events(&before, inventory)
}

/// Those that were not found before, whatever the versions in their words.
fn new(before: &[Finding], after: Vec<Finding>) -> Vec<Finding> {
    let timeless = |finding: &Finding| {
        let is_version = |char: char| char.is_ascii_digit() || char == '.';
        let message = finding.message.replace(is_version, "");
        (finding.component, finding.place.clone(), message)
    };
    let known: Vec<_> = before.iter().map(timeless).collect();
    let found = after.into_iter();
    found
        .filter(|finding| !known.contains(&timeless(finding)))
        .collect()
}

fn rows(inventory: &Inventory) -> impl Iterator<Item = (&Node, &'static Component)> {
    inventory.nodes.values().flat_map(|node| {
        let components = COMPONENTS.iter().copied();
        let of_node = components.filter(|component| inventory.gets(component, node));
        of_node.map(move |component| (node, component))
    })
}

fn finding(
    severity: Severity,
    (node, component, version): (&Node, &'static str, Version),
    message: String,
    help: impl Into<String>,
) -> Finding {
    Finding {
        severity,
        component: Some(component),
        version,
        nodes: BTreeSet::from([node.name.clone()]),
        place: None,
        message,
        help: Some(help.into()),
    }
}

/// The events of the lines that are entered.
fn events(before: &Inventory, after: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (node, component) in rows(after) {
        let (old, new) = (
            before.version(component.name, node),
            after.version(component.name, node),
        );
        let settings = after.component(component.name, node);
        for event in EVENTS.iter().filter(|it| it.component == component.name) {
            let entered = old.minor() < event.since && event.since <= new.minor();
            let etcd = after.cluster.etcd;
            let Some(word) = entered.then(|| event.concerns(&settings, etcd)).flatten() else {
                continue;
            };
            let mut found = finding(
                event.severity,
                (node, component.name, new),
                event.what.to_owned(),
                event.help,
            );
            let place = word.and_then(|word: Setting| settings.places.get(&word));
            found.place = place.map(|place| place.key.clone());
            findings.push(found);
        }
    }
    findings
}

/// Components whose own `version` keeps them too far from their kube-apiserver. Source: the
/// version skew policy of Kubernetes.
fn skew(after: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    let servers = || {
        let nodes = after.with_role(Role::ControlPlane);
        nodes.map(|node| after.version("kube-apiserver", node).minor)
    };
    let (Some(oldest), Some(newest)) = (servers().min(), servers().max()) else {
        return findings;
    };
    for node in after.with_role(Role::ControlPlane) {
        let mut check = |component: &'static str, least: u64, most: u64| {
            let version = after.version(component, node);
            if (least..=most).contains(&version.minor) {
                return;
            }
            let message =
                format!("{component} {version} cannot run beside kube-apiserver 1.{newest}");
            let help = format!("its own `version` must be of 1.{least} to 1.{most} by then");
            let row = (node, component, version);
            let mut found = finding(Severity::Error, row, message, help);
            let settings = after.component(component, node);
            let place = settings.places.get(&Setting::Version);
            found.place = place.map(|place| place.key.clone());
            findings.push(found);
        };
        for component in COMPONENTS
            .iter()
            .filter(|it| it.roles == [Role::ControlPlane])
        {
            let Some(skew) = component.track.skew() else {
                continue;
            };
            let least = newest.saturating_sub(skew.older);
            // kube-apiservers are among themselves what the others are to them.
            let is_server = component.stage() == Some(Stage::Apiserver);
            let most = if is_server {
                newest
            } else {
                oldest + skew.newer
            };
            check(component.name, least, most);
        }
    }
    findings
}

/// etcd goes one line at a time, and enters some lines from late releases of the one before only.
fn etcd(before: &Inventory, after: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in after.with_role(Role::Etcd) {
        let (old, new) = (before.version("etcd", node), after.version("etcd", node));
        let row = (node, "etcd", new);
        if new.minor > old.minor + 1 {
            let message = format!("etcd goes from {old} to {new}, past a minor version");
            let between = old.minor + 1;
            let help = format!("push once with `etcd` of 3.{between} in between");
            findings.push(finding(Severity::Error, row, message, help));
        }
        let line = new.minor();
        let floor = etcd_floor(line).filter(|floor| old.minor() < line && old < *floor);
        if let Some(floor) = floor {
            let message = format!("etcd {old} is too old to become {line}");
            let help = format!(
                "set `etcd = \"{floor}\"` or later and push, before the push that brings {line}; \
                 then leave `etcd` out again"
            );
            findings.push(finding(Severity::Error, row, message, help));
        }
    }
    findings
}

/// Builds that a release no longer has for an architecture, save for builds of one's own.
fn builds(before: &Inventory, after: &Inventory) -> Vec<Finding> {
    let gap = |inventory: &Inventory, node: &Node, component: &Component| {
        let upstreams = inventory.component(component.name, node).path.is_none();
        let release = component.release.as_ref().filter(|_| upstreams)?;
        let version = inventory.version(component.name, node);
        Some((release.gap(version, node.arch?)?.last?, node.arch?))
    };
    let found = rows(after).filter_map(|(node, component)| {
        let (last, arch) = gap(after, node, component)?;
        let is_new = gap(before, node, component).is_none();
        let name = component.name;
        let version = after.version(name, node);
        is_new.then(|| {
            finding(
                Severity::Error,
                (node, name, version),
                format!("there is no {name} {version} for {arch}"),
                format!(
                    "stay at {last}, install a 64-bit system, or name builds of your own by `path`"
                ),
            )
        })
    });
    found.collect()
}

/// Kubelets may be three minor versions older than kube-apiserver, two if they are older than
/// 1.25. Source: the version skew policy of Kubernetes. kinstall does not upgrade them.
fn kubelets(before: &Inventory, after: &Inventory, first: Version) -> Vec<Finding> {
    let reach = if first.minor < 25 { 2 } else { 3 };
    let too_old = |inventory: &Inventory| inventory.cluster.kubernetes.minor > first.minor + reach;
    if !too_old(after) || too_old(before) {
        return Vec::new();
    }
    let version = after.cluster.kubernetes;
    vec![Finding {
        severity: Severity::Warning,
        component: None,
        version,
        nodes: BTreeSet::new(),
        place: None,
        message: format!(
            "kubelets that are still at {} are too old for kube-apiserver {version}",
            first.minor()
        ),
        help: Some("upgrade the kubelets and kube-proxies of all nodes before this step".into()),
    }]
}

/// What kinstall writes differently by itself.
fn changes(before: &Inventory, after: &Inventory) -> BTreeSet<Change> {
    let mut changes = BTreeSet::new();
    for (node, component) in rows(after) {
        let flags = |inventory| {
            let command = command::previewed(inventory, node, component);
            let own = command.flags.into_iter();
            own.filter(|given| given.by == By::Kinstall)
                .map(|given| (given.name, given.value))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let (old, new) = (flags(before), flags(after));
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for flag in names {
            let (before, after) = (old.get(flag).cloned(), new.get(flag).cloned());
            if before != after {
                changes.insert(Change {
                    component: component.name,
                    flag: flag.clone(),
                    before,
                    after,
                });
            }
        }
    }
    changes
}
