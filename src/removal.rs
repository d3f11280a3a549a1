//! What kinstall put on a node, to be taken away: by the node's own record, and nothing else. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::component::{COMPONENTS, Component, ETCD_DATA, Stage};
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
    /// What is run once they are stopped, so that nothing of theirs is left in the kernel.
    pub cleanup: Vec<&'static str>,
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
        // Who came last goes first.
        let components = COMPONENTS.iter().rev();
        let stopped = components.filter(|it| {
            let unit = it.unit_name();
            unit.is_some_and(|unit| removal.units.contains(&unit))
        });
        let services = stopped.filter_map(|component| component.service.as_ref());
        removal.cleanup = services.flat_map(|it| it.cleanup).copied().collect();
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
        let cleanup = self.cleanup.iter().map(|it| format!("run {it}\n"));
        let lines = units.chain(cleanup).chain(entries).chain(data).chain(kept);
        lines.chain(end).collect()
    }
}

/// What is left word of on each node where data stay: of etcd's whose they are, and the keys of the
/// whole cluster, for a node that is a member alone has none; of a worker's, which services had them.
pub fn kept<'a>(
    snapshots: impl Iterator<Item = &'a Snapshot> + Clone,
    of: &Snapshot,
) -> Option<Kept> {
    let before = of.kept.as_ref();
    let mut services = before.map_or_else(BTreeSet::new, |kept| kept.services.clone());
    let those = COMPONENTS
        .iter()
        .filter(|it| is_of_worker(it) && had(of, it));
    services.extend(those.map(|it| it.name.to_owned()));
    let cluster = of.recorded.as_ref().map(|it| it.manifest.cluster.clone());
    let cluster = cluster.or_else(|| Some(before?.cluster.clone()))?;
    let Some(data) = of.data.as_ref().filter(|_| of.recorded.is_some()) else {
        return (!services.is_empty()).then(|| Kept {
            cluster,
            directory: None,
            identity: None,
            keys: BTreeMap::new(),
            services,
        });
    };
    let mut keys = BTreeMap::new();
    for snapshot in snapshots {
        let protected = snapshot.ours().into_iter();
        let protected = protected.filter(|(_, entry)| entry.protected);
        keys.extend(protected.filter_map(|(path, _)| digest_of(snapshot, path)));
    }
    if keys.is_empty() {
        keys.extend(digest_of(of, &RemotePath::fixed(AUTHORITY)));
    }
    Some(Kept {
        cluster,
        directory: Some(data.directory.clone()),
        identity: data.identity,
        keys,
        services,
    })
}

/// Whether a component leaves data on workers.
fn is_of_worker(component: &Component) -> bool {
    let has_data = component
        .service
        .as_ref()
        .is_some_and(|it| !it.data.is_empty());
    has_data && component.stage() == Some(Stage::Workers)
}

/// Whether kinstall put a component's unit there.
fn had(snapshot: &Snapshot, component: &Component) -> bool {
    let unit = component.unit_name();
    unit.is_some_and(|unit| snapshot.ours().contains_key(&unit.path()))
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
    let components = COMPONENTS.iter();
    let is_kept = |it: &Component| {
        let Some(kept) = &snapshot.kept else {
            return false;
        };
        if is_of_worker(it) {
            // By now they may be another one's, whoever installed it.
            kept.services.contains(it.name) && !is_anybodys(snapshot, it)
        } else {
            kept.directory.is_some() && it.stage() != Some(Stage::Workers)
        }
    };
    let components = components.filter(|it| had(snapshot, it) || is_kept(it));
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

/// Whether there is a unit of a component's name, whoever put it there.
fn is_anybodys(snapshot: &Snapshot, component: &Component) -> bool {
    let unit = component.unit_name();
    let state = unit.and_then(|unit| {
        let foreign = snapshot.foreign.get(&unit);
        foreign.or_else(|| snapshot.units.get(&unit))
    });
    state.is_some_and(|it| it.fragment.as_ref().is_some_and(|path| !path.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, Mode};
    use crate::snapshot::{Format, Recorded, UnitState};

    fn entry(kind: Kind) -> Entry {
        Entry {
            kind,
            mode: Mode(0o644),
            user: "root".into(),
            group: "root".into(),
            secret: false,
            protected: false,
        }
    }

    fn file(text: &str) -> Kind {
        let digest = Digest::of(text.as_bytes());
        Kind::File { digest, size: 1 }
    }

    fn found(kind: &Kind) -> Found {
        Found {
            kind: FoundKind::of(kind),
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
                retired: BTreeMap::new(),
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

        // Word of etcd's data is none of a runtime's, nor the other way round.
        let rest = |directory: Option<&str>, services: &[&str]| Snapshot {
            kept: Some(Kept {
                cluster: "home".into(),
                directory: directory.map(path),
                identity: None,
                keys: BTreeMap::new(),
                services: services.iter().map(ToString::to_string).collect(),
            }),
            ..Snapshot::default()
        };
        let (etcd, runtime) = ("data /var/lib/etcd/member\n", "data /var/lib/containerd\n");
        let of = |snapshot: &Snapshot| Removal::of(snapshot, None).text(true, None);
        let text = of(&rest(Some("/var/lib/etcd"), &[]));
        assert!(text.contains(etcd) && !text.contains(runtime), "{text}");
        let mut node = rest(None, &["containerd", "kubelet"]);
        let text = of(&node);
        assert!(!text.contains(etcd) && text.contains(runtime), "{text}");
        // Whoever installed a runtime meanwhile has images there.
        let state = UnitState {
            fragment: Some("/usr/lib/systemd/system/containerd.service".into()),
            ..UnitState::default()
        };
        node.foreign
            .insert("containerd.service".parse().unwrap(), state);
        let text = of(&node);
        assert!(
            !text.contains(runtime) && text.contains("/var/lib/kubelet\n"),
            "{text}"
        );
    }
}
