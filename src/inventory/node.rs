//! One node: its name, address, roles and how to reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::name::{DomainName, NodeName};
use super::settings::{ComponentSettings, HostKeys};
use crate::arch::Arch;

pub use crate::role::Role;

/// How much machine a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// A server, a VM, a PC: the table of components as it stands.
    #[default]
    Standard,
    /// A Raspberry Pi and the like, of one to four gigabytes: less memory, fewer requests at once.
    Small,
}

impl Profile {
    /// All of them, by the word in the inventory.
    pub const ALL: [(&'static str, Self); 2] =
        [("standard", Self::Standard), ("small", Self::Small)];
}

/// A name or an address that a certificate may be valid for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A DNS name.
    Dns(DomainName),
    /// An IP address.
    Ip(IpAddr),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// What keeps Pods away from a node that do not tolerate it: `key=value:Effect`, `key:Effect`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it does to Pods.
    pub effect: Effect,
}

/// What a taint does to Pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// No new ones come.
    NoSchedule,
    /// New ones come only where there is no other place.
    PreferNoSchedule,
    /// Those that are there go, too.
    NoExecute,
}

impl Effect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute];

    /// The word in a taint.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl Taint {
    /// That of a node with the role `control-plane`.
    pub fn control_plane() -> Self {
        Self {
            key: "node-role.kubernetes.io/control-plane".to_owned(),
            value: String::new(),
            effect: Effect::NoSchedule,
        }
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        let sign = if value.is_empty() { "" } else { "=" };
        write!(f, "{key}{sign}{value}:{}", effect.name())
    }
}

/// `[[node]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the inventory.
    pub name: NodeName,
    /// The address the cluster knows it by, unique in the inventory.
    pub address: IpAddr,
    /// The address of its etcd member, where that is another.
    pub etcd_address: Option<IpAddr>,
    /// What it is for; never empty.
    pub roles: BTreeSet<Role>,
    /// The architecture the inventory says it has; found on the node where it says nothing.
    pub arch: Option<Arch>,
    /// How much machine it is: its own word, else the cluster's.
    pub profile: Profile,
    /// Its domain name.
    pub domain: Option<DomainName>,
    /// The domain name of its etcd member, where that is another.
    pub etcd_domain: Option<DomainName>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Labels, as Kubernetes knows them.
    pub labels: BTreeMap<String, String>,
    /// Taints: what keeps Pods away that do not tolerate it.
    pub taints: BTreeSet<Taint>,
    /// More names and addresses that its serving certificates should be valid for.
    pub sans: BTreeSet<San>,
    /// How to reach it, `[ssh]` and its own words taken together.
    pub ssh: Ssh,
    /// What is said of a component on this node alone.
    pub components: BTreeMap<String, ComponentSettings>,
}

impl Node {
    /// What stands for a word of a pattern.
    pub fn word(&self, word: &str) -> Option<String> {
        match word {
            "node" => Some(self.name.to_string()),
            "zone" => self.zone.clone(),
            "address" => Some(self.address.to_string()),
            "domain" => self.domain.as_ref().map(ToString::to_string),
            _ => None,
        }
    }

    /// The address of its etcd member.
    pub fn etcd_address(&self) -> IpAddr {
        self.etcd_address.unwrap_or(self.address)
    }

    /// The name its etcd certificates are filed under: the etcd domain, else the domain, else the name.
    pub fn etcd_domain(&self) -> &str {
        let domain = self.etcd_domain.as_ref().or(self.domain.as_ref());
        domain.map_or(self.name.as_str(), DomainName::as_str)
    }
}

/// How a node is reached. What is not said here is for the user's own `ssh_config` to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ssh {
    /// The name or address that ssh is given; by default the node's address.
    pub host: Option<String>,
    /// The user to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Whether a user other than root becomes root by sudo.
    pub sudo: bool,
    /// An `ssh_config` in place of the user's own, relative to the inventory.
    pub config: Option<PathBuf>,
    /// What is done about a host key that is not known.
    pub host_keys: HostKeys,
}
