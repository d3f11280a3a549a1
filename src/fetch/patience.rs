//! How long is waited for a source, how fast it must be, and how often it is asked again.

use std::time::{Duration, Instant};

use super::error::Attempt;
use super::event::Event;
use super::fault::Fault;
use crate::lockfile::ARTIFACT_BYTES_MAX;

/// How many rounds in a row may bring nothing new where sources are too slow: each takes its time.
const SLOW_ROUNDS_MAX: u32 = 3;

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection, in seconds.
    pub connect_seconds: u64,
    /// For the headers of an answer, for a whole checksum file, and the time over which the rate of
    /// anything else is measured, in seconds.
    pub stall_seconds: u64,
    /// The least rate, in bytes a second: several downloads share a slow link.
    pub bytes_per_second_min: u64,
    /// For a whole artifact from one source, retries included, in seconds. 450 MB, the largest
    /// archive, take three hours at 50 KB a second.
    pub total_seconds: u64,
    /// The most bytes of an artifact that is not pinned yet.
    pub artifact_bytes_max: u64,
    /// How many attempts in a row may bring nothing new.
    pub attempts_max: u32,
    /// The wait before the first retry, in milliseconds; doubled for each further one.
    pub backoff_milliseconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_seconds: 15,
            stall_seconds: 30,
            bytes_per_second_min: 1024,
            total_seconds: 6 * 60 * 60,
            artifact_bytes_max: ARTIFACT_BYTES_MAX,
            attempts_max: 5,
            backoff_milliseconds: 500,
        }
    }
}

impl Limits {
    /// What must come within `stall_seconds`, in bytes.
    const fn quota(&self) -> u64 {
        self.bytes_per_second_min * self.stall_seconds
    }
}

/// Watches how fast a body comes. Only the time that is spent waiting counts: a slow disk of our own
/// is no fault of the source.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Limits,
    /// How long may still be waited for the rest of the quota.
    left: Duration,
    /// What came of the quota.
    bytes: u64,
}

impl Pace {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            left: Duration::from_secs(limits.stall_seconds),
            bytes: 0,
        }
    }

    /// Waits for the next piece; `received` is what is there already.
    pub(super) async fn wait<T: AsRef<[u8]>, E>(
        &mut self,
        piece: impl Future<Output = Result<Option<T>, E>>,
        received: u64,
    ) -> Result<Result<Option<T>, E>, Fault> {
        let since = Instant::now();
        let Ok(piece) = tokio::time::timeout(self.left, piece).await else {
            return Err(self.fault(received));
        };
        self.left = self.left.saturating_sub(since.elapsed());
        if let Ok(Some(piece)) = &piece {
            self.bytes += piece.as_ref().len() as u64;
        }
        if self.bytes >= self.limits.quota() {
            *self = Self::new(self.limits);
        }
        Ok(piece)
    }

    fn fault(&self, received: u64) -> Fault {
        let (bytes, seconds) = (self.bytes, self.limits.stall_seconds);
        if bytes == 0 {
            return Fault::Stalled { seconds, received };
        }
        Fault::Slow {
            bytes,
            seconds,
            received,
        }
    }
}

/// Decides whether and when there is another attempt.
pub(super) struct Patience<'a> {
    name: String,
    failures: u32,
    retries: u32,
    limits: Limits,
    since: Instant,
    tell: &'a (dyn Fn(Event) + Sync),
}

impl<'a> Patience<'a> {
    pub(super) fn new(name: &str, limits: Limits, tell: &'a (dyn Fn(Event) + Sync)) -> Self {
        Self {
            name: name.to_owned(),
            failures: 0,
            retries: 0,
            limits,
            since: Instant::now(),
            tell,
        }
    }

    /// Waits for the next attempt, or gives the fault back if there is none.
    pub(super) async fn again(&mut self, fault: Fault, progressed: bool) -> Result<(), Fault> {
        if self.wait(&fault, progressed).await {
            Ok(())
        } else {
            Err(fault)
        }
    }

    async fn wait(&mut self, fault: &Fault, progressed: bool) -> bool {
        self.failures = if progressed { 1 } else { self.failures + 1 };
        self.retries += 1;
        // A server that gives a few bytes each time is not worth more than this.
        let tired = self.retries >= self.limits.attempts_max * 10;
        let late = self.since.elapsed().as_secs() >= self.limits.total_seconds;
        if !fault.passes() || self.failures >= self.limits.attempts_max || tired || late {
            return false;
        }
        let doubled = self.limits.backoff_milliseconds << (self.failures - 1).min(6);
        (self.tell)(Event::Retrying {
            name: self.name.clone(),
            reason: fault.to_string(),
            wait_milliseconds: doubled,
        });
        tokio::time::sleep(Duration::from_millis(doubled)).await;
        true
    }
}

/// Decides whether sources that were too slow are asked once more.
pub(super) struct Rounds<'a> {
    patience: Patience<'a>,
    /// The most bytes that were there after any round.
    most: u64,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(name: &str, limits: Limits, tell: &'a (dyn Fn(Event) + Sync)) -> Self {
        let limits = Limits {
            attempts_max: limits.attempts_max.min(SLOW_ROUNDS_MAX),
            ..limits
        };
        Self {
            patience: Patience::new(name, limits, tell),
            most: 0,
        }
    }

    /// Waits for another round, if there is one and anybody to ask.
    pub(super) async fn another<T>(&mut self, slow: &[(T, Attempt)]) -> bool {
        let faults = slow.iter().map(|(_, attempt)| &attempt.fault);
        let Some(last) = faults.clone().next_back() else {
            return false;
        };
        let received = faults.map(Fault::received).max().unwrap_or(0);
        // A byte now and then is no progress.
        let progressed = received >= self.most + self.patience.limits.quota();
        self.most = self.most.max(received);
        self.patience.wait(last, progressed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of so many bytes, one each so many milliseconds; returns how many bytes came before
    /// it was given up, or nothing if it was not.
    async fn given_up(bytes: usize, milliseconds: u64, pieces: usize) -> Option<(u64, Fault)> {
        let limits = Limits {
            stall_seconds: 1,
            bytes_per_second_min: 1000,
            ..Limits::default()
        };
        let (mut pace, mut received) = (Pace::new(limits), 0);
        for _ in 0..pieces {
            let piece = async {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok::<_, ()>(Some(vec![0; bytes]))
            };
            match pace.wait(piece, received).await {
                Ok(_) => received += bytes as u64,
                Err(fault) => return Some((received, fault)),
            }
        }
        None
    }

    #[tokio::test]
    async fn what_comes_too_slowly_is_given_up_and_what_is_only_slow_is_not() {
        assert!(given_up(150, 30, 50).await.is_none());
        assert!(given_up(2000, 600, 3).await.is_none());
        let (received, fault) = given_up(10, 30, 100).await.unwrap();
        assert!((10..400).contains(&received), "{received}");
        assert!(matches!(fault, Fault::Slow { bytes, seconds: 1, .. } if bytes == received));
        let (_, fault) = given_up(10, 5000, 1).await.unwrap();
        assert!(matches!(fault, Fault::Stalled { received: 0, .. }));
    }
}
