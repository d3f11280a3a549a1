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
mod image;
mod index;
mod login;
mod oci;
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
pub use cache::{Cache, Cleaned, Entry, Error as CacheError, Found, Metadata, Retention};
pub use error::{Attempt, Error};
pub use event::Event;
pub use fault::{ExpectedBy, Fault, Mismatch, Via};
pub use http::use_ring;
pub use login::BadLogin;
pub use oci::BadImage;
pub use patience::Limits;
pub use proxy::{BadProxy, Proxy};
pub use source::BadSource;
pub use stream::{Encoding, tail};

use crate::artifact::{Artifact, Needs, Origin, Program};
use crate::digest::Digest;
use crate::durable;
use crate::image::Image;
use crate::inventory::Inventory;
use crate::lockfile::{self, ImagePin, Lockfile, Pin, Trust};
use crate::regular_file;
use run::Run;
use trust::Policy;

/// The name of the lockfile, beside the inventory.
pub const LOCKFILE: &str = "kinstall.lock";

/// What is pinned again although it is pinned already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Update {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything.
    All,
    /// Programs and images of these names, and what comes in the same archive.
    Named(BTreeSet<String>),
}

impl Update {
    /// Whether a program is pinned again.
    pub fn covers(&self, program: &Program) -> bool {
        self.names(&program.name)
    }

    /// Whether an image is pinned again.
    pub fn covers_image(&self, image: &Image) -> bool {
        self.names(&image.reference.to_string())
    }

    fn names(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// How to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is pinned again although it is pinned already.
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
    /// What was pinned, or pinned again with other bytes than before.
    pub pinned: Vec<Pinned>,
    /// The images of which the same holds, each with what was pinned before.
    pub images: Vec<(Image, Option<ImagePin>)>,
    /// How many artifacts and images were pinned already, as they are.
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

/// Makes a lockfile cover what is needed. What it pins already stays as it is unless
/// `options.update` or `options.require` says otherwise; what it does not pin is downloaded,
/// verified and pinned. The lockfile changes only if all went well.
pub async fn pin(
    inventory: &Inventory,
    needs: &Needs,
    lockfile: &mut Lockfile,
    cache: &Cache,
    options: &Options,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<PinReport, Error> {
    let run = Run::new(inventory, cache, options, tell)?;
    let policy = &run.origins.policy;
    let artifacts = grouped(&needs.programs, |program| Ok(program.artifact()?))?;
    let missing = lockfile.lacks(needs);
    if options.locked && !missing.is_empty() {
        return Err(Error::Locked { names: missing });
    }
    let images = needs.images.iter();
    policy.check_before(artifacts.keys(), images, lockfile, &options.update)?;
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
    let jobs = needs.images.iter().map(|image| {
        let update = options.update.covers_image(image);
        run.resolve_image(image, lockfile.image(image), update)
    });
    let image_pins: Vec<_> = run.together(jobs).await?;
    let images = needs.images.iter().zip(&image_pins);
    policy.check(artifacts.keys().zip(&pins), images)?;
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
    for (image, pin) in needs.images.iter().zip(image_pins) {
        let before = lockfile.insert_image(image.clone(), pin.clone());
        if before.as_ref() == Some(&pin) {
            report.kept += 1;
        } else {
            report.images.push((image.clone(), before));
        }
    }
    Ok(report)
}

/// Makes the cache hold what is needed as the lockfile pins it, verified, and compressed for nodes if
/// `options.compress`.
pub async fn ensure(
    inventory: &Inventory,
    needed: &Needs,
    lockfile: &Lockfile,
    cache: &Cache,
    options: &Options,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<(), Error> {
    let artifacts = grouped(&needed.programs, |program| {
        let name = program.to_string();
        let pinned = lockfile.artifact(program).map(|(artifact, _)| artifact);
        pinned.ok_or(Error::NotPinned { name })
    })?;
    let run = Run::new(inventory, cache, options, tell)?;
    run.check_room(&artifacts, &needed.images, lockfile)?;
    let jobs = artifacts
        .iter()
        .map(|(artifact, programs)| run.supply(artifact, programs, lockfile));
    run.together(jobs).await?;
    let images = needed.images.iter().map(|image| async {
        let name = image.to_string();
        let pin = lockfile.image(image).ok_or(Error::NotPinned { name })?;
        run.supply_image(image, pin).await
    });
    run.together(images).await.map(drop)
}

/// Refuses pins that rest on less than the inventory requires: a lockfile may be older than that
/// word, or its pins be somebody else's.
pub fn check_required(
    inventory: &Inventory,
    needs: &Needs,
    lockfile: &Lockfile,
) -> Result<(), Error> {
    let programs = needs.programs.iter();
    let artifacts: BTreeSet<_> = programs
        .filter_map(|program| Some(lockfile.artifact(program)?.0))
        .collect();
    let pins = artifacts.iter();
    let policy = Policy::new(&inventory.source);
    let images = needs.images.iter();
    policy.check(
        pins.filter_map(|artifact| Some((artifact, lockfile.pin(artifact)?))),
        images.filter_map(|image| Some((image, lockfile.image(image)?))),
    )
}

/// Refuses a pin that is not of upstream's build, where that is built in.
pub fn check_known(inventory: &Inventory, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
    Policy::new(&inventory.source).check_known(artifact, pin)
}

/// What a pin of a lockfile rests on, by what this kinstall and the inventory know of it.
pub fn trust(inventory: &Inventory, artifact: &Artifact, pin: &Pin) -> Trust {
    Policy::new(&inventory.source).trust(artifact, pin)
}

/// What a pin of an image rests on.
pub fn image_trust(inventory: &Inventory, image: &Image, pin: &ImagePin) -> Trust {
    Policy::new(&inventory.source).image_trust(image, pin)
}

/// Where the first source of an inventory keeps an image: the address to show.
pub fn image_address(inventory: &Inventory, image: &Image) -> Option<String> {
    let bases = image::bases(&inventory.source, &image.reference);
    let base = source::Base::parse(bases.first()?).ok()?;
    let asked = image.reference.asked();
    Some(base.part(&image.reference, "manifests", &asked).shown())
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
