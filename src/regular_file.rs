//! Files that a person or a repository put in a place where kinstall reads them. Whatever is read
//! is a regular file of bounded size, and what comes with a repository lies in its own directory: a
//! link may lead to `/etc/shadow`, to a device that never ends, or to a FIFO that nobody writes.

use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::OFlags;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("`{}` is {kind}, not a regular file", path.display())]
    Kind { path: PathBuf, kind: &'static str },
    #[error("`{}` is larger than {bytes_max} bytes", path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    #[error("`{}` is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error(
        "`{}` is a link to `{}`, outside `{}`",
        path.display(), target.display(), directory.display()
    )]
    Outside {
        path: PathBuf,
        target: PathBuf,
        directory: PathBuf,
    },
    #[error("`{}` is a link to `{}`, which is not there", path.display(), target.display())]
    Dangling { path: PathBuf, target: PathBuf },
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidData, refusal)
    }
}

/// Reads a file that the user named, through whatever links.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // One allocation: a secret leaves no copies behind.
    let room = file.metadata()?.len().min(bytes_max) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let path = path.to_owned();
        return Err(Refusal::TooLarge { path, bytes_max }.into());
    }
    Ok(bytes)
}

/// The same for a text.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let not_text = |_| Refusal::NotText {
        path: path.to_owned(),
    };
    Ok(String::from_utf8(read(path, bytes_max)?).map_err(not_text)?)
}

/// Opens a file that the user named, through whatever links. A pipe that the shell made of a
/// command (`<(command)`) is open already and waits for nobody.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened: a device may do something when it is, and a FIFO waits.
    let is_pipe = ["/dev/fd", "/dev/stdin", "/proc/self/fd"]
        .iter()
        .any(|place| path.starts_with(place));
    if is_pipe && fs_err::metadata(path)?.file_type().is_fifo() {
        return File::open(path);
    }
    require_regular(path, &fs_err::metadata(path)?)?;
    let mut options = fs_err::OpenOptions::new();
    options.read(true).custom_flags(flags(OFlags::NONBLOCK));
    let file = options.open(path)?;
    require_regular(path, &file.metadata()?)?;
    Ok(file)
}

/// Opens a file of a directory for adding to its end; made where it is missing.
pub fn append(directory: &Path, name: &str) -> io::Result<File> {
    let mut options = fs_err::OpenOptions::new();
    options.append(true);
    let path = match real(directory, &directory.join(name)) {
        Ok(path) => {
            require_regular(&path, &fs_err::metadata(&path)?)?;
            path
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            options.create(true);
            directory.join(name)
        }
        Err(error) => return Err(error),
    };
    options.custom_flags(flags(OFlags::NONBLOCK | OFlags::NOFOLLOW));
    let file = options.open(&path)?;
    require_regular(&path, &file.metadata()?)?;
    Ok(file)
}

/// The path of a file in a directory without links in it. One that leads out of the directory is
/// an error, and so is one that leads nowhere.
pub fn real(directory: &Path, path: &Path) -> io::Result<PathBuf> {
    let link = || fs_err::read_link(path).unwrap_or_default();
    let real = match fs_err::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            let (path, target) = (path.to_owned(), link());
            return Err(Refusal::Dangling { path, target }.into());
        }
        other => other?,
    };
    if real.starts_with(fs_err::canonicalize(directory)?) {
        return Ok(real);
    }
    let (path, directory) = (path.to_owned(), directory.to_owned());
    let target = real;
    Err(Refusal::Outside {
        path,
        target,
        directory,
    }
    .into())
}

fn require_regular(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Refusal> {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => "something else",
    };
    let path = path.to_owned();
    Err(Refusal::Kind { path, kind })
}

/// As open(2) takes them.
fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: io::Result<T>, why: &str) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(why), "`{why}` in: {error}");
    }

    #[test]
    fn only_a_regular_file_of_bounded_size_is_read() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs_err::write(at("four"), "four").unwrap();
        symlink("four", at("link")).unwrap();
        assert_eq!(read(&at("link"), 4).unwrap(), b"four");
        refused(read(&at("link"), 3), "link` is larger than 3 bytes");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), 0o600.into()).unwrap();
        refused(read(&at("fifo"), 4), "fifo` is a FIFO, not a regular file");
        symlink("/dev/zero", at("zero")).unwrap();
        refused(read(&at("zero"), 4), "zero` is a device, not a regular");
        refused(read(room.path(), 4), "is a directory, not a regular");
        fs_err::write(at("bytes"), b"\xff").unwrap();
        refused(read_text(&at("bytes"), 4), "bytes` is not UTF-8");
        // Its size is told as 0, and it has more.
        refused(read(Path::new("/proc/self/maps"), 4), "larger than 4 bytes");
    }

    #[test]
    fn a_link_may_lead_to_another_file_of_its_directory_and_nowhere_else() {
        let room = tempfile::tempdir().unwrap();
        let repository = room.path().join("repository");
        fs_err::create_dir_all(repository.join("below")).unwrap();
        let at = |name: &str| repository.join(name);
        let outside = room.path().join("outside");
        fs_err::write(&outside, "theirs").unwrap();
        fs_err::write(at("below/file"), "ours").unwrap();
        symlink("below/file", at("inside")).unwrap();
        symlink("../outside", at("out")).unwrap();
        symlink("below", at("folder")).unwrap();
        symlink("gone", at("nowhere")).unwrap();
        let file = fs_err::canonicalize(at("below/file")).unwrap();
        assert_eq!(real(&repository, &at("inside")).unwrap(), file);
        assert_eq!(real(&repository, &at("folder/file")).unwrap(), file);
        refused(real(&repository, &at("out")), "/out` is a link to `");
        refused(append(&repository, "out"), "/out` is a link to `");
        refused(append(&repository, "nowhere"), "is a link to `gone`, which");
        assert!(!at("gone").exists());
        append(&repository, "new").unwrap();
        append(&repository, "inside").unwrap();
        assert!(at("new").is_file() && at("inside").is_symlink());
        assert_eq!(fs_err::read_to_string(outside).unwrap(), "theirs");
    }
}
