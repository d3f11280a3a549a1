//! An inventory half read: what each key said and where, so that checks can point at it.
//!
//! A value that was wrong has been reported already; a check that needs it is left out rather than
//! made on a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::cluster::{Endpoint, Network, Proxy};
use super::name::{ClusterName, DomainName, NodeName};
use super::node::{Profile, Role, San, Taint};
use super::pairing::etcd_for;
use super::settings::{ComponentSettings, Encryption, EtcdAccess, Pki, Rollout, Source};
use super::table::{At, Found, Table, Value};
use crate::arch::Arch;
use crate::component::{self, Pair, Track};
use crate::image::Reference;
use crate::version::Version;

/// The roles of a node of which nothing is said.
const DEFAULT_ROLES: [Role; 2] = [Role::Etcd, Role::ControlPlane];

/// What a key said.
#[derive(Debug, Clone, Default)]
pub(super) enum Field<T> {
    /// Nothing: the default holds.
    #[default]
    Nothing,
    /// Something that was refused.
    Wrong,
    /// This.
    This(At<T>),
}

impl<T> Field<T> {
    pub(super) fn this(&self) -> Option<&At<T>> {
        match self {
            Self::This(at) => Some(at),
            Self::Nothing | Self::Wrong => None,
        }
    }

    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::This(at) => Some(at.value),
            Self::Nothing | Self::Wrong => None,
        }
    }

    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }
}

impl<T: Clone> Field<T> {
    /// What holds, and whether it is the default; none where what was said is wrong.
    pub(super) fn or_default(&self, default: T) -> Option<(T, bool)> {
        match self {
            Self::Nothing => Some((default, true)),
            Self::Wrong => None,
            Self::This(at) => Some((at.value.clone(), false)),
        }
    }
}

impl<'a> Table<'a> {
    /// Reads a key that may be left out.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        found: &mut Found,
        read: impl FnOnce(&Value<'a>, &mut Found) -> Option<At<T>>,
    ) -> Field<T> {
        match self.take(key) {
            None => Field::Nothing,
            Some(value) => read(&value, found).map_or(Field::Wrong, Field::This),
        }
    }

    /// Reads a key that may not be left out.
    pub(super) fn read_required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        found: &mut Found,
        read: impl FnOnce(&Value<'a>, &mut Found) -> Option<At<T>>,
    ) -> Field<T> {
        let value = self.require(key, example, found);
        let read = value.and_then(|value| read(&value, found));
        read.map_or(Field::Wrong, Field::This)
    }
}

/// A whole inventory, half read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) cluster: ClusterDraft,
    pub(super) source: Source,
    pub(super) pki: Pki,
    pub(super) etcd: EtcdAccess,
    /// Where `[etcd]` says the user.
    pub(super) etcd_user_place: Range<usize>,
    pub(super) encryption: Encryption,
    pub(super) rollout: RolloutDraft,
    pub(super) ssh: SshDraft,
    pub(super) components: BTreeMap<&'static str, ComponentDraft>,
    /// In the order of the file.
    pub(super) nodes: Vec<NodeDraft>,
}

/// `[rollout]`, read.
#[derive(Debug, Default)]
pub(super) struct RolloutDraft {
    pub(super) rollout: Rollout,
    /// How many kube-apiservers may be away at once, where it is said.
    pub(super) apiserver_width: Option<At<usize>>,
}

/// `[cluster]`, half read.
#[derive(Debug, Default)]
pub(super) struct ClusterDraft {
    /// Where the table begins.
    pub(super) place: Range<usize>,
    pub(super) name: Field<ClusterName>,
    pub(super) kubernetes: Field<Version>,
    pub(super) etcd: Field<Version>,
    pub(super) domain: Field<DomainName>,
    pub(super) endpoint: Field<Endpoint>,
    pub(super) service_cidr: Field<IpNet>,
    pub(super) pod_cidr: Field<IpNet>,
    pub(super) network: Field<Network>,
    pub(super) proxy: Field<Proxy>,
    pub(super) dns: Field<IpAddr>,
    pub(super) images: Field<BTreeSet<Reference>>,
    pub(super) profile: Field<Profile>,
    pub(super) templates: Field<std::path::PathBuf>,
}

/// `[[node]]`, half read.
#[derive(Debug, Default)]
pub(super) struct NodeDraft {
    /// Where the table begins.
    pub(super) place: Range<usize>,
    /// The name as it was written, valid or not.
    pub(super) written_name: Option<At<String>>,
    pub(super) name: Field<NodeName>,
    pub(super) address: Field<IpAddr>,
    pub(super) etcd_address: Field<IpAddr>,
    pub(super) roles: Field<BTreeSet<Role>>,
    pub(super) arch: Field<Arch>,
    pub(super) profile: Field<Profile>,
    pub(super) domain: Field<DomainName>,
    pub(super) etcd_domain: Field<DomainName>,
    pub(super) zone: Field<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Field<BTreeSet<Taint>>,
    pub(super) sans: BTreeSet<San>,
    pub(super) ssh: SshDraft,
    pub(super) components: BTreeMap<&'static str, ComponentDraft>,
}

/// `[ssh]` or a node's own, half read.
#[derive(Debug, Clone, Default)]
pub(super) struct SshDraft {
    pub(super) host: Field<String>,
    pub(super) user: Field<String>,
    pub(super) port: Field<u16>,
    pub(super) sudo: Field<bool>,
    pub(super) config: Field<std::path::PathBuf>,
    pub(super) host_keys: Field<super::settings::HostKeys>,
}

/// `[component.NAME]`, half read. The version and the path are in the settings too.
#[derive(Debug, Default)]
pub(super) struct ComponentDraft {
    pub(super) version: Field<Version>,
    pub(super) path: Field<String>,
    pub(super) settings: ComponentSettings,
}

impl NodeDraft {
    /// The name as a message shows it.
    pub(super) fn title(&self) -> String {
        match &self.written_name {
            Some(name) => format!("node `{}`", super::table::shown(&name.value)),
            None => "a node without a name".to_owned(),
        }
    }

    /// Where to point when the node as a whole is meant.
    pub(super) fn name_place(&self) -> Range<usize> {
        let name = self.written_name.as_ref();
        name.map_or_else(|| self.place.clone(), |name| name.span.clone())
    }

    /// Its roles, the default ones included; none where they are wrong.
    pub(super) fn roles(&self) -> Option<BTreeSet<Role>> {
        let default = BTreeSet::from(DEFAULT_ROLES);
        self.roles.or_default(default).map(|(roles, _)| roles)
    }

    /// Whether it certainly has a role.
    pub(super) fn has(&self, role: Role) -> bool {
        match &self.roles {
            Field::Nothing => DEFAULT_ROLES.contains(&role),
            Field::Wrong => false,
            Field::This(roles) => roles.value.contains(&role),
        }
    }
}

impl Draft {
    /// The version of a component on a node, and where it is said; none where that is unknown.
    pub(super) fn version(&self, component: &str, node: &NodeDraft) -> Option<At<Version>> {
        let own = node.components.get(component).map(|it| &it.version);
        let common = self.components.get(component).map(|it| &it.version);
        for said in [own, common].into_iter().flatten() {
            match said {
                Field::This(version) => return Some(version.clone()),
                Field::Wrong => return None,
                Field::Nothing => {}
            }
        }
        let kubernetes = self.cluster.kubernetes.this()?;
        let at = |value| At {
            value,
            span: kubernetes.span.clone(),
        };
        match component::track(component) {
            Track::Kubernetes(_) => return Some(kubernetes.clone()),
            Track::Own(pairs) => return Pair::of(pairs, kubernetes.value.minor()).map(at),
            Track::Etcd => {}
        }
        match &self.cluster.etcd {
            Field::This(etcd) => Some(etcd.clone()),
            Field::Wrong => None,
            Field::Nothing => etcd_for(kubernetes.value.minor()).map(at),
        }
    }

    /// Whether the user brings a build of their own, even if its path is wrong.
    pub(super) fn has_own_build(&self, component: &str, node: &NodeDraft) -> bool {
        let said = |components: &BTreeMap<&'static str, ComponentDraft>| {
            let component = components.get(component);
            component.is_some_and(|it| !matches!(it.path, Field::Nothing))
        };
        said(&node.components) || said(&self.components)
    }
}
