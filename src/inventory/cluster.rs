//! The cluster as a whole: its name, versions and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::name::{ClusterName, DomainName};
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
}

impl Cluster {
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
