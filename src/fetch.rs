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
mod source;
pub mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use futures_util::{StreamExt, TryStreamExt, stream as tasks};

pub use archive::BadArchive;
pub use cache::{Cache, Error as CacheError, Found};
pub use checksum::BadChecksum;
pub use download::Limits;
pub use elf::WrongProgram;
pub use error::{Attempt, Error, ExpectedBy, Fault, Mismatch};
pub use event::Event;
pub use http::use_ring;
pub use source::BadSource;
pub use stream::{Encoding, tail};

use crate::artifact::{Artifact, Origin, Program};
use crate::digest::Digest;
use crate::inventory::Inventory;
use crate::lockfile::{Lockfile, Pin, PinnedProgram, Trust};
use download::{Downloader, Wanted};
use source::Base;

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

/// Reads the lockfile beside an inventory; an empty one if there is none yet.
pub fn read_lockfile(inventory: &Inventory) -> Result<Lockfile, Error> {
    let path = inventory.directory.join(LOCKFILE);
    match fs::read_to_string(&path) {
        Ok(text) => Lockfile::parse(&text).map_err(|problem| Error::Lockfile { path, problem }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lockfile::default()),
        Err(error) => Err(Error::LockfileIo(error)),
    }
}

/// Writes the lockfile beside an inventory, if its text is another one; says whether it was.
pub fn write_lockfile(inventory: &Inventory, lockfile: &Lockfile) -> Result<bool, Error> {
    let path = inventory.directory.join(LOCKFILE);
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

/// One call of [`pin`] or [`ensure`].
struct Run<'a> {
    directory: &'a Path,
    kubernetes: Vec<Base>,
    etcd: Vec<Base>,
    jobs: usize,
    update: bool,
    downloader: Downloader<'a>,
}

impl<'a> Run<'a> {
    fn new(
        inventory: &'a Inventory,
        cache: &'a Cache,
        options: &Options,
        tell: &'a (dyn Fn(Event) + Sync),
    ) -> Result<Self, Error> {
        let downloader = Downloader {
            cache,
            http: http::Http::new(options.limits),
            limits: options.limits,
            tell,
        };
        Ok(Self {
            directory: &inventory.directory,
            kubernetes: Base::all(&inventory.source.kubernetes)?,
            etcd: Base::all(&inventory.source.etcd)?,
            jobs: options.jobs.max(1),
            update: options.update,
            downloader,
        })
    }

    /// Runs so many jobs at a time, and stops at the first that fails.
    async fn together<T>(
        &self,
        jobs: impl Iterator<Item = impl Future<Output = Result<T, Error>>>,
    ) -> Result<Vec<T>, Error> {
        tasks::iter(jobs).buffered(self.jobs).try_collect().await
    }

    /// The pin of an artifact: the one it has, or a new one.
    async fn resolve(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        before: Option<&Pin>,
        covered: bool,
    ) -> Result<Pin, Error> {
        if artifact.origin == Origin::Own {
            return self.resolve_own(artifact, programs, before).await;
        }
        if let Some(pin) = before.filter(|_| covered && !self.update) {
            return Ok(pin.clone());
        }
        // A pin that lacks a member only is completed, not made anew.
        let kept = before.filter(|_| !self.update);
        let (wanted, size) = self.obtain_from_any(artifact, kept).await?;
        let members = self.unpack(artifact, wanted.digest).await?;
        let pin = Pin {
            size,
            digest: wanted.digest,
            trust: match wanted.expected_by {
                ExpectedBy::Lockfile(trust) | ExpectedBy::FirstPin(trust) => trust,
            },
            members,
        };
        self.check_programs(artifact, programs, &pin).await?;
        self.done(artifact);
        Ok(pin)
    }

    async fn resolve_own(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        before: Option<&Pin>,
    ) -> Result<Pin, Error> {
        let path = self.directory.join(&artifact.path);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(problem) => {
                // What is pinned and at hand does not need the file it came from.
                if let Some(pin) = before.filter(|_| !self.update)
                    && let Found::Present(_) = self.downloader.cache.find(pin.digest, false).await?
                {
                    return Ok(pin.clone());
                }
                return Err(Error::Own { path, problem });
            }
        };
        let store = move |cache: &Cache| cache.store(&mut { file });
        let (digest, size) = self.downloader.cache.blocking(store).await?;
        if let Some(pinned) = before.map(|pin| pin.digest)
            && pinned != digest
            && !self.update
        {
            return Err(Error::OwnChanged {
                path,
                found: digest,
                pinned,
            });
        }
        let pin = Pin {
            size,
            digest,
            trust: Trust::Yours,
            members: BTreeMap::new(),
        };
        self.check_programs(artifact, programs, &pin).await?;
        Ok(pin)
    }

    /// Puts pinned programs into the cache, and what nodes take beside them.
    async fn supply(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        lockfile: &Lockfile,
    ) -> Result<(), Error> {
        let cache = self.downloader.cache;
        let mut pinned = BTreeMap::new();
        for program in programs {
            let name = program.to_string();
            let there = lockfile.program(program);
            pinned.insert(*program, there.ok_or(Error::NotPinned { name })?);
        }
        let mut complete = true;
        for PinnedProgram { digest, .. } in pinned.values() {
            match cache.find(*digest, false).await? {
                Found::Present(_) => {}
                Found::Absent => complete = false,
                Found::Corrupt => {
                    (self.downloader.tell)(Event::Corrupt { digest: *digest });
                    complete = false;
                }
            }
        }
        let pin = lockfile.pin(artifact).expect("its programs are pinned");
        if complete {
            (self.downloader.tell)(Event::Cached {
                name: artifact.to_string(),
                digest: pin.digest,
            });
        } else {
            self.bring(artifact, pin).await?;
        }
        self.check_programs(artifact, programs, pin).await?;
        for (program, PinnedProgram { digest, .. }) in pinned {
            let name = program.to_string();
            (self.downloader.tell)(Event::Compressing { name });
            cache.member(digest, Encoding::Zstd).await?;
        }
        self.done(artifact);
        Ok(())
    }

    async fn bring(&self, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
        if artifact.origin == Origin::Own {
            let path = self.directory.join(&artifact.path);
            let file = fs::File::open(&path).map_err(|problem| Error::Own {
                path: path.clone(),
                problem,
            })?;
            let store = move |cache: &Cache| cache.store(&mut { file });
            let (found, _) = self.downloader.cache.blocking(store).await?;
            let pinned = pin.digest;
            return match found == pinned {
                true => Ok(()),
                false => Err(Error::OwnChanged {
                    path,
                    found,
                    pinned,
                }),
            };
        }
        self.obtain_from_any(artifact, Some(pin)).await?;
        for (member, found) in self.unpack(artifact, pin.digest).await? {
            match pin.members.get(&member) {
                Some(pinned) if *pinned != found => {
                    return Err(Error::Contradiction {
                        archive: artifact.to_string(),
                        pinned: pinned.digest,
                        found: found.digest,
                        member,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Brings an artifact into the cache from the first source that has it.
    async fn obtain_from_any(
        &self,
        artifact: &Artifact,
        pin: Option<&Pin>,
    ) -> Result<(Wanted, u64), Error> {
        let name = artifact.to_string();
        let bases = match artifact.origin {
            Origin::Etcd => &self.etcd,
            Origin::Kubernetes | Origin::Own => &self.kubernetes,
        };
        let mut attempts = Vec::new();
        for base in bases {
            match self.obtain_from(base, artifact, pin).await {
                Ok(obtained) => return Ok(obtained),
                Err(Fault::Here(error)) => return Err(error.into()),
                Err(fault) => {
                    let url = base.at(&artifact.path).shown();
                    (self.downloader.tell)(Event::SourceFailed {
                        name: name.clone(),
                        url: url.clone(),
                        reason: fault.to_string(),
                    });
                    attempts.push(Attempt { url, fault });
                }
            }
        }
        Err(Error::Unavailable { name, attempts })
    }

    async fn obtain_from(
        &self,
        base: &Base,
        artifact: &Artifact,
        pin: Option<&Pin>,
    ) -> Result<(Wanted, u64), Fault> {
        let (digest, expected_by) = match pin {
            Some(pin) => (pin.digest, ExpectedBy::Lockfile(pin.trust)),
            None => {
                let published = self.published(base, artifact).await?;
                let trust = match base.is_protected() {
                    true => Trust::Published,
                    false => Trust::Mirror,
                };
                (published, ExpectedBy::FirstPin(trust))
            }
        };
        let wanted = Wanted {
            name: artifact.to_string(),
            digest,
            size: pin.map(|pin| pin.size),
            expected_by,
        };
        let address = base.at(&artifact.path);
        match self.downloader.obtain(&address, &wanted).await {
            Ok(size) => Ok((wanted, size)),
            Err(Fault::Digest(mut mismatch)) if pin.is_some() => {
                // Who is wrong? The source's own checksum may tell.
                mismatch.published = self.published(base, artifact).await.ok();
                Err(Fault::Digest(mismatch))
            }
            Err(fault) => Err(fault),
        }
    }

    /// The digest that a source publishes for an artifact.
    async fn published(&self, base: &Base, artifact: &Artifact) -> Result<Digest, Fault> {
        let path = artifact.checksum_path().unwrap_or_default();
        let address = base.at(&path);
        let name = artifact.to_string();
        let text = self.downloader.text(&name, &address).await;
        let url = address.shown();
        let text = text.map_err(|fault| match fault {
            Fault::Here(_) => fault,
            fault => Fault::NoChecksum {
                url: url.clone(),
                fault: Box::new(fault),
            },
        })?;
        let digest = checksum::parse(&text, artifact.file_name());
        digest.map_err(|problem| Fault::Checksum { url, problem })
    }

    /// Takes the programs out of an archive in the cache; nothing if it is no archive.
    async fn unpack(
        &self,
        artifact: &Artifact,
        digest: Digest,
    ) -> Result<BTreeMap<String, PinnedProgram>, Error> {
        let members = artifact.members();
        if members.is_empty() {
            return Ok(BTreeMap::new());
        }
        let unpack = move |cache: &Cache| {
            let file = cache.read(digest)?;
            Ok(archive::unpack(file, &members, |content| {
                cache.store(content)
            }))
        };
        let found = self.downloader.cache.blocking(unpack).await?;
        let found = found.map_err(|problem| match problem {
            BadArchive::Write(error) => Error::Cache(error),
            problem => Error::Archive {
                name: artifact.to_string(),
                problem,
            },
        })?;
        let pinned =
            |(name, (digest, size)): (&str, _)| (name.to_owned(), PinnedProgram { digest, size });
        Ok(found.into_iter().map(pinned).collect())
    }

    /// Looks at the header of each program, before anything is used of it.
    async fn check_programs(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        pin: &Pin,
    ) -> Result<(), Error> {
        let mut pinned = Lockfile::default();
        pinned.insert(artifact.clone(), pin.clone());
        for program in programs {
            let name = program.to_string();
            let Some(PinnedProgram { digest, .. }) = pinned.program(program) else {
                return Err(Error::NotPinned { name });
            };
            let start = move |cache: &Cache| {
                let mut start = Vec::new();
                let mut file = cache.read(digest)?.take(elf::HEADER_BYTES as u64);
                file.read_to_end(&mut start)
                    .map_err(|error| cache.failed(error))?;
                Ok(start)
            };
            let start = self.downloader.cache.blocking(start).await?;
            elf::check(&start, program.arch)
                .map_err(|problem| Error::WrongProgram { name, problem })?;
        }
        Ok(())
    }

    fn done(&self, artifact: &Artifact) {
        let name = artifact.to_string();
        (self.downloader.tell)(Event::Done { name });
    }
}

/// Where the lockfile of an inventory lies.
pub fn lockfile_path(inventory: &Inventory) -> PathBuf {
    inventory.directory.join(LOCKFILE)
}
