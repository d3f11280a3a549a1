//! Programs taken out of an archive while it is downloaded. Nothing of them is used before the
//! whole archive was found to be right.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use fs_err as fs;
use tempfile::TempPath;

use super::archive::{self, BadArchive};
use super::cache::{self, Cache};
use super::tail::{End, Tail, TailReader};
use crate::lockfile::PinnedProgram;

/// A program and its path inside an archive.
pub(super) type Member = (&'static str, String);

/// An archive that is being unpacked; given up when it is dropped.
pub(super) struct Unpacking {
    tail: Arc<Tail>,
    thread: Option<tokio::task::JoinHandle<Result<Staged, BadArchive>>>,
}

/// Programs without a place in the cache yet.
type Staged = BTreeMap<&'static str, (PinnedProgram, TempPath)>;

impl Unpacking {
    /// Begins to unpack the archive that grows at a path.
    pub(super) fn start(
        cache: &Cache,
        path: PathBuf,
        tail: Arc<Tail>,
        members: Vec<Member>,
    ) -> Self {
        let (cache, followed) = (cache.clone(), Arc::clone(&tail));
        let thread = tokio::task::spawn_blocking(move || {
            loop {
                let generation = followed.generation();
                let staged = stage(&cache, &path, &followed, generation, &members);
                // What went wrong may have been of bytes that are not there any more.
                if followed.settled(generation).is_some() {
                    return staged;
                }
            }
        });
        Self {
            tail,
            thread: Some(thread),
        }
    }

    /// Gives the programs their place in the cache, after the archive was found to be right.
    pub(super) async fn admit(
        mut self,
        cache: &Cache,
    ) -> Result<BTreeMap<String, PinnedProgram>, BadArchive> {
        self.tail.end(End::Complete);
        let thread = self.thread.take().expect("it is only taken here");
        let staged = thread.await.map_err(stopped)??;
        let admit = move |cache: &Cache| {
            let mut members = BTreeMap::new();
            for (name, (pinned, file)) in staged {
                cache.admit(pinned.digest, file)?;
                members.insert(name.to_owned(), pinned);
            }
            Ok(members)
        };
        Ok(cache.blocking(admit).await?)
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        self.tail.end(End::Abandoned);
    }
}

fn stage(
    cache: &Cache,
    path: &PathBuf,
    tail: &Tail,
    generation: u64,
    members: &[Member],
) -> Result<Staged, BadArchive> {
    let file = fs::File::open(path).map_err(|error| cache.failed(error))?;
    let reader = TailReader::new(file, tail, generation);
    archive::unpack(reader, members, |content| cache.stage(content))
}

fn stopped(stopped: tokio::task::JoinError) -> BadArchive {
    BadArchive::Write(cache::Error::Io(io::Error::other(stopped)))
}
