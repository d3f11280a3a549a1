//! What `plan` and `push` show before anything is touched: every change on every node, as text and
//! as JSON of the same shape.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use serde::Serialize;

use super::in_the_way::{InTheWay, of as in_the_way};
use crate::action::Action;
use crate::certificate::describe::{Summary, summary};
use crate::diff::{ChangeKind, Reason};
use crate::digest::Digest;
use crate::inventory::NodeName;
use crate::manifest::{Content, Desired, Kind};
use crate::plain;
use crate::plan::{Plan, View, generation};
use crate::preflight::Finding;
use crate::remote_path::RemotePath;
use crate::snapshot::FoundKind;

/// A plan, told. Its JSON form is documented in docs/json.md and changes only by additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The cluster's name.
    pub cluster: String,
    /// Whether anything is to be done.
    pub changes: bool,
    /// Each node on which something is to be done.
    pub nodes: Vec<NodeListing>,
    /// How the members of etcd change.
    pub members: Vec<String>,
    /// What stays on machines that the inventory does not have any more.
    pub remains: Vec<String>,
    /// What somebody else made that is in the way of units, and what is dropped into them.
    pub in_the_way: Vec<InTheWay>,
    /// What the first look at the nodes found doubtful.
    pub warnings: Vec<WarningListing>,
    /// The order: each wave, and in it the groups of nodes that are worked on at the same time.
    pub order: Vec<WaveListing>,
}

/// Something doubtful about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarningListing {
    /// Its name: `clock`, `cloned-machine-id`.
    pub name: &'static str,
    /// The node.
    pub node: String,
    /// What was found.
    pub message: String,
    /// What mends it.
    pub help: String,
}

impl WarningListing {
    /// Tells a finding.
    pub fn of(finding: &Finding) -> Self {
        Self {
            name: finding.name,
            node: finding.node.to_string(),
            message: finding.text.clone(),
            help: finding.help.clone(),
        }
    }
}

/// What changes on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeListing {
    /// Its name.
    pub node: String,
    /// Its architecture.
    pub arch: String,
    /// The generation this will be.
    pub generation: u64,
    /// Bytes that its store lacks, unpacked.
    pub staging_bytes: u64,
    /// Whether its Pods are moved to other nodes first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drains: bool,
    /// Entries.
    pub entries: Vec<EntryListing>,
    /// Units.
    pub units: Vec<UnitListing>,
}

/// What happens to one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryListing {
    /// Its path.
    pub path: String,
    /// `create`, `replace`, `attributes` or `remove`.
    pub change: &'static str,
    /// Whether this undoes a change made by hand.
    pub drift: bool,
    /// Whether this replaces something that kinstall did not put there.
    pub unmanaged: bool,
    /// What becomes of it, in a few words; never anything of a secret.
    pub detail: String,
    /// For a text that is no secret: the lines that change, as a unified diff.
    pub diff: Option<String>,
}

/// What happens to one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitListing {
    /// Its name.
    pub unit: String,
    /// `start` or `restart`.
    pub action: &'static str,
    /// Why.
    pub reason: String,
}

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaveListing {
    /// Its name.
    pub wave: &'static str,
    /// Nodes that are worked on at the same time, group after group.
    pub groups: Vec<Vec<String>>,
}

/// Tells a plan. `present` holds the texts that lie on the nodes now, as far as they were read.
pub fn of(
    cluster: &str,
    plan: &Plan,
    views: &BTreeMap<NodeName, View<'_>>,
    desired: &Desired,
    present: &BTreeMap<(NodeName, RemotePath), String>,
) -> Listing {
    let changing = views.iter().filter(|(_, view)| !view.difference.is_empty());
    let drained = drained(plan);
    let nodes = changing
        .map(|(name, view)| NodeListing {
            drains: drained.contains(name),
            ..node(name, view, desired, present)
        })
        .collect();
    let order = plan.waves.iter().map(|wave| WaveListing {
        wave: wave.name.name(),
        groups: wave.groups.iter().filter_map(touched).collect(),
    });
    Listing {
        cluster: cluster.to_owned(),
        changes: !plan.is_empty(),
        nodes,
        members: plan.members.clone(),
        remains: Vec::new(),
        in_the_way: views
            .iter()
            .flat_map(|(name, view)| in_the_way(name, view, present))
            .collect(),
        warnings: Vec::new(),
        order: order.collect(),
    }
}

/// The nodes whose Pods are moved away.
fn drained(plan: &Plan) -> BTreeSet<&NodeName> {
    let groups = plan.waves.iter().flat_map(|wave| &wave.groups);
    let turns = groups.flat_map(|group| &group.steps);
    let drains = |step: &Action| matches!(step, Action::Drain { .. });
    let drained = turns.filter(|(_, steps)| steps.iter().any(drains));
    drained.map(|(node, _)| node).collect()
}

/// The nodes of a group on which more is done than asking and telling.
fn touched(group: &crate::action::Group) -> Option<Vec<String>> {
    let talks = |it: &Action| {
        matches!(
            it,
            Action::Await { .. } | Action::Lead { .. } | Action::Ready { .. } | Action::Member(_)
        )
    };
    let asks = |actions: &Vec<Action>| actions.iter().all(talks);
    let nodes = group.steps.iter().filter(|(_, actions)| !asks(actions));
    let nodes: Vec<String> = nodes.map(|(node, _)| node.to_string()).collect();
    (!nodes.is_empty()).then_some(nodes)
}

fn node(
    name: &NodeName,
    view: &View<'_>,
    desired: &Desired,
    present: &BTreeMap<(NodeName, RemotePath), String>,
) -> NodeListing {
    let size = |digest: &Digest| match desired.contents.get(digest) {
        Some(Content::Inline(bytes)) => bytes.expose().len() as u64,
        Some(Content::Fetched { size, .. }) => *size,
        None => 0,
    };
    let entries = view
        .difference
        .entries
        .iter()
        .map(|(path, change)| EntryListing {
            path: path.to_string(),
            change: match change.kind {
                ChangeKind::Create => "create",
                ChangeKind::Replace => "replace",
                ChangeKind::Attributes => "attributes",
                ChangeKind::Remove => "remove",
            },
            drift: change.drift,
            unmanaged: change.unmanaged,
            detail: detail(path, view, desired),
            diff: present
                .get(&(name.clone(), path.clone()))
                .and_then(|old| diff(path, old, view, desired)),
        });
    let units = view
        .difference
        .units
        .iter()
        .map(|(unit, activation)| UnitListing {
            unit: unit.to_string(),
            action: if activation.running {
                "restart"
            } else {
                "start"
            },
            reason: reason(
                &activation.reason,
                view.difference.intruders.get(unit).map(String::as_str),
            ),
        });
    NodeListing {
        node: name.to_string(),
        arch: view.manifest.arch.to_string(),
        generation: generation(view),
        staging_bytes: view.difference.missing.iter().map(size).sum(),
        drains: false,
        entries: entries.collect(),
        units: units.collect(),
    }
}

/// Why a unit is started; with what runs in its place, if anything does.
fn reason(reason: &Reason, intruder: Option<&str>) -> String {
    let intruder = plain::line(intruder.unwrap_or_default()).into_owned();
    let why = match reason {
        Reason::Intruder => return format!("it {intruder}"),
        Reason::NotRunning => "it does not run".to_owned(),
        Reason::NotEnabled => "it would not start with the machine".to_owned(),
        Reason::Outdated => "it runs on something else than what is in place".to_owned(),
        Reason::Changes(paths) => {
            let first = paths
                .iter()
                .next()
                .map(ToString::to_string)
                .unwrap_or_default();
            match paths.len() {
                1 => format!("{first} changes"),
                more => format!("{first} and {} more change", more - 1),
            }
        }
    };
    if intruder.is_empty() {
        return why;
    }
    format!("{why}; it {intruder}")
}

/// What becomes of an entry.
fn detail(path: &RemotePath, view: &View<'_>, desired: &Desired) -> String {
    let Some(entry) = view.manifest.entries.get(path) else {
        return String::new();
    };
    let owner = format!("{} {}:{}", entry.mode, entry.user, entry.group);
    let found = view.snapshot.entries.get(path);
    match &entry.kind {
        Kind::Directory => owner,
        Kind::Link { target } => match found.map(|found| &found.kind) {
            Some(FoundKind::Link { target: old }) => format!("{old} → {target}"),
            _ => format!("→ {target}"),
        },
        Kind::File { digest, .. } => match desired.contents.get(digest) {
            Some(Content::Fetched { of, size }) => {
                format!(
                    "{of}, {}, sha256 {}",
                    super::progress::size(*size),
                    digest.short()
                )
            }
            Some(Content::Inline(_)) if entry.secret => format!("secret, {owner}"),
            Some(Content::Inline(bytes)) => {
                let text = bytes.expose_text().unwrap_or_default();
                match summary(text, NAMES_SHOWN) {
                    Ok(certificate) => format!("{}, {owner}", in_words(&certificate)),
                    Err(_) => owner,
                }
            }
            None => owner,
        },
    }
}

/// How many of a certificate's names are shown: that of a kube-apiserver has those of all of them.
const NAMES_SHOWN: usize = 30;

/// A certificate by its subject, its names and its end.
fn in_words(certificate: &Summary) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(certificate.not_after).map_or_else(
        |_| "an unknown date".to_owned(),
        |end| end.date().to_string(),
    );
    let shown = certificate.names.iter();
    let mut names = shown.fold(String::new(), |names, san| format!("{names} {san}"));
    if !names.is_empty() {
        names.insert_str(0, " for");
    }
    let more = match certificate.others {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    format!("{}{names}{more} until {date}", certificate.subject)
}

/// The lines of a text that change.
fn diff(path: &RemotePath, old: &str, view: &View<'_>, desired: &Desired) -> Option<String> {
    let entry = view
        .manifest
        .entries
        .get(path)
        .filter(|entry| !entry.secret)?;
    let Kind::File { digest, .. } = entry.kind else {
        return None;
    };
    let Some(Content::Inline(new)) = desired.contents.get(&digest) else {
        return None;
    };
    let diff = similar::TextDiff::from_lines(old, new.expose_text()?);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(2).iter_hunks() {
        text.push_str(&hunk.to_string());
    }
    (!text.is_empty()).then_some(text)
}

impl Listing {
    /// In one line.
    pub fn summary(&self) -> String {
        if !self.changes {
            return format!("{}: nothing to do", self.cluster);
        }
        let units: usize = self.nodes.iter().map(|node| node.units.len()).sum();
        let entries: usize = self.nodes.iter().map(|node| node.entries.len()).sum();
        let nodes = self.nodes.len();
        format!(
            "{}: {} on {}, {} to start or restart",
            self.cluster,
            plain::count(entries, "change"),
            plain::count(nodes, "node"),
            plain::count(units, "service"),
        )
    }

    /// The nodes on which the same is to be done, and what that is, in the order of the first of each.
    fn alike(&self, color: bool) -> Vec<(Vec<&NodeListing>, String)> {
        let mut all: Vec<(Vec<&NodeListing>, String)> = Vec::new();
        let mut places = HashMap::new();
        for node in &self.nodes {
            let what = node.changes(color);
            // A name or an address that is longer makes no other row.
            let size = super::progress::size(node.staging_bytes);
            let key = (&node.arch, node.generation, size, what.clone());
            let place = *places.entry(key).or_insert(all.len());
            match all.get_mut(place) {
                Some((nodes, _)) => nodes.push(node),
                None => all.push((vec![node], what)),
            }
        }
        all
    }

    /// As a person reads it.
    pub fn text(&self, color: bool) -> String {
        let mut text = String::new();
        for it in &self.in_the_way {
            it.write(&mut text, color);
        }
        if !self.changes {
            return text + &self.summary() + "\n";
        }
        for (nodes, what) in self.alike(color) {
            let NodeListing {
                arch,
                generation,
                staging_bytes,
                ..
            } = nodes[0];
            let names: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
            let names = names.join(", ");
            let size = super::progress::size(*staging_bytes);
            let each = if nodes.len() == 1 { "" } else { " on each" };
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "{names} ({arch}): generation {generation}, {size} to stage{each}"
            );
            text.push_str(&what);
        }
        for change in &self.members {
            _ = writeln!(text, "etcd: {change}");
        }
        for rest in &self.remains {
            _ = writeln!(text, "{}: {rest}", paint("warning", "33", color));
        }
        _ = writeln!(text, "order:");
        for wave in &self.order {
            let groups: Vec<String> = wave.groups.iter().map(|group| group.join(" + ")).collect();
            _ = writeln!(text, "  {}: {}", wave.wave, groups.join(", then "));
        }
        _ = writeln!(text, "{}", self.summary());
        text
    }
}

impl NodeListing {
    /// What is to be done on it, a line each.
    fn changes(&self, color: bool) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            write_entry(&mut text, entry, color);
        }
        if self.drains {
            let sign = paint("!", "33", color);
            // Writing to a String cannot fail.
            _ = writeln!(text, "  {sign} its Pods are moved to other nodes first");
        }
        for UnitListing {
            unit,
            action,
            reason,
        } in &self.units
        {
            let sign = paint("!", "33", color);
            // Writing to a String cannot fail.
            _ = writeln!(text, "  {sign} {unit}: {action}, {reason}");
        }
        text
    }
}

fn write_entry(text: &mut String, entry: &EntryListing, color: bool) {
    let (sign, hue) = match entry.change {
        "create" => ("+", "32"),
        "remove" => ("-", "31"),
        _ => ("~", "33"),
    };
    let mut notes = String::new();
    if entry.drift {
        notes.push_str(" (changed by hand)");
    }
    if entry.unmanaged {
        notes.push_str(" (not put there by kinstall)");
    }
    let sign = paint(sign, hue, color);
    let gap = if entry.detail.is_empty() { "" } else { "  " };
    let detail = plain::line(&entry.detail);
    _ = writeln!(text, "  {sign} {}{gap}{detail}{notes}", entry.path);
    for line in entry.diff.iter().flat_map(|diff| diff.lines()) {
        let hue = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            _ => "2",
        };
        _ = writeln!(text, "      {}", paint(line, hue, color));
    }
}

/// The text in a colour of ECMA-48, where colour is wanted.
pub fn paint(text: &str, hue: &str, color: bool) -> String {
    if color {
        format!("\u{1b}[{hue}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
