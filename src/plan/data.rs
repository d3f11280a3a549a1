//! Whether a push may start etcd on the data that lie on its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::View;
use crate::digest::Digest;
use crate::etcd_data::{Data, Identity};
use crate::inventory::NodeName;
use crate::manifest::{Kind, Manifest, Stage};
use crate::remote_path::RemotePath;

/// Why etcd must not be started on the data that are there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Problem {
    /// Nobody knows whose they are.
    #[error(
        "{node}: `{directory}` holds data of an etcd member that this cluster does not know: {owner}"
    )]
    #[diagnostic(help("{}", ways_out(node, directory, *was_kept)))]
    Foreign {
        /// The node.
        node: NodeName,
        /// The data directory.
        directory: RemotePath,
        /// Whose they are, in words.
        owner: String,
        /// Whether an `uninstall` left them there.
        was_kept: bool,
    },
    /// They were written with other keys.
    #[error(
        "{node}: the etcd data in `{directory}` were written with another {} than the one in `pki/`, and what was made with it would be lost",
        listed(paths.iter().map(|path| format!("`{path}`")), " and another ")
    )]
    #[diagnostic(help(
        "put the `pki/` that they were written with in place of this one to take that cluster over; if nothing in them is worth keeping, remove them: `kinstall uninstall --data`"
    ))]
    OtherKeys {
        /// The node.
        node: NodeName,
        /// The data directory.
        directory: RemotePath,
        /// The keys.
        paths: Vec<RemotePath>,
    },
    /// They are of a cluster of another name.
    #[error(
        "{node}: the etcd data in `{directory}` are of the cluster `{found}`, and the inventory is for `{wanted}`"
    )]
    #[diagnostic(help(
        "is this the right inventory? To take that cluster over, give it its name; if nothing in the data is worth keeping, remove them: `kinstall uninstall --data`"
    ))]
    OtherCluster {
        /// The node.
        node: NodeName,
        /// The data directory.
        directory: RemotePath,
        /// The name of the cluster they are of.
        found: String,
        /// The name in the inventory.
        wanted: String,
    },
    /// Several clusters.
    #[error("the nodes hold the data of {} etcd clusters: {}", clusters.len(), split(clusters))]
    #[diagnostic(help(
        "members of different clusters never become one: keep the data of one of them, and on each other node stop etcd and move the data directory's `member` away; then push again, and those nodes join. What only they hold is lost to the cluster: take a snapshot first (`etcdctl snapshot save`)"
    ))]
    Split {
        /// The nodes of each cluster.
        clusters: BTreeMap<u64, BTreeSet<NodeName>>,
    },
    /// Some have data, some have none, and no cluster runs that the latter could join.
    #[error(
        "{} the data of an etcd cluster and {} none: the ones would go on with that cluster, and the others begin a second one",
        have(with, "has", "have"),
        have(without, "has", "have")
    )]
    #[diagnostic(help(
        "to take that cluster over, push with `etcd` in the `roles` of the nodes that have its data only; the others join with the next push. To start over, move the data away, or remove them: `kinstall uninstall --data`"
    ))]
    Partial {
        /// Nodes with data.
        with: Vec<NodeName>,
        /// Nodes without.
        without: Vec<NodeName>,
    },
}

/// What is known of a cluster that answers: its number, and those of its members.
pub type LiveMember = (u64, BTreeSet<u64>);

fn ways_out(node: &NodeName, directory: &RemotePath, was_kept: bool) -> String {
    let mut help = format!(
        "move them away if they are not needed: `mv {directory}/member {directory}-old` on {node}; \
         or take that cluster over: push the inventory and the `pki/` that it was made with, and \
         say `--adopt-data` where no kinstall has a record of it; a snapshot is restored on empty \
         directories (`etcdctl snapshot restore`)"
    );
    if was_kept {
        help.push_str("; `kinstall uninstall --data` removes what kinstall left there");
    }
    help
}

fn listed(words: impl Iterator<Item = String>, between: &str) -> String {
    words.collect::<Vec<_>>().join(between)
}

fn have(nodes: &[NodeName], one: &str, several: &str) -> String {
    let verb = if nodes.len() == 1 { one } else { several };
    format!(
        "{} {verb}",
        listed(nodes.iter().map(ToString::to_string), ", ")
    )
}

fn split(clusters: &BTreeMap<u64, BTreeSet<NodeName>>) -> String {
    let mut text = String::new();
    for (cluster, nodes) in clusters {
        let gap = if text.is_empty() { "" } else { "; " };
        let nodes = listed(nodes.iter().map(ToString::to_string), ", ");
        // Writing to a String cannot fail.
        _ = write!(text, "{gap}{nodes}: {cluster:x}");
    }
    text
}

/// Whether some node holds data that its own record does not account for: only then is the cluster
/// asked for its members.
pub fn unknown(views: &BTreeMap<NodeName, View<'_>>) -> bool {
    candidates(views).any(|candidate| candidate.data.is_some() && !candidate.is_recorded)
}

/// Everything that forbids to start etcd on these nodes. `adopt` says that data without a record may
/// be taken over.
pub fn problems(
    views: &BTreeMap<NodeName, View<'_>>,
    living: Option<&LiveMember>,
    adopt: bool,
) -> Vec<Problem> {
    let candidates: Vec<Candidate<'_>> = candidates(views).collect();
    if let Some(clusters) = several(&candidates) {
        return vec![Problem::Split { clusters }];
    }
    let keys = keys(views);
    let recorded: BTreeSet<u64> = candidates
        .iter()
        .filter(|candidate| candidate.is_recorded)
        .filter_map(|candidate| Some(candidate.identity()?.cluster))
        .collect();
    let mut problems = Vec::new();
    let mut adopts = false;
    for candidate in candidates.iter().filter(|candidate| !candidate.is_recorded) {
        let Some(data) = candidate.data else { continue };
        let is_member = candidate.identity().is_some_and(|identity| {
            recorded.contains(&identity.cluster)
                || living.is_some_and(|(cluster, members)| {
                    identity.cluster == *cluster && members.contains(&identity.member)
                })
        });
        match candidate.judge(data, &keys, is_member || adopt) {
            Some(problem) => problems.push(problem),
            None => adopts |= !is_member,
        }
    }
    if problems.is_empty() && adopts {
        problems.extend(partial(&candidates));
    }
    problems
}

/// A node that is to be a member.
struct Candidate<'a> {
    node: &'a NodeName,
    view: &'a View<'a>,
    data: Option<&'a Data>,
    /// Whether the node has on record that kinstall made a member there, or began to.
    is_recorded: bool,
}

fn candidates<'a>(views: &'a BTreeMap<NodeName, View<'a>>) -> impl Iterator<Item = Candidate<'a>> {
    views.iter().filter_map(|(node, view)| {
        let (unit, _) = view.manifest.of_stage(Stage::Etcd)?;
        Some(Candidate {
            node,
            view,
            data: view.snapshot.data.as_ref(),
            is_recorded: view.snapshot.ours().contains_key(&unit.path()),
        })
    })
}

impl Candidate<'_> {
    fn identity(&self) -> Option<Identity> {
        self.data?.identity
    }

    /// What is wrong with data that the node's record does not account for.
    fn judge(
        &self,
        data: &Data,
        keys: &BTreeMap<&RemotePath, BTreeSet<Digest>>,
        is_known: bool,
    ) -> Option<Problem> {
        let (node, directory) = (self.node.clone(), data.directory.clone());
        let kept = self.view.snapshot.kept.as_ref();
        let kept = kept.filter(|kept| {
            kept.directory.as_ref() == Some(&data.directory) && kept.identity == data.identity
        });
        let Some(kept) = kept else {
            return (!is_known).then(|| Problem::Foreign {
                node,
                directory,
                owner: data.owner(),
                was_kept: false,
            });
        };
        let wanted = &self.view.manifest.cluster;
        if kept.cluster != *wanted {
            return Some(Problem::OtherCluster {
                node,
                directory,
                found: kept.cluster.clone(),
                wanted: wanted.clone(),
            });
        }
        let retired = self.view.retired;
        let others = kept.keys.iter().filter(|(path, digest)| {
            let now = keys.get(path);
            // A key that no node has any more, as where encryption is turned off, is not another one.
            now.is_some_and(|now| !now.contains(digest)) && !retired.contains(digest)
        });
        let paths: Vec<_> = others.map(|(path, _)| path.clone()).collect();
        if !paths.is_empty() {
            return Some(Problem::OtherKeys {
                node,
                directory,
                paths,
            });
        }
        (kept.keys.is_empty() && !is_known).then(|| Problem::Foreign {
            node,
            directory,
            owner: data.owner(),
            was_kept: true,
        })
    }
}

/// The clusters whose data lie on the nodes, where they are several.
fn several(candidates: &[Candidate<'_>]) -> Option<BTreeMap<u64, BTreeSet<NodeName>>> {
    let mut clusters = BTreeMap::<u64, BTreeSet<NodeName>>::new();
    for candidate in candidates {
        if let Some(identity) = candidate.identity() {
            let nodes = clusters.entry(identity.cluster).or_default();
            nodes.insert(candidate.node.clone());
        }
    }
    (clusters.len() > 1).then_some(clusters)
}

fn partial(candidates: &[Candidate<'_>]) -> Option<Problem> {
    let (with, without): (Vec<_>, Vec<_>) = candidates
        .iter()
        .partition(|candidate| candidate.data.is_some());
    let names = |candidates: Vec<&Candidate<'_>>| {
        candidates
            .iter()
            .map(|candidate| candidate.node.clone())
            .collect()
    };
    (!without.is_empty()).then(|| Problem::Partial {
        with: names(with),
        without: names(without),
    })
}

/// The contents that the whole cluster is to have at each path that data may depend on.
fn keys<'a>(views: &'a BTreeMap<NodeName, View<'a>>) -> BTreeMap<&'a RemotePath, BTreeSet<Digest>> {
    let mut keys = BTreeMap::<_, BTreeSet<Digest>>::new();
    for view in views.values() {
        for (path, digest) in digests(view.manifest) {
            keys.entry(path).or_default().insert(digest);
        }
    }
    keys
}

fn digests(manifest: &Manifest) -> impl Iterator<Item = (&RemotePath, Digest)> {
    let entries = manifest.entries.iter();
    entries.filter_map(|(path, entry)| match entry.kind {
        Kind::File { digest, .. } => Some((path, digest)),
        Kind::Directory | Kind::Link { .. } => None,
    })
}
