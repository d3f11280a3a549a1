//! `[pki.vault]`: certificates from the PKI engine of a `HashiCorp` Vault.
//!
//! Names are patterns over the node. What is said of one certificate goes before what is said of
//! its set, and that before what is said for all.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::pattern::Pattern;

/// `[pki.vault]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Where it answers. None where the environment says so, as it does for Vault's own client
    /// (`VAULT_ADDR`); the same goes for the CA and the namespace.
    pub address: Option<Address>,
    /// The namespace that mounts, roles and logins are in.
    pub namespace: Option<String>,
    /// A PEM file with the CA of Vault's own TLS, beside the system's; relative to the inventory.
    pub ca: Option<PathBuf>,
    /// How long one answer may take, retries included, in seconds.
    pub seconds: u64,
    /// What holds for all.
    pub common: Names,
    /// `[pki.vault.set.NAME]`.
    pub sets: BTreeMap<String, Names>,
    /// `[pki.vault.certificate.NAME]`.
    pub certificates: BTreeMap<String, Names>,
}

/// Where a Vault, or an agent that passes requests on to it, answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `https://host:port` or `http://host:port`, without a path.
    Url(String),
    /// The Unix socket of an agent on this machine.
    Socket(PathBuf),
}

impl Address {
    /// Reads `https://host:port`, `http://host:port` or `unix:///path`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            let is_path = path.starts_with('/') && !path.chars().any(breaks_address);
            return is_path.then(|| Self::Socket(PathBuf::from(path)));
        }
        let text = text.trim_end_matches('/');
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))?;
        let is_host =
            !host.is_empty() && !host.contains(['/', '@']) && !host.chars().any(breaks_address);
        is_host.then(|| Self::Url(text.to_owned()))
    }

    /// The name or address of the host, without brackets; none for a socket.
    pub fn host(&self) -> Option<&str> {
        let Self::Url(url) = self else { return None };
        let (_, host) = url.split_once("://").unwrap_or_default();
        let bracketed = host.strip_prefix('[').and_then(|it| it.split_once(']'));
        Some(match (bracketed, host.split_once(':')) {
            (Some((host, _)), _) | (None, Some((host, _))) => host,
            (None, None) => host,
        })
    }

    /// Whether what is sent there stays on this machine: then an agent may have a token of its own.
    pub fn is_of_this_machine(&self) -> bool {
        let Some(host) = self.host() else { return true };
        let address = host.parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether passwords and keys would travel unencrypted over a network.
    pub fn is_open(&self) -> bool {
        let is_plain = matches!(self, Self::Url(url) if url.starts_with("http://"));
        is_plain && !self.is_of_this_machine()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

fn breaks_address(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\"'`<>\\?#{}|^".contains(character)
}

/// How certificates are asked for: all of it may be said for all, for a set, or for one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Where the engine is mounted. A set without one is signed by kinstall's own authority.
    pub mount: Option<Pattern>,
    /// The role that is asked.
    pub role: Option<Pattern>,
    /// The user that logs in.
    pub user: Option<Pattern>,
    /// Where the user's password is.
    pub password: Option<SecretPlace>,
    /// Where a token is, for those who do not log in.
    pub token: Option<SecretPlace>,
    /// Where the id of an `AppRole` is, for machines that log in by one.
    pub role_id: Option<SecretPlace>,
    /// Where the secret id of that `AppRole` is; none for one that asks for none.
    pub secret_id: Option<SecretPlace>,
    /// A certificate to log in with, relative to the inventory.
    pub client_certificate: Option<Pattern>,
    /// The key of that certificate.
    pub client_key: Option<Pattern>,
    /// Where the method is mounted that is logged in by.
    pub login: Option<Pattern>,
    /// The domain that the other names are made of, and that a server's certificate is valid for.
    pub domain: Option<Pattern>,
    /// The common name, in place of the table's.
    pub common_name: Option<Pattern>,
    /// Names that the certificate is valid for beside the table's.
    pub alt_names: Option<Vec<Pattern>>,
    /// Whether comfortable names that no client goes by are asked for too.
    pub names: Option<AskedNames>,
    /// Who makes the private keys. None: kinstall, wherever the role signs requests.
    pub private_key: Option<PrivateKey>,
}

impl Names {
    /// Whether it says as whom to log in.
    pub const fn has_login(&self) -> bool {
        self.user.is_some()
            || self.token.is_some()
            || self.role_id.is_some()
            || self.client_certificate.is_some()
    }
}

/// Who makes the private keys of certificates from Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateKey {
    /// kinstall: Vault signs a request (`/sign/ROLE`) and never sees the key.
    Local,
    /// Vault: it sends the key with the certificate (`/issue/ROLE`).
    Vault,
}

/// Which of the table's names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedNames {
    /// All of them.
    All,
    /// Those that some client goes by.
    Needed,
}

/// Where a secret is: never in the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a variable of the environment.
    Environment(Pattern),
    /// In a file, relative to the inventory.
    File(Pattern),
}

impl Vault {
    /// How long an answer may take where nothing is said, in seconds: as Vault's own client waits.
    pub const SECONDS: u64 = 60;

    /// What is said of a certificate of a set, the nearest word first.
    pub fn levels<'a>(&'a self, set: &str, certificate: &str) -> impl Iterator<Item = &'a Names> {
        let own = self.certificates.get(certificate);
        own.into_iter()
            .chain(self.sets.get(set))
            .chain([&self.common])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let parse = |text| Address::parse(text).map(|it| it.to_string());
        for text in [
            "https://vault.home:8200",
            "http://[::1]:8100",
            "unix:///run/a.sock",
        ] {
            assert_eq!(parse(text).as_deref(), Some(text));
        }
        assert_eq!(
            parse("https://vault.home/").as_deref(),
            Some("https://vault.home")
        );
        for text in [
            "vault.home",
            "ftp://vault.home",
            "https://",
            "https://vault.home/ui",
            "https://me:secret@vault.home",
            "https://vault home",
            "unix://agent.sock",
            "unix://",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let local = |text| Address::parse(text).is_some_and(|it| it.is_of_this_machine());
        for text in [
            "http://127.0.0.1:8100",
            "http://localhost",
            "https://[::1]:8200",
            "http://127.9.9.9",
            "unix:///run/vault.sock",
        ] {
            assert!(local(text), "{text}");
        }
        for text in [
            "http://localhost.evil:8100",
            "http://10.0.0.1",
            "http://[fd00::1]:1",
        ] {
            assert!(!local(text), "{text}");
        }
        let open = |text| Address::parse(text).is_some_and(|it| it.is_open());
        assert!(open("http://vault.home:8200"));
        assert!(!open("http://127.0.0.1:8200") && !open("https://vault.home"));
    }
}
