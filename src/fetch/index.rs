//! What the cache remembers of its files: size, times and inode when they were last known to be
//! right, so that nothing is hashed again that nobody touched.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// One small file for each file of the cache.
#[derive(Debug, Clone)]
pub(super) struct Index {
    directory: PathBuf,
}

impl Index {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where the record of a name lies.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether a file is as it was when it was recorded.
    pub(super) fn agrees(&self, path: &Path, name: &str) -> bool {
        let recorded = fs::read_to_string(self.directory.join(name));
        matches!((stamp(path), recorded), (Some(now), Ok(then)) if now == then)
    }

    /// Records a file that is right. A record that cannot be written, or is cut off, only makes
    /// the next one hash again.
    pub(super) fn record(&self, path: &Path, name: &str) {
        if let Some(stamp) = stamp(path) {
            let _ = fs::write(self.directory.join(name), stamp);
        }
    }
}

fn stamp(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok();
    let metadata = metadata.filter(std::fs::Metadata::is_file)?;
    Some(format!(
        "size {} mtime {}.{:09} ctime {}.{:09} inode {}\n",
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.ino(),
    ))
}
