//! What can go wrong when certificates and keys are obtained, in words.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;

use super::vault::Refusal;
use crate::certificate::check::Finding;
use crate::certificate::{AuthorityName, CertificateId};
use crate::encryption;

/// Why an authority did not answer. Nothing that was there has been replaced.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// A directory that certificates are taken from holds far too much.
    #[error("`{path}` holds more than {files_max} files")]
    #[diagnostic(help("name the directory that holds the certificates alone: `dir` in `[pki]`"))]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
        /// The limit.
        files_max: usize,
    },
    /// A directory lacks an authority.
    #[error("`{path}` holds no certificate of the authority `{name}`{}", lines(.unreadable))]
    #[diagnostic(help(
        "put its certificate there, and its key if kinstall is to sign what is missing; with \
         `authorities = \"single\"` one authority is enough"
    ))]
    NoAuthority {
        /// The authority.
        name: AuthorityName,
        /// The directory.
        path: PathBuf,
        /// What lies there and could not be read.
        unreadable: Vec<Finding>,
    },
    /// Certificates are missing, and the key that could sign them is not there.
    #[error("missing, and {} to sign them: {}{}", no_key(.unreadable), listed(.ids), lines(.unreadable))]
    #[diagnostic(help("put these certificates and their keys there, or the key of the authority"))]
    CannotSign {
        /// The certificates.
        ids: Vec<CertificateId>,
        /// What lies there and could not be read, or cannot be signed with.
        unreadable: Vec<Finding>,
    },
    /// Vault did not issue everything.
    #[error("Vault did not issue every certificate:{}", refusals(.0))]
    #[diagnostic(help(
        "whatever else it issued is kept in `pki/` and not asked for again: mend what Vault says, \
         and run the same command once more"
    ))]
    Vault(Vec<Refusal>),
    /// A variable of the environment says something of Vault that cannot be.
    #[error("`{variable}` {why}")]
    #[diagnostic(help("{help}"))]
    VaultVariable {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        why: String,
        /// The way out.
        help: &'static str,
    },
    /// The user wanted to stop while Vault was asked.
    #[error("stopped on request while Vault was asked")]
    #[diagnostic(help("run the same command again"))]
    Stopped,
    /// A name for Vault cannot be made.
    #[error("{}", unsaid(.id, .key, .word.as_deref()))]
    #[diagnostic(help(
        "say it in `[pki.vault]` for all, in `[pki.vault.set.NAME]` for a set, or in \
         `[pki.vault.certificate.NAME]` for one kind of certificate; what the whole cluster shares \
         has no node"
    ))]
    VaultNames {
        /// The certificate.
        id: CertificateId,
        /// The key of the inventory.
        key: &'static str,
        /// The word in braces that there is nothing for.
        word: Option<String>,
    },
    /// Some certificates of one authority come from Vault and others do not.
    #[error("one authority signs the certificates of a set, and of `{name}` these have no `mount`: {}", listed(.ids))]
    #[diagnostic(help(
        "say a `mount` for the whole set in `[pki.vault.set.NAME]`, or for none of its certificates"
    ))]
    PartlyVault {
        /// The authority.
        name: AuthorityName,
        /// The certificates without a mount.
        ids: Vec<CertificateId>,
    },
    /// The directory and `pki/` hold two service-account pairs.
    #[error("`{}` and the directory of the certificates hold different service-account keys", .0.display())]
    #[diagnostic(help(
        "tokens are signed with one of them, on every node: keep that one, and move the other away"
    ))]
    TwoServiceAccounts(PathBuf),
    /// What is there does not do.
    #[error("the certificates would not do:{}", lines(.0))]
    #[diagnostic(help("nothing was changed: put these right first; all of them are listed"))]
    Flawed(Vec<Finding>),
    /// The cluster was made with another number of authorities.
    #[error(
        "the certificates in `{path}` are those of `authorities = \"{was}\"`, and the inventory says `\"{now}\"`"
    )]
    #[diagnostic(help(
        "changed at once, no peer would trust the other. `kinstall certs move INVENTORY` takes a \
         running cluster there: it has every peer trust the authorities of both first. Or say \
         `authorities = \"{was}\"` again; or, if nothing runs on it yet, move `pki/` away"
    ))]
    OtherMode {
        /// The record of it.
        path: PathBuf,
        /// The word in the record.
        was: String,
        /// The word in the inventory.
        now: &'static str,
    },
    /// The cluster's certificates came from elsewhere.
    #[error(
        "the certificates in `{path}` are those of `from = \"{was}\"`, and the inventory leads to `\"{now}\"`"
    )]
    #[diagnostic(help(
        "changed at once, no peer would trust the other. `kinstall certs move INVENTORY` takes a \
         running cluster there: it has every peer trust the authorities of both first. Or say \
         `from = \"{was}\"` again; or, if nothing runs on it yet, move `pki/` away"
    ))]
    OtherSource {
        /// The record of it.
        path: PathBuf,
        /// The word for where they came from.
        was: &'static str,
        /// The word for where they would come from.
        now: &'static str,
    },
    /// An authority is another one than the cluster was made with.
    #[error(
        "the authority `{name}` in `{path}` is another one than the one this cluster was made with"
    )]
    #[diagnostic(help(
        "changed at once, no peer would trust the other. `kinstall certs move INVENTORY` takes a \
         running cluster to another directory or another authority of Vault's: it has every peer \
         trust both first. kinstall's own authorities are exchanged by `kinstall certs rotate-ca \
         INVENTORY` alone: put back what was in `pki/`"
    ))]
    OtherAuthority {
        /// The authority.
        name: AuthorityName,
        /// Where it lies.
        path: PathBuf,
    },
    /// A change of who signs needs what signs now, and it is not there.
    #[error(
        "`{path}` is not there, and without it nodes cannot be told to trust the current authority"
    )]
    #[diagnostic(help(
        "put it back from a copy of `pki/`; or, where it was never there, put the inventory back as \
         it was, run `kinstall push`, and only then change who signs"
    ))]
    NotKept {
        /// The file.
        path: PathBuf,
    },
    /// Certificates that are new in the inventory, while who signs changes.
    #[error("while who signs changes, nothing new is signed, and there is no certificate yet of: {}", listed(.ids))]
    #[diagnostic(help(
        "add nodes and names before or after: take them out of the inventory, let \
         `kinstall certs move` come to its end, and push them then"
    ))]
    NewWhileMoving {
        /// The certificates.
        ids: Vec<CertificateId>,
    },
    /// An authority that is not kinstall's own to exchange.
    #[error("kinstall does not make the authority `{name}` of this cluster")]
    #[diagnostic(help("{help}"))]
    NotOwn {
        /// What was asked for.
        name: String,
        /// The way out.
        help: String,
    },
    /// A file could not be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another run is at work in the directory.
    #[error("another run of kinstall has held `{path}` for {}", crate::plain::count(*seconds, "second"))]
    #[diagnostic(help("wait for it to end, or end it, and run the same command again"))]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long this run has waited for it.
        seconds: u64,
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
         public key is wrong, move that away and it is made again"
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
    /// The user's own encryption configuration is not there.
    #[error("there is no `{0}`, which `provider = \"file\"` in `[encryption]` asks for")]
    #[diagnostic(help(
        "put your configuration there, the very file that kube-apiserver runs with where there is a \
         cluster; or leave `provider` out, and a new one with a new key is made"
    ))]
    NoEncryptionConfig(PathBuf),
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

fn no_key(unreadable: &[Finding]) -> &'static str {
    if unreadable.is_empty() {
        "the key of the authority is not there"
    } else {
        "no key of the authority that can be used is there"
    }
}

fn listed(ids: &[CertificateId]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| format!("`{id}`")).collect();
    ids.join(", ")
}

fn refusals(refusals: &[Refusal]) -> String {
    let line = |refusal: &Refusal| format!("\n  {refusal}");
    refusals.iter().map(line).collect()
}

fn unsaid(id: &CertificateId, key: &str, word: Option<&str>) -> String {
    match word {
        Some(word) => {
            format!("`{key}` for the certificate `{id}` wants `{{{word}}}`, and it has none")
        }
        None => format!("there is no `{key}` for the certificate `{id}`"),
    }
}

fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| format!("\n  {finding}");
    findings.iter().map(line).collect()
}
