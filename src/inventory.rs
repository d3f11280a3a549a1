//! What was asked for: the inventory, parsed into types that cannot be invalid.
//!
//! [`Inventory::parse`] is pure and reports every problem of a file at once. Everything above this
//! module takes an [`Inventory`] for granted.

pub mod cluster;
pub mod name;
pub mod node;
pub mod pairing;
pub mod pattern;
pub mod pods;
pub mod problem;
pub mod settings;
pub mod span;
pub mod starter;
pub mod vault;

mod check;
mod draft;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::component::{self, Component, Feature, PAUSE, Pair, Track, pause_tag};
use crate::digest::Digest;
use crate::image::Reference;

use crate::template::Overrides;
use crate::version::Version;

pub use cluster::{Cluster, Endpoint, Network, Proxy};
pub use name::{ClusterName, DomainName, NodeName};
pub use node::{Effect, Node, Profile, Role, San, Ssh, Taint};
pub use pattern::Pattern;
pub use pods::Pods;
pub use problem::{Problem, Problems};
pub use settings::{
    Authorities, ComponentSettings, Drain, Encryption, EtcdAccess, HostKeys, KeyType, Kms, KmsApi,
    OnFailure, Pki, PkiSource, Provider, Requirement, Rollout, Source, Widths,
};
pub use span::{Setting, SettingSpan, Spans, VersionSpans};

/// A whole inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The directory of the inventory file: what relative paths in it start from, and where
    /// `kinstall.lock` and `pki/` lie.
    pub directory: PathBuf,
    /// The file's name, as it was given.
    pub file: String,
    /// The digest of the file's text.
    pub digest: Digest,
    /// The cluster as a whole.
    pub cluster: Cluster,
    /// Where its versions are said.
    pub places: VersionSpans,
    /// Where binaries come from.
    pub source: Source,
    /// Where certificates come from and what they are like.
    pub pki: Pki,
    /// Who may do what in etcd.
    pub etcd: EtcdAccess,
    /// Encryption at rest.
    pub encryption: Encryption,
    /// Time limits and widths of a rollout.
    pub rollout: Rollout,
    /// The directory of the user's own templates and drop-ins, relative to the inventory; by default
    /// [`Inventory::TEMPLATES`], which need not be there.
    pub templates: Option<PathBuf>,
    /// What is in it, once it was read.
    pub own: Overrides,
    /// What is said of a component for all nodes.
    pub components: BTreeMap<String, ComponentSettings>,
    /// The nodes, by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Where each node's Pods are, and how they are reached from the others.
    pub pods: Pods,
}

impl Inventory {
    /// Where the user's own templates lie unless the inventory says where.
    pub const TEMPLATES: &str = "templates";

    /// The nodes that have a role, in the order of their names.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes
            .values()
            .filter(move |node| node.roles.contains(&role))
    }

    /// Whether a node gets a component.
    pub fn gets(&self, component: &Component, node: &Node) -> bool {
        let mut roles = component.roles.iter();
        roles.any(|role| node.roles.contains(role))
            && component.feature.is_none_or(|feature| self.has(feature))
    }

    /// Whether the cluster has something that another could do without.
    fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::PodNetwork => {
                self.cluster.network != Some(Network::None)
                    && self.with_role(Role::Worker).next().is_some()
            }
            Feature::Proxy => self.cluster.proxy != Proxy::None,
        }
    }

    /// The image that each Pod begins with.
    pub fn pause_image(&self) -> Reference {
        let tag = pause_tag(self.cluster.kubernetes.minor());
        let name = format!("{PAUSE}:{tag}");
        name.parse().expect("the table holds names of images")
    }

    /// The images that lie on a node before anything asks for them.
    pub fn images(&self, node: &Node) -> BTreeSet<Reference> {
        if !node.roles.contains(&Role::Worker) {
            return BTreeSet::new();
        }
        let images = self.cluster.images.iter().cloned();
        images.chain([self.pause_image()]).collect()
    }

    /// What is said of a component on a node: the node's own words over the cluster's.
    pub fn component(&self, name: &str, node: &Node) -> ComponentSettings {
        let mut settings = self.components.get(name).cloned().unwrap_or_default();
        if let Some(own) = node.components.get(name) {
            settings.overlay(own);
        }
        settings
    }

    /// The version of a component on a node: its own, else the cluster's.
    pub fn version(&self, component: &str, node: &Node) -> Version {
        let of_cluster = match component::track(component) {
            Track::Etcd => self.cluster.etcd,
            Track::Kubernetes(_) => self.cluster.kubernetes,
            Track::Own(pairs) => {
                let kubernetes = self.cluster.kubernetes;
                Pair::of(pairs, kubernetes.minor()).unwrap_or(kubernetes)
            }
        };
        self.component(component, node)
            .version
            .unwrap_or(of_cluster)
    }

    /// Below which key the kube-apiserver of a node keeps everything in etcd: kube-apiserver's
    /// own default is `/registry`.
    pub fn etcd_prefix(&self, node: &Node) -> String {
        let mut settings = self.component("kube-apiserver", node);
        let flag = settings.flags.remove("etcd-prefix");
        let said = flag.or_else(|| self.etcd.prefix.clone());
        said.unwrap_or_else(|| "/registry".to_owned())
    }

    /// The user that the kube-apiserver of a node is to etcd, where the inventory says it. That
    /// there is something for each of its words has been checked.
    pub fn etcd_user(&self, node: Option<&Node>) -> Option<String> {
        let filled = self.etcd.user.as_ref()?.fill(|word| match word {
            "cluster" => Some(self.cluster.name.to_string()),
            word => node?.word(word),
        });
        filled.ok()
    }

    /// The port that the kube-apiserver of a node listens on: its flag `secure-port`, else 6443.
    pub fn api_port(&self, node: &Node) -> u16 {
        let settings = self.component("kube-apiserver", node);
        settings.port().unwrap_or(Endpoint::PORT)
    }
}
