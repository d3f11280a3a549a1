//! Turns the collected facts about flags, feature gates and admission plugins into the small
//! tables that kinstall is built with (`src/flags/*.tsv`) and the lists its tests compare them
//! with (`tests/help/*.txt`). Run it again when the facts grow: `cargo xtask flag-table DIR`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

mod gates;
mod kinds;
mod known;
mod spans;

use known::{CARRIED, FIRST, HELPS, INSTEAD, LAST, PATCHED, PROGRAMS, SURE_TO};
use spans::{Point, Spans};

/// Why the tables could not be made.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file is not what it should be.
    #[error("`{path}` is not in the expected form")]
    Json {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Facts {
    components: BTreeMap<String, BTreeMap<String, Listing>>,
    etcd: BTreeMap<String, Listing>,
}

#[derive(Deserialize)]
struct Listing {
    flags: BTreeMap<String, Fact>,
    #[serde(default)]
    ignored_legacy: Vec<String>,
}

#[derive(Deserialize)]
struct Fact {
    #[serde(rename = "type")]
    kind: Option<String>,
    help: Option<String>,
    deprecated: Option<serde_json::Value>,
    uncertain: Option<String>,
    since_patch: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(rename = "type")]
    kind: Option<String>,
    deprecated: Option<serde_json::Value>,
}

/// One flag of one program while it is being gathered.
#[derive(Default)]
struct Row {
    kinds: Vec<String>,
    valid: BTreeSet<Point>,
    doubtful: BTreeSet<Point>,
    deprecated: BTreeMap<u32, bool>,
    config_file: bool,
}

type Rows = BTreeMap<String, Row>;
type Help = BTreeMap<String, Shown>;

/// Reads the facts in `data` and writes the tables.
pub(crate) fn run(data: &Path) -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let facts: Facts = read(&data.join("flags.json"))?;
    let mut helps: Vec<(&str, &str, Help)> = Vec::new();
    for (program, version) in HELPS {
        let help = help(data, program, version)?;
        let names: Vec<&str> = help.keys().map(String::as_str).collect();
        let path = root.join(format!("tests/help/{program}-{version}.txt"));
        fs_err::write(path, names.join("\n") + "\n")?;
        helps.push((program, version, help));
    }
    let all: BTreeMap<&str, Rows> = PROGRAMS
        .into_iter()
        .map(|program| {
            (
                program,
                kubernetes(program, &facts.components[program], &helps),
            )
        })
        .collect();
    for (program, rows) in &all {
        let kind = |name: &str, row: &Row| {
            kinds::of(name, &row.kinds)
                .or_else(|| {
                    all.values()
                        .find_map(|rows| kinds::of(name, &rows.get(name)?.kinds))
                })
                .unwrap_or("any")
        };
        let text = table(1, FIRST, LAST, SURE_TO, rows, kind);
        fs_err::write(root.join(format!("src/flags/{program}.tsv")), text)?;
    }
    let rows = etcd(&facts.etcd);
    let kind = |name: &str, row: &Row| kinds::etcd(name, &row.kinds);
    fs_err::write(
        root.join("src/flags/etcd.tsv"),
        table(3, 3, 7, 7, &rows, kind),
    )?;
    fs_err::write(root.join("src/flags/gates.tsv"), gates::gates(data)?)?;
    fs_err::write(root.join("src/flags/plugins.tsv"), gates::plugins(data)?)?;
    Ok(())
}

fn kubernetes(
    program: &str,
    minors: &BTreeMap<String, Listing>,
    helps: &[(&str, &str, Help)],
) -> Rows {
    let mut rows = Rows::new();
    let genuine = |minor: u32| {
        let prefix = format!("1.{minor}.");
        helps
            .iter()
            .find(|(name, version, _)| *name == program && version.starts_with(&prefix))
    };
    // The kinds that programs themselves print come first, newest first: they are exact.
    for (_, _, help) in helps.iter().rev().filter(|(name, ..)| *name == program) {
        for (flag, shown) in help {
            rows.entry(flag.clone())
                .or_default()
                .kinds
                .extend(shown.kind.clone());
        }
    }
    for minor in FIRST..=LAST {
        let listing = &minors[&format!("1.{}", minor.min(SURE_TO))];
        for (flag, fact) in &listing.flags {
            let row = rows.entry(flag.clone()).or_default();
            row.kinds.extend(fact.kind.clone());
            let patch = PATCHED
                .iter()
                .find(|(name, at, _)| name == flag && *at == minor);
            let point = Point {
                minor,
                patch: patch.map_or(0, |(.., patch)| *patch),
            };
            let listed = if fact.uncertain.is_some() {
                &mut row.doubtful
            } else {
                &mut row.valid
            };
            listed.insert(point);
            row.deprecated
                .insert(minor, deprecated(fact.deprecated.as_ref()));
            row.config_file |= fact.deprecated == Some("prefer-config-file".into());
        }
        let Some((.., help)) = genuine(minor) else {
            continue;
        };
        for (flag, shown) in help {
            let row = rows.entry(flag.clone()).or_default();
            row.doubtful.retain(|point| point.minor != minor);
            if !row.valid.iter().any(|point| point.minor == minor) {
                row.valid.insert(Point { minor, patch: 0 });
            }
            *row.deprecated.entry(minor).or_default() |= deprecated(shown.deprecated.as_ref());
        }
    }
    bridge(&mut rows);
    rows
}

/// A flag that a genuine build shows at one end and no source mentions between two minors: the
/// minors between are doubtful rather than absent (kube-proxy's `machine-id-file`).
fn bridge(rows: &mut Rows) {
    for row in rows.values_mut() {
        let seen: BTreeSet<u32> = row
            .valid
            .union(&row.doubtful)
            .map(|point| point.minor)
            .collect();
        let (Some(&first), Some(&last)) = (seen.first(), seen.last()) else {
            continue;
        };
        let missing = (first..=last.max(if last == SURE_TO { LAST } else { last }))
            .filter(|minor| !seen.contains(minor));
        row.doubtful
            .extend(missing.map(|minor| Point { minor, patch: 0 }));
    }
}

fn etcd(minors: &BTreeMap<String, Listing>) -> Rows {
    let mut rows = Rows::new();
    for (name, listing) in minors {
        let minor = name.trim_start_matches("3.").parse().unwrap_or_default();
        for (flag, fact) in &listing.flags {
            let row = rows.entry(flag.clone()).or_default();
            row.kinds.extend(fact.help.clone());
            let patch = fact
                .since_patch
                .as_ref()
                .and_then(|text| text.rsplit('.').next());
            let patch = patch.and_then(|text| text.parse().ok()).unwrap_or_default();
            row.valid.insert(Point { minor, patch });
            row.deprecated
                .insert(minor, deprecated(fact.deprecated.as_ref()));
        }
        for flag in &listing.ignored_legacy {
            let row = rows.entry(flag.clone()).or_default();
            row.kinds.push("ignored".into());
            row.valid.insert(Point { minor, patch: 0 });
            row.deprecated.insert(minor, true);
        }
    }
    rows
}

fn table(
    major: u32,
    first: u32,
    last: u32,
    sure: u32,
    rows: &Rows,
    kind: impl Fn(&str, &Row) -> &'static str,
) -> String {
    let mut text = format!("minors\t{major}.{first}-{major}.{last}\tsure to\t{major}.{sure}\n");
    text += "flag\tkind\tvalid\tdoubtful\tdeprecated\tinstead\n";
    for (name, row) in rows {
        let instead = INSTEAD
            .iter()
            .find(|(old, new)| old == name && rows.contains_key(bare(new)));
        let instead = instead.map_or(if row.config_file { "file" } else { "" }, |(_, new)| new);
        let since = since(row)
            .map(|minor| format!("{major}.{minor}"))
            .unwrap_or_default();
        let valid = Spans::of(major, &row.valid);
        let doubtful = Spans::of(major, &row.doubtful);
        let kind = kind(name, row);
        writeln!(
            text,
            "{name}\t{kind}\t{valid}\t{doubtful}\t{since}\t{instead}"
        )
        .expect("a String takes everything");
    }
    text
}

fn bare(flag: &str) -> &str {
    flag.split_once('=').map_or(flag, |(name, _)| name)
}

/// The minor from which a flag is deprecated to its end. A mark that goes away again was about
/// one of its values (etcd 3.4's `logger`), not about the flag.
fn since(row: &Row) -> Option<u32> {
    row.deprecated
        .iter()
        .rev()
        .take_while(|(_, marked)| **marked)
        .last()
        .map(|(minor, _)| *minor)
}

fn deprecated(mark: Option<&serde_json::Value>) -> bool {
    match mark {
        None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => false,
        Some(serde_json::Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn help(data: &Path, program: &str, version: &str) -> Result<Help, Error> {
    let shown: Help = read(&data.join(format!("real-help/{program}-v{version}.json")))?;
    let named = shown
        .into_iter()
        .map(|(name, shown)| (name.replace('_', "-"), shown));
    Ok(named
        .filter(|(name, _)| !CARRIED.contains(&name.as_str()))
        .collect())
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    let text = fs_err::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}
