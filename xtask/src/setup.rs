//! What chores begin with: programs built from this tree, tools of the machine, and a bed of nodes
//! that is gone when the chore is, however it ends.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use thiserror::Error;

use crate::command::{CommandError, Program, poll};
use crate::mirror::StandIns;
use crate::nodes::{self, Bed, NodeOptions};
use crate::say;

/// A build from nothing takes minutes on a small machine.
const BUILD_SECONDS: u64 = 3000;
/// How long taking a bed down may take.
const DOWN: Duration = Duration::from_secs(120);

/// Why a chore could not begin.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The nodes could not be had.
    #[error(transparent)]
    Nodes(#[from] nodes::Error),
    /// Something that cargo was to build was not built; cargo has said why.
    #[error("`cargo {line}` failed")]
    Build {
        /// Its arguments.
        line: String,
    },
    /// Too many of one chore are at work.
    #[error("{SEATS} of `cargo xtask {purpose}` are at work on this machine; help: wait for one")]
    Crowded {
        /// The chore.
        purpose: &'static str,
    },
    /// The bed did not go; what it said is above.
    #[error("bed `{name}` could not be taken down; help: `cargo xtask nodes --name {name} down`")]
    Down {
        /// The bed.
        name: String,
    },
}

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly.
    Debug,
    /// To be measured.
    Release,
}

/// What has kinstall itself optimised among dependencies that the other tests use too.
pub(crate) const OPTIMISED: [&str; 2] = ["--config", "profile.dev.package.kinstall.opt-level=2"];

/// cargo, as if it did not run us: what it tells us of ourselves would make build scripts that
/// look at it (ring's does) run again, and half the tree be compiled again.
pub(crate) fn cargo() -> Program {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Program::new(cargo)
        .env_without("CARGO_PKG_")
        .env_without("CARGO_MANIFEST_")
        .directory(workspace())
        .limit_seconds(BUILD_SECONDS)
}

/// The directory of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The file with how long each test took in the last whole run: lines `MILLISECONDS TEST`.
pub(crate) fn test_times() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    workspace().join(target).join("test-times")
}

/// Builds a program of the workspace and tells where it is.
pub(crate) fn build(package: &str, profile: Profile) -> Result<PathBuf, Error> {
    let mut args = vec!["build", "--package", package, "--bin", package];
    if profile == Profile::Release {
        args.push("--release");
    }
    if !cargo().args(&args).attached()?.success() {
        let line = args.join(" ");
        return Err(Error::Build { line });
    }
    Ok(built(package, profile)?)
}

/// Builds the programs that stand in for others.
pub(crate) fn stand_ins() -> Result<StandIns, Error> {
    Ok(StandIns {
        standin: build("standin", Profile::Debug)?,
        mite: build_mite()?,
    })
}

/// Has a program small and static: it runs in an image that holds nothing else, and there are many copies.
const SMALL: [&str; 4] = [
    "profile.release.opt-level='z'",
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.panic='abort'",
];

/// Builds the small program of images, for this machine.
pub(crate) fn build_mite() -> Result<PathBuf, Error> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let variable = triple.to_uppercase().replace('-', "_");
    let mut args = vec![
        "build",
        "--release",
        "--package",
        "mite",
        "--target",
        &triple,
    ];
    args.extend(SMALL.iter().flat_map(|setting| ["--config", setting]));
    let build = cargo().args(&args).env(
        format!("CARGO_TARGET_{variable}_RUSTFLAGS"),
        "-C target-feature=+crt-static",
    );
    if !build.attached()?.success() {
        let line = args.join(" ");
        return Err(Error::Build { line });
    }
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).unwrap_or(Path::new("target"));
    Ok(target.join(triple).join("release/mite"))
}

/// Where cargo puts a program: we are in the same directory, or in the one beside it.
fn built(package: &str, profile: Profile) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).unwrap_or(Path::new("target"));
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    Ok(target.join(folder).join(package))
}

/// How many runs of one chore can be at work on one machine at the same time.
const SEATS: u8 = 8;
/// The first two numbers of the first seat's subnets; those of the others follow.
const NETWORK: (u8, u8) = (10, 78);

/// What a run of a chore has to itself: a name, for its bed and its directories, and a subnet. A
/// second run of the same chore at the same time, in another checkout perhaps, takes the next.
pub(crate) struct Seat {
    /// The name.
    pub(crate) name: String,
    /// The subnet, as its first three numbers.
    pub(crate) subnet: String,
    _lock: nodes::Lock,
}

impl Seat {
    /// Takes the first seat that is free. `third` is the third number of the chore's subnets.
    pub(crate) fn take(purpose: &'static str, third: u8) -> Result<Self, Error> {
        for number in 0..SEATS {
            let name = match number {
                0 => purpose.to_owned(),
                _ => format!("{purpose}{number}"),
            };
            if let Some(lock) = nodes::try_lock(&format!("seat-{name}"))? {
                let subnet = format!("{}.{}.{third}", NETWORK.0, NETWORK.1 + number);
                return Ok(Self {
                    name,
                    subnet,
                    _lock: lock,
                });
            }
        }
        Err(Error::Crowded { purpose })
    }
}

/// A bed of a chore's own. A guard, in a process of its own, takes it down when the chore lets go
/// of it or is gone, by Ctrl-C or worse: so nothing is left on the machine.
pub(crate) struct Lab {
    /// The nodes.
    pub(crate) bed: Bed,
    name: String,
    guard: Option<Guard>,
}

/// The process that waits for our end: it reads from a pipe that closes when we are gone.
struct Guard {
    process: Child,
    pipe: ChildStdin,
}

/// What becomes of a bed in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It is taken down.
    Down,
    /// It stays up.
    Keep,
}

impl Lab {
    /// Boots so many nodes in the bed of a seat; one that is there from before goes first.
    pub(crate) fn open(
        seat: &Seat,
        nodes: u8,
        options: &NodeOptions,
        afterwards: Afterwards,
    ) -> Result<Self, Error> {
        let name = seat.name.clone();
        let bed = Bed::new(&name, &seat.subnet)?;
        bed.setup(options.suite.as_deref())?;
        bed.down()?;
        let guard = match afterwards {
            Afterwards::Down => Some(Guard::post(&name)?),
            Afterwards::Keep => None,
        };
        let lab = Self { bed, name, guard };
        lab.bed.up(nodes, options)?;
        Ok(lab)
    }

    /// Takes the bed down, unless it is to be kept.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        let name = self.name.clone();
        let Some(guard) = self.guard.take() else {
            return Ok(());
        };
        if guard.relieve()? {
            Ok(())
        } else {
            Err(Error::Down { name })
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take()
            && !guard.relieve().unwrap_or(false)
        {
            say::error(&Error::Down {
                name: self.name.clone(),
            });
        }
    }
}

impl Guard {
    fn post(name: &str) -> io::Result<Self> {
        // Signals from the terminal go to a whole process group, so the guard has one of its own.
        let script = "while read -r line; do :; done; exec \"$0\" nodes --name \"$1\" down";
        let mut process = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe()?)
            .arg(name)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let pipe = process.stdin.take().expect("it was asked for a pipe");
        Ok(Self { process, pipe })
    }

    /// Has the guard do its duty now, and tells whether it could.
    fn relieve(mut self) -> io::Result<bool> {
        self.pipe.flush()?;
        drop(self.pipe);
        let process = &mut self.process;
        match poll(DOWN, || process.try_wait().transpose()) {
            Some(status) => Ok(status?.success()),
            None => Ok(false),
        }
    }
}
