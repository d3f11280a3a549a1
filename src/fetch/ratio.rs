//! Decompression that does not go on for ever: what comes out stays in proportion to what goes in.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// So many bytes may come out whatever went in.
const FREE_BYTES: u64 = 64 << 20;
/// Beyond that, so many may come out for each that went in. Programs shrink to a third or fourth; a
/// gigabyte of zeros shrinks to a thousandth.
const RATIO_MAX: u64 = 100;

/// A decompressed stream within bounds.
pub(crate) struct Plain<D> {
    decoder: D,
    compressed: Rc<Cell<u64>>,
    unpacked: u64,
}

impl<D> Plain<D> {
    /// What a decoder makes of what was counted.
    pub(crate) fn new(decoder: D, compressed: Rc<Cell<u64>>) -> Self {
        Self {
            decoder,
            compressed,
            unpacked: 0,
        }
    }
}

impl<D: Read> Read for Plain<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.unpacked += read as u64;
        let allowed = self.compressed.get().saturating_mul(RATIO_MAX);
        if self.unpacked > allowed.max(FREE_BYTES) {
            return Err(io::Error::other(
                "it unpacks to more than a hundred times its size",
            ));
        }
        Ok(read)
    }
}

/// Counts what is read of the compressed bytes.
pub(crate) struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R> Counted<R> {
    pub(crate) fn new(inner: R) -> Self {
        let count = Rc::default();
        Self { inner, count }
    }

    /// Where it is counted.
    pub(crate) fn count(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn unpacked(bytes: u64, piece: &[u8]) -> io::Result<u64> {
        let endless = std::iter::repeat_n(piece, usize::try_from(bytes).unwrap() / piece.len());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for piece in endless {
            io::Write::write_all(&mut packed, piece)?;
        }
        let packed = packed.finish()?;
        let packed = Counted::new(packed.as_slice());
        let count = packed.count();
        let mut plain = Plain::new(flate2::read::MultiGzDecoder::new(packed), count);
        io::copy(&mut plain, &mut io::sink())
    }

    #[test]
    fn a_bomb_ends_and_what_only_shrinks_well_does_not() {
        let zeros = vec![0; 1 << 16];
        assert_eq!(unpacked(FREE_BYTES, &zeros).unwrap(), FREE_BYTES);
        let error = unpacked(2 * FREE_BYTES, &zeros).unwrap_err().to_string();
        assert_eq!(error, "it unpacks to more than a hundred times its size");
        let noise: Vec<u8> = (0..1_u32 << 16)
            .map(|i| (i.wrapping_mul(i) >> 7).to_le_bytes()[0])
            .collect();
        let text: Vec<u8> = noise.iter().flat_map(|byte| [*byte; 20]).collect();
        let bytes = 2 * FREE_BYTES / text.len() as u64 * text.len() as u64;
        assert_eq!(unpacked(bytes, &text).unwrap(), bytes);
    }
}
