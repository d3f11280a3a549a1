//! What must never be done, however it was asked for.

use std::collections::BTreeMap;

use super::{Direction, View, hop, is_upgrade, skew, wave};
use crate::diff::ChangeKind;
use crate::inventory::{Drain, NodeName};
use crate::manifest::{Kind, Manifest, Stage};
use crate::membership::{Change, Changes};
use crate::remote_path::RemotePath;
use crate::snapshot::FoundKind;
use crate::version::{Minor, Version};

/// Why there must be no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Refusal {
    /// A key that the cluster's data or tokens depend on would be replaced.
    #[error(
        "{node}: `{path}` holds another key than the one in `pki/`, and what was made with it would be lost"
    )]
    #[diagnostic(help(
        "if the node is right, put its file into `pki/` in place of the other; if nothing that was made with the node's key is worth keeping, remove it with everything else: `kinstall uninstall --data`"
    ))]
    Protected {
        /// The node.
        node: NodeName,
        /// The file.
        path: RemotePath,
    },
    /// A generation has another key than the one that the cluster's data or tokens depend on now.
    #[error(
        "{node}: the generation to go back to has another key in `{path}`, and what was made with the one there would be lost"
    )]
    #[diagnostic(help(
        "a key does not go back: take a generation since it was made (`kinstall status` tells them), or put the older versions into the inventory and push that"
    ))]
    OtherKey {
        /// The node.
        node: NodeName,
        /// The file.
        path: RemotePath,
    },
    /// The node belongs to a cluster of another name.
    #[error("{node}: belongs to the cluster `{found}`, and the inventory is for `{wanted}`")]
    #[diagnostic(help(
        "is this the right inventory? A machine that moves to another cluster is emptied first"
    ))]
    OtherCluster {
        /// The node.
        node: NodeName,
        /// The cluster on record.
        found: String,
        /// The cluster of the inventory.
        wanted: String,
    },
    /// An etcd member would join a cluster or leave it that cannot be asked.
    #[error(
        "{node}: would {what} an etcd cluster that was made before, and no member of it that was asked is healthy"
    )]
    #[diagnostic(help(
        "members join and leave a healthy cluster only: push to all its nodes, with the members that it has, until `kinstall status` finds etcd well; then change them, without `--limit`"
    ))]
    Membership {
        /// The node.
        node: NodeName,
        /// `join` or `leave`.
        what: &'static str,
    },
    /// The members of etcd would change in the same run as versions.
    #[error("the members of etcd and versions would change in one run: {}", .changes.join("; "))]
    #[diagnostic(help(
        "one thing at a time: push with the versions that run now first, and upgrade when all members are healthy"
    ))]
    MembersAndVersions {
        /// How the members would change.
        changes: Vec<String>,
    },
    /// A generation was made for other members of etcd than those of today.
    #[error(
        "{node}: the generation to go back to was made for other members of etcd, and who is a member does not go back"
    )]
    #[diagnostic(help(
        "change the members in the inventory and push that; a rollback goes back to generations since the members last changed"
    ))]
    OtherMembers {
        /// The node.
        node: NodeName,
    },
    /// A version may not follow the one that runs.
    #[error(
        "{node}: {component} {running} runs there, and {wanted} may not follow it: {}",
        words(problem)
    )]
    #[diagnostic(help("{}", help(component, *running, *wanted, problem)))]
    Skew {
        /// The node.
        node: NodeName,
        /// The component.
        component: String,
        /// What runs.
        running: Version,
        /// What is wanted.
        wanted: Version,
        /// What is wrong with the step.
        problem: skew::Problem,
    },
    /// The Pods of a node would have to be moved away, and there is nobody to do it.
    #[error(
        "{node}: its Pods are moved to other nodes first, through a node of the control plane, and this run has none"
    )]
    #[diagnostic(help(
        "name a node of the control plane with `--limit`, too; or drain the node yourself, and write `drain = \"never\"` under `[rollout]`"
    ))]
    Undrained {
        /// The node.
        node: NodeName,
    },
}

fn words(problem: &skew::Problem) -> String {
    match problem {
        skew::Problem::Skips(minors) => format!("it skips {}", listed(minors)),
        skew::Problem::Down => {
            "it is older, and data written by the newer one may not be readable".to_owned()
        }
        skew::Problem::Floor(floor) => {
            format!("upstream's upgrade guide asks for {floor} or later first")
        }
    }
}

fn help(component: &str, running: Version, wanted: Version, problem: &skew::Problem) -> String {
    match problem {
        skew::Problem::Skips(_) if component == "kube-apiserver" => {
            let way = hop::listed(&hop::way(running, wanted));
            format!("go there by way of each, in one run: `kinstall push --through {way}`")
        }
        skew::Problem::Skips(minors) => {
            format!(
                "push the newest patch of each of {} in turn, in that order",
                listed(minors)
            )
        }
        skew::Problem::Down if component == "etcd" => {
            format!(
                "keep `etcd = \"{running}\"` or newer; etcd's data goes back only by restoring a snapshot"
            )
        }
        skew::Problem::Down => {
            "`kinstall rollback` goes back one generation, by at most one minor version".to_owned()
        }
        skew::Problem::Floor(floor) => format!("push `etcd = \"{floor}\"` first, then this"),
    }
}

fn listed(minors: &[Minor]) -> String {
    let words: Vec<String> = minors.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// Everything that forbids a plan for these nodes.
pub(super) fn refusals(
    views: &BTreeMap<NodeName, View<'_>>,
    direction: Direction,
    changes: Option<&Changes>,
) -> Vec<Refusal> {
    let mut refusals = skew::refusals(views, direction);
    for (node, view) in views {
        if let Some(recorded) = &view.snapshot.recorded
            && recorded.manifest.cluster != view.manifest.cluster
        {
            let found = recorded.manifest.cluster.clone();
            let wanted = view.manifest.cluster.clone();
            refusals.push(Refusal::OtherCluster {
                node: node.clone(),
                found,
                wanted,
            });
        }
        let protected = view
            .manifest
            .entries
            .iter()
            .filter(|(_, entry)| entry.protected);
        for (path, _) in protected {
            let change = view.difference.entries.get(path);
            let is_replaced = change.is_some_and(|change| change.kind == ChangeKind::Replace);
            if (is_replaced && !is_superseded(view, path)) || is_lost(view, path) {
                let (node, path) = (node.clone(), path.clone());
                refusals.push(match direction {
                    Direction::Forward => Refusal::Protected { node, path },
                    Direction::Back => Refusal::OtherKey { node, path },
                });
            }
        }
    }
    match changes {
        None => refusals.extend(membership(views, direction)),
        Some(changes) if !changes.steps.is_empty() && is_upgrade(views) => {
            let changes = changes.steps.iter().map(Change::words).collect();
            refusals.push(Refusal::MembersAndVersions { changes });
        }
        Some(_) => {}
    }
    if direction == Direction::Back {
        refusals.extend(views.iter().filter_map(other_members));
    }
    refusals
}

/// The nodes whose Pods nobody can move away.
pub(super) fn undrained(views: &BTreeMap<NodeName, View<'_>>, when: Drain) -> Vec<Refusal> {
    if wave::servers(views).next().is_some() {
        return Vec::new();
    }
    let nodes = views
        .iter()
        .filter(|(_, view)| wave::drained(view, when).is_some());
    nodes
        .map(|(node, _)| Refusal::Undrained { node: node.clone() })
        .collect()
}

/// What a generation's etcd may talk to are the members of its day: going back to it would cut off
/// those who joined since.
fn other_members((node, view): (&NodeName, &View<'_>)) -> Option<Refusal> {
    has_other_members(view).then(|| Refusal::OtherMembers { node: node.clone() })
}

/// Whether a node should run a member of etcd with others beside it than those on record.
fn has_other_members(view: &View<'_>) -> bool {
    let recorded = view.snapshot.recorded.as_ref();
    view.manifest.units.iter().any(|(name, unit)| {
        let before = recorded.and_then(|it| it.manifest.units.get(name)?.members());
        before.is_some_and(|before| unit.members().is_some_and(|after| before != after))
    })
}

/// Whether a node holds, at a path, something that was replaced on purpose.
fn is_superseded(view: &View<'_>, path: &RemotePath) -> bool {
    let found = view.snapshot.entries.get(path).map(|found| &found.kind);
    matches!(found, Some(FoundKind::File { digest: Some(digest), .. }) if view.retired.contains(digest))
}

/// Whether a key is gone from a node that has another one on record than the one it is to have: what
/// was made with it is still in etcd.
fn is_lost(view: &View<'_>, path: &RemotePath) -> bool {
    let recorded = view.snapshot.recorded.as_ref();
    let entry = |manifest: &Manifest| manifest.entries.get(path).map(|entry| entry.kind.clone());
    let before = recorded.and_then(|recorded| entry(&recorded.manifest));
    let Some(Kind::File { digest, .. }) = before else {
        return false;
    };
    !view.snapshot.entries.contains_key(path)
        && entry(view.manifest) != before
        && !view.retired.contains(&digest)
}

/// A cluster that was made before keeps its members: a new one would not find the others' data,
/// and one that is gone without a word takes its vote along.
fn membership(views: &BTreeMap<NodeName, View<'_>>, direction: Direction) -> Vec<Refusal> {
    let is_member = |manifest: &Manifest| {
        manifest
            .units
            .values()
            .any(|unit| unit.stage == Stage::Etcd)
    };
    let was_member = |view: &View<'_>| {
        let recorded = view.snapshot.recorded.as_ref();
        recorded.is_some_and(|recorded| is_member(&recorded.manifest))
    };
    if !views.values().any(was_member) {
        return vec![];
    }
    let mut refusals = Vec::new();
    for (node, view) in views {
        let node = node.clone();
        match (was_member(view), is_member(view.manifest)) {
            // A member whose first push was cut short has begun, and is not recorded.
            (false, true) if view.snapshot.begun.is_none() => {
                refusals.push(Refusal::Membership { node, what: "join" });
            }
            (true, false) => refusals.push(Refusal::Membership {
                node,
                what: "leave",
            }),
            // A directory has no living cluster: its machines were never started, or will join
            // what they find in their data.
            (true, true)
                if direction == Direction::Forward
                    && view.snapshot.systemd.is_some()
                    && has_other_members(view) =>
            {
                refusals.push(Refusal::Membership {
                    node,
                    what: "gain or lose others of",
                });
            }
            _ => {}
        }
    }
    refusals
}
