//! A cluster on its way from one number of authorities to another: while it is, peers trust those
//! of both, so that nobody is cut off whose certificate is of the one or the other.

use std::fmt::Write as _;

use super::super::Error;
use super::Local;
use super::record::RECORD;
use super::sign::{self, Signer};
use super::store::Write;
use crate::certificate::AuthorityName;
use crate::certificate::table::signer;
use crate::inventory::Authorities;
use crate::secret::Secret;

/// `FROM TO`, and `trusted` behind it once every peer trusts both; empty when nothing moves.
const MOVING: &str = "moving";

/// Between which two a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// The one it had, and the one it gets. It may still go back.
    pub between: [Authorities; 2],
    /// Whether every peer has been told to trust both.
    pub is_trusted: bool,
}

impl Local {
    /// Whether the authorities are kinstall's own to make.
    pub fn makes_authorities(&self) -> bool {
        self.directory.is_none() && self.vault.is_none()
    }

    /// How many authorities the cluster was made with; none where there is no cluster yet.
    pub fn mode(&self) -> Result<Option<Authorities>, Error> {
        let record = self.text(RECORD)?.unwrap_or_default();
        let word = record.lines().find_map(|line| line.strip_prefix("mode "));
        Ok(word.and_then(named))
    }

    /// Between which two the cluster is.
    pub fn moving(&self) -> Result<Option<Moving>, Error> {
        let text = self.text(MOVING)?.unwrap_or_default();
        let mut words = text.split_whitespace();
        let (from, to) = (words.next().and_then(named), words.next().and_then(named));
        Ok(from.zip(to).map(|(from, to)| Moving {
            between: [from, to],
            is_trusted: words.next() == Some("trusted"),
        }))
    }

    /// Writes down between which two it is; with it, the authorities of both that are missing.
    pub fn keep_moving(&self, moving: Option<Moving>, now: i64) -> Result<(), Error> {
        let lock = self.store.lock()?;
        let mut writes = Vec::new();
        let mut write = |path: String, bytes: Secret| writes.push(Write { path, bytes });
        let mut text = String::new();
        if let Some(Moving {
            between: [from, to],
            is_trusted,
        }) = moving
        {
            for name in AuthorityName::ALL {
                let path = format!("ca/{name}.pem");
                let is_one = [from, to].iter().any(|mode| signer(*mode, name) == name);
                if is_one && self.text(&path)?.is_none() {
                    let key = match self.key(&format!("ca/{name}.key"))? {
                        Some(key) => key,
                        None => sign::new_key(self.pki.key)?,
                    };
                    let new = Signer::create(name, &self.cluster, key, self.pki.ca_days, now)?;
                    if let Some(key) = new.key_pem() {
                        write(format!("ca/{name}.key"), key);
                    }
                    write(path, Secret::new(new.pem.as_bytes()));
                }
            }
            let trusted = if is_trusted { " trusted" } else { "" };
            writeln!(text, "{} {}{trusted}", from.name(), to.name()).expect("a string takes all");
        }
        write(MOVING.to_owned(), Secret::new(text));
        self.store.write_all(&writes)?;
        drop(lock);
        Ok(())
    }

    /// Whether a cluster of one mode may become one of another now: every peer trusts both.
    pub(super) fn may_become(&self, before: &str, after: &str) -> Result<bool, Error> {
        let moving = self.moving()?.filter(|moving| moving.is_trusted);
        let is_between = |word: &str| {
            let named = named(word);
            moving.is_some_and(|moving| moving.between.iter().any(|mode| Some(*mode) == named))
        };
        Ok(is_between(before) && is_between(after))
    }

    /// Who signs for a set on both sides of the move, in PEM.
    pub(super) fn moved_from(&self, name: AuthorityName) -> Result<String, Error> {
        let Some(moving) = self.moving()? else {
            return Ok(String::new());
        };
        let mut both = String::new();
        for mode in moving.between {
            both += &self
                .text(&format!("ca/{}.pem", signer(mode, name)))?
                .unwrap_or_default();
        }
        Ok(both)
    }
}

fn named(word: &str) -> Option<Authorities> {
    let mut all = Authorities::ALL.into_iter();
    all.find(|mode| mode.name() == word)
}
