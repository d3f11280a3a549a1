//! Where each node's Pods are: the part of the Pod network that a node has, which never changes, and
//! how the nodes reach each other's.
//!
//! Kubernetes lets a Node's range be set once. Whoever looks at the Node, and kinstall, which renders
//! it into files before there is a Node, must agree on it: so it is given out here, in the order of
//! the inventory, and remembered in [`FILE`] beside the inventory. What was given out is never given
//! to another node, not even when the first one is gone.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::cluster::Network;
use super::name::NodeName;
use super::node::Role;
use super::settings::ComponentSettings;
use super::{Inventory, Node};
use crate::plain;

/// The file that remembers it, beside the inventory.
pub const FILE: &str = "kinstall.pods";
/// Who parts the Pod network.
pub(super) const MANAGER: &str = "kube-controller-manager";
/// It may be this long, in bytes: a node takes about 40.
pub const BYTES_MAX: u64 = 1 << 20;

/// What can be the most bytes of a packet: from the least of IPv6 to what Linux' loopback takes.
pub const MTU: std::ops::RangeInclusive<u32> = 1280..=65536;

const HEADER: &str = "\
# Made by `kinstall push`; commit it. The Pod range of a node never changes, and no two nodes share
# one. A node that is gone keeps its own, so that it may come back: remove its line to give it away.
";

/// How Pods are reached, and where each node's are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pods {
    /// How nodes reach the Pods of others, once that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The most bytes of a Pod's packet, as the nodes' links allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The range of each node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<NodeName, IpNet>,
}

/// Why ranges cannot be given out, or what was remembered cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The file is not what kinstall writes.
    #[error("`{FILE}`: {message}")]
    #[diagnostic(help(
        "take the file back from version control; a cluster tells its ranges: \
         `kubectl get nodes -o custom-columns=NAME:.metadata.name,RANGE:.spec.podCIDR`"
    ))]
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// Two nodes have one range, or overlapping ones.
    #[error("`{FILE}`: {first} has {range}, which overlaps with {other} of {second}")]
    #[diagnostic(help(
        "each Node says which is right: `kubectl get nodes -o \
         custom-columns=NAME:.metadata.name,RANGE:.spec.podCIDR`; correct or remove the other line"
    ))]
    Overlap {
        /// A node.
        first: NodeName,
        /// Its range.
        range: IpNet,
        /// Another node.
        second: NodeName,
        /// Its range.
        other: IpNet,
    },
    /// A range lies outside of the Pod network.
    #[error("`{FILE}`: {node} has {range}, which is not in the Pod network {network}")]
    #[diagnostic(help(
        "the Pod network of a cluster cannot be changed while its Nodes exist: take the former \
         `pod-cidr` back, or, where the cluster is made again, remove the file"
    ))]
    Outside {
        /// The node.
        node: NodeName,
        /// Its range.
        range: IpNet,
        /// The Pod network.
        network: IpNet,
    },
    /// All is given out.
    #[error("the Pod network {network} has no part left for {node}: all of /{bits} are given out")]
    #[diagnostic(help(
        "remove the lines of nodes that are gone for good from `{FILE}`, once they are gone from \
         the cluster, too: `kubectl get nodes`"
    ))]
    Exhausted {
        /// The node.
        node: NodeName,
        /// The Pod network.
        network: IpNet,
        /// The prefix length of a node's part.
        bits: u8,
    },
}

impl Pods {
    /// Reads what [`Pods::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let read: Self = toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| {
                text.get(..span.start)
                    .unwrap_or_default()
                    .matches('\n')
                    .count()
                    + 1
            });
            let message = format!("line {line}: {}", plain::brief(error.message()));
            Error::Malformed { message }
        })?;
        let odd = |(node, range): (&NodeName, &IpNet)| {
            let whole = range.trunc();
            let message = format!("{node} has {range}, which is in the network {whole} and none");
            (*range != whole).then_some(message)
        };
        let mtu = read.mtu.filter(|mtu| !MTU.contains(mtu));
        let mtu = mtu.map(|mtu| format!("no packet has {mtu} bytes at most"));
        match mtu.or_else(|| read.ranges.iter().find_map(odd)) {
            Some(message) => Err(Error::Malformed { message }),
            None => Ok(read),
        }
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let body = toml::to_string(self).expect("names and networks are TOML");
        format!("{HEADER}{body}")
    }
}

impl Inventory {
    /// Gives a range to each worker that has none, on what is remembered.
    pub fn with_pods(mut self, remembered: Pods) -> Result<Self, Error> {
        self.pods = remembered;
        check(&self.pods.ranges, self.cluster.pod_cidr)?;
        let workers: Vec<NodeName> = self
            .with_role(Role::Worker)
            .map(|node| node.name.clone())
            .filter(|name| !self.pods.ranges.contains_key(name))
            .collect();
        if workers.is_empty() {
            return Ok(self);
        }
        let (network, bits) = (self.cluster.pod_cidr, self.pod_range_bits());
        let taken: BTreeSet<IpNet> = self.pods.ranges.values().copied().collect();
        // None of those overlaps with another: what overlaps with a part is next to it.
        let is_free = |part: &IpNet| {
            let (before, after) = (taken.range(..=part).next_back(), taken.range(part..).next());
            !before
                .into_iter()
                .chain(after)
                .any(|other| overlap(*part, *other))
        };
        let parts = network.subnets(bits).ok().into_iter().flatten();
        let mut free = parts.filter(is_free);
        for node in workers {
            let Some(range) = free.next() else {
                return Err(Error::Exhausted {
                    node,
                    network,
                    bits,
                });
            };
            self.pods.ranges.insert(node, range);
        }
        Ok(self)
    }

    /// How nodes reach the Pods of others: as the inventory says, else as was chosen before. Where
    /// nothing was chosen yet, nothing has looked at the nodes, and routes are what is shown.
    pub fn network(&self) -> Network {
        let said = self.cluster.network.or(self.pods.network);
        said.unwrap_or(Network::Routes)
    }

    /// The range of a node's Pods; none for a node without any.
    pub fn pod_range(&self, node: &Node) -> Option<IpNet> {
        let range = self.pods.ranges.get(&node.name).copied();
        range.filter(|_| node.roles.contains(&Role::Worker))
    }

    /// The most bytes of a Pod's packet: as the nodes' links allow, and of a tunnel what it leaves.
    pub fn pod_mtu(&self) -> u32 {
        let ethernet = 1500;
        self.pods
            .mtu
            .unwrap_or(ethernet - self.network().overhead())
    }

    /// The prefix length of a node's part of the Pod network.
    fn pod_range_bits(&self) -> u8 {
        let settings = self.components.get(MANAGER);
        range_bits(self.cluster.pod_cidr, settings)
    }
}

/// The prefix length of a node's part of a Pod network: what kube-controller-manager's flags say, or its
/// default.
pub(super) fn range_bits(network: IpNet, manager: Option<&ComponentSettings>) -> u8 {
    let (flag, default) = match network {
        IpNet::V4(_) => ("node-cidr-mask-size-ipv4", 24),
        IpNet::V6(_) => ("node-cidr-mask-size-ipv6", 64),
    };
    let flags = manager.map(|settings| &settings.flags);
    let said = flags.and_then(|it| it.get(flag).or_else(|| it.get("node-cidr-mask-size")));
    let said = said.and_then(|text| text.parse().ok());
    said.filter(|length| *length <= network.max_prefix_len())
        .unwrap_or(default)
}

fn check(ranges: &BTreeMap<NodeName, IpNet>, network: IpNet) -> Result<(), Error> {
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_by_key(|(_, range)| **range);
    for (node, range) in &sorted {
        if !network.contains(*range) {
            return Err(Error::Outside {
                node: (*node).clone(),
                range: **range,
                network,
            });
        }
    }
    // What is sorted overlaps with its neighbour, if with anything.
    for pair in sorted.windows(2) {
        let [(first, range), (second, other)] = pair else {
            continue;
        };
        if overlap(**range, **other) {
            return Err(Error::Overlap {
                first: (*first).clone(),
                range: **range,
                second: (*second).clone(),
                other: **other,
            });
        }
    }
    Ok(())
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn inventory(nodes: &[&str], more: &str) -> Inventory {
        use std::fmt::Write as _;
        let mut text = format!(
            "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n{more}\n\
             [[node]]\nname = \"az1\"\naddress = \"10.0.1.1\"\n"
        );
        for (number, node) in nodes.iter().enumerate() {
            _ = write!(
                text,
                "[[node]]\nname = \"{node}\"\naddress = \"10.0.2.{}\"\nroles = [\"worker\"]\n",
                number + 1
            );
        }
        Inventory::parse(&text, "x", Path::new("/x")).unwrap().0
    }

    fn ranges(inventory: &Inventory) -> Vec<String> {
        let ranges = inventory.pods.ranges.iter();
        ranges
            .map(|(node, range)| format!("{node} {range}"))
            .collect()
    }

    #[test]
    fn a_range_is_given_once_and_for_all() {
        let first = inventory(&["b", "a"], "")
            .with_pods(Pods::default())
            .unwrap();
        assert_eq!(ranges(&first), ["a 10.200.0.0/24", "b 10.200.1.0/24"]);
        // One goes, others come, whatever their names and order.
        let next = inventory(&["0", "b", "z"], "")
            .with_pods(first.pods)
            .unwrap();
        let expected = [
            "0 10.200.2.0/24",
            "a 10.200.0.0/24",
            "b 10.200.1.0/24",
            "z 10.200.3.0/24",
        ];
        assert_eq!(ranges(&next), expected);
        let read = Pods::parse(&next.pods.to_text()).unwrap();
        assert_eq!(read, next.pods);
        let a = next.nodes.values().next().unwrap();
        assert_eq!(next.pod_range(a).unwrap().to_string(), "10.200.2.0/24");
    }

    #[test]
    fn a_node_without_pods_has_no_range() {
        let all = inventory(&["a"], "").with_pods(Pods::default()).unwrap();
        assert_eq!(ranges(&all), ["a 10.200.0.0/24"]);
        assert_eq!(all.pod_range(&all.nodes[&"az1".parse().unwrap()]), None);
    }

    #[test]
    fn what_was_remembered_is_checked_and_what_is_left_is_given_out() {
        let of = |text: &str| {
            inventory(&["a", "b"], "pod-cidr = \"10.9.0.0/22\"").with_pods(Pods::parse(text)?)
        };
        let told = |text: &str| of(text).unwrap_err().to_string();
        assert_eq!(
            told("[ranges]\na = \"10.9.1.0/24\"\nx = \"10.9.1.128/25\""),
            "`kinstall.pods`: a has 10.9.1.0/24, which overlaps with 10.9.1.128/25 of x"
        );
        assert_eq!(
            told("[ranges]\na = \"10.8.1.0/24\""),
            "`kinstall.pods`: a has 10.8.1.0/24, which is not in the Pod network 10.9.0.0/22"
        );
        assert_eq!(
            told("[ranges]\na = \"10.9.1.0/24\"\nx = \"10.9.0.0/24\"\ny = \"10.9.2.0/23\""),
            "the Pod network 10.9.0.0/22 has no part left for b: all of /24 are given out"
        );
        assert!(told("[ranges]\na = \"ten\"").starts_with("`kinstall.pods`: line 2: "));
        assert_eq!(
            told("[ranges]\na = \"10.9.1.7/24\""),
            "`kinstall.pods`: a has 10.9.1.7/24, which is in the network 10.9.1.0/24 and none"
        );
        assert_eq!(
            told("mtu = 4294967295"),
            "`kinstall.pods`: no packet has 4294967295 bytes at most"
        );
        assert!(told("routes = true").contains("unknown field `routes`"));
        // A range of another size than the others have is kept clear of, too.
        let kept = of("[ranges]\na = \"10.9.0.128/25\"").unwrap();
        assert_eq!(ranges(&kept), ["a 10.9.0.128/25", "b 10.9.1.0/24"]);
    }

    #[test]
    fn a_network_of_many_parts_is_given_out_soon() {
        use std::fmt::Write as _;
        let more = "pod-cidr = \"11.0.0.0/8\"\n\
                    [component.kube-controller-manager]\nflags = { node-cidr-mask-size = 32 }";
        let mut remembered = "[ranges]\n".to_owned();
        for number in 0..20_000 {
            let (high, low) = (number / 256, number % 256);
            _ = writeln!(remembered, "x{number} = \"11.0.{high}.{low}/32\"");
        }
        let begun = std::time::Instant::now();
        let all = inventory(&["b"], more).with_pods(Pods::parse(&remembered).unwrap());
        let range = all.unwrap().pods.ranges[&"b".parse().unwrap()];
        assert_eq!(range.to_string(), "11.0.78.32/32");
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn the_size_of_a_range_is_what_kube_controller_manager_is_told() {
        let flag = "\n[component.kube-controller-manager]\nflags = { node-cidr-mask-size = 26 }";
        let all = inventory(&["a", "b"], flag)
            .with_pods(Pods::default())
            .unwrap();
        assert_eq!(ranges(&all), ["a 10.200.0.0/26", "b 10.200.0.64/26"]);
    }
}
