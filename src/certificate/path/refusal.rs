//! Why a peer would refuse a certificate, in words.

use super::super::Usage;
use super::super::check::day;

/// Why. Where a certificate of the chain is named, it is by its subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is in its message")]
pub enum Refusal {
    #[error("Go refuses to read {}: {reason}", or_it(subject))]
    Unreadable { subject: String, reason: String },
    #[error("has a negative serial number: Kubernetes 1.{kubernetes} and newer refuse to read it")]
    NegativeSerial { kubernetes: u64 },
    #[error("`{subject}` has the critical extension {oid}, which Go does not know and so refuses")]
    Critical { subject: String, oid: String },
    #[error("`{subject}` expired on {}", day(*end))]
    Expired { subject: String, end: i64 },
    #[error("`{subject}` is valid from {} only", day(*from))]
    NotYetValid { subject: String, from: i64 },
    #[error("was signed by `{subject}`, which is not an authority's certificate: it lacks CA:TRUE")]
    NotAnAuthority { subject: String },
    #[error("was signed by `{subject}`, whose key usage lacks keyCertSign")]
    MayNotCertify { subject: String },
    #[error(
        "there are more intermediates below `{subject}` than its pathlen:{length} allows (\"too many \
         intermediates for path length constraint\")"
    )]
    TooLong { subject: String, length: u32 },
    #[error("its authority `{subject}` may not sign for `{name}` (name constraints)")]
    Constraint { subject: String, name: String },
    #[error(
        "its authority `{subject}` may sign for {only} alone, and not for {} (\"certificate specifies \
         an incompatible key usage\")",
        usage.word()
    )]
    Usage {
        is_leaf: bool,
        subject: String,
        only: String,
        usage: Usage,
    },
    #[error("`{subject}` was signed over a weak digest: {digest}, which Go refuses")]
    Digest { subject: String, digest: String },
    #[error("`{subject}` was signed in a way that Go does not know: {algorithm}")]
    Algorithm { subject: String, algorithm: String },
    #[error("the key of `{issuer}`, {key}, cannot have signed `{subject}`: Go does not use it so")]
    OtherKey {
        subject: String,
        issuer: String,
        key: String,
    },
    #[error("the signature of `{subject}` is not that of the key of `{issuer}`")]
    Signature { subject: String, issuer: String },
    #[error("is not valid for `{name}`")]
    OtherName { name: String },
    #[error("was signed by `{issuer}`, which is not there")]
    Unknown { issuer: String },
}

impl Refusal {
    pub(super) fn unreadable(subject: &str, reason: &str) -> Self {
        Self::Unreadable {
            subject: subject.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Whether it only says that some key did not make a signature.
    pub(super) const fn is_of_signature(&self) -> bool {
        matches!(self, Self::Signature { .. } | Self::OtherKey { .. })
    }

    /// Whether there is no way at all to what is trusted.
    pub const fn is_no_way(&self) -> bool {
        self.is_of_signature() || matches!(self, Self::Unknown { .. })
    }

    /// What it is called, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::NegativeSerial { .. } => "negative-serial",
            Self::Critical { .. } => "critical-extension",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::NotAnAuthority { .. } => "not-an-authority",
            Self::MayNotCertify { .. } => "may-not-certify",
            Self::TooLong { .. } => "chain-too-long",
            Self::Constraint { .. } => "name-constraint",
            Self::Usage { .. } => "authority-lacks-usage",
            Self::Digest { .. } => "weak-signature",
            Self::Algorithm { .. } | Self::OtherKey { .. } => "unknown-signature",
            Self::Signature { .. } => "other-signature",
            Self::OtherName { .. } => "lacks-name",
            Self::Unknown { .. } => "not-trusted",
        }
    }
}

fn or_it(subject: &str) -> String {
    if subject.is_empty() {
        return "it".to_owned();
    }
    format!("`{subject}`")
}
