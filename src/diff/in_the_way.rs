//! What of systemd's own matters is in the way of a unit: units that somebody else made, and
//! drop-ins that change what kinstall's units say.
//!
//! Source: `systemd.unit(5)`, "Unit File Load Path" and the names of directories for drop-ins.

use crate::manifest::{Manifest, UnitName};
use crate::remote_path::RemotePath;
use crate::snapshot::{DropIn, Snapshot, UnitState};

/// Directories in which a unit of the same name wins over one in `/etc/systemd/system`.
const WINNING: [&str; 4] = [
    "/etc/systemd/system.control/",
    "/run/systemd/system.control/",
    "/run/systemd/transient/",
    "/run/systemd/generator.early/",
];

/// A unit of one of our names that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The unit.
    pub unit: UnitName,
    /// What it is and does, in words.
    pub what: String,
    /// What becomes of it.
    pub disposition: Disposition,
}

/// What becomes of a unit that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It does nothing, and is shadowed.
    Shadowed,
    /// It is replaced, where the user says so.
    Replaced,
    /// It would not go away by that: this must be typed first.
    Stays(String),
}

/// Every unit in the way of those of a manifest.
pub(super) fn strangers(manifest: &Manifest, snapshot: &Snapshot) -> Vec<Stranger> {
    let units = manifest.units.keys();
    units
        .filter_map(|unit| {
            let state = snapshot.foreign.get(unit);
            let state = state.or_else(|| snapshot.units.get(unit))?;
            stranger(unit, state, snapshot)
        })
        .collect()
}

fn stranger(unit: &UnitName, state: &UnitState, snapshot: &Snapshot) -> Option<Stranger> {
    let own = unit.path();
    let fragment = state.fragment.as_deref().unwrap_or_default();
    let (what, disposition) = if let Some(name) = &state.name {
        let what = format!("is another name of `{name}`, which {}", does(state));
        (
            what,
            Disposition::Stays(format!("systemctl disable --now {name}")),
        )
    } else if state.is_masked {
        let what = "is masked: systemd does not start it".to_owned();
        let is_runtime = fragment.starts_with("/run/");
        let runtime = if is_runtime { "--runtime " } else { "" };
        (
            what,
            Disposition::Stays(format!("systemctl unmask {runtime}{unit}")),
        )
    } else if fragment.is_empty()
        || (fragment == own.as_str() && snapshot.ours().contains_key(&own))
    {
        return None;
    } else if WINNING.iter().any(|place| fragment.starts_with(place)) {
        let what = format!("{}, which wins over `{own}`", does(state));
        (what, Disposition::Stays(format!("systemctl revert {unit}")))
    } else if state.is_up() || state.enabled {
        (does(state), Disposition::Replaced)
    } else {
        (does(state), Disposition::Shadowed)
    };
    Some(Stranger {
        unit: unit.clone(),
        what,
        disposition,
    })
}

/// What a unit does now, and what says so.
fn does(state: &UnitState) -> String {
    let told = |value: &Option<String>, before: &str, after: &str| {
        let value = value.as_ref();
        value.map_or_else(String::new, |value| format!("{before}{value}{after}"))
    };
    let from = told(&state.fragment, ", from `", "`");
    if !state.is_up() {
        let word = if state.enabled {
            "starts with the machine"
        } else {
            "does not run"
        };
        return format!("{word}{from}");
    }
    let program = state.program.as_ref();
    let program = program.map_or("a program", |program| &program.path);
    let since = told(&state.since, " since ", "");
    let data = told(&state.holds, ", data in `", "`");
    format!("runs `{program}`{since}{from}{data}")
}

/// The drop-ins of a manifest's units that kinstall did not put there.
pub(super) fn drop_ins(manifest: &Manifest, snapshot: &Snapshot) -> Vec<DropIn> {
    let ours = snapshot.ours();
    let is_ours = |path: &str| {
        let path = path.parse::<RemotePath>();
        path.is_ok_and(|path| manifest.entries.contains_key(&path) || ours.contains_key(&path))
    };
    let found = snapshot.drop_ins.iter();
    found
        .filter(|found| manifest.units.contains_key(&found.unit) && !is_ours(&found.path))
        .cloned()
        .collect()
}
