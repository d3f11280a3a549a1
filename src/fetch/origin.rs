//! Where artifacts come from: the sources of an origin in order, and what each of them publishes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::archive::Member;
use super::checksum;
use super::download::{Downloader, Received, Wanted};
use super::error::{Attempt, Error};
use super::event::Event;
use super::fault::{ExpectedBy, Fault};
use super::source::{Address, BadSource, Base};
use super::trust::Policy;
use super::{Options, elf};
use crate::artifact::{Artifact, Origin};
use crate::digest::Digest;
use crate::inventory::Source;
use crate::lockfile::{Pin, Trust};

/// The sources of an inventory.
pub(super) struct Origins<'a> {
    /// By the name of a publisher.
    mirrors: BTreeMap<&'static str, Vec<Mirror>>,
    pub(super) policy: Policy<'a>,
    /// The bundle that stands in for all of them, where there is one.
    bundle: Option<PathBuf>,
    pub(super) downloader: Downloader<'a>,
}

/// A source, and how it did in this run.
pub(super) struct Mirror {
    pub(super) base: Base,
    /// Whether its host failed the last time, and not only for want of one file.
    fails: Arc<AtomicBool>,
}

/// Hosts, and whether they fail.
pub(super) type Hosts = BTreeMap<String, Arc<AtomicBool>>;

impl Mirror {
    pub(super) fn all(texts: &[String], hosts: &mut Hosts) -> Result<Vec<Self>, BadSource> {
        let bases = Base::all(texts)?.into_iter().zip(texts);
        let new = |(base, text): (Base, &String)| {
            let host = text.split('/').nth(2).unwrap_or_default().to_owned();
            let fails = Arc::clone(hosts.entry(host).or_default());
            Self { base, fails }
        };
        Ok(bases.map(new).collect())
    }
}

/// What came into the cache.
pub(super) struct Obtained {
    pub(super) received: Received,
    /// What its checksum rests on.
    pub(super) trust: Trust,
    /// The address it came from, without credentials.
    pub(super) from: String,
}

impl<'a> Origins<'a> {
    pub(super) fn new(
        source: &'a Source,
        options: &Options,
        downloader: Downloader<'a>,
    ) -> Result<Self, BadSource> {
        let mut hosts = Hosts::new();
        let bases = source.bases.iter();
        let mirrors = bases.map(|(name, bases)| Ok((*name, Mirror::all(bases, &mut hosts)?)));
        Ok(Self {
            mirrors: mirrors.collect::<Result<_, _>>()?,
            policy: Policy::with_options(source, options),
            bundle: options.bundle.clone(),
            downloader,
        })
    }

    /// Asks sources with https for the checksum of a pin that only the lockfile says something of,
    /// where somebody asked for more than that.
    pub(super) async fn verify(&self, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
        if !self.policy.must_ask(artifact, pin) {
            return Ok(());
        }
        let (name, pinned) = (artifact.to_string(), pin.digest);
        let mut attempts = Vec::new();
        for mirror in self.in_order(artifact.origin) {
            if !mirror.base.is_protected() {
                continue;
            }
            let url = mirror.base.checksum(artifact).shown();
            match self.published(&mirror.base, artifact).await {
                Ok(published) if published == pinned => {
                    self.policy.note_published(pinned);
                    return Ok(());
                }
                Ok(published) => {
                    return Err(Error::NotPublished {
                        name,
                        pinned,
                        published,
                        url,
                    });
                }
                Err(fault) => attempts.push(Attempt { url, fault }),
            }
        }
        if attempts.is_empty() {
            return Ok(());
        }
        Err(Error::Unavailable { name, attempts })
    }

    /// Brings an artifact, or these programs of it, into the cache from the first source that has
    /// it.
    pub(super) async fn obtain(
        &self,
        artifact: &Artifact,
        members: &[Member],
        pin: Option<&Pin>,
    ) -> Result<Obtained, Error> {
        let (name, mirrors) = (artifact.to_string(), self.in_order(artifact.origin));
        let address = |base: &Base| base.file(artifact);
        let ask = async |base: &Base| self.obtain_from(base, artifact, members, pin).await;
        self.first(name, mirrors, pin.is_some(), address, ask).await
    }

    /// What the first source gives that has something.
    pub(super) async fn first<T>(
        &self,
        name: String,
        mut left: Vec<&Mirror>,
        is_pinned: bool,
        address: impl Fn(&Base) -> Address,
        ask: impl AsyncFn(&Base) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        if let Some(bundle) = &self.bundle {
            let bundle = bundle.clone();
            return Err(Error::NotInBundle { name, bundle });
        }
        let mut rounds = self.downloader.rounds(&name);
        let mut given_up = Vec::new();
        let alone = left.len() == 1;
        loop {
            let mut slow = Vec::new();
            for mirror in left {
                let fault = match ask(&mirror.base).await {
                    Ok(obtained) => return Ok(obtained),
                    Err(Fault::Here(error)) => return Err(error.into()),
                    // What is pinned is the same everywhere; what is not may be right elsewhere.
                    Err(Fault::Archive(problem)) if is_pinned || alone => {
                        return Err(Error::Archive { name, problem });
                    }
                    Err(Fault::Program { name, problem }) if alone => {
                        return Err(Error::WrongProgram { name, problem });
                    }
                    Err(fault) => fault,
                };
                let url = address(&mirror.base).shown();
                (self.downloader.tell)(Event::SourceFailed {
                    name: name.clone(),
                    url: url.clone(),
                    reason: fault.to_string(),
                });
                mirror.fails.store(fault.is_source(), Ordering::Relaxed);
                if fault.is_slow() {
                    slow.push((mirror, Attempt { url, fault }));
                } else {
                    given_up.push(Attempt { url, fault });
                }
            }
            // Who was only too slow is asked again when nobody else has it.
            if !rounds.another(&slow).await {
                given_up.extend(slow.into_iter().map(|(_, attempt)| attempt));
                let attempts = given_up;
                return Err(Error::Unavailable { name, attempts });
            }
            left = slow.into_iter().map(|(mirror, _)| mirror).collect();
        }
    }

    /// The mirrors of an origin, those last of which the last word was a failure of their own.
    fn in_order(&self, origin: Origin) -> Vec<&Mirror> {
        let mirrors = self.mirrors.get(origin.name()).into_iter();
        let mut mirrors: Vec<_> = mirrors.flatten().collect();
        mirrors.sort_by_key(|mirror| mirror.fails.load(Ordering::Relaxed));
        mirrors
    }

    async fn obtain_from(
        &self,
        base: &Base,
        artifact: &Artifact,
        members: &[Member],
        pin: Option<&Pin>,
    ) -> Result<Obtained, Fault> {
        let (expected, expected_by) = match pin {
            Some(pin) => (pin.digest, ExpectedBy::Lockfile(pin.trust)),
            None => self.first_pin(base, artifact).await?,
        };
        let trust = expected_by.trust();
        let wanted = Wanted {
            name: artifact.to_string(),
            expected,
            expected_by,
            size: pin.map(|pin| pin.size),
            members: members.to_vec(),
            pinned: pin.map(|pin| pin.members.clone()).unwrap_or_default(),
        };
        let address = base.file(artifact);
        match self.downloader.obtain(&address, &wanted).await {
            Ok(received) => {
                if pin.is_none() {
                    self.check_programs(artifact, &received).await?;
                }
                if pin.is_none() && trust == Trust::Published {
                    self.policy.note_published(received.digest);
                }
                Ok(Obtained {
                    received,
                    trust,
                    from: address.shown(),
                })
            }
            Err(Fault::Digest(mut mismatch)) if pin.is_some() => {
                // Who is wrong? The source's own checksum may tell.
                mismatch.published = self.published(base, artifact).await.ok();
                Err(Fault::Digest(mismatch))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Refuses what is right by its source's checksum and no program for the node, and forgets it.
    async fn check_programs(&self, artifact: &Artifact, received: &Received) -> Result<(), Fault> {
        let members = received.members.iter();
        let mut programs: Vec<_> = members
            .map(|(name, pinned)| (name.as_str(), pinned.digest))
            .collect();
        if !artifact.is_archive() {
            programs.push((artifact.file_name(), received.digest));
        }
        let Artifact { version, arch, .. } = artifact;
        for (name, digest) in programs {
            let start = self
                .downloader
                .cache
                .start(digest, elf::HEADER_BYTES)
                .await?;
            elf::check(&start, *arch).map_err(|problem| {
                self.downloader.cache.remove(digest);
                let name = format!("{name} {version} {arch}");
                Fault::Program { name, problem }
            })?;
        }
        Ok(())
    }

    /// The digest that an artifact must have when it is pinned for the first time, and what says
    /// so. What is built in and what is published must not contradict each other.
    async fn first_pin(
        &self,
        base: &Base,
        artifact: &Artifact,
    ) -> Result<(Digest, ExpectedBy), Fault> {
        let published = self.published(base, artifact).await;
        if let Some(known) = self.policy.known(artifact) {
            let known_by = (known, ExpectedBy::FirstPin(Trust::BuiltIn));
            return match published {
                Ok(published) if published != known => Err(Fault::Replaced { published, known }),
                // Who cannot be asked for the checksum cannot be asked for the file.
                Err(Fault::NoChecksum { fault, .. }) if fault.passes() => Err(*fault),
                // A mirror without checksums is as good as one with, where we know better.
                _ => Ok(known_by),
            };
        }
        let trust = if base.is_protected() {
            Trust::Published
        } else {
            Trust::Mirror
        };
        published.map(|digest| (digest, ExpectedBy::FirstPin(trust)))
    }

    /// The digest that a source publishes for an artifact.
    async fn published(&self, base: &Base, artifact: &Artifact) -> Result<Digest, Fault> {
        let (name, address) = (artifact.to_string(), base.checksum(artifact));
        let limit = checksum::CHECKSUM_BYTES_MAX;
        let text = self.downloader.text(&name, &address, limit).await;
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
}
