//! What is pinned of an image: the digest that its name led to, and every part of it.

use super::{PinnedProgram, Trust};
use crate::digest::Digest;

/// What is pinned of an image for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePin {
    /// The digest of what the name led to: a manifest, or an index of manifests by platform.
    pub named: Digest,
    /// What the pin rests on.
    pub trust: Trust,
    /// Of which kind the manifest is.
    pub format: ImageFormat,
    /// The manifest for the architecture, which names the rest.
    pub manifest: PinnedProgram,
    /// The configuration and the layers.
    pub blobs: Vec<PinnedProgram>,
}

/// Who has laid down what a manifest looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// The Open Container Initiative.
    Oci,
    /// Docker, whose words came first and mean the same.
    Docker,
}

impl ImageFormat {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }
}

impl ImagePin {
    /// All that is fetched of it and lies on nodes: the manifest, the configuration, the layers.
    pub fn parts(&self) -> impl Iterator<Item = PinnedProgram> {
        std::iter::once(self.manifest).chain(self.blobs.iter().copied())
    }

    /// The bytes of all parts together.
    pub fn size(&self) -> u64 {
        let sizes = self.parts().map(|part| part.size);
        // A lockfile may say any number.
        sizes.fold(0, u64::saturating_add)
    }
}
