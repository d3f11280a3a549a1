//! From text to an [`Inventory`], noting everything that is wrong on the way.

mod address;
mod cluster;
mod component;
mod etcd;
mod invisible;
mod kms;
mod node;
mod rollout;
mod scalar;
mod settings;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::cluster::{Cluster, Endpoint, Proxy};
use super::draft::{ClusterDraft, ComponentDraft, Draft, Field, NodeDraft, SshDraft};
use super::node::{Node, Profile, Role, San, Ssh, Taint};
use super::pairing::etcd_for;
use super::pods::Pods;
use super::problem::{Problem, Problems};
use super::settings::ComponentSettings;
use super::span::VersionSpans;
use super::table::{Found, Table};
use super::{Inventory, check};
use crate::digest::Digest;

use crate::template::Overrides;

impl Inventory {
    /// Reads an inventory, and answers it with what is doubtful in it.
    ///
    /// The file's name is only for showing; relative paths in the inventory start from the
    /// directory. Errors are all the problems of the text at once, or the one place where it
    /// stops to be TOML.
    pub fn parse(
        text: &str,
        file: &str,
        directory: &Path,
    ) -> Result<(Self, Vec<Problem>), Problems> {
        // Some editors begin a file with a byte order mark. As a space of the same three bytes it
        // does no harm, and places still fit the text.
        let bare = text
            .strip_prefix('\u{feff}')
            .map(|rest| format!("   {rest}"));
        let shown = bare.as_deref().unwrap_or(text);
        let refuse = |problems| Problems::new(file, shown, problems);
        let root = DeTable::parse(shown).map_err(|error| refuse(vec![no_toml(shown, &error)]))?;
        let mut found = Found::new();
        let draft = read(&root, &mut found);
        check::all(&draft, &mut found);
        // Where one matters, it has been told of in better words.
        if found.iter().all(Problem::is_warning) {
            invisible::find(root.get_ref(), &mut found);
        }
        if found.iter().all(Problem::is_warning) {
            let inventory = finish(draft, directory);
            let mut inventory =
                inventory.expect("a draft without problems has everything it needs");
            inventory.file = Path::new(file).file_name().map_or_else(
                || file.to_owned(),
                |name| name.to_string_lossy().into_owned(),
            );
            inventory.digest = Digest::of(text.as_bytes());
            Ok((inventory, found))
        } else {
            Err(refuse(found))
        }
    }
}

/// The problem of a text that is not TOML.
fn no_toml(text: &str, error: &Error) -> Problem {
    let end = text.len();
    let span = error.span().unwrap_or(end..end);
    let span = span.start.min(end)..span.end.min(end);
    let message = format!("not TOML: {}", error.message());
    let help = if message.contains("quoted") {
        "a text goes in quotes: `name = \"home\"`"
    } else if message.contains("duplicate key") {
        "a key can be said once: leave one of them out"
    } else {
        "the format is described at https://toml.io"
    };
    Problem::new(span, "invalid TOML", message).help(help)
}

/// Reads all tables.
fn read(root: &Spanned<DeTable<'_>>, found: &mut Found) -> Draft {
    let mut draft = Draft::default();
    let mut root = Table::new("an inventory", 0..0, root.get_ref());
    if !root.has("cluster") {
        found.push(
            Problem::new(
                0..0,
                "nothing is said of the cluster",
                "there is no `[cluster]`",
            )
            .help("begin with `[cluster]`, `name = \"home\"` and `kubernetes = \"1.36.3\"`"),
        );
    }
    if let Some(table) = section(&mut root, "cluster", found) {
        draft.cluster = cluster::read(table, found);
    }
    if let Some(table) = section(&mut root, "ssh", found) {
        draft.ssh = node::ssh_of_all(table, found);
    }
    if let Some(table) = section(&mut root, "source", found) {
        draft.source = settings::source(table, found);
    }
    if let Some(table) = section(&mut root, "pki", found) {
        draft.pki = settings::pki(table, found);
    }
    if let Some(table) = section(&mut root, "etcd", found) {
        (draft.etcd, draft.etcd_user_place) = etcd::read(table, found);
    }
    if let Some(table) = section(&mut root, "encryption", found) {
        draft.encryption = settings::encryption(table, &draft.cluster, found);
    }
    if let Some(table) = section(&mut root, "rollout", found) {
        draft.rollout = rollout::read(table, found);
    }
    if let Some(table) = section(&mut root, "component", found) {
        draft.components = component::all(table, "", found);
    }
    match root.take("node") {
        Some(nodes) => draft.nodes = node::all(&nodes, found),
        None => found.push(
            Problem::new(0..0, "no node is named", "there is no node")
                .help("add `[[node]]` with `name = \"az1\"` and `address = \"10.0.12.1\"`"),
        ),
    }
    root.finish(found);
    draft
}

/// A table of the whole inventory.
fn section<'a>(root: &mut Table<'a>, key: &'static str, found: &mut Found) -> Option<Table<'a>> {
    root.take(key)?.table(format!("`[{key}]`"), found)
}

/// Makes an inventory of a draft without problems.
fn finish(draft: Draft, directory: &Path) -> Option<Inventory> {
    let cluster = finish_cluster(&draft)?;
    let places = VersionSpans {
        kubernetes: draft.cluster.kubernetes.this()?.span.clone(),
        etcd: draft.cluster.etcd.this().map(|etcd| etcd.span.clone()),
    };
    let common = draft.ssh;
    let profile = draft.cluster.profile.value().unwrap_or_default();
    let node = |node: NodeDraft| finish_node(node, &common, profile);
    let nodes = draft.nodes.into_iter().map(node);
    let nodes: Option<Vec<Node>> = nodes.collect();
    Some(Inventory {
        directory: directory.to_owned(),
        // Both are told by anyone who has the text.
        file: String::new(),
        digest: Digest::of(b""),
        cluster,
        places,
        source: draft.source,
        pki: draft.pki,
        etcd: draft.etcd,
        encryption: draft.encryption,
        rollout: draft.rollout.rollout,
        templates: draft.cluster.templates.value(),
        own: Overrides::default(),
        components: finish_components(draft.components),
        nodes: nodes?
            .into_iter()
            .map(|node| (node.name.clone(), node))
            .collect(),
        // Read by anyone who has the directory.
        pods: Pods::default(),
    })
}

fn finish_cluster(draft: &Draft) -> Option<Cluster> {
    let cluster: &ClusterDraft = &draft.cluster;
    let kubernetes = cluster.kubernetes.this()?.value;
    let first = draft
        .nodes
        .iter()
        .find(|node| node.has(Role::ControlPlane))?;
    let endpoint = Endpoint {
        host: San::Ip(first.address.this()?.value),
        port: api_port(&draft.components, first),
    };
    let service_cidr = cluster
        .service_cidr
        .or_default(Cluster::default_service_cidr())?
        .0;
    let (etcd, _) = cluster.etcd.or_default(etcd_for(kubernetes.minor())?)?;
    Some(Cluster {
        name: cluster.name.this()?.value.clone(),
        kubernetes,
        etcd,
        domain: cluster.domain.or_default(Cluster::default_domain())?.0,
        endpoint: cluster.endpoint.or_default(endpoint)?.0,
        service_cidr,
        pod_cidr: cluster.pod_cidr.or_default(Cluster::default_pod_cidr())?.0,
        network: cluster.network.this().map(|it| it.value),
        proxy: cluster.proxy.or_default(Proxy::default())?.0,
        dns: cluster
            .dns
            .or_default(Cluster::default_dns(service_cidr))?
            .0,
        images: cluster.images.or_default(BTreeSet::new())?.0,
    })
}

/// The port of a node's kube-apiserver, by its flag `secure-port`.
fn api_port(common: &BTreeMap<&'static str, ComponentDraft>, node: &NodeDraft) -> u16 {
    let port = |components: &BTreeMap<&'static str, ComponentDraft>| {
        components.get("kube-apiserver")?.settings.port()
    };
    let port = port(&node.components).or_else(|| port(common));
    port.unwrap_or(Endpoint::PORT)
}

fn finish_node(draft: NodeDraft, common: &SshDraft, profile: Profile) -> Option<Node> {
    let roles = draft.roles()?;
    // What runs a control plane is not for everybody's Pods, unless that is said.
    let default = if roles.contains(&Role::ControlPlane) {
        BTreeSet::from([Taint::control_plane()])
    } else {
        BTreeSet::new()
    };
    Some(Node {
        roles,
        taints: draft.taints.or_default(default)?.0,
        name: draft.name.value()?,
        address: draft.address.value()?,
        etcd_address: draft.etcd_address.value(),
        arch: draft.arch.value(),
        profile: draft.profile.value().unwrap_or(profile),
        domain: draft.domain.value(),
        etcd_domain: draft.etcd_domain.value(),
        zone: draft.zone.value(),
        labels: draft.labels,
        sans: draft.sans,
        ssh: finish_ssh(draft.ssh, common),
        components: finish_components(draft.components),
    })
}

/// A node's own words over those for all.
fn finish_ssh(own: SshDraft, common: &SshDraft) -> Ssh {
    fn over<T: Clone>(own: Field<T>, common: &Field<T>) -> Option<T> {
        own.value().or_else(|| common.clone().value())
    }
    Ssh {
        host: own.host.value(),
        user: over(own.user, &common.user),
        port: over(own.port, &common.port),
        sudo: over(own.sudo, &common.sudo).unwrap_or(true),
        config: over(own.config, &common.config),
        host_keys: over(own.host_keys, &common.host_keys).unwrap_or_default(),
    }
}

fn finish_components(
    drafts: BTreeMap<&'static str, ComponentDraft>,
) -> BTreeMap<String, ComponentSettings> {
    let finish = |(name, draft): (&str, ComponentDraft)| (name.to_owned(), draft.settings);
    drafts.into_iter().map(finish).collect()
}
