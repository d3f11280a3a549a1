//! What a node keeps of a generation: the manifest that was carried out there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::manifest::{Entry, Manifest, is_default};
use crate::remote_path::RemotePath;

/// What a generation's record holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recorded {
    /// The form of the record.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: Format,
    /// Its number, counted from 1 on each node.
    pub generation: u64,
    /// What the node should hold.
    pub manifest: Manifest,
    /// Entries of the generation before that were retired under another name (a dated
    /// certificate, a versioned program): they stay for a way back, for one generation.
    #[serde(rename = "superseded")]
    pub retired: BTreeMap<RemotePath, Entry>,
}

/// The form of a record. Later ones say things that this kinstall would not understand; the first
/// one goes without saying, for there were records before there was a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Format(u32);

impl Format {
    const FIRST: u32 = 1;
    /// The latest that this kinstall reads, and what it writes.
    const LATEST: u32 = 1;
}

impl Default for Format {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl TryFrom<u32> for Format {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if (Self::FIRST..=Self::LATEST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(format!("format {number} is not known"))
        }
    }
}

impl From<Format> for u32 {
    fn from(format: Format) -> Self {
        format.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"generation":3,"manifest":{"cluster":"home","node":"az1","arch":"arm64","versions":{},"entries":{},"units":{}},"superseded":{}}"#;

    #[test]
    fn a_record_without_a_number_is_of_the_first_form_and_stays_so() {
        let recorded: Recorded = serde_json::from_str(RECORD).unwrap();
        assert_eq!(recorded.format, Format::default());
        assert_eq!(serde_json::to_string(&recorded).unwrap(), RECORD);
    }

    #[test]
    fn a_record_of_a_later_form_is_refused() {
        for (number, is_read) in [(0, false), (1, true), (2, false)] {
            let text = RECORD.replacen('{', &format!("{{\"format\":{number},"), 1);
            let read = serde_json::from_str::<Recorded>(&text);
            assert_eq!(read.is_ok(), is_read, "{number}: {read:?}");
        }
    }
}
