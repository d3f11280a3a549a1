//! Whether peers would still believe each other while nodes go back one by one: those that went back
//! must trust who signs now, those that did not must trust who signed what the others show, and that
//! must not have ended.

use std::collections::{BTreeMap, BTreeSet};

use miette::Diagnostic;

use crate::authority::Local;
use crate::certificate::describe::{certificates, describe, is_signed_by, public_key};
use crate::certificate::{self, AuthorityName, CertificateId, Credentials, requests};
use crate::engine::{clock, remote_files};
use crate::failure::{Exit, Failure};
use crate::inventory::{Inventory, NodeName};
use crate::manifest::compose::{Holds, Place, places};
use crate::manifest::{Desired, Kind, Manifest};
use crate::remote_path::RemotePath;

/// Why a generation is none to go back to.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub(crate) enum Problem {
    /// Those who went back would refuse those who did not.
    #[error(
        "{node}: that generation does not trust the authority that signs for `{set}` now (`{path}`)"
    )]
    #[diagnostic(help(
        "go back to generations that do (`kinstall status` tells them), or have who signed before sign \
         again: `kinstall certs move --back` while a change of who signs is under way, else the \
         inventory as it was and `kinstall certs move`"
    ))]
    Untrusting {
        /// The node.
        node: NodeName,
        /// For whom it is trusted.
        set: AuthorityName,
        /// The file.
        path: RemotePath,
    },
    /// Those who did not go back would refuse those who did.
    #[error(
        "{node}: the authority that signed `{id}` of that generation is no longer trusted (`{path}`)"
    )]
    #[diagnostic(help(
        "go back to generations whose certificates are of who signs now (`kinstall status` tells them), \
         or put the older versions into the inventory and push that"
    ))]
    Untrusted {
        /// The node.
        node: NodeName,
        /// The certificate.
        id: CertificateId,
        /// The file.
        path: RemotePath,
    },
    /// Nobody takes it any more.
    #[error("{node}: `{id}` of that generation has ended on {end} (`{path}`)")]
    #[diagnostic(help(
        "put the older versions into the inventory and push that: it keeps the certificates of today"
    ))]
    Ended {
        /// The node.
        node: NodeName,
        /// The certificate.
        id: CertificateId,
        /// When.
        end: String,
        /// The file.
        path: RemotePath,
    },
}

/// Refuses generations of nodes that would not be believed, or not believe. Tells who kube-apiservers
/// would be to etcd by the certificates that come back.
pub(crate) fn check(
    inventory: &Inventory,
    desired: &Desired,
    credentials: &Credentials,
    now: i64,
) -> Result<BTreeSet<String>, Failure> {
    let effective = Local::in_effect(inventory);
    let (_, inventory) = effective.map_err(|error| Failure::new(Exit::Usage, error))?;
    let has_key = credentials.signing_key_pem.is_some();
    let places = places(&inventory, has_key).map_err(|error| Failure::new(Exit::Usage, error))?;
    let sets = requests(&inventory)
        .into_iter()
        .map(|request| (request.id, request.set));
    let problems = problems(&places, &sets.collect(), desired, credentials, now);
    if !problems.is_empty() {
        return Err(Failure::all(Exit::Failed, problems));
    }
    let clients = places.iter().filter(|place| {
        matches!(&place.holds, Holds::Certificate(id) if id.kind == certificate::Kind::ApiserverEtcdClient)
    });
    let users = clients.filter_map(|place| {
        let manifest = desired.manifests.get(&place.node)?;
        let text = text(&place.path, manifest, desired)?;
        describe(text).ok()?.subject.common_name
    });
    Ok(users.collect())
}

fn problems(
    places: &[Place],
    sets: &BTreeMap<CertificateId, AuthorityName>,
    desired: &Desired,
    credentials: &Credentials,
    now: i64,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for place in places {
        let Some(manifest) = desired.manifests.get(&place.node) else {
            continue;
        };
        // What stays as it is, is not told again.
        let Some(text) = text(&place.path, manifest, desired) else {
            continue;
        };
        let (node, path) = (place.node.clone(), place.path.clone());
        let problem = match &place.holds {
            Holds::Authority(set) if !is_pair(&place.path, manifest) => {
                let signs = credentials.authorities.get(set);
                let signs = signs.and_then(|pem| public_key(pem).ok());
                let mut trusted = certificates(text).into_iter();
                let is_trusted = trusted.any(|pem| public_key(pem).ok() == signs);
                let set = *set;
                (!is_trusted).then_some(Problem::Untrusting { node, set, path })
            }
            Holds::Certificate(id) => {
                let trusted = sets
                    .get(id)
                    .and_then(|set| credentials.authorities.get(set));
                let is_above = |pem: &str| {
                    let mut chain = certificates(text).into_iter();
                    chain.any(|own| is_signed_by(own, pem) == Ok(true))
                };
                let is_trusted =
                    trusted.is_none_or(|bundle| certificates(bundle).into_iter().any(is_above));
                let id = id.clone();
                let end = describe(text).map_or(i64::MAX, |it| it.not_after);
                if !is_trusted {
                    Some(Problem::Untrusted { node, id, path })
                } else if end <= now {
                    let end = clock::date(end);
                    Some(Problem::Ended {
                        node,
                        id,
                        end,
                        path,
                    })
                } else {
                    None
                }
            }
            Holds::Authority(_) | Holds::Kubeconfig(_) => None,
        };
        problems.extend(problem);
    }
    problems
}

/// The text that a stable path leads to, as far as it changes.
fn text<'a>(path: &RemotePath, manifest: &Manifest, desired: &'a Desired) -> Option<&'a str> {
    let entry = manifest.entries.get(path)?;
    let dated = match &entry.kind {
        Kind::Link { target } => path.parent()?.join(target).ok(),
        _ => None,
    };
    remote_files::wanted(dated.as_ref().unwrap_or(path), manifest, desired)
}

/// Whether the key lies beside it: what kube-controller-manager signs with is trusted by nobody there.
fn is_pair(path: &RemotePath, manifest: &Manifest) -> bool {
    let stem = path.as_str().strip_suffix(".pem");
    let key = stem.and_then(|stem| format!("{stem}.key").parse().ok());
    key.is_some_and(|key: RemotePath| manifest.entries.contains_key(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority as _;
    use crate::authority::local::Phase;
    use crate::manifest::compose::fixture::Fixture;

    const NOW: i64 = 1_767_225_630;

    /// What is wrong with a generation, the path of each file left out.
    fn told(fixture: &Fixture, generation: &Desired) -> Vec<String> {
        told_at(fixture, generation, NOW + 600)
    }

    fn told_at(fixture: &Fixture, generation: &Desired, now: i64) -> Vec<String> {
        match check(&fixture.inventory, generation, &fixture.credentials, now) {
            Ok(users) => {
                let expected = ["kube-apiserver-etcd-client".to_owned()];
                assert_eq!(users, expected.into());
                Vec::new()
            }
            Err(failure) => {
                let words = failure.reports.iter().map(|report| {
                    let report = report.to_string();
                    let (words, _) = report.split_once(" (`").unwrap();
                    words.to_owned()
                });
                words.collect::<BTreeSet<_>>().into_iter().collect()
            }
        }
    }

    #[test]
    fn only_generations_that_believe_and_are_believed_are_gone_back_to() {
        let room = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::new(1, "1.32.3", "3.5.21");
        fixture.inventory.directory = room.path().to_owned();
        let requests = requests(&fixture.inventory);
        let local = Local::of(&fixture.inventory).unwrap();
        let obtain = |at| local.obtain(&requests, NOW + at).unwrap().credentials;
        let mut compose = |credentials: Credentials| {
            fixture.credentials = credentials;
            (fixture.composed(), fixture.credentials.clone())
        };
        let (first, _) = compose(obtain(0));
        let replaced = local.to_replace(&requests, &["kubernetes".to_owned()]);
        assert!(
            local
                .begin(&requests, &replaced.unwrap(), NOW + 600)
                .unwrap()
        );
        let (trusting, _) = compose(obtain(600));
        local.come_to(Phase::Trusted).unwrap();
        local.sign_beside(&requests, NOW + 600).unwrap();
        local.switch().unwrap();
        let (signed, both) = compose(obtain(600));
        local.come_to(Phase::Close).unwrap();
        let (_, closed) = compose(obtain(600));

        fixture.credentials = both;
        assert_eq!(told(&fixture, &trusting), [""; 0]);
        let told_later = told_at(&fixture, &trusting, NOW + 400 * 86_400);
        let words = "az1: `etcd-server-az1` of that generation has ended on 2027-01-01 00:00 UTC";
        assert!(told_later.contains(&words.to_owned()), "{told_later:?}");
        let told_of_first = told(&fixture, &first);
        let distrust = |set| {
            format!("az1: that generation does not trust the authority that signs for `{set}` now")
        };
        assert!(
            told_of_first.contains(&distrust("etcd-peer")),
            "{told_of_first:?}"
        );
        assert!(
            told_of_first.contains(&distrust("apiserver-client")),
            "{told_of_first:?}"
        );
        assert!(
            !told_of_first.contains(&distrust("front-proxy")),
            "{told_of_first:?}"
        );

        fixture.credentials = closed;
        assert_eq!(told(&fixture, &signed), [""; 0]);
        let told_of_trusting = told(&fixture, &trusting);
        let words = "az1: the authority that signed `etcd-server-az1` of that generation is no longer trusted";
        assert!(
            told_of_trusting.contains(&words.to_owned()),
            "{told_of_trusting:?}"
        );
        assert!(
            told_of_trusting
                .iter()
                .all(|it| it.contains("is no longer trusted")),
            "{told_of_trusting:?}"
        );
    }
}
