//! What the cache holds, and making it smaller.

use std::time::{Duration, SystemTime};

use fs_err as fs;

use super::{Cache, Error, Metadata, TEMPORARY, discard};
use crate::digest::Digest;
use crate::fetch::stream::Encoding;

/// One content, with all that was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its digest.
    pub digest: Digest,
    /// What it is, if that was noted.
    pub about: Option<Metadata>,
    /// The size in bytes of the content itself.
    pub size: u64,
    /// The size in bytes of its compressed forms together.
    pub compressed: u64,
    /// When a command used it last.
    pub used: SystemTime,
}

/// What [`Cache::clean`] keeps. While another process uses the cache, it keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Nothing.
    Nothing,
    /// What was used within this time.
    UsedWithin(Duration),
    /// What was used last, up to so many bytes with the compressed forms.
    Bytes(u64),
}

/// What [`Cache::clean`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// What was removed.
    pub removed: Vec<Entry>,
    /// What was to be removed, and is kept because another process uses the cache.
    pub busy: Vec<Entry>,
    /// The bytes of unfinished downloads that were removed.
    pub partial: u64,
    /// How many entries are left.
    pub left: usize,
}

impl Entry {
    /// What it takes on the disk, in bytes.
    pub const fn whole(&self) -> u64 {
        self.size + self.compressed
    }
}

impl Cache {
    /// Everything in the cache, the last used first.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let folder = fs::read_dir(self.directory.join("sha256"));
        let mut entries = Vec::new();
        for file in folder.map_err(|error| self.failed(error))? {
            let file = file.map_err(|error| self.failed(error))?;
            let digest = file.file_name().to_str().and_then(|name| name.parse().ok());
            // What is gone in the meantime, another process removed.
            if let (Some(digest), Ok(metadata)) = (digest, file.metadata()) {
                entries.push(self.entry(digest, &metadata));
            }
        }
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.used), entry.digest));
        Ok(entries)
    }

    /// Removes what is not to be kept, unless another process uses the cache.
    pub fn clean(&self, keep: Retention, now: SystemTime) -> Result<Cleaned, Error> {
        let mut cleaned = Cleaned::default();
        let alone = self.alone()?;
        let mut bytes = 0;
        for entry in self.entries()? {
            bytes += entry.whole();
            let kept = match keep {
                Retention::Nothing => false,
                Retention::UsedWithin(time) => {
                    now.duration_since(entry.used).is_ok_and(|age| age < time) || entry.used > now
                }
                Retention::Bytes(most) => bytes <= most,
            };
            if kept {
                cleaned.left += 1;
                continue;
            }
            // A smaller one that was used longer ago may still fit.
            bytes -= entry.whole();
            if alone.is_some() {
                self.remove(entry.digest);
                cleaned.removed.push(entry);
            } else {
                cleaned.left += 1;
                cleaned.busy.push(entry);
            }
        }
        cleaned.partial = self.clean_partial(keep, now)?;
        Ok(cleaned)
    }

    fn entry(&self, digest: Digest, metadata: &std::fs::Metadata) -> Entry {
        let compressed = [Encoding::Zstd, Encoding::Gzip]
            .into_iter()
            .filter_map(|encoding| {
                let (path, _) = self.member_place(digest, encoding);
                fs::metadata(path).ok().map(|metadata| metadata.len())
            });
        let noted = fs::metadata(self.about_path(digest)).ok();
        let used = noted.as_ref().unwrap_or(metadata).modified();
        Entry {
            digest,
            about: self.about(digest),
            size: metadata.len(),
            compressed: compressed.sum(),
            used: used.unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// Removes unfinished downloads that nobody is at, and returns their bytes.
    fn clean_partial(&self, keep: Retention, now: SystemTime) -> Result<u64, Error> {
        let mut removed = 0;
        let folder = fs::read_dir(self.directory.join("partial"));
        for file in folder.map_err(|error| self.failed(error))?.flatten() {
            let (path, Ok(metadata)) = (file.path(), file.metadata()) else {
                continue;
            };
            let age = metadata
                .modified()
                .map(|time| now.duration_since(time).unwrap_or_default());
            let kept = match keep {
                Retention::Nothing => false,
                Retention::UsedWithin(time) => age.is_ok_and(|age| age < time),
                Retention::Bytes(_) => true,
            };
            // What a process that runs is writing just now.
            let name = file.file_name();
            let temporary = name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
            if !kept && !temporary && discard(&path) {
                removed += metadata.len();
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::partial::Partial;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn cache_with(contents: &[&[u8]]) -> (tempfile::TempDir, Cache, Vec<Digest>) {
        let room = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(room.path())).unwrap();
        let store = |content: &&[u8]| cache.store(&mut &**content).unwrap().digest;
        let digests: Vec<_> = contents.iter().map(store).collect();
        // The first was used last.
        for (age, digest) in digests.iter().enumerate() {
            let file = fs::File::open(cache.path(*digest)).unwrap();
            let when = SystemTime::now() - DAY * u32::try_from(age).unwrap();
            let times = std::fs::FileTimes::new().set_modified(when);
            file.file().set_times(times).unwrap();
        }
        (room, cache, digests)
    }

    #[track_caller]
    fn check(keep: Retention, left: &[usize]) {
        let (_room, cache, digests) = cache_with(&[b"1", b"22", b"333", b"4"]);
        let cleaned = cache.clean(keep, SystemTime::now()).unwrap();
        let expected: Vec<_> = left.iter().map(|index| digests[*index]).collect();
        let found: Vec<_> = cache
            .entries()
            .unwrap()
            .iter()
            .map(|entry| entry.digest)
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            (cleaned.left, cleaned.removed.len()),
            (left.len(), 4 - left.len())
        );
    }

    #[test]
    fn what_is_kept_is_what_was_asked_for() {
        check(Retention::Nothing, &[]);
        check(
            Retention::UsedWithin((DAY * 2).checked_sub(DAY / 2).unwrap()),
            &[0, 1],
        );
        check(Retention::UsedWithin(DAY * 9), &[0, 1, 2, 3]);
        check(Retention::Bytes(100), &[0, 1, 2, 3]);
        check(Retention::Bytes(4), &[0, 1, 3]);
        check(Retention::Bytes(0), &[]);
    }

    #[test]
    fn what_another_process_uses_or_fetches_stays() {
        let (room, cache, digests) = cache_with(&[b"1", b"22"]);
        let other = Cache::open(Some(room.path())).unwrap();
        other.hold().unwrap();
        let [abc, def] = [b"abc", b"def"].map(|content| Digest::of(content));
        let mut fetched = Partial::claim(&other, abc).unwrap().unwrap();
        fetched.write(b"12345").unwrap();
        fetched.note_validator(Some("12345".to_owned()));
        fs::write(cache.partial(def), "12345").unwrap();
        let cleaned = cache.clean(Retention::Nothing, SystemTime::now()).unwrap();
        assert_eq!(cleaned.partial, 5);
        assert_eq!((cleaned.busy.len(), cleaned.left), (2, 2));
        assert!(cache.path(digests[0]).exists() && cache.path(digests[1]).exists());
        assert!(cache.partial(abc).exists() && !cache.partial(def).exists());
        drop((other, fetched));
        let cleaned = cache.clean(Retention::Nothing, SystemTime::now()).unwrap();
        assert_eq!(
            (cleaned.removed.len(), cleaned.left, cleaned.partial),
            (2, 0, 10)
        );
    }

    #[test]
    fn an_entry_is_told_with_what_it_is() {
        let (_room, cache, digests) = cache_with(&[b"1"]);
        let about = Metadata {
            name: "kubectl".to_owned(),
            version: "1.32.3".parse().ok(),
            arch: crate::arch::Arch::Armhf,
            from: Some("https://mirror.home/kubectl".to_owned()),
        };
        cache.note(digests[0], &about);
        cache.touch(digests[0]);
        let entries = cache.entries().unwrap();
        assert_eq!(entries[0].about, Some(about));
        assert_eq!((entries[0].size, entries[0].compressed), (1, 0));
        cache.clean(Retention::Nothing, SystemTime::now()).unwrap();
        assert_eq!(cache.about(digests[0]), None);
    }
}
