//! A certificate as Go reads it (`parser.go`): x509-parser takes it apart, and what Go refuses to
//! read is refused here.

use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::oid_registry::Oid;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509Extension, X509Name, X509Version};

use super::super::Usage;
use super::super::describe::{certificates, subject};
use super::constraint::Constraints;
use super::signature::{self, Algorithm, Check, Key};
use super::{Go, Name, Refusal};

/// The extensions that Go takes apart; what stands in others is nothing to it.
const READ_BY_GO: [&str; 10] = [
    "1.3.6.1.5.5.7.1.1",
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.32",
    "2.5.29.35",
    "2.5.29.37",
];

/// A certificate, with what Go looks at.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub(super) go: Go,
    der: Vec<u8>,
    pub(super) signed: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// Its subject in words.
    pub(super) subject_words: String,
    pub(super) issuer_words: String,
    pub(super) names: Vec<Name>,
    /// Its subject alternative names as they were written.
    raw_names: Option<Vec<u8>>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    is_v3: bool,
    basic: Option<Basic>,
    may_certify: bool,
    pub(super) usages: Usages,
    constraints: Option<Constraints>,
    critical: Option<String>,
    pub(super) key: Key,
    /// The DER of its `SubjectPublicKeyInfo`.
    pub(super) raw_key: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) signature: Vec<u8>,
}

/// The basic constraints.
#[derive(Debug, Clone, Copy)]
struct Basic {
    is_authority: bool,
    path_length: Option<u32>,
}

/// The extended key usage; without that extension, or with an empty one, any use is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usages {
    is_told: bool,
    server: bool,
    client: bool,
}

impl Usages {
    pub(super) const fn allow(self, usage: Usage) -> bool {
        let told = match usage {
            Usage::Server => self.server,
            Usage::Client => self.client,
        };
        told || !self.is_told
    }

    pub(super) fn words(self) -> String {
        match (self.server, self.client) {
            (true, _) => Usage::Server.word().to_owned(),
            (_, true) => Usage::Client.word().to_owned(),
            _ => "other uses".to_owned(),
        }
    }
}

impl Parsed {
    /// Every certificate of a PEM text.
    pub(super) fn all(pem: &str, go: Go) -> Result<Vec<Self>, Refusal> {
        let all = certificates(pem).into_iter();
        all.map(|pem| Self::read(pem, go)).collect()
    }

    /// Reads the first certificate of a PEM text.
    pub fn read(pem: &str, go: Go) -> Result<Self, Refusal> {
        let block = parse_x509_pem(pem.as_bytes());
        let (_, block) = block.map_err(|error| Refusal::unreadable("", &error.to_string()))?;
        let parsed = X509Certificate::from_der(&block.contents);
        let (rest, certificate) =
            parsed.map_err(|error| Refusal::unreadable("", &error.to_string()))?;
        let words = subject(certificate.subject()).to_string();
        if certificate
            .raw_serial()
            .first()
            .is_some_and(|byte| byte & 0x80 != 0)
            && go >= Go::NO_NEGATIVE_SERIAL
        {
            let kubernetes = Go::NO_NEGATIVE_SERIAL.first_kubernetes();
            return Err(Refusal::NegativeSerial { kubernetes });
        }
        let refuse = |reason: String| Refusal::unreadable(&words, &reason);
        if !rest.is_empty() {
            return Err(refuse("there is more behind it".to_owned()));
        }
        Self::take(&certificate, &block.contents, go).map_err(refuse)
    }

    fn take(found: &X509Certificate<'_>, der: &[u8], go: Go) -> Result<Self, String> {
        if found.version().0 > X509Version::V3.0 {
            return Err("invalid version".to_owned());
        }
        if found.signature_algorithm != found.signature {
            return Err("inner and outer signature algorithm identifiers do not match".to_owned());
        }
        check_serial(found.raw_serial())?;
        check_name(found.issuer())?;
        check_name(found.subject())?;
        let is_v3 = found.version() == X509Version::V3;
        let mut parsed = Self {
            go,
            der: der.to_vec(),
            signed: found.tbs_certificate.as_ref().to_vec(),
            subject: found.subject().as_raw().to_vec(),
            issuer: found.issuer().as_raw().to_vec(),
            subject_words: subject(found.subject()).to_string(),
            issuer_words: subject(found.issuer()).to_string(),
            names: Vec::new(),
            raw_names: None,
            not_before: found.validity().not_before.timestamp(),
            not_after: found.validity().not_after.timestamp(),
            is_v3,
            basic: None,
            may_certify: true,
            usages: Usages::default(),
            constraints: None,
            critical: None,
            key: Key::read(found.public_key())?,
            raw_key: found.public_key().raw.to_vec(),
            algorithm: Algorithm::read(&found.signature_algorithm),
            signature: found.signature_value.data.to_vec(),
        };
        // Go looks at extensions of version 3 alone.
        let extensions = found.extensions().iter().filter(|_| is_v3);
        let mut seen: Vec<&Oid<'_>> = Vec::new();
        for extension in extensions {
            if seen.contains(&&extension.oid) {
                return Err("certificate contains duplicate extensions".to_owned());
            }
            seen.push(&extension.oid);
            parsed.extension(extension)?;
        }
        Ok(parsed)
    }

    fn extension(&mut self, extension: &X509Extension<'_>) -> Result<(), String> {
        let is_known = match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => {
                let oid = extension.oid.to_id_string();
                if READ_BY_GO.contains(&oid.as_str()) {
                    return Err(format!("malformed extension {oid}"));
                }
                false
            }
            ParsedExtension::BasicConstraints(basic) => {
                self.basic = Some(Basic {
                    is_authority: basic.ca,
                    path_length: basic.path_len_constraint,
                });
                true
            }
            ParsedExtension::KeyUsage(usage) => {
                // No bit at all says as little as no extension.
                self.may_certify = usage.flags == 0 || usage.key_cert_sign();
                true
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.usages = usages(usage);
                true
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.raw_names = Some(extension.value.to_vec());
                self.names = names.general_names.iter().map(Name::from).collect();
                names
                    .general_names
                    .iter()
                    .try_for_each(check_general_name)?;
                self.names
                    .iter()
                    .any(|name| !matches!(name, Name::Other(_)))
            }
            ParsedExtension::NameConstraints(found) => {
                let constraints = Constraints::read(found)?;
                let is_known = !constraints.has_unknown;
                self.constraints = Some(constraints);
                is_known
            }
            ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::AuthorityInfoAccess(_) => true,
            _ => false,
        };
        if !is_known && extension.critical {
            self.critical = Some(extension.oid.to_id_string());
        }
        Ok(())
    }

    /// `isValid`: whether it may stand where it does, above these, the leaf first.
    pub(super) fn is_valid(
        &self,
        below: &[&Self],
        is_intermediate: bool,
        now: i64,
    ) -> Result<(), Refusal> {
        let subject = self.subject_words.clone();
        if let Some(oid) = self.critical.clone() {
            return Err(Refusal::Critical { subject, oid });
        }
        if now < self.not_before {
            let from = self.not_before;
            return Err(Refusal::NotYetValid { subject, from });
        }
        if now > self.not_after {
            let end = self.not_after;
            return Err(Refusal::Expired { subject, end });
        }
        if let (Some(constraints), Some(leaf)) = (&self.constraints, below.first()) {
            let names = [&leaf.names, &self.names];
            if let Some(name) = names.iter().find_map(|names| constraints.forbidden(names)) {
                let name = name.to_string();
                return Err(Refusal::Constraint { subject, name });
            }
        }
        if is_intermediate && !self.basic.is_some_and(|basic| basic.is_authority) {
            return Err(Refusal::NotAnAuthority { subject });
        }
        if let Some(length) = self.basic.and_then(|basic| basic.path_length)
            && below.len().saturating_sub(1) > usize::try_from(length).unwrap_or(usize::MAX)
        {
            return Err(Refusal::TooLong { subject, length });
        }
        Ok(())
    }

    /// `CheckSignatureFrom`, up to the signature: whether its key may sign others at all. Of a
    /// version 1 certificate nothing is asked: as an anchor it is as good as any.
    pub(super) fn may_sign(&self) -> Result<(), Refusal> {
        let subject = self.subject_words.clone();
        let is_authority = self.basic.map_or(!self.is_v3, |basic| basic.is_authority);
        if !is_authority {
            return Err(Refusal::NotAnAuthority { subject });
        }
        if !self.may_certify {
            return Err(Refusal::MayNotCertify { subject });
        }
        Ok(())
    }

    /// Whether it names another as its issuer, and was signed by the key of that one as far as can be
    /// told here.
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let is_refused = || matches!(signature::check(self, authority), Check::Refused(_));
        self.issuer == authority.subject && !is_refused()
    }

    /// `alreadyInChain`.
    pub(super) fn is_same_entity(&self, other: &Self) -> bool {
        self.subject == other.subject
            && self.raw_key == other.raw_key
            && self.raw_names == other.raw_names
    }
}

impl PartialEq for Parsed {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

fn usages(usage: &ExtendedKeyUsage<'_>) -> Usages {
    let others = usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    Usages {
        is_told: !usage.any && (usage.server_auth || usage.client_auth || others),
        server: usage.server_auth,
        client: usage.client_auth,
    }
}

/// DER has no needless first byte.
fn check_serial(raw: &[u8]) -> Result<(), String> {
    let is_padded = match raw {
        [] => true,
        [0, next, ..] => next & 0x80 == 0,
        [0xff, next, ..] => next & 0x80 != 0,
        _ => false,
    };
    if is_padded {
        return Err("malformed serial number".to_owned());
    }
    Ok(())
}

fn check_general_name(name: &GeneralName<'_>) -> Result<(), String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text)
            if !text.is_ascii() =>
        {
            Err(format!("the name `{text}` is not ASCII"))
        }
        GeneralName::IPAddress(bytes) if bytes.len() != 4 && bytes.len() != 16 => {
            Err(format!("cannot parse IP address of length {}", bytes.len()))
        }
        GeneralName::Invalid(tag, _) if matches!(tag.0, 1 | 2 | 6) => {
            Err("a subject alternative name is malformed".to_owned())
        }
        _ => Ok(()),
    }
}

/// `parseASN1String`.
fn check_name(name: &X509Name<'_>) -> Result<(), String> {
    let is_printable = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+,-./ :=?*&".contains(byte);
    for attribute in name.iter_attributes() {
        let value = attribute.attr_value();
        let bytes = value.data;
        let is_good = match value.tag().0 {
            12 => std::str::from_utf8(bytes).is_ok(),
            18 => bytes
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b' '),
            19 => bytes.iter().all(is_printable),
            20 => true,
            22 => bytes.is_ascii(),
            30 => bytes.len() % 2 == 0,
            _ => false,
        };
        if !is_good {
            return Err("a name in it is not a valid string".to_owned());
        }
    }
    Ok(())
}
