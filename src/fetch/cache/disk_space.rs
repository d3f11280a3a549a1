//! Whether the cache's disk has room for what is to come: told before anything is downloaded.

use super::{Cache, Error};

impl Cache {
    /// Refuses so many bytes if the disk does not have them. A file system that does not tell is
    /// believed to have room; a full disk is noticed later all the same.
    pub(crate) fn check_room(&self, needed: u64) -> Result<(), Error> {
        let Ok(there) = rustix::fs::statvfs(&self.directory) else {
            return Ok(());
        };
        let free = there.f_bavail.saturating_mul(there.f_frsize);
        if needed <= free {
            return Ok(());
        }
        Err(Error::NoRoom {
            directory: self.directory.clone(),
            needed,
            free,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_disk_has_is_refused_and_nothing_is_not() {
        let room = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(room.path())).unwrap();
        cache.check_room(0).unwrap();
        let error = cache.check_room(1 << 60).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no room for 1152921504607 MB"),
            "{error}"
        );
    }
}
