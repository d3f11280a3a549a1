//! Brings one artifact into the cache: attempts, retries, resumption, verification.
//!
//! Bytes are hashed while they are written to `partial/<expected digest>`; only a file with the
//! right digest gets a name in the cache. An archive that was found to be right is unpacked, and its
//! programs get their names. What is left unfinished is gone on with by the next run.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::archive::{self, BadArchive, Member};
use super::cache::{self, Cache, Found};
use super::checksum;
use super::event::Event;
use super::fault::{ExpectedBy, Fault, Mismatch};
use super::http::{Answer, Http, Resume};
use super::partial::Partial;
use super::patience::{Limits, Patience, Rounds};
use super::source::{Address, shown};
use crate::digest::Digest;
use crate::lockfile::PinnedProgram;
use crate::regular_file;

/// Progress is told whenever this many more bytes are there.
const PROGRESS_BYTES: u64 = 256 * 1024;
/// How often is looked whether another process has finished.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// What is to be downloaded.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What it is called in events.
    pub(super) name: String,
    /// The digest it must have, which its unfinished download is kept under.
    pub(super) expected: Digest,
    /// What says so.
    pub(super) expected_by: ExpectedBy,
    /// The pinned size in bytes, if there is a pin.
    pub(super) size: Option<u64>,
    /// The programs to take out of it, if it is an archive: they are kept, and it is not.
    pub(super) members: Vec<Member>,
    /// What is pinned of those programs.
    pub(super) pinned: BTreeMap<String, PinnedProgram>,
}

/// What is in the cache now.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The programs that were taken out of it.
    pub(super) members: BTreeMap<String, PinnedProgram>,
}

/// Downloads into a cache.
pub(super) struct Downloader<'a> {
    pub(super) cache: &'a Cache,
    pub(super) http: Http,
    pub(super) limits: Limits,
    pub(super) tell: &'a (dyn Fn(Event) + Sync),
}

impl Downloader<'_> {
    /// Makes sure that the wanted bytes, or the programs in them, are in the cache.
    pub(super) async fn obtain(
        &self,
        address: &Address,
        wanted: &Wanted,
    ) -> Result<Received, Fault> {
        let partial = self.claim(wanted).await?;
        let seconds = self.limits.total_seconds;
        let done = self.obtain_alone(partial, address, wanted);
        tokio::time::timeout(Duration::from_secs(seconds), done)
            .await
            .map_err(|_| Fault::TooSlow { seconds })?
    }

    /// A small file, whole: a checksum, a manifest. Of one that is longer than the limit, a little more
    /// than that.
    pub(super) async fn text(
        &self,
        name: &str,
        address: &Address,
        limit: usize,
    ) -> Result<Vec<u8>, Fault> {
        let mut patience = self.patience(name);
        loop {
            // It is small: there is one time for the whole of it, however it comes.
            let seconds = self.limits.stall_seconds;
            let text = self.text_once(address, limit);
            let text = tokio::time::timeout(Duration::from_secs(seconds), text);
            match text.await.map_err(|_| Fault::TooSlow { seconds }).flatten() {
                Ok(text) => return Ok(text),
                Err(fault) if fault.is_slow() => return Err(fault),
                Err(fault) => patience.again(fault, false).await?,
            }
        }
    }

    /// Waits until no other process, nor another job of this one, fetches the same.
    async fn claim(&self, wanted: &Wanted) -> Result<Partial, Fault> {
        let since = Instant::now();
        let mut told = false;
        loop {
            if let Some(partial) = Partial::claim(self.cache, wanted.expected)? {
                return Ok(partial);
            }
            let name = wanted.name.clone();
            if since.elapsed().as_secs() >= self.limits.total_seconds {
                return Err(cache::Error::Busy { name }.into());
            }
            if !told {
                (self.tell)(Event::Waiting { name });
                told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn obtain_alone(
        &self,
        partial: Partial,
        address: &Address,
        wanted: &Wanted,
    ) -> Result<Received, Fault> {
        if let Some(received) = self.there(wanted).await? {
            partial.remove();
            let (name, digest) = (wanted.name.clone(), received.digest);
            (self.tell)(Event::Cached { name, digest });
            return Ok(received);
        }
        let mut partial = blocking(move || Ok(partial.resume()?)).await?;
        // Whoever was killed while it unpacked, or had no room to, has left all of it.
        if partial.bytes == 0 || partial.digest() != wanted.expected {
            partial = match address {
                Address::File(path) => self.copy(path, wanted, partial).await?,
                Address::Web(url) => {
                    self.complete(url, wanted, &mut partial).await?;
                    partial
                }
            };
        }
        let received = self.accept(partial, wanted).await?;
        (self.tell)(Event::Verified {
            name: wanted.name.clone(),
            digest: received.digest,
            trust: wanted.expected_by.trust(),
        });
        Ok(received)
    }

    /// What another process may have brought in the meantime.
    async fn there(&self, wanted: &Wanted) -> Result<Option<Received>, Fault> {
        let digest = wanted.expected;
        let mut received = Received {
            digest,
            size: wanted.size.unwrap_or(0),
            members: BTreeMap::new(),
        };
        if wanted.members.is_empty() {
            return match self.cache.find(digest, false).await? {
                Found::Present(size) => {
                    self.check_length(size, wanted)?;
                    Ok(Some(Received { size, ..received }))
                }
                Found::Corrupt => {
                    let name = wanted.name.clone();
                    (self.tell)(Event::Corrupt { name });
                    Ok(None)
                }
                Found::Absent => Ok(None),
            };
        }
        for (name, _) in &wanted.members {
            let Some(pinned) = wanted.pinned.get(*name) else {
                return Ok(None);
            };
            let Found::Present(_) = self.cache.find(pinned.digest, false).await? else {
                return Ok(None);
            };
            received.members.insert((*name).to_owned(), *pinned);
        }
        Ok(Some(received))
    }

    async fn copy(
        &self,
        path: &Path,
        wanted: &Wanted,
        mut partial: Partial,
    ) -> Result<Partial, Fault> {
        partial.clear()?;
        let length = fs::metadata(path)
            .map_err(|error| no_file(path, error))?
            .len();
        self.check_length(length, wanted)?;
        self.cache.check_room(length)?;
        (self.tell)(Event::Started {
            name: wanted.name.clone(),
            url: Address::File(path.to_owned()).shown(),
            size: Some(length),
            resumed: 0,
        });
        let from = path.to_owned();
        let copied = blocking(move || {
            let mut file = regular_file::open(&from).map_err(Fault::File)?;
            let mut buffer = vec![0; 128 * 1024];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => return Ok(partial),
                    // It may grow while it is read.
                    Ok(read) if partial.bytes + read as u64 > length => {
                        return Err(Fault::File(io::Error::other("it grew while it was read")));
                    }
                    Ok(read) => partial.write(&buffer[..read])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Fault::File(error)),
                }
            }
        });
        copied.await
    }

    /// Asks until there is a whole file, which need not be the right one.
    async fn complete(
        &self,
        url: &reqwest::Url,
        wanted: &Wanted,
        partial: &mut Partial,
    ) -> Result<(), Fault> {
        let mut patience = self.patience(&wanted.name);
        // What another source left may be the start of nothing.
        if partial.bytes > 0 && lacks_start(wanted, &partial.start()).is_some() {
            partial.clear()?;
        }
        let mut resumed = partial.bytes > 0;
        // Bytes that came once before are no progress: a source may give the same ones for ever.
        let mut most = partial.bytes;
        loop {
            match self.download_once(url, wanted, partial).await {
                Ok(from) => resumed &= from > 0,
                Err(fault) if fault.is_slow() => return Err(fault),
                Err(fault) => {
                    let progressed = partial.bytes > most;
                    most = most.max(partial.bytes);
                    patience.again(fault, progressed).await?;
                    resumed |= partial.bytes > 0;
                    continue;
                }
            }
            if resumed && partial.digest() != wanted.expected {
                // What was there from before may have been of another file; once from the start.
                partial.clear()?;
                resumed = false;
                continue;
            }
            return Ok(());
        }
    }

    /// Appends what one request brings, and returns where in the file it began.
    async fn download_once(
        &self,
        url: &reqwest::Url,
        wanted: &Wanted,
        partial: &mut Partial,
    ) -> Result<u64, Fault> {
        let validator = partial.validator.clone();
        let resume = Resume {
            from: partial.bytes,
            validator: validator.as_deref(),
        };
        let mut answer = match self.http.get(url, Some(resume)).await {
            Ok(answer) => answer,
            Err(fault) if fault.is_range() => {
                partial.clear()?;
                return Err(fault);
            }
            Err(fault) => return Err(fault),
        };
        if let Some(whole) = answer.whole
            && let Err(fault) = self.check_length(whole, wanted)
        {
            return Err(answer.page().await.map_or(fault, Fault::Page));
        }
        let whole = answer.whole.or(wanted.size).unwrap_or(0);
        self.cache.check_room(whole.saturating_sub(answer.from))?;
        if answer.from == 0 {
            partial.clear()?;
            partial.note_validator(answer.validator.take());
        }
        (self.tell)(Event::Started {
            name: wanted.name.clone(),
            url: shown(url),
            size: answer.whole.or(wanted.size),
            resumed: answer.from,
        });
        let from = answer.from;
        self.append(&mut answer, wanted, partial).await?;
        Ok(from)
    }

    async fn append(
        &self,
        answer: &mut Answer,
        wanted: &Wanted,
        partial: &mut Partial,
    ) -> Result<(), Fault> {
        let limit = wanted.size.unwrap_or(self.limits.artifact_bytes_max);
        let mut told = partial.bytes;
        while let Some(piece) = answer.piece(partial.bytes).await? {
            partial.write(piece.as_ref())?;
            if partial.bytes > limit {
                partial.clear()?;
                return Err(match wanted.size {
                    Some(pinned) => Fault::Length {
                        found: limit + 1,
                        pinned,
                    },
                    None => Fault::TooLong { limit },
                });
            }
            if partial.bytes - told >= PROGRESS_BYTES {
                told = partial.bytes;
                self.progress(wanted, told);
                check_start(wanted, partial)?;
            }
        }
        self.progress(wanted, partial.bytes);
        Ok(())
    }

    fn progress(&self, wanted: &Wanted, bytes: u64) {
        let name = wanted.name.clone();
        (self.tell)(Event::Progress { name, bytes });
    }

    /// Gives a complete file, or the programs in it, a name in the cache if it is what is wanted.
    async fn accept(&self, partial: Partial, wanted: &Wanted) -> Result<Received, Fault> {
        let (digest, size) = (partial.digest(), partial.bytes);
        if digest != wanted.expected {
            let page = partial.page();
            partial.remove();
            let mismatch = Mismatch {
                found: digest,
                size,
                expected: wanted.expected,
                expected_by: wanted.expected_by,
                published: None,
            };
            return Err(page.map_or_else(|| Fault::Digest(Box::new(mismatch)), Fault::Page));
        }
        self.check_length(size, wanted)?;
        let (cache, programs) = (self.cache.clone(), wanted.members.clone());
        let members = blocking(move || {
            if programs.is_empty() {
                partial.admit()?;
                return Ok(BTreeMap::new());
            }
            unpack(&cache, partial, &programs)
        });
        let members = members.await?;
        Ok(Received {
            digest,
            size,
            members,
        })
    }

    async fn text_once(&self, address: &Address, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut text = Vec::new();
        match address {
            Address::File(path) => {
                let file = regular_file::open(path).map_err(|error| no_file(path, error))?;
                let mut file = file.take(limit as u64 + 1);
                file.read_to_end(&mut text).map_err(Fault::File)?;
            }
            Address::Web(url) => {
                let mut answer = self.http.get(url, None).await?;
                while text.len() <= limit
                    && let Some(piece) = answer.piece(text.len() as u64).await?
                {
                    text.extend_from_slice(piece.as_ref());
                }
            }
        }
        Ok(text)
    }

    /// Refuses a length that is not the pinned one, or that nothing has.
    fn check_length(&self, found: u64, wanted: &Wanted) -> Result<(), Fault> {
        let limit = self.limits.artifact_bytes_max;
        match wanted.size {
            Some(pinned) if pinned != found => Err(Fault::Length { found, pinned }),
            None if found > limit => Err(Fault::TooLong { limit }),
            _ => Ok(()),
        }
    }

    /// Decides how often slow sources of something are asked.
    pub(super) fn rounds(&self, name: &str) -> Rounds<'_> {
        Rounds::new(name, self.limits, self.tell)
    }

    fn patience(&self, name: &str) -> Patience<'_> {
        Patience::new(name, self.limits, self.tell)
    }
}

/// Refuses what is not pinned and does not begin as it should, before all of it came: it might never end.
fn check_start(wanted: &Wanted, partial: &mut Partial) -> Result<(), Fault> {
    let start = partial.start();
    let Some(what) = lacks_start(wanted, &start) else {
        return Ok(());
    };
    partial.clear()?;
    Err(checksum::page(&start).map_or(Fault::Kind { what }, Fault::Page))
}

/// What something that is not pinned should be, if it does not begin so.
fn lacks_start(wanted: &Wanted, start: &[u8]) -> Option<&'static str> {
    let (what, magic) = if wanted.members.is_empty() {
        ("program", &b"\x7fELF"[..])
    } else {
        ("`.tar.gz`", &b"\x1f\x8b"[..])
    };
    (wanted.size.is_none() && !start.starts_with(magic)).then_some(what)
}

/// Takes programs out of an archive that was found to be right, and forgets it unless there was no
/// room for them.
fn unpack(
    cache: &Cache,
    archive: Partial,
    programs: &[Member],
) -> Result<BTreeMap<String, PinnedProgram>, Fault> {
    let staged = archive::unpack(archive.read()?, programs, |content| cache.stage(content));
    if let Err(BadArchive::Write(error)) = staged {
        return Err(error.into());
    }
    archive.remove();
    let mut members = BTreeMap::new();
    for (name, (pinned, file)) in staged.map_err(Fault::Archive)? {
        cache.admit(pinned.digest, file)?;
        members.insert(name.to_owned(), pinned);
    }
    Ok(members)
}

/// Runs work that hashes or unpacks where it holds up nothing else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|stopped| Fault::File(io::Error::other(stopped)))?
}

fn no_file(path: &Path, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::NoFile(path.to_owned()),
        _ => Fault::File(error),
    }
}
