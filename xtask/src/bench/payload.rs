//! What is brought to the nodes: six programs, 360 MB in all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Error;
use crate::command::Program;
use crate::mirror::{Mirror, SERVERS};

/// How much is added to each stand-in, in megabytes: with genuine etcd and kubectl that makes 360,
/// in sizes like those of a release.
const PADDING_MB: [u64; 3] = [95, 90, 54];
/// Files smaller than this are scripts and shims, in bytes.
const PROGRAM_BYTES_MIN: u64 = 100_000;

/// The programs, in a directory of their own.
pub(super) struct Payload {
    directory: PathBuf,
    files: BTreeMap<String, u64>,
    sums: String,
}

impl Payload {
    /// The programs of a mirror that a push brings.
    pub(super) fn of(mirror: &Mirror, directory: &Path) -> Result<Self, Error> {
        if directory.exists() {
            fs_err::remove_dir_all(directory)?;
        }
        fs_err::create_dir_all(directory)?;
        for (version, names) in [
            (mirror.kubernetes, &SERVERS[..]),
            (mirror.kubectl, &["kubectl"]),
        ] {
            for name in names {
                fs_err::copy(mirror.program(version, name), directory.join(name))?;
            }
        }
        let unpack = Program::new("tar").args(["--strip-components=1", "-C"]);
        let unpack = unpack.arg(directory).arg("-xzf").arg(mirror.etcd_archive());
        unpack.limit_seconds(120).done()?;
        let mut files = BTreeMap::new();
        let mut sums = String::new();
        for item in fs_err::read_dir(directory)? {
            let item = item?;
            let name = item.file_name().to_string_lossy().into_owned();
            fs_err::set_permissions(item.path(), std::fs::Permissions::from_mode(0o755))?;
            // Writing to a String cannot fail.
            let _ = writeln!(sums, "{}  {name}", crate::mirror::sha256(&item.path())?);
            files.insert(name, item.metadata()?.len());
        }
        Ok(Self {
            directory: directory.to_owned(),
            files,
            sums,
        })
    }

    /// The directory that holds them and nothing else.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Their paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.keys().map(|name| self.directory.join(name))
    }

    /// Their digests, as sha256sum writes and reads them.
    pub(super) fn sums(&self) -> &str {
        &self.sums
    }

    /// How many bytes they have together.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// Removes the copies.
    pub(super) fn remove(self) -> std::io::Result<()> {
        fs_err::remove_dir_all(self.directory)
    }
}

/// For each server a file of this machine's own programs, which compress as servers do.
pub(super) fn padding(directory: &Path) -> Result<BTreeMap<&'static str, PathBuf>, Error> {
    let paths = SERVERS.map(|name| (name, directory.join(name)));
    fs_err::create_dir_all(directory)?;
    let mut programs = programs().into_iter();
    let mut rest: Option<fs_err::File> = None;
    let mut found_bytes = 0;
    for ((_, path), megabytes) in paths.iter().zip(PADDING_MB) {
        let mut file = fs_err::File::create(path)?;
        let mut lacking = megabytes * 1_000_000;
        while lacking > 0 {
            let from = match rest.take() {
                Some(from) => from,
                None => match programs.next() {
                    Some(path) => fs_err::File::open(path)?,
                    None => {
                        return Err(Error::Little {
                            found_mb: found_bytes / 1_000_000,
                            needed_mb: PADDING_MB.iter().sum(),
                        });
                    }
                },
            };
            let mut part = from.take(lacking);
            let count = std::io::copy(&mut part, &mut file)?;
            lacking -= count;
            found_bytes += count;
            rest = (lacking == 0).then(|| part.into_inner());
        }
        file.flush()?;
    }
    Ok(paths.into())
}

/// Programs and libraries of this machine, always in the same order.
fn programs() -> Vec<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let places = [
        home.join(".rustup/toolchains"),
        home.join(".cargo/bin"),
        "/usr/local/rustup/toolchains".into(),
        "/usr/bin".into(),
        "/usr/sbin".into(),
        "/usr/lib".into(),
        "/usr/libexec".into(),
    ];
    let mut programs = Vec::new();
    for place in places {
        let from = programs.len();
        gather(&place, &mut programs);
        programs[from..].sort();
    }
    programs
}

fn gather(directory: &Path, programs: &mut Vec<PathBuf>) {
    for item in fs_err::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = item.file_type() else { continue };
        if kind.is_dir() {
            gather(&item.path(), programs);
        } else if kind.is_file() && is_program(&item.path()) {
            programs.push(item.path());
        }
    }
}

/// An ELF file of some size.
fn is_program(path: &Path) -> bool {
    let mut start = [0; 4];
    fs_err::metadata(path).is_ok_and(|metadata| metadata.len() >= PROGRAM_BYTES_MIN)
        && fs_err::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok())
        && start == *b"\x7fELF"
}
