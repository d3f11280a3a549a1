//! The end of calls that do not come to one by themselves. A node is not trusted to answer, to answer
//! in time, or to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Body, Error};
use crate::inventory::NodeName;
use crate::script::{Limits, Script};

/// Seconds that no limit exceeds, for tests that cannot wait. Only builds with debug assertions
/// read it, as with `apply/pause.rs`.
const VARIABLE: &str = "KINSTALL_SECONDS_MAX";
/// How often a call is looked at, in milliseconds.
const LOOK_MILLISECONDS: u64 = 100;

/// A limit in seconds.
pub(super) fn seconds(limit: u64) -> Duration {
    Duration::from_secs(limit).min(shortest())
}

/// A limit in milliseconds.
pub(super) fn milliseconds(limit: u64) -> Duration {
    Duration::from_millis(limit).min(shortest())
}

fn shortest() -> Duration {
    let given = if cfg!(debug_assertions) {
        std::env::var(VARIABLE).ok()
    } else {
        None
    };
    let given = given.and_then(|text| text.parse().ok());
    given.map_or(Duration::MAX, Duration::from_secs)
}

/// How much a call has moved so far.
pub(super) struct Moved {
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Moved {
    pub(super) fn of(body: &Body) -> Self {
        Self {
            sent: Arc::clone(&body.sent),
            received: Arc::clone(&body.received),
        }
    }

    fn now(&self) -> (u64, u64) {
        let count = |it: &AtomicU64| it.load(Ordering::Relaxed);
        (count(&self.sent), count(&self.received))
    }
}

/// Waits for a call, and gives it up when it is over a limit of its script's.
pub(super) async fn keep<T>(
    node: &NodeName,
    script: Script,
    moved: &Moved,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        reply = call => reply,
        what = overdue(script.limits, moved) => Err(Error::Late {
            node: node.clone(),
            script: script.name,
            what,
        }),
    }
}

/// The same for a call that moves nothing which is counted.
pub(super) async fn deadline<T>(
    node: &NodeName,
    script: &'static str,
    limit: u64,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = seconds(limit);
    let ended = tokio::time::timeout(limit, call).await;
    ended.unwrap_or_else(|_| {
        Err(Error::Late {
            node: node.clone(),
            script,
            what: no_answer(limit),
        })
    })
}

/// Ends once a call is over a limit, and says over which.
async fn overdue(limits: Limits, moved: &Moved) -> String {
    let (whole, silence) = (seconds(limits.seconds), seconds(limits.silence_seconds));
    let mut last = moved.now();
    let (mut taken, mut heard) = (Instant::now(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        let now = moved.now();
        if now.0 != last.0 {
            taken = Instant::now();
        }
        if now != last {
            heard = Instant::now();
        }
        last = now;
        if heard.elapsed() >= silence {
            return if now.1 == 0 {
                no_answer(silence)
            } else {
                format!("was silent for {} s", silence.as_secs())
            };
        }
        if taken.elapsed() >= whole {
            return format!("did not end within {} s", whole.as_secs());
        }
    }
}

fn no_answer(limit: Duration) -> String {
    format!("gave no answer within {} s", limit.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(seconds: u64, silence_seconds: u64) -> Limits {
        Limits {
            seconds,
            silence_seconds,
            output_kilobytes: 1,
        }
    }

    #[tokio::test]
    async fn what_moves_is_not_overdue_and_what_trickles_is() {
        let body = Body::default();
        let moved = Moved::of(&body);
        let silent = overdue(limits(9, 1), &moved).await;
        assert_eq!(silent, "gave no answer within 1 s");

        // An answer that trickles keeps it from being silent, and not from having a deadline.
        let (sent, received) = (Arc::clone(&body.sent), Arc::clone(&body.received));
        let trickle = |count: Arc<AtomicU64>| async move {
            loop {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let why = tokio::select! {
            why = overdue(limits(2, 1), &moved) => why,
            () = trickle(received) => unreachable!("it has no end"),
        };
        assert_eq!(why, "did not end within 2 s");

        // Input that is taken is progress.
        let late = overdue(limits(1, 1), &moved);
        let taking = tokio::time::timeout(Duration::from_secs(2), trickle(sent));
        tokio::select! {
            why = late => panic!("{why}, while its input was taken"),
            ended = taking => assert!(ended.is_err()),
        }
    }
}
