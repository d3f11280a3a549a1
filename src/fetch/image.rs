//! Brings images onto the operator's machine, part by part, by the distribution API of the Open Container Initiative:
//! `GET /v2/<name>/manifests/<tag or digest>` and `GET /v2/<name>/blobs/<digest>`. A directory that is laid out so will
//! do as well.
//!
//! What a tag leads to is hashed, and everything else asked for by its digest. So a pin is of bytes, whoever keeps
//! them.

use super::cache::{Found, Metadata};
use super::download::Wanted;
use super::error::{Attempt, Error};
use super::event::Event;
use super::fault::{ExpectedBy, Fault, Mismatch};
use super::http::is_here;
use super::oci::{self, BadImage, Document, Parts};
use super::origin::{Hosts, Mirror, Origins};
use super::run::Run;
use super::source::Base;
use super::stream::Encoding;
use crate::digest::Digest;
use crate::image::{Image, Reference};
use crate::inventory::Source;
use crate::lockfile::{ImagePin, PinnedProgram, Trust};

/// Where `docker.io` answers.
const DOCKER: &str = "registry-1.docker.io";

/// The base URLs of an image, in the order in which they are tried: those that `[source]` names for its registry, else
/// the registry itself. One on this machine is asked without TLS, as everyone does.
pub(super) fn bases(source: &Source, image: &Reference) -> Vec<String> {
    let registry = image.registry.as_str();
    if let Some(said) = source.registries.get(registry) {
        return said.clone();
    }
    let host = match registry {
        "docker.io" => DOCKER,
        registry => registry,
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let scheme = if is_here(name) { "http" } else { "https" };
    vec![format!("{scheme}://{host}")]
}

impl Run<'_> {
    /// The pin of an image: the one it has, or a new one.
    pub(super) async fn resolve_image(
        &self,
        image: &Image,
        before: Option<&ImagePin>,
        update: bool,
    ) -> Result<ImagePin, Error> {
        if let Some(pin) = before.filter(|_| !update) {
            self.origins.verify_image(image, pin).await?;
            return Ok(pin.clone());
        }
        let (pin, from) = self.origins.pull(image, None).await?;
        self.note_image(image, &pin, &from);
        let name = image.to_string();
        (self.tell)(Event::Done { name });
        Ok(pin)
    }

    /// Puts a pinned image into the cache, and what nodes take beside it.
    pub(super) async fn supply_image(&self, image: &Image, pin: &ImagePin) -> Result<(), Error> {
        let name = image.to_string();
        let mut complete = true;
        for part in pin.parts() {
            match self.cache.find(part.digest, false).await? {
                Found::Present(found) if found != part.size => {
                    let pinned = part.size;
                    return Err(Error::Size {
                        name,
                        pinned,
                        found,
                    });
                }
                Found::Present(_) => {}
                Found::Absent => complete = false,
                Found::Corrupt => {
                    let name = name.clone();
                    (self.tell)(Event::Corrupt { name });
                    complete = false;
                }
            }
        }
        if complete {
            let (name, digest) = (name.clone(), pin.named);
            (self.tell)(Event::Cached { name, digest });
        } else {
            let (_, from) = self.origins.pull(image, Some(pin)).await?;
            self.note_image(image, pin, &from);
        }
        self.check_parts(image, pin).await?;
        for part in pin.parts() {
            self.cache.touch(part.digest);
            if self.compress {
                self.cache.member(part.digest, Encoding::Zstd).await?;
            }
        }
        (self.tell)(Event::Done { name });
        Ok(())
    }

    /// Refuses a pin whose manifest names other parts than are pinned.
    async fn check_parts(&self, image: &Image, pin: &ImagePin) -> Result<(), Error> {
        let start = self
            .cache
            .start(pin.manifest.digest, oci::DOCUMENT_BYTES_MAX);
        match oci::read(&start.await?, image.arch) {
            Ok(Document::Manifest(parts)) if parts.are_those_of(pin) => Ok(()),
            _ => Err(Error::OtherParts {
                name: image.to_string(),
            }),
        }
    }

    fn note_image(&self, image: &Image, pin: &ImagePin, from: &str) {
        let about = Metadata::image(image, Some(from.to_owned()));
        for part in pin.parts() {
            self.cache.note(part.digest, &about);
        }
    }
}

impl Origins<'_> {
    /// Brings an image into the cache from the first source that has it; its pin, and the address it
    /// came from.
    async fn pull(
        &self,
        image: &Image,
        pin: Option<&ImagePin>,
    ) -> Result<(ImagePin, String), Error> {
        let bases = bases(self.policy.source(), &image.reference);
        let mirrors = Mirror::all(&bases, &mut Hosts::new())?;
        for mirror in &mirrors {
            mirror.base.check_registry()?;
        }
        let mirrors = mirrors.iter().collect();
        let asked = image.reference.asked();
        let address = |base: &Base| base.part(&image.reference, "manifests", &asked);
        let ask = async |base: &Base| {
            let pin = match pin {
                Some(pin) => self.bring(base, image, pin).await?,
                None => self.pin_image(base, image).await?,
            };
            Ok((pin, address(base).shown()))
        };
        self.first(image.to_string(), mirrors, pin.is_some(), &address, ask)
            .await
    }

    /// Asks sources with https for what is pinned of an image, where somebody asked for more than the
    /// lockfile's word that it was published.
    async fn verify_image(&self, image: &Image, pin: &ImagePin) -> Result<(), Error> {
        if !self.policy.must_ask_image(image, pin) {
            return Ok(());
        }
        let asked = format!("sha256:{}", pin.named);
        let mut attempts = Vec::new();
        for base in Base::all(&bases(self.policy.source(), &image.reference))? {
            base.check_registry()?;
            if !base.is_protected() {
                continue;
            }
            let found = self.document(&base, image, &asked).await;
            match found.and_then(|found| check_pinned(&found, image, pin)) {
                Ok(()) => {
                    self.policy.note_published(pin.named);
                    return Ok(());
                }
                Err(fault) => {
                    let url = base.part(&image.reference, "manifests", &asked).shown();
                    attempts.push(Attempt { url, fault });
                }
            }
        }
        let name = image.to_string();
        Err(Error::Unavailable { name, attempts })
    }

    /// Brings what is pinned.
    async fn bring(&self, base: &Base, image: &Image, pin: &ImagePin) -> Result<ImagePin, Fault> {
        let by = ExpectedBy::Lockfile(pin.trust);
        self.part(base, image, "manifests", pin.manifest, by)
            .await?;
        for blob in &pin.blobs {
            self.part(base, image, "blobs", *blob, by).await?;
        }
        Ok(pin.clone())
    }

    /// Pins what a source has, and brings it.
    async fn pin_image(&self, base: &Base, image: &Image) -> Result<ImagePin, Fault> {
        let reference = &image.reference;
        let first = self.document(base, image, &reference.asked()).await?;
        let named = Digest::of(&first);
        let known = reference.known_digest();
        // A registry of the user's may hold a copy for one architecture, or one of their own; that is no
        // more than a mirror's word.
        let is_copy = self
            .policy
            .source()
            .registries
            .contains_key(&reference.registry);
        if let Some(known) = known.filter(|_| !is_copy) {
            check(&first, known, ExpectedBy::FirstPin(Trust::BuiltIn))?;
        }
        let trust = if known == Some(named) {
            Trust::BuiltIn
        } else if base.is_protected() {
            Trust::Published
        } else {
            Trust::Mirror
        };
        let by = ExpectedBy::Name(trust);
        if let Some(expected) = reference.digest {
            check(&first, expected, by)?;
        }
        let (manifest, parts) = match oci::read(&first, image.arch)? {
            Document::Manifest(parts) => (first, parts),
            Document::Chosen(chosen) => {
                let asked = format!("sha256:{}", chosen.digest);
                let manifest = self.document(base, image, &asked).await?;
                check(&manifest, chosen.digest, by)?;
                let Document::Manifest(parts) = oci::read(&manifest, image.arch)? else {
                    return Err(BadImage::Nested.into());
                };
                (manifest, parts)
            }
        };
        let Parts {
            format,
            config,
            layers,
        } = parts;
        self.part(base, image, "blobs", config, by).await?;
        let cache = self.downloader.cache;
        let text = cache.start(config.digest, oci::DOCUMENT_BYTES_MAX).await?;
        oci::check_config(&text, image.arch)?;
        for layer in &layers {
            self.part(base, image, "blobs", *layer, by).await?;
        }
        let store = move |cache: &super::Cache| cache.store(&mut &*manifest);
        let manifest = cache.blocking(store).await?;
        if trust == Trust::Published {
            self.policy.note_published(named);
        }
        let mut blobs = vec![config];
        blobs.extend(layers);
        Ok(ImagePin {
            named,
            trust,
            format,
            manifest,
            blobs,
        })
    }

    async fn part(
        &self,
        base: &Base,
        image: &Image,
        kind: &str,
        part: PinnedProgram,
        expected_by: ExpectedBy,
    ) -> Result<(), Fault> {
        let wanted = Wanted {
            name: image.to_string(),
            expected: part.digest,
            expected_by,
            size: Some(part.size),
            members: Vec::new(),
            pinned: std::collections::BTreeMap::new(),
        };
        let asked = format!("sha256:{}", part.digest);
        let address = base.part(&image.reference, kind, &asked);
        let obtained = self.downloader.obtain(&address, &wanted).await;
        obtained.map(drop).map_err(|fault| missing(fault, &asked))
    }

    /// A manifest or an index.
    async fn document(&self, base: &Base, image: &Image, asked: &str) -> Result<Vec<u8>, Fault> {
        let address = base.part(&image.reference, "manifests", asked);
        let (name, limit) = (image.to_string(), oci::DOCUMENT_BYTES_MAX);
        let text = self.downloader.text(&name, &address, limit).await;
        let text = text.map_err(|fault| missing(fault, asked))?;
        if text.len() > limit {
            let limit = limit as u64;
            return Err(Fault::TooLong { limit });
        }
        Ok(text)
    }
}

fn missing(fault: Fault, asked: &str) -> Fault {
    if !fault.is_missing() {
        return fault;
    }
    Fault::NoImage {
        asked: asked.to_owned(),
        fault: Box::new(fault),
    }
}

/// Refuses a document that is not what is pinned, or leads to another manifest than is pinned.
fn check_pinned(text: &[u8], image: &Image, pin: &ImagePin) -> Result<(), Fault> {
    let by = ExpectedBy::Lockfile(pin.trust);
    check(text, pin.named, by)?;
    let (found, size) = match oci::read(text, image.arch)? {
        Document::Manifest(_) => (pin.named, text.len() as u64),
        Document::Chosen(chosen) => (chosen.digest, chosen.size),
    };
    if found == pin.manifest.digest {
        return Ok(());
    }
    Err(Fault::Digest(Box::new(Mismatch {
        found,
        size,
        expected: pin.manifest.digest,
        expected_by: by,
        published: None,
    })))
}

/// Refuses another document than was asked for.
fn check(text: &[u8], expected: Digest, expected_by: ExpectedBy) -> Result<(), Fault> {
    let found = Digest::of(text);
    if found == expected {
        return Ok(());
    }
    Err(Fault::Digest(Box::new(Mismatch {
        found,
        size: text.len() as u64,
        expected,
        expected_by,
        published: None,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::lockfile::ImageFormat;

    #[test]
    fn an_index_must_lead_to_the_manifest_that_is_pinned() {
        let image = Image {
            reference: "registry.home/app:1".parse().unwrap(),
            arch: Arch::Amd64,
        };
        let part = |text: &[u8]| PinnedProgram {
            digest: Digest::of(text),
            size: text.len() as u64,
        };
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", Digest::of(b"ours")),
            "size": 4,
            "platform": { "os": "linux", "architecture": "amd64" },
        }]});
        let index = index.to_string().into_bytes();
        let check = |manifest: &[u8]| {
            let pin = ImagePin {
                named: Digest::of(&index),
                trust: Trust::Published,
                format: ImageFormat::Oci,
                manifest: part(manifest),
                blobs: Vec::new(),
            };
            check_pinned(&index, &image, &pin)
        };
        check(b"ours").unwrap();
        let Err(Fault::Digest(mismatch)) = check(b"evil") else {
            panic!("another manifest was taken");
        };
        assert_eq!(mismatch.found, Digest::of(b"ours"));
        assert_eq!(mismatch.expected, Digest::of(b"evil"));
    }
}
