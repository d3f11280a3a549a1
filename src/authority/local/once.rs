//! What is made once for a cluster and never replaced: the service-account pair and the encryption
//! configuration.

use super::super::directory::Directory;
use super::super::{Error, Item, Outcome};
use super::{Gathered, Local, ServiceAccountPair, sign};
use crate::certificate::key;
use crate::encryption;
use crate::inventory::{KeyType, Provider};
use crate::secret::Secret;

pub(super) const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
pub(super) const SERVICE_ACCOUNT_PUBLIC: &str = "service-account.pub";
pub(super) const ENCRYPTION_CONFIG: &str = "encryption-config.yaml";

impl Local {
    /// The pair that service-account tokens are signed with: made once. RSA, whatever the
    /// certificates' keys are: kube-apiserver takes ECDSA too, but RS256 is the one algorithm that
    /// whoever verifies tokens outside the cluster must know (`OpenID` Connect Core, 15.1), and
    /// tokens are verified on every request, which RSA does faster.
    pub(super) fn service_account(
        &self,
        gathered: &mut Gathered,
    ) -> Result<ServiceAccountPair, Error> {
        if let Some(found) = self.found_service_account()? {
            gathered.note(Item::ServiceAccount, Outcome::Reused);
            return Ok(found);
        }
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
        let key = existing.map_or_else(|| gathered.key(key_type), Ok)?;
        let mut pair = ServiceAccountPair {
            private_pem: sign::key_pem(&key),
            public_pem: key.public_key_pem(),
        };
        if outcome == Outcome::Created {
            gathered.write(SERVICE_ACCOUNT_KEY, pair.private_pem.clone());
        }
        match public {
            // It may hold the key before it too, so that tokens signed with that are believed.
            Some(public) if holds(&public, &pair.public_pem) => pair.public_pem = public,
            Some(_) => return Err(other_key()),
            None => {
                let public = Secret::new(pair.public_pem.as_bytes());
                gathered.write(SERVICE_ACCOUNT_PUBLIC, public);
            }
        }
        gathered.note(Item::ServiceAccount, outcome);
        Ok(pair)
    }

    pub(super) fn encryption_config(&self, gathered: &mut Gathered) -> Result<Secret, Error> {
        if let Some(existing) = self.store.read(ENCRYPTION_CONFIG)? {
            // While its key is exchanged it is neither as the inventory was nor as it is.
            let checked = match self.rotation()? {
                Some(_) => encryption::read(&existing, &self.targets)
                    .and_then(|config| config.can_rotate()),
                None => encryption::check(&existing, &self.encryption, &self.targets),
            };
            checked.map_err(|problem| {
                let path = self.store.path(ENCRYPTION_CONFIG);
                Error::EncryptionConfig { path, problem }
            })?;
            gathered.note(Item::EncryptionConfig, Outcome::Reused);
            return Ok(existing);
        }
        if self.encryption.provider == Provider::File {
            let path = self.store.path(ENCRYPTION_CONFIG);
            return Err(Error::NoEncryptionConfig(path));
        }
        let new = encryption::render(&self.encryption, &*sign::random()?);
        encryption::check(&new, &self.encryption, &self.targets).map_err(|problem| {
            let path = self.store.path(ENCRYPTION_CONFIG);
            Error::EncryptionConfig { path, problem }
        })?;
        gathered.write(ENCRYPTION_CONFIG, new.clone());
        gathered.note(Item::EncryptionConfig, Outcome::Created);
        Ok(new)
    }

    /// The pair that lies where certificates come from.
    fn found_service_account(&self) -> Result<Option<ServiceAccountPair>, Error> {
        let found = self.directory.as_ref();
        let Some(found) = found.and_then(Directory::service_account) else {
            return Ok(None);
        };
        let path = self.store.path(SERVICE_ACCOUNT_KEY);
        let own = self.store.read(SERVICE_ACCOUNT_KEY)?;
        let own = own.and_then(|own| key::public_of(&own));
        if own.is_some() && own != key::public_of(&found.private_pem) {
            return Err(Error::TwoServiceAccounts(path));
        }
        Ok(Some(ServiceAccountPair {
            private_pem: found.private_pem,
            public_pem: found.public_pem,
        }))
    }

    /// The pair as it is, empty where there is none.
    pub(super) fn kept_service_account(&self) -> Result<ServiceAccountPair, Error> {
        if let Some(found) = self.found_service_account()? {
            return Ok(found);
        }
        let private_pem = self.store.read(SERVICE_ACCOUNT_KEY)?;
        Ok(ServiceAccountPair {
            private_pem: private_pem.unwrap_or_else(|| Secret::new("")),
            public_pem: self.text(SERVICE_ACCOUNT_PUBLIC)?.unwrap_or_default(),
        })
    }
}

/// Whether a PEM text holds another, but for the ends of their lines.
fn holds(text: &str, part: &str) -> bool {
    let bare = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    bare(text).contains(&bare(part))
}
