//! Brings programs onto the operator's machine: pinned, downloaded, verified, compressed.
//!
//! [`pin`] makes a lockfile cover programs, [`ensure`] makes the cache hold what is pinned. No byte
//! is used whose digest was not right first. What runs on nodes is not decided here.

mod archive;
mod cache;
mod checksum;
mod download;
mod elf;
mod error;
mod event;
mod http;
mod index;
mod origin;
mod partial;
mod patience;
mod run;
mod source;
pub mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use fs_err as fs;

pub use archive::BadArchive;
pub use cache::{Cache, Error as CacheError, Found};
pub use checksum::BadChecksum;
pub use elf::WrongProgram;
pub use error::{Attempt, Error, ExpectedBy, Fault, Mismatch};
pub use event::Event;
pub use http::use_ring;
pub use patience::Limits;
pub use source::BadSource;
pub use stream::{Encoding, tail};

use crate::artifact::{Artifact, Program};
use crate::digest::Digest;
use crate::inventory::Inventory;
use crate::lockfile::{Lockfile, Pin};
use run::Run;

/// The name of the lockfile, beside the inventory.
pub const LOCKFILE: &str = "kinstall.lock";

/// How to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Pin anew what is pinned already.
    pub update: bool,
    /// Refuse to pin anything.
    pub locked: bool,
    /// How many artifacts are fetched at a time.
    pub jobs: usize,
    /// How long is waited for what.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            update: false,
            locked: false,
            jobs: 4,
            limits: Limits::default(),
        }
    }
}

/// What [`pin`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PinReport {
    /// What was pinned, or pinned anew with other bytes than before.
    pub pinned: Vec<Pinned>,
    /// How many artifacts were pinned already, as they are.
    pub kept: usize,
}

/// One artifact that was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The artifact.
    pub artifact: Artifact,
    /// Its pin.
    pub pin: Pin,
    /// The digest that was pinned before, if there was one.
    pub before: Option<Digest>,
}

/// Where the lockfile of an inventory lies.
pub fn lockfile_path(inventory: &Inventory) -> PathBuf {
    inventory.directory.join(LOCKFILE)
}

/// Reads the lockfile beside an inventory; an empty one if there is none yet.
pub fn read_lockfile(inventory: &Inventory) -> Result<Lockfile, Error> {
    let path = lockfile_path(inventory);
    match fs::read_to_string(&path) {
        Ok(text) => Lockfile::parse(&text).map_err(|problem| Error::Lockfile { path, problem }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lockfile::default()),
        Err(error) => Err(Error::LockfileIo(error)),
    }
}

/// Writes the lockfile beside an inventory, if its text is another one; says whether it was.
pub fn write_lockfile(inventory: &Inventory, lockfile: &Lockfile) -> Result<bool, Error> {
    let path = lockfile_path(inventory);
    let text = lockfile.to_text();
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let written = (|| {
        let temporary = tempfile::Builder::new()
            .prefix(".kinstall.lock-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(&inventory.directory)?;
        fs::write(temporary.path(), text)?;
        fs::rename(temporary.into_temp_path(), path)
    })();
    written.map(|()| true).map_err(Error::LockfileIo)
}

/// Makes a lockfile cover these programs. What it pins already stays as it is unless
/// `options.update`; what it does not pin is downloaded, verified and pinned. The lockfile changes
/// only if all went well.
pub async fn pin(
    inventory: &Inventory,
    programs: &BTreeSet<Program>,
    lockfile: &mut Lockfile,
    cache: &Cache,
    options: &Options,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<PinReport, Error> {
    let artifacts = artifacts(programs)?;
    let run = Run::new(inventory, cache, options, tell)?;
    let missing: Vec<_> = (programs.iter())
        .filter(|program| lockfile.program(program).is_none())
        .map(ToString::to_string)
        .collect();
    if options.locked && !missing.is_empty() {
        return Err(Error::Locked { names: missing });
    }
    let jobs = artifacts.iter().map(|(artifact, programs)| {
        let before = lockfile.pin(artifact);
        let covered = programs
            .iter()
            .all(|program| lockfile.program(program).is_some());
        run.resolve(artifact, programs, before, covered)
    });
    let pins: Vec<_> = run.together(jobs).await?;
    let mut report = PinReport::default();
    for (artifact, pin) in artifacts.into_keys().zip(pins) {
        let before = lockfile.insert(artifact.clone(), pin.clone());
        if before.as_ref() == Some(&pin) {
            report.kept += 1;
            continue;
        }
        let before = before.map(|pin| pin.digest);
        report.pinned.push(Pinned {
            artifact,
            pin,
            before,
        });
    }
    Ok(report)
}

/// Makes the cache hold these programs as the lockfile pins them, verified, and compressed for
/// nodes.
pub async fn ensure(
    inventory: &Inventory,
    needed: &BTreeSet<Program>,
    lockfile: &Lockfile,
    cache: &Cache,
    options: &Options,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<(), Error> {
    let artifacts = artifacts(needed)?;
    let run = Run::new(inventory, cache, options, tell)?;
    let jobs = artifacts
        .iter()
        .map(|(artifact, programs)| run.supply(artifact, programs, lockfile));
    run.together(jobs).await.map(drop)
}

type Artifacts<'a> = BTreeMap<Artifact, BTreeSet<&'a Program>>;

fn artifacts(programs: &BTreeSet<Program>) -> Result<Artifacts<'_>, Error> {
    let mut artifacts = Artifacts::new();
    for program in programs {
        let artifact = program.artifact()?;
        artifacts.entry(artifact).or_default().insert(program);
    }
    Ok(artifacts)
}
