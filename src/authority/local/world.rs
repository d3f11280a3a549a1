//! The two sides of a change of who signs: how the other one is made, takes the place of who signs
//! now, and is put away. Nothing that anybody was told to trust is ever lost.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::super::Error;
use super::moving::{Goal, Moving, Phase};
use super::once::{SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC};
use super::record::{RECORD, Record, Source, digest};
use super::sign::Signer;
use super::store::{Store, Write};
use super::{Gathered, Local};
use crate::certificate::table::signer;
use crate::certificate::{self, AuthorityName, Credentials, Leaf, Request};
use crate::inventory::{Authorities, Inventory, PkiSource};
use crate::secret::Secret;

/// What the other side is made for. One that was stopped while it was made goes on if it is the same.
const PURPOSE: &str = "next/purpose";
/// More changes than this on one day are a loop that has gone mad.
const RETIRED_PER_DAY_MAX: u32 = 1000;

impl Local {
    /// What is on record, as it is, whatever the inventory says since: nothing of it is made again. With
    /// it, the inventory of that number of authorities.
    pub fn frozen(inventory: &Inventory) -> Result<(Self, Inventory), Error> {
        let local = Self::bare(inventory);
        local.settled()?;
        let record = local.recorded()?;
        let mut inventory = inventory.clone();
        if let Some(mode) = record.and_then(|record| record.authorities()) {
            inventory.pki.authorities = mode;
        }
        let mut frozen = Self::bare(&inventory);
        frozen.is_frozen = true;
        Ok((frozen, inventory))
    }

    /// What the nodes hold: what the inventory leads to, or while a change has not come to it yet,
    /// what is on record.
    pub fn in_effect(inventory: &Inventory) -> Result<(Self, Inventory), Error> {
        let local = Self::of(inventory)?;
        let is_early = |moving: Moving| moving.phase.is_before_signing();
        if local.moving()?.is_some_and(is_early)
            && local
                .check_unchanged(&certificate::requests(inventory))
                .is_err()
        {
            return Self::frozen(inventory);
        }
        Ok((local, inventory.clone()))
    }

    /// Whether there is a cluster whose signers could change.
    pub fn has_cluster(&self) -> bool {
        self.store.path(RECORD).exists()
    }

    /// The other side of a change.
    fn beside(&self, side: &'static str) -> Self {
        let store = self.store.side(side);
        Self {
            store,
            ..self.clone()
        }
    }

    /// Which side the inventory leads to; none where it is neither. Where it is both, as when
    /// kinstall's own authorities are made again, the change goes on as it is going, or as `back` says.
    pub fn goal(
        &self,
        requests: &[Request],
        moving: Moving,
        back: Option<bool>,
    ) -> Result<Option<Goal>, Error> {
        let side = if moving.phase.is_before_signing() {
            "next"
        } else {
            "before"
        };
        let leads_to = |local: &Self| {
            let Some(record) = local.recorded()? else {
                return Ok(false);
            };
            Ok::<_, Error>(local.differs(requests, &record)?.is_none())
        };
        let is_turned = back.is_some_and(|back| back != moving.is_back);
        Ok(match (leads_to(self)?, leads_to(&self.beside(side))?) {
            (true, false) => Some(Goal::Current),
            (false, true) => Some(Goal::Other),
            (false, false) => None,
            (true, true) if is_turned && moving.goal() == Goal::Current => Some(Goal::Other),
            (true, true) if is_turned => Some(Goal::Current),
            (true, true) => Some(moving.goal()),
        })
    }

    /// Begins a change: makes the other side by the inventory, whole, with the authorities that are
    /// named made again. Whether there is anything to change is known only then where Vault signs.
    pub fn begin(
        &self,
        requests: &[Request],
        replaced: &BTreeSet<AuthorityName>,
        now: i64,
    ) -> Result<bool, Error> {
        let lock = self.lock()?;
        let record = self.recorded()?;
        let record = record.ok_or_else(|| Error::NotKept {
            path: self.store.path(RECORD),
        })?;
        self.check_kept(&record)?;
        let next = self.beside("next");
        self.lay_out(&record, requests, replaced, &next)?;
        let is_same = self.differs(requests, &record)?.is_none() && replaced.is_empty();
        if is_same && !next.has_other_remote(self, requests, now)? {
            self.store.discard("next")?;
            return Ok(false);
        }
        next.renew_held(requests, &BTreeSet::new(), now)?;
        let phase = Phase::Trust;
        let is_back = false;
        self.keep_moving(Some(Moving { phase, is_back }))?;
        drop(lock);
        Ok(true)
    }

    /// Everything that peers are told to trust now must be at hand, and be what is on record.
    fn check_kept(&self, record: &Record) -> Result<(), Error> {
        let not_kept = |path: &str| Error::NotKept {
            path: self.store.path(path),
        };
        let mode = record.authorities().ok_or_else(|| not_kept(RECORD))?;
        for name in AuthorityName::ALL {
            let path = format!("ca/{name}.pem");
            if signer(mode, name) == name {
                let pem = self.text(&path)?.ok_or_else(|| not_kept(&path))?;
                if record.key(name).is_some_and(|known| known != digest(&pem)) {
                    let path = self.store.path(&path);
                    return Err(Error::OtherAuthority { name, path });
                }
            }
        }
        Ok(())
    }

    /// Prepares the place of the other side: what was signed by whom signs there too serves on.
    fn lay_out(
        &self,
        record: &Record,
        requests: &[Request],
        replaced: &BTreeSet<AuthorityName>,
        next: &Self,
    ) -> Result<(), Error> {
        let from = self.source(record)?.unwrap_or(Source::Local);
        let wanted = Source::of(&self.pki.from);
        let names = replaced.iter().map(|name| name.name());
        let names: Vec<&str> = names.collect();
        let purpose = format!(
            "{} {wanted} {}\n",
            self.pki.authorities.name(),
            names.join(" ")
        );
        if self.store.text(PURPOSE)?.as_ref() == Some(&purpose) {
            return Ok(());
        }
        self.store.discard("next")?;
        next.store.prepare()?;
        next.store.copy(&self.store, "issued")?;
        let own = self.own(requests)?;
        let mut writes = Vec::new();
        let mut copy = |path: String| {
            let bytes = self.store.read(&path)?;
            writes.extend(bytes.map(|bytes| Write { path, bytes }));
            Ok::<_, Error>(())
        };
        for name in AuthorityName::ALL
            .into_iter()
            .filter(|it| !replaced.contains(it))
        {
            // Beside a directory's authorities kinstall's own is that of the aggregation layer.
            let was_own =
                !matches!(from, Source::Directory(_)) || name == AuthorityName::FrontProxy;
            let stays = was_own && own.contains(&name) && self.holds_key(name)?;
            if stays {
                copy(format!("ca/{name}.key"))?;
            }
            // Where some are made again, the others stay, whoever makes them.
            if stays || !replaced.is_empty() {
                copy(format!("ca/{name}.pem"))?;
            }
        }
        next.store.write_all(&writes)?;
        // The pair is the cluster's, whoever signs.
        let mut writes = Vec::new();
        if self.store.read(SERVICE_ACCOUNT_KEY)?.is_none() {
            for path in [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC] {
                let bytes = self.store.read(&format!("taken/{path}"))?;
                let path = path.to_owned();
                writes.extend(bytes.map(|bytes| Write { path, bytes }));
            }
        }
        let path = PURPOSE.to_owned();
        let bytes = Secret::new(purpose);
        writes.push(Write { path, bytes });
        self.store.write_all(&writes)
    }

    /// Whether Vault signs with another authority than it did: one certificate of each is asked for.
    fn has_other_remote(
        &self,
        current: &Self,
        requests: &[Request],
        now: i64,
    ) -> Result<bool, Error> {
        let mut tried = BTreeSet::new();
        let mut trials = Vec::new();
        for request in requests {
            if self.order(request)?.is_some() && tried.insert(request.signer) {
                trials.push(request.clone());
            }
        }
        self.fetch(&trials, &BTreeSet::new(), now)?;
        for name in tried {
            let path = format!("ca/{name}.pem");
            let [one, other] = [self.text(&path)?, current.text(&path)?];
            if one.as_deref().map(digest) != other.as_deref().map(digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has the other side sign all that is asked for, and tells what peers will be shown. Nothing
    /// leaves this machine yet.
    pub fn sign_beside(&self, requests: &[Request], now: i64) -> Result<Credentials, Error> {
        let lock = self.lock()?;
        let next = self.beside("next");
        let obtained = next.renew_held(requests, &BTreeSet::new(), now)?;
        drop(lock);
        Ok(obtained.credentials)
    }

    /// Lets the other side take the place of who signs.
    pub fn switch(&self) -> Result<(), Error> {
        self.come_to(Phase::Switch)?;
        self.settled()
    }

    /// Writes down that a change has come to a phase.
    pub fn come_to(&self, phase: Phase) -> Result<(), Error> {
        let lock = self.lock()?;
        if let Some(moving) = self.moving()? {
            self.keep_moving(Some(Moving { phase, ..moving }))?;
        }
        drop(lock);
        Ok(())
    }

    /// Turns a change round, to go on from a phase.
    pub fn turn(&self, phase: Phase) -> Result<(), Error> {
        let lock = self.lock()?;
        if let Some(Moving { is_back, .. }) = self.moving()? {
            let is_back = !is_back;
            self.keep_moving(Some(Moving { phase, is_back }))?;
        }
        drop(lock);
        // The other side gets its name.
        drop(self.lock()?);
        Ok(())
    }

    /// Ends a change: the other side is put away, with its keys.
    pub fn retire(&self, now: i64) -> Result<(), Error> {
        let lock = self.lock()?;
        if self.store.root("before").exists() {
            let day = OffsetDateTime::from_unix_timestamp(now)
                .map_or_else(|_| now.to_string(), |at| at.date().to_string());
            self.store.make("retired")?;
            let mut names = (1..RETIRED_PER_DAY_MAX).map(|number| match number {
                1 => format!("retired/{day}"),
                number => format!("retired/{day}-{number}"),
            });
            let free = names.find(|name| !self.store.root(name).exists());
            let free = free.unwrap_or_else(|| format!("retired/{now}"));
            self.store.rename("before", &free)?;
        }
        self.keep_moving(None)?;
        drop(lock);
        Ok(())
    }

    /// Whether a change is one that the inventory says nothing of: it leads to both sides.
    pub fn is_rotation(&self, requests: &[Request], moving: Moving) -> Result<bool, Error> {
        let [one, other] = [false, true].map(|back| self.goal(requests, moving, Some(back)));
        Ok(one? != other?)
    }

    /// The authorities that kinstall makes itself, by the inventory.
    fn own(&self, requests: &[Request]) -> Result<BTreeSet<AuthorityName>, Error> {
        let mut own = BTreeSet::new();
        for name in AuthorityName::ALL {
            let is_found = |it: &super::Directory| it.authority(name, requests).is_some();
            let is_made = signer(self.pki.authorities, name) == name
                && !self.is_remote(name, requests)?
                && !self.directory.as_ref().is_some_and(is_found);
            own.extend(is_made.then_some(name));
        }
        Ok(own)
    }

    /// The authorities that kinstall is to make again, by what sets were named; all of its own where
    /// none was.
    pub fn to_replace(
        &self,
        requests: &[Request],
        sets: &[String],
    ) -> Result<BTreeSet<AuthorityName>, Error> {
        let refuse = |name: &str, help: String| Error::NotOwn {
            name: name.to_owned(),
            help,
        };
        let (mode, own) = (self.pki.authorities, self.own(requests)?);
        if sets.is_empty() {
            return Ok(own);
        }
        let mut chosen = BTreeSet::new();
        for word in sets {
            let all = own.iter().map(|name| name.name());
            let all = all.collect::<Vec<_>>().join(", ");
            let help = format!(
                "kinstall makes these: {all}. Others are exchanged where they are made; \
                 `kinstall certs move INVENTORY` then takes the cluster there"
            );
            let mut names = AuthorityName::ALL.into_iter();
            match names.find(|name| name.name() == word) {
                Some(name) if own.contains(&name) => _ = chosen.insert(name),
                Some(name) if signer(mode, name) != name => {
                    let other = signer(mode, name);
                    let help = format!(
                        "with `authorities = \"{}\"`, `{other}` signs for it",
                        mode.name()
                    );
                    return Err(refuse(word, help));
                }
                _ => return Err(refuse(word, help)),
            }
        }
        Ok(chosen)
    }
}

impl Local {
    /// What a directory gives is kept beside what kinstall makes: it may be exchanged there at any
    /// time, and peers must go on trusting what nodes hold of it.
    pub(super) fn take(
        &self,
        signers: &std::collections::BTreeMap<AuthorityName, Signer>,
        credentials: &Credentials,
        requests: &[Request],
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let mut copies = Vec::new();
        let client = signer(self.pki.authorities, AuthorityName::ApiserverClient);
        for (name, signer) in signers {
            if directory.authority(*name, requests).is_some() {
                copies.push((format!("ca/{name}.pem"), Secret::new(signer.pem.as_bytes())));
                let key = signer.key_pem().filter(|_| *name == client);
                copies.extend(key.map(|key| (format!("ca/{name}.key"), key)));
            }
        }
        for request in requests {
            let leaf = credentials.leaves.get(&request.id);
            let found = directory.leaf(request);
            if let (Some(leaf), Some(found)) = (leaf, found)
                && leaf.chain_pem == found.chain_pem
            {
                let (id, pem) = (&request.id, Secret::new(found.chain_pem));
                copies.push((format!("taken/{id}.key"), found.key_pem));
                copies.push((format!("taken/{id}.pem"), pem));
            }
        }
        if directory.service_account().is_some() {
            let pair = &credentials.service_account;
            let public = Secret::new(pair.public_pem.as_bytes());
            let private = pair.private_pem.clone();
            copies.push((format!("taken/{SERVICE_ACCOUNT_KEY}"), private));
            copies.push((format!("taken/{SERVICE_ACCOUNT_PUBLIC}"), public));
        }
        for (path, bytes) in copies {
            if self.store.read(&path)?.as_ref() != Some(&bytes) {
                gathered.write(&path, bytes);
            }
        }
        Ok(())
    }

    /// What was taken of a certificate, where nothing is to be taken any more.
    pub(super) fn taken(&self, request: &Request) -> Result<Option<Leaf>, Error> {
        let Some(existing) = self.certificate(&format!("taken/{}.pem", request.id))? else {
            return Ok(None);
        };
        let key = self.store.read(&format!("taken/{}.key", request.id))?;
        Ok(Some(Leaf {
            chain_pem: existing.pem,
            key_pem: key.unwrap_or_else(|| Secret::new("")),
            dated: existing.description.not_before,
            not_before: existing.description.not_before,
            not_after: existing.description.not_after,
        }))
    }

    /// Everything as it is kept: what is missing is not made.
    pub(super) fn as_it_is(&self, requests: &[Request]) -> Result<Credentials, Error> {
        for name in AuthorityName::ALL {
            let signer = signer(self.pki.authorities, name);
            let path = format!("ca/{signer}.pem");
            if self.text(&path)?.is_none() {
                let path = self.store.path(&path);
                return Err(Error::NotKept { path });
            }
        }
        let credentials = self.kept_now(requests)?;
        let missing = |request: &&Request| !credentials.leaves.contains_key(&request.id);
        let new = requests.iter().filter(missing);
        let ids: Vec<_> = new.map(|request| request.id.clone()).collect();
        if !ids.is_empty() {
            return Err(Error::NewWhileMoving { ids });
        }
        if credentials.service_account.private_pem.expose().is_empty() {
            let path = self.store.path(SERVICE_ACCOUNT_KEY);
            return Err(Error::NotKept { path });
        }
        Ok(credentials)
    }
}

impl Authorities {
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == word)
    }
}

impl Local {
    /// What lies in `pki/` and takes part in nothing else.
    fn bare(inventory: &Inventory) -> Self {
        let mut pki = inventory.pki.clone();
        pki.from = PkiSource::Local;
        Self {
            store: Store::new(inventory.directory.join("pki")),
            cluster: inventory.cluster.name.clone(),
            pki,
            encryption: inventory.encryption.clone(),
            targets: crate::encryption::Target::all(inventory),
            directory: None,
            directory_path: std::path::PathBuf::new(),
            vault: None,
            go: certificate::path::Go::of(&inventory.cluster),
            is_frozen: false,
        }
    }
}
