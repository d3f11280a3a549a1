//! A download that is not finished: its bytes on the disk, hashed as they come.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::cache::Cache;
use super::checksum;
use super::fault::Fault;
use crate::digest::{Digest, Hasher};

/// An unfinished download.
pub(super) struct Partial<P> {
    path: P,
    file: fs::File,
    cache: Cache,
    hasher: Hasher,
    pub(super) bytes: u64,
    pub(super) validator: Option<String>,
}

impl<P: AsRef<Path>> Partial<P> {
    /// Opens it, and hashes what is there from an earlier run.
    pub(super) fn open(cache: &Cache, path: P) -> Result<Self, Fault> {
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).read(true).append(true);
        let file = options
            .open(path.as_ref())
            .map_err(|error| cache.failed(error))?;
        let validator = fs::read_to_string(validator_path(path.as_ref())).ok();
        let mut partial = Self {
            path,
            file,
            cache: cache.clone(),
            hasher: Hasher::default(),
            bytes: 0,
            validator,
        };
        let hashed = io::copy(&mut partial.file, &mut partial.hasher);
        partial.bytes = hashed.map_err(|error| cache.failed(error))?;
        Ok(partial)
    }

    /// Written at once, not handed to another thread: pieces are small and go to memory first.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_all(piece);
        if let Err(error) = written {
            // Some of it may be on the disk, and the hasher does not know how much.
            let _ = self.file.set_len(self.bytes);
            return Err(self.cache.failed(error).into());
        }
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    pub(super) fn clear(&mut self) -> Result<(), Fault> {
        let cleared = self.file.set_len(0);
        cleared.map_err(|error| self.cache.failed(error))?;
        self.hasher = Hasher::default();
        self.bytes = 0;
        self.note_validator(None);
        Ok(())
    }

    pub(super) fn note_validator(&mut self, validator: Option<String>) {
        let path = validator_path(self.path.as_ref());
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
        let file = fs::File::open(self.path.as_ref());
        let read = file.and_then(|file| {
            file.take(checksum::PAGE_BYTES as u64)
                .read_to_end(&mut start)
        });
        // What cannot be read is told when it is hashed.
        read.map(|_| start).unwrap_or_default()
    }

    /// Opens it, to be read from its start.
    pub(super) fn read(&self) -> Result<fs::File, Fault> {
        let opened = fs::File::open(self.path.as_ref());
        Ok(opened.map_err(|error| self.cache.failed(error))?)
    }

    /// Forgets it: what was in it is kept otherwise.
    pub(super) fn remove(self) {
        let path = self.finish();
        // What cannot be removed is swept later.
        let _ = fs::remove_file(path.as_ref());
    }

    pub(super) fn finish(mut self) -> P {
        self.note_validator(None);
        self.path
    }
}

fn validator_path(partial: &Path) -> PathBuf {
    partial.with_extension("validator")
}
