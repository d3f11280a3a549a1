//! What a process uses of the cache: no other process removes it while it is held.
//!
//! A shared lock on `lock/<digest>.use`, for as long as the cache is open. Whoever removes an entry
//! takes the lock alone first.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;

use super::{Cache, Error};
use crate::digest::Digest;

/// The locks of one process.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<BTreeMap<Digest, fs::File>>);

impl Cache {
    /// Says that this process uses a digest from now on.
    pub(crate) fn hold(&self, digest: Digest) -> Result<(), Error> {
        let mut holds = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holds.contains_key(&digest) {
            return Ok(());
        }
        let path = self.use_path(digest);
        let held = locked(&path, |file| file.lock_shared().map(|()| true));
        if let Some(file) = held.map_err(|error| self.failed(error))? {
            holds.insert(digest, file);
        }
        Ok(())
    }

    /// Does something with a digest that no process uses; nothing if one does.
    pub(super) fn alone_with<T>(
        &self,
        digest: Digest,
        act: impl FnOnce() -> T,
    ) -> Result<Option<T>, Error> {
        let path = self.use_path(digest);
        let held = locked(&path, |file| match file.try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        });
        let Some(_alone) = held.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        let done = act();
        // Removed under the lock: whoever opened it before looks again, below.
        let _ = fs::remove_file(path);
        Ok(Some(done))
    }

    fn use_path(&self, digest: Digest) -> PathBuf {
        self.directory.join("lock").join(format!("{digest}.use"))
    }
}

/// Opens and locks a file that others may remove in between; nothing if the lock is not to be had.
fn locked(
    path: &Path,
    lock: impl Fn(&fs::File) -> io::Result<bool>,
) -> io::Result<Option<fs::File>> {
    loop {
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        let same = fs::metadata(path)
            .is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
        if same {
            return Ok(Some(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_nobody_elses_until_it_is_let_go() {
        let room = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| Cache::open(Some(room.path())).unwrap());
        let digest = Digest::of(b"abc");
        one.hold(digest).unwrap();
        one.hold(digest).unwrap();
        other.hold(digest).unwrap();
        drop(one);
        let third = Cache::open(Some(room.path())).unwrap();
        assert_eq!(third.alone_with(digest, || 1).unwrap(), None);
        drop(other);
        assert_eq!(third.alone_with(digest, || 1).unwrap(), Some(1));
        assert!(!third.use_path(digest).exists());
        third.hold(digest).unwrap();
    }
}
