//! What can go wrong with a fetch, in words: an [`Error`] ends a command, a [`Fault`] gives up a
//! source.

use std::fmt;
use std::path::PathBuf;

use super::archive::BadArchive;
use super::checksum::BadChecksum;
use super::elf::WrongProgram;
use super::{cache, source};
use crate::artifact::NeverBuilt;
use crate::digest::{Checksum, Digest};
use crate::lockfile::{Malformed, Trust};

/// Why a fetch ends without what it was to fetch.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A base URL of the inventory is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] source::BadSource),
    /// Upstream has no such program.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NeverBuilt(#[from] NeverBuilt),
    /// `--locked`, and the lockfile does not have everything.
    #[error("`kinstall.lock` does not pin {}, and `--locked` forbids to pin it", names.join(", "))]
    #[diagnostic(help(
        "run `kinstall fetch` without `--locked`, look at the changes of `kinstall.lock`, and commit it"
    ))]
    Locked {
        /// What is not pinned.
        names: Vec<String>,
    },
    /// A program is needed that was never pinned.
    #[error("`kinstall.lock` does not pin {name}")]
    #[diagnostic(help("run `kinstall fetch`"))]
    NotPinned {
        /// The program, its version and architecture.
        name: String,
    },
    /// The lockfile cannot be read or written.
    #[error("the lockfile cannot be used: {0}")]
    LockfileIo(std::io::Error),
    /// The lockfile is none.
    #[error("`{}` cannot be understood: {problem}", path.display())]
    #[diagnostic(help("{}", problem.way_out()))]
    Lockfile {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        problem: Malformed,
    },
    /// The user's own build is not there.
    #[error("your own build `{}` cannot be read: {problem}", path.display())]
    #[diagnostic(help(
        "build it, or correct `path` under `[component.NAME]`; `{{arch}}` in it stands for arm64, armhf or amd64"
    ))]
    Own {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The user's own build is not the one that was pinned.
    #[error("your own build `{}` is no longer what `kinstall.lock` pins: sha256 {found} now, {pinned} pinned", path.display())]
    #[diagnostic(help(
        "if you built it anew, `kinstall fetch --update` pins it; if you did not, find out who changed it"
    ))]
    OwnChanged {
        /// Where it lies.
        path: PathBuf,
        /// What it is now.
        found: Digest,
        /// What it should be.
        pinned: Digest,
    },
    /// No source gave what was asked for.
    #[error("could not fetch {name}{}", listed(attempts))]
    #[diagnostic(help("{}", way_out(attempts)))]
    Unavailable {
        /// The artifact, its version and architecture.
        name: String,
        /// Every source that was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// The program does not run where it should.
    #[error("{name} cannot be used: {problem}")]
    #[diagnostic(help(
        "nothing was pinned or sent; look at the source or `path` it comes from, and at `arch` of the nodes"
    ))]
    WrongProgram {
        /// The program, its version and architecture.
        name: String,
        /// What is wrong with it.
        problem: WrongProgram,
    },
    /// The archive does not hold what it should.
    #[error("{name} cannot be used: {problem}")]
    #[diagnostic(help(
        "nothing of it was used; compare its digest with the one that the project itself publishes"
    ))]
    Archive {
        /// The archive, its version and architecture.
        name: String,
        /// What is wrong with it.
        problem: BadArchive,
    },
    /// The archive is right, but the lockfile says something else of a program in it.
    #[error(
        "`kinstall.lock` contradicts itself: it pins {archive} rightly, but `{member}` in it as sha256 {pinned}, and it is {found}"
    )]
    #[diagnostic(help(
        "the lockfile was edited; take it back from version control, or pin anew with `kinstall fetch --update`"
    ))]
    Contradiction {
        /// The archive, its version and architecture.
        archive: String,
        /// The program in it.
        member: String,
        /// What the lockfile says.
        pinned: Digest,
        /// What it is.
        found: Digest,
    },
    /// A program is pinned by itself, and another build of it is in the archive.
    #[error(
        "{archive} holds `{member}` with sha256 {found}, but `kinstall.lock` pins sha256 {pinned}: the source of one of them replaced a release"
    )]
    #[diagnostic(help(
        "nothing was pinned or used; find out where the pin is from (`git log kinstall.lock`), or pin anew with `kinstall fetch --update`"
    ))]
    OtherInArchive {
        /// The archive, its version and architecture.
        archive: String,
        /// The program in it.
        member: String,
        /// What the lockfile says.
        pinned: Digest,
        /// What it is.
        found: Digest,
    },
    /// What was asked for rests on less than was asked for.
    #[error("{}{}", weakness(*required), weak.iter().map(weak_line).collect::<String>())]
    #[diagnostic(help("{}", way_to_more_trust(*required, *rebuilt)))]
    Weak {
        /// What it should rest on.
        required: Trust,
        /// The artifacts, and what each rests on where it is pinned.
        weak: Vec<(String, Option<Trust>)>,
        /// Whether the inventory says that the sources rebuild releases.
        rebuilt: bool,
    },
    /// The bundle does not have it, and nothing else is asked.
    #[error("the bundle `{}` does not hold {name}", bundle.display())]
    #[diagnostic(help(
        "where there is a network, make a bundle of the inventory as it is now: `kinstall bundle create INVENTORY`"
    ))]
    NotInBundle {
        /// The artifact, its version and architecture.
        name: String,
        /// The bundle.
        bundle: PathBuf,
    },
    /// The CA's file cannot be used.
    #[error("`ca` under `[source]`: {problem}")]
    #[diagnostic(help("name a PEM file with the CA's certificates, relative to the inventory"))]
    Ca {
        /// What is wrong with it.
        problem: String,
    },
    /// The lockfile has the right digest and the wrong size of something.
    #[error(
        "`kinstall.lock` pins {name} with {pinned} bytes, and what has the pinned digest has {found}"
    )]
    #[diagnostic(help(
        "the lockfile was edited; take it back from version control, or pin anew with `kinstall fetch --update`"
    ))]
    Size {
        /// What is pinned.
        name: String,
        /// What the lockfile says.
        pinned: u64,
        /// What it is.
        found: u64,
    },
    /// The lockfile pins something else than upstream's build.
    #[error(
        "`kinstall.lock` pins {name} as sha256 {pinned}, but upstream's build has {known}: suspect the lockfile, or the source it was made from"
    )]
    #[diagnostic(help(
        "`git log kinstall.lock` tells who changed it; `kinstall fetch --update` pins upstream's build"
    ))]
    NotUpstreams {
        /// The artifact, its version and architecture.
        name: String,
        /// What the lockfile says.
        pinned: Digest,
        /// What is built in.
        known: Checksum,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] cache::Error),
}

impl Error {
    /// The exit code of a command that it ends: 2 for what was asked for, 5 for what came, 1 for
    /// this machine.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Source(_)
            | Self::NeverBuilt(_)
            | Self::Locked { .. }
            | Self::NotPinned { .. }
            | Self::Lockfile { .. }
            | Self::NotInBundle { .. }
            | Self::Ca { .. }
            | Self::Own { .. } => 2,
            Self::OwnChanged { .. }
            | Self::Unavailable { .. }
            | Self::WrongProgram { .. }
            | Self::Archive { .. }
            | Self::Size { .. }
            | Self::NotUpstreams { .. }
            | Self::OtherInArchive { .. }
            | Self::Weak { .. }
            | Self::Contradiction { .. } => 5,
            // A link that leads out of the directory, a device.
            Self::LockfileIo(error) if error.kind() == std::io::ErrorKind::InvalidData => 2,
            Self::LockfileIo(_) | Self::Cache(_) => 1,
        }
    }
}

fn weakness(required: Trust) -> String {
    format!("less than {} is known of", required.meaning())
}

fn weak_line((name, trust): &(String, Option<Trust>)) -> String {
    match trust {
        Some(trust) => format!("\n  {name}: it rests on {}", trust.meaning()),
        None => format!("\n  {name}: it is not built in"),
    }
}

fn way_to_more_trust(required: Trust, rebuilt: bool) -> &'static str {
    if rebuilt {
        "`[source] rebuilt = true` says that the sources hold builds of their own, of which nothing \
         is built in: leave it out, and name sources of upstream's builds"
    } else if required == Trust::BuiltIn {
        "take a release that this kinstall knows, or a newer kinstall; `--require published` is \
         content with a checksum over https"
    } else {
        "name a source that publishes checksums over https under `[source]`, and pin anew with \
         `kinstall fetch --update`"
    }
}

/// A source that was tried, and why it was given up.
#[derive(Debug)]
pub struct Attempt {
    /// The address, without credentials.
    pub url: String,
    /// What was wrong.
    pub fault: Fault,
}

fn listed(attempts: &[Attempt]) -> String {
    let line = |Attempt { url, fault }: &Attempt| format!("\n  from {url}: {fault}");
    attempts.iter().map(line).collect()
}

fn way_out(attempts: &[Attempt]) -> String {
    let mut way_out = attempts
        .iter()
        .filter_map(|attempt| attempt.fault.way_out());
    way_out
        .next_back()
        .unwrap_or("name another mirror under `[source]`")
        .to_owned()
}

/// Why a source was given up.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It answered with an error.
    #[error("{status}{}", page.as_ref().map(|page| format!(" with a page that says `{page}`")).unwrap_or_default())]
    Status {
        /// The status, with its words.
        status: reqwest::StatusCode,
        /// What its page says.
        page: Option<String>,
    },
    /// It answered with a page and called it the file.
    #[error("a web page came instead of the file: `{0}`")]
    Page(String),
    /// The directory of a `file://` source does not have it.
    #[error("there is no file `{}`", .0.display())]
    NoFile(PathBuf),
    /// The file of a `file://` source cannot be read.
    #[error("{0}")]
    File(std::io::Error),
    /// Nothing came for too long.
    #[error("nothing came for {seconds} seconds ({received} bytes were there)")]
    Stalled {
        /// How long was waited.
        seconds: u64,
        /// What was there by then.
        received: u64,
    },
    /// It took too long altogether.
    #[error("it was not complete after {seconds} seconds")]
    TooSlow {
        /// How long it was allowed.
        seconds: u64,
    },
    /// The connection broke.
    #[error("the connection broke after {received} bytes: {reason}")]
    Cut {
        /// What was there by then.
        received: u64,
        /// What the system says.
        reason: String,
    },
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// There is a connection, but not to whom it should be.
    #[error("the TLS connection is refused: {0}")]
    Tls(String),
    /// It redirects where we do not follow.
    #[error("a redirect is not followed: {0}")]
    Redirect(String),
    /// It continued a file somewhere else than asked.
    #[error("the rest of the file was asked for from byte {asked}, and something else came")]
    Range {
        /// The byte asked for.
        asked: u64,
    },
    /// It sends the file encoded although that was not asked for.
    #[error("the file came with `content-encoding: {0}`, which was not asked for")]
    Encoded(String),
    /// Its length is not the pinned one.
    #[error("it is {found} bytes long, and `kinstall.lock` pins {pinned}")]
    Length {
        /// What it is, or says it is.
        found: u64,
        /// What it should be.
        pinned: u64,
    },
    /// It is longer than anything kinstall fetches.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// Its bytes are not the right ones.
    #[error(transparent)]
    Digest(Box<Mismatch>),
    /// Its checksum file gives no digest.
    #[error("{url}: {problem}")]
    Checksum {
        /// The checksum file.
        url: String,
        /// What is wrong with it.
        problem: BadChecksum,
    },
    /// Its checksum file cannot be had.
    #[error("its checksum {url} cannot be had: {fault}")]
    NoChecksum {
        /// The checksum file.
        url: String,
        /// Why not.
        fault: Box<Fault>,
    },
    /// It publishes another digest than the one built into kinstall.
    #[error(
        "it publishes {published}, but kinstall knows this release as {known}: suspect the source"
    )]
    Replaced {
        /// What its checksum file says.
        published: Checksum,
        /// What is built in.
        known: Checksum,
    },
    /// Its bytes are right, but they are no archive that a release would be.
    #[error(transparent)]
    Archive(BadArchive),
    /// This machine is at fault, not the source.
    #[error(transparent)]
    Here(#[from] cache::Error),
}

impl Fault {
    /// Whether the same request may be answered better a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            Self::Stalled { .. } | Self::Cut { .. } | Self::Connect(_) | Self::Range { .. } => true,
            _ => false,
        }
    }

    /// Whether there may be a checksum elsewhere.
    pub(super) fn is_missing_checksum(&self) -> bool {
        matches!(self, Self::NoChecksum { fault, .. } if fault.is_missing())
    }

    /// Whether the source is right otherwise, and only does not have it.
    fn is_missing(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_client_error(),
            Self::NoFile(_) => true,
            _ => false,
        }
    }

    fn way_out(&self) -> Option<&'static str> {
        Some(match self {
            Self::Digest(mismatch) => mismatch.way_out(),
            Self::Replaced { .. } => {
                "nothing was pinned or used; take another source, and report it to whoever runs this one"
            }
            Self::Page(_) => {
                "a proxy, a login page or a mistyped base URL answers in place of the mirror; open \
                 the address in a browser"
            }
            Self::Status { status, .. } if status.is_client_error() => {
                "check the version in the inventory and the base URLs under `[source]`"
            }
            Self::NoFile(_) => {
                "a directory of your own is laid out as the original: put the file there, and its \
                 `.sha256` (for etcd: `SHA256SUMS`) beside it"
            }
            Self::NoChecksum { fault, .. } if !fault.is_missing() => return fault.way_out(),
            Self::NoChecksum { .. } | Self::Checksum { .. } => {
                "the first pin needs a checksum to compare with: put one beside the file, or name \
                 a source under `[source]` that has it"
            }
            Self::Tls(_) => {
                "behind a proxy that opens TLS, name its CA's file as `ca` under `[source]`, or in `SSL_CERT_FILE`; else check \
                 this machine's clock and CA certificates"
            }
            Self::Stalled { .. } | Self::Cut { .. } | Self::TooSlow { .. } => {
                "run the same command again: it goes on where it stopped"
            }
            Self::Length { .. } => {
                "the source has another file than was pinned; compare it with another mirror, and \
                 run `kinstall fetch --update` only if the new one is right"
            }
            _ => return None,
        })
    }
}

/// Bytes that are not the right ones.
#[derive(Debug)]
pub struct Mismatch {
    /// The checksum that came.
    pub found: Checksum,
    /// How many bytes came.
    pub size: u64,
    /// The checksum that should have come.
    pub expected: Checksum,
    /// What says so.
    pub expected_by: ExpectedBy,
    /// What the source itself publishes as checksum, where it was asked.
    pub published: Option<Checksum>,
}

/// What says which bytes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedBy {
    /// The lockfile, which rested on this when it was made.
    Lockfile(Trust),
    /// A digest that is only being pinned now.
    FirstPin(Trust),
}

impl ExpectedBy {
    /// What the expectation rests on.
    pub const fn trust(self) -> Trust {
        match self {
            Self::Lockfile(trust) | Self::FirstPin(trust) => trust,
        }
    }
}

impl Mismatch {
    fn suspect(&self) -> &'static str {
        match (self.expected_by, self.published) {
            (ExpectedBy::Lockfile(_), Some(published)) if published == self.expected => {
                "the source's own checksum agrees with `kinstall.lock`: suspect its file, or the \
                 way here"
            }
            (ExpectedBy::Lockfile(Trust::BuiltIn | Trust::Published), Some(published))
                if published == self.found =>
            {
                "the source's own checksum agrees with its file, and `kinstall.lock` was checked \
                 when it was made: suspect the source, which replaced a release"
            }
            (ExpectedBy::Lockfile(_), Some(published)) if published == self.found => {
                "the source's own checksum agrees with its file, and `kinstall.lock` never rested \
                 on more than a mirror: suspect both, and ask a third"
            }
            (ExpectedBy::Lockfile(_), _) => {
                "`kinstall.lock` was checked when it was made: suspect the source first"
            }
            (ExpectedBy::FirstPin(Trust::BuiltIn), _) => {
                "the digest built into kinstall says otherwise: suspect the source"
            }
            (ExpectedBy::FirstPin(_), _) => {
                "the source's own checksum says otherwise: suspect its file, or the way here"
            }
        }
    }

    fn way_out(&self) -> &'static str {
        match self.expected_by {
            ExpectedBy::Lockfile(_) => {
                "nothing was used; try another mirror under `[source]`, or look at `git log \
                 kinstall.lock`; run `kinstall fetch --update` only if the new bytes are right"
            }
            ExpectedBy::FirstPin(_) => {
                "nothing was pinned or used; try again, or another mirror under `[source]`"
            }
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.expected_by {
            ExpectedBy::Lockfile(_) => "`kinstall.lock` pins",
            ExpectedBy::FirstPin(Trust::BuiltIn) => "kinstall knows it as",
            ExpectedBy::FirstPin(_) => "its checksum is",
        };
        write!(
            f,
            "its {} bytes have {}, but {by} {}; {}",
            self.size,
            self.found,
            self.expected,
            self.suspect()
        )
    }
}

impl std::error::Error for Mismatch {}
