//! `kinstall.lock`: the size and SHA-256 of everything that was ever downloaded for an inventory.
//!
//! Text that is meant to be committed and read in a diff: one block an artifact, in a stable
//! order, without the name of a host. Reading and writing the file is [`crate::fetch`]'s part.

mod earlier;
mod image;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::artifact::{Artifact, Needs, Program};
use crate::digest::Digest;
use crate::image::Image;
pub use image::{ImageFormat, ImagePin};
pub use text::Malformed;
pub(crate) use text::{BYTES_MAX, is_name};

/// Nothing that is pinned, fetched or taken out of an archive is longer, in bytes: the largest
/// program of Kubernetes has about 130 MB.
pub const ARTIFACT_BYTES_MAX: u64 = 1 << 30;

/// What is pinned of a program: enough to plan with, without having it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedProgram {
    /// The SHA-256 of the program itself, not of an archive it came in.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What the first pin of an artifact was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// The digest that ships inside kinstall.
    BuiltIn,
    /// The checksum that upstream, or a mirror, publishes over HTTPS.
    Published,
    /// A checksum that came the same unprotected way as the file: over HTTP or from a directory.
    Mirror,
    /// The manifest of the bundle it came in.
    Bundle,
    /// Nothing but the lockfile's word, which this kinstall cannot check. No pin is made so.
    Claimed,
    /// Nothing: the user's own build, taken as it was.
    Yours,
}

impl Trust {
    /// All that a pin can be made with, the best first.
    pub const ALL: [Self; 5] = [
        Self::BuiltIn,
        Self::Published,
        Self::Mirror,
        Self::Bundle,
        Self::Yours,
    ];

    /// The word in a lockfile and in `--json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Published => "published",
            Self::Mirror => "mirror",
            Self::Bundle => "bundle",
            Self::Claimed => "claimed",
            Self::Yours => "yours",
        }
    }

    /// What it means, to be read after "checked against" or "rests on".
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::BuiltIn => "the digest built into kinstall",
            Self::Published => "the checksum published over https",
            Self::Mirror => "a checksum from the mirror itself, without https",
            Self::Bundle => "the manifest of the bundle it came in",
            Self::Claimed => "the word of `kinstall.lock`, which cannot be checked here",
            Self::Yours => "nothing but your own build",
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is pinned of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The size in bytes of the artifact, the archive if it is one.
    pub size: u64,
    /// The SHA-256 of the artifact, the archive if it is one.
    pub digest: Digest,
    /// What the pin rests on.
    pub trust: Trust,
    /// The programs in it, by name; empty if it is itself the program.
    pub members: BTreeMap<String, PinnedProgram>,
}

/// The pins of an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockfile {
    pins: BTreeMap<Artifact, Pin>,
    images: BTreeMap<Image, ImagePin>,
}

impl Lockfile {
    /// Reads what [`Lockfile::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        text::parse(text)
    }

    /// The file's text: the same for the same pins.
    pub fn to_text(&self) -> String {
        text::print(self)
    }

    /// What is pinned of a program.
    pub fn program(&self, program: &Program) -> Option<PinnedProgram> {
        self.artifact(program).map(|(_, pinned)| pinned)
    }

    /// The artifact that a program is pinned as, or in; and what is pinned of the program.
    pub fn artifact(&self, program: &Program) -> Option<(Artifact, PinnedProgram)> {
        let artifact = program.artifact().ok()?;
        let pin = self.pins.get(&artifact)?;
        let pinned = if artifact.is_archive() {
            *pin.members.get(&program.name)?
        } else {
            let Pin { digest, size, .. } = *pin;
            PinnedProgram { digest, size }
        };
        Some((artifact, pinned))
    }

    /// What is pinned of an artifact.
    pub fn pin(&self, artifact: &Artifact) -> Option<&Pin> {
        self.pins.get(artifact)
    }

    /// All pins, in the order of the file.
    pub fn pins(&self) -> impl Iterator<Item = (&Artifact, &Pin)> {
        self.pins.iter()
    }

    /// Pins an artifact, and gives back what was pinned of it before.
    pub fn insert(&mut self, artifact: Artifact, pin: Pin) -> Option<Pin> {
        self.pins.insert(artifact, pin)
    }

    /// Whatever is not pinned of what is needed, by name.
    pub fn lacks(&self, needs: &Needs) -> Vec<String> {
        let programs = needs.programs.iter();
        let programs = programs.filter(|program| self.program(program).is_none());
        let images = needs.images.iter();
        let images = images.filter(|image| self.image(image).is_none());
        let programs = programs.map(ToString::to_string);
        programs.chain(images.map(ToString::to_string)).collect()
    }

    /// Supposes a pin for whatever has none, so that what it would be part of can be shown without
    /// having it. Such a lockfile is never written.
    pub fn suppose(&mut self, needs: &Needs) {
        let pinned = |name: String| PinnedProgram {
            digest: Digest::of(name.as_bytes()),
            size: name.len() as u64,
        };
        for program in &needs.programs {
            if self.program(program).is_none() {
                self.suppose_program(program, pinned(program.to_string()));
            }
        }
        for image in &needs.images {
            let manifest = pinned(image.to_string());
            self.images.entry(image.clone()).or_insert(ImagePin {
                named: manifest.digest,
                trust: Trust::Claimed,
                format: ImageFormat::Oci,
                manifest,
                blobs: Vec::new(),
            });
        }
    }

    fn suppose_program(&mut self, program: &Program, pinned: PinnedProgram) {
        let Ok(artifact) = program.artifact() else {
            return;
        };
        let is_archive = artifact.is_archive();
        let pin = self.pins.entry(artifact).or_insert(Pin {
            size: pinned.size,
            digest: pinned.digest,
            trust: Trust::Yours,
            members: BTreeMap::new(),
        });
        if is_archive {
            pin.members.entry(program.name.clone()).or_insert(pinned);
        }
    }

    /// What is pinned of an image.
    pub fn image(&self, image: &Image) -> Option<&ImagePin> {
        self.images.get(image)
    }

    /// Pins an image, and gives back what was pinned of it before.
    pub fn insert_image(&mut self, image: Image, pin: ImagePin) -> Option<ImagePin> {
        self.images.insert(image, pin)
    }

    /// Forgets the pins of everything but these artifacts and images.
    pub fn retain(&mut self, artifacts: &BTreeSet<Artifact>, images: &BTreeSet<Image>) {
        self.pins.retain(|artifact, _| artifacts.contains(artifact));
        self.images.retain(|image, _| images.contains(image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::artifact::Origin;
    use crate::version::Version;
    use proptest::prelude::*;

    fn artifacts() -> impl Strategy<Value = Artifact> {
        let origin = prop::sample::select(Origin::all().collect::<Vec<_>>());
        let arch = prop::sample::select(Arch::ALL.to_vec());
        let version = (0..9_u64, 0..40_u64, 0..30_u64).prop_map(|(a, b, c)| Version::new(a, b, c));
        (
            origin,
            version,
            arch,
            "[a-z][a-z0-9._+-]{0,9}(/[a-z]{1,5}){0,3}",
        )
            .prop_map(|(origin, version, arch, path)| Artifact {
                origin,
                version,
                arch,
                path,
            })
    }

    fn pins() -> impl Strategy<Value = Pin> {
        let program = (any::<[u8; 4]>(), 1..=ARTIFACT_BYTES_MAX).prop_map(|(seed, size)| {
            let digest = Digest::of(&seed);
            PinnedProgram { digest, size }
        });
        let members = prop::collection::btree_map("[a-z-]{1,12}", program.clone(), 0..3);
        let trust = prop::sample::select(Trust::ALL.to_vec());
        (program, trust, members).prop_map(|(whole, trust, members)| Pin {
            size: whole.size,
            digest: whole.digest,
            trust,
            members,
        })
    }

    fn images() -> impl Strategy<Value = Image> {
        let arch = prop::sample::select(Arch::ALL.to_vec());
        let reference = "[a-z]{1,8}/[a-z]{1,8}(:[0-9]{1,3}|@sha256:[0-9a-f]{64})";
        (reference, arch).prop_map(|(reference, arch)| Image {
            reference: reference.parse().unwrap(),
            arch,
        })
    }

    fn image_pins() -> impl Strategy<Value = ImagePin> {
        let part = (any::<[u8; 4]>(), 1..=ARTIFACT_BYTES_MAX).prop_map(|(seed, size)| {
            let digest = Digest::of(&seed);
            PinnedProgram { digest, size }
        });
        let format = prop::sample::select(vec![ImageFormat::Oci, ImageFormat::Docker]);
        // Twice the same content is written down once.
        let parts = prop::collection::btree_map(0..9_u8, part, 2..5);
        let trust = prop::sample::select(Trust::ALL.to_vec());
        (format, parts, trust).prop_map(|(format, parts, trust)| {
            let mut parts = parts.into_values();
            let manifest = parts.next().unwrap();
            ImagePin {
                named: manifest.digest,
                trust,
                format,
                manifest,
                blobs: parts.collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn a_lockfile_survives_its_text(
            pins in prop::collection::btree_map(artifacts(), pins(), 0..6),
            images in prop::collection::btree_map(images(), image_pins(), 0..3),
        ) {
            let lockfile = Lockfile { pins, images };
            let text = lockfile.to_text();
            let read = Lockfile::parse(&text).unwrap();
            prop_assert_eq!(&read, &lockfile);
            prop_assert_eq!(read.to_text(), text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = Lockfile::parse(&text);
        }
    }

    #[test]
    fn a_program_is_found_by_itself_or_in_its_archive() {
        let of = |name: &str, version: &str| Program {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            arch: Arch::Arm64,
            own: None,
        };
        let pinned = |seed: &[u8]| PinnedProgram {
            digest: Digest::of(seed),
            size: 1,
        };
        let pin = |seed: &[u8], members: &[(&str, PinnedProgram)]| Pin {
            size: 1,
            digest: Digest::of(seed),
            trust: Trust::Published,
            members: members
                .iter()
                .map(|(name, member)| ((*name).to_owned(), *member))
                .collect(),
        };
        let (server, etcd) = (of("kube-apiserver", "1.32.3"), of("etcd", "3.5.21"));
        let mut lockfile = Lockfile::default();
        lockfile.insert(server.artifact().unwrap(), pin(b"server", &[]));
        let members = [("etcd", pinned(b"etcd"))];
        lockfile.insert(etcd.artifact().unwrap(), pin(b"archive", &members));
        assert_eq!(lockfile.program(&server), Some(pinned(b"server")));
        assert_eq!(lockfile.program(&etcd), Some(pinned(b"etcd")));
        assert_eq!(lockfile.program(&of("etcdctl", "3.5.21")), None);
        assert_eq!(lockfile.program(&of("kube-apiserver", "1.32.4")), None);
        let artifacts = BTreeSet::from([etcd.artifact().unwrap()]);
        lockfile.retain(&artifacts, &BTreeSet::new());
        assert_eq!(lockfile.program(&server), None);
    }
}
