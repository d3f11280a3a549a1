//! How long is waited for a source, and how often it is asked again.

use std::time::{Duration, Instant};

use super::error::Fault;
use super::event::Event;

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection, in seconds.
    pub connect_seconds: u64,
    /// For the next byte, in seconds.
    pub stall_seconds: u64,
    /// For a whole artifact from one source, retries included, in seconds.
    pub total_seconds: u64,
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
            total_seconds: 3600,
            attempts_max: 5,
            backoff_milliseconds: 500,
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
        self.failures = if progressed { 1 } else { self.failures + 1 };
        self.retries += 1;
        // A server that gives a few bytes each time is not worth more than this.
        let tired = self.retries >= self.limits.attempts_max * 10;
        let late = self.since.elapsed().as_secs() >= self.limits.total_seconds;
        if !fault.passes() || self.failures >= self.limits.attempts_max || tired || late {
            return Err(fault);
        }
        let doubled = self.limits.backoff_milliseconds << (self.failures - 1).min(6);
        (self.tell)(Event::Retrying {
            name: self.name.clone(),
            reason: fault.to_string(),
            wait_milliseconds: doubled,
        });
        tokio::time::sleep(Duration::from_millis(doubled)).await;
        Ok(())
    }
}
