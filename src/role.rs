//! What a node is for.

use std::fmt;

use serde::Serialize;

/// What a node is for. The order is the order of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A member of the etcd cluster.
    Etcd,
    /// Runs kube-apiserver, kube-controller-manager and kube-scheduler.
    ControlPlane,
    /// Runs kubelet and kube-proxy.
    Worker,
}

impl Role {
    /// All of them, in rollout order.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::ControlPlane, Self::Worker];

    /// The word in the inventory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
