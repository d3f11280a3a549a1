//! A download that is not finished: its bytes on the disk, hashed as they come.
//!
//! The file itself is locked while a process is at it, and it is renamed or removed by nobody else.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::cache::{self, Cache};
use super::checksum;
use crate::digest::{Digest, Hasher};

/// An unfinished download that only this process is at. An empty file is removed with it.
pub(super) struct Partial {
    path: PathBuf,
    file: fs::File,
    cache: Cache,
    hasher: Hasher,
    pub(super) bytes: u64,
    pub(super) validator: Option<String>,
}

impl Partial {
    /// Opens what is kept under a digest; nothing while another process, or another job of this
    /// one, is at it.
    pub(super) fn claim(cache: &Cache, digest: Digest) -> Result<Option<Self>, cache::Error> {
        let path = cache.partial(digest);
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).read(true).append(true);
        let file = options.open(&path).map_err(|error| cache.failed(error))?;
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(cache.failed(error)),
            Ok(()) => {}
        }
        // Who was at it before may have finished it, or given it up, since it was opened.
        let inode = |metadata: io::Result<std::fs::Metadata>| metadata.map(|it| it.ino()).ok();
        if inode(fs::metadata(&path)) != inode(file.metadata()) {
            return Ok(None);
        }
        let validator = fs::read_to_string(validator_path(&path)).ok();
        Ok(Some(Self {
            path,
            file,
            cache: cache.clone(),
            hasher: Hasher::default(),
            bytes: 0,
            validator,
        }))
    }

    /// Hashes what is there from an earlier run.
    pub(super) fn resume(mut self) -> Result<Self, cache::Error> {
        let hashed = io::copy(&mut self.file, &mut self.hasher);
        self.bytes = hashed.map_err(|error| self.cache.failed(error))?;
        Ok(self)
    }

    /// Written at once, not handed to another thread: pieces are small and go to memory first.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), cache::Error> {
        let written = self.file.write_all(piece);
        if let Err(error) = written {
            // Some of it may be on the disk, and the hasher does not know how much.
            let _ = self.file.set_len(self.bytes);
            return Err(self.cache.failed(error));
        }
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<(), cache::Error> {
        let cleared = self.file.set_len(0);
        cleared.map_err(|error| self.cache.failed(error))?;
        self.hasher = Hasher::default();
        self.bytes = 0;
        self.note_validator(None);
        Ok(())
    }

    pub(super) fn note_validator(&mut self, validator: Option<String>) {
        let path = validator_path(&self.path);
        // Without a validator the digest still tells whether the parts belong together.
        let _ = match &validator {
            Some(validator) => fs::write(path, validator),
            None => fs::remove_file(path),
        };
        self.validator = validator;
    }

    /// The digest of what is there.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// What it says, if it is a page.
    pub(super) fn page(&self) -> Option<String> {
        checksum::page(&self.start())
    }

    /// Its first bytes; none where they cannot be read.
    pub(super) fn start(&self) -> Vec<u8> {
        let mut start = Vec::new();
        let read = self.read().map(|file| {
            file.take(checksum::PAGE_BYTES as u64)
                .read_to_end(&mut start)
        });
        // What cannot be read is told when it is hashed.
        read.map(|_| start).unwrap_or_default()
    }

    /// Opens it, to be read from its start.
    pub(super) fn read(&self) -> Result<fs::File, cache::Error> {
        let opened = fs::File::open(&self.path);
        opened.map_err(|error| self.cache.failed(error))
    }

    /// Gives it its place in the cache, once it was found to be right.
    pub(super) fn admit(mut self) -> Result<(), cache::Error> {
        self.note_validator(None);
        self.cache.admit(self.digest(), &self.path)
    }

    /// Forgets it: nobody will go on with it.
    pub(super) fn remove(mut self) {
        // What cannot be removed is swept later.
        let _ = self.clear();
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing to go on with is nothing to keep. It is locked until it is closed.
        if self
            .file
            .metadata()
            .is_ok_and(|metadata| metadata.len() == 0)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn validator_path(partial: &Path) -> PathBuf {
    partial.with_extension("validator")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> (tempfile::TempDir, Cache) {
        let room = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(room.path())).unwrap();
        (room, cache)
    }

    #[test]
    fn only_one_is_at_a_download_at_a_time_and_the_next_goes_on_with_it() {
        let (_room, cache) = room();
        let (digest, other) = (Digest::of(b"abc"), Digest::of(b"other"));
        let claim = |digest| Partial::claim(&cache, digest).unwrap();
        let mut partial = claim(digest).unwrap();
        assert!(claim(digest).is_none());
        assert!(claim(other).is_some());
        partial.write(b"ab").unwrap();
        drop(partial);
        let mut partial = claim(digest).unwrap().resume().unwrap();
        assert_eq!((partial.bytes, partial.digest()), (2, Digest::of(b"ab")));
        partial.write(b"c").unwrap();
        partial.admit().unwrap();
        assert_eq!(fs::read(cache.path(digest)).unwrap(), b"abc");
        assert!(!cache.partial(digest).exists() && !cache.partial(other).exists());
    }

    #[test]
    fn whoever_waits_for_a_download_finds_it_in_the_cache_and_changes_nothing() {
        let content = vec![7; 100_000];
        let digest = Digest::of(&content);
        for _ in 0..20 {
            let (_room, cache) = room();
            let fetch = || loop {
                let Some(partial) = Partial::claim(&cache, digest).unwrap() else {
                    continue;
                };
                if cache.path(digest).exists() {
                    return 0;
                }
                let mut partial = partial.resume().unwrap();
                assert_eq!(partial.bytes, 0);
                partial.write(&content).unwrap();
                partial.admit().unwrap();
                return 1;
            };
            let fetched: u32 = std::thread::scope(|scope| {
                let runs = [(); 4].map(|()| scope.spawn(fetch));
                runs.into_iter().map(|run| run.join().unwrap()).sum()
            });
            assert_eq!(fetched, 1);
            assert_eq!(fs::read(cache.path(digest)).unwrap(), content);
            assert!(!cache.partial(digest).exists());
        }
    }
}
