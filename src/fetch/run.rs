//! One run of a fetch: what is done for each artifact, and how many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use fs_err as fs;
use futures_util::{StreamExt, TryStreamExt, stream as tasks};

use super::archive::{self, BadArchive};
use super::cache::{Cache, Found};
use super::download::Downloader;
use super::error::Error;
use super::event::Event;
use super::http::Http;
use super::origin::{Obtained, Origins};
use super::stream::Encoding;
use super::{Options, elf};
use crate::artifact::{Artifact, Origin, Program};
use crate::digest::Digest;
use crate::inventory::Inventory;
use crate::lockfile::{Lockfile, Pin, PinnedProgram, Trust};

/// One call of [`super::pin`] or [`super::ensure`].
pub(super) struct Run<'a> {
    directory: &'a Path,
    cache: &'a Cache,
    origins: Origins<'a>,
    jobs: usize,
    update: bool,
    tell: &'a (dyn Fn(Event) + Sync),
}

impl<'a> Run<'a> {
    pub(super) fn new(
        inventory: &'a Inventory,
        cache: &'a Cache,
        options: &Options,
        tell: &'a (dyn Fn(Event) + Sync),
    ) -> Result<Self, Error> {
        let downloader = Downloader {
            cache,
            http: Http::new(options.limits),
            limits: options.limits,
            tell,
        };
        Ok(Self {
            directory: &inventory.directory,
            cache,
            origins: Origins::new(&inventory.source, downloader)?,
            jobs: options.jobs.max(1),
            update: options.update,
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
    ) -> Result<Pin, Error> {
        if artifact.origin == Origin::Own {
            return self.resolve_own(artifact, programs, before).await;
        }
        // A pin that lacks a member only is completed, not made anew.
        let kept = before.filter(|_| !self.update);
        if let Some(pin) = kept {
            self.origins.check_known(artifact, pin.digest)?;
            if covered {
                return Ok(pin.clone());
            }
        }
        let Obtained {
            digest,
            size,
            trust,
        } = self.origins.obtain(artifact, kept).await?;
        let members = self.unpack(artifact, digest).await?;
        let pin = Pin {
            size,
            digest,
            trust,
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
                    && let Found::Present(_) = self.cache.find(pin.digest, false).await?
                {
                    return Ok(pin.clone());
                }
                return Err(Error::Own { path, problem });
            }
        };
        let store = move |cache: &Cache| cache.store(&mut { file });
        let (digest, size) = self.cache.blocking(store).await?;
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
        if complete {
            (self.tell)(Event::Cached {
                name: artifact.to_string(),
                digest: pin.digest,
            });
        } else {
            self.bring(artifact, pin).await?;
        }
        self.check_programs(artifact, programs, pin).await?;
        for (program, PinnedProgram { digest, .. }) in pinned {
            if !cache.has_member(digest, Encoding::Zstd) {
                let name = program.to_string();
                (self.tell)(Event::Compressing { name });
            }
            cache.member(digest, Encoding::Zstd).await?;
        }
        self.done(artifact);
        Ok(())
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
                    (self.tell)(Event::Corrupt { digest });
                    complete = false;
                }
            }
        }
        Ok(complete)
    }

    async fn bring(&self, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
        if artifact.origin == Origin::Own {
            let path = self.directory.join(&artifact.path);
            let file = fs::File::open(&path).map_err(|problem| Error::Own {
                path: path.clone(),
                problem,
            })?;
            let store = move |cache: &Cache| cache.store(&mut { file });
            let (found, _) = self.cache.blocking(store).await?;
            let pinned = pin.digest;
            if found == pinned {
                return Ok(());
            }
            return Err(Error::OwnChanged {
                path,
                found,
                pinned,
            });
        }
        self.origins.obtain(artifact, Some(pin)).await?;
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
        let found = self.cache.blocking(unpack).await?;
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
            let start = self.cache.blocking(start).await?;
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
