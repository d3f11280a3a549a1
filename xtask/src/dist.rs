//! `cargo xtask dist`: release archives for every machine that kinstall runs on, the same bytes from
//! the same tree.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::command::{CommandError, Program};
use crate::cross_arm::{self, Target, toolchain::Toolchain};
use crate::mirror;
use crate::say;
use crate::setup::{self, Profile};

/// What an archive holds beside the program: the README, and everything that it links to.
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "CHANGELOG.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs",
    "inventories",
    "templates",
];
/// The shells that completions are made for.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Build release archives for amd64, arm64 and armhf into `dist/`
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these
    #[arg(long, value_delimiter = ',', value_name = "ARCH,...")]
    target: Vec<Release>,
    /// Build everything a second time, elsewhere, and compare
    #[arg(long)]
    check: bool,
}

/// Why there is no release.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// A digest could not be taken.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    /// Nothing could be built.
    #[error(transparent)]
    Setup(#[from] setup::Error),
    /// Nothing could be built for ARM.
    #[error(transparent)]
    Cross(#[from] Box<cross_arm::Error>),
    /// Two builds of the same tree differ.
    #[error("{} is not the same the second time", archive.display())]
    Differs {
        /// The archive.
        archive: PathBuf,
    },
}

/// Builds them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let releases = match arguments.target.as_slice() {
        [] => Release::value_variants(),
        some => some,
    };
    let triples: Vec<_> = releases.iter().map(|release| release.triple()).collect();
    let toolchain = Toolchain::ready(&triples, false).map_err(Box::new)?;
    let native = setup::build("kinstall", Profile::Debug)?;
    let archives = all(releases, &toolchain, &native, "cross")?;
    let sums = sum(&archives)?;
    if arguments.check {
        say::line("dist: a second time");
        let before: Vec<String> = sums;
        let again = all(releases, &toolchain, &native, "cross-again")?;
        for ((archive, before), after) in archives.iter().zip(before).zip(sum(&again)?) {
            if before != after {
                return Err(Error::Differs {
                    archive: archive.clone(),
                });
            }
        }
        say::data("dist: the same bytes the second time");
    }
    for archive in archives {
        let size = say::size(fs_err::metadata(&archive)?.len());
        say::data(format!("dist: {}, {size}", archive.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// A machine that releases are for.
#[derive(Clone, Copy, ValueEnum)]
enum Release {
    Amd64,
    Arm64,
    Armhf,
}

impl Release {
    fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => Target::Arm64.triple(),
            Self::Armhf => Target::Armhf.triple(),
        }
    }

    fn dpkg(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => Target::Arm64.dpkg(),
            Self::Armhf => Target::Armhf.dpkg(),
        }
    }
}

fn all(
    releases: &[Release],
    toolchain: &Toolchain,
    native: &Path,
    folder: &str,
) -> Result<Vec<PathBuf>, Error> {
    let triples: Vec<_> = releases.iter().map(|release| release.triple()).collect();
    say::line(format!("dist: building for {}", triples.join(", ")));
    let built = toolchain
        .build(&["kinstall"], &triples, Profile::Release, folder)
        .map_err(Box::new)?;
    let pack = |release: &Release| {
        let program = built.program("kinstall", release.triple());
        pack(&program, native, release.dpkg())
    };
    releases.iter().map(pack).collect()
}

/// Packs a program with what belongs beside it, into `dist/`.
pub(crate) fn pack(program: &Path, native: &Path, arch: &str) -> Result<PathBuf, Error> {
    let name = format!("kinstall-{}-linux-{arch}", env!("CARGO_PKG_VERSION"));
    let dist = setup::workspace().join("dist");
    let tree = dist.join(&name);
    if tree.exists() {
        fs_err::remove_dir_all(&tree)?;
    }
    fs_err::create_dir_all(tree.join("completions"))?;
    fs_err::copy(program, tree.join("kinstall"))?;
    let copy = Program::new("cp").args(["-r", "--"]).args(DOCUMENTS);
    copy.arg(&tree).directory(setup::workspace()).done()?;
    for shell in SHELLS {
        let completions = Program::new(native).args(["completions", shell]).text()?;
        fs_err::write(tree.join("completions").join(shell), completions + "\n")?;
    }
    let pages = Program::new(native)
        .args(["man", "--out"])
        .arg(tree.join("man"));
    pages.done()?;
    let archive = dist.join(format!("{name}.tar.gz"));
    // Whoever packs it and whenever, the same bytes come out.
    let pack = "tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
                --mtime=@0 -cf - \"$0\" | gzip -9n >\"$0.tar.gz\"";
    Program::new("sh")
        .args(["-c", pack, &name])
        .directory(&dist)
        .done()?;
    fs_err::remove_dir_all(&tree)?;
    Ok(archive)
}

/// Writes the digests of archives beside them, and returns the lines.
pub(crate) fn sum(archives: &[PathBuf]) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for archive in archives {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}  {name}\n", mirror::sha256(archive)?));
    }
    let sums = setup::workspace().join("dist/SHA256SUMS");
    fs_err::write(sums, lines.concat())?;
    Ok(lines)
}
