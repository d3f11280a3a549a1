//! The manifest of a bundle: what follows it, to the byte. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::artifact::{Program, counted};
use crate::digest::Digest;
use crate::image::{Image, Reference};
use crate::lockfile::{ARTIFACT_BYTES_MAX, PinnedProgram, is_name};
use crate::version::Version;

/// Its name in the bundle.
pub(super) const NAME: &str = "manifest.toml";
/// The format that this kinstall reads, and writes where there are images.
const FORMAT: u32 = 2;
/// The format without images, which earlier kinstalls read too.
const FORMAT_OF_PROGRAMS: u32 = 1;
/// A bundle may hold this many programs and parts of images: an inventory needs some twenty programs, and an image
/// has some ten parts.
const CONTENTS_MAX: usize = 4000;
/// And this many bytes: an inventory's programs take about one gigabyte for three architectures.
const BYTES_MAX: u64 = 64 << 30;
/// How long a manifest may be, in bytes: an entry takes about 200, and templates are texts of some
/// lines.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The name of the cluster it was made for.
    pub cluster: String,
    /// The size of its lockfile in bytes.
    pub lock_size: u64,
    /// The SHA-256 of its lockfile.
    pub lock_digest: Digest,
    /// Its programs.
    pub programs: BTreeMap<Program, PinnedProgram>,
    /// Its images, each with all its parts.
    pub images: BTreeMap<Image, Vec<PinnedProgram>>,
    /// The user's own templates and drop-ins, by their paths in the directory of templates.
    pub templates: BTreeMap<String, String>,
}

/// The text is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Not TOML, or not of the expected shape.
    #[error("{0}")]
    Text(String),
    /// A later kinstall wrote it.
    #[error("it is of format {0}, and this kinstall knows format {FORMAT}")]
    Format(u32),
    /// It states a program or an image twice.
    #[error("it states {0} twice")]
    Twice(String),
    /// It states a digest with two sizes.
    #[error("it states {0} with two sizes")]
    Sizes(Digest),
    /// A word in it is none.
    #[error("`{0}` is no name of a program or an image")]
    Name(String),
    /// A path of a template leads elsewhere.
    #[error("`{0}` is no path in a directory of templates")]
    Path(String),
    /// It states more than any bundle holds.
    #[error("it states more than {CONTENTS_MAX} programs and parts of images or {BYTES_MAX} bytes")]
    TooMuch,
}

#[derive(Deserialize)]
struct FormatText {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestText {
    format: u32,
    cluster: String,
    lock: LockText,
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    programs: Vec<ProgramText>,
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageText>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    templates: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageText {
    name: String,
    arch: Arch,
    #[serde(rename = "part")]
    parts: Vec<PartText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartText {
    size: u64,
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockText {
    size: u64,
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramText {
    name: String,
    version: Version,
    arch: Arch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<String>,
    size: u64,
    sha256: Digest,
}

impl Manifest {
    /// The contents that follow, in their order, with their sizes in bytes.
    pub fn contents(&self) -> BTreeMap<Digest, u64> {
        self.pinned()
            .map(|pinned| (pinned.digest, pinned.size))
            .collect()
    }

    fn pinned(&self) -> impl Iterator<Item = &PinnedProgram> {
        let parts = self.images.values().flatten();
        self.programs.values().chain(parts)
    }

    /// How many programs and images it holds, in words.
    pub fn counted(&self) -> String {
        counted(self.programs.len(), self.images.len())
    }

    /// Its text: the same for the same programs.
    pub fn to_text(&self) -> String {
        let program = |(program, pinned): (&Program, &PinnedProgram)| ProgramText {
            name: program.name.clone(),
            version: program.version,
            arch: program.arch,
            own: program.own.clone(),
            size: pinned.size,
            sha256: pinned.digest,
        };
        let part = |part: &PinnedProgram| PartText {
            size: part.size,
            sha256: part.digest,
        };
        let image = |(image, parts): (&Image, &Vec<PinnedProgram>)| ImageText {
            name: image.reference.to_string(),
            arch: image.arch,
            parts: parts.iter().map(part).collect(),
        };
        let text = ManifestText {
            format: if self.images.is_empty() {
                FORMAT_OF_PROGRAMS
            } else {
                FORMAT
            },
            images: self.images.iter().map(image).collect(),
            cluster: self.cluster.clone(),
            lock: LockText {
                size: self.lock_size,
                sha256: self.lock_digest,
            },
            programs: self.programs.iter().map(program).collect(),
            templates: self.templates.clone(),
        };
        toml::to_string(&text).expect("strings, numbers and tables are TOML")
    }

    /// Reads what [`Manifest::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, BadManifest> {
        let malformed =
            |error: toml::de::Error| BadManifest::Text(error.to_string().trim_end().to_owned());
        // The format first: a later one may have words that this one would only call unknown.
        let FormatText { format } = toml::from_str(text).map_err(malformed)?;
        if ![FORMAT_OF_PROGRAMS, FORMAT].contains(&format) {
            return Err(BadManifest::Format(format));
        }
        let read: ManifestText = toml::from_str(text).map_err(malformed)?;
        let mut manifest = Self {
            cluster: read.cluster,
            lock_size: read.lock.size,
            lock_digest: read.lock.sha256,
            programs: BTreeMap::new(),
            images: BTreeMap::new(),
            templates: read.templates,
        };
        for program in read.programs {
            let pinned = PinnedProgram {
                digest: program.sha256,
                size: program.size,
            };
            if !is_name(&program.name) {
                return Err(BadManifest::Name(shown(&program.name)));
            }
            let program = Program {
                name: program.name,
                version: program.version,
                arch: program.arch,
                own: program.own,
            };
            let name = program.to_string();
            if manifest.programs.insert(program, pinned).is_some() {
                return Err(BadManifest::Twice(name));
            }
        }
        for image in read.images {
            let part = |part: PartText| PinnedProgram {
                digest: part.sha256,
                size: part.size,
            };
            let reference = image.name.parse::<Reference>().ok();
            let reference = reference.filter(|it| it.to_string() == image.name);
            let reference = reference.ok_or_else(|| BadManifest::Name(shown(&image.name)))?;
            let (arch, parts) = (image.arch, image.parts);
            let image = Image { reference, arch };
            let name = image.to_string();
            let parts = parts.into_iter().map(part).collect();
            if manifest.images.insert(image, parts).is_some() {
                return Err(BadManifest::Twice(name));
            }
        }
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), BadManifest> {
        let is_within = |path: &str| {
            let mut parts = path.split('/');
            // Nor what an editor or git left there: a directory of templates passes over it.
            parts.all(|part| !part.is_empty() && !part.starts_with('.')) && !path.contains('\0')
        };
        if let Some(path) = self.templates.keys().find(|path| !is_within(path)) {
            return Err(BadManifest::Path(shown(path)));
        }
        let contents = self.contents();
        for pinned in self.pinned() {
            if contents[&pinned.digest] != pinned.size {
                return Err(BadManifest::Sizes(pinned.digest));
            }
            if pinned.size > ARTIFACT_BYTES_MAX {
                return Err(BadManifest::TooMuch);
            }
        }
        let bytes =
            (contents.values()).try_fold(self.lock_size, |sum, size| sum.checked_add(*size));
        let fits = bytes.is_some_and(|bytes| bytes <= BYTES_MAX);
        if fits && self.pinned().count() <= CONTENTS_MAX {
            Ok(())
        } else {
            Err(BadManifest::TooMuch)
        }
    }
}

/// As much of a word as an error repeats.
fn shown(word: &str) -> String {
    let visible = word.chars().filter(|c| !c.is_control());
    visible.take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn programs() -> impl Strategy<Value = BTreeMap<Program, PinnedProgram>> {
        let version = (0..9_u64, 0..40_u64, 0..30_u64).prop_map(|(a, b, c)| Version::new(a, b, c));
        let arch = prop::sample::select(Arch::ALL.to_vec());
        let own = prop::option::of("[ -~é]{1,20}");
        let program = ("[a-z-]{1,20}", version, arch, own);
        let program = program.prop_map(|(name, version, arch, own)| Program {
            name,
            version,
            arch,
            own,
        });
        let pinned = any::<[u8; 2]>().prop_map(|seed| PinnedProgram {
            digest: Digest::of(&seed),
            size: u64::from(seed[0]),
        });
        prop::collection::btree_map(program, pinned, 0..6)
    }

    fn images() -> impl Strategy<Value = BTreeMap<Image, Vec<PinnedProgram>>> {
        let arch = prop::sample::select(Arch::ALL.to_vec());
        let image = ("[a-z]{1,8}:[0-9]{1,3}", arch).prop_map(|(name, arch)| Image {
            reference: name.parse().unwrap(),
            arch,
        });
        // Of other bytes than any program.
        let part = any::<[u8; 3]>().prop_map(|seed| PinnedProgram {
            digest: Digest::of(&seed),
            size: u64::from(seed[0]),
        });
        prop::collection::btree_map(image, prop::collection::vec(part, 0..3), 0..3)
    }

    proptest! {
        #[test]
        fn a_manifest_survives_its_text(
            programs in programs(), images in images(), cluster in "\\PC{0,20}", lock_size in 0..1_000_000_u64,
            templates in prop::collection::btree_map("[a-z]{1,5}(/[a-z.]{0,3}[a-z])?", "[\\PC\n]{0,40}", 0..3),
        ) {
            let lock_digest = Digest::of(cluster.as_bytes());
            let templates = templates
                .into_iter()
                .filter(|(path, _)| !path.contains("/."))
                .collect();
            let manifest = Manifest { cluster, lock_size, lock_digest, programs, images, templates };
            let text = manifest.to_text();
            let read = Manifest::parse(&text).unwrap();
            prop_assert_eq!(&read, &manifest);
            prop_assert_eq!(read.to_text(), text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = Manifest::parse(&text);
        }

        #[test]
        fn no_change_of_a_manifest_panics(
            programs in programs(), at in any::<prop::sample::Index>(), with in "\\PC{0,5}",
        ) {
            let lock_digest = Digest::of(b"");
            let manifest = Manifest {
                cluster: "home".into(), lock_size: 1, lock_digest, programs, images: BTreeMap::new(),
                templates: BTreeMap::new(),
            };
            let mut text: Vec<char> = manifest.to_text().chars().collect();
            let at = at.index(text.len());
            text.splice(at..=at, with.chars());
            let _ = Manifest::parse(&text.into_iter().collect::<String>());
        }
    }

    #[track_caller]
    fn refuse(change: (&str, &str), message: &str) {
        let program = |name: &str| Program {
            name: name.to_owned(),
            version: Version::new(1, 32, 3),
            arch: Arch::Arm64,
            own: None,
        };
        let pinned = |size| PinnedProgram {
            digest: Digest::of(b"kubectl"),
            size,
        };
        let manifest = Manifest {
            cluster: "home".to_owned(),
            lock_size: 1,
            lock_digest: Digest::of(b""),
            programs: [
                (program("kubectl"), pinned(7)),
                (program("kubelet"), pinned(7)),
            ]
            .into(),
            images: [(
                Image {
                    reference: "nginx:1".parse().unwrap(),
                    arch: Arch::Arm64,
                },
                vec![pinned(7)],
            )]
            .into(),
            templates: [("etcd.service.d/a.conf".to_owned(), String::new())].into(),
        };
        let text = manifest.to_text();
        assert!(text.contains(change.0), "{text}");
        let error = Manifest::parse(&text.replacen(change.0, change.1, 1)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        refuse(("format = 2", "format = 3"), "format 3");
        refuse(("cluster", "clusters"), "unknown field `clusters`");
        refuse(
            ("kubectl", "kubelet"),
            "it states kubelet 1.32.3 arm64 twice",
        );
        refuse(
            ("kubectl", "../kubectl"),
            "`../kubectl` is no name of a program or an image",
        );
        refuse(("size = 7", "size = 8"), "with two sizes");
        let huge = "name = \"a\"\nversion = \"1.32.3\"\narch = \"arm64\"\nsize = 1073741825";
        let first = "name = \"kubectl\"\nversion = \"1.32.3\"\narch = \"arm64\"\nsize = 7";
        refuse((first, huge), "it states");
        refuse(
            ("size = 1", "size = 99999999999999"),
            "more than 4000 programs and parts of images or",
        );
        for name in ["nginx:1", "docker.io/library/nginx", ""] {
            let message = format!("`{name}` is no name of a program or an image");
            refuse(("docker.io/library/nginx:1", name), &message);
        }
        for path in ["../a", "/a", "a//b", ".git/a", "a/", ""] {
            let with = format!("\"{path}\"");
            let message = format!("`{path}` is no path in a directory of templates");
            refuse(("\"etcd.service.d/a.conf\"", &with), &message);
        }
    }
}
