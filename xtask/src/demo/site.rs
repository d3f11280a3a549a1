//! A directory with an inventory in it, and kinstall run there.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use super::Error;
use crate::command::Program;
use crate::mirror::{Mirror, Version, server::Server};
use crate::nodes::{self, Bed};
use crate::say;

/// What each node of a cluster with Pods is. A node of the control plane takes Pods of everybody where
/// it has no taint.
const OF_ALL_ROLES: &str = "roles = [\"etcd\", \"control-plane\", \"worker\"]\ntaints = []\n";
/// Nodes that lie on this machine's disk all see it run full at once, and a kubelet would evict its Pods.
const DISK: &str = "\n[component.kubelet]\nconfig = { evictionHard = { \"nodefs.available\" = \"1%\", \
    \"imagefs.available\" = \"1%\", \"memory.available\" = \"50Mi\" } }\n";
/// A push of everything to slow nodes, in seconds.
const KINSTALL_SECONDS: u64 = 1200;

/// Where kinstall downloads from.
pub(crate) enum Source {
    /// From where it does by default.
    Upstream {
        /// The Kubernetes.
        kubernetes: Version,
    },
    /// From a mirror of ours.
    Mirror {
        /// The mirror.
        mirror: Mirror,
        /// What serves it.
        server: Server,
    },
}

/// What the nodes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A control plane, and no more.
    ControlPlane,
    /// Pods, too.
    Pods,
}

/// An inventory of three nodes, with what kinstall keeps beside it.
pub(crate) struct Site {
    directory: PathBuf,
    kinstall: PathBuf,
    cache: PathBuf,
}

impl Site {
    /// Writes an inventory of all nodes of a bed; what was there before goes.
    pub(crate) fn lay_out(
        kinstall: &Path,
        name: &str,
        source: &Source,
        purpose: Purpose,
        bed: &Bed,
    ) -> Result<Self, Error> {
        let ssh = format!("[ssh]\nconfig = \"{}\"\n\n", bed.ssh_config()?.display());
        let nodes = bed.nodes()?.into_iter();
        let nodes = nodes.map(|node| (node.to_string(), bed.address(node).to_string()));
        Self::write(kinstall, name, source, purpose, &ssh, nodes)
    }

    /// The same for three nodes that are not there.
    pub(crate) fn without_nodes(
        kinstall: &Path,
        name: &str,
        source: &Source,
        subnet: &str,
    ) -> Result<Self, Error> {
        let node = |number| (format!("node{number}"), format!("{subnet}.{}", 10 + number));
        let nodes = (1..=3).map(node);
        Self::write(kinstall, name, source, Purpose::Pods, "", nodes)
    }

    fn write(
        kinstall: &Path,
        name: &str,
        source: &Source,
        purpose: Purpose,
        ssh: &str,
        nodes: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let directory = nodes::cached(name);
        if directory.exists() {
            fs_err::remove_dir_all(&directory)?;
        }
        fs_err::create_dir_all(&directory)?;
        let mut text = format!(
            "[cluster]\nname = \"{name}\"\n{}\n{ssh}{}",
            source.cluster_versions(),
            source.tables()
        );
        if purpose == Purpose::Pods {
            text += DISK;
        }
        for (node, address) in nodes {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n[[node]]\nname = \"{node}\"\naddress = \"{address}\"\n"
            );
            if purpose == Purpose::Pods {
                text += OF_ALL_ROLES;
            }
            if ssh.is_empty() {
                let arch = match std::env::consts::ARCH {
                    "x86_64" => "amd64",
                    _ => "arm64",
                };
                let _ = writeln!(text, "arch = \"{arch}\"");
            }
        }
        fs_err::write(directory.join("inventory.toml"), text)?;
        Ok(Self {
            cache: match source {
                // What upstream has is worth keeping; what a mirror has is here already.
                Source::Upstream { .. } => nodes::cached("downloads"),
                Source::Mirror { .. } => directory.join("cache"),
            },
            directory,
            kinstall: kinstall.to_owned(),
        })
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The inventory.
    pub(crate) fn inventory(&self) -> PathBuf {
        self.directory.join("inventory.toml")
    }

    /// kinstall with a command and the inventory, and maybe more words.
    pub(crate) fn command(&self, words: &[&str]) -> Program {
        let (command, more) = words.split_first().unwrap_or((&"status", &[]));
        Program::new(&self.kinstall)
            .args([command, "inventory.toml"])
            .args(more)
            .env("KINSTALL_CACHE", &self.cache)
            .directory(&self.directory)
            .limit_seconds(KINSTALL_SECONDS)
    }

    /// Runs kinstall where everybody can see it, and expects that exit code.
    pub(crate) fn kinstall(&self, words: &[&str], expected: i32) -> Result<(), Error> {
        let line = words.join(" ").replacen(' ', " inventory.toml ", 1);
        let line = match words {
            [command] => format!("kinstall {command} inventory.toml"),
            _ => format!("kinstall {line}"),
        };
        say::line(format!("\n$ {line}"));
        let status = self.command(words).attached()?;
        if status.code() == Some(expected) {
            return Ok(());
        }
        Err(Error::Kinstall {
            line,
            found: status.to_string(),
            expected,
        })
    }

    /// Removes everything, the authority's keys included.
    pub(crate) fn remove(self) -> std::io::Result<()> {
        fs_err::remove_dir_all(self.directory)
    }
}

impl Source {
    fn cluster_versions(&self) -> String {
        match self {
            Self::Upstream { kubernetes } => format!("kubernetes = \"{kubernetes}\"\n"),
            Self::Mirror { mirror, .. } => mirror.cluster_versions(),
        }
    }

    fn tables(&self) -> String {
        match self {
            Self::Upstream { .. } => String::new(),
            Self::Mirror { mirror, server } => mirror.tables(&server.url()),
        }
    }
}

impl fmt::Display for Source {
    /// Which servers these are, plainly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream { kubernetes } => {
                write!(f, "genuine Kubernetes servers {kubernetes} from dl.k8s.io")
            }
            Self::Mirror { mirror, .. } => mirror.fmt(f),
        }
    }
}
