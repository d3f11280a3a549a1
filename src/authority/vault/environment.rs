//! What the environment says of a Vault, to whom the inventory leaves it: the variables and the
//! file of Vault's own client
//! (<https://developer.hashicorp.com/vault/docs/commands#environment-variables>). What the
//! inventory says goes before it, as flags do for that client.

use std::path::{Path, PathBuf};

use super::super::Error;
use super::http::{IDENTITY_BYTES_MAX, joined};
use crate::certificate::describe::public_key;
use crate::certificate::key::public_of;
use crate::inventory::vault::{self, Address};
use crate::regular_file;
use crate::secret::Secret;

const ADDRESS: &str = "VAULT_ADDR";
const CA: &str = "VAULT_CACERT";
const CA_DIRECTORY: &str = "VAULT_CAPATH";
const NAMESPACE: &str = "VAULT_NAMESPACE";
const CERTIFICATE: &str = "VAULT_CLIENT_CERT";
const KEY: &str = "VAULT_CLIENT_KEY";
const SERVER_NAME: &str = "VAULT_TLS_SERVER_NAME";
const SKIP_VERIFY: &str = "VAULT_SKIP_VERIFY";
pub(super) const TOKEN: &str = "VAULT_TOKEN";
/// Where `vault login` leaves a token, below the home directory.
pub(super) const TOKEN_FILE: &str = ".vault-token";
/// A token is a line; a larger file is something else.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// The most files that a directory of authorities may hold: no system trusts so many.
const CA_FILES_MAX: usize = 1000;

/// Where a Vault is, and by what its own TLS is verified.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: Address,
    /// Whether the address is the environment's, and nobody was warned of it yet.
    pub(super) is_of_environment: bool,
    pub(super) namespace: Option<String>,
    /// Files of PEM, beside the system's authorities.
    pub(super) authorities: Vec<PathBuf>,
    /// A certificate and its key, to show where Vault asks who connects: files of PEM.
    shown: Option<(PathBuf, PathBuf)>,
    pub(super) seconds: u64,
}

impl Target {
    /// By the inventory, and by the environment for what it does not say.
    pub(super) fn of(vault: &vault::Vault, directory: &Path) -> Result<Self, Error> {
        refuse_skipping()?;
        let address = match &vault.address {
            Some(address) => address.clone(),
            None => address()?,
        };
        refuse_other_name(&address)?;
        let said = vault.ca.as_ref().map(|path| vec![directory.join(path)]);
        Ok(Self {
            address,
            is_of_environment: vault.address.is_none(),
            namespace: match &vault.namespace {
                Some(namespace) => Some(namespace.clone()),
                None => namespace()?,
            },
            authorities: said.map_or_else(authorities, Ok)?,
            shown: shown()?,
            seconds: vault.seconds,
        })
    }

    /// The PEM of the certificate to show and of its key, if there is one.
    pub(super) fn identity(&self) -> Result<Option<Secret>, Error> {
        let Some((certificate, key)) = &self.shown else {
            return Ok(None);
        };
        let (pem, own) = (read(CERTIFICATE, certificate)?, read(KEY, key)?);
        let text = pem.expose_text().unwrap_or_default();
        let Ok(public) = public_key(text) else {
            let why = format!(
                "names `{}`, which holds no certificate",
                certificate.display()
            );
            return Err(refuse(CERTIFICATE, why, "name a file of PEM, or unset it"));
        };
        match public_of(&own) {
            Some(half) if half == public => Ok(Some(joined(&pem, &own))),
            Some(_) => {
                let why = format!(
                    "names `{}`, which is not the key of the certificate in `{}` (`{CERTIFICATE}`)",
                    key.display(),
                    certificate.display()
                );
                Err(refuse(
                    KEY,
                    why,
                    "name the two files that were made together",
                ))
            }
            None => {
                let why = format!("names `{}`, which holds no private key", key.display());
                Err(refuse(
                    KEY,
                    why,
                    "name a file of PEM that is not encrypted, or unset it",
                ))
            }
        }
    }
}

/// The value of a variable; one that is empty says nothing.
fn variable(name: &'static str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(refuse(name, "is not UTF-8", "set it again, or unset it"))
        }
    }
}

fn refuse(variable: &'static str, why: impl Into<String>, help: &'static str) -> Error {
    Error::VaultVariable {
        variable,
        why: why.into(),
        help,
    }
}

/// Passwords and private keys would go to whoever answers.
fn refuse_skipping() -> Result<(), Error> {
    // What Go's `strconv.ParseBool` takes for false.
    const FALSE: [&str; 6] = ["0", "f", "F", "false", "FALSE", "False"];
    match variable(SKIP_VERIFY)? {
        Some(value) if !FALSE.contains(&value.as_str()) => Err(refuse(
            SKIP_VERIFY,
            "asks not to verify Vault's certificate: passwords and private keys would go to \
             whoever answers",
            "unset it, and name the CA of Vault's own TLS: `ca` in `[pki.vault]`, or `VAULT_CACERT`",
        )),
        _ => Ok(()),
    }
}

/// By which name Vault is verified is said by its address alone: the name that is sent and the one
/// that is verified are both those of the URL.
fn refuse_other_name(address: &Address) -> Result<(), Error> {
    let is_other = |name: &String| address.host().is_some_and(|host| host != name);
    let name = variable(SERVER_NAME)?.filter(is_other);
    name.map_or(Ok(()), |name| {
        let why = format!("is `{name}`, and the address of Vault has another name");
        let help = "unset it, and name Vault in `address` of `[pki.vault]`, or in `VAULT_ADDR`, as \
                    its certificate does";
        Err(refuse(SERVER_NAME, why, help))
    })
}

/// What Vault's own client shows to a server that asks for a certificate.
fn shown() -> Result<Option<(PathBuf, PathBuf)>, Error> {
    let lone = |missing, there| {
        let why = format!("is not set, and `{there}` is");
        let help = "a certificate is shown with its key: set both, or neither";
        Err(refuse(missing, why, help))
    };
    match (variable(CERTIFICATE)?, variable(KEY)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.into(), key.into()))),
        (Some(_), None) => lone(KEY, CERTIFICATE),
        (None, Some(_)) => lone(CERTIFICATE, KEY),
        (None, None) => Ok(None),
    }
}

fn read(variable: &'static str, path: &Path) -> Result<Secret, Error> {
    let read = regular_file::read(path, IDENTITY_BYTES_MAX);
    let read = read.map_err(|error| {
        let why = format!("names a file that cannot be read: {error}");
        refuse(variable, why, "name a file of PEM, or unset it")
    });
    read.map(Secret::new)
}

fn address() -> Result<Address, Error> {
    let Some(value) = variable(ADDRESS)? else {
        return Err(refuse(
            ADDRESS,
            "is not set, and `[pki.vault]` has no `address`",
            "write `address = \"https://vault.home:8200\"` into `[pki.vault]`, or set the variable",
        ));
    };
    Address::parse(&value).ok_or_else(|| {
        // What is before an `@` may be a password.
        let shown = if value.contains('@') { "…" } else { &value };
        refuse(
            ADDRESS,
            format!("is `{shown}`, which is not the address of a server"),
            "write it as in `https://vault.home:8200` (no path, no user, no password), or \
             `unix:///run/agent.sock` for an agent",
        )
    })
}

fn namespace() -> Result<Option<String>, Error> {
    let value = variable(NAMESPACE)?;
    let is_path = |value: &String| value.chars().all(|c| c.is_ascii_graphic());
    if value.as_ref().is_some_and(|value| !is_path(value)) {
        return Err(refuse(
            NAMESPACE,
            "is not the path of a namespace",
            "write it as in `admin/team`, or unset it for the root namespace",
        ));
    }
    Ok(value)
}

/// `VAULT_CACERT`, a file, goes before `VAULT_CAPATH`, a directory of such files.
fn authorities() -> Result<Vec<PathBuf>, Error> {
    if let Some(file) = variable(CA)? {
        return Ok(vec![PathBuf::from(file)]);
    }
    let Some(directory) = variable(CA_DIRECTORY)? else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for entry in fs_err::read_dir(&directory)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
        if files.len() > CA_FILES_MAX {
            let why = format!("names `{directory}`, which holds more than {CA_FILES_MAX} files");
            return Err(refuse(
                CA_DIRECTORY,
                why,
                "name the CA itself: `VAULT_CACERT`",
            ));
        }
    }
    files.sort();
    Ok(files)
}

/// The token that Vault's own client would take: the variable's, else that of `vault login`. The
/// error says what is wrong with one that is there.
pub(super) fn token() -> Result<Option<Secret>, String> {
    let found = match std::env::var(TOKEN) {
        Ok(token) if !token.is_empty() => Some((format!("the variable `{TOKEN}`"), token.into())),
        Err(std::env::VarError::NotUnicode(_)) => return Err(format!("`{TOKEN}` is not UTF-8")),
        Ok(_) | Err(std::env::VarError::NotPresent) => token_file()?,
    };
    found
        .map(|(place, bytes)| {
            let secret = Secret::new(bytes);
            line(&secret).ok_or_else(|| format!("{place} holds no line of text"))
        })
        .transpose()
}

fn token_file() -> Result<Option<(String, Vec<u8>)>, String> {
    let Some(home) = std::env::home_dir() else {
        return Ok(None);
    };
    let path = home.join(TOKEN_FILE);
    match regular_file::read(&path, TOKEN_BYTES_MAX) {
        Ok(bytes) => Ok(Some((format!("`{}`", path.display()), bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// A secret without the end of its line; none where it is no line of text.
pub(super) fn line(secret: &Secret) -> Option<Secret> {
    let text = secret.expose_text().map(str::trim_end).unwrap_or_default();
    let is_line = !text.is_empty() && !text.contains(char::is_control);
    is_line.then(|| Secret::new(text))
}
