//! Programs that run in units of kinstall's and are not the units' own: somebody edited what is
//! started, or put another program in its place.

use std::collections::BTreeMap;

use super::{ChangeKind, Difference};
use crate::manifest::{Manifest, Unit, UnitName};
use crate::remote_path::RemotePath;
use crate::snapshot::{Program, Snapshot, UnitState};

/// What the file of a process is called where programs of another architecture run by emulation.
const EMULATOR: &str = "qemu-";

/// Each unit in which another program runs, with that in words.
pub(super) fn intruders(
    manifest: &Manifest,
    snapshot: &Snapshot,
    difference: &Difference,
) -> BTreeMap<UnitName, String> {
    let look = Look {
        manifest,
        snapshot,
        difference,
    };
    let units = manifest.units.iter();
    let told = units.filter_map(|(name, unit)| {
        let state = snapshot.units.get(name).filter(|state| state.is_up())?;
        Some((name.clone(), look.told(name, unit, state)?))
    });
    told.collect()
}

struct Look<'a> {
    manifest: &'a Manifest,
    snapshot: &'a Snapshot,
    difference: &'a Difference,
}

impl Look<'_> {
    fn told(&self, name: &UnitName, unit: &Unit, state: &UnitState) -> Option<String> {
        let Program { path, is_gone } = state.program.as_ref()?;
        let program = path.as_str();
        let file = program.rsplit('/').next().unwrap_or_default();
        // An older release of its own is told as that.
        let is_own = file.starts_with(&unit.component) && self.is_managed(program) && !is_gone;
        if is_own || file.starts_with(EMULATOR) || self.is_said_by_the_user(name) {
            return None;
        }
        let edited = self.is_edited(name);
        let wanted = state.instead_of.as_deref();
        match wanted {
            // What a program that is not kinstall's becomes, or is upgraded to, nobody here knows.
            Some(wanted) if !edited && !self.is_managed(wanted) => return None,
            None if !edited || !has_program(unit) => return None,
            _ => {}
        }
        let gone = if *is_gone {
            ", a file that is gone,"
        } else {
            ""
        };
        let since = state.since.as_deref().unwrap_or("an unknown time");
        let wanted = wanted.filter(|wanted| *wanted != program);
        let wanted = wanted.map_or_else(String::new, |wanted| format!(", and not `{wanted}`"));
        Some(format!("runs `{program}`{gone} since {since}{wanted}"))
    }

    /// Whether kinstall put a file there.
    fn is_managed(&self, path: &str) -> bool {
        let ours = self.snapshot.recorded.iter();
        let ours = ours.flat_map(|it| [&it.retired, &it.manifest.entries]);
        let mut known = ours
            .chain(&self.snapshot.begun)
            .chain([&self.manifest.entries]);
        path.parse::<RemotePath>()
            .is_ok_and(|path| known.any(|entries| entries.contains_key(&path)))
    }

    /// Whether drop-ins of the user's own that kinstall puts there may say what is started.
    fn is_said_by_the_user(&self, name: &UnitName) -> bool {
        let place = name.drop_ins();
        let mut paths = self.manifest.entries.keys();
        paths.any(|path| path.parent().as_ref() == Some(&place))
    }

    /// Whether somebody changed by hand what is started.
    fn is_edited(&self, name: &UnitName) -> bool {
        let change = self.difference.entries.get(&name.path());
        change.is_some_and(|it| it.kind == ChangeKind::Replace && it.drift)
            || self.difference.drop_ins.iter().any(|it| it.unit == *name)
    }
}

/// Whether its program is one that kinstall puts there, and no shell.
fn has_program(unit: &Unit) -> bool {
    let mut read = unit.watches.iter();
    read.any(|path| {
        let file = path.file_name();
        let rest = file.strip_prefix(unit.component.as_str());
        !unit.is_file(path) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-v"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Reason, between, fingerprint};
    use super::*;
    use crate::manifest::Kind;
    use crate::manifest::compose::fixture::{Fixture, manifest};
    use crate::snapshot::{Format, Found, FoundKind, Recorded};

    const OWN: &str = "/usr/local/bin/etcd-v3.5.21";

    fn started(path: &str, is_gone: bool) -> Program {
        let path = path.to_owned();
        Program { path, is_gone }
    }

    /// What runs in etcd's unit on a node that is as it should be but for a change, and whether that
    /// is a reason to restart it.
    fn told(change: impl FnOnce(&mut Snapshot, &mut UnitState)) -> (Option<String>, bool) {
        let desired = Fixture::new(1, "1.32.3", "3.5.21").composed();
        let manifest = manifest(&desired, "az1");
        let found = |(path, entry): (&RemotePath, &crate::manifest::Entry)| {
            let found = Found {
                kind: match &entry.kind {
                    Kind::File { digest, size } => FoundKind::File {
                        digest: Some(*digest),
                        size: *size,
                    },
                    Kind::Directory => FoundKind::Directory,
                    Kind::Link { target } => FoundKind::Link {
                        target: target.clone(),
                    },
                },
                mode: entry.mode.0,
                user: entry.user.to_string(),
                group: entry.group.to_string(),
                modified: 0,
            };
            (path.clone(), found)
        };
        let mut snapshot = Snapshot {
            owned: true,
            entries: manifest.entries.iter().map(found).collect(),
            recorded: Some(Recorded {
                format: Format::default(),
                generation: 1,
                manifest: manifest.clone(),
                retired: BTreeMap::new(),
            }),
            ..Snapshot::default()
        };
        let name: UnitName = "etcd.service".parse().unwrap();
        let mut state = UnitState {
            active: "active".to_owned(),
            enabled: true,
            since: Some("Monday".to_owned()),
            applied: Some(fingerprint(manifest, &manifest.units[&name])),
            program: Some(started(OWN, false)),
            ..UnitState::default()
        };
        change(&mut snapshot, &mut state);
        snapshot.units.insert(name.clone(), state);
        let mut difference = between(manifest, &snapshot);
        let activation = difference.units.get(&name);
        let restarts = activation.is_some_and(|it| it.reason == Reason::Intruder);
        (difference.intruders.remove(&name), restarts)
    }

    #[track_caller]
    fn check(program: &str, instead_of: Option<&str>, is_gone: bool, expected: Option<&str>) {
        let (found, restarts) = told(|_, state| {
            state.program = Some(started(program, is_gone));
            state.instead_of = instead_of.map(str::to_owned);
        });
        assert_eq!(found.as_deref(), expected);
        assert_eq!(restarts, expected.is_some());
    }

    #[test]
    fn another_program_is_told_and_a_reason_to_restart() {
        let sleep = "runs `/usr/bin/sleep` since Monday, and not `/usr/local/bin/etcd-v3.5.21`";
        check("/usr/bin/sleep", Some(OWN), false, Some(sleep));
        let gone = "runs `/usr/local/bin/etcd-v3.5.21`, a file that is gone, since Monday";
        check(OWN, Some(OWN), true, Some(gone));
        check(OWN, None, false, None);
        // Emulation, and programs of the system's that a unit of the user's own starts.
        check("/usr/bin/qemu-aarch64", Some(OWN), false, None);
        check("/usr/bin/dash", Some("/usr/bin/dash"), true, None);
        check("/opt/a", Some("/opt/b"), false, None);
    }

    #[test]
    fn what_a_drop_in_or_an_edited_unit_starts_is_told() {
        let drop_in = crate::snapshot::DropIn {
            unit: "etcd.service".parse().unwrap(),
            path: "/run/systemd/system/etcd.service.d/a.conf".to_owned(),
        };
        let found = told(|snapshot, state| {
            snapshot.drop_ins.push(drop_in);
            state.program = Some(started("/usr/bin/sleep", false));
            state.instead_of = Some(OWN.to_owned());
        });
        let text = "runs `/usr/bin/sleep` since Monday, and not `/usr/local/bin/etcd-v3.5.21`";
        assert_eq!(found, (Some(text.to_owned()), false));
        let found = told(|snapshot, state| {
            let unit = RemotePath::fixed("/etc/systemd/system/etcd.service");
            if let Some(FoundKind::File { digest, .. }) =
                snapshot.entries.get_mut(&unit).map(|it| &mut it.kind)
            {
                *digest = None;
            }
            state.program = Some(started("/usr/bin/sleep", false));
        });
        let text = "runs `/usr/bin/sleep` since Monday";
        assert_eq!(found, (Some(text.to_owned()), false));
    }
}
