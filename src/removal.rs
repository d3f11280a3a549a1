//! What kinstall put on a node, to be taken away: by the node's own record, and nothing else. Pure.

use std::collections::BTreeMap;

use crate::component::{COMPONENTS, ETCD_DATA};
use crate::digest::Digest;
use crate::etcd_data::{Kept, Place};
use crate::manifest::{Entry, Kind, UnitName};
use crate::remote_path::RemotePath;
use crate::snapshot::{Found, FoundKind, Snapshot};

/// The authority of etcd on a member's node.
const AUTHORITY: &str = "/etc/etcd/certs/rootCA.pem";

/// What is taken away from one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Units, in the order in which they are stopped: who talks to another before the other.
    pub units: Vec<UnitName>,
    /// Entries, what lies deeper first; directories only if they are empty by then.
    pub entries: Vec<RemotePath>,
    /// Entries that are not as kinstall put them there: somebody changed them, and they stay.
    pub changed: Vec<RemotePath>,
    /// What services leave behind of their own: the data of a cluster, and who did what to it.
    pub data: Vec<DataDirectory>,
    /// Whether data are all that is there, of a cluster that was uninstalled before.
    pub is_rest: bool,
}

/// A directory with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDirectory {
    /// The directory, as a user is told.
    pub path: RemotePath,
    /// What in it is taken away with all that is below; somebody else's things may lie beside it.
    pub contents: RemotePath,
    /// The directories that go once they are empty, what lies deeper first.
    pub empty: Vec<RemotePath>,
}

impl Removal {
    /// What of a node is kinstall's own, as far as it lies there.
    /// `place` is where the inventory has the data of its member, if it is one.
    pub fn of(snapshot: &Snapshot, place: Option<&Place>) -> Self {
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
        removal.is_rest = removal.is_nothing() && snapshot.kept.is_some();
        removal.data = data_directories(snapshot, place);
        removal
    }

    /// Whether nothing is to be taken away.
    pub fn is_empty(&self, with_data: bool) -> bool {
        self.is_nothing() && !(with_data && self.is_rest)
    }

    fn is_nothing(&self) -> bool {
        self.units.is_empty() && self.entries.is_empty() && self.changed.is_empty()
    }

    /// What `uninstall.sh` reads; `kept` is what is left word of where data stay.
    pub fn text(&self, with_data: bool, kept: Option<&Kept>) -> String {
        let units = self.units.iter().map(|unit| format!("stop {unit}\n"));
        let entries = self.entries.iter().map(|path| format!("remove {path}\n"));
        let data = self.data.iter().filter(|_| with_data);
        let data = data.map(|data| {
            let empty = data.empty.iter().map(|path| format!("empty {path}\n"));
            format!("data {}\n{}", data.contents, empty.collect::<String>())
        });
        let kept = kept.filter(|_| !with_data).map(|kept| {
            let json = serde_json::to_string(kept).expect("paths, names and numbers");
            format!("keep {json}\n")
        });
        let end = std::iter::once("end\n".to_owned());
        let lines = units.chain(entries).chain(data).chain(kept);
        lines.chain(end).collect()
    }
}

/// What is left word of on each node where data stay: whose they are, and the keys of the whole
/// cluster, for a node that is a member alone has none.
pub fn kept<'a>(
    snapshots: impl Iterator<Item = &'a Snapshot> + Clone,
    of: &Snapshot,
) -> Option<Kept> {
    let (data, manifest) = (of.data.as_ref()?, &of.recorded.as_ref()?.manifest);
    let mut keys = BTreeMap::new();
    for snapshot in snapshots {
        let precious = snapshot.ours().into_iter();
        let precious = precious.filter(|(_, entry)| entry.precious);
        keys.extend(precious.filter_map(|(path, _)| digest_of(snapshot, path)));
    }
    if keys.is_empty() {
        keys.extend(digest_of(of, &RemotePath::fixed(AUTHORITY)));
    }
    Some(Kept {
        cluster: manifest.cluster.clone(),
        directory: data.directory.clone(),
        identity: data.identity,
        keys,
    })
}

fn digest_of(snapshot: &Snapshot, path: &RemotePath) -> Option<(RemotePath, Digest)> {
    match snapshot.entries.get(path)?.kind {
        FoundKind::File {
            digest: Some(digest),
            ..
        } => Some((path.clone(), digest)),
        _ => None,
    }
}

/// The data that services of this node left there.
fn data_directories(snapshot: &Snapshot, place: Option<&Place>) -> Vec<DataDirectory> {
    let ours = snapshot.ours();
    let had = |component: &str| ours.contains_key(&unit_file(component));
    let components = COMPONENTS.iter();
    let components = components.filter(|it| had(it.name) || snapshot.kept.is_some());
    let mut directories = Vec::new();
    for service in components.filter_map(|component| component.service.as_ref()) {
        for data in service.data {
            let place = place.filter(|_| data.directory == ETCD_DATA);
            let usual = RemotePath::fixed(data.directory);
            let path = place.map_or(usual, |place| place.directory.clone());
            directories.push(match data.contents {
                Some(below) => DataDirectory {
                    contents: path.join(below).unwrap_or_else(|_| path.clone()),
                    empty: vec![path.clone()],
                    path,
                },
                None => DataDirectory {
                    empty: path.parent().into_iter().collect(),
                    contents: path.clone(),
                    path,
                },
            });
            let wal = place.and_then(|place| place.wal.as_ref());
            directories.extend(wal.map(|wal| DataDirectory {
                path: wal.clone(),
                contents: wal.clone(),
                empty: vec![],
            }));
        }
    }
    directories
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
    let path = unit.path();
    snapshot.ours().contains_key(&path) && snapshot.entries.contains_key(&path)
}

fn unit_file(component: &str) -> RemotePath {
    RemotePath::fixed(&format!("/etc/systemd/system/{component}.service"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, Mode};
    use crate::snapshot::{Format, Recorded};

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
                format: Format::default(),
                generation: 1,
                manifest,
                superseded: BTreeMap::new(),
            }),
            // Half a run later the unit would have been another one.
            begun: Some([(path(unit), entry(file("next")))].into()),
            ..Snapshot::default()
        };
        let removal = Removal::of(&snapshot, None);
        assert_eq!(
            removal.text(false, None),
            format!(
                "stop etcd.service\nremove {unit}\nremove /etc/etcd/ca.pem\nremove /etc/etcd\nend\n"
            )
        );
        assert_eq!(removal.changed, [path("/etc/etcd/edited.conf")]);
        let with_data = removal.text(true, None);
        let etcd = "\ndata /var/lib/etcd/member\nempty /var/lib/etcd\n";
        assert!(with_data.contains(etcd), "{with_data}");
        assert!(Removal::of(&Snapshot::default(), None).is_empty(true));
    }
}
