//! The directories below `/tmp` that hold the sockets of connections. Each is named by the process
//! that it belongs to, so that the next run removes what a killed one left.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Once;

use tempfile::TempDir;

/// A socket's path has at most 108 bytes (`sockaddr_un`), and `TMPDIR` may be long.
const PLACE: &str = "/tmp";
/// What their names begin with; the number of the process follows.
const PREFIX: &str = "kinstall-";

/// Makes one, and removes those of processes that are gone.
pub(super) fn make() -> io::Result<TempDir> {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        // What cannot be removed is in nobody's way.
        _ = sweep(Path::new(PLACE));
    });
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let mut builder = tempfile::Builder::new();
    // Whatever the umask is: whoever reaches a socket in it reaches the node as root.
    builder.permissions(Permissions::from_mode(0o700));
    builder.prefix(&prefix).tempdir_in(PLACE)
}

fn sweep(place: &Path) -> io::Result<()> {
    let own = fs_err::metadata("/proc/self")?.uid();
    for entry in fs_err::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(process) else {
            continue;
        };
        let is_own = entry
            .metadata()
            .is_ok_and(|it| it.is_dir() && it.uid() == own);
        if is_own && !Path::new("/proc").join(process.to_string()).exists() {
            // Another run may be sweeping too.
            _ = fs_err::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// The process that a directory of this name belongs to.
fn process(name: &str) -> Option<u32> {
    let (process, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    process.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_that_is_gone_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        // Above the largest number that Linux gives a process (2^22).
        let gone = "kinstall-9999999-a";
        let living = format!("kinstall-{}-b", std::process::id());
        let all = [gone, &living, "kinstall-x", "other-9999999-c"];
        for name in all {
            fs_err::create_dir(place.path().join(name)).unwrap();
        }
        sweep(place.path()).unwrap();
        let left = all.map(|name| place.path().join(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }
}
