//! Why a source is given up, in words, and whether it is worth asking again.

use std::fmt;
use std::path::PathBuf;

use super::archive::BadArchive;
use super::cache;
use super::login::BadLogin;
use super::oci::BadImage;
use super::proxy::{BadProxy, Proxy};
use crate::digest::Digest;
use crate::lockfile::Trust;
use crate::plain::count;

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
    /// It begins as nothing of its kind does.
    #[error("what comes is no {what}")]
    Kind {
        /// What it should be.
        what: &'static str,
    },
    /// The directory of a `file://` source does not have it.
    #[error("there is no file `{}`", .0.display())]
    NoFile(PathBuf),
    /// The file of a `file://` source cannot be read.
    #[error("{0}")]
    File(std::io::Error),
    /// Nothing came for too long.
    #[error("nothing came for {}, after {}", count(*seconds, "second"), count(*received, "byte"))]
    Stalled {
        /// How long was waited.
        seconds: u64,
        /// What was there by then.
        received: u64,
    },
    /// What comes, comes too slowly.
    #[error("only {} came in {}, after {}", count(*bytes, "byte"), count(*seconds, "second"), count(*received, "byte"))]
    Slow {
        /// What came in this time.
        bytes: u64,
        /// How long it took.
        seconds: u64,
        /// What was there by then.
        received: u64,
    },
    /// It took too long altogether.
    #[error("it was not complete after {}", count(*seconds, "second"))]
    TooSlow {
        /// How long it was allowed.
        seconds: u64,
    },
    /// The connection broke.
    #[error("the connection broke after {}: {reason}", count(*received, "byte"))]
    Cut {
        /// What was there by then.
        received: u64,
        /// What the system says.
        reason: String,
    },
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// What it says is no HTTP, or more of it than any mirror says.
    #[error("its answer is no valid HTTP: {0}")]
    Protocol(String),
    /// There is a connection, but not to whom it should be.
    #[error("the TLS connection is refused: {0}")]
    Tls(String),
    /// The request took another way than straight to the address.
    #[error("{via}: {fault}")]
    Via {
        /// The proxy, or the address that it was redirected to.
        via: Via,
        /// What was wrong there.
        fault: Box<Fault>,
    },
    /// The proxy wants to know who asks.
    #[error("the proxy wants a user and a password, or other ones (407)")]
    ProxyLogin,
    /// The variable that should name the proxy does not.
    #[error(transparent)]
    BadProxy(BadProxy),
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
    #[error("it is {found} bytes long, and not {pinned} as it should be")]
    Length {
        /// What it is, or says it is.
        found: u64,
        /// What it should be.
        pinned: u64,
    },
    /// It is longer than anything kinstall fetches.
    #[error("it is longer than {limit} bytes, which nothing is that kinstall fetches")]
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
        problem: String,
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
        "it publishes sha256 {published}, but kinstall knows this release as sha256 {known}: suspect the source"
    )]
    Replaced {
        /// What its checksum file says.
        published: Digest,
        /// What is built in.
        known: Digest,
    },
    /// Its bytes are right, but they are no archive that a release would be.
    #[error(transparent)]
    Archive(BadArchive),
    /// Its bytes are right, but they are no program for the node.
    #[error("{name}: {problem}")]
    Program {
        /// The program.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It has no such image.
    #[error("it has no `{asked}` of that image ({fault})")]
    NoImage {
        /// The tag or the digest.
        asked: String,
        /// What it says.
        fault: Box<Fault>,
    },
    /// It wants to know who asks.
    #[error(transparent)]
    Login(#[from] BadLogin),
    /// It has an image that cannot be used.
    #[error(transparent)]
    Image(#[from] BadImage),
    /// This machine is at fault, not the source.
    #[error(transparent)]
    Here(#[from] cache::Error),
}

/// How a request got where it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Through a proxy.
    Proxy(Proxy),
    /// By a redirect to this address, without credentials.
    Redirect(String),
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(proxy) => write!(f, "through {proxy}"),
            Self::Redirect(url) => write!(f, "redirected to {url}"),
        }
    }
}

impl Fault {
    /// Whether the same request may be answered better a little later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error(),
            Self::Cut { .. } | Self::Connect(_) | Self::Range { .. } => true,
            Self::Via { fault, .. } | Self::NoChecksum { fault, .. } => fault.passes(),
            _ => self.is_slow(),
        }
    }

    /// Whether waiting was in vain: another source is asked first, where there is one.
    pub(super) fn is_slow(&self) -> bool {
        match self {
            Self::Stalled { .. } | Self::Slow { .. } | Self::TooSlow { .. } => true,
            Self::Via { fault, .. } | Self::NoChecksum { fault, .. } => fault.is_slow(),
            _ => false,
        }
    }

    /// Whether the rest of a file was asked for, and something else came.
    pub(super) fn is_range(&self) -> bool {
        match self {
            Self::Range { .. } => true,
            Self::Via { fault, .. } => fault.is_range(),
            _ => false,
        }
    }

    /// Whether a proxy on the way may have said it, in place of the source.
    pub(super) fn may_be_a_proxys(&self) -> bool {
        match self {
            Self::ProxyLogin => true,
            Self::Status { status, .. } => status.is_server_error(),
            Self::Via { fault, .. } => fault.may_be_a_proxys(),
            _ => false,
        }
    }

    /// Whether the next artifact is looked for elsewhere first: this source would only take as long again.
    pub(super) fn is_source(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Cut { .. } | Self::Protocol(_) | Self::TooLong { .. } => true,
            Self::Via { fault, .. } | Self::NoChecksum { fault, .. } => fault.is_source(),
            _ => self.is_slow(),
        }
    }

    /// How many bytes were there when it came to wait in vain.
    pub(super) fn received(&self) -> u64 {
        match self {
            Self::Stalled { received, .. } | Self::Slow { received, .. } => *received,
            Self::Via { fault, .. } => fault.received(),
            _ => 0,
        }
    }

    /// Whether it is a matter of what was asked for, and not of the source.
    pub(super) fn is_usage(&self) -> bool {
        match self {
            Self::BadProxy(_) | Self::Image(_) | Self::Login(_) => true,
            Self::NoChecksum { fault, .. } => fault.is_usage(),
            _ => false,
        }
    }

    /// Whether the source is right otherwise, and only does not have it.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_client_error(),
            Self::NoFile(_) => true,
            Self::Via { fault, .. } => fault.is_missing(),
            _ => false,
        }
    }

    pub(super) fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Digest(mismatch) => mismatch.help(),
            Self::Image(problem) => problem.help(),
            Self::Login(problem) => problem.help(),
            Self::NoImage { .. } => {
                "look at its name and tag in the inventory; a mirror of images of Kubernetes is named as `images` under `[source]`"
            }
            Self::Replaced { .. } => {
                "nothing was pinned or used; take another source, and report it to those who run this one"
            }
            Self::ProxyLogin => {
                "write them into the variable, as in `http://user:password@host:port`"
            }
            Self::BadProxy(_) => {
                "correct the variable, or unset it; hosts that need no proxy are listed in `no_proxy`"
            }
            Self::Via {
                via: Via::Proxy(_),
                fault,
            } => match &**fault {
                Self::Connect(_)
                | Self::Cut { .. }
                | Self::Stalled { .. }
                | Self::Status { .. } => {
                    "it is the proxy that was asked, not the mirror: correct the variable, or list the \
                     mirror's host in `no_proxy`"
                }
                fault => return fault.help(),
            },
            Self::Via { fault, .. } => return fault.help(),
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
            Self::NoChecksum { fault, .. } if !fault.is_missing() => return fault.help(),
            Self::NoChecksum { .. } | Self::Checksum { .. } => {
                "the first pin needs a checksum to compare with: put one beside the file, or name \
                 a source under `[source]` that has it"
            }
            Self::Archive(_) | Self::Program { .. } => {
                "nothing of it was used; compare its digest with the one that the project itself publishes"
            }
            Self::Tls(_) => {
                "behind a proxy that opens TLS, name its CA's file as `ca` under `[source]`, or in `SSL_CERT_FILE`; else check \
                 this machine's clock and CA certificates"
            }
            Self::Stalled { .. } | Self::Slow { .. } | Self::Cut { .. } | Self::TooSlow { .. } => {
                "name another mirror under `[source]`, or run the same command again: it goes on where it stopped"
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
    /// The digest of what came.
    pub found: Digest,
    /// How many bytes came.
    pub size: u64,
    /// The digest that should have come.
    pub expected: Digest,
    /// What says so.
    pub expected_by: ExpectedBy,
    /// What the source itself publishes as checksum, where it was asked.
    pub published: Option<Digest>,
}

/// What says which bytes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedBy {
    /// The lockfile, which rested on this when it was made.
    Lockfile(Trust),
    /// A digest that is only being pinned now.
    FirstPin(Trust),
    /// The name it was asked for by, of an image that is only being pinned now.
    Name(Trust),
}

impl ExpectedBy {
    /// What the expectation rests on.
    pub const fn trust(self) -> Trust {
        match self {
            Self::Lockfile(trust) | Self::FirstPin(trust) | Self::Name(trust) => trust,
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
            (ExpectedBy::Name(_), _) => "it was asked for by that digest: suspect the source",
            (ExpectedBy::FirstPin(_), _) => {
                "the source's own checksum says otherwise: suspect its file, or the way here"
            }
        }
    }

    fn help(&self) -> &'static str {
        match self.expected_by {
            ExpectedBy::Lockfile(_) => {
                "nothing was used; try another mirror under `[source]`, or look at `git log \
                 kinstall.lock`; run `kinstall fetch --update` only if the new bytes are right"
            }
            ExpectedBy::FirstPin(_) | ExpectedBy::Name(_) => {
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
            ExpectedBy::Name(_) => "it should have",
        };
        write!(
            f,
            "its {} bytes have sha256 {}, but {by} sha256 {}; {}",
            self.size,
            self.found,
            self.expected,
            self.suspect()
        )
    }
}

impl std::error::Error for Mismatch {}
