//! Brings one artifact into the cache: attempts, retries, resumption, verification.
//!
//! Bytes are hashed while they are written to `partial/<expected digest>`; only a file with the
//! right digest gets a name in the cache. What is left unfinished is gone on with by the next run.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;

use super::cache::{self, Cache, Found, Lock};
use super::checksum;
use super::error::{ExpectedBy, Fault, Mismatch};
use super::event::Event;
use super::http::{Answer, Http, Resume};
use super::partial::Partial;
use super::patience::{Limits, Patience};
use super::source::{Address, shown};
use crate::digest::Digest;

/// Nothing that is fetched is longer, in bytes: the largest server archive has about 450 MB.
const ARTIFACT_BYTES_MAX: u64 = 4 << 30;
/// Progress is told whenever this many more bytes are there.
const PROGRESS_BYTES: u64 = 256 * 1024;
/// How often is looked whether another process has finished.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// What is to be downloaded.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What it is called in events.
    pub(super) name: String,
    pub(super) digest: Digest,
    /// The pinned size in bytes, if there is a pin.
    pub(super) size: Option<u64>,
    pub(super) expected_by: ExpectedBy,
}

/// Downloads into a cache.
pub(super) struct Downloader<'a> {
    pub(super) cache: &'a Cache,
    pub(super) http: Http,
    pub(super) limits: Limits,
    pub(super) tell: &'a (dyn Fn(Event) + Sync),
}

impl Downloader<'_> {
    /// Makes sure that the wanted bytes are in the cache, and returns how many they are.
    pub(super) async fn obtain(&self, address: &Address, wanted: &Wanted) -> Result<u64, Fault> {
        let _alone = self.alone(wanted.digest).await?;
        let seconds = self.limits.total_seconds;
        let done = self.obtain_alone(address, wanted);
        tokio::time::timeout(Duration::from_secs(seconds), done)
            .await
            .map_err(|_| Fault::TooSlow { seconds })?
    }

    /// A small file, whole: a checksum.
    pub(super) async fn text(&self, name: &str, address: &Address) -> Result<Vec<u8>, Fault> {
        let mut patience = self.patience(name);
        loop {
            match self.text_once(address).await {
                Ok(text) => return Ok(text),
                Err(fault) => patience.again(fault, false).await?,
            }
        }
    }

    /// Waits until no other process, nor another job of this one, fetches the same.
    async fn alone(&self, digest: Digest) -> Result<Lock, Fault> {
        let since = Instant::now();
        let mut told = false;
        loop {
            if let Some(lock) = self.cache.try_lock(digest)? {
                return Ok(lock);
            }
            if since.elapsed().as_secs() >= self.limits.total_seconds {
                return Err(cache::Error::Busy(digest).into());
            }
            if !told {
                (self.tell)(Event::Waiting { digest });
                told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    async fn obtain_alone(&self, address: &Address, wanted: &Wanted) -> Result<u64, Fault> {
        let digest = wanted.digest;
        match self.cache.find(digest, false).await? {
            Found::Present(size) => {
                check_length(size, wanted)?;
                let name = wanted.name.clone();
                (self.tell)(Event::Cached { name, digest });
                return Ok(size);
            }
            Found::Corrupt => (self.tell)(Event::Corrupt { digest }),
            Found::Absent => {}
        }
        let size = match address {
            Address::File(path) => self.copy(path, wanted).await?,
            Address::Web(url) => self.download(url, wanted).await?,
        };
        (self.tell)(Event::Verified {
            name: wanted.name.clone(),
            digest,
            trust: wanted.expected_by.trust(),
        });
        Ok(size)
    }

    async fn copy(&self, path: &Path, wanted: &Wanted) -> Result<u64, Fault> {
        let length = fs::metadata(path)
            .map_err(|error| no_file(path, error))?
            .len();
        check_length(length, wanted)?;
        (self.tell)(Event::Started {
            name: wanted.name.clone(),
            url: Address::File(path.to_owned()).shown(),
            size: Some(length),
            resumed: 0,
        });
        let (cache, from) = (self.cache.clone(), path.to_owned());
        let copied = tokio::task::spawn_blocking(move || {
            let mut partial = Partial::open(&cache, cache.temporary()?.into_temp_path())?;
            let mut file = fs::File::open(&from).map_err(Fault::File)?;
            let mut buffer = vec![0; 128 * 1024];
            loop {
                match file.read(&mut buffer) {
                    Ok(0) => return Ok(partial),
                    Ok(read) => partial.write(&buffer[..read])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Fault::File(error)),
                }
            }
        });
        let partial = copied
            .await
            .map_err(|stopped| Fault::File(io::Error::other(stopped)))??;
        self.accept(partial, wanted).await
    }

    async fn download(&self, url: &reqwest::Url, wanted: &Wanted) -> Result<u64, Fault> {
        let (cache, path) = (self.cache.clone(), self.cache.partial(wanted.digest));
        let opened = tokio::task::spawn_blocking(move || Partial::open(&cache, path)).await;
        let mut partial = opened.map_err(|stopped| Fault::File(io::Error::other(stopped)))??;
        let mut patience = self.patience(&wanted.name);
        let mut resumed = partial.bytes > 0;
        loop {
            let before = partial.bytes;
            match self.download_once(url, wanted, &mut partial).await {
                Ok(from) => resumed &= from > 0,
                Err(fault) => {
                    let progressed = partial.bytes > before;
                    patience.again(fault, progressed).await?;
                    resumed |= partial.bytes > 0;
                    continue;
                }
            }
            if partial.hasher.clone().finish() != wanted.digest && resumed {
                // What was there from before may have been of another file; once from the start.
                partial.clear()?;
                resumed = false;
                continue;
            }
            return self.accept(partial, wanted).await;
        }
    }

    /// Appends what one request brings, and returns where in the file it began.
    async fn download_once(
        &self,
        url: &reqwest::Url,
        wanted: &Wanted,
        partial: &mut Partial<PathBuf>,
    ) -> Result<u64, Fault> {
        let validator = partial.validator.clone();
        let resume = Resume {
            from: partial.bytes,
            validator: validator.as_deref(),
        };
        let mut answer = match self.http.get(url, Some(resume)).await {
            Ok(answer) => answer,
            Err(fault @ Fault::Range { .. }) => {
                partial.clear()?;
                return Err(fault);
            }
            Err(fault) => return Err(fault),
        };
        if let Some(whole) = answer.whole
            && let Err(fault) = check_length(whole, wanted)
        {
            return Err(answer.page().await.map_or(fault, Fault::Page));
        }
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
        partial: &mut Partial<PathBuf>,
    ) -> Result<(), Fault> {
        let limit = wanted.size.unwrap_or(ARTIFACT_BYTES_MAX);
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
            }
        }
        self.progress(wanted, partial.bytes);
        Ok(())
    }

    fn progress(&self, wanted: &Wanted, bytes: u64) {
        let name = wanted.name.clone();
        (self.tell)(Event::Progress { name, bytes });
    }

    /// Gives a complete file its name in the cache if it is what is wanted.
    async fn accept<P: AsRef<Path> + Send + 'static>(
        &self,
        mut partial: Partial<P>,
        wanted: &Wanted,
    ) -> Result<u64, Fault> {
        let (found, size) = (partial.hasher.clone().finish(), partial.bytes);
        if found != wanted.digest {
            let page = partial.page();
            partial.clear()?;
            let mismatch = Mismatch {
                found,
                size,
                expected: wanted.digest,
                expected_by: wanted.expected_by,
                published: None,
            };
            return Err(page.map_or_else(|| Fault::Digest(Box::new(mismatch)), Fault::Page));
        }
        check_length(size, wanted)?;
        let admit = move |cache: &Cache| cache.admit(found, partial.finish());
        self.cache.blocking(admit).await?;
        Ok(size)
    }

    async fn text_once(&self, address: &Address) -> Result<Vec<u8>, Fault> {
        let limit = checksum::CHECKSUM_BYTES_MAX;
        let mut text = Vec::new();
        match address {
            Address::File(path) => {
                let file = fs::File::open(path).map_err(|error| no_file(path, error))?;
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

    fn patience(&self, name: &str) -> Patience<'_> {
        Patience::new(name, self.limits, self.tell)
    }
}

fn check_length(found: u64, wanted: &Wanted) -> Result<(), Fault> {
    match wanted.size {
        Some(pinned) if pinned != found => Err(Fault::Length { found, pinned }),
        _ => Ok(()),
    }
}

fn no_file(path: &Path, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::NoFile(path.to_owned()),
        _ => Fault::File(error),
    }
}
