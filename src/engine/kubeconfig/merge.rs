//! Into a kubeconfig that is there: under kubectl's own lock, by one rename, with a copy of what
//! was there before. Its owner, group and mode stay.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::place::{self, Place};
use crate::certificate::Credentials;
use crate::engine::clock;
use crate::failure::{Exit, Failure};
use crate::inventory::Cluster;
use crate::kubeconfig;
use crate::secret::Secret;
use crate::terminal::Terminal;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

impl Place {
    pub(crate) fn merge(
        &self,
        cluster: &Cluster,
        credentials: &Credentials,
        terminal: Terminal,
    ) -> Result<Exit, Failure> {
        let target = self.target()?;
        // Before anything is made: what is no regular file is refused untouched.
        place::read(&target).map_err(|error| usage(&error))?;
        for path in [&self.path, &target] {
            make_directory(path)?;
        }
        let lock = Lock::take(&self.path)?;
        let existing = place::read(&target)?;
        let empty = Secret::new("");
        let merged = kubeconfig::merged(existing.as_ref().unwrap_or(&empty), cluster, credentials);
        let merged = merged.map_err(|error| {
            Failure::words(Exit::Failed, error.to_string(), "run `kinstall push` first")
        })?;
        let merged = merged.map_err(|problem| {
            let mut failure = Failure::new(Exit::Failed, problem);
            let place = format!("`{}` stays as it is", self.path.display());
            failure.reports.push(miette::miette!("{place}"));
            failure
        })?;
        for repeated in &merged.repeated {
            terminal.say(&format!(
                "{} sets `{}` again in line {}; kubectl takes the last one",
                self.path.display(),
                repeated.key,
                repeated.line
            ));
        }
        if existing.as_ref() == Some(&merged.text) {
            terminal.say(&format!("{} has it already", self.path.display()));
            return Ok(Exit::Done);
        }
        let before = match &existing {
            Some(_) => Some(fs_err::metadata(&target)?),
            None => None,
        };
        if let (Some(existing), Some(before)) = (&existing, &before) {
            let backup = beside(&target, &format!(".{}.bak", clock::now()));
            put(&backup, existing, Some(before), FILE_MODE)?;
            terminal.say(&format!("what was there before: {}", backup.display()));
        }
        let mode = before.as_ref().map_or(FILE_MODE, |it| it.mode() & 0o7777);
        put(&target, &merged.text, before.as_ref(), mode)?;
        drop(lock);
        if mode & 0o077 != 0 {
            terminal.say(&format!(
                "others than its owner may read the administrator's key in it: `chmod 600 {}`",
                target.display()
            ));
        }
        let (name, kubectl) = (&cluster.name, self.kubectl());
        terminal.say(&format!(
            "{} knows `{name}`; `{kubectl} config use-context {name}` makes it the current one",
            self.path.display()
        ));
        Ok(Exit::Done)
    }
}

fn usage(error: &io::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::InvalidData => Exit::Usage,
        _ => Exit::Failed,
    };
    let help = "nothing was changed; name another file: `--merge=FILE`";
    Failure::words(exit, error.to_string(), help)
}

/// The directory of a file, for its owner alone whatever the umask says.
fn make_directory(path: &Path) -> Result<(), Failure> {
    let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    let made = builder
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory);
    made.map_err(|error| {
        let message = format!(
            "cannot make the directory `{}`: {error}",
            directory.display()
        );
        Failure::words(Exit::Failed, message, "name another file: `--merge=FILE`")
    })?;
    fs_err::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))?;
    Ok(())
}

/// kubectl's own lock: a file beside that every writer makes
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

/// Puts a file in place, whole and on the disk, with the owner and group of the one before.
fn put(path: &Path, text: &Secret, before: Option<&Metadata>, mode: u32) -> Result<(), Failure> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    // A name that nobody can guess: the directory may be another user's.
    let mut new = tempfile::Builder::new()
        .prefix(".kinstall-")
        .tempfile_in(directory)
        .map_err(|error| cannot(path, &error))?;
    let written = new.write_all(text.expose()).and_then(|()| {
        let file = new.as_file();
        let now = file.metadata()?;
        if let Some(before) = before.filter(|it| (it.uid(), it.gid()) != (now.uid(), now.gid())) {
            fchown(file, Some(before.uid()), Some(before.gid()))?;
        }
        // After the owner: a change of that may take bits away.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    });
    written.map_err(|error| cannot(path, &error))?;
    new.persist(path)
        .map_err(|error| cannot(path, &error.error))?;
    fs_err::File::open(directory)?.sync_all()?;
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write `{}`: {error}", path.display());
    let help =
        "nothing was changed; its directory must be writable, and the file yours or you root";
    Failure::words(Exit::Failed, message, help)
}
