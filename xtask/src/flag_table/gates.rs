//! Feature gates and admission plugins: which names a minor knows, and which gates are locked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use serde::Deserialize;

use super::{Error, FIRST, LAST, Point, SURE_TO, Spans, read};

/// Announced for 1.37: one gate gone, one added. (A third is locked there, to a value unknown.)
const GONE_IN_LAST: &str = "AnyVolumeDataSource";
const NEW_IN_LAST: &str = "KubeProxyIPVS";

/// Changes to the admission plugins that fall between the releases whose source was read:
/// added in, and last present in, a minor of 1.x.
const PLUGINS_ADDED: [(&str, u32); 2] = [("DenyServiceExternalIPs", 21), ("PodSecurity", 22)];
const PLUGINS_ENDED: [(&str, u32); 4] = [
    ("DenyEscalatingExec", 20),
    ("DenyExecOnPrivileged", 20),
    ("PodSecurityPolicy", 24),
    ("PodGroupWorkloadExists", 36),
];

#[derive(Deserialize)]
struct Gates {
    gates: BTreeMap<String, Gate>,
}

#[derive(Deserialize)]
struct Gate {
    #[serde(default)]
    stages: Vec<Stage>,
    src_present: Option<(String, String)>,
}

#[derive(Deserialize)]
struct Stage {
    default: Option<bool>,
    locked: Option<bool>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
struct Plugins {
    plugins: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Listed {
    all: BTreeSet<String>,
}

pub(super) fn gates(data: &Path) -> Result<String, Error> {
    let facts: Gates = read(&data.join("gates.json"))?;
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for (name, gate) in &facts.gates {
        let (valid, doubtful) = presence(name, gate);
        if valid.is_empty() && doubtful.is_empty() {
            continue;
        }
        let locked = gate.stages.iter().find(|stage| stage.locked == Some(true));
        let locked = locked.and_then(|stage| Some((stage.from.as_ref()?, stage.default?)));
        let locked = locked
            .map(|(from, value)| format!("{from}={value}"))
            .unwrap_or_default();
        let (valid, doubtful) = (Spans::of(1, &valid), Spans::of(1, &doubtful));
        rows.insert(name.clone(), format!("{valid}\t{doubtful}\t{locked}"));
    }
    rows.insert(NEW_IN_LAST.into(), format!("1.{LAST}-1.{LAST}\t\t"));
    for name in ["AllAlpha", "AllBeta"] {
        rows.insert(name.into(), format!("1.{FIRST}-1.{LAST}\t\t"));
    }
    let mut text = format!("minors\t1.{FIRST}-1.{LAST}\tsure to\t1.{SURE_TO}\n");
    text += "gate\tvalid\tdoubtful\tlocked\n";
    for (name, row) in rows {
        writeln!(text, "{name}\t{row}").expect("a String takes everything");
    }
    Ok(text)
}

/// Source and documents both speak. What the source has is certain when the documents know the
/// gate too (a distribution's own gates are in the source alone); what the documents give to a
/// minor whose source was read without finding it is doubtful.
fn presence(name: &str, gate: &Gate) -> (BTreeSet<Point>, BTreeSet<Point>) {
    let in_source = |at: u32| {
        gate.src_present
            .as_ref()
            .is_some_and(|(from, to)| (minor(from)..=minor(to)).contains(&at))
    };
    let first = gate
        .stages
        .iter()
        .filter_map(|stage| stage.from.as_deref())
        .map(minor)
        .min();
    // An open end only says that the gate was there when the documents were written, which the
    // source knows better.
    let open = gate.stages.iter().any(|stage| stage.to.is_none());
    let last = gate
        .stages
        .iter()
        .filter_map(|stage| stage.to.as_deref())
        .map(minor)
        .max();
    let last = if open {
        gate.src_present.is_none().then_some(SURE_TO)
    } else {
        last
    };
    let in_documents = |at: u32| {
        first
            .zip(last)
            .is_some_and(|(first, last)| (first..=last).contains(&at))
    };
    let (mut valid, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    for at in FIRST..=LAST {
        if at == LAST && name == GONE_IN_LAST {
            continue;
        }
        let (point, known) = (
            Point {
                minor: at,
                patch: 0,
            },
            at.min(SURE_TO),
        );
        match (in_source(known), in_documents(known)) {
            (true, _) if !gate.stages.is_empty() => valid.insert(point),
            (false, false) => false,
            // No source of 1.21 to 1.24 was read: there the documents have the word.
            (false, true) if (21..=24).contains(&at) && gate.src_present.is_some() => {
                valid.insert(point)
            }
            _ => doubtful.insert(point),
        };
    }
    (valid, doubtful)
}

pub(super) fn plugins(data: &Path) -> Result<String, Error> {
    let facts: Plugins = read(&data.join("admission-plugins.json"))?;
    let listed: BTreeMap<u32, BTreeSet<String>> = facts
        .plugins
        .into_iter()
        .map(|(at, listed)| (minor(&at), listed.all))
        .collect();
    let names: BTreeSet<&String> = listed.values().flatten().collect();
    let mut text = format!("minors\t1.{FIRST}-1.{LAST}\tsure to\t1.{SURE_TO}\n");
    text += "plugin\tvalid\tdoubtful\n";
    for name in names {
        let has = |at: u32| listed.get(&at).is_some_and(|all| all.contains(name));
        let (mut valid, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
        for at in FIRST..=LAST {
            let known = at.min(SURE_TO);
            let added = PLUGINS_ADDED.iter().find(|(plugin, _)| plugin == name);
            let ended = PLUGINS_ENDED.iter().find(|(plugin, _)| plugin == name);
            let before = listed
                .range(..=known)
                .next_back()
                .is_some_and(|(at, _)| has(*at));
            let after = listed.range(known..).next().is_some_and(|(at, _)| has(*at));
            let point = Point {
                minor: at,
                patch: 0,
            };
            match (added, ended) {
                (Some((_, from)), _) if at >= *from && (has(at) || !listed.contains_key(&at)) => {
                    valid.insert(point);
                }
                (_, Some((_, to))) if at > *to => {}
                (_, Some((_, to))) if at <= *to && before => {
                    valid.insert(point);
                }
                (Some(_), _) => {}
                _ if before && after => {
                    valid.insert(point);
                }
                _ if before || after => {
                    doubtful.insert(point);
                }
                _ => {}
            }
        }
        let (valid, doubtful) = (Spans::of(1, &valid), Spans::of(1, &doubtful));
        writeln!(text, "{name}\t{valid}\t{doubtful}").expect("a String takes everything");
    }
    Ok(text)
}

/// The 24 of `1.24` and of `1.24-alpha.1`.
fn minor(text: &str) -> u32 {
    text.split('.')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}
