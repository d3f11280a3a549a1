//! The encryption configuration while its key is exchanged.

use super::super::Error;
use super::once::ENCRYPTION_CONFIG;
use super::store::Write;
use super::{Local, sign};
use crate::digest::Digest;
use crate::encryption::{self, Config, KEY_BYTES, KeyName};
use crate::inventory::Provider;
use crate::secret::Secret;

/// The key that is being brought in, `PROVIDER NAME`; empty when none is.
const ROTATION: &str = "rotation";
/// The digests of the configurations that rotations have replaced, a line each: a node that holds
/// one of them holds nothing unknown.
const HISTORY: &str = "encryption-history";

impl Local {
    /// The encryption configuration as it is kept, if there is one.
    pub fn encryption(&self) -> Result<Option<Secret>, Error> {
        self.store.read(ENCRYPTION_CONFIG)
    }

    /// The encryption configuration as a rotation changes it, if there is one.
    pub fn encryption_to_rotate(&self) -> Result<Option<(Secret, Config)>, Error> {
        let Some(text) = self.encryption()? else {
            return Ok(None);
        };
        let config = encryption::read(&text, &self.targets)
            .and_then(|config| config.can_rotate().map(|()| config));
        let path = self.store.path(ENCRYPTION_CONFIG);
        let config = config.map_err(|problem| Error::EncryptionConfig { path, problem })?;
        Ok(Some((text, config)))
    }

    /// The key that a rotation is bringing in.
    pub fn rotation(&self) -> Result<Option<KeyName>, Error> {
        let text = self.text(ROTATION)?.unwrap_or_default();
        Ok(text.trim().split_once(' ').and_then(|(provider, name)| {
            let provider = Provider::WITH_KEYS
                .into_iter()
                .find(|it| it.name() == provider)?;
            let name = name.to_owned();
            Some(KeyName { provider, name })
        }))
    }

    /// Writes down that a rotation brings a key in, or that none does.
    pub fn keep_rotation(&self, key: Option<&KeyName>) -> Result<(), Error> {
        let text = key.map(|key| format!("{} {}\n", key.provider.name(), key.name));
        let lock = self.lock()?;
        self.store.write_all(&[Write {
            path: ROTATION.to_owned(),
            bytes: Secret::new(text.unwrap_or_default()),
        }])?;
        drop(lock);
        Ok(())
    }

    /// Puts another configuration in the place of the one before, whose digest is kept.
    pub fn keep_encryption(&self, new: &Secret) -> Result<(), Error> {
        let lock = self.lock()?;
        let mut history = self.text(HISTORY)?.unwrap_or_default();
        if let Some(before) = self.encryption()? {
            let digest = Digest::of(before.expose()).to_string();
            if !history.contains(&digest) {
                history.push_str(&digest);
                history.push('\n');
            }
        }
        let write = |path: &str, bytes: Secret| Write {
            path: path.to_owned(),
            bytes,
        };
        self.store.write_all(&[
            write(HISTORY, Secret::new(history)),
            write(ENCRYPTION_CONFIG, new.clone()),
        ])?;
        drop(lock);
        Ok(())
    }

    /// The digests of the configurations before.
    pub(super) fn encryption_history(&self) -> Result<Vec<Digest>, Error> {
        let text = self.text(HISTORY)?.unwrap_or_default();
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// A new key.
    pub fn encryption_key(&self) -> Result<Secret, Error> {
        let key = sign::random::<KEY_BYTES>()?;
        Ok(Secret::new(key.as_slice()))
    }
}
