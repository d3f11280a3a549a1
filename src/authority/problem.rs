//! What can go wrong when certificates and keys are obtained, in words.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;

use crate::certificate::{AuthorityName, CertificateId};
use crate::encryption;

/// Why an authority did not answer. Nothing that was there has been replaced.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The inventory takes its certificates from elsewhere.
    #[error("kinstall cannot take certificates from the directory `{}` yet", .0.display())]
    #[diagnostic(help(
        "say `from = \"local\"` in `[pki]`; an authority made elsewhere is taken up when its \
         certificate and key lie at `pki/ca/kubernetes.pem` and `pki/ca/kubernetes.key`"
    ))]
    Directory(PathBuf),
    /// A file could not be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another run is at work in the directory.
    #[error("another run of kinstall has held `{path}` for {seconds} seconds")]
    #[diagnostic(help("wait for it to end, or end it, and run the same command again"))]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long this run has waited for it.
        seconds: u64,
    },
    /// A file is far larger than what belongs in it.
    #[error("`{path}` is larger than {bytes_max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A file that should be a certificate is none.
    #[error("`{path}` is {reason}")]
    #[diagnostic(help(
        "kinstall does not replace what it cannot read: if the file is of no use, move it away and \
         run the same command again to get a new one"
    ))]
    NotACertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that should be a private key is none that kinstall can read.
    #[error("`{path}` is not an unencrypted private key in PEM, ECDSA or RSA")]
    #[diagnostic(help(
        "kinstall never replaces a key it does not know: convert it with `openssl pkcs8 -topk8 \
         -nocrypt`, or, if nothing was ever signed or encrypted with it, move it away"
    ))]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate of an authority has no key beside it.
    #[error("the authority `{name}` has its certificate `{certificate}` but not its key `{key}`")]
    #[diagnostic(help(
        "put the key back from a backup; or, to begin with a new authority that every node and \
         client must then come to trust, move the certificate away too"
    ))]
    AuthorityWithoutKey {
        /// The authority.
        name: AuthorityName,
        /// Its certificate.
        certificate: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The key beside an authority's certificate is another one's.
    #[error("the key `{key}` does not belong to the certificate `{certificate}`")]
    #[diagnostic(help("put back the pair that belongs together, from a backup"))]
    AuthorityOtherKey {
        /// The authority's certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate may not sign others.
    #[error("the certificate `{path}` of the authority `{name}` is not an authority's: {reason}")]
    #[diagnostic(help("put the authority's own certificate there, with its key beside it"))]
    NotAnAuthority {
        /// The authority.
        name: AuthorityName,
        /// Its certificate.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The authority's own certificate has expired, or begins only later.
    #[error("the certificate `{path}` of the authority `{name}` is valid from {from} to {to} only")]
    #[diagnostic(help(
        "check the clock of this machine; if the authority has really expired, move its \
         certificate and key away: a new one is made, and every node and client must come to \
         trust it"
    ))]
    AuthorityNotValid {
        /// The authority.
        name: AuthorityName,
        /// Its certificate.
        path: PathBuf,
        /// The day it begins.
        from: String,
        /// The day it ends.
        to: String,
    },
    /// One half of the service-account pair is missing or another one's.
    #[error("`{public}` is not the public key of `{private}`")]
    #[diagnostic(help(
        "tokens were signed with the private key: put it back from a backup, or if only the \
         public key is wrong, move that away and it is made anew"
    ))]
    ServiceAccountPair {
        /// The private key.
        private: PathBuf,
        /// The public key.
        public: PathBuf,
    },
    /// The encryption configuration that is there does not serve.
    #[error("`{path}` does not serve: {problem}")]
    EncryptionConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        #[diagnostic_source]
        problem: encryption::Problem,
    },
    /// A certificate with more organizations than the signer can write.
    #[error("the certificate `{id}` is to have more than one organization")]
    Organizations {
        /// The certificate.
        id: CertificateId,
    },
    /// A key or certificate could not be made.
    #[error("cannot make {what}: {reason}")]
    Crypto {
        /// What was to be made.
        what: String,
        /// What the library says.
        reason: String,
    },
}
