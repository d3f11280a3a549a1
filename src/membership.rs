//! Who is a member of a living etcd cluster, who should be, and the changes that lie between: one at
//! a time, and none that would cost the cluster its majority. Pure; [`crate::survey::members`] asks
//! etcd, and a plan puts the changes where they have their turn.
//!
//! Source: etcd's runtime reconfiguration guide (a dead member is removed before another is added;
//! a member is added before its service starts, and removed before it stops) and its design of
//! learners (3.4: a learner has no vote, so that it costs no majority until it is promoted).

mod agree;
mod etcdctl_json;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use agree::disagreement;
pub use etcdctl_json::{Cluster, Unreadable, members as from_etcdctl};

use crate::inventory::NodeName;
use crate::version::{Minor, Version};

/// The first line of etcd that has learners.
const LEARNERS_SINCE: Minor = Minor::new(3, 4);

/// A member, as the cluster tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its name; empty until it has started for the first time.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; none until it has started.
    pub client_urls: Vec<String>,
    /// Whether it has no vote yet.
    pub is_learner: bool,
    /// Whether it answered that it is healthy.
    pub is_healthy: bool,
}

impl Member {
    /// What a user knows it by: its name, or its address until it has one.
    pub fn title(&self) -> String {
        if self.name.is_empty() {
            self.peer_urls.join(",")
        } else {
            self.name.clone()
        }
    }

    fn has_started(&self) -> bool {
        !self.name.is_empty()
    }

    fn is_at(&self, peer_url: &str) -> bool {
        self.peer_urls.iter().any(|url| url == peer_url)
    }
}

/// A node that should be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredMember {
    /// Where its peers should reach it.
    pub peer_url: String,
    /// Whether the data of a member lie on it.
    pub has_data: bool,
    /// Whether its etcd runs.
    pub runs: bool,
    /// Whether it was pushed before with its peers reaching it elsewhere.
    pub has_moved: bool,
}

/// Every change of a cluster's members, in order, and who is told to make them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// A node whose member is healthy and stays.
    pub speaker: Option<NodeName>,
    /// The changes.
    pub steps: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A member goes.
    Remove {
        /// Its number.
        id: u64,
        /// What a user knows it by.
        title: String,
        /// Whether it is healthy: clients may be talking to it.
        is_healthy: bool,
        /// Whether a new one takes its place.
        is_replaced: bool,
    },
    /// A member that keeps its data has moved.
    Move {
        /// Its number.
        id: u64,
        /// Its node.
        node: NodeName,
        /// Where its peers reach it from now on.
        peer_url: String,
    },
    /// A node becomes a member, or what remains of that is done.
    Join(Join),
}

/// How far a node is on its way into the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The node.
    pub node: NodeName,
    /// Where its peers reach it.
    pub peer_url: String,
    /// Whether the cluster has yet to be told.
    pub add: bool,
    /// All members and their addresses as the new one must be told them, where it has yet to start
    /// for the first time.
    pub initial_cluster: Option<String>,
    /// Whether it will be a learner that is to be promoted.
    pub promote: bool,
}

/// Why the members of a cluster cannot become those of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Problem {
    /// The cluster has no majority, or would lose it.
    #[error("etcd: {what} would leave {healthy} healthy members of {of}, and {needed} are needed")]
    #[diagnostic(help(
        "heal what is down first: keep the members as they are in the inventory and push; `kinstall status` tells what is wrong where. A cluster whose majority is lost for good is only brought back from a snapshot in `backups/`"
    ))]
    Majority {
        /// What was to be done.
        what: String,
        /// How many would be healthy.
        healthy: usize,
        /// How many voters there would be.
        of: usize,
        /// How many of them must be healthy.
        needed: usize,
    },
    /// Nobody who stays is healthy.
    #[error("etcd: none of the remaining members is healthy, so the membership cannot be changed")]
    #[diagnostic(help(
        "keep one healthy member in the inventory until the new ones have joined: from one member to another lead three"
    ))]
    NobodyStays,
    /// A node has data of a member that the cluster does not know.
    #[error(
        "{node}: would join etcd, and holds the data of a member that the cluster does not know"
    )]
    #[diagnostic(help(
        "if nothing there is worth keeping, stop etcd on {node} and move `{directory}/member` away; then push again"
    ))]
    Foreign {
        /// The node.
        node: NodeName,
        /// Its data directory.
        directory: String,
    },
    /// A node has lost its data, and the cluster says it is healthy.
    #[error(
        "{node}: has no data of etcd, and the cluster has a healthy member of that name or address"
    )]
    #[diagnostic(help(
        "is another machine still running under that name or address? Stop it first"
    ))]
    Twin {
        /// The node.
        node: NodeName,
    },
    /// etcd has no learners yet.
    #[error("etcd {version} has no learners, and a member joins a living cluster only as one")]
    #[diagnostic(help("upgrade etcd to 3.4 or later first, with the members it has"))]
    NoLearners {
        /// The version.
        version: Version,
    },
}

/// What an inventory wants of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct DesiredMembership<'a> {
    /// Every node that should be a member.
    pub desired: &'a BTreeMap<NodeName, DesiredMember>,
    /// The oldest etcd among them.
    pub version: Version,
    /// Where their data lie, for messages.
    pub data_directory: &'a str,
}

/// The changes that make the members of a living cluster those that are wished for.
pub fn changes(members: &[Member], wish: DesiredMembership<'_>) -> Result<Changes, Vec<Problem>> {
    let mut sorting = Sorting {
        wish,
        staying: BTreeMap::new(),
        replaced: Vec::new(),
        moves: Vec::new(),
        joins: Vec::new(),
        problems: Vec::new(),
    };
    for (node, seat) in wish.desired {
        sorting.seat(node, seat, members);
    }
    if !sorting.problems.is_empty() {
        return Err(sorting.problems);
    }
    let mut leavers: Vec<&Member> = members
        .iter()
        .filter(|it| !sorting.staying.values().any(|staying| staying.id == it.id))
        .collect();
    // What is of no use to the cluster goes first: it only makes a majority harder to reach.
    leavers.sort_by_key(|it| (!it.is_learner, it.is_healthy, it.id));
    let speaker = sorting
        .staying
        .iter()
        .find(|(_, member)| member.is_healthy && !member.is_learner)
        .map(|(node, _)| node.clone());
    let steps = Steps::default().all(members, &leavers, &sorting)?;
    if speaker.is_none() && !steps.is_empty() {
        return Err(vec![Problem::NobodyStays]);
    }
    Ok(Changes { speaker, steps })
}

/// Who stays, who moves, who joins.
struct Sorting<'a> {
    wish: DesiredMembership<'a>,
    staying: BTreeMap<NodeName, Member>,
    /// Members whose node comes back without their data.
    replaced: Vec<u64>,
    moves: Vec<(NodeName, u64, String)>,
    joins: Vec<Join>,
    problems: Vec<Problem>,
}

impl Sorting<'_> {
    fn seat(&mut self, node: &NodeName, seat: &DesiredMember, members: &[Member]) {
        let by_url = members.iter().find(|member| member.is_at(&seat.peer_url));
        let by_name = || members.iter().find(|member| member.name == node.as_str());
        let Some(member) = by_url.or_else(by_name) else {
            if seat.has_data || seat.runs {
                let directory = self.wish.data_directory.to_owned();
                let node = node.clone();
                self.problems.push(Problem::Foreign { node, directory });
            } else {
                self.join(node, seat, true, true);
            }
            return;
        };
        if member.has_started() && !seat.has_data && !seat.runs {
            if member.is_healthy {
                self.problems.push(Problem::Twin { node: node.clone() });
            } else {
                self.replaced.push(member.id);
                self.join(node, seat, true, true);
            }
            return;
        }
        self.staying.insert(node.clone(), member.clone());
        if seat.has_moved && !member.is_at(&seat.peer_url) {
            let url = seat.peer_url.clone();
            self.moves.push((node.clone(), member.id, url));
        }
        let starts = !member.has_started() && !seat.has_data && !seat.runs;
        if starts || member.is_learner {
            self.join(node, seat, false, starts);
            if let Some(join) = self.joins.last_mut() {
                join.promote = member.is_learner;
            }
        }
    }

    fn join(&mut self, node: &NodeName, seat: &DesiredMember, add: bool, starts: bool) {
        if add && self.wish.version.minor() < LEARNERS_SINCE {
            let version = self.wish.version;
            self.problems.push(Problem::NoLearners { version });
        }
        self.joins.push(Join {
            node: node.clone(),
            peer_url: seat.peer_url.clone(),
            add,
            initial_cluster: starts.then(String::new),
            promote: true,
        });
    }
}

/// The steps as they are taken, and the voters after each of them.
#[derive(Default)]
struct Steps {
    taken: Vec<Change>,
    /// The voters: by address, whether each is healthy.
    voters: BTreeMap<u64, bool>,
    /// All members: number, name or a word in its place, address.
    roll: Vec<(u64, String, String)>,
    problems: Vec<Problem>,
}

impl Steps {
    fn all(
        mut self,
        members: &[Member],
        leavers: &[&Member],
        sorting: &Sorting<'_>,
    ) -> Result<Vec<Change>, Vec<Problem>> {
        let voters = members.iter().filter(|member| !member.is_learner);
        self.voters = voters.map(|it| (it.id, it.is_healthy)).collect();
        for member in members {
            // Only its own name matters to a member that starts; the others need one at all.
            let known = member.name.parse::<NodeName>().is_ok();
            let name = if known {
                member.name.clone()
            } else {
                format!("member-{:x}", member.id)
            };
            let urls = member.peer_urls.iter();
            let urls = urls.map(|url| (member.id, name.clone(), url.clone()));
            self.roll.extend(urls);
        }
        let idle = leavers.is_empty() && sorting.moves.is_empty() && sorting.joins.is_empty();
        if !idle {
            self.hold("any change");
        }
        for member in leavers {
            self.remove(member, sorting);
        }
        for (node, id, peer_url) in &sorting.moves {
            self.roll.retain(|(its, _, _)| its != id);
            self.roll.push((*id, node.to_string(), peer_url.clone()));
            self.taken.push(Change::Move {
                id: *id,
                node: node.clone(),
                peer_url: peer_url.clone(),
            });
        }
        for join in &sorting.joins {
            self.join(join);
        }
        if self.problems.is_empty() {
            Ok(self.taken)
        } else {
            self.problems.truncate(1);
            Err(self.problems)
        }
    }

    fn remove(&mut self, member: &Member, sorting: &Sorting<'_>) {
        self.voters.remove(&member.id);
        self.roll.retain(|(id, _, _)| *id != member.id);
        let title = member.title();
        self.hold(&format!("taking {title} out"));
        self.taken.push(Change::Remove {
            id: member.id,
            title,
            is_healthy: member.is_healthy,
            is_replaced: sorting.replaced.contains(&member.id),
        });
    }

    fn join(&mut self, join: &Join) {
        let (node, url) = (&join.node, &join.peer_url);
        self.roll.retain(|(_, _, its)| its != url);
        // Nobody else's number: those of etcd are digests.
        let id = u64::try_from(self.taken.len()).unwrap_or_default();
        self.roll.push((id, node.to_string(), url.clone()));
        let roll = self.roll.iter();
        let roll: Vec<String> = roll.map(|(_, name, url)| format!("{name}={url}")).collect();
        let mut join = join.clone();
        join.initial_cluster = join.initial_cluster.map(|_| roll.join(","));
        if join.promote {
            self.voters.insert(id, true);
        }
        self.taken.push(Change::Join(join));
    }

    /// Holds that a majority of the voters is healthy.
    fn hold(&mut self, what: &str) {
        let healthy = self.voters.values().filter(|healthy| **healthy).count();
        let of = self.voters.len();
        let needed = of / 2 + 1;
        if healthy < needed {
            self.problems.push(Problem::Majority {
                what: what.to_owned(),
                healthy,
                of,
                needed,
            });
        }
    }
}

impl Changes {
    /// The nodes that become members.
    pub fn joining(&self) -> impl Iterator<Item = &Join> {
        self.steps.iter().filter_map(|step| match step {
            Change::Join(join) => Some(join),
            Change::Remove { .. } | Change::Move { .. } => None,
        })
    }

    /// Whether somebody who is healthy leaves and nobody comes: then kube-apiservers forget the
    /// member before it goes, and no request of theirs is cut off.
    pub fn only_shrinks(&self) -> bool {
        let mut steps = self.steps.iter();
        let leaves = |step: &Change| {
            matches!(
                step,
                Change::Remove {
                    is_replaced: false,
                    ..
                }
            )
        };
        !self.steps.is_empty() && steps.all(leaves)
    }
}

impl Change {
    /// As a user is shown it.
    pub fn words(&self) -> String {
        match self {
            Self::Remove {
                title,
                is_healthy,
                is_replaced,
                ..
            } => {
                let state = if *is_healthy { "" } else { ", which is down" };
                let why = if *is_replaced {
                    "its node lost its data and joins again"
                } else {
                    "the inventory does not have it"
                };
                format!("remove member {title}{state}: {why}")
            }
            Self::Move { node, peer_url, .. } => {
                format!("member {node} moves to {peer_url}")
            }
            Self::Join(Join {
                node,
                peer_url,
                add,
                initial_cluster,
                promote,
            }) => match (add, initial_cluster, promote) {
                (true, _, true) => {
                    format!("add member {node} at {peer_url}, as a learner until it has caught up")
                }
                (true, _, false) => format!("add member {node} at {peer_url}"),
                (false, Some(_), _) => {
                    format!("start member {node}, which was added before, for the first time")
                }
                (false, None, _) => format!("promote member {node}, a learner so far"),
            },
        }
    }
}
