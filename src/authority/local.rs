//! kinstall's own authority: certificates and keys in `pki/` beside the inventory.
//!
//! A run first makes everything that is missing in memory, then writes it, each file by one rename
//! and each key before its certificate. Wherever it is stopped, what is on disk is whole, and the
//! next run takes it from there.
//!
//! Where certificates come from a directory, that is read and never written: what it lacks is
//! signed with its authorities' keys, if they are there, and kept in `pki/` like all else.
//!
//! Where they come from Vault, what it issues is kept here too, and asked for again only when it
//! no longer serves.

mod earlier;
mod examine;
mod existing;
mod moving;
mod once;
mod record;
mod remote;
mod rotation;
pub(super) mod sign;
mod store;
#[cfg(test)]
mod tests;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use rcgen::KeyPair;

use self::existing::{Existing, Paths, is_of_type};
pub use self::moving::{Goal, Moving, Phase, Step};
use self::remote::Fetched;
use self::sign::Signer;
use self::store::{Store, Write};
use super::directory::Directory;
use super::vault::Vault;
use super::{Authority, Error, Item, Note, Obtained, Outcome, Reason};
use crate::certificate::path::Go;
use crate::certificate::table::signer;
use crate::certificate::{
    AuthorityName, CertificateId, Credentials, Leaf, Request, ServiceAccountPair, describe,
};
use crate::encryption::Target;
use crate::inventory::{ClusterName, Encryption, Inventory, KeyType, Pki, PkiSource};
use crate::secret::Secret;

/// kinstall's own authority.
#[derive(Debug, Clone)]
pub struct Local {
    store: Store,
    cluster: ClusterName,
    pki: Pki,
    encryption: Encryption,
    /// Who reads the encryption configuration.
    targets: Vec<Target>,
    /// What somebody else made.
    directory: Option<Directory>,
    /// Where that lies.
    directory_path: std::path::PathBuf,
    /// Who makes certificates elsewhere.
    vault: Option<Vault>,
    /// What the peers that judge certificates are built with.
    go: Go,
    /// Whether everything is taken as it is kept, and nothing made.
    is_frozen: bool,
}

const DAY_SECONDS: i64 = 86_400;

impl Local {
    /// The authority of an inventory: its files lie in `pki/` in the inventory's directory.
    pub fn of(inventory: &Inventory) -> Result<Self, Error> {
        let (directory, directory_path) = match &inventory.pki.from {
            PkiSource::Local | PkiSource::Vault(_) => (None, std::path::PathBuf::new()),
            PkiSource::Directory(path) => {
                let path = inventory.directory.join(path);
                (Some(Directory::read(&path)?), path)
            }
        };
        let local = Self {
            store: Store::new(inventory.directory.join("pki")),
            cluster: inventory.cluster.name.clone(),
            pki: inventory.pki.clone(),
            encryption: inventory.encryption.clone(),
            targets: Target::all(inventory),
            directory,
            directory_path,
            vault: Vault::of(inventory),
            go: Go::of(&inventory.cluster),
            is_frozen: false,
        };
        local.settled()?;
        Ok(local)
    }
}

impl Authority for Local {
    fn preview(&self, requests: &[Request], now: i64) -> Result<Obtained, Error> {
        let (obtained, _) = self.prepare(requests, &BTreeSet::new(), None, now)?;
        Ok(obtained)
    }

    fn obtain(&self, requests: &[Request], now: i64) -> Result<Obtained, Error> {
        self.renew(requests, &BTreeSet::new(), now)
    }

    fn renew(
        &self,
        requests: &[Request],
        ids: &BTreeSet<CertificateId>,
        now: i64,
    ) -> Result<Obtained, Error> {
        let lock = self.lock()?;
        let obtained = self.renew_held(requests, ids, now)?;
        drop(lock);
        Ok(obtained)
    }

    fn kept(&self, requests: &[Request]) -> Result<Credentials, Error> {
        self.kept_now(requests)
    }
}

/// What a run has gathered so far.
struct Gathered {
    now: i64,
    notes: Vec<Note>,
    writes: Vec<Write>,
    /// What nobody can sign.
    missing: Vec<CertificateId>,
    /// What needs no judgement: made up where Vault alone could make it, or signed in this run by an
    /// authority of this run, which limits nothing.
    unjudged: BTreeSet<CertificateId>,
    /// Whether nothing of it will be kept.
    is_preview: bool,
}

impl Gathered {
    /// A new private key. One that nobody will keep is of the kind that is made soonest, whatever is
    /// asked for: the search for an RSA key takes up to a second.
    fn key(&self, asked: KeyType) -> Result<KeyPair, Error> {
        sign::new_key(if self.is_preview {
            KeyType::EcdsaP256
        } else {
            asked
        })
    }

    fn note(&mut self, item: Item, outcome: Outcome) {
        self.notes.push(Note { item, outcome });
    }

    /// Whether this run has made an authority. Authorities come first, and are few.
    fn has_created(&self, name: AuthorityName) -> bool {
        let (item, outcome) = (Item::Authority(name), Outcome::Created);
        let mut authorities = self.notes.iter().take(AuthorityName::ALL.len());
        authorities.any(|note| {
            *note
                == Note {
                    item: item.clone(),
                    outcome,
                }
        })
    }

    fn write(&mut self, path: &str, bytes: Secret) {
        let path = path.to_owned();
        self.writes.push(Write { path, bytes });
    }
}

impl Local {
    /// As [`Authority::renew`]; the lock must be held.
    fn renew_held(
        &self,
        requests: &[Request],
        ids: &BTreeSet<CertificateId>,
        now: i64,
    ) -> Result<Obtained, Error> {
        let fetched = self.fetch(requests, ids, now)?;
        let (obtained, writes) = self.prepare(requests, ids, Some(&fetched), now)?;
        self.store.write_all(&writes)?;
        Ok(obtained)
    }

    fn kept_now(&self, requests: &[Request]) -> Result<Credentials, Error> {
        let mut authorities = BTreeMap::new();
        let mut signing_key_pem = None;
        for name in AuthorityName::ALL {
            let signer = signer(self.pki.authorities, name);
            let found = self.directory.as_ref();
            let found = found.and_then(|directory| directory.authority(signer, requests));
            let (pem, key) = match found {
                Some(found) => (Some(found.pem), found.key),
                None => (
                    self.text(&format!("ca/{signer}.pem"))?,
                    self.store.read(&format!("ca/{signer}.key"))?,
                ),
            };
            if name == AuthorityName::ApiserverClient {
                signing_key_pem = key;
            }
            if let Some(pem) = pem {
                authorities.insert(name, self.with_trust(name, pem)?);
            }
        }
        let mut leaves = BTreeMap::new();
        for request in requests {
            if let Some(leaf) = self.kept_leaf(request)? {
                leaves.insert(request.id.clone(), leaf);
            }
        }
        let empty = || Secret::new("");
        Ok(Credentials {
            authorities,
            leaves,
            service_account: self.kept_service_account()?,
            encryption_config: self.encryption()?.unwrap_or_else(empty),
            encryption_history: self.encryption_history()?,
            signing_key_pem,
        })
    }

    /// Everything that is asked for, and what must be written for it to last. Where nothing was
    /// fetched it is only previewed, and what Vault would make is made up.
    fn prepare(
        &self,
        requests: &[Request],
        asked: &BTreeSet<CertificateId>,
        fetched: Option<&Fetched>,
        now: i64,
    ) -> Result<(Obtained, Vec<Write>), Error> {
        if self.is_frozen {
            let credentials = self.as_it_is(requests)?;
            let obtained = Obtained {
                warnings: self.check(requests, &credentials, now)?,
                credentials,
                notes: Vec::new(),
                remarks: Vec::new(),
            };
            return Ok((obtained, Vec::new()));
        }
        let mut gathered = Gathered {
            now,
            notes: Vec::new(),
            writes: Vec::new(),
            missing: Vec::new(),
            unjudged: BTreeSet::new(),
            is_preview: fetched.is_none(),
        };
        let signers = self.signers(requests, &mut gathered)?;
        self.record(requests, &signers, &mut gathered)?;
        let signer_for = |name| &signers[&signer(self.pki.authorities, name)];
        let mut leaves = BTreeMap::new();
        for request in requests {
            if let Some(order) = self.order(request)? {
                let leaf = self.remote_leaf(request, &order, fetched, &mut gathered)?;
                leaves.insert(request.id.clone(), leaf);
                continue;
            }
            let is_asked = asked.contains(&request.id);
            let leaf = self.leaf(request, signer_for(request.signer), is_asked, &mut gathered)?;
            leaves.extend(leaf.map(|leaf| (request.id.clone(), leaf)));
        }
        if !gathered.missing.is_empty() {
            let ids = gathered.missing;
            let found = self.directory.as_ref();
            let unreadable = found.map(Directory::why_not_signed).unwrap_or_default();
            return Err(Error::CannotSign { ids, unreadable });
        }
        let service_account = self.service_account(&mut gathered)?;
        let encryption_config = self.encryption_config(&mut gathered)?;
        let mut authorities = BTreeMap::new();
        for name in AuthorityName::ALL {
            authorities.insert(name, self.with_trust(name, signer_for(name).pem.clone())?);
        }
        let credentials = Credentials {
            authorities,
            leaves,
            service_account,
            encryption_config,
            encryption_history: self.encryption_history()?,
            signing_key_pem: signer_for(AuthorityName::ApiserverClient).key_pem(),
        };
        self.take(&signers, &credentials, requests, &mut gathered)?;
        let known = requests.iter();
        let known = known.filter(|request| !gathered.unjudged.contains(&request.id));
        let known: Vec<Request> = known.cloned().collect();
        let mut warnings = self.check(&known, &credentials, now)?;
        warnings.extend(
            fetched
                .into_iter()
                .flat_map(|it| it.warnings.iter().cloned()),
        );
        let remarks = fetched.map(|it| it.remarks.clone());
        let obtained = Obtained {
            credentials,
            notes: gathered.notes,
            warnings,
            remarks: remarks.unwrap_or_default(),
        };
        Ok((obtained, gathered.writes))
    }

    fn signers(
        &self,
        requests: &[Request],
        gathered: &mut Gathered,
    ) -> Result<BTreeMap<AuthorityName, Signer>, Error> {
        AuthorityName::ALL
            .into_iter()
            .filter(|name| signer(self.pki.authorities, *name) == *name)
            .map(|name| Ok((name, self.signer(name, requests, gathered)?)))
            .collect()
    }

    fn signer(
        &self,
        name: AuthorityName,
        requests: &[Request],
        gathered: &mut Gathered,
    ) -> Result<Signer, Error> {
        if let Some(directory) = &self.directory {
            match directory.authority(name, requests) {
                Some(found) => {
                    gathered.note(Item::Authority(name), Outcome::Reused);
                    return Signer::found(name, &self.directory_path, found);
                }
                // Guides that know one authority have none for the aggregation layer, which must
                // have its own.
                None if name == AuthorityName::FrontProxy => {}
                None => {
                    return Err(Error::NoAuthority {
                        name,
                        path: self.directory_path.clone(),
                        unreadable: directory.remarks().to_vec(),
                    });
                }
            }
        }
        if self.is_remote(name, requests)? {
            return self.remote_signer(name, gathered);
        }
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
            return Signer::read(existing.pem, existing.description.not_after, Some(key));
        }
        // A key alone was left by a run that was stopped between the two; it has signed nothing.
        let is_new = key.is_none();
        let key = key.map_or_else(|| gathered.key(self.pki.key), Ok)?;
        let new = Signer::create(name, &self.cluster, key, self.pki.ca_days, gathered.now)?;
        if is_new {
            gathered.writes.extend(new.key_pem().map(|bytes| Write {
                path: key_path,
                bytes,
            }));
        }
        gathered.write(&certificate_path, Secret::new(new.pem.as_bytes()));
        gathered.note(Item::Authority(name), Outcome::Created);
        Ok(new)
    }

    /// What is there of a certificate: what kinstall signed last, or what somebody else made,
    /// whichever began later.
    fn kept_leaf(&self, request: &Request) -> Result<Option<Leaf>, Error> {
        let own = match self.certificate(&format!("issued/{}.pem", request.id))? {
            Some(existing) => {
                let key = self.store.read(&format!("issued/{}.key", request.id))?;
                let begun = existing.description.not_before;
                let dated = self.dated(&request.id, &existing.pem, begun)?;
                Some(Leaf {
                    chain_pem: existing.pem,
                    key_pem: key.unwrap_or_else(|| Secret::new("")),
                    dated,
                    not_before: existing.description.not_before,
                    not_after: existing.description.not_after,
                })
            }
            None => None,
        };
        let found = match &self.directory {
            Some(directory) => directory.leaf(request),
            None if self.is_frozen => self.taken(request)?,
            None => None,
        };
        Ok(match (own, found) {
            (Some(own), Some(found)) if own.not_before <= found.not_before => Some(found),
            (own, found) => own.or(found),
        })
    }

    fn leaf(
        &self,
        request: &Request,
        signer: &Signer,
        is_asked: bool,
        gathered: &mut Gathered,
    ) -> Result<Option<Leaf>, Error> {
        let (certificate_path, key_path) = (
            format!("issued/{}.pem", request.id),
            format!("issued/{}.key", request.id),
        );
        let item = Item::Certificate(request.id.clone());
        let key = self.key(&key_path)?;
        let existing = self.certificate(&certificate_path)?;
        let found = self.directory.as_ref();
        let found = found.and_then(|directory| directory.leaf(request));
        // Of a certificate of the directory and one of ours, the one that began later serves.
        let begun_there = found.as_ref().map(|found| found.not_before);
        let found = found.filter(|_| !is_asked);
        let asked = is_asked.then_some(Reason::Asked);
        let reason = existing.as_ref().and_then(|existing| {
            existing
                .reason(key.as_ref(), request, signer, gathered.now)
                .or(asked)
        });
        let begun = existing.as_ref().map(|it| it.description.not_before);
        let (key, is_new) = match (&existing, key, reason) {
            (Some(existing), Some(key), None)
                if found
                    .as_ref()
                    .is_none_or(|found| Some(found.not_before) < begun) =>
            {
                gathered.note(item, Outcome::Reused);
                return Ok(Some(Leaf {
                    chain_pem: existing.pem.clone(),
                    key_pem: sign::key_pem(&key),
                    dated: existing.description.not_before,
                    not_before: existing.description.not_before,
                    not_after: existing.description.not_after,
                }));
            }
            _ if found.is_some() => {
                gathered.note(item, Outcome::Reused);
                return Ok(found);
            }
            _ if !signer.can_sign() => {
                gathered.missing.push(request.id.clone());
                return Ok(None);
            }
            // A key that a run was stopped before it had certified.
            (None, Some(key), _) | (_, Some(key), Some(Reason::Key))
                if is_of_type(&key, request.key) =>
            {
                (key, false)
            }
            _ => (gathered.key(request.key)?, true),
        };
        let leaf = signer.issue(request, &key, begun.max(begun_there), gathered.now)?;
        if is_new {
            gathered.write(&key_path, leaf.key_pem.clone());
        }
        gathered.write(&certificate_path, Secret::new(leaf.chain_pem.as_bytes()));
        let reason = reason.or(asked);
        gathered.note(item, reason.map_or(Outcome::Created, Outcome::Renewed));
        if gathered.has_created(request.signer) {
            gathered.unjudged.insert(request.id.clone());
        }
        Ok(Some(leaf))
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
        self.store.text(path)
    }
}
