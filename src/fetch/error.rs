//! What ends a fetch, in words. What only gives up a source is a [`Fault`].

use std::path::PathBuf;

use super::archive::BadArchive;
use super::fault::Fault;
use super::{cache, source};
use crate::artifact::NeverBuilt;
use crate::digest::Digest;
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
    #[diagnostic(help(
        "take the file back from version control, or remove it and run `kinstall fetch` to pin again"
    ))]
    LockfileIo(std::io::Error),
    /// The lockfile is none.
    #[error("`{}` cannot be understood: {problem}", path.display())]
    #[diagnostic(help("{}", problem.help()))]
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
        "if you rebuilt it, `kinstall fetch --update` pins it; if you did not, find out who changed it"
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
    #[diagnostic(help("{}", help(attempts)))]
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
        problem: String,
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
        "the lockfile was edited; take it back from version control, or pin again with `kinstall fetch --update`"
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
        "the lockfile was edited; take it back from version control, or pin again with `kinstall fetch --update`"
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
        "`kinstall.lock` pins {name} as sha256 {pinned}, but upstream's build has sha256 {known}: suspect the lockfile, or the source it was made from"
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
        known: Digest,
    },
    /// The lockfile pins parts of an image that its manifest does not name.
    #[error(
        "`kinstall.lock` contradicts itself: the manifest that it pins of {name} names other parts than it pins"
    )]
    #[diagnostic(help(
        "the lockfile was edited; take it back from version control, or pin again with `kinstall fetch --update`"
    ))]
    OtherParts {
        /// The image and its architecture.
        name: String,
    },
    /// The lockfile says `published`, and something else is.
    #[error(
        "`kinstall.lock` pins {name} as sha256 {pinned}, but {url} publishes sha256 {published}: suspect the lockfile, or the source"
    )]
    #[diagnostic(help(
        "`git log kinstall.lock` tells who changed it; `kinstall fetch --update` pins what is published"
    ))]
    NotPublished {
        /// The artifact, its version and architecture.
        name: String,
        /// What the lockfile says.
        pinned: Digest,
        /// What the source publishes.
        published: Digest,
        /// Where.
        url: String,
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
            Self::Unavailable { attempts, .. }
                if attempts.iter().all(|attempt| attempt.fault.is_usage()) =>
            {
                2
            }
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
            | Self::OtherParts { .. }
            | Self::NotPublished { .. }
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
        "name a source that publishes checksums over https under `[source]`, and pin again with \
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

fn help(attempts: &[Attempt]) -> String {
    let mut help = attempts.iter().filter_map(|attempt| attempt.fault.help());
    help.next_back()
        .unwrap_or("name another mirror under `[source]`")
        .to_owned()
}
