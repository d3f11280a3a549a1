//! What a pin rests on, whatever the lockfile says of it, and whether that is enough.
//!
//! A lockfile comes with an inventory, perhaps from somebody else. Its digests can only make a fetch
//! stricter; its words would make it look better than it is.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::Error;
use super::{Options, Update};
use crate::artifact::{Artifact, Origin};
use crate::digest::Digest;
use crate::image::Image;
use crate::inventory::{Requirement, Source};
use crate::lockfile::{ImagePin, Lockfile, Pin, Trust};

/// What decides.
pub(super) struct Policy<'a> {
    source: &'a Source,
    /// What a pin must at least rest on; a build of the user's own passes.
    required: Option<Trust>,
    /// Whether the lockfile's word that something was published is not enough.
    strict: bool,
    /// Whether no source can be asked.
    offline: bool,
    /// What a source published to this run, over https.
    published: Mutex<BTreeSet<Digest>>,
}

impl<'a> Policy<'a> {
    /// What an inventory requires: `[source] require`.
    pub(super) fn new(source: &'a Source) -> Self {
        let required = source.require.map(|require| match require {
            Requirement::BuiltIn => Trust::BuiltIn,
            Requirement::Published => Trust::Published,
        });
        Self {
            source,
            required,
            strict: false,
            offline: false,
            published: Mutex::default(),
        }
    }

    /// The stricter of what an inventory and the options require.
    pub(super) fn with_options(source: &'a Source, options: &Options) -> Self {
        let policy = Self::new(source);
        Self {
            required: policy.required.into_iter().chain(options.require).min(),
            strict: options.require.is_some(),
            offline: options.bundle.is_some(),
            ..policy
        }
    }

    /// The sources of the inventory.
    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    /// The digest that is built in, where it says something of these sources.
    pub(super) fn known(&self, artifact: &Artifact) -> Option<Digest> {
        artifact.known_digest().filter(|_| !self.source.rebuilt)
    }

    /// Refuses a pin that is not of upstream's build.
    pub(super) fn check_known(&self, artifact: &Artifact, pin: &Pin) -> Result<(), Error> {
        match self.known(artifact) {
            Some(known) if known != pin.digest => Err(Error::NotUpstreams {
                name: artifact.to_string(),
                pinned: pin.digest,
                known,
            }),
            _ => Ok(()),
        }
    }

    /// What a pin rests on, as far as this kinstall can tell by itself.
    pub(super) fn trust(&self, artifact: &Artifact, pin: &Pin) -> Trust {
        if artifact.origin == Origin::Own {
            return Trust::Yours;
        }
        let claims_published = pin.trust == Trust::Published && self.has_https(artifact.origin);
        match pin.trust {
            _ if self.known(artifact) == Some(pin.digest) => Trust::BuiltIn,
            Trust::Mirror | Trust::Bundle => pin.trust,
            _ if self.published().contains(&pin.digest) => Trust::Published,
            _ if claims_published && !self.strict => Trust::Published,
            // A digest that another kinstall knows, https that is nowhere, a build of the user's own
            // that the inventory does not name.
            _ => Trust::Claimed,
        }
    }

    /// The same of a pin of an image.
    pub(super) fn image_trust(&self, image: &Image, pin: &ImagePin) -> Trust {
        match pin.trust {
            _ if image.reference.known_digest() == Some(pin.named) => Trust::BuiltIn,
            Trust::Mirror | Trust::Bundle => pin.trust,
            _ if self.published().contains(&pin.named) => Trust::Published,
            Trust::Published if !self.strict && self.has_registry(image) => Trust::Published,
            _ => Trust::Claimed,
        }
    }

    /// Whether a registry is to be asked for what is pinned of an image.
    pub(super) fn must_ask_image(&self, image: &Image, pin: &ImagePin) -> bool {
        let may_ask = !self.offline && self.has_registry(image);
        self.strict && pin.trust == Trust::Published && may_ask
    }

    /// Whether an image can come over https.
    fn has_registry(&self, image: &Image) -> bool {
        let bases = super::image::bases(self.source, &image.reference);
        bases.iter().any(|base| is_https(base))
    }

    /// Notes what a source published over https.
    pub(super) fn note_published(&self, digest: Digest) {
        self.published().insert(digest);
    }

    /// Whether sources are to be asked for the checksum of a pin: the lockfile says that it was
    /// published, and that is not enough.
    pub(super) fn must_ask(&self, artifact: &Artifact, pin: &Pin) -> bool {
        let settled = self.trust(artifact, pin) <= Trust::Published;
        self.strict && !settled && self.may_be_published(artifact, pin)
    }

    /// Refuses what is known beforehand to rest on too little.
    pub(super) fn check_before<'b>(
        &self,
        artifacts: impl Iterator<Item = &'b Artifact>,
        images: impl Iterator<Item = &'b Image>,
        lockfile: &Lockfile,
        update: &Update,
    ) -> Result<(), Error> {
        let is_weak = |artifact: &&Artifact| {
            if artifact.origin == Origin::Own || self.known(artifact).is_some() {
                return false;
            }
            match lockfile.pin(artifact) {
                Some(pin) if *update == Update::Nothing => {
                    let published = self.required == Some(Trust::Published)
                        && self.may_be_published(artifact, pin);
                    !published && !self.is_enough(self.trust(artifact, pin))
                }
                _ => self.required == Some(Trust::BuiltIn),
            }
        };
        let is_weak_image = |image: &&Image| match lockfile.image(image) {
            Some(pin) if *update == Update::Nothing => {
                let published = self.required == Some(Trust::Published)
                    && (self.must_ask_image(image, pin)
                        || self.image_trust(image, pin) <= Trust::Published);
                !published && !self.is_enough(self.image_trust(image, pin))
            }
            _ => self.required == Some(Trust::BuiltIn) && image.reference.known_digest().is_none(),
        };
        let weak = artifacts.filter(is_weak);
        let images = images.filter(is_weak_image);
        self.refuse(
            weak.map(|artifact| (artifact, lockfile.pin(artifact))),
            images.map(|image| (image, lockfile.image(image))),
        )
    }

    /// Refuses pins that rest on too little.
    pub(super) fn check<'b>(
        &self,
        pins: impl Iterator<Item = (&'b Artifact, &'b Pin)>,
        images: impl Iterator<Item = (&'b Image, &'b ImagePin)>,
    ) -> Result<(), Error> {
        let weak = pins.filter(|(artifact, pin)| !self.is_enough(self.trust(artifact, pin)));
        let images = images.filter(|(image, pin)| !self.is_enough(self.image_trust(image, pin)));
        self.refuse(
            weak.map(|(artifact, pin)| (artifact, Some(pin))),
            images.map(|(image, pin)| (image, Some(pin))),
        )
    }

    fn refuse<'b>(
        &self,
        weak: impl Iterator<Item = (&'b Artifact, Option<&'b Pin>)>,
        images: impl Iterator<Item = (&'b Image, Option<&'b ImagePin>)>,
    ) -> Result<(), Error> {
        let told = |(artifact, pin): (&Artifact, Option<&Pin>)| {
            let trust = pin.map(|pin| self.trust(artifact, pin));
            (artifact.to_string(), trust)
        };
        let told_image = |(image, pin): (&Image, Option<&ImagePin>)| {
            let trust = pin.map(|pin| self.image_trust(image, pin));
            (image.to_string(), trust)
        };
        let weak: Vec<_> = weak.map(told).chain(images.map(told_image)).collect();
        match self.required {
            Some(required) if !weak.is_empty() => Err(Error::Weak {
                required,
                weak,
                rebuilt: self.source.rebuilt,
            }),
            _ => Ok(()),
        }
    }

    /// The user vouches for a build of their own.
    fn is_enough(&self, trust: Trust) -> bool {
        self.required
            .is_none_or(|required| trust <= required || trust == Trust::Yours)
    }

    /// Whether a pin may rest on what a source publishes over https, once that was asked.
    fn may_be_published(&self, artifact: &Artifact, pin: &Pin) -> bool {
        let can_ask = !self.offline && self.has_https(artifact.origin);
        self.trust(artifact, pin) <= Trust::Published || pin.trust <= Trust::Published && can_ask
    }

    /// Whether any source of an origin can publish a checksum over https.
    fn has_https(&self, origin: Origin) -> bool {
        let Origin::Upstream(publisher) = origin else {
            return false;
        };
        let mut bases = self.source.of(publisher).iter();
        bases.any(|base| is_https(base))
    }

    fn published(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        let locked = self.published.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_https(base: &str) -> bool {
    base.trim_start().to_ascii_lowercase().starts_with("https:")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::arch::Arch;
    use crate::artifact::Program;

    fn program(version: &str) -> Program {
        Program {
            name: "kubectl".to_owned(),
            version: version.parse().unwrap(),
            arch: Arch::Arm64,
            own: None,
        }
    }

    #[track_caller]
    fn check(base: &str, says: Trust, expected: Trust) {
        let artifact = program("1.99.3").artifact().unwrap();
        let source = Source {
            bases: [("kubernetes", vec![base.to_owned()])].into(),
            ..Source::default()
        };
        let pin = Pin {
            size: 1,
            digest: Digest::of(b"evil"),
            trust: says,
            members: BTreeMap::new(),
        };
        let found = Policy::new(&source).trust(&artifact, &pin);
        assert_eq!(found, expected, "{base} {says}");
    }

    #[test]
    fn a_word_holds_only_where_it_can() {
        for base in ["http://mirror.home", "file:///srv", "https://mirror.home"] {
            check(base, Trust::BuiltIn, Trust::Claimed);
            check(base, Trust::Yours, Trust::Claimed);
            check(base, Trust::Mirror, Trust::Mirror);
            check(base, Trust::Bundle, Trust::Bundle);
        }
        check("http://mirror.home", Trust::Published, Trust::Claimed);
        check("HTTPS://mirror.home", Trust::Published, Trust::Published);
    }

    #[test]
    fn what_is_built_in_and_what_is_the_users_own_need_no_word() {
        let of = |program: Program| {
            let artifact = program.artifact().unwrap();
            let known = artifact.known_digest();
            let pin = Pin {
                size: 1,
                digest: known.unwrap_or(Digest::of(b"mine")),
                trust: Trust::Mirror,
                members: BTreeMap::new(),
            };
            Policy::new(&Source::default()).trust(&artifact, &pin)
        };
        assert_eq!(of(program("1.32.3")), Trust::BuiltIn);
        let own = Program {
            own: Some("build/kubectl".to_owned()),
            ..program("1.32.3")
        };
        assert_eq!(of(own), Trust::Yours);
    }

    #[test]
    fn an_image_that_kinstall_chooses_is_built_in_where_it_is_the_one_that_it_knows() {
        use crate::lockfile::{ImageFormat, PinnedProgram};
        let image = |name: &str| Image {
            reference: name.parse().unwrap(),
            arch: Arch::Arm64,
        };
        let (pause, own) = (image("registry.k8s.io/pause:3.10"), image("nginx:1.27"));
        let pin = |named: Digest| ImagePin {
            named,
            trust: Trust::Mirror,
            format: ImageFormat::Oci,
            manifest: PinnedProgram {
                digest: named,
                size: 1,
            },
            blobs: Vec::new(),
        };
        let source = Source {
            require: Some(Requirement::BuiltIn),
            ..Source::default()
        };
        let policy = Policy::new(&source);
        let none = Lockfile::default();
        let before = |images: &[&Image], lockfile: &Lockfile| {
            let images = images.iter().copied();
            policy.check_before(std::iter::empty(), images, lockfile, &Update::Nothing)
        };
        before(&[&pause], &none).unwrap();
        let why = before(&[&pause, &own], &none).unwrap_err().to_string();
        assert!(why.contains("nginx") && !why.contains("pause"), "{why}");

        let known = pin(pause.reference.known_digest().unwrap());
        assert_eq!(policy.image_trust(&pause, &known), Trust::BuiltIn);
        let another = pin(Digest::of(b"another"));
        assert_eq!(policy.image_trust(&pause, &another), Trust::Mirror);
        let after = |pin: &ImagePin| policy.check(std::iter::empty(), [(&pause, pin)].into_iter());
        after(&known).unwrap();
        after(&another).unwrap_err();
    }
}
