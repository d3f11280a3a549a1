//! What a living cluster stands on in etcd: where it is stored, and whom etcd lets in. A change that
//! takes either away is refused: kube-apiserver would find nothing, or nobody.

use std::collections::{BTreeMap, BTreeSet};

use miette::Diagnostic;

use crate::diff::Difference;
use crate::engine::comparison::Comparison;
use crate::engine::fleet::Fleet;
use crate::engine::remote_files;
use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::manifest::{Manifest, Stage, UnitName};
use crate::remote_path::RemotePath;
use crate::survey::members::{self, EtcdState};
use crate::transport;
use crate::version::{Minor, Version};

/// Why a living cluster must not be changed as asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
enum Problem {
    /// Everything lies elsewhere.
    #[error(
        "{node}: what the cluster holds lies below `{before}` in etcd, and what is asked for says `{after}`: kube-apiserver would find the cluster empty"
    )]
    #[diagnostic(help(
        "say `prefix = \"{before}\"` in `[etcd]` again, or go back to generations with it only: kinstall moves nothing from one prefix to another"
    ))]
    OtherPrefix {
        /// The node.
        node: NodeName,
        /// What its kube-apiserver runs with.
        before: String,
        /// What it would run with.
        after: String,
    },
    /// Whether anything lies there cannot be told.
    #[error(
        "{node}: kube-apiserver runs with the prefix `{before}` in etcd, what is asked for says `{after}`, and whether anything is stored cannot be told: {why}"
    )]
    #[diagnostic(help("say `prefix = \"{before}\"` in `[etcd]` again, or push once etcd is well"))]
    Untold {
        /// The node.
        node: NodeName,
        /// What its kube-apiserver runs with.
        before: String,
        /// What it would run with.
        after: String,
        /// Why not.
        why: String,
    },
    /// Members of two lines would have to agree on who a client is.
    #[error(
        "etcd asks who its clients are, and upstream does not support members of {from} and {to} beside each other then: one question to the newer can end the older"
    )]
    #[diagnostic(help(
        "disable authentication for the upgrade: `etcdctl auth disable` on a node, with its administrator's certificate in `/etc/etcd/certs/healthcheck/`; with `auth = true` the same push turns it on again at its end"
    ))]
    AsksAcross {
        /// What runs.
        from: Version,
        /// What is wanted.
        to: Version,
    },
    /// etcd would refuse kube-apiserver.
    #[error(
        "etcd asks who its clients are, and does not know `{user}`, which kube-apiserver would be"
    )]
    #[diagnostic(help(
        "a push with `auth = true` in `[etcd]` makes the user; or disable authentication first: `etcdctl auth disable` with its administrator's certificate"
    ))]
    NoUser {
        /// The user.
        user: String,
    },
}

/// The prefix that a kube-apiserver runs with, and the one it would.
type Prefixes = BTreeMap<NodeName, (String, String)>;

/// Refuses what would leave a living cluster without its data, or without etcd's consent. `users` are
/// who kube-apiservers would be to etcd, but those that are made if they are missing.
pub(crate) async fn check(
    comparison: &Comparison,
    users: &BTreeSet<String>,
) -> Result<(), Failure> {
    let unreachable = |error| Failure::new(Exit::Unreachable, error);
    let prefixes = prefixes(comparison).await;
    let prefixes = prefixes.map_err(unreachable)?;
    let across = across(comparison);
    if prefixes.is_empty() && across.is_none() {
        return Ok(());
    }
    let asked = prefixes.values().flat_map(|(one, other)| [one, other]);
    let asked: BTreeSet<String> = asked.cloned().collect();
    let state = state(&comparison.fleet, &asked)
        .await
        .map_err(unreachable)?;
    let mut problems = problems(&prefixes, users, &state);
    if let (Some((from, to)), Ok(EtcdState { users: Some(_), .. })) = (across, &state) {
        problems.push(Problem::AsksAcross { from, to });
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::all(Exit::Failed, problems))
}

/// The versions of etcd between which no rolling upgrade is supported while it asks who its clients
/// are (etcd's upgrade guide to 3.5), if it is between such two.
fn across(comparison: &Comparison) -> Option<(Version, Version)> {
    const ENTERED: Minor = Minor::new(3, 5);
    let manifests = comparison.desired.manifests.values();
    let wanted = manifests.filter_map(|it| it.versions.get("etcd")?.parse::<Version>().ok());
    let (from, to) = (comparison.fleet.oldest("etcd")?, wanted.max()?);
    (from.minor() < ENTERED && to.minor() >= ENTERED).then_some((from, to))
}

fn problems(
    prefixes: &Prefixes,
    users: &BTreeSet<String>,
    state: &Result<EtcdState, String>,
) -> Vec<Problem> {
    let changed = prefixes
        .iter()
        .filter(|(_, (before, after))| before != after);
    let mut problems = Vec::new();
    for (node, (before, after)) in changed {
        let (node, before, after) = (node.clone(), before.clone(), after.clone());
        match state {
            Err(why) => problems.push(Problem::Untold {
                node,
                before,
                after,
                why: why.clone(),
            }),
            // Somebody who has copied everything there means it.
            Ok(state) if state.below.contains(&before) && !state.below.contains(&after) => {
                problems.push(Problem::OtherPrefix {
                    node,
                    before,
                    after,
                });
            }
            Ok(_) => {}
        }
    }
    if let Ok(EtcdState {
        users: Some(known), ..
    }) = state
    {
        let unknown = users.difference(known).cloned();
        problems.extend(unknown.map(|user| Problem::NoUser { user }));
    }
    problems
}

/// The prefixes of every kube-apiserver that runs and is to be restarted.
async fn prefixes(comparison: &Comparison) -> Result<Prefixes, transport::Error> {
    let differences = comparison.differences.iter();
    let asking = differences.map(|(name, difference)| async move {
        let prefixes = of_node(comparison, name, difference).await?;
        Ok(prefixes.map(|prefixes| (name.clone(), prefixes)))
    });
    let all = futures_util::future::try_join_all(asking).await?;
    Ok(all.into_iter().flatten().collect())
}

async fn of_node(
    comparison: &Comparison,
    name: &NodeName,
    difference: &Difference,
) -> Result<Option<(String, String)>, transport::Error> {
    let (fleet, desired) = (&comparison.fleet, &comparison.desired);
    let (Some(recorded), Some(transport), Some(wanted)) = (
        &fleet.snapshots[name].recorded,
        fleet.transports.get(name),
        desired.manifests.get(name),
    ) else {
        return Ok(None);
    };
    let recorded = &recorded.manifest;
    let is_asked = |unit: &&UnitName| {
        transport.ssh().is_some()
            && difference.units.contains_key(*unit)
            && wanted.units.contains_key(*unit)
    };
    let unit = recorded.of_stage(Stage::Apiserver).map(|(unit, _)| unit);
    let Some(unit) = unit.filter(is_asked) else {
        return Ok(None);
    };
    let paths = texts_of(unit, recorded);
    let present = remote_files::read(transport, paths.clone()).await?;
    let mut before = paths.iter().filter_map(|path| said(present.get(path)?));
    let mut after = texts_of(unit, wanted).into_iter().filter_map(|path| {
        // What stays as it is is not told again.
        let text = remote_files::wanted(&path, wanted, desired);
        said(text.or_else(|| present.get(&path).map(String::as_str))?)
    });
    // The last word counts.
    let [before, after] = [before.next_back(), after.next_back()].map(Option::unwrap_or_default);
    Ok(Some((plain(&before), plain(&after))))
}

/// A unit and its drop-ins, in the order in which systemd reads them.
fn texts_of(unit: &UnitName, manifest: &Manifest) -> Vec<RemotePath> {
    let (own, drop_ins) = (unit.path(), unit.drop_ins());
    let is_text = |path: &&RemotePath| **path == own || path.parent().as_ref() == Some(&drop_ins);
    manifest.entries.keys().filter(is_text).cloned().collect()
}

/// What a unit says of it last.
fn said(unit: &str) -> Option<String> {
    let (_, rest) = unit.rsplit_once("--etcd-prefix=")?;
    let end = rest.find(|c: char| c.is_whitespace() || c == '"');
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

/// As kube-apiserver takes it: one slash before it, none behind it, `/registry` where nothing is said
/// (`k8s.io/apiserver/pkg/storage/etcd3`).
fn plain(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => "/registry".to_owned(),
        prefix => format!("/{prefix}"),
    }
}

/// What the first member that answers tells.
async fn state(
    fleet: &Fleet,
    prefixes: &BTreeSet<String>,
) -> Result<Result<EtcdState, String>, transport::Error> {
    let mut why = "no member of etcd runs".to_owned();
    for (node, transport) in &fleet.transports {
        if transport.ssh().is_none() || !fleet.runs_etcd(node) {
            continue;
        }
        match members::state(transport, prefixes).await? {
            Ok(state) => return Ok(Ok(state)),
            Err(words) => why = words,
        }
    }
    Ok(Err(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str, below: &[&str], users: Option<&[&str]>) -> Vec<String> {
        let own = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
        let node: NodeName = "az1".parse().unwrap();
        let prefixes = [(node, (before.to_owned(), after.to_owned()))].into();
        let state = Ok(EtcdState {
            below: own(below),
            users: users.map(own),
        });
        let all = problems(&prefixes, &own(&["api"]), &state);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn data_and_users_that_would_be_missed_are_told() {
        let full = &["/registry"];
        assert_eq!(told("/registry", "/registry", full, None), [""; 0]);
        assert_eq!(told("/registry", "/k8s", &[], None), [""; 0]);
        assert_eq!(
            told("/registry", "/k8s", &["/registry", "/k8s"], None),
            [""; 0]
        );
        assert_eq!(
            told("/registry", "/k8s", full, None),
            [
                "az1: what the cluster holds lies below `/registry` in etcd, and what is asked for says \
                `/k8s`: kube-apiserver would find the cluster empty"
            ]
        );
        assert_eq!(told("/k8s", "/k8s", &["/k8s"], Some(&["api"])), [""; 0]);
        assert_eq!(
            told("/k8s", "/k8s", &["/k8s"], Some(&["root"])),
            [
                "etcd asks who its clients are, and does not know `api`, which kube-apiserver would be"
            ]
        );
    }

    #[test]
    fn a_unit_says_its_prefix() {
        let unit =
            "ExecStart=/usr/local/bin/kube-apiserver \\\n  --etcd-prefix=/k8s/ \\\n  --v=2\n";
        assert_eq!(said(unit).as_deref(), Some("/k8s/"));
        assert_eq!(said("\"--etcd-prefix=/a\"").as_deref(), Some("/a"));
        assert_eq!(said("ExecStart=/bin/true\n"), None);
        assert_eq!(
            ["k8s", "/k8s/", "", "/"].map(plain),
            ["/k8s", "/k8s", "/registry", "/registry"]
        );
    }
}
