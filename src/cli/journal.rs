//! What runs did, one line of JSON each, in `kinstall.history` beside the inventory.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use super::{Exit, Failure, prepare};
use crate::durable;
use crate::inventory::Inventory;
use crate::journal::{Changes, Entry};
use crate::regular_file;

/// The journal's name, beside the inventory.
const JOURNAL: &str = "kinstall.history";
/// The most bytes of it that are read: many years of pushes.
const BYTES_MAX: u64 = 64 << 20;

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

/// The journal here, open for one run more: whether it can be written shows before the run.
pub(super) struct Journal(fs_err::File);

impl Journal {
    /// Opens it; made where it is missing.
    pub(super) fn open(inventory: &Inventory) -> Result<Self, Failure> {
        let file = regular_file::append(&inventory.directory, JOURNAL);
        file.map(Self).map_err(|error| refused(&error))
    }

    /// Adds a run.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        let line = entry.json() + "\n";
        // One write, so that two runs at once do not mix their lines.
        self.0.write_all(line.as_bytes())?;
        self.0.sync_all()?;
        Ok(durable::sync_parent(self.0.path())?)
    }
}

/// All runs.
pub(super) fn read(inventory: &Inventory) -> Result<Vec<Entry>, Failure> {
    let directory = &inventory.directory;
    let text = regular_file::real(directory, &directory.join(JOURNAL))
        .and_then(|path| regular_file::read_text(&path, BYTES_MAX));
    match text {
        Ok(text) => Ok(Entry::all(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &std::io::Error) -> Failure {
    let help = "it remembers what runs did, beside the inventory; move it away, and the next run \
                begins a new one";
    Failure::words(Exit::Usage, error.to_string(), help)
}
