//! The entries of one node as they are gathered, and the contents they need.

use std::borrow::Cow;
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
    Protected,
}

/// A text that many nodes have: it is hashed once.
pub(super) struct Shared {
    digest: Digest,
    content: Secret,
}

impl Shared {
    pub(super) fn new(text: String) -> Self {
        let content = Secret::new(text);
        let digest = Digest::of(content.expose());
        Self { digest, content }
    }
}

/// Gathers entries, and puts contents where those of all nodes are.
pub(super) struct Tree<'a> {
    entries: BTreeMap<RemotePath, Entry>,
    contents: &'a mut BTreeMap<Digest, Content>,
}

/// The lines of a tmpfiles file.
#[derive(PartialEq, Eq, Hash, Serialize)]
pub(super) struct Owners {
    entries: Vec<Owner>,
}

#[derive(PartialEq, Eq, Hash, Serialize)]
struct Owner {
    path: String,
    mode: String,
    user: Cow<'static, str>,
    group: Cow<'static, str>,
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

    /// The same of a text that many nodes have.
    pub(super) fn shared(&mut self, path: &RemotePath, text: &Shared, access: Access) {
        self.keep(path, text.digest, &text.content, access, Care::Plain);
    }

    /// A file whose content must not be shown.
    pub(super) fn secret(&mut self, path: &RemotePath, content: &Secret, access: Access) {
        self.file(path, content, access, Care::Secret);
    }

    /// The same for what was made once for the cluster, and what data is lost without.
    pub(super) fn protected(&mut self, path: &RemotePath, content: &Secret, access: Access) {
        self.file(path, content, access, Care::Protected);
    }

    fn file(&mut self, path: &RemotePath, content: &Secret, access: Access, care: Care) {
        self.keep(path, Digest::of(content.expose()), content, access, care);
    }

    fn keep(
        &mut self,
        path: &RemotePath,
        digest: Digest,
        content: &Secret,
        access: Access,
        care: Care,
    ) {
        let size = content.expose().len() as u64;
        let (user, group, mode) = access.of_file();
        let entry = entry(Kind::File { digest, size }, user, group, mode, care);
        self.insert(path, entry);
        // Most nodes have what others have: it is copied once.
        let copy = || Content::Inline(content.clone());
        self.contents.entry(digest).or_insert_with(copy);
    }

    /// A file that was fetched: a program, or a part of an image.
    pub(super) fn fetched(
        &mut self,
        path: &RemotePath,
        of: &str,
        pinned: PinnedProgram,
        mode: u16,
    ) {
        let PinnedProgram { digest, size } = pinned;
        let kind = Kind::File { digest, size };
        let entry = entry(kind, "root", "root", mode, Care::Plain);
        self.insert(path, entry);
        let of = of.to_owned();
        self.contents.insert(digest, Content::Fetched { of, size });
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

    /// Who owns what. A link belongs to its maker, and nothing follows from that.
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

fn entry(kind: Kind, user: &'static str, group: &'static str, mode: u16, care: Care) -> Entry {
    Entry {
        kind,
        mode: Mode(mode),
        user: user.into(),
        group: group.into(),
        secret: care != Care::Plain,
        protected: care == Care::Protected,
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
