//! The cluster as a whole: its name, versions and networks.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::name::{ClusterName, DomainName};
use crate::image::Reference;
use crate::version::Version;

/// `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name: the etcd cluster token and the name in kubeconfigs derive from it.
    pub name: ClusterName,
    /// The Kubernetes version of every component that has none of its own.
    pub kubernetes: Version,
    /// The etcd version; by default the one upstream pairs with this Kubernetes.
    pub etcd: Version,
    /// The cluster's DNS domain, `cluster.local` by default.
    pub domain: DomainName,
    /// Where clients outside the cluster reach the API; by default the first control-plane node.
    pub endpoint: Endpoint,
    /// The network of Service addresses.
    pub service_cidr: IpNet,
    /// The network of Pod addresses.
    pub pod_cidr: IpNet,
    /// How Pods of one node reach those of another; where nothing is said, what the nodes' networks
    /// allow.
    pub network: Option<Network>,
    /// How traffic to Services reaches Pods.
    pub proxy: Proxy,
    /// The address of the cluster's DNS service.
    pub dns: IpAddr,
    /// Images that lie on every worker, beside the one that each Pod begins with.
    pub images: BTreeSet<Reference>,
}

/// How Pods of one node reach those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A route to each other node: for nodes on one link.
    Routes,
    /// A VXLAN tunnel between all nodes: across any IP network.
    Vxlan,
    /// However the user sees to it: Calico, Cilium and the like.
    None,
}

impl Network {
    /// All of them, by the word in the inventory.
    pub const ALL: [(&'static str, Self); 3] = [
        ("routes", Self::Routes),
        ("vxlan", Self::Vxlan),
        ("none", Self::None),
    ];

    /// The word in the inventory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routes => "routes",
            Self::Vxlan => "vxlan",
            Self::None => "none",
        }
    }

    /// What it takes of each packet, in bytes: a tunnel has an outer Ethernet, IP and UDP header and
    /// its own (RFC 7348); of IPv6, which is longer by 20, as much.
    pub const fn overhead(self) -> u32 {
        match self {
            Self::Routes | Self::None => 0,
            Self::Vxlan => 70,
        }
    }
}

/// How traffic to Services reaches Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proxy {
    /// kube-proxy with iptables.
    #[default]
    Iptables,
    /// kube-proxy with nftables: alpha in Kubernetes 1.29, beta in 1.31, stable in 1.33.
    Nftables,
    /// However the user sees to it.
    None,
}

impl Proxy {
    /// All of them, by the word in the inventory.
    pub const ALL: [(&'static str, Self); 3] = [
        ("iptables", Self::Iptables),
        ("nftables", Self::Nftables),
        ("none", Self::None),
    ];
}

impl Cluster {
    /// The tenth address of the Service network, as everyone has it; of one with fewer the last.
    pub(super) fn default_dns(service_cidr: IpNet) -> IpAddr {
        let mut hosts = service_cidr.hosts();
        let tenth = hosts.nth(usize::from(matches!(service_cidr, IpNet::V6(_))) + 9);
        tenth
            .or_else(|| service_cidr.hosts().last())
            .unwrap_or(service_cidr.addr())
    }

    /// The address of the `kubernetes` Service: the first of the Service network after the
    /// network's own (kube-apiserver takes it so in both families).
    pub fn service_address(&self) -> IpAddr {
        match self.service_cidr {
            IpNet::V4(network) => {
                Ipv4Addr::from_bits(network.network().to_bits().saturating_add(1)).into()
            }
            IpNet::V6(network) => {
                Ipv6Addr::from_bits(network.network().to_bits().saturating_add(1)).into()
            }
        }
    }

    /// The DNS domain of a cluster that names none.
    pub(super) fn default_domain() -> DomainName {
        "cluster.local"
            .parse()
            .expect("`cluster.local` is a domain")
    }

    /// The network of Services of a cluster that names none.
    pub(super) fn default_service_cidr() -> IpNet {
        "10.32.0.0/24".parse().expect("`10.32.0.0/24` is a network")
    }

    /// The network of Pods of a cluster that names none.
    pub(super) fn default_pod_cidr() -> IpNet {
        "10.200.0.0/16"
            .parse()
            .expect("`10.200.0.0/16` is a network")
    }
}

/// Where the API answers: `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A DNS name or an IP address.
    pub host: super::San,
    /// The port, 6443 by default.
    pub port: u16,
}

impl Endpoint {
    /// The port where none is named: kube-apiserver's own.
    pub const PORT: u16 = 6443;
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            super::San::Ip(IpAddr::V6(address)) => write!(f, "https://[{address}]:{}", self.port),
            host => write!(f, "https://{host}:{}", self.port),
        }
    }
}
