//! The inventory that a new user begins with: `kinstall init`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use super::pairing::etcd_for;
use super::{Inventory, NodeName};
use crate::version::Version;

/// What `--nodes` names cannot become an inventory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum NoStarter {
    /// A word that is neither a node's name nor an address, nor one and the other.
    #[error("`{0}` is not a node")]
    #[diagnostic(help("write a name, an address, or both: `--nodes az1=10.0.12.1,az2=10.0.22.1`"))]
    NotANode(String),
    /// The nodes do not fit each other, or an address cannot be a node's.
    #[error("these nodes cannot make a cluster: {0}")]
    #[diagnostic(help("give each node a name and an address of its own, all of one family"))]
    Misfit(String),
}

/// A node for the starter, as the command line names it.
struct StarterNode {
    name: NodeName,
    /// None where only a name is given: an example's address stands in for it.
    address: Option<IpAddr>,
}

/// The most nodes that the starter's example addresses are enough for.
const NODES_MAX: usize = 200;

impl Inventory {
    /// A commented inventory for `kinstall init`, which [`Inventory::parse`] takes as it is.
    ///
    /// Each node is `NAME=ADDRESS`, `ADDRESS` (its name is then `node1`, `node2`, ...) or `NAME`
    /// (its address is then one of those kept for examples, with a comment to change it). Without
    /// any, three nodes stand in. Of an even number the last gets no etcd, since an even group is
    /// no safer than one of a member fewer.
    pub fn starter(nodes: &[String], kubernetes: Version) -> Result<String, NoStarter> {
        let examples = ["node1", "node2", "node3"].map(str::to_owned);
        let words = if nodes.is_empty() { &examples } else { nodes };
        if words.len() > NODES_MAX {
            return Err(NoStarter::Misfit(format!("more than {NODES_MAX} nodes")));
        }
        let nodes = read(words)?;
        let text = write(&nodes, kubernetes);
        match Self::parse(&text, "the starter", Path::new("")) {
            Ok(_) => Ok(text),
            Err(problems) => {
                let said: BTreeSet<_> = problems.iter().map(ToString::to_string).collect();
                let said: Vec<_> = said.into_iter().collect();
                Err(NoStarter::Misfit(said.join("; ")))
            }
        }
    }
}

fn read(words: &[String]) -> Result<Vec<StarterNode>, NoStarter> {
    let node = |(index, word): (usize, &String)| {
        let refuse = || NoStarter::NotANode(super::table::shown(word));
        let numbered = || format!("node{}", index + 1).parse().map_err(|_| refuse());
        if let Some((name, address)) = word.split_once('=') {
            let name = name.parse().map_err(|_| refuse())?;
            let address = address.parse().map_err(|_| refuse())?;
            let address = Some(address);
            Ok(StarterNode { name, address })
        } else if let Ok(address) = word.parse() {
            let (name, address) = (numbered()?, Some(address));
            Ok(StarterNode { name, address })
        } else {
            let name = word.parse().map_err(|_| refuse())?;
            let address = None;
            Ok(StarterNode { name, address })
        }
    };
    words.iter().enumerate().map(node).collect()
}

const HEAD: &str = r#"# What `kinstall push` makes true. Everything but the name, the Kubernetes version and the nodes
# has a default; the lines that begin with `#` show some of it.

[cluster]
name = "home"
kubernetes = "{kubernetes}"
# etcd = "{etcd}"            # by default the one that upstream pairs with this Kubernetes
# endpoint = "https://kube-apiserver.example.org:6443" # a balancer or a name for the API, if any
# templates = "templates"    # your own units, configuration and drop-ins; by default that directory
"#;

const NETWORKS_IPV4: &str = r#"# service-cidr = "10.32.0.0/24"
# pod-cidr = "10.200.0.0/16"
"#;

const NETWORKS_IPV6: &str = r#"service-cidr = "fd00:32::/112"
pod-cidr = "fd00:200::/48"
"#;

const MIDDLE: &str = r#"
# How nodes are reached; the rest is what your ~/.ssh/config says.
# [ssh]
# user = "ubuntu"
# sudo = true                # unless the user is root

# Certificates: by default kinstall's own authority, kept in `pki/` beside this file. `from` may also be
# "directory" (what cfssl or kubeadm made, in `dir`) or "vault" (with a table `[pki.vault]`).
# [pki]
# days = 365
# ca-days = 3650

# Flags of a component beyond kinstall's own, or in their place.
# [component.kube-apiserver]
# flags = { audit-log-maxage = 60 }
"#;

fn write(nodes: &[StarterNode], kubernetes: Version) -> String {
    let is_v6 = |node: &StarterNode| node.address.is_some_and(|address| address.is_ipv6());
    let v6 = nodes.iter().any(is_v6);
    let etcd = etcd_for(kubernetes.minor()).map(|etcd| etcd.to_string());
    let mut text = HEAD.replace("{kubernetes}", &kubernetes.to_string());
    text = text.replace("{etcd}", &etcd.unwrap_or_default());
    text.push_str(if v6 { NETWORKS_IPV6 } else { NETWORKS_IPV4 });
    text.push_str(MIDDLE);
    for (index, node) in nodes.iter().enumerate() {
        let (address, comment) = match node.address {
            Some(address) => (address.to_string(), ""),
            None => (example(index, v6), " # an example: write the node's own"),
        };
        let name = &node.name;
        let node = format!("\n[[node]]\nname = \"{name}\"\naddress = \"{address}\"{comment}\n");
        text.push_str(&node);
        if index == 0 {
            text.push_str(
                "# arch = \"arm64\"           # found on the node where it is not said\n",
            );
        }
        let last_of_even = index + 1 == nodes.len() && nodes.len().is_multiple_of(2);
        if last_of_even {
            writeln!(
                text,
                "roles = [\"control-plane\"]  # no etcd: {} members are no safer than {index}",
                nodes.len()
            )
            .expect("writing to a string cannot fail");
        }
    }
    text
}

/// An address kept for documentation (RFC 5737, RFC 3849).
fn example(index: usize, v6: bool) -> String {
    let host = index + 11;
    if v6 {
        format!("2001:db8::{host}")
    } else {
        format!("192.0.2.{host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starter(nodes: &[&str]) -> Result<Inventory, NoStarter> {
        let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        let text = Inventory::starter(&nodes, "1.36.3".parse().unwrap())?;
        let (inventory, warnings) = Inventory::parse(&text, "f", Path::new("")).unwrap();
        assert_eq!(warnings, []);
        Ok(inventory)
    }

    #[track_caller]
    fn check(nodes: &[&str], expected: &str) {
        let inventory = starter(nodes).unwrap();
        let nodes = inventory.nodes.values().map(|node| {
            let roles: Vec<_> = node.roles.iter().map(|role| role.name()).collect();
            format!("{} {} {}", node.name, node.address, roles.join("+"))
        });
        assert_eq!(nodes.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn a_starter_is_an_inventory_of_the_nodes_named() {
        check(
            &[],
            "node1 192.0.2.11 etcd+control-plane, node2 192.0.2.12 etcd+control-plane, \
             node3 192.0.2.13 etcd+control-plane",
        );
        check(&["10.0.12.1"], "node1 10.0.12.1 etcd+control-plane");
        check(&["az1=10.0.12.1"], "az1 10.0.12.1 etcd+control-plane");
        check(
            &["az1", "10.0.12.2"],
            "az1 192.0.2.11 etcd+control-plane, node2 10.0.12.2 control-plane",
        );
        check(&["az1=fd00::1"], "az1 fd00::1 etcd+control-plane");
    }

    #[test]
    fn what_cannot_be_a_cluster_is_refused() {
        for word in [
            "",
            "Az1",
            "az1=",
            "=10.0.0.1",
            "az1=az1.home",
            "a b",
            "10.0.0.1/24",
        ] {
            let expected = NoStarter::NotANode(word.to_owned());
            assert_eq!(starter(&[word]), Err(expected), "{word}");
        }
        for (words, message) in [
            (
                ["a=10.0.0.1", "b=10.0.0.1"],
                "two nodes have the address `10.0.0.1`",
            ),
            (["node2", "10.0.0.1"], "two nodes have the name `node2`"),
            (
                ["a=127.0.0.1", "b"],
                "`127.0.0.1` is a loopback address: no other machine reaches a node there",
            ),
        ] {
            let expected = NoStarter::Misfit(message.to_owned());
            assert_eq!(starter(&words), Err(expected));
        }
    }
}
