//! Making keys and signing certificates.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType,
    SerialNumber,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::{OsRng, RngCore};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::super::Error;
use super::DAY_SECONDS;
use crate::certificate::{self, AuthorityName, Leaf, Request, Usage};
use crate::inventory::{ClusterName, KeyType, San};
use crate::secret::Secret;

/// How long before its making a certificate begins to be valid: a node's clock may be behind.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// An authority that can sign.
pub(super) struct Signer {
    /// Its certificate.
    pub(super) pem: String,
    not_after: i64,
    issuer: Issuer<'static, KeyPair>,
}

impl Signer {
    /// An authority that was there.
    pub(super) fn read(pem: String, not_after: i64, key: KeyPair) -> Result<Self, Error> {
        let issuer = Issuer::from_ca_cert_pem(&pem, key)
            .map_err(|error| crypto("certificates with this authority", &error))?;
        Ok(Self {
            pem,
            not_after,
            issuer,
        })
    }

    /// A new authority, signed by itself. It signs leaves only, no further authority.
    pub(super) fn create(
        name: AuthorityName,
        cluster: &ClusterName,
        key: KeyPair,
        days: u32,
        now: i64,
    ) -> Result<Self, Error> {
        let fail = |error| crypto(&format!("the authority `{name}`"), &error);
        let (begin, end) = (begin(now), now + i64::from(days) * DAY_SECONDS);
        let mut params = params(&format!("{cluster}-{name}-ca"), &[], begin, end)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(&key).map_err(fail)?;
        Self::read(certificate.pem(), end, key)
    }

    /// Its private key.
    pub(super) fn key_pem(&self) -> Secret {
        key_pem(self.issuer.key())
    }

    /// When a certificate that is issued now ends: never after the authority itself.
    pub(super) fn end(&self, request: &Request, now: i64) -> i64 {
        self.not_after
            .min(now + i64::from(request.days) * DAY_SECONDS)
    }

    /// Signs a certificate.
    pub(super) fn issue(&self, request: &Request, key: &KeyPair, now: i64) -> Result<Leaf, Error> {
        let what = || format!("the certificate `{}`", request.id);
        if request.organizations.len() > 1 {
            let id = request.id.clone();
            return Err(Error::Organizations { id });
        }
        let (not_before, not_after) = (begin(now), self.end(request, now));
        let organizations = &request.organizations;
        let mut params = params(&request.common_name, organizations, not_before, not_after)?;
        // Says `CA:FALSE` in so many words, and with it the subject key identifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if key.algorithm() == &PKCS_RSA_SHA256 {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = request.usages.iter().copied().map(purpose).collect();
        params.subject_alt_names = request
            .sans
            .iter()
            .map(general_name)
            .collect::<Result<_, _>>()
            .map_err(|error| crypto(&what(), &error))?;
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(|error| crypto(&what(), &error))?;
        Ok(Leaf {
            chain_pem: certificate.pem(),
            key_pem: key_pem(key),
            not_before,
            not_after,
        })
    }
}

/// A new private key.
///
/// RSA keys are searched for by the `rsa` crate, for ring makes none. They sign with ring alone:
/// what is known of the timing of that crate's private-key operations is of no use here.
pub(super) fn new_key(key_type: KeyType) -> Result<KeyPair, Error> {
    let fail = |reason: String| Error::Crypto {
        what: "a private key".to_owned(),
        reason,
    };
    let bits = match key_type {
        KeyType::EcdsaP256 => {
            return KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
                .map_err(|error| fail(error.to_string()));
        }
        KeyType::Rsa2048 => 2048,
        KeyType::Rsa4096 => 4096,
    };
    let key = RsaPrivateKey::new(&mut OsRng, bits).map_err(|error| fail(error.to_string()))?;
    let pem = key.to_pkcs8_pem(LineEnding::LF);
    let pem = pem.map_err(|error| fail(error.to_string()))?;
    KeyPair::from_pem(&pem).map_err(|error| fail(error.to_string()))
}

/// A private key in PEM, if it is one.
pub(super) fn read_key(pem: &Secret) -> Option<KeyPair> {
    certificate::key::read(pem)
}

/// A private key in PKCS#8 PEM: every component, and openssl, reads this form.
pub(super) fn key_pem(key: &KeyPair) -> Secret {
    Secret::new(key.serialize_pem())
}

/// Bytes from the system's source of randomness.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    OsRng
        .try_fill_bytes(&mut *bytes)
        .map_err(|error| Error::Crypto {
            what: "random bytes".to_owned(),
            reason: error.to_string(),
        })?;
    Ok(bytes)
}

/// A moment's day, as in `2036-11-19`.
pub(super) fn day(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| seconds.to_string(), |moment| moment.date().to_string())
}

/// The whole minute at which a certificate made now begins: dated file names tell minutes.
fn begin(now: i64) -> i64 {
    let begin = now - CLOCK_SKEW_SECONDS;
    begin - begin.rem_euclid(60)
}

fn params(
    common_name: &str,
    organizations: &[String],
    not_before: i64,
    not_after: i64,
) -> Result<CertificateParams, Error> {
    let moment = |seconds| {
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| Error::Crypto {
            what: format!("a certificate for `{common_name}`"),
            reason: error.to_string(),
        })
    };
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    let mut serial = *random::<16>()?;
    // Zero is no serial number.
    serial[0] |= 1;
    let mut params = CertificateParams::default();
    params.not_before = moment(not_before)?;
    params.not_after = moment(not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = name;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn purpose(usage: Usage) -> ExtendedKeyUsagePurpose {
    match usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }
}

fn general_name(san: &San) -> Result<SanType, rcgen::Error> {
    Ok(match san {
        San::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
        San::Ip(address) => SanType::IpAddress(*address),
    })
}

fn crypto(what: &str, error: &rcgen::Error) -> Error {
    Error::Crypto {
        what: what.to_owned(),
        reason: error.to_string(),
    }
}
