//! Takes the needed members out of a `.tar.gz`, and refuses an archive that is not what a release
//! would be: nothing but plain files and directories under plain names.
//!
//! The archive's own digest was right before this is called; the care is for digests that came
//! from a mirror along with the archive.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path};

use tar::EntryType;

use super::ratio::{Counted, Plain};
use crate::lockfile::ARTIFACT_BYTES_MAX;

/// An archive may hold this many entries: etcd's holds about 60.
const ENTRIES_MAX: usize = 10_000;
/// And unpack to this many bytes: etcd's unpacks to about 60 MB.
const UNPACKED_BYTES_MAX: u64 = 4 << 30;

/// An entry that only states the name of the next one may have so many bytes.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;

/// A program and its path inside an archive.
pub(super) type Member = (&'static str, String);

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum BadArchive {
    /// It cannot be read: cut off, or no `.tar.gz` at all.
    #[error("the archive cannot be read: {0}")]
    Unreadable(io::Error),
    /// An entry would land outside of where it is unpacked.
    #[error("the archive holds `{0}`, a path that leads out of it")]
    Path(String),
    /// An entry is a link or a device.
    #[error("the archive holds `{0}`, which is neither a plain file nor a directory")]
    Type(String),
    /// A member that is needed is there more than once.
    #[error("the archive holds `{0}` twice")]
    Twice(String),
    /// A member that is needed is not there.
    #[error("the archive does not hold `{0}`")]
    Missing(String),
    /// It has too many entries.
    #[error("the archive holds more than {ENTRIES_MAX} entries")]
    Entries,
    /// A member is longer than any program.
    #[error("the archive holds `{0}` with more than {ARTIFACT_BYTES_MAX} bytes")]
    TooLong(String),
    /// It unpacks to too much.
    #[error("the archive unpacks to more than {limit} bytes")]
    Bomb {
        /// How much is allowed.
        limit: u64,
    },
    /// What is unpacked cannot be written.
    #[error(transparent)]
    Write(#[from] super::CacheError),
}

/// Gives each needed member's content to `store`, and returns what that made of them, by name.
///
/// `members` are names and paths inside.
pub fn unpack<T>(
    archive: impl Read,
    members: &[(&'static str, String)],
    store: impl FnMut(&mut dyn Read) -> Result<T, super::CacheError>,
) -> Result<BTreeMap<&'static str, T>, BadArchive> {
    unpack_within(archive, members, UNPACKED_BYTES_MAX, store)
}

fn unpack_within<T>(
    archive: impl Read,
    members: &[(&'static str, String)],
    limit: u64,
    mut store: impl FnMut(&mut dyn Read) -> Result<T, super::CacheError>,
) -> Result<BTreeMap<&'static str, T>, BadArchive> {
    let unreadable = |error: io::Error| match bomb(&error) {
        Some(limit) => BadArchive::Bomb { limit },
        None => BadArchive::Unreadable(error),
    };
    let packed = Counted::new(archive);
    let count = packed.count();
    let bounded = Bounded {
        inner: Plain::new(flate2::read::MultiGzDecoder::new(packed), count),
        left: limit,
        limit,
    };
    let mut archive = tar::Archive::new(bounded);
    let mut found = BTreeMap::new();
    let mut long = None;
    // Raw: the reader would take the names of GNU and PAX entries into memory whatever their size.
    let entries = archive.entries().map_err(unreadable)?.raw(true);
    for (count, entry) in entries.enumerate() {
        if count == ENTRIES_MAX {
            return Err(BadArchive::Entries);
        }
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        if let EntryType::GNULongName | EntryType::XHeader = kind {
            long = long_path(&mut entry, kind).map_err(unreadable)?;
            continue;
        }
        let path = match long.take() {
            Some(path) => plain_path(Path::new(&path))?,
            None => plain_path(&entry.path().map_err(unreadable)?)?,
        };
        match kind {
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            EntryType::Regular | EntryType::Continuous => {}
            _ => return Err(BadArchive::Type(path)),
        }
        let Some((name, _)) = members.iter().find(|(_, member)| *member == path) else {
            continue;
        };
        // The reader's own faults travel through the store as its faults; they are told apart.
        let size = entry.size();
        if size > ARTIFACT_BYTES_MAX {
            return Err(BadArchive::TooLong(path));
        }
        let mut watched = Watched::new(&mut entry);
        let stored = store(&mut watched);
        if let Some(error) = watched.fault {
            return Err(unreadable(error));
        }
        if watched.read != size {
            return Err(BadArchive::Unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        if found.insert(*name, stored?).is_some() {
            return Err(BadArchive::Twice(path));
        }
    }
    match members.iter().find(|(name, _)| !found.contains_key(name)) {
        Some((_, path)) => Err(BadArchive::Missing(path.clone())),
        None => Ok(found),
    }
}

/// The path that an entry states for the one after it, if it does.
fn long_path(entry: &mut impl Read, kind: EntryType) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    entry
        .by_ref()
        .take(EXTENSION_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > EXTENSION_BYTES_MAX {
        return Err(io::Error::other("a name in it is too long"));
    }
    if kind == EntryType::GNULongName {
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(name).into_owned()));
    }
    let mut path = None;
    for record in tar::PaxExtensions::new(&bytes) {
        let record = record?;
        match record.key_bytes() {
            b"path" => path = Some(String::from_utf8_lossy(record.value_bytes()).into_owned()),
            // It would make the rest of the archive be read otherwise than others read it.
            b"size" => return Err(io::Error::other("a size in it is stated twice")),
            _ => {}
        }
    }
    Ok(path)
}

fn plain_path(path: &Path) -> Result<String, BadArchive> {
    let mut words = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(word) => words.push(word.to_string_lossy()),
            Component::CurDir => {}
            _ => return Err(BadArchive::Path(path.display().to_string())),
        }
    }
    Ok(words.join("/"))
}

/// Fails once more than a number of bytes came out.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes")]
struct Overflow(u64);

fn bomb(error: &io::Error) -> Option<u64> {
    // The tar reader wraps errors in errors of its own.
    let mut inner = error
        .get_ref()
        .map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(error) = inner {
        if let Some(Overflow(limit)) = error.downcast_ref() {
            return Some(*limit);
        }
        inner = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = (self.left.checked_sub(read as u64))
            .ok_or_else(|| io::Error::other(Overflow(self.limit)))?;
        Ok(read)
    }
}

/// Keeps the fault of the inner reader, and counts.
pub(crate) struct Watched<'a> {
    inner: &'a mut dyn Read,
    /// What the inner reader failed with.
    pub(crate) fault: Option<io::Error>,
    /// How many bytes came out.
    pub(crate) read: u64,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(inner: &'a mut dyn Read) -> Self {
        Self {
            inner,
            fault: None,
            read: 0,
        }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.read += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.fault = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn entry(path: &str, kind: EntryType, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        // Set by hand: the builder refuses what these tests are about.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for entry in entries {
            gzip.write_all(entry).unwrap();
        }
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap()
    }

    fn read_etcd(archive: &[u8], limit: u64) -> Result<Vec<u8>, BadArchive> {
        let members = [("etcd", "e/etcd".to_owned())];
        let mut found = unpack_within(archive, &members, limit, |content| {
            let mut bytes = Vec::new();
            let _ = content.read_to_end(&mut bytes);
            Ok(bytes)
        })?;
        Ok(found.remove("etcd").unwrap())
    }

    fn file(path: &str) -> Vec<u8> {
        entry(path, EntryType::Regular, b"program")
    }

    #[test]
    fn only_the_member_asked_for_is_taken() {
        let good = archive(&[
            entry("e/", EntryType::Directory, b""),
            file("e/README.md"),
            file("./e/etcd"),
        ]);
        assert_eq!(read_etcd(&good, 1 << 20).unwrap(), b"program");
    }

    /// The archives of the CNI project hold `./`, and each plugin below it.
    #[test]
    fn names_may_begin_with_the_directory_itself() {
        let plugins = archive(&[entry("./", EntryType::Directory, b""), file("./bridge")]);
        let members = [("bridge", "bridge".to_owned())];
        let found = unpack(&plugins[..], &members, |content| {
            Ok(io::read_to_string(content).unwrap())
        });
        assert_eq!(found.unwrap()["bridge"], "program");
    }

    #[test]
    fn long_names_are_read_and_stay_within_bounds() {
        let gnu = entry("././@LongLink", EntryType::GNULongName, b"e/etcd\0");
        let pax = entry("PaxHeaders/e", EntryType::XHeader, b"15 path=e/etcd\n");
        for name in [&gnu, &pax] {
            let good = archive(&[name.clone(), file("e/short")]);
            assert_eq!(read_etcd(&good, 1 << 20).unwrap(), b"program");
        }
        refuse(
            &[
                entry("././@LongLink", EntryType::GNULongName, b"../etcd\0"),
                file("e/short"),
            ],
            "the archive holds `../etcd`, a path that leads out of it",
        );
        refuse(
            &[
                entry("l", EntryType::GNULongName, &vec![b'a'; 100_000]),
                file("e/etcd"),
            ],
            "the archive cannot be read: a name in it is too long",
        );
        let mut long = file("e/etcd");
        let mut header = tar::Header::new_gnu();
        header.set_path("e/etcd").unwrap();
        header.set_size(ARTIFACT_BYTES_MAX + 1);
        header.set_cksum();
        long[..512].copy_from_slice(header.as_bytes());
        refuse(
            &[long],
            "the archive holds `e/etcd` with more than 1073741824 bytes",
        );
        refuse(
            &[
                entry("p", EntryType::XHeader, b"9 size=1\n"),
                file("e/etcd"),
            ],
            "the archive cannot be read: a size in it is stated twice",
        );
    }

    #[track_caller]
    fn refuse(entries: &[Vec<u8>], message: &str) {
        let error = read_etcd(&archive(entries), 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn what_no_release_would_hold_is_refused() {
        refuse(
            &[file("e/etcd"), file("../../root/.ssh/authorized_keys")],
            "the archive holds `../../root/.ssh/authorized_keys`, a path that leads out of it",
        );
        refuse(
            &[file("/etc/passwd"), file("e/etcd")],
            "the archive holds `/etc/passwd`, a path that leads out of it",
        );
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Char,
            EntryType::Block,
            EntryType::Fifo,
        ] {
            refuse(
                &[entry("e/etcd", kind, b"")],
                "the archive holds `e/etcd`, which is neither a plain file nor a directory",
            );
        }
        refuse(
            &[file("e/etcd"), file("./e/etcd")],
            "the archive holds `e/etcd` twice",
        );
        refuse(&[file("f/etcd")], "the archive does not hold `e/etcd`");
        refuse(
            &[entry("e/etcd", EntryType::Regular, &vec![0; 2 << 20])],
            "the archive unpacks to more than 1048576 bytes",
        );
        refuse(
            &[
                entry("e/zeros", EntryType::Regular, &vec![0; 2 << 20]),
                file("e/etcd"),
            ],
            "the archive unpacks to more than 1048576 bytes",
        );
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        let noise: Vec<u8> = (0..3000_u32).map(|i| (i * i % 251) as u8).collect();
        let whole = archive(&[entry("e/etcd", EntryType::Regular, &noise)]);
        for length in 0..whole.len() - 8 {
            // The end of archive may be cut off with nothing lost; a program never is.
            if let Ok(bytes) = read_etcd(&whole[..length], 1 << 20) {
                assert_eq!(bytes, noise, "cut at {length}");
            }
        }
        assert!(read_etcd(&whole[..whole.len() / 2], 1 << 20).is_err());
        assert!(read_etcd(b"<html>", 1 << 20).is_err());
    }

    /// A release's archive with a name of each kind in it, not yet compressed.
    fn sound() -> Vec<u8> {
        let entries = [
            entry("e/", EntryType::Directory, b""),
            file("e/README.md"),
            entry("././@LongLink", EntryType::GNULongName, b"e/etcdctl\0"),
            file("e/short"),
            entry("PaxHeaders/e", EntryType::XHeader, b"15 path=e/etcd\n"),
            file("e/short"),
            vec![0; 1024],
        ];
        entries.concat()
    }

    /// What comes out of any archive is a program of the size stated, or a refusal: never a panic,
    /// and never more than the limit.
    #[test]
    fn no_archive_is_too_hostile() {
        let plain = sound();
        let packed = archive(std::slice::from_ref(&plain));
        assert_eq!(read_etcd(&packed, 1 << 20).unwrap(), b"program");
        crate::fuzz::run(|random| {
            let mut bytes = plain.clone();
            if random.one_in(4) {
                bytes.clone_from(&packed);
                crate::fuzz::hurt(&mut bytes, random);
            } else {
                crate::fuzz::hurt(&mut bytes, random);
                if !random.one_in(4) {
                    crate::fuzz::heal_checksums(&mut bytes);
                }
                bytes = archive(&[bytes]);
            }
            let limit = 1 << 12;
            if let Ok(program) = read_etcd(&bytes, limit) {
                assert!(program.len() as u64 <= limit);
            }
        });
    }
}
