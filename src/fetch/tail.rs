//! A file that is read while it still grows: an archive is unpacked as it comes.

use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fs_err as fs;

/// What the writer of a file tells its reader.
#[derive(Debug, Default)]
pub(super) struct Tail {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many bytes can be read.
    bytes: u64,
    /// How often the file was begun anew.
    generation: u64,
    end: Option<End>,
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All of it is there, and right.
    Complete,
    /// Nobody wants it any more.
    Abandoned,
}

impl Tail {
    /// Says how many bytes are there by now; fewer than before is a new beginning.
    pub(super) fn reach(&self, bytes: u64) {
        let mut state = self.state();
        if bytes < state.bytes {
            state.generation += 1;
        }
        state.bytes = bytes;
        self.changed.notify_all();
    }

    /// Says that nothing more comes. The first word counts.
    pub(super) fn end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Which beginning of the file there is now.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Waits until this beginning of the file has an end; nothing if it was begun anew instead.
    pub(super) fn settled(&self, generation: u64) -> Option<End> {
        let mut state = self.state();
        loop {
            if state.generation != generation {
                return None;
            }
            if let Some(end) = state.end {
                return Some(end);
            }
            state = self.wait(state);
        }
    }

    /// How many bytes there are beyond these, waiting for some; none at the end.
    fn beyond(&self, read: u64, generation: u64) -> io::Result<u64> {
        let mut state = self.state();
        loop {
            if state.generation != generation || state.end == Some(End::Abandoned) {
                return Err(io::Error::other("the file was begun anew"));
            }
            if state.bytes > read || state.end.is_some() {
                return Ok(state.bytes.saturating_sub(read));
            }
            state = self.wait(state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one beginning of a growing file.
pub(super) struct TailReader<'a> {
    file: fs::File,
    tail: &'a Tail,
    generation: u64,
    read: u64,
}

impl<'a> TailReader<'a> {
    pub(super) fn new(file: fs::File, tail: &'a Tail, generation: u64) -> Self {
        Self {
            file,
            tail,
            generation,
            read: 0,
        }
    }
}

impl Read for TailReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.tail.beyond(self.read, self.generation)?;
        let most = usize::try_from(there).map_or(buffer.len(), |there| there.min(buffer.len()));
        let read = self.file.read(&mut buffer[..most])?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    #[test]
    fn a_reader_follows_a_writer_to_the_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let tail = Tail::default();
        let reader = fs::File::open(file.path()).unwrap();
        std::thread::scope(|scope| {
            let read = scope.spawn(|| {
                let mut bytes = Vec::new();
                TailReader::new(reader, &tail, 0)
                    .read_to_end(&mut bytes)
                    .unwrap();
                bytes
            });
            for piece in 1..=50_u64 {
                file.write_all(&[7; 100]).unwrap();
                tail.reach(piece * 100);
                std::thread::sleep(Duration::from_micros(200));
            }
            tail.end(End::Complete);
            assert_eq!(read.join().unwrap(), [7; 5000]);
        });
        assert_eq!(tail.settled(0), Some(End::Complete));
    }

    #[test]
    fn a_new_beginning_is_noticed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tail = Tail::default();
        tail.reach(10);
        let mut reader = TailReader::new(fs::File::open(file.path()).unwrap(), &tail, 0);
        tail.reach(0);
        assert!(reader.read(&mut [0; 8]).is_err());
        assert_eq!((tail.settled(0), tail.generation()), (None, 1));
        tail.end(End::Abandoned);
        assert_eq!(tail.settled(1), Some(End::Abandoned));
    }
}
