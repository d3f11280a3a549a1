//! That a process uses the cache: a shared lock on one file of it, which whoever removes entries
//! takes alone. It ends with the process, however that ends.

use std::sync::PoisonError;

use fs_err as fs;

use super::{Cache, Error};

impl Cache {
    /// Says that this process uses the cache, for as long as it has it open.
    pub(crate) fn hold(&self) -> Result<(), Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let file = self.lock_file()?;
            file.lock_shared().map_err(|error| self.failed(error))?;
            *held = Some(file);
        }
        Ok(())
    }

    /// What keeps others from using the cache until it is dropped; nothing if a process uses it.
    pub(super) fn alone(&self) -> Result<Option<fs::File>, Error> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(self.failed(error)),
        }
    }

    fn lock_file(&self) -> Result<fs::File, Error> {
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let opened = options.open(self.directory.join("use.lock"));
        opened.map_err(|error| self.failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_alone_until_all_who_use_the_cache_are_gone() {
        let room = tempfile::tempdir().unwrap();
        let [one, other, third] = [(); 3].map(|()| Cache::open(Some(room.path())).unwrap());
        one.hold().unwrap();
        one.hold().unwrap();
        other.hold().unwrap();
        drop(one);
        assert!(third.alone().unwrap().is_none());
        drop(other);
        drop(third.alone().unwrap().unwrap());
        third.hold().unwrap();
    }
}
