//! What Vault answers, as far as kinstall reads it.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::certificate::describe::{certificates, is_signed_by};
use crate::secret::Secret;

/// No chain of authorities is as long.
const CHAIN_MAX: usize = 16;

/// What Vault issued, all of it in PEM.
#[derive(Clone)]
pub(in crate::authority) struct Issued {
    /// The certificate, then those of its chain that did not sign themselves.
    pub(in crate::authority) chain: String,
    pub(in crate::authority) key: Secret,
    /// Who signed it.
    pub(in crate::authority) authority: String,
    /// Those above, in order, up to the root where Vault knows it. Where one root has signed an
    /// authority for each set, peers that trusted it would trust every set.
    pub(in crate::authority) above: String,
}

/// What `data` of an answer holds.
#[derive(Deserialize)]
pub(super) struct Answer<T> {
    pub(super) data: T,
}

/// A certificate that was issued or signed.
#[derive(Deserialize)]
pub(super) struct Certified {
    certificate: String,
    issuing_ca: String,
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
    /// None where a request was signed.
    #[serde(default, deserialize_with = "secret")]
    private_key: Option<Secret>,
}

/// A login.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) auth: Auth,
}

/// What a login gave.
#[derive(Deserialize)]
pub(super) struct Auth {
    /// None where a second factor is still to be shown.
    #[serde(deserialize_with = "secret")]
    pub(super) client_token: Option<Secret>,
    #[serde(default)]
    pub(super) token_type: String,
    #[serde(default)]
    pub(super) mfa_requirement: Option<Value>,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

impl Certified {
    /// The certificate with its key, which is ours or came with it; none where it did not.
    pub(super) fn with_key(self, own: Option<Secret>) -> Option<Issued> {
        let chain = self.ca_chain.unwrap_or_default().join("\n");
        let issuer = certificates(&self.issuing_ca);
        let issuer = issuer.get(..1).unwrap_or_default();
        let mut authorities = issuer.to_vec();
        for pem in certificates(&chain) {
            if !authorities.contains(&pem) {
                authorities.push(pem);
            }
        }
        let signed_itself = |pem: &str| is_signed_by(pem, pem) == Ok(true);
        let presented = authorities.iter().filter(|pem| !signed_itself(pem));
        let presented: Vec<&str> = presented.copied().collect();
        let mut above = Vec::new();
        let mut last = issuer.first().copied();
        while let Some(pem) = last.filter(|pem| !signed_itself(pem) && above.len() < CHAIN_MAX) {
            let is_next =
                |it: &&str| *it != pem && !above.contains(it) && is_signed_by(pem, it) == Ok(true);
            last = authorities.iter().copied().find(is_next);
            above.extend(last);
        }
        let text = |pems: &[&str]| -> String { pems.iter().flat_map(|pem| [*pem, "\n"]).collect() };
        let leaf = certificates(&self.certificate);
        Some(Issued {
            chain: text(leaf.get(..1).unwrap_or_default()) + &text(&presented),
            key: own.or(self.private_key)?,
            authority: text(issuer),
            above: text(&above),
        })
    }
}
