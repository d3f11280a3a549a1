//! Where Pods are does not go back: a node that came since is there, whatever its peers go back to.

use crate::component;
use crate::manifest::{Entry, Manifest};
use crate::remote_path::RemotePath;
use crate::snapshot::{FoundKind, Snapshot};

/// Has a manifest that a node goes back to lead to the Pods of all nodes that it knows of now.
pub fn keep(manifest: &mut Manifest, snapshot: &Snapshot) {
    let Some(now) = snapshot.recorded.as_ref().map(|it| &it.manifest) else {
        return;
    };
    for (component, path) in component::of_ways() {
        let Some(name) = component.unit_name() else {
            continue;
        };
        let Some(unit) = now.units.get(&name) else {
            continue;
        };
        if !manifest.units.contains_key(&name) {
            // It is of a time before there were Pods.
            let directories = component.directories.iter();
            let directories = directories.map(|it| RemotePath::fixed(it.path));
            for path in directories.chain(unit.watches.iter().cloned()) {
                if let Some(entry) = now.entries.get(&path) {
                    manifest.entries.insert(path, entry.clone());
                }
            }
            manifest.units.insert(name, unit.clone());
        }
        if let Some(entry) = newest(&path, now, snapshot) {
            manifest.entries.insert(path, entry.clone());
        }
    }
}

/// What a run that did not come to its end put there, else what is on record.
fn newest<'a>(path: &RemotePath, now: &'a Manifest, snapshot: &'a Snapshot) -> Option<&'a Entry> {
    let begun = snapshot.begun.as_ref().and_then(|it| it.get(path));
    let lies_there = |entry: &&Entry| {
        let found = snapshot.entries.get(path);
        found.is_some_and(|found| found.kind == FoundKind::of(&entry.kind))
    };
    begun.filter(lies_there).or_else(|| now.entries.get(path))
}

/// Whether a path is one of those that do not go back.
pub(super) fn stays(path: &RemotePath) -> bool {
    component::of_ways().any(|(_, ways)| ways == *path)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::manifest::compose::fixture::{Fixture, manifest};
    use crate::snapshot::{Format, Found, Recorded};

    const WAYS: &str = "/etc/k8s/kinstall-network/ways.conf";

    /// What `az1` should hold in a cluster with these workers.
    fn of(workers: &[&str]) -> Manifest {
        let mut text = "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n\n\
                        [[node]]\nname = \"az1\"\naddress = \"10.0.1.1\"\n"
            .to_owned();
        for (index, name) in workers.iter().enumerate() {
            _ = write!(
                text,
                "[[node]]\nname = \"{name}\"\naddress = \"10.0.2.{}\"\nroles = [\"worker\"]\n",
                index + 1
            );
        }
        manifest(&Fixture::of(&text).composed(), "az1").clone()
    }

    fn at(manifest: &Manifest) -> Snapshot {
        let recorded = Recorded {
            format: Format::default(),
            generation: 2,
            manifest: manifest.clone(),
            retired: [].into(),
        };
        Snapshot {
            recorded: Some(recorded),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_node_that_goes_back_still_knows_who_came_since() {
        let (before, now) = (of(&["w1"]), of(&["w1", "w2"]));
        let mut back = before.clone();
        keep(&mut back, &at(&now));
        let path = RemotePath::fixed(WAYS);
        assert_ne!(before.entries[&path], now.entries[&path]);
        assert_eq!(back.entries[&path], now.entries[&path]);
        back.entries
            .insert(path.clone(), before.entries[&path].clone());
        assert_eq!(back, before, "nothing else stays");

        // A run that did not come to its end had put a third there.
        let more = of(&["w1", "w2", "w3"]);
        let mut cut_off = at(&now);
        cut_off.begun = Some(more.entries.clone());
        let mut back = before.clone();
        keep(&mut back, &cut_off);
        assert_eq!(
            back.entries[&path], now.entries[&path],
            "it was not there yet"
        );
        let found = Found {
            kind: FoundKind::of(&more.entries[&path].kind),
            mode: 0o644,
            user: "root".into(),
            group: "root".into(),
            modified: 0,
        };
        cut_off.entries.insert(path.clone(), found);
        keep(&mut back, &cut_off);
        assert_eq!(back.entries[&path], more.entries[&path]);
    }

    #[test]
    fn a_generation_from_before_there_were_pods_gets_the_way_to_them() {
        let (before, now) = (of(&[]), of(&["w1"]));
        let unit = "kinstall-network.service".parse().unwrap();
        assert!(!before.units.contains_key(&unit));
        let mut back = before;
        keep(&mut back, &at(&now));
        assert_eq!(back.units[&unit], now.units[&unit]);
        for path in &now.units[&unit].watches {
            assert_eq!(back.entries[path], now.entries[path], "{path}");
        }
        let directory = RemotePath::fixed("/etc/k8s/kinstall-network");
        assert!(back.entries.contains_key(&directory));
    }
}
