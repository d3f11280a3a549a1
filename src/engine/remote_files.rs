//! Texts of nodes that are no secrets: what lies there, what is wanted there, and the lines between
//! the two.

use std::collections::BTreeMap;

use base64::Engine;

use super::comparison::Comparison;
use super::session::Session;
use crate::diff::ChangeKind;
use crate::digest::Digest;
use crate::inventory::NodeName;
use crate::manifest::{Content, Desired, Kind, Manifest};
use crate::plan::{Plan, View};
use crate::remote_path::RemotePath;
use crate::script;
use crate::secret::Secret;
use crate::snapshot::STORE;
use crate::terminal::listing::{self, Listing};
use crate::transport::{self, Body, Transport};

/// What `read.sh` gives of a file, in bytes: no text of ours is as long.
const TEXT_BYTES: u64 = 256 * 1024;

/// A plan as it is shown, with the lines that change.
pub(crate) async fn listing(
    session: &Session<'_>,
    comparison: &Comparison,
    views: &BTreeMap<NodeName, View<'_>>,
    plan: &Plan,
) -> Listing {
    let (fleet, desired) = (&comparison.fleet, &comparison.desired);
    let mut present = BTreeMap::new();
    for (name, view) in views {
        // A diff is a comfort: a node that cannot give one still has its plan.
        let texts = read(&fleet.transports[name], replaced(view, desired)).await;
        let texts = texts.unwrap_or_default().into_iter();
        present.extend(texts.map(|(path, text)| ((name.clone(), path), text)));
    }
    let cluster = session.inventory.cluster.name.as_str();
    listing::of(cluster, plan, views, desired, &present)
}

/// Texts that lie on a node and are replaced, secrets left out: of what is there as of what comes.
fn replaced(view: &View<'_>, desired: &Desired) -> Vec<RemotePath> {
    let changes = view.difference.entries.iter();
    let replaced = changes.filter(|(_, change)| change.kind == ChangeKind::Replace);
    let is_text = |path: &&RemotePath| {
        let is_secret = |path| view.manifest.entries.get(path).is_none_or(|it| it.secret);
        !is_secret(*path) && wanted(path, view.manifest, desired).is_some()
    };
    let drop_ins = view.difference.drop_ins.iter();
    let drop_ins = drop_ins.filter_map(|found| found.path.parse().ok());
    replaced
        .map(|(path, _)| path)
        .filter(is_text)
        .cloned()
        .chain(drop_ins)
        .collect()
}

/// What files of a node say; those that are not there are left out.
pub(crate) async fn read(
    transport: &Transport,
    paths: Vec<RemotePath>,
) -> Result<BTreeMap<RemotePath, String>, transport::Error> {
    if paths.is_empty() {
        return Ok(BTreeMap::new());
    }
    let lines = paths
        .iter()
        .fold(String::new(), |lines, path| lines + path.as_str() + "\n");
    let output = transport.run(script::READ, &[], Body::text(lines)).await?;
    Ok(output.lines().filter_map(read_line).collect())
}

fn read_line(line: &str) -> Option<(RemotePath, String)> {
    let (path, text) = line.split_once(' ')?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    Some((path.parse().ok()?, String::from_utf8(bytes).ok()?))
}

/// The text that a path is to have, as far as its bytes are at hand.
pub(crate) fn wanted<'a>(
    path: &RemotePath,
    manifest: &Manifest,
    desired: &'a Desired,
) -> Option<&'a str> {
    let Kind::File { digest, .. } = &manifest.entries.get(path)?.kind else {
        return None;
    };
    match desired.contents.get(digest)? {
        Content::Inline(text) => text.expose_text(),
        Content::Fetched { .. } => None,
    }
}

/// What changes and is no secret, out of the nodes' own stores: a generation names digests only.
pub(crate) async fn recall(
    comparison: &Comparison,
) -> Result<BTreeMap<Digest, Content>, transport::Error> {
    let differences = comparison.differences.iter();
    let asking = differences.map(|(name, difference)| async move {
        let entries = &comparison.desired.manifests[name].entries;
        let changed = difference.entries.keys().filter_map(|path| {
            let entry = entries.get(path).filter(|entry| !entry.secret)?;
            match &entry.kind {
                Kind::File { digest, size } if *size <= TEXT_BYTES => Some(*digest),
                _ => None,
            }
        });
        let store = RemotePath::fixed(STORE);
        let paths = changed.filter_map(|digest| store.join(&digest.to_string()).ok());
        read(&comparison.fleet.transports[name], paths.collect()).await
    });
    let texts = futures_util::future::try_join_all(asking).await?;
    let contents = texts.into_iter().flat_map(BTreeMap::into_values);
    let keyed = contents.map(|text| {
        let digest = Digest::of(text.as_bytes());
        (digest, Content::Inline(Secret::new(text)))
    });
    Ok(keyed.collect())
}
