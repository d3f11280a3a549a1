//! The certificates of a run: those that are kept in `pki/`, and what of them is made or renewed.

use std::collections::BTreeSet;

use super::clock::now;
use super::session::Session;
use crate::authority::{self, Authority, Local};
use crate::certificate::{self, CertificateId, Credentials};
use crate::failure::{Exit, Failure};
use crate::inventory::Inventory;

/// What is done about certificates that are missing or no longer serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PkiMode<'a> {
    /// They are made, and kept.
    Obtain,
    /// What would be made is shown; nothing is kept.
    Preview,
    /// As `Obtain`, and these are made again.
    Renew(&'a BTreeSet<CertificateId>),
    /// Nothing is made: `pki/` stays as it is, whatever the inventory says of the CAs.
    Frozen,
}

/// Refuses an inventory by which other CAs would sign than sign now: before anything is made, and
/// before any node is asked.
pub(crate) fn check_signers(inventory: &Inventory) -> Result<(), Failure> {
    let local = Local::of(inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(local.check_unchanged(&certificate::requests(inventory))?)
}

/// The credentials of the cluster; what is new is reported.
pub(crate) fn credentials(
    session: &Session<'_>,
    mode: PkiMode<'_>,
) -> Result<Credentials, Failure> {
    let authority = match mode {
        PkiMode::Frozen => Local::frozen(session.inventory).map(|(authority, _)| authority),
        _ => Local::of(session.inventory),
    };
    let authority = authority.map_err(|error| Failure::new(Exit::Usage, error))?;
    obtained(session, &authority, session.inventory, mode)
}

/// The credentials that the nodes hold, also during a CA migration to what the inventory says.
pub(crate) fn credentials_in_effect(session: &Session<'_>) -> Result<Credentials, Failure> {
    let effective = Local::in_effect(session.inventory);
    let (authority, inventory) = effective.map_err(|error| Failure::new(Exit::Usage, error))?;
    obtained(session, &authority, &inventory, PkiMode::Preview)
}

fn obtained(
    session: &Session<'_>,
    authority: &Local,
    inventory: &Inventory,
    mode: PkiMode<'_>,
) -> Result<Credentials, Failure> {
    let requests = certificate::requests(inventory);
    let obtained = match mode {
        PkiMode::Obtain | PkiMode::Frozen => authority.obtain(&requests, now()),
        PkiMode::Preview => authority.preview(&requests, now()),
        PkiMode::Renew(ids) => authority.renew(&requests, ids, now()),
    };
    let obtained = obtained?;
    for warning in obtained.warnings() {
        session.warn(warning);
    }
    let is_preview = mode == PkiMode::Preview;
    if is_preview {
        for line in authority.vault_outline(&requests, now()) {
            session.note(line);
        }
    }
    if let Some(made) = authority::in_words(obtained.made().map(|note| &note.item)) {
        let verb = ["made", "would make"][usize::from(is_preview)];
        session.note(format!("{verb} in pki/: {made}"));
    }
    Ok(obtained.credentials)
}
