//! SHA-512, which upstream publishes for archives, and a checksum of either kind.
//!
//! What kinstall keeps is named by its SHA-256. A SHA-512 only says whether what came is what
//! upstream published.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use super::Digest;

/// The SHA-512 of some bytes, shown as 128 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha512([u8; 64]);

impl Sha512 {
    /// The digest of bytes held in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha512::digest(bytes).into())
    }
}

impl fmt::Display for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha512:{self}")
    }
}

/// The text is no digest of a known length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a SHA-256 nor a SHA-512 digest: 64 or 128 hexadecimal digits are expected"
)]
pub struct NotAChecksum(pub String);

impl FromStr for Sha512 {
    type Err = NotAChecksum;

    fn from_str(text: &str) -> Result<Self, NotAChecksum> {
        let refuse = || NotAChecksum(text.chars().take(80).collect());
        super::from_hex(text).map(Self).ok_or_else(refuse)
    }
}

/// A digest that somebody published or built in, of the kind they chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// A SHA-256.
    Sha256(Digest),
    /// A SHA-512.
    Sha512(Sha512),
}

impl Checksum {
    /// Whether both are of the same kind, so that a difference says something.
    pub const fn is_comparable(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Sha256(_), Self::Sha256(_)) | (Self::Sha512(_), Self::Sha512(_))
        )
    }

    /// The digits alone.
    pub fn digits(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.to_string(),
            Self::Sha512(digest) => digest.to_string(),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256 {digest}"),
            Self::Sha512(digest) => write!(f, "sha512 {digest}"),
        }
    }
}

impl From<Digest> for Checksum {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl FromStr for Checksum {
    type Err = NotAChecksum;

    /// The kind is told by the length.
    fn from_str(text: &str) -> Result<Self, NotAChecksum> {
        if let Ok(digest) = text.parse() {
            return Ok(Self::Sha256(digest));
        }
        text.parse().map(Self::Sha512)
    }
}

/// Both digests of a stream; the SHA-512 only where it is asked for, because it takes its time.
#[derive(Clone, Default)]
pub struct Hashes {
    sha256: super::Hasher,
    sha512: Option<sha2::Sha512>,
}

impl Hashes {
    /// Ready to compute what these checksums are compared with.
    pub fn comparable_with(checksums: &[Checksum]) -> Self {
        let wanted = checksums
            .iter()
            .any(|checksum| matches!(checksum, Checksum::Sha512(_)));
        Self {
            sha256: super::Hasher::default(),
            sha512: wanted.then(sha2::Sha512::default),
        }
    }

    /// Ready to compute the same again, from the start.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self {
            sha256: super::Hasher::default(),
            sha512: self.sha512.as_ref().map(|_| sha2::Sha512::default()),
        }
    }

    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(piece);
        }
    }

    /// The SHA-256 of all pieces so far.
    pub fn sha256(&self) -> Digest {
        self.sha256.clone().finish()
    }

    /// The checksum of all pieces so far, of the same kind as another; nothing where that kind was
    /// not asked for.
    pub fn like(&self, other: &Checksum) -> Option<Checksum> {
        match other {
            Checksum::Sha256(_) => Some(self.sha256().into()),
            Checksum::Sha512(_) => {
                let sha512 = self.sha512.clone()?;
                Some(Checksum::Sha512(Sha512(sha512.finalize().into())))
            }
        }
    }
}

impl std::io::Write for Hashes {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the example of SHA-512 for `abc`.
    const ABC: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    #[test]
    fn a_checksum_is_told_by_its_length_and_survives_text() {
        let sha512 = Sha512::of(b"abc");
        assert_eq!(sha512.to_string(), ABC);
        assert_eq!(ABC.to_uppercase().parse(), Ok(Checksum::Sha512(sha512)));
        let sha256 = Checksum::from(Digest::of(b"abc"));
        assert_eq!(sha256.digits().parse(), Ok(sha256));
        assert!(!sha256.is_comparable(&Checksum::Sha512(sha512)));
        for text in ["", &ABC[1..], &format!("+{}", &ABC[1..]), &"é".repeat(64)] {
            assert!(text.parse::<Checksum>().is_err(), "{text}");
        }
    }

    #[test]
    fn both_are_computed_of_a_stream_and_only_what_was_asked_for() {
        let wanted = Checksum::Sha512(Sha512::of(b"abc"));
        let mut both = Hashes::comparable_with(&[wanted]);
        both.update(b"ab");
        both.update(b"c");
        assert_eq!(both.like(&wanted), Some(wanted));
        assert_eq!(both.sha256(), Digest::of(b"abc"));
        assert_eq!(both.anew().sha256(), Digest::of(b""));
        assert_eq!(Hashes::default().like(&wanted), None);
    }
}
