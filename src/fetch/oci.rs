//! What registries keep of an image: an index by platform, a manifest, a configuration. Pure.
//!
//! Source: the image specification of the Open Container Initiative, `image-index.md`, `manifest.md`, `config.md`,
//! and "Image Manifest V 2, Schema 2" of Docker, which says the same in other media types.

use serde::Deserialize;

use crate::arch::Arch;
use crate::digest::Digest;
use crate::lockfile::{ARTIFACT_BYTES_MAX, ImageFormat, ImagePin, PinnedProgram};
use crate::plain;

/// What is asked for, the newest first.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// A manifest, an index or a configuration may be so long, in bytes: what registries take at least
/// (distribution specification, "Pushing Manifests"), and most at most.
pub(super) const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// An image has no more layers: of overlayfs the kernel takes no more at a time.
const LAYERS_MAX: usize = 500;

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// An image cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    /// What came is of no known shape.
    #[error("its manifest cannot be understood: {0}")]
    Text(String),
    /// It is kept as registries did before 2016.
    #[error(
        "the registry has it as a manifest of schema 1 only, which Docker and containerd no longer take"
    )]
    Schema1,
    /// It is something else: a chart, a signature.
    #[error("it is no image of a container, but `{0}`")]
    NoImage(String),
    /// An index names an index.
    #[error("its index leads to another index")]
    Nested,
    /// It is not there for an architecture.
    #[error(
        "there is none for {}: there are {}",
        platform(*.arch), plain::brief_list(there.iter().map(String::as_str))
    )]
    Platform {
        /// The architecture.
        arch: Arch,
        /// The platforms that there are.
        there: Vec<String>,
    },
    /// A part of it lies elsewhere.
    #[error("its layer {0} is not in the registry, but wherever its publisher keeps it")]
    Foreign(String),
    /// A part of it is named by another kind of digest.
    #[error("`{0}` in its manifest is no SHA-256 digest")]
    Algorithm(String),
    /// A part of it is larger than anything kinstall fetches.
    #[error("its layer {digest} has {size} bytes; at most {ARTIFACT_BYTES_MAX} are possible")]
    TooLarge {
        /// The layer.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// It has too many layers.
    #[error("it has more than {LAYERS_MAX} layers")]
    Layers,
}

/// The words of an image for an architecture.
const fn platform(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "linux/amd64",
        Arch::Arm64 => "linux/arm64",
        Arch::Armhf => "linux/arm (v7, v6 or v5)",
    }
}

impl BadImage {
    /// What the user can do.
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::Platform { .. } => {
                "take a tag that has an image for this architecture, or leave it out where nodes have another one"
            }
            Self::Schema1 | Self::Foreign(_) | Self::Nested => {
                "push the image again with a current tool, as `skopeo copy` does, and name that one"
            }
            Self::NoImage(_) => "name an image that containers are made of",
            _ => "look at the image with `skopeo inspect --raw`, and tell its publisher",
        }
    }
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    /// The manifest for an architecture, of those of an index.
    Chosen(PinnedProgram),
    /// A manifest.
    Manifest(Parts),
}

/// What a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) format: ImageFormat,
    pub(super) config: PinnedProgram,
    /// Each once, from the lowest on.
    pub(super) layers: Vec<PinnedProgram>,
}

impl Parts {
    /// Whether a pin is of these and no others.
    pub(super) fn are_those_of(&self, pin: &ImagePin) -> bool {
        let parts = std::iter::once(&self.config).chain(&self.layers);
        self.format == pin.format && parts.eq(&pin.blobs)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    urls: Vec<String>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Descriptor {
    fn pinned(&self) -> Result<PinnedProgram, BadImage> {
        let digest = self.digest.strip_prefix("sha256:");
        let digest = digest.and_then(|digest| digest.parse().ok());
        let shown = || self.digest.chars().filter(|it| !it.is_control()).take(80);
        let digest = digest.ok_or_else(|| BadImage::Algorithm(shown().collect()))?;
        if !(1..=ARTIFACT_BYTES_MAX).contains(&self.size) {
            let size = self.size;
            return Err(BadImage::TooLarge { digest, size });
        }
        let size = self.size;
        Ok(PinnedProgram { digest, size })
    }
}

impl Platform {
    /// How well it serves an architecture, the best first; none where it does not. containerd takes
    /// the same: of ARM with 32 bits the highest variant up to 7, with 64 the eighth, which need not be
    /// said.
    fn rank(&self, arch: Arch) -> Option<u8> {
        if self.os != "linux" || self.architecture != arch.upstream() {
            return None;
        }
        let variant = self.variant.as_deref();
        let fitting: &[Option<&str>] = match arch {
            Arch::Amd64 => &[None, Some("v1")],
            Arch::Arm64 => &[Some("v8"), None],
            Arch::Armhf => &[Some("v7"), None, Some("v6"), Some("v5")],
        };
        let rank = fitting.iter().position(|it| *it == variant)?;
        u8::try_from(rank).ok()
    }

    fn shown(&self) -> String {
        let mut text = format!("{}/{}", self.os, self.architecture);
        if let Some(variant) = &self.variant {
            text = format!("{text}/{variant}");
        }
        let plain = text.chars().filter(|it| !it.is_control());
        plain.take(40).collect()
    }
}

/// Reads what a name leads to, for an architecture.
pub(super) fn read(bytes: &[u8], arch: Arch) -> Result<Document, BadImage> {
    let text: Text = parse(bytes)?;
    let media_type = text.media_type.as_deref().unwrap_or_default();
    if text.schema_version == 1 {
        return Err(BadImage::Schema1);
    }
    if let Some(manifests) = &text.manifests {
        return choose(manifests, arch).map(Document::Chosen);
    }
    let (Some(config), Some(layers)) = (text.config, text.layers) else {
        return Err(BadImage::Text(
            "it has neither layers nor manifests".to_owned(),
        ));
    };
    if !CONFIGS.contains(&config.media_type.as_str()) {
        let kind = config.media_type.chars().filter(|it| !it.is_control());
        return Err(BadImage::NoImage(kind.take(80).collect()));
    }
    if layers.len() > LAYERS_MAX {
        return Err(BadImage::Layers);
    }
    let foreign = |layer: &&Descriptor| {
        let words = ["foreign", "nondistributable"];
        !layer.urls.is_empty() || words.iter().any(|word| layer.media_type.contains(word))
    };
    if let Some(layer) = layers.iter().find(foreign) {
        return Err(BadImage::Foreign(layer.pinned()?.digest.short()));
    }
    let mut parts = Parts {
        format: if media_type.starts_with("application/vnd.docker.") {
            ImageFormat::Docker
        } else {
            ImageFormat::Oci
        },
        config: config.pinned()?,
        layers: Vec::new(),
    };
    for layer in &layers {
        let layer = layer.pinned()?;
        // An empty one may stand there many times.
        if !parts.layers.contains(&layer) {
            parts.layers.push(layer);
        }
    }
    Ok(Document::Manifest(parts))
}

fn choose(manifests: &[Descriptor], arch: Arch) -> Result<PinnedProgram, BadImage> {
    let ranked = manifests.iter().filter_map(|it| {
        let rank = it.platform.as_ref()?.rank(arch)?;
        Some((rank, it))
    });
    let Some((_, chosen)) = ranked.min_by_key(|(rank, _)| *rank) else {
        let platforms = manifests.iter().filter_map(|it| it.platform.as_ref());
        // What signatures and the like are filed under.
        let platforms = platforms.filter(|it| it.os != "unknown");
        let there = platforms.map(Platform::shown).collect();
        return Err(BadImage::Platform { arch, there });
    };
    if INDEXES.contains(&chosen.media_type.as_str()) {
        return Err(BadImage::Nested);
    }
    chosen.pinned()
}

/// Refuses the configuration of an image for another platform: a manifest alone says nothing of it.
pub(super) fn check_config(bytes: &[u8], arch: Arch) -> Result<(), BadImage> {
    let platform: Platform = parse(bytes)?;
    match platform.rank(arch) {
        Some(_) => Ok(()),
        None => Err(BadImage::Platform {
            arch,
            there: vec![platform.shown()],
        }),
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BadImage> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        BadImage::Text(
            text.chars()
                .filter(|it| !it.is_control())
                .take(120)
                .collect(),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn part(kind: &str, size: u64) -> Value {
        json!({"mediaType": kind, "digest": format!("sha256:{DIGEST}"), "size": size})
    }

    fn manifest() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": part("application/vnd.docker.container.image.v1+json", 5),
            "layers": [part("application/vnd.docker.image.rootfs.diff.tar.gzip", 7)],
        })
    }

    fn index(platforms: &[(&str, Option<&str>)]) -> Value {
        let entry = |(size, (platform, variant)): (usize, &(&str, Option<&str>))| {
            let (os, architecture) = platform.split_once('/').unwrap();
            // Its size tells it from the others.
            let mut entry = part(
                "application/vnd.oci.image.manifest.v1+json",
                size as u64 + 1,
            );
            entry["platform"] = json!({"os": os, "architecture": architecture});
            if let Some(variant) = variant {
                entry["platform"]["variant"] = json!(variant);
            }
            entry
        };
        let manifests: Vec<_> = platforms.iter().enumerate().map(entry).collect();
        json!({"schemaVersion": 2, "manifests": manifests})
    }

    #[track_caller]
    fn chosen(platforms: &[(&str, Option<&str>)], arch: Arch, expected: u64) {
        match read(index(platforms).to_string().as_bytes(), arch) {
            Ok(Document::Chosen(chosen)) => assert_eq!(chosen.size, expected),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refuse(document: &Value, message: &str) {
        let error = read(document.to_string().as_bytes(), Arch::Arm64).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(!error.help().is_empty());
    }

    #[test]
    fn the_manifest_of_the_architecture_is_chosen_and_of_its_variants_the_best() {
        let all = [
            ("linux/arm", Some("v6")),
            ("windows/amd64", None),
            ("linux/arm64", Some("v8")),
            ("linux/amd64", None),
            ("linux/arm", Some("v7")),
            ("unknown/unknown", None),
        ];
        chosen(&all, Arch::Amd64, 4);
        chosen(&all, Arch::Arm64, 3);
        chosen(&all, Arch::Armhf, 5);
        chosen(&all[..2], Arch::Armhf, 1);
        chosen(&[("linux/arm64", None)], Arch::Arm64, 1);
    }

    #[test]
    fn a_manifest_names_its_parts_each_once() {
        let mut twice = manifest();
        let layer = twice["layers"][0].clone();
        twice["layers"].as_array_mut().unwrap().push(layer);
        let Document::Manifest(parts) = read(twice.to_string().as_bytes(), Arch::Amd64).unwrap()
        else {
            panic!("a manifest");
        };
        assert_eq!(parts.format, ImageFormat::Docker);
        assert_eq!((parts.config.size, parts.layers.len()), (5, 1));
        let mut oci = manifest();
        // Those of the Open Container Initiative need not say their type.
        oci.as_object_mut().unwrap().remove("mediaType");
        let Document::Manifest(parts) = read(oci.to_string().as_bytes(), Arch::Amd64).unwrap()
        else {
            panic!("a manifest");
        };
        assert_eq!(parts.format, ImageFormat::Oci);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_way_out() {
        refuse(
            &index(&[
                ("linux/amd64", None),
                ("linux/arm", Some("v7")),
                ("unknown/unknown", None),
            ]),
            "there is none for linux/arm64: there are linux/amd64, linux/arm/v7",
        );
        let mut nested = index(&[("linux/arm64", None)]);
        nested["manifests"][0]["mediaType"] = json!(INDEXES[0]);
        refuse(&nested, "its index leads to another index");
        refuse(&json!({"schemaVersion": 1, "fsLayers": []}), "schema 1");
        refuse(&json!({"schemaVersion": 2}), "neither layers nor manifests");
        refuse(&json!([1]), "its manifest cannot be understood");
        let edited = |change: &dyn Fn(&mut Value)| {
            let mut manifest = manifest();
            change(&mut manifest);
            manifest
        };
        let chart = "application/vnd.cncf.helm.config.v1+json";
        refuse(
            &edited(&|it| it["config"]["mediaType"] = json!(chart)),
            &format!("it is no image of a container, but `{chart}`"),
        );
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        refuse(
            &edited(&|it| it["layers"][0]["mediaType"] = json!(foreign)),
            "its layer e3b0c44298fc is not in the registry",
        );
        refuse(
            &edited(&|it| it["layers"][0]["urls"] = json!(["https://elsewhere"])),
            "is not in the registry",
        );
        refuse(
            &edited(&|it| it["layers"][0]["digest"] = json!("sha512:abc")),
            "`sha512:abc` in its manifest is no SHA-256 digest",
        );
        refuse(
            &edited(&|it| it["layers"][0]["size"] = json!(ARTIFACT_BYTES_MAX + 1)),
            "has 1073741825 bytes; at most 1073741824 are possible",
        );
        let layer = manifest()["layers"][0].clone();
        refuse(
            &edited(&|it| it["layers"] = json!(vec![layer.clone(); LAYERS_MAX + 1])),
            "it has more than 500 layers",
        );
    }

    #[test]
    fn a_configuration_must_be_of_the_architecture() {
        let config = |arch: &str| json!({"os": "linux", "architecture": arch, "config": {}});
        assert_eq!(
            check_config(config("arm64").to_string().as_bytes(), Arch::Arm64),
            Ok(())
        );
        let error = check_config(config("amd64").to_string().as_bytes(), Arch::Arm64).unwrap_err();
        let told = "there is none for linux/arm64: there are linux/amd64";
        assert_eq!(error.to_string(), told);
        assert!(check_config(b"no JSON", Arch::Arm64).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_change_of_a_manifest_panics(at in 0..400_usize, with in "\\PC{0,5}") {
            for document in [manifest(), index(&[("linux/arm64", None), ("linux/arm", Some("v7"))])] {
                let mut text: Vec<char> = document.to_string().chars().collect();
                let at = at.min(text.len() - 1);
                text.splice(at..=at, with.chars());
                let text: String = text.into_iter().collect();
                let _ = (read(text.as_bytes(), Arch::Arm64), check_config(text.as_bytes(), Arch::Arm64));
            }
        }
    }
}
