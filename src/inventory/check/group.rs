//! The nodes as a group: nobody twice, and enough of each role.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::inventory::draft::{Draft, Field, NodeDraft};
use crate::inventory::node::Role;
use crate::inventory::problem::Problem;
use crate::inventory::table::{At, Found};

/// Names, addresses and domains that two nodes share.
pub(super) fn distinct(draft: &Draft, found: &mut Found) {
    let mut names = Owners::default();
    let mut addresses = Owners::default();
    let mut domains = Owners::default();
    for (index, node) in draft.nodes.iter().enumerate() {
        if let Some(name) = &node.written_name {
            // Hosts' names differ in more than case, for DNS as for people.
            let name = name.clone().map(|name| name.to_lowercase());
            names.claim(index, &name, "name", NAME_HELP, found);
        }
        for address in [&node.address, &node.etcd_address] {
            addresses.claim_said(index, address, "address", ADDRESS_HELP, found);
        }
        for domain in [&node.domain, &node.etcd_domain] {
            domains.claim_said(index, domain, "domain", DOMAIN_HELP, found);
        }
    }
}

const NAME_HELP: &str = "give each node a name of its own, different in more than case";
const ADDRESS_HELP: &str = "give each node an address of its own; its etcd member may have another";
const DOMAIN_HELP: &str =
    "give each node a domain of its own; a name that they share goes to `endpoint` or `sans`";

/// Which node said something first.
struct Owners<T>(BTreeMap<T, (usize, std::ops::Range<usize>)>);

impl<T> Default for Owners<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord + Clone + Display> Owners<T> {
    fn claim_said(
        &mut self,
        node: usize,
        said: &Field<T>,
        noun: &str,
        help: &str,
        found: &mut Found,
    ) {
        if let Some(at) = said.this() {
            self.claim(node, at, noun, help, found);
        }
    }

    fn claim(&mut self, node: usize, at: &At<T>, noun: &str, help: &str, found: &mut Found) {
        let first = (node, at.span.clone());
        let (owner, place) = self.0.entry(at.value.clone()).or_insert(first);
        if *owner != node {
            let shown = crate::inventory::table::shown(&at.value.to_string());
            let message = format!("two nodes have the {noun} `{shown}`");
            let problem = Problem::new(at.span.clone(), "again here", message);
            found.push(problem.and_at(place.clone(), "first here").help(help));
        }
    }
}

/// An etcd that can decide, and a control plane.
pub(super) fn members(draft: &Draft, found: &mut Found) {
    let unknown = draft.nodes.iter().any(|node| node.roles.is_wrong());
    if draft.nodes.is_empty() || unknown {
        return;
    }
    let having = |role| draft.nodes.iter().filter(move |node| node.has(role));
    let everywhere = |label, message: &str, help: &str| {
        let mut places = draft.nodes.iter().map(NodeDraft::name_place);
        let first = places.next().unwrap_or_default();
        Problem::new(first, label, message).help(help)
    };
    match having(Role::Etcd).count() {
        0 => found.push(everywhere(
            "no `etcd` here, nor below",
            "no node has the role `etcd`",
            "give one node or three the role `etcd`: without it nothing is remembered",
        )),
        even if even % 2 == 0 => {
            let last = having(Role::Etcd).next_back().map(NodeDraft::name_place);
            found.push(even_group(even, last.unwrap_or_default()));
        }
        _ => {}
    }
    if having(Role::ControlPlane).next().is_none() {
        found.push(everywhere(
            "no `control-plane` here, nor below",
            "no node has the role `control-plane`",
            "give at least one node the role `control-plane`: kube-apiserver runs there",
        ));
    }
    for node in &draft.nodes {
        let about_etcd = [
            node.etcd_address.this().map(|at| &at.span),
            node.etcd_domain.this().map(|at| &at.span),
        ];
        if let (false, Some(place)) = (
            node.has(Role::Etcd),
            about_etcd.into_iter().flatten().next(),
        ) {
            let message = format!(
                "{} has no member of etcd that this could be said of",
                node.title()
            );
            let problem = Problem::new(place.clone(), "not used", message);
            found.push(
                problem
                    .help("add `etcd` to its `roles`, or leave this out")
                    .warning(),
            );
        }
    }
}

/// Some kube-apiserver must be left while others are away. Where there is one alone, nothing helps.
pub(super) fn widths(draft: &Draft, found: &mut Found) {
    let unknown = draft.nodes.iter().any(|node| node.roles.is_wrong());
    let Some(width) = draft.rollout.apiserver_width.as_ref().filter(|_| !unknown) else {
        return;
    };
    let servers = draft.nodes.iter();
    let servers = servers.filter(|node| node.has(Role::ControlPlane)).count();
    if width.value > 1 && width.value >= servers {
        let message = format!(
            "`width.kube-apiserver` is {}, and {servers} are all there are",
            width.value
        );
        let problem = Problem::new(width.span.clone(), "none would be left", message);
        found.push(problem.help("take fewer, so that some kube-apiserver always answers"));
    }
}

/// An even group: a majority of it is no smaller a part to lose than of one member fewer.
fn even_group(members: usize, place: std::ops::Range<usize>) -> Problem {
    let (fewer, survived) = (members - 1, (members - 1) / 2);
    let message = match survived {
        0 => "2 members of etcd are less safe than 1: losing either stops both".to_owned(),
        1 => {
            format!("{members} members of etcd are no safer than {fewer}: both survive one failure")
        }
        _ => format!(
            "{members} members of etcd are no safer than {fewer}: both survive {survived} failures"
        ),
    };
    let help = format!(
        "take the role `etcd` from one node, as with `roles = [\"control-plane\"]`, or give it to \
         one more: {fewer} or {} members",
        members + 1
    );
    Problem::new(place, format!("member {members}"), message).help(help)
}
