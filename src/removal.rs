//! What kinstall put on a node, to be taken away: by the node's own record, and nothing else. Pure.

use std::collections::BTreeMap;

use crate::component::COMPONENTS;
use crate::manifest::{Entry, Kind, UnitName};
use crate::remote_path::RemotePath;
use crate::snapshot::{Found, FoundKind, Snapshot};

/// What services leave behind of their own: the data of a cluster, and who did what to it.
pub const DATA: [&str; 2] = ["/var/lib/etcd", "/var/log/kubernetes/kube-apiserver"];

/// What is taken away from one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Units, in the order in which they are stopped: who talks to another before the other.
    pub units: Vec<UnitName>,
    /// Entries, what lies deeper first; directories only if they are empty by then.
    pub entries: Vec<RemotePath>,
    /// Entries that are not as kinstall put them there: somebody changed them, and they stay.
    pub changed: Vec<RemotePath>,
}

impl Removal {
    /// What of a node is kinstall's own, as far as it lies there.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut removal = Self::default();
        let ours: BTreeMap<&RemotePath, &Entry> = snapshot.ours();
        for (path, entry) in ours.into_iter().rev() {
            let Some(found) = snapshot.entries.get(path) else {
                continue;
            };
            if is_as_put(path, entry, found, snapshot) {
                removal.entries.push(path.clone());
            } else {
                removal.changed.push(path.clone());
            }
        }
        let mut staged: Vec<_> = COMPONENTS
            .iter()
            .filter_map(|component| Some((component.stage()?, component.unit_name()?)))
            .collect();
        staged.sort();
        let units = staged.into_iter().rev().map(|(_, unit)| unit);
        removal.units = units.filter(|unit| has_unit(snapshot, unit)).collect();
        removal
    }

    /// Whether nothing of kinstall's is there.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.entries.is_empty() && self.changed.is_empty()
    }

    /// What `uninstall.sh` reads.
    pub fn text(&self, with_data: bool) -> String {
        let units = self.units.iter().map(|unit| format!("stop {unit}\n"));
        let entries = self.entries.iter().map(|path| format!("remove {path}\n"));
        let data = DATA.iter().filter(|_| with_data);
        let data = data.map(|directory| format!("data {directory}\n"));
        let end = std::iter::once("end\n".to_owned());
        units.chain(entries).chain(data).chain(end).collect()
    }
}

/// Whether what lies at a path is what kinstall put there, now or in a run that was cut short.
fn is_as_put(path: &RemotePath, entry: &Entry, found: &Found, snapshot: &Snapshot) -> bool {
    let recorded = snapshot.recorded.iter();
    let recorded = recorded.filter_map(|it| it.manifest.entries.get(path));
    let mut versions = recorded.chain([entry]);
    versions.any(|entry| match (&entry.kind, &found.kind) {
        (Kind::File { digest, .. }, FoundKind::File { digest: there, .. }) => {
            *there == Some(*digest)
        }
        (Kind::Link { target }, FoundKind::Link { target: there }) => target == there,
        (Kind::Directory, FoundKind::Directory) => true,
        _ => false,
    })
}

/// Whether a unit's file is kinstall's.
fn has_unit(snapshot: &Snapshot, unit: &UnitName) -> bool {
    let path = format!("/etc/systemd/system/{unit}");
    let mut ours = snapshot.ours().into_keys();
    ours.any(|its| its.as_str() == path && snapshot.entries.contains_key(its))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::{Manifest, Mode};
    use crate::snapshot::Recorded;

    fn entry(kind: Kind) -> Entry {
        let root = "root".to_owned();
        Entry {
            kind,
            mode: Mode(0o644),
            user: root.clone(),
            group: root,
            secret: false,
            precious: false,
        }
    }

    fn file(text: &str) -> Kind {
        let digest = Digest::of(text.as_bytes());
        Kind::File { digest, size: 1 }
    }

    fn found(kind: &Kind) -> Found {
        let kind = match kind {
            Kind::File { digest, size } => FoundKind::File {
                digest: Some(*digest),
                size: *size,
            },
            Kind::Directory => FoundKind::Directory,
            Kind::Link { target } => FoundKind::Link {
                target: target.clone(),
            },
        };
        Found {
            kind,
            mode: 0o644,
            user: "root".into(),
            group: "root".into(),
            modified: 0,
        }
    }

    #[test]
    fn what_was_put_there_goes_and_what_somebody_changed_stays() {
        let unit = "/etc/systemd/system/etcd.service";
        let rows = [
            ("/etc/etcd", Kind::Directory),
            ("/etc/etcd/ca.pem", file("ca")),
            ("/etc/etcd/gone.pem", file("gone")),
            ("/etc/etcd/edited.conf", file("as put")),
            (unit, file("unit")),
        ];
        let path = RemotePath::fixed;
        let entries = rows
            .iter()
            .map(|(at, kind)| (path(at), entry(kind.clone())));
        let manifest = Manifest {
            cluster: "home".into(),
            node: "a".into(),
            arch: crate::arch::Arch::Arm64,
            versions: BTreeMap::new(),
            entries: entries.collect(),
            units: BTreeMap::new(),
        };
        let mut there: BTreeMap<_, _> = rows
            .iter()
            .map(|(at, kind)| (path(at), found(kind)))
            .collect();
        there.remove(&path("/etc/etcd/gone.pem"));
        there.insert(path("/etc/etcd/edited.conf"), found(&file("by hand")));
        there.insert(path("/etc/theirs"), found(&file("theirs")));
        let snapshot = Snapshot {
            entries: there,
            recorded: Some(Recorded {
                generation: 1,
                manifest,
                superseded: BTreeMap::new(),
            }),
            // Half a run later the unit would have been another one.
            begun: Some([(path(unit), entry(file("next")))].into()),
            ..Snapshot::default()
        };
        let removal = Removal::of(&snapshot);
        assert_eq!(
            removal.text(false),
            format!(
                "stop etcd.service\nremove {unit}\nremove /etc/etcd/ca.pem\nremove /etc/etcd\nend\n"
            )
        );
        assert_eq!(removal.changed, [path("/etc/etcd/edited.conf")]);
        assert!(removal.text(true).contains("\ndata /var/lib/etcd\n"));
        assert!(Removal::of(&Snapshot::default()).is_empty());
    }
}
