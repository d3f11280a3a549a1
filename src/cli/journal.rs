//! What runs did, one line of JSON each, in `kinstall.history` beside the inventory.

use std::collections::BTreeMap;
use std::io::Write;

use super::{Failure, prepare};
use crate::inventory::Inventory;
use crate::journal::{Changes, Entry};

/// The journal's name, beside the inventory.
const JOURNAL: &str = "kinstall.history";

/// Now, as a word that sorts: `20261121T225930Z`.
pub(super) fn stamp() -> String {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    time::OffsetDateTime::now_utc()
        .format(&format)
        .unwrap_or_default()
}

/// A run that begins, for the journals here and on the nodes.
pub(super) fn entry(
    inventory: &Inventory,
    command: &str,
    who: String,
    changes: BTreeMap<String, Changes>,
) -> Entry {
    let from = inventory.directory.join(&inventory.file);
    let from = fs_err::canonicalize(&from).unwrap_or(from);
    Entry {
        run: format!("{}-{}", stamp(), std::process::id()),
        at: prepare::now(),
        who,
        from: from.display().to_string(),
        inventory: inventory.digest.to_string(),
        command: command.to_owned(),
        kubernetes: inventory.cluster.kubernetes.to_string(),
        etcd: inventory.cluster.etcd.to_string(),
        nodes: changes.keys().cloned().collect(),
        changes,
        outcome: String::new(),
    }
}

/// Adds a run.
pub(super) fn add(inventory: &Inventory, entry: &Entry) -> Result<(), Failure> {
    let line = entry.json() + "\n";
    let path = inventory.directory.join(JOURNAL);
    let mut file = fs_err::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    // One write, so that two runs at once do not mix their lines.
    file.write_all(line.as_bytes())?;
    Ok(())
}

/// All runs.
pub(super) fn read(inventory: &Inventory) -> Result<Vec<Entry>, Failure> {
    let path = inventory.directory.join(JOURNAL);
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Entry::all(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error.into()),
    }
}
