//! Into a kubeconfig that is there: under kubectl's own lock, by one rename, with a copy of what
//! was there before.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;

use super::super::{Exit, Failure, prepare};
use crate::certificate::Credentials;
use crate::inventory::Cluster;
use crate::kubeconfig;
use crate::secret::Secret;
use crate::terminal::Terminal;

/// A kubeconfig of the user's.
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// The file that was named, or the user's own; where it is a link, what it leads to.
    pub(super) fn of(file: Option<PathBuf>) -> Result<Self, Failure> {
        let path = if let Some(file) = file {
            file
        } else {
            let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
            let home = home.ok_or_else(|| {
                let help = "name the file: `--merge=FILE`";
                Failure::words(
                    Exit::Usage,
                    "there is no `HOME` to find `.kube/config` in",
                    help,
                )
            })?;
            PathBuf::from(home).join(".kube/config")
        };
        let path = fs_err::canonicalize(&path).unwrap_or(path);
        Ok(Self { path })
    }

    pub(super) fn merge(
        &self,
        cluster: &Cluster,
        credentials: &Credentials,
        terminal: Terminal,
    ) -> Result<Exit, Failure> {
        if let Some(directory) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            fs_err::create_dir_all(directory)?;
        }
        let lock = Lock::take(&self.path)?;
        let existing = match fs_err::read(&self.path) {
            Ok(bytes) => Some(Secret::new(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let empty = Secret::new("apiVersion: v1\nkind: Config\n");
        let before = existing
            .as_ref()
            .filter(|text| !text.expose().trim_ascii().is_empty());
        let merged = kubeconfig::merged(before.unwrap_or(&empty), cluster, credentials);
        let merged = merged.map_err(|error| {
            Failure::words(Exit::Failed, error.to_string(), "run `kinstall push` first")
        })?;
        let merged = merged.map_err(|problem| {
            let mut failure = Failure::new(Exit::Failed, problem);
            let place = format!("`{}` stays as it is", self.path.display());
            failure.reports.push(miette::miette!("{place}"));
            failure
        })?;
        if existing.as_ref() == Some(&merged) {
            terminal.say(&format!("{} has it already", self.path.display()));
            return Ok(Exit::Done);
        }
        if let Some(existing) = &existing {
            let backup = beside(&self.path, &format!(".{}.bak", prepare::now()));
            write(&backup, existing, 0o600)?;
            terminal.say(&format!("what was there before: {}", backup.display()));
        }
        let mode = fs_err::metadata(&self.path).map_or(0o600, |it| it.permissions().mode() & 0o600);
        let new = beside(&self.path, ".kinstall-new");
        drop(fs_err::remove_file(&new));
        let placed = write(&new, &merged, mode).and_then(|()| fs_err::rename(&new, &self.path));
        if placed.is_err() {
            drop(fs_err::remove_file(&new));
        }
        placed?;
        drop(lock);
        let name = &cluster.name;
        terminal.say(&format!(
            "{} knows `{name}`; `kubectl config use-context {name}` makes it the current one",
            self.path.display()
        ));
        Ok(Exit::Done)
    }
}

/// kubectl's own lock: a file beside that is made by whoever writes
/// (`k8s.io/client-go/tools/clientcmd`, `lockFile`).
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, Failure> {
        let lock = beside(path, ".lock");
        let made = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&lock);
        match made {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let message = format!("`{}` is there: somebody else writes", lock.display());
                let help = "try again; if no kubectl runs, remove that file";
                Err(Failure::words(Exit::Held, message, help))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that somebody else has removed needs no removing.
        drop(fs_err::remove_file(&self.0));
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn write(path: &Path, text: &Secret, mode: u32) -> std::io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path)?;
    file.write_all(text.expose())?;
    file.sync_all()
}
