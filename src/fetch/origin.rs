//! Where artifacts come from: the sources of an origin in order, what each of them publishes, and
//! what a pin rests on.

use super::checksum;
use super::download::{Downloader, Wanted};
use super::error::{Attempt, Error, ExpectedBy, Fault};
use super::event::Event;
use super::source::{BadSource, Base};
use crate::artifact::{Artifact, Origin};
use crate::digest::Digest;
use crate::inventory::Source;
use crate::lockfile::{Pin, Trust};

/// The sources of an inventory.
pub(super) struct Origins<'a> {
    kubernetes: Vec<Base>,
    etcd: Vec<Base>,
    /// Whether what is built in says nothing about them.
    rebuilt: bool,
    downloader: Downloader<'a>,
}

/// What came into the cache.
pub(super) struct Obtained {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// What the digest was compared with.
    pub(super) trust: Trust,
}

impl<'a> Origins<'a> {
    pub(super) fn new(source: &Source, downloader: Downloader<'a>) -> Result<Self, BadSource> {
        Ok(Self {
            kubernetes: Base::all(&source.kubernetes)?,
            etcd: Base::all(&source.etcd)?,
            rebuilt: source.rebuilt,
            downloader,
        })
    }

    /// Refuses a pin that is not of upstream's build.
    pub(super) fn check_known(&self, artifact: &Artifact, pinned: Digest) -> Result<(), Error> {
        match self.known(artifact) {
            Some(known) if known != pinned => Err(Error::NotUpstreams {
                name: artifact.to_string(),
                pinned,
                known,
            }),
            _ => Ok(()),
        }
    }

    fn known(&self, artifact: &Artifact) -> Option<Digest> {
        artifact.known_digest().filter(|_| !self.rebuilt)
    }

    /// Brings an artifact into the cache from the first source that has it.
    pub(super) async fn obtain(
        &self,
        artifact: &Artifact,
        pin: Option<&Pin>,
    ) -> Result<Obtained, Error> {
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
    ) -> Result<Obtained, Fault> {
        let (digest, expected_by) = if let Some(pin) = pin {
            (pin.digest, ExpectedBy::Lockfile(pin.trust))
        } else {
            let (digest, trust) = self.first_pin(base, artifact).await?;
            (digest, ExpectedBy::FirstPin(trust))
        };
        let wanted = Wanted {
            name: artifact.to_string(),
            digest,
            size: pin.map(|pin| pin.size),
            expected_by,
        };
        let address = base.at(&artifact.path);
        match self.downloader.obtain(&address, &wanted).await {
            Ok(size) => Ok(Obtained {
                digest,
                size,
                trust: expected_by.trust(),
            }),
            Err(Fault::Digest(mut mismatch)) if pin.is_some() => {
                // Who is wrong? The source's own checksum may tell.
                mismatch.published = self.published(base, artifact).await.ok();
                Err(Fault::Digest(mismatch))
            }
            Err(fault) => Err(fault),
        }
    }

    /// The digest that an artifact must have when it is pinned for the first time, and what says
    /// so. What is built in and what is published must not contradict each other.
    async fn first_pin(&self, base: &Base, artifact: &Artifact) -> Result<(Digest, Trust), Fault> {
        let published = self.published(base, artifact).await;
        if let Some(known) = self.known(artifact) {
            return match published {
                Ok(published) if published != known => Err(Fault::Replaced { published, known }),
                // Who cannot be asked for the checksum cannot be asked for the file.
                Err(Fault::NoChecksum { fault, .. }) if fault.passes() => Err(*fault),
                // A mirror without checksums is as good as one with, where we know better.
                _ => Ok((known, Trust::BuiltIn)),
            };
        }
        let trust = if base.is_protected() {
            Trust::Published
        } else {
            Trust::Mirror
        };
        published.map(|digest| (digest, trust))
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
}
