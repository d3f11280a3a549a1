//! Versions that run together, and builds that exist.
//!
//! Source of the rules: the Kubernetes version skew policy, and etcd's upgrade guides.

use crate::arch::Arch;
use crate::component::{COMPONENTS, Gap, Skew};
use crate::inventory::cluster::Proxy;
use crate::inventory::draft::{Draft, NodeDraft};
use crate::inventory::node::Role;
use crate::inventory::problem::Problem;
use crate::inventory::table::{At, Found};
use crate::version::Version;

/// Kubernetes' components too far from their kube-apiserver, and kube-apiservers from each other.
pub(super) fn skew(draft: &Draft, found: &mut Found) {
    let nodes = draft
        .nodes
        .iter()
        .filter(|node| node.has(Role::ControlPlane));
    let versions = |component: &'static str| {
        nodes
            .clone()
            .filter_map(move |node| Some((node, draft.version(component, node)?)))
    };
    let apart = versions("kube-apiserver").collect();
    if let Some(problem) = too_far_apart(apart, "kube-apiserver", "kube-apiservers") {
        found
            .push(problem.help("their minor versions may differ by one, while an upgrade goes on"));
    }
    let servers: Vec<_> = versions("kube-apiserver")
        .map(|(_, server)| server)
        .collect();
    for component in COMPONENTS.iter().filter(|it| !it.programs.is_empty()) {
        let Some(skew) = component.track.skew() else {
            continue;
        };
        let mut told = Vec::new();
        let with_role = |node: &&NodeDraft| component.roles.iter().any(|role| node.has(*role));
        for node in draft.nodes.iter().filter(with_role) {
            let Some(version) = draft.version(component.name, node) else {
                continue;
            };
            // What is on a node of the control plane talks to the one there, workers to any.
            let is_server = node.has(Role::ControlPlane);
            let own = is_server.then(|| draft.version("kube-apiserver", node));
            let servers = own.as_ref().map_or(&servers[..], Option::as_slice);
            for server in servers {
                // What is said once for all nodes is wrong once.
                let place = (version.span.start, server.span.start);
                if !told.contains(&place)
                    && let Some(problem) = beside(component.name, skew, &version, server)
                {
                    found.push(problem);
                    told.push(place);
                }
            }
        }
    }
}

/// A component beside a kube-apiserver that it talks to.
fn beside(
    component: &str,
    skew: Skew,
    version: &At<Version>,
    server: &At<Version>,
) -> Option<Problem> {
    let (own, servers) = (version.value.minor(), server.value.minor());
    let older = servers.minor.saturating_sub(own.minor);
    let message = if own.minor > servers.minor + skew.newer {
        format!(
            "{component} {} is newer than its kube-apiserver {}",
            version.value, server.value
        )
    } else if older > skew.older {
        format!(
            "{component} {} is {older} minor versions older than its kube-apiserver {}",
            version.value, server.value
        )
    } else {
        return None;
    };
    let problem = Problem::new(version.span.clone(), component, message)
        .and_at(server.span.clone(), "kube-apiserver");
    Some(if skew.is_tool {
        problem
            .help(format!(
                "{component} may be one minor version newer or older"
            ))
            .warning()
    } else {
        problem.help(match skew.older {
            1 => "it may be of the same minor version, or of the one before".to_owned(),
            older => format!("it may be of the same minor version, or of the {older} before"),
        })
    })
}

/// A mode of kube-proxy that its version does not have, or not without a feature gate: nftables is
/// alpha in 1.29, and on by itself from 1.31.
pub(super) fn proxy(draft: &Draft, found: &mut Found) {
    let (Some(proxy), Some(kubernetes)) =
        (draft.cluster.proxy.this(), draft.cluster.kubernetes.this())
    else {
        return;
    };
    if proxy.value == Proxy::Nftables && kubernetes.value < Version::new(1, 31, 0) {
        let message = format!(
            "kube-proxy {} does not do nftables by itself",
            kubernetes.value
        );
        let help = "it does from Kubernetes 1.31 on: take that, or `proxy = \"iptables\"`, which is the default";
        let problem = Problem::new(proxy.span.clone(), "not in this version", message);
        found.push(
            problem
                .and_at(kubernetes.span.clone(), "this version")
                .help(help),
        );
    }
}

/// Members of etcd, and of which lines they are.
pub(super) fn etcd(draft: &Draft, found: &mut Found) {
    let nodes = draft.nodes.iter().filter(|node| node.has(Role::Etcd));
    let versions = nodes.filter_map(|node| Some((node, draft.version("etcd", node)?)));
    if let Some(problem) = too_far_apart(versions.collect(), "etcd", "members of etcd") {
        found.push(problem.help("etcd is upgraded one minor version at a time, all members"));
    }
}

/// The oldest and the newest of a component, if they are more than one minor version apart.
fn too_far_apart(
    mut versions: Vec<(&NodeDraft, At<Version>)>,
    component: &str,
    plural: &str,
) -> Option<Problem> {
    versions.sort_by_key(|(_, version)| version.value);
    let [(oldest_node, oldest), .., (newest_node, newest)] = versions.as_slice() else {
        return None;
    };
    if newest.value.minor - oldest.value.minor <= 1 {
        return None;
    }
    let message = format!(
        "{plural} {} and {} cannot run in one cluster",
        oldest.value, newest.value
    );
    let label = |node: &NodeDraft, version: &At<Version>| {
        format!("{component} {} of {}", version.value, node.title())
    };
    let problem = Problem::new(newest.span.clone(), label(newest_node, newest), message);
    Some(problem.and_at(oldest.span.clone(), label(oldest_node, oldest)))
}

/// Builds that upstream does not publish, for nodes whose architecture is said.
pub(super) fn published(draft: &Draft, found: &mut Found) {
    for node in &draft.nodes {
        let Some(arch) = node.arch.this() else {
            continue;
        };
        let components = COMPONENTS.iter().filter(|component| {
            component.roles.iter().any(|role| node.has(*role))
                && !draft.has_own_build(component.name, node)
        });
        let mut too_new = Vec::new();
        for component in components {
            let Some(release) = &component.release else {
                continue;
            };
            let name = component.name;
            if let Some(gap) = release.never_built(arch.value) {
                found.push(never_built(name, gap, node, arch));
            } else if let Some(version) = draft.version(name, node)
                && let Some(last) = release
                    .gap(version.value, arch.value)
                    .and_then(|it| it.last)
            {
                too_new.push((name, version, last));
            }
        }
        // Those of one version are told together.
        while let Some((_, version, last)) = too_new.first() {
            let group = (version.value, *last);
            let (same, others) = too_new
                .into_iter()
                .partition::<Vec<_>, _>(|(_, version, last)| (version.value, *last) == group);
            found.extend(no_longer_built(&same, node, arch));
            too_new = others;
        }
    }
}

fn never_built(name: &str, gap: &Gap, node: &NodeDraft, arch: &At<Arch>) -> Problem {
    let message = format!(
        "there is no {name} for {}, which {} wants",
        arch.value,
        node.title()
    );
    let help = format!(
        "{name} was never published for {}: {}",
        arch.value.in_words(),
        gap.help
    );
    let label = format!("no {name} is built for it");
    Problem::new(arch.span.clone(), label, message).help(help)
}

/// The programs of a node that are newer than the last ones built for it.
fn no_longer_built(
    missing: &[(&str, At<Version>, Version)],
    node: &NodeDraft,
    arch: &At<Arch>,
) -> Option<Problem> {
    let (first, version, last) = missing.first()?;
    let names: Vec<_> = missing.iter().map(|(name, ..)| *name).collect();
    let message = format!(
        "there is no {} {} for {}, which {} wants",
        names.join(", "),
        version.value,
        arch.value,
        node.title()
    );
    let help = format!(
        "{last} was the last for {}: take that, a 64-bit system, or builds of your own by `path`, \
         as in `[component.{first}]`",
        arch.value.in_words()
    );
    let problem = Problem::new(arch.span.clone(), "a 32-bit system", message);
    Some(
        problem
            .and_at(version.span.clone(), "this version")
            .help(help),
    )
}
