//! What runs did, one line of JSON each, in `kinstall.history` beside the inventory.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{Failure, prepare};
use crate::inventory::Inventory;

/// The journal's name, beside the inventory.
const JOURNAL: &str = "kinstall.history";

/// One run that changed something, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Entry {
    /// When it ended, in seconds since 1970.
    pub(super) at: i64,
    /// Who ran it, where.
    pub(super) who: String,
    /// The command.
    pub(super) command: String,
    /// The Kubernetes version of the inventory.
    pub(super) kubernetes: String,
    /// The etcd version of the inventory.
    pub(super) etcd: String,
    /// The nodes that changed, or should have.
    pub(super) nodes: Vec<String>,
    /// `done`, or what went wrong.
    pub(super) outcome: String,
}

impl Entry {
    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let at = time::OffsetDateTime::from_unix_timestamp(self.at).map_or_else(
            |_| self.at.to_string(),
            |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
        );
        let Self {
            who,
            command,
            kubernetes,
            etcd,
            nodes,
            outcome,
            ..
        } = self;
        let nodes = nodes.join(" ");
        format!(
            "{at}  {command}  kubernetes {kubernetes}, etcd {etcd}  {nodes}  {outcome}  ({who})"
        )
    }
}

/// Now, as a word that sorts: `20261121T225930Z`.
pub(super) fn stamp() -> String {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    time::OffsetDateTime::now_utc()
        .format(&format)
        .unwrap_or_default()
}

/// Adds a run.
pub(super) fn add(
    inventory: &Inventory,
    command: &str,
    who: &str,
    nodes: Vec<String>,
    outcome: String,
) -> Result<(), Failure> {
    let entry = Entry {
        at: prepare::now(),
        who: who.to_owned(),
        command: command.to_owned(),
        kubernetes: inventory.cluster.kubernetes.to_string(),
        etcd: inventory.cluster.etcd.to_string(),
        nodes,
        outcome,
    };
    let line = serde_json::to_string(&entry).expect("texts and numbers") + "\n";
    let path = inventory.directory.join(JOURNAL);
    let mut file = fs_err::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    // One write, so that two runs at once do not mix their lines.
    file.write_all(line.as_bytes())?;
    Ok(())
}

/// All runs; lines that cannot be understood are left out.
pub(super) fn read(inventory: &Inventory) -> Result<Vec<Entry>, Failure> {
    let path = inventory.directory.join(JOURNAL);
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error.into()),
    }
}
