//! Making keys and signing certificates.

use std::path::Path;

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
use super::super::directory::FoundAuthority;
use super::DAY_SECONDS;
use crate::certificate::describe::{NotACertificate, certificates, describe, is_signed_by};
use crate::certificate::{self, AuthorityName, Leaf, Request, Usage};
use crate::inventory::{ClusterName, KeyType, San};
use crate::secret::Secret;

/// How long before its making a certificate begins to be valid: a node's clock may be behind.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// An authority that can sign.
pub(super) struct Signer {
    /// Its certificate, and what else is trusted for it where others made it.
    pub(super) pem: String,
    not_after: i64,
    /// What stands above it, as leaves must carry it; empty for one that signed itself.
    parents: String,
    /// None where its key is not at hand.
    issuer: Option<Issuer<'static, KeyPair>>,
    /// A key that lies there and that others can sign with, and kinstall cannot.
    key: Option<Secret>,
    made_up: bool,
}

impl Signer {
    /// An authority that was there.
    pub(super) fn read(pem: String, not_after: i64, key: Option<KeyPair>) -> Result<Self, Error> {
        let signing_pem = pem.clone();
        Self::of_bundle(pem, &signing_pem, not_after, key)
    }

    fn of_bundle(
        pem: String,
        signing_pem: &str,
        not_after: i64,
        key: Option<KeyPair>,
    ) -> Result<Self, Error> {
        let issuer = key
            .map(|key| Issuer::from_ca_cert_pem(signing_pem, key))
            .transpose()
            .map_err(|error| crypto("certificates with this authority", &error))?;
        let is_above = |pem: &&str| is_signed_by(pem, pem) != Ok(true);
        let parents = certificates(&pem).into_iter().filter(is_above);
        let parents = parents.fold(String::new(), |text, pem| text + pem + "\n");
        Ok(Self {
            pem,
            not_after,
            parents,
            issuer,
            key: None,
            made_up: false,
        })
    }

    /// An authority that somebody else made.
    pub(super) fn found(
        name: AuthorityName,
        directory: &Path,
        found: FoundAuthority,
    ) -> Result<Self, Error> {
        let fail = |error: NotACertificate| Error::NotACertificate {
            path: directory.join(format!("{name} (authority)")),
            reason: error.reason,
        };
        let not_after = describe(&found.signing_pem).map_err(fail)?.not_after;
        let key = found.key.as_ref().and_then(read_key);
        let signer = Self::of_bundle(found.pem, &found.signing_pem, not_after, key)?;
        let key = found.key;
        Ok(Self { key, ..signer })
    }

    /// Whether its key is at hand.
    pub(super) const fn can_sign(&self) -> bool {
        self.issuer.is_some()
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
        Self::read(certificate.pem(), end, Some(key))
    }

    /// Whether it was made up: nothing of it is on record.
    pub(super) const fn is_made_up(&self) -> bool {
        self.made_up
    }

    /// One that stands in for an authority elsewhere, as long as nothing is kept.
    pub(super) fn made_up(
        name: AuthorityName,
        cluster: &ClusterName,
        days: u32,
        now: i64,
    ) -> Result<Self, Error> {
        let key = new_key(KeyType::EcdsaP256)?;
        let mut signer = Self::create(name, cluster, key, days, now)?;
        signer.made_up = true;
        Ok(signer)
    }

    /// Its private key, where it is at hand.
    pub(in crate::authority) fn key_pem(&self) -> Option<Secret> {
        let own = self.issuer.as_ref().map(|issuer| key_pem(issuer.key()));
        own.or_else(|| self.key.clone())
    }

    /// When a certificate that is issued now ends: never after the authority itself.
    pub(super) fn end(&self, request: &Request, now: i64) -> i64 {
        self.not_after
            .min(now + i64::from(request.days) * DAY_SECONDS)
    }

    /// Signs a certificate. Where it takes the place of one, its dated name must be another: it
    /// begins at least a minute after that one began.
    pub(super) fn issue(
        &self,
        request: &Request,
        key: &KeyPair,
        begun: Option<i64>,
        now: i64,
    ) -> Result<Leaf, Error> {
        let what = || format!("the certificate `{}`", request.id);
        let Some(issuer) = &self.issuer else {
            let ids = vec![request.id.clone()];
            let unreadable = Vec::new();
            return Err(Error::CannotSign { ids, unreadable });
        };
        if request.organizations.len() > 1 {
            let id = request.id.clone();
            return Err(Error::Organizations { id });
        }
        let same_minute = begun.filter(|begun| begin(now) <= *begun && *begun + 60 <= now);
        let not_before = same_minute.map_or_else(|| begin(now), |begun| begun + 60);
        let not_after = self.end(request, now);
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
            .signed_by(key, issuer)
            .map_err(|error| crypto(&what(), &error))?;
        Ok(Leaf {
            chain_pem: certificate.pem() + &self.parents,
            key_pem: key_pem(key),
            dated: not_before,
            not_before,
            not_after,
        })
    }
}

/// A new private key.
///
/// RSA keys are searched for by the `rsa` crate, for ring makes none. They sign with ring alone:
/// what is known of the timing of that crate's private-key operations is of no use here.
pub(in crate::authority) fn new_key(key_type: KeyType) -> Result<KeyPair, Error> {
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
pub(in crate::authority) fn key_pem(key: &KeyPair) -> Secret {
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
