//! Brings programs onto the operator's machine: pinned, downloaded, verified, compressed.
//!
//! [`pin`] makes a lockfile cover programs, [`ensure`] makes the cache hold what is pinned. No byte
//! is used whose digest was not right first. What runs on nodes is not decided here.

pub mod archive;
mod cache;
mod checksum;
mod download;
mod elf;
mod error;
mod event;
mod fault;
mod http;
mod index;
mod origin;
mod partial;
mod patience;
mod proxy;
pub(crate) mod ratio;
mod run;
mod source;
pub mod stream;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use archive::BadArchive;
pub use cache::{About, Cache, Cleaned, Entry, Error as CacheError, Found, Keep};
pub use error::{Attempt, Error};
pub use event::Event;
pub use fault::{ExpectedBy, Fault, Mismatch, Via};
pub use http::use_ring;
pub use patience::Limits;
pub use proxy::{BadProxy, Proxy};
pub use source::BadSource;
pub use stream::{Encoding, tail};

use crate::artifact::{Artifact, Origin, Program};
use crate::digest::Digest;
use crate::durable;
use crate::inventory::Inventory;
use crate::lockfile::{self, Lockfile, Pin, Trust};
use crate::regular_file;
use run::Run;
use trust::Policy;

/// The name of the lockfile, beside the inventory.
pub const LOCKFILE: &str = "kinstall.lock";

/// What is pinned anew although it is pinned already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Update {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything.
    All,
    /// Programs of these names, and what comes in the same archive.
    Programs(BTreeSet<String>),
}

impl Update {
    /// Whether a program is pinned anew.
    pub fn covers(&self, program: &Program) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Programs(names) => names.contains(&program.name),
        }
    }
}

/// How to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is pinned anew although it is pinned already.
    pub update: Update,
    /// Refuse to pin anything.
    pub locked: bool,
    /// Refuse what rests on less than this, and ask the sources where only the lockfile says that
    /// it does not; a build of the user's own passes.
    pub require: Option<Trust>,
    /// Ask nothing of any source: the cache was filled from this bundle.
    pub bundle: Option<PathBuf>,
    /// Compress programs for nodes as soon as they are there.
    pub compress: bool,
    /// How many artifacts are fetched at a time.
    pub jobs: usize,
    /// How long is waited for what.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            update: Update::Nothing,
            locked: false,
            require: None,
            bundle: None,
            compress: true,
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
    let text = regular_file::real(&inventory.directory, &path)
        .and_then(|path| regular_file::read_text(&path, lockfile::BYTES_MAX));
    match text {
        Ok(text) => Lockfile::parse(&text).map_err(|problem| Error::Lockfile { path, problem }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lockfile::default()),
        Err(error) => Err(Error::LockfileIo(error)),
    }
}

/// Writes the lockfile beside an inventory, unless the one there pins the same; says whether it was
/// written.
pub fn write_lockfile(inventory: &Inventory, lockfile: &Lockfile) -> Result<bool, Error> {
    let text = lockfile.to_text();
    let written = (|| {
        let path = lockfile_path(inventory);
        // What is a link stays one.
        let path = match regular_file::real(&inventory.directory, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => path,
            real => real?,
        };
        let there = regular_file::read_text(&path, lockfile::BYTES_MAX);
        if there.is_ok_and(|there| Lockfile::parse(&there).as_ref() == Ok(lockfile)) {
            return Ok(false);
        }
        durable::replace(&path, text.as_bytes(), 0o644)?;
        Ok(true)
    })();
    written.map_err(Error::LockfileIo)
}

/// Makes a lockfile cover these programs. What it pins already stays as it is unless
/// `options.update` or `options.require` says otherwise; what it does not pin is downloaded,
/// verified and pinned. The lockfile changes only if all went well.
pub async fn pin(
    inventory: &Inventory,
    programs: &BTreeSet<Program>,
    lockfile: &mut Lockfile,
    cache: &Cache,
    options: &Options,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<PinReport, Error> {
    let run = Run::new(inventory, cache, options, tell)?;
    let policy = &run.origins.policy;
    let artifacts = grouped(programs, |program| Ok(program.artifact()?))?;
    let missing: Vec<_> = (programs.iter())
        .filter(|program| lockfile.program(program).is_none())
        .map(ToString::to_string)
        .collect();
    if options.locked && !missing.is_empty() {
        return Err(Error::Locked { names: missing });
    }
    policy.check_before(artifacts.keys(), lockfile, &options.update)?;
    let jobs = artifacts.iter().map(|(artifact, programs)| {
        let before = lockfile.pin(artifact);
        let covered = programs
            .iter()
            .all(|program| lockfile.program(program).is_some());
        let update = programs
            .iter()
            .any(|program| options.update.covers(program));
        run.resolve(artifact, programs, before, covered, update)
    });
    let pins: Vec<_> = run.together(jobs).await?;
    policy.check(artifacts.keys().zip(&pins))?;
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
/// nodes if `options.compress`.
pub async fn ensure(
    inventory: &Inventory,
    needed: &BTreeSet<Program>,
    lockfile: &Lockfile,
    cache: &Cache,
    options: &Options,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<(), Error> {
    let artifacts = grouped(needed, |program| {
        let name = program.to_string();
        let pinned = lockfile.artifact(program).map(|(artifact, _)| artifact);
        pinned.ok_or(Error::NotPinned { name })
    })?;
    let run = Run::new(inventory, cache, options, tell)?;
    run.check_room(&artifacts, lockfile)?;
    let jobs = artifacts
        .iter()
        .map(|(artifact, programs)| run.supply(artifact, programs, lockfile));
    run.together(jobs).await.map(drop)
}

/// Refuses pins that rest on less than the inventory requires: a lockfile may be older than that
/// word, or its pins be somebody else's.
pub fn check_required(
    inventory: &Inventory,
    programs: &BTreeSet<Program>,
    lockfile: &Lockfile,
) -> Result<(), Error> {
    let artifacts: BTreeSet<_> = programs
        .iter()
        .filter_map(|program| Some(lockfile.artifact(program)?.0))
        .collect();
    let pins = artifacts.iter();
    Policy::new(&inventory.source)
        .check(pins.filter_map(|artifact| Some((artifact, lockfile.pin(artifact)?))))
}

/// Refuses a pin that is not of upstream's build, where that is built in.
pub fn check_known(inventory: &Inventory, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
    Policy::new(&inventory.source).check_known(artifact, pin)
}

/// What a pin of a lockfile rests on, by what this kinstall and the inventory know of it.
pub fn trust(inventory: &Inventory, artifact: &Artifact, pin: &Pin) -> Trust {
    Policy::new(&inventory.source).trust(artifact, pin)
}

/// Where the first source of an inventory keeps an artifact: the address to show.
pub fn address(inventory: &Inventory, artifact: &Artifact) -> Option<String> {
    let Origin::Upstream(publisher) = artifact.origin else {
        return Some(artifact.path.clone());
    };
    let base = source::Base::parse(inventory.source.of(publisher).first()?).ok()?;
    Some(base.file(artifact).shown())
}

type Artifacts<'a> = BTreeMap<Artifact, BTreeSet<&'a Program>>;

fn grouped(
    programs: &BTreeSet<Program>,
    of: impl Fn(&Program) -> Result<Artifact, Error>,
) -> Result<Artifacts<'_>, Error> {
    let mut artifacts = Artifacts::new();
    for program in programs {
        artifacts.entry(of(program)?).or_default().insert(program);
    }
    Ok(artifacts)
}
