//! The directory that the local authority keeps everything in: read whole, written by renames.

use std::fs::{DirBuilder, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{File, OpenOptions};

use super::super::Error;
use crate::durable;
use crate::regular_file;
use crate::secret::Secret;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// A certificate, a key or a configuration is a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
const LOCK_SECONDS_MAX: u64 = 30;
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The directories below, all of them.
const DIRECTORIES: [&str; 4] = ["", "ca", "issued", "trust"];

const README: &str = "\
This directory holds the keys of a Kubernetes cluster. Keep a copy of it in a safe place, and keep
it out of version control.

ca/<name>.pem, .key             the authorities: whoever has a key here owns the cluster
issued/<certificate>.pem, .key  what they signed; made anew when it is missing
service-account.key, .pub       what tokens are signed with
trust/<name>.pem                authorities that are trusted besides, while one is exchanged
authorities, moving             which authorities the cluster was made with, and is moved to
encryption-config.yaml          what secrets are encrypted with: lost with it, they stay lost

kinstall writes here, and never replaces an authority, the service-account pair or the encryption
configuration.
";

/// The directory.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
}

/// A file that is to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// Its path below the directory.
    pub(super) path: String,
    /// What it shall hold.
    pub(super) bytes: Secret,
}

/// Held while the directory is read and written. The system lets go of it when the process ends,
/// however that comes about.
#[derive(Debug)]
pub(super) struct Lock {
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")]
    file: File,
}

impl Store {
    /// The store at a directory, which need not exist yet.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The path of a file in it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What a file holds, if it is there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Secret>, Error> {
        let path = self.path(path);
        match regular_file::read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(Secret::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directory where it is missing, and waits until no other run is at work in it.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        for directory in DIRECTORIES {
            private_directory(&self.path(directory))?;
        }
        let path = self.path(".lock");
        let mut options = OpenOptions::new();
        options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE);
        let file = options.open(&path)?;
        let begun = Instant::now();
        loop {
            match file.file().try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
            if begun.elapsed().as_secs() >= LOCK_SECONDS_MAX {
                let seconds = LOCK_SECONDS_MAX;
                return Err(Error::Locked { path, seconds });
            }
            sleep(LOCK_POLL);
        }
        let lock = Lock { file };
        self.tidy()?;
        Ok(lock)
    }

    /// Writes files, in order; each is there whole or not at all. The lock must be held.
    pub(super) fn write_all(&self, writes: &[Write]) -> Result<(), Error> {
        for (path, text) in [("README", README), (".gitignore", "*\n")] {
            if !self.path(path).exists() {
                self.write(path, text.as_bytes())?;
            }
        }
        writes
            .iter()
            .try_for_each(|write| self.write(&write.path, write.bytes.expose()))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        Ok(durable::replace(&self.path(path), bytes, FILE_MODE)?)
    }

    /// Removes what a run that was stopped left unfinished, and closes files that others could
    /// read: a copy or a checkout may have opened them.
    fn tidy(&self) -> Result<(), Error> {
        for directory in DIRECTORIES {
            for entry in fs_err::read_dir(self.path(directory))? {
                let entry = entry?;
                let name = entry.file_name().display().to_string();
                let metadata = entry.metadata()?;
                if name.starts_with('.') && name.ends_with(durable::UNFINISHED) {
                    fs_err::remove_file(entry.path())?;
                } else if metadata.is_file() {
                    restrict(&entry.path(), metadata.permissions().mode(), FILE_MODE)?;
                }
            }
        }
        Ok(())
    }
}

fn private_directory(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => Ok(durable::sync_parent(path)?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs_err::metadata(path)?.permissions().mode();
            restrict(path, mode, DIRECTORY_MODE)
        }
        Err(error) => {
            let text = format!("failed to create directory `{}`: {error}", path.display());
            Err(io::Error::new(error.kind(), text).into())
        }
    }
}

fn restrict(path: &Path, mode: u32, mode_max: u32) -> Result<(), Error> {
    if mode & 0o777 & !mode_max != 0 {
        fs_err::set_permissions(path, Permissions::from_mode(mode & mode_max))?;
    }
    Ok(())
}
