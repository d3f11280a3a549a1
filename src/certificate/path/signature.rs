//! Signatures and the keys that make them, in every combination that Go takes (`checkSignature` in
//! `x509.go`).
//!
//! `RustCrypto`'s crates, for ring checks no P-521, no P-256 with SHA-512 and no short RSA key. What
//! nearly every certificate has goes to ring all the same, which is several times as fast.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::sha2::{Digest, Sha256, Sha384, Sha512};
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use x509_parser::der_parser::asn1_rs::BitString;
use x509_parser::oid_registry::{OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ED25519, Oid};
use x509_parser::prelude::{AlgorithmIdentifier, FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;

use super::{Go, Parsed, Refusal};

/// Bits of an RSA key that is still computed with.
const RSA_BITS_MAX: usize = 16_384;

/// A public key.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Rsa(Box<RsaPublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Vec<u8>),
    Ed25519,
    /// Go knows it, and it cannot be computed with here.
    Elsewhere(&'static str),
    /// Go does not know it.
    Unknown(String),
}

/// What a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// How a certificate was signed.
#[derive(Debug, Clone)]
pub(super) enum Algorithm {
    Rsa(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
    /// Over SHA-1, by RSA or ECDSA.
    Sha1,
    /// Over what was given up long ago.
    Weak(&'static str),
    /// Go does not know it.
    Unknown(String),
}

/// What became of a check.
pub(super) enum Check {
    Signed,
    /// It cannot be checked here: how it was signed.
    Unknown(String),
    Refused(Refusal),
}

impl Key {
    pub(super) fn read(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, String> {
        let bytes = info.subject_public_key.data.as_ref();
        let parameters = info.algorithm.parameters.as_ref();
        let point = || "the point of its key is not on the curve".to_owned();
        match info.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => {
                if parameters.is_none_or(|it| it.tag().0 != 5) {
                    return Err("RSA key missing NULL parameters".to_owned());
                }
                let Ok(PublicKey::RSA(rsa)) = info.parsed() else {
                    return Err("invalid RSA public key".to_owned());
                };
                Ok(Self::rsa(rsa.modulus, rsa.exponent))
            }
            "1.2.840.10045.2.1" => {
                let curve = parameters.and_then(|it| it.as_oid().ok());
                match curve.map(|oid| oid.to_id_string()).as_deref() {
                    Some("1.2.840.10045.3.1.7") => {
                        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes);
                        key.map(|key| Self::P256(key.into())).map_err(|_| point())
                    }
                    Some("1.3.132.0.34") => {
                        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes);
                        key.map(|key| Self::P384(key.into())).map_err(|_| point())
                    }
                    Some("1.3.132.0.35") => {
                        let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes);
                        key.map(|_| Self::P521(bytes.to_vec())).map_err(|_| point())
                    }
                    Some("1.3.132.0.33") => Ok(Self::Elsewhere("ecdsa-p224")),
                    _ => Err("unsupported elliptic curve".to_owned()),
                }
            }
            "1.3.101.112" if parameters.is_none() && bytes.len() == 32 => Ok(Self::Ed25519),
            "1.3.101.112" => Err("invalid Ed25519 public key".to_owned()),
            other => Ok(Self::Unknown(other.to_owned())),
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let (n, e) = (
            BigUint::from_bytes_be(modulus),
            BigUint::from_bytes_be(exponent),
        );
        RsaPublicKey::new_with_max_size(n, e, RSA_BITS_MAX)
            .map_or(Self::Elsewhere("RSA of an unusual size"), |key| {
                Self::Rsa(key.into())
            })
    }

    fn word(&self) -> String {
        match self {
            Self::Rsa(_) => "RSA".to_owned(),
            Self::P256(_) => "ECDSA on P-256".to_owned(),
            Self::P384(_) => "ECDSA on P-384".to_owned(),
            Self::P521(_) => "ECDSA on P-521".to_owned(),
            Self::Ed25519 => "Ed25519".to_owned(),
            Self::Elsewhere(word) => (*word).to_owned(),
            Self::Unknown(oid) => oid.clone(),
        }
    }
}

impl Algorithm {
    pub(super) fn read(found: &AlgorithmIdentifier<'_>) -> Self {
        let oid = found.algorithm.to_id_string();
        match oid.as_str() {
            "1.2.840.113549.1.1.2" => Self::Weak("md2"),
            "1.2.840.113549.1.1.4" => Self::Weak("md5"),
            "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" => Self::Sha1,
            "1.2.840.113549.1.1.11" => Self::Rsa(Hash::Sha256),
            "1.2.840.113549.1.1.12" => Self::Rsa(Hash::Sha384),
            "1.2.840.113549.1.1.13" => Self::Rsa(Hash::Sha512),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(Hash::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(Hash::Sha384),
            "1.2.840.10045.4.3.4" => Self::Ecdsa(Hash::Sha512),
            "1.2.840.113549.1.1.10" => pss(found).map_or(
                Self::Unknown("RSA-PSS with unusual parameters".to_owned()),
                Self::RsaPss,
            ),
            "1.3.101.112" if found.parameters.is_none() => Self::Ed25519,
            _ => Self::Unknown(oid),
        }
    }

    fn word(&self) -> String {
        let over = |name: &str, hash: &Hash| format!("{name} over {}", hash.word());
        match self {
            Self::Rsa(hash) => over("RSA", hash),
            Self::RsaPss(hash) => over("RSA-PSS", hash),
            Self::Ecdsa(hash) => over("ECDSA", hash),
            Self::Ed25519 => "Ed25519".to_owned(),
            Self::Sha1 => "SHA-1".to_owned(),
            Self::Weak(word) => (*word).to_owned(),
            Self::Unknown(word) => word.clone(),
        }
    }
}

impl Hash {
    const fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The digest of RSA-PSS, where its parameters are of the three kinds that Go takes: MGF1 over the
/// same digest, and a salt as long as that.
fn pss(found: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let SignatureAlgorithm::RSASSA_PSS(parameters) = SignatureAlgorithm::try_from(found).ok()?
    else {
        return None;
    };
    // Go takes none of the defaults: they are SHA-1.
    let digest = parameters.hash_algorithm()?.algorithm.to_id_string();
    let mask = parameters.mask_gen_algorithm().ok()?;
    let is_mgf1 = mask.mgf.to_id_string() == "1.2.840.113549.1.1.8";
    let is_same = mask.hash.to_id_string() == digest;
    let (hash, length) = match digest.as_str() {
        "2.16.840.1.101.3.4.2.1" => (Hash::Sha256, 32),
        "2.16.840.1.101.3.4.2.2" => (Hash::Sha384, 48),
        "2.16.840.1.101.3.4.2.3" => (Hash::Sha512, 64),
        _ => return None,
    };
    let fits =
        is_mgf1 && is_same && parameters.salt_length() == length && parameters.trailer_field() == 1;
    fits.then_some(hash)
}

/// Whether a certificate was signed by the key of another.
pub(super) fn check(child: &Parsed, parent: &Parsed) -> Check {
    let subject = || child.subject_words.clone();
    let issuer = || parent.subject_words.clone();
    match &child.algorithm {
        Algorithm::Sha1 if child.go >= Go::NO_SHA1 => {
            let digest = "sha1".to_owned();
            return Check::Refused(Refusal::Digest {
                subject: subject(),
                digest,
            });
        }
        Algorithm::Weak(digest) => {
            let digest = (*digest).to_owned();
            return Check::Refused(Refusal::Digest {
                subject: subject(),
                digest,
            });
        }
        Algorithm::Unknown(algorithm) => {
            let algorithm = algorithm.clone();
            return Check::Refused(Refusal::Algorithm {
                subject: subject(),
                algorithm,
            });
        }
        _ => {}
    }
    match is_signed(child, parent) {
        Signed::Yes => Check::Signed,
        Signed::No => Check::Refused(Refusal::Signature {
            subject: subject(),
            issuer: issuer(),
        }),
        Signed::Elsewhere => Check::Unknown(format!(
            "{} by {}",
            child.algorithm.word(),
            parent.key.word()
        )),
        Signed::Never => Check::Refused(Refusal::OtherKey {
            subject: subject(),
            issuer: issuer(),
            key: parent.key.word(),
        }),
    }
}

enum Signed {
    Yes,
    No,
    /// It cannot be told here.
    Elsewhere,
    /// Such a key makes no such signature.
    Never,
}

impl From<bool> for Signed {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

fn is_signed(child: &Parsed, parent: &Parsed) -> Signed {
    let (bytes, signature) = (&child.signed, &child.signature);
    match (&child.algorithm, &parent.key) {
        (Algorithm::Ecdsa(Hash::Sha256), Key::P256(_)) => {
            by_ring(child, parent, OID_SIG_ECDSA_WITH_SHA256).into()
        }
        (Algorithm::Rsa(hash), Key::Rsa(key)) => {
            let scheme = match hash {
                Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
            };
            key.verify(scheme, &hash.of(bytes), signature)
                .is_ok()
                .into()
        }
        (Algorithm::RsaPss(hash), Key::Rsa(key)) => {
            let scheme = match hash {
                Hash::Sha256 => Pss::new_with_salt::<Sha256>(32),
                Hash::Sha384 => Pss::new_with_salt::<Sha384>(48),
                Hash::Sha512 => Pss::new_with_salt::<Sha512>(64),
            };
            key.verify(scheme, &hash.of(bytes), signature)
                .is_ok()
                .into()
        }
        (Algorithm::Ecdsa(hash), Key::P256(key)) => {
            let signature = p256::ecdsa::Signature::from_der(signature);
            let verified = signature.and_then(|it| key.verify_prehash(&hash.of(bytes), &it));
            verified.is_ok().into()
        }
        (Algorithm::Ecdsa(hash), Key::P384(key)) => {
            let signature = p384::ecdsa::Signature::from_der(signature);
            let verified = signature.and_then(|it| key.verify_prehash(&hash.of(bytes), &it));
            verified.is_ok().into()
        }
        (Algorithm::Ecdsa(hash), Key::P521(point)) => {
            // A digest shorter than half the field is refused there; zeros before it change nothing.
            const FIELD_BYTES: usize = 66;
            let digest = hash.of(bytes);
            let digest = [vec![0; FIELD_BYTES - digest.len()], digest].concat();
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
            let signature = p521::ecdsa::Signature::from_der(signature);
            let verified = key.and_then(|key| key.verify_prehash(&digest, &signature?));
            verified.is_ok().into()
        }
        (Algorithm::Ed25519, Key::Ed25519) => by_ring(child, parent, OID_SIG_ED25519).into(),
        (Algorithm::Ed25519, _) | (_, Key::Unknown(_)) => Signed::Never,
        (Algorithm::Sha1, _) | (_, Key::Elsewhere(_)) => Signed::Elsewhere,
        _ => Signed::Never,
    }
}

fn by_ring(child: &Parsed, parent: &Parsed, algorithm: Oid<'static>) -> bool {
    let Ok((_, info)) = SubjectPublicKeyInfo::from_der(&parent.raw_key) else {
        return false;
    };
    let signature = BitString::new(0, &child.signature);
    let algorithm = AlgorithmIdentifier::new(algorithm, None);
    x509_parser::verify::verify_signature(&info, &algorithm, &signature, &child.signed).is_ok()
}
