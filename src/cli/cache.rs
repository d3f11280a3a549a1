//! `kinstall cache`: what was downloaded and kept, and making it less.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Common, Exit, Failure, Login};
use crate::engine::releases;
use crate::fetch::{Cache, Cleaned, Entry, Retention};
use crate::plain;
use crate::terminal::Terminal;
use crate::terminal::releases::{CacheEntry, entries_text, size};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Look at what was downloaded and kept, or make it less.
#[derive(Debug, Args)]
pub(super) struct CacheCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell what is kept, the last used first
    List,
    /// Remove what no other kinstall uses just now
    Clean(Clean),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Clean {
    /// What was not used for so many days
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u16>,
    /// What was not used for longest, until what is left takes no more, as in `2GB` or `500MiB`
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_size: Option<u64>,
    /// Everything
    #[arg(long)]
    all: bool,
}

/// What `--json` prints of a cleaning.
#[derive(Serialize)]
struct CleanedText {
    removed: Vec<CacheEntry>,
    in_use: Vec<CacheEntry>,
    freed_bytes: u64,
    entries_left: usize,
}

impl CacheCommand {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let cache = releases::cache(&common.settings(&Login::default()))?;
        let json = common.json;
        let told = tokio::task::spawn_blocking(move || match self.what {
            What::List => list(&cache, json),
            What::Clean(clean) => clean.clean(&cache, json),
        });
        let told = told.await.map_err(std::io::Error::other)?;
        terminal.print(&told?);
        Ok(Exit::Done)
    }
}

fn list(cache: &Cache, json: bool) -> Result<String, Failure> {
    let entries = cache
        .entries()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    let now = SystemTime::now();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| CacheEntry::of(entry, now))
        .collect();
    if json {
        return Ok(in_json(&told));
    }
    let whole = size(entries.iter().map(Entry::whole).sum());
    let (count, place) = (
        plain::count(entries.len(), "entry"),
        cache.directory().display(),
    );
    Ok(format!(
        "{}{count} in {place}, {whole}\n",
        entries_text(&told)
    ))
}

fn in_json(told: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(told).expect("texts and numbers");
    plain::json(&text).into_owned() + "\n"
}

impl Clean {
    fn clean(&self, cache: &Cache, json: bool) -> Result<String, Failure> {
        let keep = match (self.older_than, self.max_size) {
            (Some(days), _) => Retention::UsedWithin(Duration::from_secs(u64::from(days) * DAY)),
            (None, Some(bytes)) => Retention::Bytes(bytes),
            (None, None) => Retention::Nothing,
        };
        let now = SystemTime::now();
        let cleaned = cache.clean(keep, now);
        let cleaned = cleaned.map_err(|error| Failure::new(Exit::Failed, error))?;
        let Cleaned {
            removed,
            busy,
            partial,
            left,
        } = &cleaned;
        let freed = partial + removed.iter().map(Entry::whole).sum::<u64>();
        if json {
            let told = CleanedText {
                removed: removed
                    .iter()
                    .map(|entry| CacheEntry::of(entry, now))
                    .collect(),
                in_use: busy
                    .iter()
                    .map(|entry| CacheEntry::of(entry, now))
                    .collect(),
                freed_bytes: freed,
                entries_left: *left,
            };
            return Ok(in_json(&told));
        }
        let mut text = format!(
            "removed {}, {}; {left} left",
            plain::count(removed.len(), "entry"),
            size(freed)
        );
        if !busy.is_empty() {
            let count = busy.len();
            // Writing to a String cannot fail.
            _ = write!(
                text,
                "; {count} that would have been removed were kept, for another kinstall uses the cache"
            );
        }
        Ok(text + "\n")
    }
}

/// A number of bytes, from `500MB`, `2 GiB` or `123`.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
        ("", 1),
    ];
    let unit = units
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let parsed = unit.and_then(|(number, bytes)| {
        let number: u64 = number.trim().parse().ok()?;
        number.checked_mul(*bytes)
    });
    parsed.ok_or_else(|| "write a whole number and a unit, as in `500MB` or `2GiB`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("123", Some(123)),
            ("0B", Some(0)),
            ("500MB", Some(500_000_000)),
            ("2 GiB", Some(2 << 30)),
            ("", None),
            ("2.5GB", None),
            ("GB", None),
            ("-1", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }
}
