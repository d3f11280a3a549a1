//! The cluster as a whole: its name, versions and networks.

use std::fmt;
use std::net::IpAddr;

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
    /// The address of the `kubernetes` Service: the first of the Service network.
    pub fn service_address(&self) -> IpAddr {
        self.service_cidr
            .hosts()
            .next()
            .unwrap_or_else(|| self.service_cidr.addr())
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            super::San::Ip(IpAddr::V6(address)) => write!(f, "https://[{address}]:{}", self.port),
            host => write!(f, "https://{host}:{}", self.port),
        }
    }
}
