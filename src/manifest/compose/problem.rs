//! Why no manifest could be written, and what to do about it.

use crate::certificate::{AuthorityName, CertificateId, Kind};
use crate::inventory::NodeName;
use crate::kubeconfig;
use crate::node_config;
use crate::remote_path::{NotARemotePath, RemotePath};
use crate::template::{self, Unquotable};

/// Why no manifest could be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A program or an image is not pinned.
    #[error("`{name}` for the node `{node}` is not pinned")]
    #[diagnostic(help("run `kinstall fetch` to pin what the inventory asks for"))]
    NotPinned {
        /// What.
        name: String,
        /// A node that needs it.
        node: NodeName,
    },
    /// A certificate is missing.
    #[error("the certificate `{kind}` for the node `{node}` is missing", kind = kind.name())]
    #[diagnostic(help("run `kinstall certs list` to see what there is and what there is not"))]
    NoCertificate {
        /// Which one.
        kind: Kind,
        /// A node that needs it.
        node: NodeName,
    },
    /// An authority's certificate is missing.
    #[error("the certificate of the authority `{name}` is missing")]
    #[diagnostic(help("run `kinstall certs list` to see what there is and what there is not"))]
    NoAuthority {
        /// Whose.
        name: AuthorityName,
    },
    /// A certificate begins to be valid at no time that can be written.
    #[error("the certificate `{id}` is valid from the second {not_before}, which is no date")]
    NotADate {
        /// Which one.
        id: CertificateId,
        /// Seconds since 1970.
        not_before: i64,
    },
    /// The user's fields cannot be put into a configuration.
    #[error("{node}: `config` cannot be put into `{path}`: {source}")]
    #[diagnostic(help("correct your own template of the file, or leave `config` out"))]
    Configuration {
        /// The node.
        node: NodeName,
        /// The file.
        path: RemotePath,
        /// Why.
        source: node_config::Unreadable,
    },
    /// A kubeconfig could not be written.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Missing),
    /// A path has characters that no path may have.
    #[error(transparent)]
    Path(#[from] NotARemotePath),
    /// A template does not render.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Template(#[from] template::Error),
    /// A flag's value cannot stand in a unit.
    #[error("the flag `{flag}` of `{component}` on the node `{node}` cannot be written")]
    #[diagnostic(help("flags in the inventory are one line of text"))]
    Flag {
        /// The node.
        node: NodeName,
        /// The component.
        component: &'static str,
        /// The flag.
        flag: String,
        /// Why.
        source: Unquotable,
    },
    /// A variable cannot stand in a unit.
    #[error("the variable `{name}` of `{component}` on the node `{node}` cannot be written")]
    #[diagnostic(help(
        "a name is letters, digits and `_`, not beginning with a digit; a value is one line of text"
    ))]
    Variable {
        /// The node.
        node: NodeName,
        /// The component.
        component: &'static str,
        /// The variable.
        name: String,
    },
    /// The flag `secure-port` is no port.
    #[error("`secure-port` of `{component}` on the node `{node}` is `{value}`, which is no port")]
    #[diagnostic(help("a port is a number from 1 to 65535"))]
    NotAPort {
        /// The node.
        node: NodeName,
        /// The component.
        component: &'static str,
        /// What was found.
        value: String,
    },
}
