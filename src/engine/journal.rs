//! What runs did, one line of JSON each, in `kinstall.history` beside the inventory.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use super::{clock, operator};
use crate::durable;
use crate::failure::{Exit, Failure};
use crate::inventory::Inventory;
use crate::journal::{Changes, Entry};
use crate::regular_file;

/// The journal's name, beside the inventory.
const JOURNAL: &str = "kinstall.history";
/// The most bytes of it that are read: many years of pushes.
const BYTES_MAX: u64 = 64 << 20;

/// A run that begins, for the journals here and on the nodes.
pub(crate) fn entry(
    inventory: &Inventory,
    command: &str,
    changes: BTreeMap<String, Changes>,
) -> Entry {
    let from = inventory.directory.join(&inventory.file);
    let from = fs_err::canonicalize(&from).unwrap_or(from);
    Entry {
        run: format!("{}-{}", clock::stamp(), std::process::id()),
        at: clock::now(),
        who: operator::who(),
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
pub(crate) struct Journal(fs_err::File);

impl Journal {
    /// Opens it; made where it is missing.
    pub(crate) fn open(inventory: &Inventory) -> Result<Self, Failure> {
        let file = regular_file::append(&inventory.directory, JOURNAL);
        file.map(Self).map_err(|error| refused(&error))
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<(), Failure> {
        let line = entry.json() + "\n";
        // One write, so that two runs at once do not mix their lines.
        self.0.write_all(line.as_bytes())?;
        self.0.sync_all()?;
        Ok(durable::sync_parent(self.0.path())?)
    }
}

/// All runs.
pub(crate) fn read(inventory: &Inventory) -> Result<Vec<Entry>, Failure> {
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
