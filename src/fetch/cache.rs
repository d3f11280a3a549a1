//! The cache on the operator's machine: content by its digest, and the same compressed for nodes.
//!
//! ```text
//! sha256/<digest>          content, read-only, verified before it got this name
//! index/<name>             size, times and inode of an entry when it was last known to be right
//! member/<digest>.tar.zst  the content as a piece of a push's stream (also .tar.gz)
//! about/<digest>           what it is and where it came from; its time is when it was last used
//! partial/                 what is on its way: `<digest>` is gone on with by the next run, for 30 days
//!                          and up to 4 GiB in all, and locked while it is written to; `new-*` is
//!                          a file that is being written
//! use.lock                 held, shared, by every process that uses the cache, and alone by who cleans it
//! ```
//!
//! An entry whose index differs is hashed again before it is used, as git does with its index; one
//! that turns out wrong is removed with all that was made of it. Any number of processes may share
//! a cache: a name is only ever given, by rename, to something complete.

mod disk_space;
mod entry;
mod in_use;
mod metadata;

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fs_err as fs;
use tempfile::{NamedTempFile, TempPath};

use super::index::Index;
use super::stream::{Compressor, Encoding};
use crate::digest::{Digest, Hasher};
use crate::lockfile::PinnedProgram;
pub use entry::{Cleaned, Entry, Retention};
pub use metadata::Metadata;

/// What the names of temporary files begin with.
const TEMPORARY: &str = "new-";
/// No temporary file is written to for as long as this by a process that still runs.
const TEMPORARY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Whoever did not go on with a download for as long as this will not.
const PARTIAL_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Unfinished downloads take no more than this, in bytes; those that were gone on with last stay.
const PARTIAL_BYTES_MAX: u64 = 4 << 30;

/// The cache cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// There is no place for it.
    #[error(
        "there is no place for the cache: neither `KINSTALL_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set"
    )]
    #[diagnostic(help("set `KINSTALL_CACHE` to a directory"))]
    NoPlace,
    /// Its disk is full.
    #[error("the disk that holds the cache `{}` is full", directory.display())]
    #[diagnostic(help(
        "make room there, or set `KINSTALL_CACHE` to a directory on another disk, and run the same command again: it goes on where it stopped"
    ))]
    Full {
        /// The cache's directory.
        directory: PathBuf,
    },
    /// What is to come does not fit.
    #[error(
        "there is no room for {} MB in the cache `{}`: its disk has {} MB left",
        needed.div_ceil(1_000_000), directory.display(), free / 1_000_000
    )]
    #[diagnostic(help(
        "`kinstall cache clean --older-than 30` makes room, or set `KINSTALL_CACHE` to a directory on another disk; nothing was downloaded"
    ))]
    NoRoom {
        /// The cache's directory.
        directory: PathBuf,
        /// How many bytes are to come.
        needed: u64,
        /// How many bytes there is room for.
        free: u64,
    },
    /// A file of it cannot be read or written.
    #[error("the cache cannot be used: {0}")]
    Io(io::Error),
    /// Content is not, or no longer, there.
    #[error("`{0}` is not in the cache")]
    #[diagnostic(help("run `kinstall fetch`"))]
    Absent(Digest),
    /// Another process holds the lock for too long.
    #[error("another kinstall has been fetching {name} for too long")]
    #[diagnostic(help(
        "look for another kinstall process that hangs, end it, and run the same command again"
    ))]
    Busy {
        /// What it is fetching.
        name: String,
    },
}

/// What the cache has of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is there, and right; its size in bytes.
    Present(u64),
    /// It is not there.
    Absent,
    /// What was there was wrong, and is removed.
    Corrupt,
}

/// A cache. Clones are the same cache.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    index: Index,
    /// One program is compressed at a time, by several threads, so that memory stays bounded.
    compressing: Arc<tokio::sync::Mutex<Compressor>>,
    /// Locked as soon as this process uses the cache, so that no other one removes anything of it.
    held: Arc<Mutex<Option<fs::File>>>,
}

impl Cache {
    /// Opens the cache in a directory, and makes it if it is not there.
    ///
    /// Without a directory it is `$KINSTALL_CACHE`, else `$XDG_CACHE_HOME/kinstall`, else
    /// `~/.cache/kinstall`.
    pub fn open(directory: Option<&Path>) -> Result<Self, Error> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => usual_place(|name| std::env::var_os(name).map(PathBuf::from))?,
        };
        // A relative place would be another one after a change of directory.
        let directory = std::path::absolute(directory).map_err(Error::Io)?;
        let cache = Self {
            index: Index::new(directory.join("index")),
            directory,
            compressing: Arc::default(),
            held: Arc::default(),
        };
        for part in ["sha256", "index", "member", "about", "partial"] {
            fs::create_dir_all(cache.directory.join(part)).map_err(|error| cache.failed(error))?;
        }
        cache.sweep();
        Ok(cache)
    }

    /// The cache's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where content of a digest lies, if it is there.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join("sha256").join(digest.to_string())
    }

    /// What there is of a digest. Content that was touched since it was last known to be right is
    /// hashed again; so is all content if `anyway`.
    pub async fn find(&self, digest: Digest, anyway: bool) -> Result<Found, Error> {
        self.blocking(move |cache| cache.find_blocking(digest, anyway))
            .await
    }

    /// The content of a digest as a piece of a push's stream; made if it is not there yet.
    pub async fn member(&self, digest: Digest, encoding: Encoding) -> Result<PathBuf, Error> {
        let (path, name) = self.member_place(digest, encoding);
        if self.index.agrees(&path, &name) {
            return Ok(path);
        }
        let mut compressor = Arc::clone(&self.compressing).lock_owned().await;
        let made = path.clone();
        self.blocking(move |cache| {
            // Another one may have made it in the meantime.
            if cache.index.agrees(&made, &name) {
                return Ok(());
            }
            cache.compress(&mut compressor, digest, encoding, &made, &name)
        })
        .await?;
        Ok(path)
    }

    /// Whether [`Cache::member`] has nothing to do.
    pub fn has_member(&self, digest: Digest, encoding: Encoding) -> bool {
        let (path, name) = self.member_place(digest, encoding);
        self.index.agrees(&path, &name)
    }

    /// Opens content for reading.
    pub fn read(&self, digest: Digest) -> Result<fs::File, Error> {
        fs::File::open(self.path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Absent(digest),
            _ => self.failed(error),
        })
    }

    /// The first bytes of content.
    pub(super) async fn start(&self, digest: Digest, bytes: usize) -> Result<Vec<u8>, Error> {
        let read = move |cache: &Self| {
            let mut start = Vec::new();
            let mut file = cache.read(digest)?.take(bytes as u64);
            file.read_to_end(&mut start)
                .map_err(|error| cache.failed(error))?;
            Ok(start)
        };
        self.blocking(read).await
    }

    /// Takes content in, under the digest it turns out to have.
    pub(super) fn store(&self, content: &mut dyn Read) -> Result<PinnedProgram, Error> {
        let (pinned, file) = self.stage(content)?;
        self.admit(pinned.digest, file)?;
        Ok(pinned)
    }

    /// Takes content in without a place yet: [`Cache::admit`] gives it one.
    pub(crate) fn stage(&self, content: &mut dyn Read) -> Result<(PinnedProgram, TempPath), Error> {
        let mut temporary = self.temporary()?;
        let (digest, size) =
            copy_hashed(content, temporary.as_file_mut()).map_err(|error| self.failed(error))?;
        Ok((PinnedProgram { digest, size }, temporary.into_temp_path()))
    }

    /// Gives a complete file that was found to have a digest its place.
    pub(crate) fn admit(&self, digest: Digest, file: impl AsRef<Path>) -> Result<(), Error> {
        let (file, path) = (file.as_ref(), self.path(digest));
        let admitted = (|| {
            // After a power cut the name must not stand for zeros.
            fs::File::open(file)?.sync_all()?;
            fs::set_permissions(file, std::fs::Permissions::from_mode(0o444))?;
            fs::rename(file, &path)
        })();
        admitted.map_err(|error| self.failed(error))?;
        self.index.record(&path, &digest.to_string());
        Ok(())
    }

    /// Where an unfinished download is kept, by the digest it must have.
    pub(super) fn partial(&self, digest: Digest) -> PathBuf {
        self.directory.join("partial").join(digest.to_string())
    }

    /// A new file among the unfinished, removed when it is dropped.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, Error> {
        let folder = self.directory.join("partial");
        NamedTempFile::with_prefix_in(TEMPORARY, folder).map_err(|error| self.failed(error))
    }

    /// An error of the file system as one of the cache.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            let directory = self.directory.clone();
            return Error::Full { directory };
        }
        Error::Io(error)
    }

    /// Runs work that hashes or compresses where it holds up nothing else.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let cache = self.clone();
        tokio::task::spawn_blocking(move || work(&cache))
            .await
            .map_err(|stopped| Error::Io(io::Error::other(stopped)))?
    }

    pub(super) fn find_blocking(&self, digest: Digest, anyway: bool) -> Result<Found, Error> {
        let (path, name) = (self.path(digest), digest.to_string());
        if !anyway && self.index.agrees(&path, &name) {
            let metadata = fs::metadata(&path).map_err(|error| self.failed(error))?;
            return Ok(Found::Present(metadata.len()));
        }
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            Err(error) => return Err(self.failed(error)),
        };
        let (found, size) =
            copy_hashed(&mut file, &mut io::sink()).map_err(|error| self.failed(error))?;
        if found == digest {
            self.index.record(&path, &name);
            return Ok(Found::Present(size));
        }
        self.remove(digest);
        Ok(Found::Corrupt)
    }

    /// Removes what killed processes left and nobody will go on with.
    fn sweep(&self) {
        let folder = fs::read_dir(self.directory.join("partial"));
        let entries = folder.into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
            .filter_map(|(path, metadata)| {
                let age = metadata.modified().ok()?.elapsed().unwrap_or_default();
                Some((age, metadata.len(), path))
            })
            .collect();
        found.sort();
        let mut bytes = 0_u64;
        for (age, length, path) in found {
            let name = path.file_name().and_then(|name| name.to_str());
            let temporary = name.is_some_and(|name| name.starts_with(TEMPORARY));
            if !temporary {
                bytes = bytes.saturating_add(length);
            }
            let old = age
                > if temporary {
                    TEMPORARY_KEPT
                } else {
                    PARTIAL_KEPT
                };
            let too_much = !temporary && bytes > PARTIAL_BYTES_MAX;
            if old || too_much {
                discard(&path);
            }
        }
    }

    fn compress(
        &self,
        compressor: &mut Compressor,
        digest: Digest,
        encoding: Encoding,
        path: &Path,
        name: &str,
    ) -> Result<(), Error> {
        let Found::Present(size) = self.find_blocking(digest, false)? else {
            return Err(Error::Absent(digest));
        };
        let mut content = Hashed {
            inner: self.read(digest)?,
            hasher: Hasher::default(),
        };
        let mut temporary = self.temporary()?;
        let file = temporary.as_file_mut();
        compressor
            .piece(digest, size, &mut content, encoding, file)
            .map_err(|error| self.failed(error))?;
        // The disk may give other bytes today than it did when the entry was recorded.
        if content.hasher.finish() != digest {
            self.remove(digest);
            return Err(Error::Absent(digest));
        }
        file.sync_all().map_err(|error| self.failed(error))?;
        fs::rename(temporary.into_temp_path(), path).map_err(|error| self.failed(error))?;
        self.index.record(path, name);
        Ok(())
    }

    /// Forgets content, and all that was made of it.
    pub(super) fn remove(&self, digest: Digest) {
        let member = |encoding| self.member_place(digest, encoding);
        let (zstd, gzip) = (member(Encoding::Zstd), member(Encoding::Gzip));
        for path in [
            self.index.path(&digest.to_string()),
            self.index.path(&zstd.1),
            self.index.path(&gzip.1),
            self.path(digest),
            self.about_path(digest),
            zstd.0,
            gzip.0,
        ] {
            // What cannot be removed is found wrong again the next time.
            let _ = fs::remove_file(path);
        }
    }

    fn member_place(&self, digest: Digest, encoding: Encoding) -> (PathBuf, String) {
        let name = format!("{digest}.{}", encoding.extension());
        (self.directory.join("member").join(&name), name)
    }
}

fn usual_place(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    let set = |name| variable(name).filter(|value| !value.as_os_str().is_empty());
    if let Some(own) = set("KINSTALL_CACHE") {
        return Ok(own);
    }
    // The XDG base directory specification: a relative path is to be ignored.
    if let Some(caches) = set("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Ok(caches.join("kinstall"));
    }
    let home = set("HOME").ok_or(Error::NoPlace)?;
    Ok(home.join(".cache").join("kinstall"))
}

/// Removes a file of an unfinished download unless a process is at that; says whether it did.
fn discard(path: &Path) -> bool {
    let download = fs::OpenOptions::new()
        .append(true)
        .open(path.with_extension(""));
    let free = match &download {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    // Another process may have removed it just now.
    free && fs::remove_file(path).is_ok()
}

fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(Digest, u64)> {
    let mut from = Hashed {
        inner: from,
        hasher: Hasher::default(),
    };
    let size = io::copy(&mut from, to)?;
    Ok((from.hasher.finish(), size))
}

struct Hashed<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
