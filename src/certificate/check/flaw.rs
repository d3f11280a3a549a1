//! What can be wrong with a certificate, in words, and how bad it is.

use time::OffsetDateTime;
use x509_parser::pem::Pem;

use super::super::path::Refusal;
use super::super::{AuthorityName, Usage};
use crate::plain::count;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, and should be looked at.
    Warning,
    /// Something would not work, or not be safe.
    Error,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is in its message")]
pub enum Flaw {
    #[error("there is none")]
    Missing,
    #[error("is not a certificate in PEM: {reason}")]
    NotACertificate { reason: String },
    #[error("its private key is none that can be read")]
    NotAKey,
    #[error("{why}")]
    Unreadable { why: String },
    #[error("its private key belongs to another certificate")]
    OtherKey,
    #[error("is self-signed, and its peers trust only the authority `{set}`")]
    SelfSigned { set: AuthorityName },
    #[error("was signed by `{issuer}`, which leads to nothing that the peers trust (`{set}`)")]
    NotTrusted { set: AuthorityName, issuer: String },
    #[error("was signed by the authority `{other}`, and its peers trust `{set}` alone")]
    OtherAuthority {
        set: AuthorityName,
        other: AuthorityName,
    },
    #[error("the file begins with an authority's certificate: the leaf must come first")]
    ChainOrder,
    #[error("is a CA certificate (CA:TRUE): its key can sign others")]
    IsAuthority,
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "holds `{subject}` too, which {flaw}: it is of no use, and can be removed{}",
        in_file(file)
    )]
    Beside {
        subject: String,
        flaw: Box<Self>,
        file: String,
    },
    #[error(
        "its signature ({algorithm}) cannot be checked here: whether its peers take it is not known"
    )]
    Unchecked { algorithm: String },
    #[error("has a negative serial number: Kubernetes 1.{kubernetes} and newer refuse to read it")]
    NegativeSerial { kubernetes: u64 },
    #[error("was signed over SHA-1, which Kubernetes 1.24 and newer refuse")]
    OldSignature,
    #[error("has `{san}` as a DNS name, and {who} look for an IP address")]
    AddressAsName { san: String, who: String },
    #[error("is not an authority's certificate: it lacks CA:TRUE")]
    NotAnAuthority,
    #[error("its key usage lacks keyCertSign: what it signed is refused")]
    MayNotCertify,
    #[error(
        "lacks the usage {}: {who} would refuse it (\"incompatible key usage\")",
        usage.word()
    )]
    LacksUsage { usage: Usage, who: String },
    #[error("lacks the usage clientAuth: etcd's HTTP gateway cannot call its own member")]
    NoGateway,
    #[error(
        "its key usage lacks digitalSignature: nothing of Kubernetes looks at that, and browsers and \
         GnuTLS refuse it"
    )]
    MayNotSign,
    #[error("has no subject alternative name: a common name alone is not looked at (Go 1.15)")]
    NoNames,
    #[error("is not valid for `{san}`: {who} would refuse it there")]
    LacksName { san: String, who: String },
    #[error("its common name is `{found}`, and {by} knows `{wanted}`")]
    CommonName {
        found: String,
        wanted: String,
        by: &'static str,
    },
    #[error("lacks the organization `{wanted}`: it would be forbidden what it needs")]
    Organization { wanted: String },
    #[error("has the organization `system:masters`, and may do anything where little is needed")]
    TooPowerful,
    #[error("expired on {}", day(*end))]
    Expired { end: i64 },
    #[error("is valid from {} only: is the clock of this machine right?", day(*from))]
    NotYetValid { from: i64 },
    #[error("ends in {}, on {}", count(*days, "day"), day(*end))]
    NearEnd { days: i64, end: i64 },
    #[error("ends in {}, on {}, and with it all that it signed: {way}", count(*days, "day"), day(*end))]
    AuthorityNearEnd {
        days: i64,
        end: i64,
        way: &'static str,
    },
    #[error("ends on {}, though {} were asked for: its role or authority allows no more", day(*end), count(*asked, "day"))]
    Shorter { asked: u32, end: i64 },
    #[error("outlives its authority, which ends on {}", day(*end))]
    Outlives { end: i64 },
    #[error("its key is weak: {key}{}", if *is_refused { "" } else { ", which Go still takes" })]
    WeakKey { key: String, is_refused: bool },
    #[error(
        "is an authority for kube-apiserver's clients too: as `--requestheader-client-ca-file` it \
         would make every client fail the list of allowed names"
    )]
    AlsoClients,
    #[error("the public key is not that of the private key: tokens would not be believed")]
    OtherPublicKey,
    #[error("its key `{path}` can be read by others (mode {mode:04o})")]
    OpenKey { path: String, mode: u32 },
}

impl Flaw {
    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::NoGateway
            | Self::IsAuthority
            | Self::Unreadable { .. }
            | Self::MayNotSign
            | Self::Beside { .. }
            | Self::Unchecked { .. }
            | Self::NegativeSerial { .. }
            | Self::OldSignature
            | Self::WeakKey {
                is_refused: false, ..
            }
            | Self::TooPowerful
            | Self::NearEnd { .. }
            | Self::AuthorityNearEnd { .. }
            | Self::Shorter { .. }
            | Self::Outlives { .. }
            | Self::OpenKey { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What it is called, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotACertificate { .. } => "not-a-certificate",
            Self::NotAKey => "not-a-key",
            Self::OtherKey => "other-key",
            Self::Unreadable { .. } => "unreadable",
            Self::SelfSigned { .. } => "self-signed",
            Self::NotTrusted { .. } => "not-trusted",
            Self::OtherAuthority { .. } => "other-authority",
            Self::ChainOrder => "chain-order",
            Self::IsAuthority => "is-an-authority",
            Self::NotAnAuthority => "not-an-authority",
            Self::MayNotCertify => "may-not-certify",
            Self::LacksUsage { .. } => "lacks-usage",
            Self::NoGateway => "no-gateway",
            Self::MayNotSign => "may-not-sign",
            Self::NoNames => "no-names",
            Self::LacksName { .. } => "lacks-name",
            Self::CommonName { .. } => "common-name",
            Self::Organization { .. } => "organization",
            Self::TooPowerful => "too-powerful",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::NearEnd { .. } | Self::AuthorityNearEnd { .. } => "near-end",
            Self::Shorter { .. } => "shorter",
            Self::Outlives { .. } => "outlives-authority",
            Self::WeakKey { .. } => "weak-key",
            Self::Refused(refusal) => refusal.name(),
            Self::Beside { .. } => "of-no-use",
            Self::Unchecked { .. } => "unchecked",
            Self::NegativeSerial { .. } => "negative-serial",
            Self::OldSignature => "weak-signature",
            Self::AddressAsName { .. } => "address-as-name",
            Self::AlsoClients => "also-clients",
            Self::OtherPublicKey => "other-public-key",
            Self::OpenKey { .. } => "open-key",
        }
    }
}

/// A moment's day, as in `2036-11-19`.
pub(crate) fn day(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| seconds.to_string(), |moment| moment.date().to_string())
}

/// The DER of each public key in a PEM text.
pub(super) fn public_ders(pem: &str) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
    let public = blocks.filter(|block| block.label == "PUBLIC KEY");
    public.map(|block| block.contents).collect()
}

fn in_file(file: &str) -> String {
    if file.is_empty() {
        return String::new();
    }
    format!(" from `{file}`")
}
