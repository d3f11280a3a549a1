//! Encryption at rest of a running cluster: the keys that are kept, what each server runs on, and one
//! key exchanged for another.

mod rewrite;
pub(crate) mod rotate;
pub(crate) mod servers;

use crate::authority::{self, Local};
use crate::encryption::Config;
use crate::failure::{Exit, Failure};
use crate::inventory::Inventory;
use crate::secret::Secret;

/// The keys that are kept.
pub(crate) struct Keys {
    local: Local,
}

impl Keys {
    /// Of a cluster.
    pub(crate) fn of(inventory: &Inventory) -> Result<Self, Failure> {
        let local = Local::of(inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Self { local })
    }

    /// The configuration that servers should run on.
    pub(crate) fn text(&self) -> Result<Secret, Failure> {
        let text = self.local.encryption().map_err(failed)?;
        text.ok_or_else(none_yet)
    }

    /// The key that a rotation is bringing in.
    pub(crate) fn rotation(&self) -> Result<Option<String>, Failure> {
        let key = self.local.rotation().map_err(failed)?;
        Ok(key.map(|key| key.to_string()))
    }

    /// What a rotation changes.
    fn config(&self) -> Result<(Secret, Config), Failure> {
        let config = self.local.encryption_to_rotate().map_err(failed)?;
        config.ok_or_else(none_yet)
    }
}

fn none_yet() -> Failure {
    let message = "there is no encryption configuration yet";
    Failure::words(Exit::Failed, message, "run `kinstall push` first")
}

fn failed(error: authority::Error) -> Failure {
    Failure::new(Exit::Failed, error)
}
