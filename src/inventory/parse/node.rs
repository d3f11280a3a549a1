//! `[[node]]` and how a node is reached.

use std::collections::{BTreeMap, BTreeSet};

use super::{address, component, scalar};
use crate::arch::Arch;
use crate::inventory::draft::{NodeDraft, SshDraft};
use crate::inventory::node::{Profile, Role, San, Taint};
use crate::inventory::problem::Problem;
use crate::inventory::settings::HostKeys;
use crate::inventory::table::{At, Found, Table, Value, shown};

/// What others call the roles.
const ROLE_ALIASES: [(&str, &str); 3] = [
    ("master", "control-plane"),
    ("controller", "control-plane"),
    ("node", "worker"),
];

/// What others call the architectures.
const ARCH_ALIASES: [(&str, &str); 6] = [
    ("aarch64", "arm64"),
    ("arm", "armhf"),
    ("armv7", "armhf"),
    ("armv7l", "armhf"),
    ("x86-64", "amd64"),
    ("x86_64", "amd64"),
];

/// Reads all nodes, in the order of the file.
pub(super) fn all(nodes: &Value<'_>, found: &mut Found) -> Vec<NodeDraft> {
    let due = "an array of tables";
    let Some(elements) = nodes.elements(due, found) else {
        return Vec::new();
    };
    if elements.is_empty() {
        let problem = nodes.problem("empty", "there is no node");
        found.push(problem.help("add `[[node]]` with a `name` and an `address`"));
    }
    elements
        .iter()
        .filter_map(|element| one(element, found))
        .collect()
}

fn one(element: &Value<'_>, found: &mut Found) -> Option<NodeDraft> {
    let mut table = element.table("a `[[node]]`", found)?;
    table.span = element.span.clone();
    let written_name = table.peek_text("name");
    let of = match &written_name {
        Some(name) => format!(" of node `{}`", shown(&name.value)),
        None => " of a node".to_owned(),
    };
    if let Some(name) = &written_name {
        table.name = format!("node `{}`", shown(&name.value));
    }
    let mut draft = NodeDraft {
        place: element.span.clone(),
        written_name,
        name: table.read_required("name", "name = \"az1\"", found, scalar::name),
        address: table.read_required(
            "address",
            "address = \"10.0.12.1\"",
            found,
            address::machine,
        ),
        etcd_address: table.read("etcd-address", found, address::machine),
        roles: table.read("roles", found, roles),
        arch: table.read("arch", found, arch),
        profile: table.read("profile", found, profile),
        domain: table.read("domain", found, address::domain),
        etcd_domain: table.read("etcd-domain", found, address::domain),
        zone: table.read("zone", found, scalar::zone),
        taints: table.read("taints", found, taints),
        ..NodeDraft::default()
    };
    if let Some(value) = table.take("labels") {
        draft.labels = labels(&value, found);
    }
    if let Some(value) = table.take("sans") {
        draft.sans = sans(&value, found);
    }
    if let Some(value) = table.take("ssh")
        && let Some(mut own) = value.table(format!("`ssh`{of}"), found)
    {
        draft.ssh = ssh(&mut own, found);
        draft.ssh.host = own.read("host", found, scalar::ssh_host);
        own.finish(found);
    }
    if let Some(value) = table.take("component")
        && let Some(own) = value.table(format!("`component`{of}"), found)
    {
        draft.components = component::all(own, &of, found);
    }
    table.finish(found);
    Some(draft)
}

fn roles(value: &Value<'_>, found: &mut Found) -> Option<At<BTreeSet<Role>>> {
    let elements = value.elements("an array of strings", found)?;
    let words = Role::ALL.map(|role| (role.name(), role));
    if elements.is_empty() {
        let help = "name what the node is for, or leave `roles` out: etcd and control plane";
        found.push(value.problem("empty", "`roles` is empty").help(help));
        return None;
    }
    let roles: Vec<_> = elements
        .iter()
        .map(|element| element.word(&words, &ROLE_ALIASES, found))
        .collect();
    let roles: Option<BTreeSet<Role>> = roles.into_iter().map(|role| Some(role?.value)).collect();
    roles.map(|roles| value.at(roles))
}

fn arch(value: &Value<'_>, found: &mut Found) -> Option<At<Arch>> {
    let words = Arch::ALL.map(|arch| (arch.name(), arch));
    value.word(&words, &ARCH_ALIASES, found)
}

/// `profile`, of a node or of all.
pub(super) fn profile(value: &Value<'_>, found: &mut Found) -> Option<At<Profile>> {
    value.word(&Profile::ALL, &[], found)
}

fn labels(value: &Value<'_>, found: &mut Found) -> BTreeMap<String, String> {
    let Some(mut table) = value.table("`labels`", found) else {
        return BTreeMap::new();
    };
    let label = |(key, value): (&str, Value<'_>)| scalar::label(key, &value, found);
    table.take_all().filter_map(label).collect()
}

fn taints(value: &Value<'_>, found: &mut Found) -> Option<At<BTreeSet<Taint>>> {
    let elements = value.elements("an array of strings", found)?;
    let taints = elements.iter().map(|element| scalar::taint(element, found));
    // Every one that is wrong is told.
    let taints: Vec<_> = taints.collect();
    let taints: Option<BTreeSet<Taint>> = taints.into_iter().collect();
    taints.map(|taints| value.at(taints))
}

fn sans(value: &Value<'_>, found: &mut Found) -> BTreeSet<San> {
    let elements = value
        .elements("an array of strings", found)
        .unwrap_or_default();
    let san = |element: &Value<'_>| Some(address::san(element, found)?.value);
    elements.iter().filter_map(san).collect()
}

/// `[ssh]`, which is for all nodes.
pub(super) fn ssh_of_all(mut table: Table<'_>, found: &mut Found) -> SshDraft {
    let draft = ssh(&mut table, found);
    if let Some(host) = table.take("host") {
        let message = "`host` in `[ssh]` would send every node's commands to one machine";
        let help = "say it of one node: `ssh = { host = \"...\" }` below its `[[node]]`";
        found.push(Problem::new(host.key_span, "of one node only", message).help(help));
    }
    table.finish(found);
    draft
}

/// What can be said of all nodes and of one.
fn ssh(table: &mut Table<'_>, found: &mut Found) -> SshDraft {
    let host_keys = [
        ("strict", HostKeys::Strict),
        ("accept-new", HostKeys::AcceptNew),
    ];
    SshDraft {
        user: table.read("user", found, scalar::user),
        port: table.read("port", found, |value, found| {
            let port = value.integer("ports", 1..=65535, found)?;
            Some(value.at(u16::try_from(port).ok()?))
        }),
        sudo: table.read("sudo", found, |value, found| {
            Some(value.at(value.boolean(found)?))
        }),
        config: table.read("config", found, scalar::local_path),
        host_keys: table.read("host-keys", found, |value, found| {
            value.word(&host_keys, &[], found)
        }),
        ..SshDraft::default()
    }
}
