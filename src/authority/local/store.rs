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

/// The directories below that are always there.
const DIRECTORIES: [&str; 5] = ["", "ca", "issued", "taken", "trust"];
/// What depends on who signs. The rest of the directory is the cluster's, whoever does.
pub(super) const BY_SIGNER: [&str; 4] = ["ca", "issued", "taken", "authorities"];
/// Where the other side of a change of who signs lies: before everything is signed by it, and after.
pub(super) const SIDES: [&str; 2] = ["next", "before"];

const README: &str = "\
This directory holds the keys of a Kubernetes cluster. Keep a copy of it in a safe place, and keep
it out of version control.

ca/<name>.pem, .key             the authorities: whoever has a key here owns the cluster
issued/<certificate>.pem, .key  what they signed; made again when it is missing
service-account.key, .pub       what tokens are signed with
taken/<certificate>.pem, .key   what the directory that `[pki]` names gave last
trust/<name>.pem                authorities that are trusted besides
authorities                     which authorities the cluster was made with
moving, next/, before/          a change of who signs that is under way: `kinstall certs move`
retired/<date>/                 authorities that signed before, and what they signed
encryption-config.yaml          what secrets are encrypted with: lost with it, they stay lost

kinstall writes here, and never replaces an authority, the service-account pair or the encryption
configuration.
";

/// The directory.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
    /// Below which directory [`BY_SIGNER`] lies.
    side: &'static str,
}

/// A file that is to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// Its path below the directory.
    pub(super) path: String,
    /// What it should hold.
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
        Self { root, side: "" }
    }

    /// The same, with one of [`SIDES`] in the place of who signs now; `""` is that itself.
    pub(super) fn side(&self, side: &'static str) -> Self {
        let root = self.root.clone();
        Self { root, side }
    }

    /// Whether it is another side than who signs now.
    pub(super) const fn is_beside(&self) -> bool {
        !self.side.is_empty()
    }

    /// The path of a file in it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        let first = path.split('/').next().unwrap_or_default();
        if BY_SIGNER.contains(&first) {
            self.root.join(self.side).join(path)
        } else {
            self.root.join(path)
        }
    }

    /// The path of anything in it, whoever signs.
    pub(super) fn root(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A file that holds no secret, as text.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let bytes = self.read(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes.expose()).into_owned()))
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
        private_directory(&self.root)?;
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
        Ok(Lock { file })
    }

    /// Makes the directories that are missing, and tidies all of them up. The lock must be held.
    pub(super) fn prepare(&self) -> Result<(), Error> {
        for directory in DIRECTORIES {
            private_directory(&self.root.join(directory))?;
        }
        if self.is_beside() {
            for directory in ["", "ca", "issued", "taken"] {
                private_directory(&self.root.join(self.side).join(directory))?;
            }
        }
        self.tidy()
    }

    /// Copies what lies in a directory of another side. The lock must be held.
    pub(super) fn copy(&self, from: &Self, directory: &str) -> Result<(), Error> {
        let mut writes = Vec::new();
        for entry in fs_err::read_dir(from.path(directory))? {
            let name = entry?.file_name().display().to_string();
            let path = format!("{directory}/{name}");
            let bytes = from.read(&path)?;
            writes.extend(bytes.map(|bytes| Write { path, bytes }));
        }
        self.write_all(&writes)
    }

    /// Gives a file or directory another name, for good. What is to lie there must not be there yet,
    /// or be an empty directory. The lock must be held.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.root.join(from), self.root.join(to));
        fs_err::rename(&from, &to)?;
        durable::sync_parent(&to)?;
        Ok(durable::sync_parent(&from)?)
    }

    /// Removes a directory that nobody was ever told to trust. The lock must be held.
    pub(super) fn discard(&self, directory: &str) -> Result<(), Error> {
        let path = self.root.join(directory);
        if path.exists() {
            fs_err::remove_dir_all(&path)?;
            durable::sync_parent(&path)?;
        }
        Ok(())
    }

    /// Makes a directory below that only the owner can look into.
    pub(super) fn make(&self, directory: &str) -> Result<(), Error> {
        private_directory(&self.root.join(directory))
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
        let below = ["", "/ca", "/issued", "/taken"];
        let sides = SIDES.map(|side| below.map(|below| format!("{side}{below}")));
        let sides = sides.as_flattened().iter().map(String::as_str);
        let all = DIRECTORIES.into_iter().chain(sides);
        for directory in all.map(|directory| self.root.join(directory)) {
            if !directory.is_dir() {
                continue;
            }
            for entry in fs_err::read_dir(directory)? {
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
