//! A run can be held before any of its actions, so that tests do to it there what the world does
//! at random: kill it, cut a cable, take the power away, fill a disk. Only builds with debug
//! assertions know of it; in others the question is settled when they are compiled.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// `NUMBER:DIRECTORY`: at the action of this number, counted from 1, the file `reached` appears in
/// the directory, and the action waits until there is one `go`. The actions after it wait as long
/// as there is one `hold`. With `every` for a number each action adds a line to `reached`, and waits
/// until there is a file `go-` with its own number.
const VARIABLE: &str = "KINSTALL_PAUSE";
/// How long an action is held, in milliseconds.
const HELD_MILLISECONDS_MAX: u64 = 60_000;
/// How often is looked whether it may go on, in milliseconds.
const LOOK_MILLISECONDS: u64 = 5;

/// Where a run is held, if anywhere.
#[derive(Debug, Default)]
pub struct Failpoint {
    point: Option<Point>,
}

#[derive(Debug)]
struct Point {
    /// None is every one.
    number: Option<u64>,
    directory: PathBuf,
}

/// How many actions this process has begun, whatever run they are of.
static BEGUN: AtomicU64 = AtomicU64::new(0);

impl Failpoint {
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

    /// Is asked before each action, of a node or whatever it is of.
    pub(crate) async fn before(&self, whose: &str, action: &str) {
        let Some(point) = &self.point else {
            return;
        };
        let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        let line = format!("{number} {whose} {action}\n");
        // Without its directory nobody waits for us.
        if point.tell("actions", &line).is_err() {
            return;
        }
        let go = match point.number {
            Some(held) if number < held => return,
            Some(held) if number > held => {
                let hold = point.directory.join("hold");
                return wait_while(|| hold.exists()).await;
            }
            Some(_) => point.directory.join("go"),
            None => point.directory.join(format!("go-{number}")),
        };
        if point.tell("reached", &line).is_ok() {
            wait_while(|| !go.exists()).await;
        }
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
        let number = match number {
            "every" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self {
            number,
            directory: Path::new(directory).to_owned(),
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
