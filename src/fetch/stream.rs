//! Content as a node's store takes it: one tar, made of pieces that are compressed on their own.
//!
//! gzip members and zstd frames concatenate. So each content is kept compressed as one tar member
//! without an end of archive, and a push sends such pieces one after another and then a small
//! tail. Nothing is compressed during a push.

use std::fmt;
use std::io::{self, Read, Write};

use zeroize::Zeroizing;
use zstd::stream::raw::{self, Operation};
use zstd::stream::zio;
use zstd::zstd_safe::CParameter;

use crate::digest::Digest;

/// The size of a tar block in bytes.
pub(crate) const BLOCK: usize = 512;

/// The level of zstd for what is kept: compressed once, sent often. Beyond 9 it takes twice the
/// time for a few hundredths of the size.
const ZSTD_LEVEL: i32 = 9;
/// Logarithms of the sizes of zstd's window and tables: an eighth of what the level would take, for
/// a fiftieth more bytes.
const ZSTD_TABLES: [CParameter; 3] = [
    CParameter::WindowLog(21),
    CParameter::ChainLog(18),
    CParameter::HashLog(19),
];
/// The piece of the input that one thread compresses, in bytes. The result depends on it, and not
/// on the number of threads.
const ZSTD_JOB_BYTES: u32 = 1 << 20;
/// Threads that compress one content. Each takes about 8 MB.
const ZSTD_WORKERS_MAX: usize = 4;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// For nodes that have `zstd`.
    Zstd,
    /// For all others.
    Gzip,
}

impl Encoding {
    /// Its name: the program that unpacks it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What a file of it ends in.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Zstd => "tar.zst",
            Self::Gzip => "tar.gz",
        }
    }
}

/// The header of one tar member: a plain file of nobody in particular, so that the same content
/// makes the same bytes everywhere. The name is a digest or another short word.
pub(crate) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = tar::Header::new_ustar();
    header
        .set_path(name)
        .expect("a digest, as any name given here, fits the 100 bytes of a name");
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

/// The zeros between the end of a content and the next header.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = usize::try_from(size % BLOCK as u64).expect("a remainder of 512 fits");
    if over == 0 { &[] } else { &ZEROS[over..] }
}

/// The end of a push's stream: the contents that are small and not kept, and the end of archive.
///
/// Every node has one of its own at the same time, so it is compressed with as little memory as so
/// little takes.
pub fn tail(contents: &[(Digest, &[u8])], encoding: Encoding) -> Vec<u8> {
    let whole = |(_, content): &(Digest, &[u8])| content.len() + 2 * BLOCK;
    let bytes: usize = contents.iter().map(whole).sum();
    // Secrets may be in it; what grows leaves copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes + 2 * BLOCK));
    for (digest, content) in contents {
        let size = content.len() as u64;
        plain.extend(header(&digest.to_string(), size));
        plain.extend(*content);
        plain.extend(padding(size));
    }
    plain.extend([0; 2 * BLOCK]);
    let compressed = match encoding {
        // Sized for what is there.
        Encoding::Zstd => zstd::bulk::compress(&plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        Encoding::Gzip => {
            let mut compressed = Vec::new();
            let mut compressor = Compressor::default();
            let written = compressor.compress(encoding, &mut compressed, |to| to.write_all(&plain));
            written.map(|()| compressed)
        }
    };
    compressed.expect("compressing into memory cannot fail")
}

/// The beginning of a bundle: files that have names.
pub(crate) fn front(files: &[(&str, String)], encoding: Encoding) -> Vec<u8> {
    let mut compressed = Vec::new();
    let mut compressor = Compressor::default();
    let written = compressor.compress(encoding, &mut compressed, |plain| {
        for (name, content) in files {
            let size = content.len() as u64;
            plain.write_all(&header(name, size))?;
            plain.write_all(content.as_bytes())?;
            plain.write_all(padding(size))?;
        }
        Ok(())
    });
    written.expect("compressing into memory cannot fail");
    compressed
}

/// Compresses one content after another. The threads and tables of zstd are made once: memory that
/// one thread leaves is not the next one's, and so would add up.
pub(super) struct Compressor {
    workers: u32,
    zstd: Option<raw::Encoder<'static>>,
}

impl Default for Compressor {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_workers(u32::try_from(workers.min(ZSTD_WORKERS_MAX)).unwrap_or(1))
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compressor({} workers)", self.workers)
    }
}

impl Compressor {
    fn with_workers(workers: u32) -> Self {
        Self {
            workers,
            zstd: None,
        }
    }

    /// Writes one content as a piece of such a stream. The content must have the given size.
    pub(super) fn piece(
        &mut self,
        digest: Digest,
        size: u64,
        content: &mut dyn Read,
        encoding: Encoding,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        self.compress(encoding, to, |plain| {
            plain.write_all(&header(&digest.to_string(), size))?;
            let copied = io::copy(&mut content.take(size), plain)?;
            if copied != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            plain.write_all(padding(size))
        })
    }

    fn compress(
        &mut self,
        encoding: Encoding,
        to: &mut dyn Write,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match encoding {
            Encoding::Zstd => {
                // One that failed on the way is not used again.
                let zstd = match self.zstd.take() {
                    Some(mut zstd) => {
                        zstd.reinit()?;
                        zstd
                    }
                    None => self.new_zstd()?,
                };
                let mut encoder = zio::Writer::new(to, zstd);
                fill(&mut encoder)?;
                encoder.finish()?;
                self.zstd = Some(encoder.into_inner().1);
                Ok(())
            }
            Encoding::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(to, level);
                fill(&mut encoder)?;
                encoder.finish().map(drop)
            }
        }
    }

    fn new_zstd(&self) -> io::Result<raw::Encoder<'static>> {
        let mut zstd = raw::Encoder::new(ZSTD_LEVEL)?;
        // One thread of zstd's own even where there is one only: without, other bytes come out.
        zstd.set_parameter(CParameter::NbWorkers(self.workers))?;
        for parameter in ZSTD_TABLES {
            zstd.set_parameter(parameter)?;
        }
        zstd.set_parameter(CParameter::JobSize(ZSTD_JOB_BYTES))?;
        Ok(zstd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(compressed: &[u8], encoding: Encoding) -> Vec<u8> {
        let mut plain = Vec::new();
        match encoding {
            Encoding::Zstd => zstd::Decoder::new(compressed)
                .unwrap()
                .read_to_end(&mut plain),
            Encoding::Gzip => flate2::read::MultiGzDecoder::new(compressed).read_to_end(&mut plain),
        }
        .unwrap();
        plain
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let size = prop::sample::select(vec![0, 1, 511, 512, 513, 1024, 5000]);
        size.prop_flat_map(|size| prop::collection::vec(any::<u8>(), size))
    }

    proptest! {
        // Each case sets up compressors of many megabytes.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pieces_and_a_tail_are_one_archive(
            kept in prop::collection::vec(content(), 0..4),
            inline in prop::collection::vec(content(), 0..4),
            encoding in prop::sample::select(vec![Encoding::Zstd, Encoding::Gzip]),
        ) {
            let (mut stream, mut compressor) = (Vec::new(), Compressor::default());
            for content in &kept {
                let (digest, size) = (Digest::of(content), content.len() as u64);
                compressor
                    .piece(digest, size, &mut content.as_slice(), encoding, &mut stream)
                    .unwrap();
            }
            let inline: Vec<_> = inline.iter().map(|c| (Digest::of(c), c.as_slice())).collect();
            stream.extend(tail(&inline, encoding));

            let plain = plain(&stream, encoding);
            prop_assert_eq!(plain.len() % BLOCK, 0);
            let mut expected: Vec<&[u8]> = kept.iter().map(Vec::as_slice).collect();
            expected.extend(inline.iter().map(|(_, content)| *content));
            let mut archive = tar::Archive::new(plain.as_slice());
            let mut found = 0;
            for (entry, content) in archive.entries().unwrap().zip(&expected) {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().display().to_string();
                prop_assert_eq!(name, Digest::of(content).to_string());
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                prop_assert_eq!(&bytes, content);
                found += 1;
            }
            prop_assert_eq!(found, expected.len());
        }
    }

    #[test]
    fn any_number_of_threads_makes_the_same_bytes() {
        let content: Vec<u8> = (0..5_000_000_u32)
            .map(|i| (i.wrapping_mul(i) >> 7).to_le_bytes()[0])
            .collect();
        let made = [1, 2, 4].map(|workers| {
            let mut compressor = Compressor::with_workers(workers);
            // The second time with the same threads.
            [(); 2].map(|()| {
                let mut to = Vec::new();
                let fill = |plain: &mut dyn Write| plain.write_all(&content);
                compressor.compress(Encoding::Zstd, &mut to, fill).unwrap();
                to
            })
        });
        assert!(made.iter().flatten().all(|one| *one == made[0][0]));
    }

    #[test]
    fn a_content_that_is_shorter_than_it_should_be_makes_no_piece() {
        let mut to = Vec::new();
        let digest = Digest::of(b"abc");
        let made =
            Compressor::default().piece(digest, 4, &mut b"abc".as_slice(), Encoding::Zstd, &mut to);
        assert_eq!(made.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_header_says_nothing_of_this_machine() {
        let digest = Digest::of(b"abc");
        let header = header(&digest.to_string(), 3);
        assert_eq!(&header[..64], digest.to_string().as_bytes());
        assert_eq!(&header[100..107], b"0000600");
        assert_eq!(&header[108..115], b"0000000");
        assert_eq!(&header[257..263], b"ustar\0");
        assert_eq!(&header[265..329], &[0; 64]);
    }
}
