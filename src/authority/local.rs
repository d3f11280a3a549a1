//! kinstall's own authority: certificates and keys in `pki/` beside the inventory.
//!
//! A run first makes everything that is missing in memory, then writes it, each file by one rename
//! and each key before its certificate. Wherever it is stopped, what is on disk is whole, and the
//! next run takes it from there.

mod existing;
mod sign;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rcgen::KeyPair;

use self::existing::{Existing, Paths, is_of_type};
use self::sign::Signer;
use self::store::{Store, Write};
use super::{Authority, Error, Item, Note, Obtained, Outcome, Reason};
use crate::certificate::table::signer;
use crate::certificate::{AuthorityName, Credentials, Leaf, Request, ServiceAccountPair, describe};
use crate::encryption;
use crate::inventory::{ClusterName, Encryption, Inventory, KeyType, Pki, PkiSource};
use crate::secret::Secret;

/// kinstall's own authority.
#[derive(Debug, Clone)]
pub struct Local {
    store: Store,
    cluster: ClusterName,
    pki: Pki,
    encryption: Encryption,
}

const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
const SERVICE_ACCOUNT_PUBLIC: &str = "service-account.pub";
const ENCRYPTION_CONFIG: &str = "encryption-config.yaml";

const DAY_SECONDS: i64 = 86_400;

impl Local {
    /// The authority of an inventory: its files lie in `pki/` in the inventory's directory.
    pub fn of(inventory: &Inventory) -> Result<Self, Error> {
        if let PkiSource::Directory(directory) = &inventory.pki.from {
            return Err(Error::Directory(directory.clone()));
        }
        Ok(Self {
            store: Store::new(inventory.directory.join("pki")),
            cluster: inventory.cluster.name.clone(),
            pki: inventory.pki.clone(),
            encryption: inventory.encryption.clone(),
        })
    }
}

impl Authority for Local {
    fn foresee(&self, requests: &[Request], now: i64) -> Result<Obtained, Error> {
        Ok(self.prepare(requests, now)?.0)
    }

    fn obtain(&self, requests: &[Request], now: i64) -> Result<Obtained, Error> {
        let lock = self.store.lock()?;
        let (obtained, writes) = self.prepare(requests, now)?;
        self.store.write_all(&writes)?;
        drop(lock);
        Ok(obtained)
    }
}

/// What a run has gathered so far.
struct Gathered {
    now: i64,
    notes: Vec<Note>,
    writes: Vec<Write>,
}

impl Gathered {
    fn note(&mut self, item: Item, outcome: Outcome) {
        self.notes.push(Note { item, outcome });
    }

    fn write(&mut self, path: &str, bytes: Secret) {
        let path = path.to_owned();
        self.writes.push(Write { path, bytes });
    }
}

impl Local {
    /// Everything that is asked for, and what must be written for it to last.
    fn prepare(&self, requests: &[Request], now: i64) -> Result<(Obtained, Vec<Write>), Error> {
        let mut gathered = Gathered {
            now,
            notes: Vec::new(),
            writes: Vec::new(),
        };
        let signers = self.signers(&mut gathered)?;
        let signer_for = |name| &signers[&signer(self.pki.authorities, name)];
        let mut leaves = BTreeMap::new();
        for request in requests {
            let leaf = self.leaf(request, signer_for(request.signer), &mut gathered)?;
            leaves.insert(request.id.clone(), leaf);
        }
        let service_account = self.service_account(&mut gathered)?;
        let encryption_config = self.encryption_config(&mut gathered)?;
        let credentials = Credentials {
            authorities: AuthorityName::ALL
                .map(|name| (name, signer_for(name).pem.clone()))
                .into(),
            leaves,
            service_account,
            encryption_config,
            signing_key_pem: Some(signer_for(AuthorityName::ApiserverClient).key_pem()),
        };
        let notes = gathered.notes;
        Ok((Obtained { credentials, notes }, gathered.writes))
    }

    fn signers(&self, gathered: &mut Gathered) -> Result<BTreeMap<AuthorityName, Signer>, Error> {
        AuthorityName::ALL
            .into_iter()
            .filter(|name| signer(self.pki.authorities, *name) == *name)
            .map(|name| Ok((name, self.signer(name, gathered)?)))
            .collect()
    }

    fn signer(&self, name: AuthorityName, gathered: &mut Gathered) -> Result<Signer, Error> {
        let (certificate_path, key_path) = (format!("ca/{name}.pem"), format!("ca/{name}.key"));
        let key = self.key(&key_path)?;
        if let Some(existing) = self.certificate(&certificate_path)? {
            let key = key.ok_or_else(|| Error::AuthorityWithoutKey {
                name,
                certificate: self.store.path(&certificate_path),
                key: self.store.path(&key_path),
            })?;
            let paths = Paths {
                certificate: self.store.path(&certificate_path),
                key: self.store.path(&key_path),
            };
            existing.check_authority(name, &key, paths, gathered.now)?;
            gathered.note(Item::Authority(name), Outcome::Reused);
            return Signer::read(existing.pem, existing.description.not_after, key);
        }
        // A key alone was left by a run that was stopped between the two; it has signed nothing.
        let is_new = key.is_none();
        let key = key.map_or_else(|| sign::new_key(self.pki.key), Ok)?;
        let new = Signer::create(name, &self.cluster, key, self.pki.ca_days, gathered.now)?;
        if is_new {
            gathered.write(&key_path, new.key_pem());
        }
        gathered.write(&certificate_path, Secret::new(new.pem.as_bytes()));
        gathered.note(Item::Authority(name), Outcome::Created);
        Ok(new)
    }

    fn leaf(
        &self,
        request: &Request,
        signer: &Signer,
        gathered: &mut Gathered,
    ) -> Result<Leaf, Error> {
        let (certificate_path, key_path) = (
            format!("issued/{}.pem", request.id),
            format!("issued/{}.key", request.id),
        );
        let item = Item::Certificate(request.id.clone());
        let key = self.key(&key_path)?;
        let existing = self.certificate(&certificate_path)?;
        let reason = existing
            .as_ref()
            .and_then(|existing| existing.reason(key.as_ref(), request, signer, gathered.now));
        let (key, is_new) = match (&existing, key, reason) {
            (Some(existing), Some(key), None) => {
                gathered.note(item, Outcome::Reused);
                return Ok(Leaf {
                    chain_pem: existing.pem.clone(),
                    key_pem: sign::key_pem(&key),
                    not_before: existing.description.not_before,
                    not_after: existing.description.not_after,
                });
            }
            // A key that a run was stopped before it had certified.
            (None, Some(key), _) | (_, Some(key), Some(Reason::Key))
                if is_of_type(&key, request.key) =>
            {
                (key, false)
            }
            _ => (sign::new_key(request.key)?, true),
        };
        let leaf = signer.issue(request, &key, gathered.now)?;
        if is_new {
            gathered.write(&key_path, leaf.key_pem.clone());
        }
        gathered.write(&certificate_path, Secret::new(leaf.chain_pem.as_bytes()));
        gathered.note(item, reason.map_or(Outcome::Created, Outcome::Renewed));
        Ok(leaf)
    }

    /// The pair that service-account tokens are signed with: made once. RSA, whatever the
    /// certificates' keys are: kube-apiserver takes ECDSA too, but RS256 is the one algorithm that
    /// whoever verifies tokens outside the cluster must know (`OpenID` Connect Core, 15.1), and
    /// tokens are verified on every request, which RSA does faster.
    fn service_account(&self, gathered: &mut Gathered) -> Result<ServiceAccountPair, Error> {
        let existing = self.key(SERVICE_ACCOUNT_KEY)?;
        let public = self.text(SERVICE_ACCOUNT_PUBLIC)?;
        let other_key = || Error::ServiceAccountPair {
            private: self.store.path(SERVICE_ACCOUNT_KEY),
            public: self.store.path(SERVICE_ACCOUNT_PUBLIC),
        };
        let outcome = match (&existing, &public) {
            (None, Some(_)) => return Err(other_key()),
            (None, None) => Outcome::Created,
            (Some(_), _) => Outcome::Reused,
        };
        let key_type = match self.pki.key {
            KeyType::Rsa4096 => KeyType::Rsa4096,
            KeyType::Rsa2048 | KeyType::EcdsaP256 => KeyType::Rsa2048,
        };
        let key = existing.map_or_else(|| sign::new_key(key_type), Ok)?;
        let pair = ServiceAccountPair {
            private_pem: sign::key_pem(&key),
            public_pem: key.public_key_pem(),
        };
        if outcome == Outcome::Created {
            gathered.write(SERVICE_ACCOUNT_KEY, pair.private_pem.clone());
        }
        match public {
            Some(public) if !is_same_text(&public, &pair.public_pem) => return Err(other_key()),
            Some(_) => {}
            None => {
                let public = Secret::new(pair.public_pem.as_bytes());
                gathered.write(SERVICE_ACCOUNT_PUBLIC, public);
            }
        }
        gathered.note(Item::ServiceAccount, outcome);
        Ok(pair)
    }

    fn encryption_config(&self, gathered: &mut Gathered) -> Result<Secret, Error> {
        if let Some(existing) = self.store.read(ENCRYPTION_CONFIG)? {
            encryption::check(&existing, &self.encryption).map_err(|problem| {
                let path = self.store.path(ENCRYPTION_CONFIG);
                Error::EncryptionConfig { path, problem }
            })?;
            gathered.note(Item::EncryptionConfig, Outcome::Reused);
            return Ok(existing);
        }
        let new = encryption::render(&self.encryption, &*sign::random()?);
        gathered.write(ENCRYPTION_CONFIG, new.clone());
        gathered.note(Item::EncryptionConfig, Outcome::Created);
        Ok(new)
    }

    fn certificate(&self, path: &str) -> Result<Option<Existing>, Error> {
        let Some(pem) = self.text(path)? else {
            return Ok(None);
        };
        let description = describe(&pem).map_err(|error| Error::NotACertificate {
            path: self.store.path(path),
            reason: error.to_string(),
        })?;
        Ok(Some(Existing { pem, description }))
    }

    fn key(&self, path: &str) -> Result<Option<KeyPair>, Error> {
        let Some(pem) = self.store.read(path)? else {
            return Ok(None);
        };
        let not_a_key = || Error::NotAKey {
            path: self.store.path(path),
        };
        sign::read_key(&pem).ok_or_else(not_a_key).map(Some)
    }

    /// A file that holds no secret, as text.
    fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let bytes = self.store.read(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes.expose()).into_owned()))
    }
}

/// Whether two PEM texts are the same but for the ends of their lines.
fn is_same_text(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}
