//! The keys of an encryption configuration at work: what begins with the name of a key can be read
//! with that key alone, and the first one writes. The ciphers are not the real ones; that nothing
//! can be read without the right key is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::Value;

use crate::manifest;

/// What every encrypted value begins with (`k8s.io/apiserver/pkg/storage/value`).
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// What one resource is written and read with.
pub(crate) struct Keyring(Vec<Provider>);

enum Provider {
    Key {
        prefix: String,
        key: Box<LessSafeKey>,
    },
    Identity,
    /// A service that nothing stands in for.
    Elsewhere,
}

/// A value as it was before it was stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) plain: Vec<u8>,
    /// Whether it would be stored with another key now.
    pub(crate) is_stale: bool,
}

impl Keyring {
    /// Of a configuration that was judged to be right; none stores everything plain.
    pub(crate) fn of(config: Option<&[u8]>, resource: &str) -> Result<Self, String> {
        let config = config.map(manifest::parse).transpose()?.unwrap_or_default();
        let entries = config["resources"].as_array();
        let names = |entry: &&Value| {
            let resources = entry["resources"].as_array();
            resources.is_some_and(|all| all.iter().any(|it| it == resource || it == "*.*"))
        };
        let Some(entry) = entries.and_then(|entries| entries.iter().find(names)) else {
            return Ok(Self(vec![Provider::Identity]));
        };
        let mut providers = Vec::new();
        for provider in entry["providers"].as_array().into_iter().flatten() {
            let found = provider.as_object().and_then(|it| it.iter().next());
            let (name, settings) = found.ok_or("a provider without a name")?;
            match (name.as_str(), settings["keys"].as_array()) {
                ("identity", _) => providers.push(Provider::Identity),
                (_, Some(keys)) => {
                    for key in keys {
                        providers.push(Provider::key(name, key)?);
                    }
                }
                _ => providers.push(Provider::Elsewhere),
            }
        }
        Ok(Self(providers))
    }

    /// What is stored of a value at a path.
    pub(crate) fn seal(&self, path: &str, plain: &[u8]) -> Result<Vec<u8>, String> {
        match self.0.first() {
            Some(Provider::Key { prefix, key }) => {
                let mut nonce = [0; NONCE_LEN];
                let filled = SystemRandom::new().fill(&mut nonce);
                filled.map_err(|_| "no randomness".to_owned())?;
                let mut sealed = plain.to_vec();
                let aad = Aad::from(path);
                key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
                    .map_err(|_| "too much to encrypt".to_owned())?;
                Ok([prefix.as_bytes(), &nonce, &sealed].concat())
            }
            Some(Provider::Identity) => Ok(plain.to_vec()),
            Some(Provider::Elsewhere) | None => Err("the stand-in knows no such provider".into()),
        }
    }

    /// The value again.
    pub(crate) fn open(&self, path: &str, stored: &[u8]) -> Result<Opened, String> {
        for (index, provider) in self.0.iter().enumerate() {
            let plain = match provider {
                Provider::Key { prefix, key } => {
                    let Some(rest) = stored.strip_prefix(prefix.as_bytes()) else {
                        continue;
                    };
                    open(key, path, rest)
                        .ok_or("no matching key was found for the provided AES transformer")?
                }
                Provider::Identity if !stored.starts_with(ENCRYPTED) => stored.to_vec(),
                Provider::Identity | Provider::Elsewhere => continue,
            };
            let is_stale = index > 0;
            return Ok(Opened { plain, is_stale });
        }
        Err("no matching prefix found".into())
    }
}

fn open(key: &LessSafeKey, path: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let plain = key.open_in_place(nonce, Aad::from(path), &mut sealed);
    plain.ok().map(|plain| plain.to_vec())
}

impl Provider {
    fn key(provider: &str, key: &Value) -> Result<Self, String> {
        let text = |word: &str| key[word].as_str().unwrap_or_default().to_owned();
        let secret = STANDARD.decode(text("secret"));
        let secret = secret.map_err(|_| "secrets must be base64 encoded")?;
        // One cipher stands for all, with a key of one length.
        let secret = digest(&SHA256, &[provider.as_bytes(), &secret].concat());
        let key = UnboundKey::new(&AES_256_GCM, secret.as_ref());
        Ok(Self::Key {
            prefix: format!("k8s:enc:{provider}:v1:{}:", text("name")),
            key: Box::new(LessSafeKey::new(
                key.map_err(|_| "a digest is as long as a key")?,
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(providers: &str) -> Keyring {
        let text = format!(
            "kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n{providers}"
        );
        Keyring::of(Some(text.as_bytes()), "secrets").unwrap()
    }

    const ONE: &str = "  - aescbc: {keys: [{name: key1, secret: BwcHBwcHBwcHBwcHBwcHBw==}]}\n";
    const TWO: &str = "  - aescbc: {keys: [{name: key2, secret: CQkJCQkJCQkJCQkJCQkJCQ==}]}\n";
    const PLAIN: &str = "  - identity: {}\n";

    #[test]
    fn what_one_key_wrote_is_read_with_that_key_alone() {
        let old = keyring(&format!("{ONE}{PLAIN}"));
        let sealed = old.seal("/a", b"word").unwrap();
        assert!(sealed.starts_with(b"k8s:enc:aescbc:v1:key1:"));
        let is = |is_stale| Opened {
            plain: b"word".to_vec(),
            is_stale,
        };
        assert_eq!(old.open("/a", &sealed), Ok(is(false)));
        assert_eq!(
            keyring(&format!("{TWO}{ONE}")).open("/a", &sealed),
            Ok(is(true))
        );
        // Not with another key, not under another path, not with another key of that name.
        let none = Err("no matching prefix found".to_owned());
        assert_eq!(keyring(&format!("{TWO}{PLAIN}")).open("/a", &sealed), none);
        assert!(old.open("/b", &sealed).is_err());
        let other = keyring(&TWO.replace("key2", "key1"));
        assert!(other.open("/a", &sealed).is_err());
        assert_eq!(old.open("/a", b"word"), Ok(is(true)));
    }
}
