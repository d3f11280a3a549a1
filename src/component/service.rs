//! A service: its command line, whom it talks to, how it is asked.

use serde::{Deserialize, Serialize};

use super::{Access, Valid, When};
use crate::credential::{AuthorityName, Kind};
use crate::template::Builtin;

/// The order in which units are brought up, and which of them may be touched together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// etcd: a new cluster together, a running one member by member.
    Etcd,
    /// kube-apiserver: one by one.
    Apiserver,
    /// What talks to the kube-apiserver of its own node.
    Controllers,
    /// What runs Pods: after the control plane that it talks to.
    Workers,
}

impl Stage {
    /// All of them, in the order of a rollout.
    pub const ALL: [Self; 4] = [
        Self::Etcd,
        Self::Apiserver,
        Self::Controllers,
        Self::Workers,
    ];

    /// The word a user is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "kube-apiserver",
            Self::Controllers => "controllers",
            Self::Workers => "workers",
        }
    }
}

/// A systemd service.
#[derive(Debug)]
pub struct Service {
    /// Whom it runs as.
    pub account: Account,
    /// When it has its turn.
    pub stage: Stage,
    /// The text of its unit file.
    pub template: Builtin,
    /// The flags of its command line, in the order they are written.
    pub flags: &'static [Flag],
    /// Those of them that only its first start reads.
    pub first_start: &'static [&'static str],
    /// Its environment, where kinstall has something to say.
    pub environment: &'static [Variable],
    /// What it writes, and alone may write.
    pub data: &'static [Data],
    /// Whom it has to talk to.
    pub reach: Reach,
    /// How to ask whether it is healthy; none where only systemd can tell.
    pub probe: Option<Probe>,
    /// Whether it keeps the Node object of its machine: that is made before it starts, and it is
    /// well only once that is Ready.
    pub registers: bool,
    /// Services before it in the table with which it is restarted.
    pub follows: &'static [&'static str],
    /// Commands of a shell, run once it is stopped for good, that take away what it left in the
    /// kernel and on the disk. The programs and files of the component are still there.
    pub cleanup: &'static [&'static str],
}

/// A directory that a service writes to, and that outlives it. systemd makes it (`StateDirectory=`,
/// `LogsDirectory=`), or the service itself, so that no manifest names it.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    /// Where it lies.
    pub directory: &'static str,
    /// The flags that name something in it.
    pub flags: &'static [&'static str],
    /// What there is taken away with the data, where that is not all of it.
    pub contents: Option<&'static str>,
}

/// Whom a service runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// A user and a group of the component's name.
    Own {
        /// The user's home; nothing is written there unless the unit says so.
        home: &'static str,
    },
    /// root.
    Root,
}

impl Account {
    /// Whether it can read what those who have this access can.
    pub fn can_read(self, access: Access) -> bool {
        self == Self::Root || access != Access::Root
    }
}

/// Whom a service has to talk to, beside its own machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The members of etcd and the kube-apiservers, all of which the inventory knows: it is kept
    /// from anyone else, unless the inventory names further networks.
    Members,
    /// All nodes, Pods and Services, and anyone who uses the cluster: it is kept from anyone only
    /// where the inventory names the networks of those.
    Cluster,
    /// All nodes, Pods and Services, which the inventory knows: it is kept from anyone else, unless the
    /// inventory names further networks.
    Nodes,
    /// The kube-apiserver of its own machine, and what its extensions need: as before.
    Machine,
}

/// How to ask a service whether it is healthy.
#[derive(Debug)]
pub struct Probe {
    /// How it answers.
    pub scheme: Scheme,
    /// The port, unless the flag `secure-port` says another.
    pub port: u16,
    /// The path.
    pub path: &'static str,
    /// The client certificate to show.
    pub client: Option<Kind>,
    /// Who signed what the server shows.
    pub authority: Option<AuthorityName>,
}

/// How a service answers whether it is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Over TLS.
    #[default]
    Https,
    /// In the clear, on the node's loopback.
    Http,
}

impl Scheme {
    /// The word in a URL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// One flag of a command line, for the versions and clusters in which it is right.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without `--`.
    pub name: &'static str,
    /// Its value: handlebars text.
    pub value: &'static str,
    /// The versions it is written for.
    pub valid: Valid,
    /// The clusters and nodes it is written for.
    pub when: When,
}

/// A variable of a unit's environment.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value: handlebars text.
    pub value: &'static str,
    /// The versions it is written for.
    pub valid: Valid,
    /// The clusters and nodes it is written for.
    pub when: When,
}

/// A flag for every version and every cluster.
pub(super) const fn flag(name: &'static str, value: &'static str) -> Flag {
    Flag {
        name,
        value,
        valid: Valid::ALWAYS,
        when: When::Always,
    }
}

impl Flag {
    /// The same flag for some versions only.
    pub(super) const fn valid(self, valid: Valid) -> Self {
        Self { valid, ..self }
    }

    /// The same flag for some clusters or nodes only.
    pub(super) const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }
}
