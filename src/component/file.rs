//! What lies on a node for a component, and who may read it.

use crate::credential::{AuthorityName, Client, Kind};
use crate::node_config::Configuration;
use crate::template::Builtin;

/// A file or a pair of files. The paths are handlebars text.
#[derive(Debug, Clone, Copy)]
pub enum File {
    /// A text that kinstall writes.
    Template {
        /// Where it lies.
        path: &'static str,
        /// Its text: handlebars.
        text: Builtin,
        /// Who may read it.
        access: Access,
    },
    /// A configuration that kinstall writes, with the user's own fields in it.
    Configuration {
        /// Where it lies.
        path: &'static str,
        /// Its text: handlebars, and once rendered YAML.
        text: Builtin,
        /// Whose it is.
        of: Configuration,
        /// Who may read it.
        access: Access,
    },
    /// Where the Pods of every node are.
    Ways {
        /// Where it lies.
        path: &'static str,
    },
    /// An authority's certificate.
    Authority {
        /// Where it lies.
        path: &'static str,
        /// Whose it is.
        name: AuthorityName,
    },
    /// A certificate and its key, each under a dated name behind a stable link.
    Pair {
        /// The stable path without its ending: `.pem` and `.key` are put behind it.
        stem: &'static str,
        /// Which certificate.
        kind: Kind,
        /// Who may read the key.
        access: Access,
    },
    /// A kubeconfig for the kube-apiserver of the same node.
    Kubeconfig {
        /// Where it lies.
        path: &'static str,
        /// Whose it is.
        client: Client,
        /// Who may read it.
        access: Access,
    },
    /// The service-account pair: `.pem` is the public key, `.key` the private one.
    ServiceAccount {
        /// The path without its ending.
        stem: &'static str,
        /// Who may read the private key.
        access: Access,
    },
    /// `encryption-config.yaml`.
    EncryptionConfig {
        /// Where it lies.
        path: &'static str,
        /// Who may read it.
        access: Access,
    },
    /// The authority that certificate requests are signed with, alone, and its key, where that is at
    /// hand.
    Signer {
        /// The path without its ending: `.pem` and `.key` are put behind it.
        stem: &'static str,
        /// Who may read the key.
        access: Access,
    },
    /// The images of the node.
    Images {
        /// The directory that they lie in, by their parts.
        directory: &'static str,
    },
}

impl File {
    /// The text that ships inside kinstall, where it is one of those.
    pub const fn text(&self) -> Option<Builtin> {
        match *self {
            Self::Template { text, .. } | Self::Configuration { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Who may read it, or what is secret in it.
    pub const fn access(&self) -> Access {
        match *self {
            Self::Authority { .. } | Self::Ways { .. } => Access::Anyone,
            Self::Images { .. } => Access::Root,
            Self::Template { access, .. }
            | Self::Configuration { access, .. }
            | Self::Pair { access, .. }
            | Self::Kubeconfig { access, .. }
            | Self::ServiceAccount { access, .. }
            | Self::EncryptionConfig { access, .. }
            | Self::Signer { access, .. } => access,
        }
    }
}

/// A directory.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    /// Where it lies.
    pub path: &'static str,
    /// Who may enter it.
    pub access: Access,
}

/// Who may read a file or enter a directory. Nothing but root may write either, save a service
/// that owns a key of its own, which is read-only even to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone: `root:root`, 0644 or 0755.
    Anyone,
    /// root: `root:root`, 0600 or 0700.
    Root,
    /// One user: a file is its own, 0400; a directory is root's and lets its group in, 0750.
    User(&'static str),
    /// The members of a group: `root:GROUP`, 0440 or 0750.
    Group(&'static str),
}

impl Access {
    /// The user and the group of a file, and its permission bits.
    pub const fn of_file(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Anyone => ("root", "root", 0o644),
            Self::Root => ("root", "root", 0o600),
            Self::User(user) => (user, user, 0o400),
            Self::Group(group) => ("root", group, 0o440),
        }
    }

    /// The user and the group of a directory, and its permission bits.
    pub const fn of_directory(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Anyone => ("root", "root", 0o755),
            Self::Root => ("root", "root", 0o700),
            Self::User(group) | Self::Group(group) => ("root", group, 0o750),
        }
    }
}
