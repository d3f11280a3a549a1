//! One file for a site without internet: programs, images, the lockfile that pins them, and a manifest.
//!
//! It is a `.tar.zst` or `.tar.gz` whose members stand in an order that the manifest, the first of
//! them, fixes to the byte:
//!
//! ```text
//! manifest.toml   what follows: sizes, digests, and what each is a program or a part of; the user's templates
//! kinstall.lock   the pins of those programs and images
//! <digest>        each program and each part of an image, by the order of the digests
//! ```
//!
//! They are the compressed pieces that a push streams (see [`crate::fetch::stream`]), so
//! that making a bundle compresses nothing twice and the same inputs make the same bytes. A reader
//! takes exactly what is due next and nothing else, so that no hostile archive has anything to say.

mod manifest;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

pub use manifest::{BadManifest, Manifest};
pub use read::{BadBundle, read};

use crate::artifact::Needs;
use crate::digest::Digest;
use crate::durable;
use crate::fetch::{self, Cache, CacheError, Encoding, Metadata, stream};
use crate::inventory::Inventory;
use crate::lockfile::{ImagePin, Lockfile, Pin, Trust};

/// What a bundle says of itself; what it holds was found to be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its lockfile.
    pub lockfile: Lockfile,
}

/// A bundle cannot be made or used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The name of a bundle to make does not say how to compress it.
    #[error("`{}` does not end in `.tar.zst` or `.tar.gz`", .0.display())]
    #[diagnostic(help(
        "the ending chooses how the bundle is compressed: `.tar.zst` is the smaller"
    ))]
    Extension(PathBuf),
    /// It is not what it should be.
    #[error("the bundle `{}` cannot be used: {problem}", path.display())]
    #[diagnostic(help(
        "nothing of it was used; copy it again from where it was made, and compare the digests of both files"
    ))]
    Bad {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        problem: BadBundle,
    },
    /// The inventory's lockfile pins something else.
    #[error("the bundle holds {name} with sha256 {bundled}, but `kinstall.lock` pins {pinned}")]
    #[diagnostic(help(
        "`git log kinstall.lock` tells who changed it; a bundle made with the same lockfile agrees with it"
    ))]
    OtherPin {
        /// The program, its version and architecture; or the image and its architecture.
        name: String,
        /// What the lockfile says.
        pinned: Digest,
        /// What the bundle holds.
        bundled: Digest,
    },
    /// There is no room for them in its manifest.
    #[error("the templates are too large for a bundle, which takes about {} KB of them", manifest::TEXT_BYTES_MAX / 1024)]
    #[diagnostic(help("take out of their directory what is no template or drop-in"))]
    Templates,
    /// A fetch for the bundle, or of what it holds, went wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] fetch::Error),
}

impl Error {
    /// The exit code of a command that it ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(_) => 1,
            Self::Extension(_) | Self::Templates => 2,
            Self::Bad { .. } | Self::OtherPin { .. } => 5,
            Self::Fetch(error) => error.exit_code(),
        }
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        Self::Fetch(error.into())
    }
}

/// How a bundle of this name is compressed.
pub fn encoding(path: &Path) -> Result<Encoding, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let encodings = [Encoding::Zstd, Encoding::Gzip];
    let chosen = encodings
        .into_iter()
        .find(|encoding| name.ends_with(&format!(".{}", encoding.extension())));
    chosen.ok_or_else(|| Error::Extension(path.to_owned()))
}

/// Makes a bundle of the user's templates, and of what is pinned and in the cache. It gets
/// its name when it is whole and was read again.
pub async fn create(
    path: &Path,
    cluster: &str,
    needs: &Needs,
    templates: BTreeMap<String, String>,
    lockfile: &Lockfile,
    cache: &Cache,
) -> Result<Bundle, Error> {
    let encoding = encoding(path)?;
    let (mut manifest, lock) = describe(cluster, needs, lockfile)?;
    manifest.templates = templates;
    if manifest.to_text().len() > manifest::TEXT_BYTES_MAX {
        return Err(Error::Templates);
    }
    let mut pieces = Vec::new();
    for digest in manifest.contents().into_keys() {
        pieces.push(cache.member(digest, encoding).await?);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(".kinstall.bundle-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        write(temporary.as_file_mut(), &manifest, &lock, &pieces, encoding)?;
        let bundle = verify(temporary.path())?;
        durable::persist(temporary, &path)?;
        Ok(bundle)
    });
    written.await.map_err(io::Error::other)?
}

/// The manifest and the lockfile's text of a bundle of what is needed.
fn describe(
    cluster: &str,
    needs: &Needs,
    lockfile: &Lockfile,
) -> Result<(Manifest, String), Error> {
    let mut kept = lockfile.clone();
    let mut pinned = BTreeMap::new();
    let mut artifacts = BTreeSet::new();
    for program in &needs.programs {
        let name = program.to_string();
        let found = lockfile.artifact(program);
        let (artifact, pin) = found.ok_or(fetch::Error::NotPinned { name })?;
        artifacts.insert(artifact);
        pinned.insert(program.clone(), pin);
    }
    let mut images = BTreeMap::new();
    for image in &needs.images {
        let name = image.to_string();
        let pin = lockfile.image(image);
        let pin = pin.ok_or(fetch::Error::NotPinned { name })?;
        images.insert(image.clone(), pin.parts().collect());
    }
    kept.retain(&artifacts, &needs.images);
    let lock = kept.to_text();
    let manifest = Manifest {
        cluster: cluster.to_owned(),
        lock_size: lock.len() as u64,
        lock_digest: Digest::of(lock.as_bytes()),
        programs: pinned,
        images,
        templates: BTreeMap::new(),
    };
    Ok((manifest, lock))
}

fn write(
    to: &mut dyn Write,
    manifest: &Manifest,
    lock: &str,
    pieces: &[PathBuf],
    encoding: Encoding,
) -> Result<(), Error> {
    let front = [
        (manifest::NAME, manifest.to_text()),
        (fetch::LOCKFILE, lock.to_owned()),
    ];
    to.write_all(&stream::front(&front, encoding))?;
    for piece in pieces {
        io::copy(&mut fs::File::open(piece)?, to)?;
    }
    Ok(to.write_all(&stream::tail(&[], encoding))?)
}

/// The user's templates that a bundle holds, by their paths; the rest of it is not read.
pub fn templates(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let manifest = read::manifest(fs::File::open(path)?);
    Ok(manifest.map_err(|problem| bad(path, problem))?.templates)
}

/// Reads a whole bundle, and says what it holds if all of it is right.
pub fn verify(path: &Path) -> Result<Bundle, Error> {
    let file = fs::File::open(path)?;
    let hash = |content: &mut dyn io::Read| {
        let mut hasher = crate::digest::Hasher::default();
        io::copy(content, &mut hasher).map_err(CacheError::Io)?;
        Ok((hasher.finish(), ()))
    };
    let read = read(file, |_| Ok(()), hash);
    read.map(|(bundle, _)| bundle)
        .map_err(|problem| bad(path, problem))
}

/// Takes everything out of a bundle into the cache, after all of it was found to be right.
pub async fn admit(path: &Path, cache: &Cache) -> Result<Bundle, Error> {
    let path = path.to_owned();
    let (from, held) = (path.clone(), cache.clone());
    let admitted = tokio::task::spawn_blocking(move || {
        let file = fs::File::open(&from)?;
        held.hold()?;
        let begin = |manifest: &Manifest| held.check_room(manifest.contents().values().sum());
        let staged = read(file, begin, |content| {
            let (pinned, file) = held.stage(content)?;
            Ok((pinned.digest, file))
        });
        let (bundle, staged) = staged.map_err(|problem| bad(&from, problem))?;
        for (digest, file) in staged {
            held.admit(digest, file)?;
        }
        let about = Some(format!("file://{}", std::path::absolute(&from)?.display()));
        for (program, pinned) in &bundle.manifest.programs {
            held.note(pinned.digest, &Metadata::program(program, about.clone()));
        }
        for (image, parts) in &bundle.manifest.images {
            for part in parts {
                held.note(part.digest, &Metadata::image(image, about.clone()));
            }
        }
        Ok(bundle)
    });
    admitted.await.map_err(io::Error::other)?
}

fn bad(path: &Path, problem: BadBundle) -> Error {
    match problem {
        BadBundle::Keep(error) => error.into(),
        problem => Error::Bad {
            path: path.to_owned(),
            problem,
        },
    }
}

impl Bundle {
    /// Adds the pins of what it holds to a lockfile that does not have them. What they rest on is
    /// what this kinstall knows, else the bundle; says whether anything was added.
    pub fn adopt(&self, inventory: &Inventory, lockfile: &mut Lockfile) -> Result<bool, Error> {
        let mut adopted = lockfile.clone();
        for (program, bundled) in &self.manifest.programs {
            let other = |pinned| Error::OtherPin {
                name: program.to_string(),
                pinned,
                bundled: bundled.digest,
            };
            if let Some(pinned) = adopted.program(program) {
                if pinned.digest != bundled.digest {
                    return Err(other(pinned.digest));
                }
                continue;
            }
            let found = self.lockfile.artifact(program);
            let (artifact, _) = found.expect("a bundle's lockfile pins its programs");
            let theirs = self.lockfile.pin(&artifact).expect("it was just found");
            let theirs = Pin {
                trust: Trust::Bundle,
                members: BTreeMap::new(),
                ..theirs.clone()
            };
            fetch::check_known(inventory, &artifact, &theirs)?;
            let mut pin = adopted.pin(&artifact).cloned().unwrap_or(Pin {
                trust: fetch::trust(inventory, &artifact, &theirs),
                ..theirs.clone()
            });
            if pin.digest != theirs.digest {
                return Err(other(pin.digest));
            }
            if artifact.is_archive() {
                pin.members.insert(program.name.clone(), *bundled);
            }
            adopted.insert(artifact, pin);
        }
        for image in self.manifest.images.keys() {
            let theirs = self.lockfile.image(image);
            let theirs = theirs.expect("a bundle's lockfile pins its images");
            match adopted.image(image) {
                Some(pin) if pin.manifest != theirs.manifest || pin.blobs != theirs.blobs => {
                    return Err(Error::OtherPin {
                        name: image.to_string(),
                        pinned: pin.named,
                        bundled: theirs.named,
                    });
                }
                Some(_) => {}
                None => {
                    let trust = Trust::Bundle;
                    let pin = ImagePin {
                        trust,
                        ..theirs.clone()
                    };
                    adopted.insert_image(image.clone(), pin);
                }
            }
        }
        let changed = adopted != *lockfile;
        *lockfile = adopted;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests;
