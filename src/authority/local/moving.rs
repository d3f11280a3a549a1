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

    /// Who signs for a set on both sides of the move, in PEM. Sets that have one authority now are
    /// told of in one file, so that it holds what any of them gets.
    pub(super) fn moved_from(&self, name: AuthorityName) -> Result<String, Error> {
        let Some(moving) = self.moving()? else {
            return Ok(String::new());
        };
        let own = |name| signer(self.pki.authorities, name);
        let alike = AuthorityName::ALL.into_iter();
        let alike = alike.filter(|other| own(*other) == own(name));
        let signers = alike.flat_map(|other| moving.between.map(|mode| signer(mode, other)));
        let mut all = String::new();
        for signer in signers.collect::<std::collections::BTreeSet<_>>() {
            let pem = self.text(&format!("ca/{signer}.pem"))?;
            all += &pem.unwrap_or_default();
        }
        Ok(all)
    }
}

fn named(word: &str) -> Option<Authorities> {
    let mut all = Authorities::ALL.into_iter();
    all.find(|mode| mode.name() == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority as _;
    use crate::certificate::describe::certificates;
    use crate::certificate::{fixture, requests};

    use AuthorityName::{Etcd, EtcdPeer, FrontProxy, Kubernetes};

    const NOW: i64 = 1_767_225_630;

    #[test]
    fn while_a_cluster_moves_every_set_trusts_who_signed_before_and_who_will() {
        let directory = tempfile::tempdir().unwrap();
        let mut inventory = fixture::inventory();
        inventory.directory = directory.path().to_owned();
        let count = |inventory: &crate::inventory::Inventory| {
            let local = Local::of(inventory).unwrap();
            let obtained = local.obtain(&requests(inventory), NOW)?;
            let authorities = obtained.credentials.authorities;
            let of = |name| certificates(&authorities[&name]).len();
            Ok::<_, Error>([Kubernetes, Etcd, EtcdPeer, FrontProxy].map(of))
        };
        assert_eq!(count(&inventory).unwrap(), [1, 1, 1, 1]);
        let local = Local::of(&inventory).unwrap();
        let mut moving = Moving {
            between: [Authorities::Single, Authorities::Separate],
            is_trusted: false,
        };
        local.keep_moving(Some(moving), NOW).unwrap();
        // All in one file, with the seven that sign in its place.
        assert_eq!(count(&inventory).unwrap(), [7, 7, 7, 1]);
        inventory.pki.authorities = Authorities::Separate;
        let refused = count(&inventory).unwrap_err();
        assert!(matches!(refused, Error::OtherMode { .. }), "{refused}");
        moving.is_trusted = true;
        local.keep_moving(Some(moving), NOW).unwrap();
        assert_eq!(count(&inventory).unwrap(), [1, 2, 2, 1]);
        local.keep_moving(None, NOW).unwrap();
        assert_eq!(count(&inventory).unwrap(), [1, 1, 1, 1]);
        assert_eq!(local.mode().unwrap(), Some(Authorities::Separate));
    }
}
