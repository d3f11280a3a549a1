//! Certificates, keys and other files that flags name: read and judged as Go's crypto does.

use std::io;

use fs_err as fs;
use rustls::{
    RootCertStore,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SigningKey},
};
use x509_parser::prelude::{FromDer as _, Pem, X509Certificate};

use crate::arguments::Arguments;

/// Flags that name files to read, beside those that end in `-file`.
const INPUTS: [&str; 14] = [
    "authentication-config",
    "authentication-kubeconfig",
    "authorization-config",
    "authorization-kubeconfig",
    "config",
    "encryption-provider-config",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "experimental-encryption-provider-config",
    "kubeconfig",
    "kubelet-certificate-authority",
    "kubelet-client-certificate",
    "kubelet-client-key",
];

/// What a certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Server,
    Client,
    Any,
}

/// Every file that a flag names must be there to be read. Real servers find out one by one, and
/// of some only at the first use.
pub(crate) fn check_readable(arguments: &Arguments) -> Result<(), String> {
    for (flag, _) in arguments.all() {
        let input = flag.ends_with("-file") || INPUTS.contains(&flag);
        // The one file of that name that is written.
        if !input || flag == "log-file" {
            continue;
        }
        for path in arguments.list(flag) {
            read(path).map_err(|reason| missing(flag, path, &reason))?;
        }
    }
    Ok(())
}

fn missing(flag: &str, path: &str, reason: &str) -> String {
    match flag {
        "client-ca-file" => format!("unable to load client CA provider: {reason}"),
        "audit-policy-file" => {
            format!("loading audit policy file: failed to read file path {path:?}: {reason}")
        }
        "encryption-provider-config" => {
            format!("error opening encryption provider configuration file {path:?}: {reason}")
        }
        flag if flag.ends_with("kubeconfig") => reason.replacen("open ", "stat ", 1),
        flag => format!("--{flag}: {reason}"),
    }
}

/// The key must belong to the certificate, and the certificate must be good for its use.
pub(crate) fn check_pair(
    arguments: &Arguments,
    certificate: &str,
    key: &str,
    usage: Usage,
) -> Result<(), String> {
    let (certificate, key) = match (arguments.get(certificate), arguments.get(key)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(()),
        _ => {
            return Err(format!(
                "--{certificate} and --{key} must be specified together"
            ));
        }
    };
    let pair = pair(&read(certificate)?, &read(key)?)
        .map_err(|reason| format!("{certificate}, {key}: {reason}"))?;
    let (_, leaf) =
        X509Certificate::from_der(&pair.cert[0]).map_err(|error| format!("x509: {error}"))?;
    let Ok(Some(allowed)) = leaf.extended_key_usage() else {
        return Ok(());
    };
    let allowed = allowed.value;
    let fits = match usage {
        Usage::Server => allowed.any || allowed.server_auth,
        Usage::Client => allowed.any || allowed.client_auth,
        Usage::Any => true,
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "{certificate}: x509: certificate specifies an incompatible key usage"
    ))
}

/// The authorities of a flag, if it is given.
pub(crate) fn check_authorities(
    arguments: &Arguments,
    flag: &str,
) -> Result<Option<RootCertStore>, String> {
    let Some(path) = arguments.get(flag) else {
        return Ok(None);
    };
    let found = authorities(&read(path)?);
    found
        .map(Some)
        .map_err(|reason| format!("--{flag}: {path}: {reason}"))
}

/// Reads a file, or says why not in Go's words.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("open {path}: {}", reason(&error)))
}

/// An error of the system without Rust's decoration.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "is a directory".into(),
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        _ => error.to_string(),
    }
}

/// The certificates of a PEM text.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("data does not contain any valid RSA or ECDSA certificates".into());
    }
    for der in &found {
        X509Certificate::from_der(der).map_err(|error| format!("x509: {error}"))?;
    }
    Ok(found)
}

/// A bundle of authorities to trust.
pub(crate) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for der in certificates(pem)? {
        roots.add(der).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// A certificate with its chain, and the key that belongs to it.
pub(crate) fn pair(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain = certificates(certificate)
        .map_err(|_| "tls: failed to find any PEM data in certificate input".to_owned())?;
    let key =
        signing_key(key).map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?;
    let pair = CertifiedKey::new(chain, key);
    pair.keys_match()
        .map_err(|_| "tls: private key does not match public key".to_owned())?;
    Ok(pair)
}

/// A private key.
pub(crate) fn signing_key(pem: &[u8]) -> Result<std::sync::Arc<dyn SigningKey>, String> {
    let der = PrivateKeyDer::from_pem_slice(pem);
    let der = der.map_err(|_| "data does not contain a valid RSA or ECDSA private key")?;
    any_supported_type(&der).map_err(|error| error.to_string())
}

/// The public half of a private key, as DER.
pub(crate) fn public_half(pem: &[u8]) -> Result<Vec<u8>, String> {
    let key = signing_key(pem)?;
    let public = key.public_key().ok_or("the key has no public half")?;
    Ok(public.as_ref().to_vec())
}

/// The public keys of a PEM text, which may hold them bare, in certificates or beside their
/// private halves, as `--service-account-key-file` allows.
pub(crate) fn public_keys(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let none = || "data does not contain any valid RSA or ECDSA public keys".to_owned();
    let mut keys = Vec::new();
    for section in Pem::iter_from_buffer(pem) {
        let Pem { label, contents } = section.map_err(|_| none())?;
        match label.as_str() {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => keys.push(contents),
            "CERTIFICATE" => {
                let (_, parsed) = X509Certificate::from_der(&contents).map_err(|_| none())?;
                keys.push(parsed.public_key().raw.to_vec());
            }
            label if label.ends_with("PRIVATE KEY") => {
                let der = PrivateKeyDer::try_from(contents).map_err(|_| none())?;
                let key = any_supported_type(&der).map_err(|_| none())?;
                keys.extend(key.public_key().map(|public| public.as_ref().to_vec()));
            }
            _ => {}
        }
    }
    if keys.is_empty() {
        Err(none())
    } else {
        Ok(keys)
    }
}

/// Whether one of the public keys belongs to the private one. An `RSA PUBLIC KEY` is the inner
/// part of what other forms hold.
pub(crate) fn is_among(public: &[u8], keys: &[Vec<u8>]) -> bool {
    keys.iter()
        .any(|key| public == key || (key.len() > 64 && public.ends_with(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_its_public_half_only() {
        let (ours, other) = (
            rcgen::KeyPair::generate().unwrap(),
            rcgen::KeyPair::generate().unwrap(),
        );
        let public = public_half(ours.serialize_pem().as_bytes()).unwrap();
        let both = format!("{}{}", other.public_key_pem(), ours.public_key_pem());
        assert!(is_among(&public, &public_keys(both.as_bytes()).unwrap()));
        let private = public_keys(ours.serialize_pem().as_bytes()).unwrap();
        assert!(is_among(&public, &private));
        let strange = public_keys(other.public_key_pem().as_bytes()).unwrap();
        assert!(!is_among(&public, &strange));
        assert!(public_keys(b"nothing").is_err());
    }
}
