//! On which data of etcd a push may start it.

use std::collections::{BTreeMap, BTreeSet};

use super::{NONE, WISH, settled};
use crate::digest::Digest;
use crate::etcd_data::{Data, Identity, Kept};
use crate::inventory::NodeName;
use crate::manifest::Manifest;
use crate::plan::View;
use crate::plan::data::{LiveMember, problems};
use crate::plan::model::{file, manifest};
use crate::remote_path::RemotePath;
use crate::snapshot::Snapshot;

const KEY: &str = "/etc/k8s/encryption-config.yaml";

/// A node by a word: the number of the cluster whose data it has, `-` for no data, `?` for data of
/// which nothing can be read; then `r` if it is on record, `k` if an uninstall left the data there,
/// `x` if that was with another key, `n` if it was of a cluster of another name.
fn node(word: &str, member: u64, manifest: &Manifest) -> Snapshot {
    let mut snapshot = Snapshot {
        systemd: Some(252),
        owned: true,
        ..Snapshot::default()
    };
    if word.contains('r') {
        snapshot = settled(manifest);
    }
    let directory = RemotePath::fixed("/var/lib/etcd");
    let cluster = word.chars().next().and_then(|char| char.to_digit(10));
    let identity = cluster.map(|cluster| Identity {
        cluster: cluster.into(),
        member,
    });
    if !word.starts_with('-') {
        let directory = directory.clone();
        snapshot.data = Some(Data {
            directory,
            identity,
        });
    }
    if word.contains(['k', 'x', 'n']) {
        let key = if word.contains('x') { "other" } else { "key" };
        let name = if word.contains('n') { "away" } else { "home" };
        snapshot.kept = Some(Kept {
            cluster: name.to_owned(),
            directory: Some(directory),
            identity,
            keys: [(RemotePath::fixed(KEY), Digest::of(key.as_bytes()))].into(),
            services: BTreeSet::new(),
        });
    }
    snapshot
}

#[track_caller]
fn check(words: [&str; 3], living: Option<(u64, &[u64])>, adopt: bool, expected: &[&str]) {
    let names = ["a", "b", "c"].map(|name| name.parse::<NodeName>().unwrap());
    let mut nodes = BTreeMap::new();
    for (member, (name, word)) in (1..).zip(names.into_iter().zip(words)) {
        let mut manifest = manifest(&name, WISH);
        "home".clone_into(&mut manifest.cluster);
        manifest.entries.insert(RemotePath::fixed(KEY), file("key"));
        let snapshot = node(word, member, &manifest);
        nodes.insert(name, (manifest, snapshot));
    }
    let difference = crate::diff::Difference::default();
    let views = nodes.iter().map(|(name, (manifest, snapshot))| {
        let view = View {
            manifest,
            snapshot,
            difference: &difference,
            leads: false,
            retired: &NONE,
        };
        (name.clone(), view)
    });
    let living: Option<LiveMember> =
        living.map(|(cluster, members)| (cluster, members.iter().copied().collect()));
    let found = problems(&views.collect(), living.as_ref(), adopt);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "no `{expected}` in {found}");
    }
}

#[test]
fn what_is_the_clusters_own_may_be_started() {
    check(["-", "-", "-"], None, false, &[]);
    check(["7r", "7r", "7r"], None, false, &[]);
    check(["7r", "-", "-"], None, false, &[]);
    check(["7k", "7k", "7k"], None, false, &[]);
    // A member whose machine was installed again, and its data kept.
    check(["7r", "7r", "7"], None, false, &[]);
    check(["?r", "?r", "7"], Some((7, &[1, 2, 3])), false, &[]);
    check(["7", "7", "7"], None, true, &[]);
    check(["?", "?", "?"], None, true, &[]);
}

#[test]
fn what_is_not_is_refused() {
    let foreign = "a: `/var/lib/etcd` holds data of an etcd member that this cluster does not know";
    check(["7", "-", "-"], None, false, &[foreign]);
    check(
        ["?", "-", "-"],
        None,
        false,
        &["whose they are cannot be read"],
    );
    let removed = Some((7, &[1, 2][..]));
    check(["?r", "?r", "7"], removed, false, &["c: `/var/lib/etcd`"]);
    let keys = "a: the etcd data in `/var/lib/etcd` were written with another `/etc/k8s/encryption";
    check(["7x", "-", "-"], None, false, &[keys]);
    check(["7x", "-", "-"], None, true, &[keys]);
    let name = "a: the etcd data in `/var/lib/etcd` are of the cluster `away`";
    check(["7n", "-", "-"], None, true, &[name]);
    let partial = "a has the data of an etcd cluster and b, c have none";
    check(["7k", "-", "-"], None, false, &[partial]);
    check(["7", "-", "-"], None, true, &[partial]);
    let split = "the nodes hold the data of 2 etcd clusters: b: 7; a, c: 8";
    check(["8r", "7r", "8r"], None, false, &[split]);
    check(["8k", "7k", "8k"], None, true, &[split]);
}
