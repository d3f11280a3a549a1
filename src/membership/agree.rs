//! Whether the members of etcd that run are of one cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cluster, Member};
use crate::inventory::NodeName;

/// How the nodes' own members disagree on which cluster they are of, or on who its members are: in
/// words, with who is where. None where they are one cluster.
pub fn disagreement(told: &BTreeMap<NodeName, Cluster>) -> Option<String> {
    let mut clusters = BTreeMap::<(u64, BTreeSet<u64>), Vec<&NodeName>>::new();
    for (node, cluster) in told {
        let ids = cluster.members.iter().map(|member| member.id).collect();
        clusters.entry((cluster.id, ids)).or_default().push(node);
    }
    if clusters.len() < 2 {
        return None;
    }
    let numbers: BTreeSet<u64> = clusters.keys().map(|(id, _)| *id).collect();
    let parts: Vec<String> = clusters
        .iter()
        .map(|((id, _), nodes)| {
            let members = &told[nodes[0]].members;
            let members: Vec<String> = members.iter().map(Member::title).collect();
            let nodes: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
            let verb = if nodes.len() == 1 { "is" } else { "are" };
            format!(
                "{} {verb} in {id:x} with the members {}",
                nodes.join(", "),
                members.join(", ")
            )
        })
        .collect();
    let what = if numbers.len() > 1 {
        format!("the nodes are in {} etcd clusters", numbers.len())
    } else {
        "the nodes' etcds disagree on who the members are".to_owned()
    };
    Some(format!("{what}: {}", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(id: u64, members: &[u64]) -> Cluster {
        let member = |id: &u64| Member {
            id: *id,
            name: format!("node{id}"),
            peer_urls: vec![],
            client_urls: vec![],
            is_learner: false,
            is_healthy: true,
        };
        Cluster {
            id,
            members: members.iter().map(member).collect(),
        }
    }

    #[track_caller]
    fn check(told: &[(u64, &[u64])], expected: Option<&str>) {
        let nodes = told.iter().enumerate().map(|(index, (id, members))| {
            let node: NodeName = format!("node{}", index + 1).parse().unwrap();
            (node, cluster(*id, members))
        });
        assert_eq!(disagreement(&nodes.collect()).as_deref(), expected);
    }

    #[test]
    fn one_cluster_is_what_all_members_tell_alike() {
        check(&[], None);
        check(&[(10, &[1])], None);
        check(&[(10, &[1, 2, 3]), (10, &[3, 2, 1])], None);
        check(
            &[(10, &[1]), (11, &[2, 3]), (11, &[2, 3])],
            Some(
                "the nodes are in 2 etcd clusters: node1 is in a with the members node1; \
                node2, node3 are in b with the members node2, node3",
            ),
        );
        check(
            &[(10, &[1]), (10, &[1, 2])],
            Some(
                "the nodes' etcds disagree on who the members are: node1 is in a with the members \
                node1; node2 is in a with the members node1, node2",
            ),
        );
    }
}
