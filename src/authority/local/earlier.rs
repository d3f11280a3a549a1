//! A change of who signs as earlier versions left it: `FROM TO` between two numbers of authorities, with
//! `trusted` behind it once every peer trusted both, and the authorities of both in `pki/ca/`.

use super::super::Error;
use super::Local;
use super::moving::{MOVING, Moving, Phase};
use super::record::{RECORD, Record};
use super::store::Write;
use crate::certificate::AuthorityName;
use crate::certificate::table::signer;
use crate::inventory::Authorities;
use crate::secret::Secret;

impl Local {
    /// Makes of such a change what this version makes of one. The lock must be held.
    pub(super) fn understand_earlier(&self) -> Result<(), Error> {
        let text = self.text(MOVING)?.unwrap_or_default();
        let mut words = text.split_whitespace();
        let (Some(from), Some(to)) = (
            words.next().and_then(Authorities::named),
            words.next().and_then(Authorities::named),
        ) else {
            return Ok(());
        };
        let is_trusted = words.next() == Some("trusted");
        let store = self.store.side("");
        let Some(record) = store.text(RECORD)? else {
            return Ok(());
        };
        let is_signed = Record::parse(&record).authorities() == Some(to);
        let (phase, side, mode) = match (is_signed, is_trusted) {
            (true, _) => (Phase::Signed, "before", from),
            (false, true) => (Phase::Trusted, "next", to),
            (false, false) => (Phase::Trust, "next", to),
        };
        let other = self.store.side(side);
        other.prepare()?;
        let mut writes = Vec::new();
        let mut write = |path: String, bytes: Secret| writes.push(Write { path, bytes });
        let mut keys = Vec::new();
        for name in AuthorityName::ALL {
            if signer(mode, name) != name {
                continue;
            }
            let (pem, key) = (format!("ca/{name}.pem"), format!("ca/{name}.key"));
            let missing = || Error::NotKept {
                path: store.path(&pem),
            };
            let text = store.text(&pem)?.ok_or_else(missing)?;
            keys.push((name, text.clone()));
            if let Some(bytes) = store.read(&key)? {
                write(key, bytes);
            }
            write(pem, Secret::new(text));
        }
        write(RECORD.to_owned(), Secret::new(Record::local(mode, &keys)));
        other.write_all(&writes)?;
        if side == "next" {
            other.copy(&store, "issued")?;
        }
        let is_back = false;
        self.keep_moving(Some(Moving { phase, is_back }))
    }
}
