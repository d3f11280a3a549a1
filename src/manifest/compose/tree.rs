//! The entries of one node as they are gathered, and the contents they need.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;

use crate::component::Access;
use crate::digest::Digest;
use crate::lockfile::PinnedProgram;
use crate::manifest::{Content, Entry, Kind, Mode};
use crate::remote_path::RemotePath;
use crate::secret::Secret;

/// What is owed to a content.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Nothing.
    Plain,
    /// It is not shown.
    Secret,
    /// It is not shown, and not replaced by another.
    Precious,
}

/// Gathers entries, and puts contents where those of all nodes are.
pub(super) struct Tree<'a> {
    entries: BTreeMap<RemotePath, Entry>,
    contents: &'a mut BTreeMap<Digest, Content>,
}

/// The lines of a tmpfiles file.
#[derive(Serialize)]
pub(super) struct Owners {
    entries: Vec<Owner>,
}

#[derive(Serialize)]
struct Owner {
    path: String,
    mode: String,
    user: String,
    group: String,
}

impl<'a> Tree<'a> {
    pub(super) fn new(contents: &'a mut BTreeMap<Digest, Content>) -> Self {
        Self {
            entries: BTreeMap::new(),
            contents,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entries(self) -> BTreeMap<RemotePath, Entry> {
        self.entries
    }

    pub(super) fn directory(&mut self, path: &RemotePath, access: Access) {
        let (user, group, mode) = access.of_directory();
        let entry = entry(Kind::Directory, user, group, mode, Care::Plain);
        self.insert(path, entry);
    }

    /// A file that anyone may see in a diff.
    pub(super) fn open(&mut self, path: &RemotePath, text: String, access: Access) {
        self.file(path, &Secret::new(text), access, Care::Plain);
    }

    /// A file whose content must not be shown.
    pub(super) fn secret(&mut self, path: &RemotePath, content: &Secret, access: Access) {
        self.file(path, content, access, Care::Secret);
    }

    /// The same for what was made once for the cluster, and what data is lost without.
    pub(super) fn precious(&mut self, path: &RemotePath, content: &Secret, access: Access) {
        self.file(path, content, access, Care::Precious);
    }

    fn file(&mut self, path: &RemotePath, content: &Secret, access: Access, care: Care) {
        let digest = Digest::of(content.expose());
        let size = content.expose().len() as u64;
        let (user, group, mode) = access.of_file();
        let entry = entry(Kind::File { digest, size }, user, group, mode, care);
        self.insert(path, entry);
        self.contents
            .insert(digest, Content::Inline(content.clone()));
    }

    pub(super) fn binary(&mut self, path: &RemotePath, program: &str, pinned: PinnedProgram) {
        let PinnedProgram { digest, size } = pinned;
        let entry = entry(
            Kind::File { digest, size },
            "root",
            "root",
            0o755,
            Care::Plain,
        );
        self.insert(path, entry);
        let program = program.to_owned();
        self.contents
            .insert(digest, Content::Binary { program, size });
    }

    /// A link to a name beside it.
    pub(super) fn link(&mut self, path: &RemotePath, target: &str) {
        let target = target.to_owned();
        let entry = entry(Kind::Link { target }, "root", "root", 0, Care::Plain);
        self.insert(path, entry);
    }

    fn insert(&mut self, path: &RemotePath, entry: Entry) {
        let before = self.entries.get(path);
        assert!(
            before.is_none_or(|before| *before == entry),
            "two components agree on what `{path}` is"
        );
        self.entries.insert(path.clone(), entry);
    }

    /// Who owns what. A link belongs to whoever made it, and nothing follows from that.
    pub(super) fn owners(&self) -> Owners {
        let entries = self.entries.iter();
        let entries = entries.filter(|(_, entry)| !matches!(entry.kind, Kind::Link { .. }));
        let owner = |(path, entry): (&RemotePath, &Entry)| Owner {
            path: path.to_string(),
            mode: entry.mode.to_string(),
            user: entry.user.clone(),
            group: entry.group.clone(),
        };
        Owners {
            entries: entries.map(owner).collect(),
        }
    }
}

fn entry(kind: Kind, user: &str, group: &str, mode: u16, care: Care) -> Entry {
    Entry {
        kind,
        mode: Mode(mode),
        user: user.to_owned(),
        group: group.to_owned(),
        secret: care != Care::Plain,
        precious: care == Care::Precious,
    }
}

/// A second since 1970 as the names of certificates have it: `YYYYmmddTHHMM`, in UTC.
pub(super) fn date(second: i64) -> Option<String> {
    let date = OffsetDateTime::from_unix_timestamp(second).ok()?;
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute) = (date.hour(), date.minute());
    Some(format!(
        "{year:04}{:02}{day:02}T{hour:02}{minute:02}",
        u8::from(month)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_utc_to_the_minute() {
        assert_eq!(date(0).as_deref(), Some("19700101T0000"));
        assert_eq!(date(1_735_787_045).as_deref(), Some("20250102T0304"));
        assert_eq!(date(i64::MAX), None);
    }
}
