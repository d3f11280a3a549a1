//! The text of `kinstall.lock`: what is written, and what is refused when it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    ARTIFACT_BYTES_MAX, ImageFormat, ImagePin, Lockfile, Pin, PinnedProgram, Trust, earlier,
};
use crate::arch::Arch;
use crate::artifact::{Artifact, Origin};
use crate::digest::Digest;
use crate::image::{Image, Reference};
use crate::version::Version;

/// A lockfile may be this long, in bytes: an artifact takes about 300.
pub(crate) const BYTES_MAX: u64 = 4 << 20;
/// It may pin so many artifacts, and programs in them: an inventory needs some twenty.
const PINS_MAX: usize = 10_000;
/// A path in it may have so many bytes (`PATH_MAX` of Linux).
const PATH_BYTES_MAX: usize = 4096;
/// So much is shown of what is wrong with it: it may quote any of the file.
const MESSAGE_CHARS_MAX: usize = 160;

/// The format that this kinstall reads, and writes where it pins an image.
const FORMAT: u32 = 2;
/// The format without images, which earlier kinstalls read too.
const FORMAT_OF_PROGRAMS: u32 = 1;

const HEADER: &str = "\
# Made by `kinstall fetch`; commit it. It pins every byte that is downloaded, whatever mirror it
# comes from. `kinstall fetch --update` pins anew; nothing else changes a pin.
";

/// The text is no lockfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not TOML, or not of the expected shape.
    #[error("line {line}, column {column}: {message}")]
    Text {
        /// The line, counted from 1.
        line: usize,
        /// The character in it, counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is longer than any lockfile.
    #[error("it has more than {BYTES_MAX} bytes or {PINS_MAX} pins")]
    TooLong,
    /// A later kinstall wrote it.
    #[error("the file is of format {found}, and this kinstall knows format {FORMAT}")]
    Format {
        /// The format it says it has.
        found: u32,
    },
    /// Two blocks pin the same artifact: a merge that went wrong.
    #[error("line {line}: `{path}` is pinned twice")]
    Twice {
        /// The line of the second one, counted from 1.
        line: usize,
        /// The artifact's path, or the name of a program.
        path: String,
    },
}

impl Malformed {
    /// What the user can do.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Text { .. } | Self::TooLong => {
                "take the file back from version control, or remove it and run `kinstall fetch` \
                 to pin anew"
            }
            Self::Format { .. } => "use the kinstall that wrote it, or a later one",
            Self::Twice { .. } => "keep one of the two blocks; `git log` tells where each is from",
        }
    }
}

#[derive(Deserialize)]
struct FormatText {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockfileText {
    format: u32,
    #[serde(default, rename = "artifact", skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactText>,
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactText {
    source: OriginText,
    path: Spanned<String>,
    version: Version,
    arch: Arch,
    size: Size,
    sha256: Digest,
    trust: TrustText,
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    programs: Vec<ProgramText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramText {
    name: Spanned<String>,
    size: Size,
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageText {
    name: Spanned<String>,
    arch: Arch,
    /// Of what the name led to.
    sha256: Digest,
    trust: TrustText,
    format: FormatOfImage,
    manifest: PartText,
    #[serde(rename = "blob")]
    blobs: Vec<PartText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartText {
    size: Size,
    sha256: Digest,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatOfImage {
    Oci,
    Docker,
}

/// A size that something which is pinned may have.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
struct Size(u64);

impl TryFrom<u64> for Size {
    type Error = String;

    fn try_from(size: u64) -> Result<Self, String> {
        if (1..=ARTIFACT_BYTES_MAX).contains(&size) {
            Ok(Self(size))
        } else {
            Err(format!(
                "a size is from 1 to {ARTIFACT_BYTES_MAX} bytes, not {size}"
            ))
        }
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

/// Who publishes an artifact, by name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct OriginText(Origin);

impl From<OriginText> for String {
    fn from(OriginText(origin): OriginText) -> Self {
        origin.name().to_owned()
    }
}

impl TryFrom<String> for OriginText {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Origin::all().find(|origin| origin.name() == name);
        known.map(Self).ok_or_else(|| {
            let names: Vec<_> = Origin::all().map(|it| format!("`{}`", it.name())).collect();
            format!(
                "unknown source `{name}`, expected one of {}",
                names.join(", ")
            )
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TrustText {
    BuiltIn,
    Published,
    Mirror,
    Bundle,
    Yours,
}

impl From<Trust> for TrustText {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::BuiltIn => Self::BuiltIn,
            Trust::Published => Self::Published,
            Trust::Mirror | Trust::Claimed => Self::Mirror,
            Trust::Bundle => Self::Bundle,
            Trust::Yours => Self::Yours,
        }
    }
}

impl From<TrustText> for Trust {
    fn from(trust: TrustText) -> Self {
        match trust {
            TrustText::BuiltIn => Self::BuiltIn,
            TrustText::Published => Self::Published,
            TrustText::Mirror => Self::Mirror,
            TrustText::Bundle => Self::Bundle,
            TrustText::Yours => Self::Yours,
        }
    }
}

impl From<PinnedProgram> for PartText {
    fn from(part: PinnedProgram) -> Self {
        Self {
            size: Size(part.size),
            sha256: part.digest,
        }
    }
}

impl From<PartText> for PinnedProgram {
    fn from(part: PartText) -> Self {
        Self {
            digest: part.sha256,
            size: part.size.0,
        }
    }
}

pub(super) fn print(lockfile: &Lockfile) -> String {
    let artifacts = lockfile.pins.iter();
    let images = lockfile.images.iter();
    let text = LockfileText {
        format: if lockfile.images.is_empty() {
            FORMAT_OF_PROGRAMS
        } else {
            FORMAT
        },
        artifacts: artifacts
            .map(|(artifact, pin)| block(artifact, pin))
            .collect(),
        images: images.map(|(image, pin)| image_block(image, pin)).collect(),
    };
    let body = toml::to_string(&text).expect("strings, numbers and tables are TOML");
    format!("{HEADER}{body}")
}

fn block(artifact: &Artifact, pin: &Pin) -> ArtifactText {
    let program = |(name, member): (&String, &PinnedProgram)| ProgramText {
        name: Spanned::new(0..0, name.clone()),
        size: Size(member.size),
        sha256: member.digest,
    };
    ArtifactText {
        source: OriginText(artifact.origin),
        path: Spanned::new(0..0, artifact.path.clone()),
        version: artifact.version,
        arch: artifact.arch,
        size: Size(pin.size),
        sha256: pin.digest,
        trust: pin.trust.into(),
        programs: pin.members.iter().map(program).collect(),
    }
}

fn image_block(image: &Image, pin: &ImagePin) -> ImageText {
    ImageText {
        name: Spanned::new(0..0, image.reference.to_string()),
        arch: image.arch,
        sha256: pin.named,
        trust: pin.trust.into(),
        format: match pin.format {
            ImageFormat::Oci => FormatOfImage::Oci,
            ImageFormat::Docker => FormatOfImage::Docker,
        },
        manifest: pin.manifest.into(),
        blobs: pin.blobs.iter().copied().map(PartText::from).collect(),
    }
}

pub(super) fn parse(text: &str) -> Result<Lockfile, Malformed> {
    if text.len() as u64 > BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let malformed = |error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        refused(text, at, error.message())
    };
    // The format first: a later one may have words that this one would only call unknown.
    let FormatText { format } = toml::from_str(text).map_err(malformed)?;
    if ![FORMAT_OF_PROGRAMS, FORMAT].contains(&format) {
        return Err(Malformed::Format { found: format });
    }
    let read: LockfileText = toml::from_str(text).map_err(malformed)?;
    let programs = read.artifacts.iter().map(|block| 1 + block.programs.len());
    let blobs = read.images.iter().map(|block| 1 + block.blobs.len());
    if programs.chain(blobs).sum::<usize>() > PINS_MAX {
        return Err(Malformed::TooLong);
    }
    let mut images = BTreeMap::new();
    for block in read.images {
        let (at, name) = (block.name.span().start, block.name.get_ref().clone());
        let (image, pin) = pinned_image(text, block)?;
        if images.insert(image, pin).is_some() {
            return Err(twice(text, at, name));
        }
    }
    let mut pins = BTreeMap::new();
    for block in read.artifacts {
        let at = block.path.span().start;
        let (artifact, pin) = pinned(text, block)?;
        for (artifact, pin) in earlier::read(artifact, pin) {
            let path = artifact.path.clone();
            if pins.insert(artifact, pin).is_some() {
                return Err(twice(text, at, path));
            }
        }
    }
    Ok(Lockfile { pins, images })
}

fn pinned_image(text: &str, block: ImageText) -> Result<(Image, ImagePin), Malformed> {
    let name = block.name.get_ref();
    // Only the whole name is written.
    let reference = name.parse::<Reference>().ok();
    let Some(reference) = reference.filter(|it| it.to_string() == *name) else {
        let message = format!("{name:?} is no name of an image that `kinstall fetch` writes");
        return Err(refused(text, block.name.span().start, &message));
    };
    let image = Image {
        reference,
        arch: block.arch,
    };
    let pin = ImagePin {
        named: block.sha256,
        trust: block.trust.into(),
        format: match block.format {
            FormatOfImage::Oci => ImageFormat::Oci,
            FormatOfImage::Docker => ImageFormat::Docker,
        },
        manifest: block.manifest.into(),
        blobs: block.blobs.into_iter().map(PinnedProgram::from).collect(),
    };
    Ok((image, pin))
}

fn pinned(text: &str, block: ArtifactText) -> Result<(Artifact, Pin), Malformed> {
    check_path(text, block.source, &block.path)?;
    let mut members = BTreeMap::new();
    for program in block.programs {
        let member = PinnedProgram {
            digest: program.sha256,
            size: program.size.0,
        };
        let at = program.name.span().start;
        let name = program.name.into_inner();
        if !is_name(&name) {
            return Err(refused(
                text,
                at,
                &format!("{name:?} is no name of a program"),
            ));
        }
        if members.insert(name.clone(), member).is_some() {
            return Err(twice(text, at, name));
        }
    }
    let artifact = Artifact {
        origin: block.source.0,
        version: block.version,
        arch: block.arch,
        path: block.path.into_inner(),
    };
    let pin = Pin {
        size: block.size.0,
        digest: block.sha256,
        trust: block.trust.into(),
        members,
    };
    Ok((artifact, pin))
}

/// Refuses paths that no kinstall writes. That of the user's own build is the inventory's, which may lead
/// anywhere; upstream's lie below a base URL.
fn check_path(text: &str, source: OriginText, path: &Spanned<String>) -> Result<(), Malformed> {
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('.')
    };
    let value = path.get_ref();
    let right = if source.0 == Origin::Own {
        !value.is_empty() && !value.chars().any(char::is_control)
    } else {
        value.split('/').all(plain)
    };
    if right && value.len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    let message = format!("{value:?} is no path that `kinstall fetch` writes");
    Err(refused(text, path.span().start, &message))
}

/// Whether a text is the name of a program, which is a file name on nodes.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=60).contains(&text.len()) && text.bytes().all(plain)
}

fn refused(text: &str, at: usize, message: &str) -> Malformed {
    let (line, column) = place(text, at);
    let mut message = message.trim().replace('\n', ": ");
    if let Some((cut, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(cut);
        message.push('…');
    }
    Malformed::Text {
        line,
        column,
        message,
    }
}

fn twice(text: &str, at: usize, path: String) -> Malformed {
    let (line, _) = place(text, at);
    Malformed::Twice { line, path }
}

/// The line and the character of a byte, counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |it| it.chars().count())
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests;
