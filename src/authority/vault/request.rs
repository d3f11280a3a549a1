//! Keys that kinstall makes for certificates of Vault's, and the requests that it signs for them.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, SanType,
};

use super::order::Order;
use crate::authority::local::sign::new_key;
use crate::inventory::KeyType;

/// A kind of key that roles want and kinstall makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Own(KeyType),
    EcdsaP384,
}

impl KeyKind {
    /// What a role takes that wants a type and so many bits; `own` where it takes any. None where
    /// kinstall makes none such.
    pub(super) fn wanted(key_type: &str, bits: u32, own: KeyType) -> Option<Self> {
        let is_rsa = own != KeyType::EcdsaP256;
        match (key_type, bits) {
            ("any", _) => Some(Self::Own(own)),
            // A role wants so many bits at least.
            ("rsa", ..=2048) if is_rsa => Some(Self::Own(own)),
            ("rsa", ..=2048) => Some(Self::Own(KeyType::Rsa2048)),
            ("rsa", 2049..=4096) => Some(Self::Own(KeyType::Rsa4096)),
            ("ec", ..=256) => Some(Self::Own(KeyType::EcdsaP256)),
            ("ec", 384) => Some(Self::EcdsaP384),
            _ => None,
        }
    }

    pub(super) fn make(self) -> Result<KeyPair, String> {
        match self {
            Self::Own(key) => new_key(key).map_err(|error| error.to_string()),
            Self::EcdsaP384 => {
                KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(|error| error.to_string())
            }
        }
    }
}

/// A request for a certificate, in PEM. It says all that the order says: roles take names from it,
/// from the parameters, or from both.
pub(super) fn signing_request(order: &Order, key: &KeyPair) -> Result<String, String> {
    let make = || {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, &order.common_name);
        for name in &order.dns {
            let name = name.as_str().try_into()?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = order.addresses.iter().filter_map(|text| text.parse().ok());
        params
            .subject_alt_names
            .extend(addresses.map(SanType::IpAddress));
        params.serialize_request(key)?.pem()
    };
    make()
        .map_err(|error: rcgen::Error| format!("cannot make a request for a certificate: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_the_kind_that_the_role_wants() {
        use KeyType::{EcdsaP256, Rsa2048, Rsa4096};
        let own = |key| Some(KeyKind::Own(key));
        for (key_type, bits, ours, expected) in [
            ("any", 0, EcdsaP256, own(EcdsaP256)),
            ("any", 0, Rsa4096, own(Rsa4096)),
            ("rsa", 2048, EcdsaP256, own(Rsa2048)),
            ("rsa", 0, Rsa4096, own(Rsa4096)),
            ("rsa", 3072, Rsa2048, own(Rsa4096)),
            ("rsa", 4096, EcdsaP256, own(Rsa4096)),
            ("rsa", 8192, EcdsaP256, None),
            ("ec", 0, Rsa2048, own(EcdsaP256)),
            ("ec", 256, EcdsaP256, own(EcdsaP256)),
            ("ec", 384, EcdsaP256, Some(KeyKind::EcdsaP384)),
            ("ec", 521, EcdsaP256, None),
            ("ed25519", 0, EcdsaP256, None),
        ] {
            let found = KeyKind::wanted(key_type, bits, ours);
            assert_eq!(found, expected, "{key_type} {bits} {ours:?}");
        }
    }
}
