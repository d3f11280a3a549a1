//! Keys of every kind that Go knows, and what they sign.

use p256::ecdsa::signature::hazmat::{PrehashSigner, RandomizedPrehashSigner};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rsa::pkcs8::EncodePublicKey;
use rsa::sha2::{Digest, Sha256, Sha384, Sha512};
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};

use super::chain::Dice;

pub(super) enum Private {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Box<KeyPair>),
}

/// A key, and the DER of its public half.
pub(super) struct Key {
    pub(super) private: Private,
    pub(super) public: Vec<u8>,
}

/// Keys of every kind, made once: to make them takes longer than to sign.
pub(super) struct Keys(pub(super) Vec<Key>);

impl Keys {
    pub(super) fn make() -> Self {
        let mut random = rsa::rand_core::OsRng;
        let mut keys = Vec::new();
        let mut add = |private, public: Vec<u8>| keys.push(Key { private, public });
        for _ in 0..6 {
            let key = p256::ecdsa::SigningKey::random(&mut random);
            let public = p256::PublicKey::from(key.verifying_key()).to_public_key_der();
            add(Private::P256(key), public.unwrap().into_vec());
        }
        let key = p384::ecdsa::SigningKey::random(&mut random);
        let public = p384::PublicKey::from(key.verifying_key()).to_public_key_der();
        add(Private::P384(key.into()), public.unwrap().into_vec());
        let secret = p521::SecretKey::random(&mut random);
        let public = secret.public_key().to_public_key_der().unwrap().into_vec();
        let key = p521::ecdsa::SigningKey::from_slice(&secret.to_bytes()).unwrap();
        add(Private::P521(key.into()), public);
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let public = pair.subject_public_key_info();
        add(Private::Ed25519(pair.into()), public);
        for size in [1024, 2048] {
            let key = RsaPrivateKey::new(&mut random, size).unwrap();
            let public = key.to_public_key().to_public_key_der().unwrap().into_vec();
            add(Private::Rsa(key.into()), public);
        }
        Self(keys)
    }

    /// Most are of the kind that is quick.
    pub(super) fn any(&self, dice: &mut Dice) -> usize {
        if dice.once_in(5) {
            dice.below(self.0.len())
        } else {
            dice.below(6)
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy)]
pub(super) enum Scheme {
    Plain(Hash),
    Pss(Hash, usize),
}

pub(super) fn sign(key: &Private, scheme: Scheme, bytes: &[u8]) -> Vec<u8> {
    let (Scheme::Plain(hash) | Scheme::Pss(hash, _)) = scheme;
    let digest = match hash {
        Hash::Sha256 => Sha256::digest(bytes).to_vec(),
        Hash::Sha384 => Sha384::digest(bytes).to_vec(),
        Hash::Sha512 => Sha512::digest(bytes).to_vec(),
    };
    match key {
        Private::P256(key) => {
            let signature: p256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
            signature.to_der().as_bytes().to_vec()
        }
        Private::P384(key) => {
            let signature: p384::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
            signature.to_der().as_bytes().to_vec()
        }
        Private::P521(key) => {
            let digest = [vec![0; 66 - digest.len()], digest].concat();
            let mut random = rsa::rand_core::OsRng;
            let signature: p521::ecdsa::Signature =
                key.sign_prehash_with_rng(&mut random, &digest).unwrap();
            signature.to_der().as_bytes().to_vec()
        }
        Private::Ed25519(pair) => pair.sign(bytes).unwrap(),
        Private::Rsa(key) => {
            let mut random = rsa::rand_core::OsRng;
            let signature = match (scheme, hash) {
                (Scheme::Plain(_), Hash::Sha256) => {
                    key.sign(Pkcs1v15Sign::new::<Sha256>(), &digest)
                }
                (Scheme::Plain(_), Hash::Sha384) => {
                    key.sign(Pkcs1v15Sign::new::<Sha384>(), &digest)
                }
                (Scheme::Plain(_), Hash::Sha512) => {
                    key.sign(Pkcs1v15Sign::new::<Sha512>(), &digest)
                }
                (Scheme::Pss(_, salt), Hash::Sha256) => {
                    key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha256>(salt), &digest)
                }
                (Scheme::Pss(_, salt), Hash::Sha384) => {
                    key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha384>(salt), &digest)
                }
                (Scheme::Pss(_, salt), Hash::Sha512) => {
                    key.sign_with_rng(&mut random, Pss::new_with_salt::<Sha512>(salt), &digest)
                }
            };
            // A short key has no room for a long digest and its salt.
            signature.unwrap_or_else(|_| vec![1; 128])
        }
    }
}
