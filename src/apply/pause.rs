//! A run can be held before any of its actions, so that tests do to it there what the world does
//! at random: kill it, cut a cable, take the power away, fill a disk. Only builds with debug
//! assertions know of it; in others the question is settled when they are compiled.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::inventory::NodeName;

/// `NUMBER:DIRECTORY`: at the action of this number, counted from 1, the file `reached` appears in
/// the directory, and the action waits until there is one `go`. The actions after it wait as long
/// as there is one `hold`.
const VARIABLE: &str = "KINSTALL_PAUSE";
/// How long an action is held, in milliseconds.
const HELD_MILLISECONDS_MAX: u64 = 60_000;
/// How often is looked whether it may go on, in milliseconds.
const LOOK_MILLISECONDS: u64 = 5;

/// Where a run is held, if anywhere.
#[derive(Debug, Default)]
pub struct Pause {
    point: Option<Point>,
}

#[derive(Debug)]
struct Point {
    number: u64,
    directory: PathBuf,
    begun: AtomicU64,
}

impl Pause {
    /// As the environment says.
    pub fn from_environment() -> Self {
        if !cfg!(debug_assertions) {
            return Self::default();
        }
        let value = std::env::var(VARIABLE).ok();
        Self {
            point: value.and_then(|value| Point::parse(&value)),
        }
    }

    /// Is asked before each action.
    pub(super) async fn before(&self, node: &NodeName, action: &str) {
        let Some(point) = &self.point else {
            return;
        };
        let number = point.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let line = format!("{number} {node} {action}\n");
        // Without its directory nobody waits for us.
        if point.tell("actions", &line).is_err() || number < point.number {
            return;
        }
        let hold = point.directory.join("hold");
        if number > point.number {
            return wait_while(|| hold.exists()).await;
        }
        if point.tell("reached", &line).is_err() {
            return;
        }
        let go = point.directory.join("go");
        wait_while(|| !go.exists()).await;
    }
}

async fn wait_while(held: impl Fn() -> bool) {
    let mut left = HELD_MILLISECONDS_MAX / LOOK_MILLISECONDS;
    while left > 0 && held() {
        left -= 1;
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
    }
}

impl Point {
    fn parse(value: &str) -> Option<Self> {
        let (number, directory) = value.split_once(':')?;
        Some(Self {
            number: number.parse().ok()?,
            directory: Path::new(directory).to_owned(),
            begun: AtomicU64::new(0),
        })
    }

    fn tell(&self, file: &str, line: &str) -> io::Result<()> {
        let mut options = fs_err::OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(self.directory.join(file))?;
        file.write_all(line.as_bytes())
    }
}
