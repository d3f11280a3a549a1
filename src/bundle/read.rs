//! Reading a bundle: exactly what is due next, or nothing.

use std::io::{self, BufRead, BufReader, Read};

use super::Bundle;
use super::manifest::{self, BadManifest, Manifest};
use crate::digest::Digest;
use crate::fetch::archive::Watched;
use crate::fetch::ratio::{Counted, Plain};
use crate::fetch::{CacheError, LOCKFILE, stream};
use crate::lockfile::{self, Lockfile, Malformed};

/// The logarithm of the largest window that a zstd frame may ask for: ours have 21, and a hostile
/// one would like more memory than there is.
const WINDOW_LOG_MAX: u32 = 23;

/// Why a bundle is not used.
#[derive(Debug, thiserror::Error)]
pub enum BadBundle {
    /// It is neither compressed way.
    #[error("it is neither a `.tar.zst` nor a `.tar.gz`")]
    Format,
    /// It cannot be read: cut off or damaged.
    #[error("it cannot be read to its end: {0}")]
    Unreadable(io::Error),
    /// Something else stands where something is due.
    #[error("it holds {found} instead of `{due}`")]
    Other {
        /// What is due.
        due: String,
        /// What stands there.
        found: String,
    },
    /// Its manifest is none.
    #[error("its manifest cannot be understood: {0}")]
    Manifest(#[from] BadManifest),
    /// Its lockfile is none.
    #[error("its lockfile cannot be understood: {0}")]
    Lockfile(#[from] Malformed),
    /// A file in it is longer than any such file.
    #[error("its `{0}` is too long to be one")]
    TooLong(String),
    /// A content is not what the manifest says.
    #[error("its `{name}` has sha256 {found}, and its manifest says {expected}")]
    Digest {
        /// The content.
        name: String,
        /// What it is.
        found: Digest,
        /// What it should be.
        expected: Digest,
    },
    /// Its lockfile says something else of a program or an image than its manifest.
    #[error("its lockfile and its manifest say different things of {0}")]
    Contradiction(String),
    /// Something follows its end.
    #[error("something follows its end")]
    Rest,
    /// What is taken out of it cannot be kept.
    #[error(transparent)]
    Keep(#[from] CacheError),
}

/// Reads a whole bundle. `begin` gets its manifest and may refuse it. `take` gets each content, must
/// read it to its end, and returns its digest and what is to be given back if all of the bundle is
/// right.
pub fn read<T>(
    bundle: impl Read,
    begin: impl FnOnce(&Manifest) -> Result<(), CacheError>,
    mut take: impl FnMut(&mut dyn Read) -> Result<(Digest, T), CacheError>,
) -> Result<(Bundle, Vec<(Digest, T)>), BadBundle> {
    let (manifest, mut members) = open(bundle)?;
    let lock = members.text(LOCKFILE, Some(manifest.lock_size), lockfile::BYTES_MAX)?;
    check(LOCKFILE, Digest::of(lock.as_bytes()), manifest.lock_digest)?;
    let lockfile = Lockfile::parse(&lock)?;
    for (program, pinned) in &manifest.programs {
        if lockfile.program(program) != Some(*pinned) {
            return Err(BadBundle::Contradiction(program.to_string()));
        }
    }
    for (image, parts) in &manifest.images {
        let pin = lockfile.image(image);
        if !pin.is_some_and(|pin| pin.parts().eq(parts.iter().copied())) {
            return Err(BadBundle::Contradiction(image.to_string()));
        }
    }
    begin(&manifest)?;
    let mut taken = Vec::new();
    for (digest, size) in manifest.contents() {
        let name = digest.to_string();
        members.header(&name, Some(size), u64::MAX)?;
        let (found, kept) = members.content(size, &mut take)?;
        check(&name, found, digest)?;
        taken.push((digest, kept));
    }
    members.end()?;
    Ok((Bundle { manifest, lockfile }, taken))
}

/// Reads no more than the manifest, which nothing speaks for yet.
pub(super) fn manifest(bundle: impl Read) -> Result<Manifest, BadBundle> {
    open(bundle).map(|(manifest, _)| manifest)
}

fn open<'a>(bundle: impl Read + 'a) -> Result<(Manifest, Members<'a>), BadBundle> {
    let mut members = Members {
        plain: decoder(bundle)?,
    };
    let text = members.text(manifest::NAME, None, manifest::TEXT_BYTES_MAX as u64)?;
    Ok((Manifest::parse(&text)?, members))
}

fn check(name: &str, found: Digest, expected: Digest) -> Result<(), BadBundle> {
    if found == expected {
        return Ok(());
    }
    Err(BadBundle::Digest {
        name: name.to_owned(),
        found,
        expected,
    })
}

/// The plain archive, by how the compressed one begins.
fn decoder<'a>(bundle: impl Read + 'a) -> Result<Box<dyn Read + 'a>, BadBundle> {
    let bundle = Counted::new(bundle);
    let count = bundle.count();
    let mut bundle = BufReader::with_capacity(128 * 1024, bundle);
    let start = bundle.fill_buf().map_err(BadBundle::Unreadable)?;
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::Decoder::with_buffer(bundle);
        let mut decoder = decoder.map_err(BadBundle::Unreadable)?;
        let bounded = decoder.window_log_max(WINDOW_LOG_MAX);
        bounded.map_err(BadBundle::Unreadable)?;
        return Ok(Box::new(Plain::new(decoder, count)));
    }
    if start.starts_with(&[0x1f, 0x8b]) {
        let decoder = flate2::bufread::MultiGzDecoder::new(bundle);
        return Ok(Box::new(Plain::new(decoder, count)));
    }
    Err(BadBundle::Format)
}

/// The members of the plain archive, one after another.
struct Members<'a> {
    plain: Box<dyn Read + 'a>,
}

impl Members<'_> {
    /// The next member, a text of this name; of this size, if that is known.
    fn text(
        &mut self,
        name: &'static str,
        size: Option<u64>,
        bytes_max: u64,
    ) -> Result<String, BadBundle> {
        let size = self.header(name, size, bytes_max)?;
        let read = |content: &mut dyn Read| {
            let mut text = Vec::new();
            content.read_to_end(&mut text).map_err(CacheError::Io)?;
            Ok(text)
        };
        let text = self.content(size, read)?;
        String::from_utf8(text).map_err(|error| BadBundle::Unreadable(io::Error::other(error)))
    }

    /// Reads a header, which must be to the byte what a bundle has there; returns the size.
    fn header(&mut self, name: &str, size: Option<u64>, bytes_max: u64) -> Result<u64, BadBundle> {
        let mut header = [0; stream::BLOCK];
        self.exact(&mut header)?;
        let found = tar::Header::from_byte_slice(&header);
        let size = size.or_else(|| found.entry_size().ok());
        if let Some(size) = size
            && stream::header(name, size) == header
        {
            return if size > bytes_max {
                Err(BadBundle::TooLong(name.to_owned()))
            } else {
                Ok(size)
            };
        }
        Err(BadBundle::Other {
            due: name.to_owned(),
            found: told(found, name),
        })
    }

    /// Has a content read, and the zeros after it.
    fn content<T>(
        &mut self,
        size: u64,
        take: impl FnOnce(&mut dyn Read) -> Result<T, CacheError>,
    ) -> Result<T, BadBundle> {
        let mut content = self.plain.by_ref().take(size);
        let mut watched = Watched::new(&mut content);
        let taken = take(&mut watched);
        // The reader's own faults travel through `take` as its faults; they are told apart.
        let (fault, read) = (watched.fault, watched.read);
        if let Some(fault) = fault {
            return Err(BadBundle::Unreadable(fault));
        }
        let taken = taken?;
        if read != size {
            return Err(BadBundle::Unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut padding = vec![0; stream::padding(size).len()];
        self.exact(&mut padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(BadBundle::Rest);
        }
        Ok(taken)
    }

    /// The end of the archive, and nothing after it.
    fn end(&mut self) -> Result<(), BadBundle> {
        let mut end = [0; 2 * stream::BLOCK];
        self.exact(&mut end)?;
        if end != [0; 2 * stream::BLOCK] {
            let header = tar::Header::from_byte_slice(&end[..stream::BLOCK]);
            return Err(BadBundle::Other {
                due: "the end".to_owned(),
                found: told(header, "the end"),
            });
        }
        match self.plain.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(BadBundle::Rest),
            Err(error) => Err(BadBundle::Unreadable(error)),
        }
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<(), BadBundle> {
        self.plain.read_exact(bytes).map_err(BadBundle::Unreadable)
    }
}

/// What a header is of, to be shown.
fn told(header: &tar::Header, due: &str) -> String {
    let name = header.path_bytes();
    let name: String = String::from_utf8_lossy(&name)
        .chars()
        .filter(|c| !c.is_control())
        .take(80)
        .collect();
    if header.as_bytes() == &[0; stream::BLOCK] {
        "its end".to_owned()
    } else if !header.entry_type().is_file() {
        format!("`{name}`, which is no plain file")
    } else if name == due {
        "a file of that name and of another kind or size".to_owned()
    } else {
        format!("`{name}`")
    }
}
