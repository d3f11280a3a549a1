//! One run of a fetch: what is done for each artifact, and how many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream as tasks};

use super::archive::Member;
use super::cache::{Cache, Found, Metadata};
use super::download::Downloader;
use super::error::Error;
use super::event::Event;
use super::http::Http;
use super::origin::Origins;
use super::stream::Encoding;
use super::{Options, elf};
use crate::artifact::{Artifact, Origin, Program};
use crate::image::Image;
use crate::inventory::Inventory;
use crate::lockfile::{ImagePin, Lockfile, Pin, PinnedProgram, Trust};
use crate::regular_file;

/// One call of [`super::pin`] or [`super::ensure`].
pub(super) struct Run<'a> {
    directory: &'a Path,
    pub(super) cache: &'a Cache,
    pub(super) origins: Origins<'a>,
    jobs: usize,
    pub(super) compress: bool,
    pub(super) tell: &'a (dyn Fn(Event) + Sync),
}

impl<'a> Run<'a> {
    pub(super) fn new(
        inventory: &'a Inventory,
        cache: &'a Cache,
        options: &Options,
        tell: &'a (dyn Fn(Event) + Sync),
    ) -> Result<Self, Error> {
        cache.hold()?;
        let ca = inventory.source.ca.as_ref();
        let ca = ca.map(|path| inventory.directory.join(path));
        let downloader = Downloader {
            cache,
            http: Http::new(options.limits, ca.as_deref())?,
            limits: options.limits,
            tell,
        };
        Ok(Self {
            directory: &inventory.directory,
            cache,
            origins: Origins::new(&inventory.source, options, downloader)?,
            jobs: options.jobs.max(1),
            compress: options.compress,
            tell,
        })
    }

    /// Runs so many jobs at a time, and stops at the first that fails.
    pub(super) async fn together<T>(
        &self,
        jobs: impl Iterator<Item = impl Future<Output = Result<T, Error>>>,
    ) -> Result<Vec<T>, Error> {
        tasks::iter(jobs).buffered(self.jobs).try_collect().await
    }

    /// The pin of an artifact: the one it has, or a new one.
    pub(super) async fn resolve(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        before: Option<&Pin>,
        covered: bool,
        update: bool,
    ) -> Result<Pin, Error> {
        // A pin that lacks a member only is completed, not made again.
        let kept = before.filter(|_| !update);
        if artifact.origin == Origin::Own {
            return self.resolve_own(artifact, programs, before, update).await;
        }
        if let Some(pin) = kept {
            self.origins.policy.check_known(artifact, pin)?;
            self.origins.verify(artifact, pin).await?;
            if covered {
                return Ok(pin.clone());
            }
        }
        let members = members(artifact, programs);
        let obtained = self.origins.obtain(artifact, &members, kept).await?;
        let received = obtained.received;
        let mut pin = Pin {
            size: received.size,
            digest: received.digest,
            trust: obtained.trust,
            members: received.members,
        };
        if let Some(kept) = kept {
            check_members(artifact, kept, &pin.members)?;
            pin.members.extend(kept.members.clone());
        }
        self.check_programs(artifact, programs, &pin).await?;
        self.note(artifact, programs, &pin, &obtained.from);
        self.done(artifact);
        Ok(pin)
    }

    async fn resolve_own(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        before: Option<&Pin>,
        update: bool,
    ) -> Result<Pin, Error> {
        let path = self.directory.join(&artifact.path);
        let file = match regular_file::open(&path) {
            Ok(file) => file,
            Err(problem) => {
                // What is pinned and at hand does not need the file it came from.
                if let Some(pin) = before.filter(|_| !update)
                    && let Found::Present(_) = self.cache.find(pin.digest, false).await?
                {
                    return Ok(pin.clone());
                }
                return Err(Error::Own { path, problem });
            }
        };
        let store = move |cache: &Cache| cache.store(&mut { file });
        let PinnedProgram { digest, size } = self.cache.blocking(store).await?;
        if let Some(pinned) = before.map(|pin| pin.digest)
            && pinned != digest
            && !update
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
        self.note(artifact, programs, &pin, &artifact.path);
        Ok(pin)
    }

    /// Puts pinned programs into the cache, and what nodes take beside them.
    pub(super) async fn supply(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        lockfile: &Lockfile,
    ) -> Result<(), Error> {
        let cache = self.cache;
        let mut pinned = BTreeMap::new();
        for program in programs {
            let name = program.to_string();
            let there = lockfile.program(program);
            pinned.insert(*program, there.ok_or(Error::NotPinned { name })?);
        }
        let complete = self.has_all(&pinned).await?;
        let pin = lockfile.pin(artifact).expect("its programs are pinned");
        self.origins.policy.check_known(artifact, pin)?;
        if complete {
            (self.tell)(Event::Cached {
                name: artifact.to_string(),
                digest: pin.digest,
            });
        } else {
            self.bring(artifact, programs, pin).await?;
        }
        self.check_programs(artifact, programs, pin).await?;
        for (program, PinnedProgram { digest, .. }) in pinned {
            cache.touch(digest);
            if !self.compress {
                continue;
            }
            if !cache.has_member(digest, Encoding::Zstd) {
                let name = program.to_string();
                (self.tell)(Event::Compressing { name });
            }
            cache.member(digest, Encoding::Zstd).await?;
        }
        self.done(artifact);
        Ok(())
    }

    /// Refuses to begin what the cache's disk has no room for.
    pub(super) fn check_room(
        &self,
        artifacts: &BTreeMap<Artifact, BTreeSet<&Program>>,
        images: &BTreeSet<Image>,
        lockfile: &Lockfile,
    ) -> Result<(), Error> {
        let images = images.iter().filter_map(|image| lockfile.image(image));
        let parts: BTreeMap<_, _> = images
            .flat_map(ImagePin::parts)
            .map(|part| (part.digest, part.size))
            .collect();
        let missing = parts
            .into_iter()
            .filter(|(digest, _)| !self.cache.path(*digest).exists());
        let mut needed = missing.fold(0, |sum: u64, (_, size)| sum.saturating_add(size));
        for (artifact, programs) in artifacts {
            let mut missing = false;
            for pinned in programs
                .iter()
                .filter_map(|program| lockfile.program(program))
            {
                if !self.cache.path(pinned.digest).exists() {
                    missing = true;
                    // An archive is there as long as its programs are taken out of it.
                    needed = pinned
                        .size
                        .saturating_mul(artifact.is_archive().into())
                        .saturating_add(needed);
                }
            }
            let whole = lockfile.pin(artifact).map_or(0, |pin| pin.size);
            needed = whole.saturating_mul(missing.into()).saturating_add(needed);
        }
        Ok(self.cache.check_room(needed)?)
    }

    async fn has_all(&self, pinned: &BTreeMap<&Program, PinnedProgram>) -> Result<bool, Error> {
        let mut complete = true;
        for (program, &PinnedProgram { digest, size }) in pinned {
            match self.cache.find(digest, false).await? {
                Found::Present(found) if found != size => {
                    return Err(Error::Size {
                        name: program.to_string(),
                        pinned: size,
                        found,
                    });
                }
                Found::Present(_) => {}
                Found::Absent => complete = false,
                Found::Corrupt => {
                    let name = program.to_string();
                    (self.tell)(Event::Corrupt { name });
                    complete = false;
                }
            }
        }
        Ok(complete)
    }

    async fn bring(
        &self,
        artifact: &Artifact,
        programs: &BTreeSet<&Program>,
        pin: &Pin,
    ) -> Result<(), Error> {
        if artifact.origin == Origin::Own {
            let path = self.directory.join(&artifact.path);
            let file = regular_file::open(&path).map_err(|problem| Error::Own {
                path: path.clone(),
                problem,
            })?;
            let store = move |cache: &Cache| cache.store(&mut { file });
            let found = self.cache.blocking(store).await?.digest;
            let pinned = pin.digest;
            if found != pinned {
                return Err(Error::OwnChanged {
                    path,
                    found,
                    pinned,
                });
            }
            self.note(artifact, programs, pin, &artifact.path);
            return Ok(());
        }
        let members = members(artifact, programs);
        let obtained = self.origins.obtain(artifact, &members, Some(pin)).await?;
        check_members(artifact, pin, &obtained.received.members)?;
        self.note(artifact, programs, pin, &obtained.from);
        Ok(())
    }

    /// Notes beside programs in the cache what they are.
    fn note(&self, artifact: &Artifact, programs: &BTreeSet<&Program>, pin: &Pin, from: &str) {
        for program in programs {
            let digest = if artifact.is_archive() {
                pin.members.get(&program.name).map(|member| member.digest)
            } else {
                Some(pin.digest)
            };
            if let Some(digest) = digest {
                let about = Metadata::program(program, Some(from.to_owned()));
                self.cache.note(digest, &about);
            }
        }
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
            let start = self.cache.start(digest, elf::HEADER_BYTES).await?;
            elf::check(&start, program.arch)
                .map_err(|problem| Error::WrongProgram { name, problem })?;
        }
        Ok(())
    }

    fn done(&self, artifact: &Artifact) {
        let name = artifact.to_string();
        (self.tell)(Event::Done { name });
    }
}

/// The members that hold these programs; none if the artifact is itself the program.
fn members(artifact: &Artifact, programs: &BTreeSet<&Program>) -> Vec<Member> {
    let mut members = artifact.members();
    members.retain(|(name, _)| programs.iter().any(|program| program.name == *name));
    members
}

/// Refuses members that are not what is pinned of them.
fn check_members(
    artifact: &Artifact,
    pin: &Pin,
    found: &BTreeMap<String, PinnedProgram>,
) -> Result<(), Error> {
    for (member, found) in found {
        if let Some(pinned) = pin.members.get(member)
            && pinned != found
        {
            return Err(Error::Contradiction {
                archive: artifact.to_string(),
                member: member.clone(),
                pinned: pinned.digest,
                found: found.digest,
            });
        }
    }
    Ok(())
}
