//! What a certificate says of itself, for listings and for deciding whether it still serves.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::{
    AttributeTypeAndValue, FromDer, SubjectPublicKeyInfo, X509Certificate, X509Name, X509Version,
};
use x509_parser::public_key::PublicKey;

use super::Usage;
use super::path::{Go, Name, Parsed};
use crate::inventory::KeyType;

/// The name that a certificate was given, as far as Kubernetes looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The common name, if there is one: the user, to Kubernetes. Of several the last, as Go has it
    /// (`pkix.Name.FillFromRDNSequence`).
    pub common_name: Option<String>,
    /// The organizations: groups, to Kubernetes.
    pub organizations: Vec<String>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CN={}", self.common_name.as_deref().unwrap_or_default())?;
        self.organizations
            .iter()
            .try_for_each(|organization| write!(f, ",O={organization}"))
    }
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Whose it is.
    pub subject: Subject,
    /// Who signed it.
    pub issuer: Subject,
    /// The names and addresses it is valid for: a foreign one may hold names that an inventory could
    /// not.
    pub sans: BTreeSet<Name>,
    /// Seconds since 1970 at which it begins to be valid.
    pub not_before: i64,
    /// Seconds since 1970 at which it ends to be valid.
    pub not_after: i64,
    /// What it tells that it may be used for; none where it tells nothing, and may be used for
    /// anything (RFC 5280, 4.2.1.12).
    pub usages: Option<BTreeSet<Usage>>,
    /// Its public key, as the DER of its `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    /// The kind of its key, in the inventory's words where it has one: `ecdsa-p256`, `rsa-2048`.
    pub key: String,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Whether its key usage, where it says one, lets it sign certificates.
    pub may_certify: bool,
    /// Whether its key usage, where it says one, lets it take part in a handshake.
    pub may_sign: bool,
    /// How it was signed: `sha256`, `sha1`, `md5`, or the identifier of another way.
    pub signature: String,
    /// The serial number in hexadecimal, as openssl writes it.
    pub serial: String,
}

/// The text holds no certificate that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate in PEM: {reason}")]
pub struct NotACertificate {
    /// What the parser says.
    pub reason: String,
}

impl Description {
    /// Whether it tells that it may be used so.
    pub fn tells(&self, usage: Usage) -> bool {
        let mut told = self.usages.iter().flatten();
        told.any(|it| *it == usage)
    }

    /// Whether it may be used so.
    pub fn allows(&self, usage: Usage) -> bool {
        let told = self.usages.as_ref();
        told.is_none_or(|usages| usages.contains(&usage))
    }

    /// Whether its serial number is negative.
    pub fn is_serial_negative(&self) -> bool {
        self.serial.starts_with(|digit| digit >= '8')
    }
}

/// Describes the first certificate of a PEM text.
pub fn describe(pem: &str) -> Result<Description, NotACertificate> {
    with_first(pem, |certificate| Ok(description(certificate)))
}

/// What tells one certificate from another at a glance: its subject, the first of its names, how
/// many more it has, and its end. A kube-apiserver's has those of all control planes, and a plan
/// tells of every one of them.
pub fn summary(pem: &str, names_max: usize) -> Result<Summary, NotACertificate> {
    with_first(pem, |certificate| {
        let names = || general_names(certificate);
        Ok(Summary {
            subject: subject(certificate.subject()),
            names: names().take(names_max).map(Name::from).collect(),
            others: names().count().saturating_sub(names_max),
            not_after: certificate.validity().not_after.timestamp(),
        })
    })
}

/// What [`summary`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is.
    pub subject: Subject,
    /// The first names and addresses that it is valid for, in its own order.
    pub names: Vec<Name>,
    /// How many more it has.
    pub others: usize,
    /// Seconds since 1970 at which it ends to be valid.
    pub not_after: i64,
}

/// Each certificate of a PEM text by itself, in order.
pub fn certificates(pem: &str) -> Vec<&str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut certificates = Vec::new();
    let mut rest = pem;
    while let Some(begin) = rest.find(BEGIN) {
        let Some(end) = rest[begin..].find(END) else {
            break;
        };
        let end = begin + end + END.len();
        certificates.push(&rest[begin..end]);
        rest = &rest[end..];
    }
    certificates
}

/// The public key of the first certificate of a PEM text, as the DER of its
/// `SubjectPublicKeyInfo`.
pub fn public_key(pem: &str) -> Result<Vec<u8>, NotACertificate> {
    with_first(pem, |certificate| Ok(certificate.public_key().raw.to_vec()))
}

/// Whether the first certificate of one PEM text was signed by the key of another's, and names it
/// as its issuer. A signature that cannot be checked here is taken at its word.
pub fn is_signed_by(pem: &str, authority_pem: &str) -> Result<bool, NotACertificate> {
    let read = |pem| {
        // What Go makes of either is not asked here.
        Parsed::read(pem, Go(0)).map_err(|refusal| NotACertificate {
            reason: refusal.to_string(),
        })
    };
    Ok(read(pem)?.is_signed_by(&read(authority_pem)?))
}

/// The kind of a public key, given as the DER of its `SubjectPublicKeyInfo`, in the words of
/// [`Description::key`].
pub fn key_of(public_key_der: &[u8]) -> Option<String> {
    let (_, info) = SubjectPublicKeyInfo::from_der(public_key_der).ok()?;
    Some(public_key_word(&info))
}

/// The word for a kind of key, as the inventory has it.
pub const fn key_word(key: KeyType) -> &'static str {
    match key {
        KeyType::EcdsaP256 => "ecdsa-p256",
        KeyType::Rsa2048 => "rsa-2048",
        KeyType::Rsa4096 => "rsa-4096",
    }
}

fn with_first<T>(
    pem: &str,
    read: impl FnOnce(&X509Certificate<'_>) -> Result<T, NotACertificate>,
) -> Result<T, NotACertificate> {
    let refuse = |reason: String| NotACertificate { reason };
    let block: Pem = parse_x509_pem(pem.as_bytes())
        .map_err(|error| refuse(error.to_string()))?
        .1;
    if block.label != "CERTIFICATE" {
        return Err(refuse(format!("it holds a `{}`", block.label)));
    }
    let certificate = block.parse_x509();
    read(&certificate.map_err(|error| refuse(error.to_string()))?)
}

fn description(certificate: &X509Certificate<'_>) -> Description {
    Description {
        subject: subject(certificate.subject()),
        issuer: subject(certificate.issuer()),
        sans: sans(certificate),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        usages: usages(certificate),
        public_key: certificate.public_key().raw.to_vec(),
        key: key(certificate),
        // A version 1 certificate cannot say so: one that names itself as its issuer is an anchor.
        is_authority: certificate.is_ca()
            || certificate.version() != X509Version::V3
                && certificate.issuer().as_raw() == certificate.subject().as_raw(),
        may_certify: key_usage(certificate)
            .is_none_or(|usage| usage.flags == 0 || usage.key_cert_sign()),
        may_sign: key_usage(certificate).is_none_or(KeyUsage::digital_signature),
        signature: signature(certificate),
        serial: hexadecimal(certificate.raw_serial()),
    }
}

pub(super) fn subject(name: &X509Name<'_>) -> Subject {
    Subject {
        common_name: name.iter_common_name().map(attribute).last(),
        organizations: name.iter_organization().map(attribute).collect(),
    }
}

/// The text of an attribute (`parseASN1String` of Go).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    const BMP_STRING: u32 = 30;
    let value = attribute.attr_value();
    if value.tag().0 == BMP_STRING {
        let pairs = value.data.chunks_exact(2);
        let units: Vec<u16> = pairs
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value.data).into_owned()
}

fn sans(certificate: &X509Certificate<'_>) -> BTreeSet<Name> {
    general_names(certificate).map(Name::from).collect()
}

fn general_names<'a>(
    certificate: &'a X509Certificate<'_>,
) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extensions = certificate.iter_extensions();
    let names = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    names.flatten()
}

fn usages(certificate: &X509Certificate<'_>) -> Option<BTreeSet<Usage>> {
    let Ok(extension) = certificate.extended_key_usage() else {
        return Some(BTreeSet::new());
    };
    let usage = extension?.value;
    let usages = [
        (usage.server_auth || usage.any, Usage::Server),
        (usage.client_auth || usage.any, Usage::Client),
    ]
    .into_iter()
    .filter_map(|(is, usage)| is.then_some(usage))
    .collect();
    Some(usages)
}

fn key_usage<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a KeyUsage> {
    let extension = certificate.key_usage().ok()??;
    Some(extension.value)
}

/// The digest that was signed (RFC 8017, RFC 5758).
fn signature(certificate: &X509Certificate<'_>) -> String {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    let known = match oid.as_str() {
        "1.2.840.113549.1.1.2" => "md2",
        "1.2.840.113549.1.1.4" => "md5",
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => "sha1",
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => "sha256",
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => "sha384",
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => "sha512",
        _ => oid.as_str(),
    };
    known.to_owned()
}

fn key(certificate: &X509Certificate<'_>) -> String {
    public_key_word(certificate.public_key())
}

fn public_key_word(info: &SubjectPublicKeyInfo<'_>) -> String {
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok())
        .map(|oid| oid.to_id_string());
    match (info.parsed(), curve.as_deref()) {
        (Ok(PublicKey::RSA(rsa)), _) => format!("rsa-{}", rsa.key_size()),
        (_, Some("1.2.840.10045.3.1.7")) => "ecdsa-p256".to_owned(),
        (_, Some("1.3.132.0.34")) => "ecdsa-p384".to_owned(),
        (_, Some("1.3.132.0.35")) => "ecdsa-p521".to_owned(),
        _ if info.algorithm.algorithm.to_id_string() == "1.3.101.112" => "ed25519".to_owned(),
        _ => info.algorithm.algorithm.to_id_string(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02X}").expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500
    /// -set_serial 0x1f -subj /O=one/O=two/CN=somebody -addext
    /// subjectAltName=DNS:*.Home,IP:10.0.0.1,IP:::1 -addext extendedKeyUsage=clientAuth`.
    const FOREIGN: &str = include_str!("describe/foreign.pem");

    #[test]
    fn a_foreign_certificate_is_described_too() {
        let description = describe(FOREIGN).unwrap();
        assert_eq!(description.subject.to_string(), "CN=somebody,O=one,O=two");
        assert_eq!(description.issuer, description.subject);
        let sans: Vec<String> = description.sans.iter().map(Name::to_string).collect();
        assert_eq!(sans, ["*.Home", "10.0.0.1", "::1"]);
        assert_eq!(description.usages, Some([Usage::Client].into()));
        assert_eq!(description.key, "ecdsa-p256");
        assert_eq!(description.serial, "1F");
        assert_eq!(
            description.not_after - description.not_before,
            36500 * 86_400
        );
        assert!(description.is_authority);
        assert_eq!(is_signed_by(FOREIGN, FOREIGN), Ok(true));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for text in ["", "hello", key, &FOREIGN.replace("MII", "AAA")] {
            assert!(describe(text).is_err(), "{text}");
        }
    }
}
