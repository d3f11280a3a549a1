//! Files on the operator's machine that survive a power cut: written beside their place, brought to
//! the disk, renamed, and then the directory brought to the disk as well. A rename alone may be lost,
//! and one that overtakes its content leaves an empty file (`fsync(2)`).

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err::File;
use tempfile::NamedTempFile;

/// The ending of a file that is not in its place yet: `.<name>.<random>.new`.
pub const UNFINISHED: &str = ".new";

/// Makes a file hold these bytes: all of them, or what it held before. The user's mask applies to
/// the mode.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    persist(written(path, bytes, mode)?, path)
}

/// Makes a file that must not be there yet.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let file = written(path, bytes, mode)?;
    file.as_file().sync_all()?;
    let made = file.persist_noclobber(path);
    made.map_err(|error| error.error)?;
    sync_parent(path)
}

/// Gives a complete temporary file its place; it must lie on the same file system.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_parent(path)
}

/// Makes a directory and those above it that are missing.
pub fn create_directories(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|it| !it.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    fs_err::create_dir_all(path)?;
    missing
        .iter()
        .filter(|it| !it.as_os_str().is_empty())
        .try_for_each(|made| sync_parent(made))
}

/// Brings everything on the file systems that these directories lie on to the disk.
pub fn sync_file_systems(directories: &BTreeSet<PathBuf>) -> io::Result<()> {
    let mut synced = BTreeSet::new();
    for directory in directories {
        if synced.insert(fs_err::metadata(directory)?.dev()) {
            rustix::fs::syncfs(File::open(directory)?.file())?;
        }
    }
    Ok(())
}

/// Brings the name of a path to the disk.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn written(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let name = path.file_name().unwrap_or_default().display();
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(UNFINISHED)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory_of(path))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_stays_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b/key");
        create_directories(path.parent().unwrap()).unwrap();
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = create(&path, b"four", 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        let beside = fs_err::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1);
    }
}
