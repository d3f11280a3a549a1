//! Where artifacts come from: the sources of an origin in order, what each of them publishes, and
//! what a pin rests on.

use std::path::PathBuf;

use super::checksum;
use super::download::{Downloader, Received, Wanted};
use super::error::{Attempt, Error, ExpectedBy, Fault};
use super::event::Event;
use super::source::{Address, BadSource, Base};
use super::unpacking::Member;
use crate::artifact::{Artifact, Origin};
use crate::digest::Checksum;
use crate::inventory::Source;
use crate::lockfile::{Pin, Trust};

/// The sources of an inventory.
pub(super) struct Origins<'a> {
    kubernetes: Vec<Base>,
    etcd: Vec<Base>,
    /// Whether what is built in says nothing about them.
    rebuilt: bool,
    /// The bundle that stands in for all of them, where there is one.
    bundle: Option<PathBuf>,
    downloader: Downloader<'a>,
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
        source: &Source,
        bundle: Option<PathBuf>,
        downloader: Downloader<'a>,
    ) -> Result<Self, BadSource> {
        Ok(Self {
            kubernetes: Base::all(&source.kubernetes)?,
            etcd: Base::all(&source.etcd)?,
            rebuilt: source.rebuilt,
            bundle,
            downloader,
        })
    }

    /// Refuses a pin that is not of upstream's build.
    pub(super) fn check_known(&self, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
        let pinned = Checksum::from(pin.digest);
        match self.known(artifact) {
            Some(known) if known.is_comparable(&pinned) && known != pinned => {
                Err(Error::NotUpstreams {
                    name: artifact.to_string(),
                    pinned: pin.digest,
                    known,
                })
            }
            _ => Ok(()),
        }
    }

    /// What a pin rests on: more than when it was made, where this kinstall knows the release.
    pub(super) fn trust(&self, artifact: &Artifact, pin: &Pin) -> Trust {
        if self.known(artifact) == Some(pin.digest.into()) {
            Trust::BuiltIn
        } else {
            pin.trust
        }
    }

    /// The checksum that is built in, where it says something of these sources.
    pub(super) fn known(&self, artifact: &Artifact) -> Option<Checksum> {
        artifact.known_checksum().filter(|_| !self.rebuilt)
    }

    /// Whether the sources hold builds of their own.
    pub(super) const fn is_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// Brings an artifact, or these programs of it, into the cache from the first source that has
    /// it.
    pub(super) async fn obtain(
        &self,
        artifact: &Artifact,
        members: &[Member],
        pin: Option<&Pin>,
    ) -> Result<Obtained, Error> {
        let name = artifact.to_string();
        if let Some(bundle) = &self.bundle {
            let bundle = bundle.clone();
            return Err(Error::NotInBundle { name, bundle });
        }
        let bases = match artifact.origin {
            Origin::Etcd => &self.etcd,
            Origin::Kubernetes | Origin::Own => &self.kubernetes,
        };
        let mut attempts = Vec::new();
        for base in bases {
            match self.obtain_from(base, artifact, members, pin).await {
                Ok(obtained) => return Ok(obtained),
                Err(Fault::Here(error)) => return Err(error.into()),
                Err(Fault::Archive(problem)) => return Err(Error::Archive { name, problem }),
                Err(fault) => {
                    let url = base.file(artifact).shown();
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
        members: &[Member],
        pin: Option<&Pin>,
    ) -> Result<Obtained, Fault> {
        let expected = match pin {
            Some(pin) => self.pinned(artifact, pin),
            None => vec![self.first_pin(base, artifact).await?],
        };
        let trust = expected[0].1.trust();
        let wanted = Wanted {
            name: artifact.to_string(),
            expected,
            size: pin.map(|pin| pin.size),
            members: members.to_vec(),
            pinned: pin.map(|pin| pin.members.clone()).unwrap_or_default(),
        };
        let address = base.file(artifact);
        match self.downloader.obtain(&address, &wanted).await {
            Ok(received) => Ok(Obtained {
                received,
                trust,
                from: address.shown(),
            }),
            Err(Fault::Digest(mut mismatch)) if pin.is_some() => {
                // Who is wrong? The source's own checksum may tell.
                let published = self.published(base, artifact).await.ok();
                mismatch.published = published.filter(|it| it.is_comparable(&mismatch.expected));
                Err(Fault::Digest(mismatch))
            }
            Err(fault) => Err(fault),
        }
    }

    /// What must be true of what is pinned: the pin, and what is built in, where that is of
    /// another kind and so was not compared with the pin.
    fn pinned(&self, artifact: &Artifact, pin: &Pin) -> Vec<(Checksum, ExpectedBy)> {
        let pinned = Checksum::from(pin.digest);
        let known = self
            .known(artifact)
            .filter(|known| !known.is_comparable(&pinned));
        let known = known.map(|known| (known, ExpectedBy::FirstPin(Trust::BuiltIn)));
        let pinned = (pinned, ExpectedBy::Lockfile(pin.trust));
        [pinned].into_iter().chain(known).collect()
    }

    /// The checksum that an artifact must have when it is pinned for the first time, and what says
    /// so. What is built in and what is published must not contradict each other.
    async fn first_pin(
        &self,
        base: &Base,
        artifact: &Artifact,
    ) -> Result<(Checksum, ExpectedBy), Fault> {
        let published = self.published(base, artifact).await;
        if let Some(known) = self.known(artifact) {
            let known_by = (known, ExpectedBy::FirstPin(Trust::BuiltIn));
            return match published {
                Ok(published) if published.is_comparable(&known) && published != known => {
                    Err(Fault::Replaced { published, known })
                }
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
        published.map(|checksum| (checksum, ExpectedBy::FirstPin(trust)))
    }

    /// The checksum that a source publishes for an artifact, from the first place that has it.
    async fn published(&self, base: &Base, artifact: &Artifact) -> Result<Checksum, Fault> {
        let mut missing = None;
        for address in base.checksums(artifact) {
            match self.published_at(&address, artifact).await {
                Err(fault) if fault.is_missing_checksum() => {
                    missing.get_or_insert(fault);
                }
                found => return found,
            }
        }
        Err(missing.expect("what is downloaded has a place for its checksum"))
    }

    async fn published_at(
        &self,
        address: &Address,
        artifact: &Artifact,
    ) -> Result<Checksum, Fault> {
        let name = artifact.to_string();
        let text = self.downloader.text(&name, address).await;
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
