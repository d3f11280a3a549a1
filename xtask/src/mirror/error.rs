//! What can go wrong with a mirror.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::command::CommandError;
use crate::nodes;

/// Why there is no mirror.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A program that this takes could not be installed.
    #[error(transparent)]
    Setup(#[from] nodes::Error),
    /// The user's mirror is not there.
    #[error("no mirror at `{}`", .directory.display())]
    NoMirror {
        /// The directory that was named.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The user's mirror lacks a server.
    #[error(
        "there is no `{}`; help: a mirror is laid out as dl.k8s.io is, and --kubernetes says which \
         of its versions to take", .path.display()
    )]
    NoServer {
        /// Where it should be.
        path: PathBuf,
    },
    /// Not a version.
    #[error("`{text}` is no version; help: three numbers, like 1.36.3")]
    Version {
        /// What was given.
        text: String,
    },
    /// A program does not say which version it is.
    #[error("`{}` does not say its version: `{said}`", .program.display())]
    Mute {
        /// The program.
        program: PathBuf,
        /// What it said.
        said: String,
    },
    /// A package does not hold what it should.
    #[error("the package `{package}` holds no `{program}`")]
    NotInPackage {
        /// The package.
        package: String,
        /// The program.
        program: &'static str,
    },
    /// No package has it.
    #[error("no package gives `{program}`: {}", .reasons.join("; "))]
    NoPackage {
        /// The program.
        program: &'static str,
        /// What was wrong with each.
        reasons: Vec<String>,
    },
}
