//! Which authorities a cluster was made with, whether the inventory still leads to them, and what is
//! trusted besides them.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::super::Error;
use super::sign::Signer;
use super::{Gathered, Local};
use crate::certificate::AuthorityName;
use crate::certificate::describe::{certificates, public_key};
use crate::certificate::{Request, key};
use crate::digest::Digest;
use crate::inventory::{Authorities, PkiSource};
use crate::secret::Secret;

/// The file that holds a [`Record`].
pub(super) const RECORD: &str = "authorities";

/// What is on record: `mode WORD`, `from SOURCE`, then a line for each authority, its name and the
/// digest of its public key. Earlier versions wrote no `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The word for how many authorities there are.
    pub(super) mode: String,
    from: Option<Source>,
    keys: BTreeMap<AuthorityName, String>,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Local,
    Vault,
    Directory(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Vault => f.write_str("vault"),
            Self::Directory(path) => write!(f, "directory {path}"),
        }
    }
}

impl Source {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("local", "") => Some(Self::Local),
            ("vault", "") => Some(Self::Vault),
            ("directory", path) => Some(Self::Directory(path.to_owned())),
            _ => None,
        }
    }

    pub(super) fn of(from: &PkiSource) -> Self {
        match from {
            PkiSource::Local => Self::Local,
            PkiSource::Vault(_) => Self::Vault,
            PkiSource::Directory(path) => Self::Directory(path.display().to_string()),
        }
    }

    /// The word in the inventory. Two directories are no difference by themselves: who signs in them
    /// is.
    const fn word(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Vault => "vault",
            Self::Directory(_) => "directory",
        }
    }
}

impl Record {
    pub(super) fn parse(text: &str) -> Self {
        let mut record = Self {
            mode: String::new(),
            from: None,
            keys: BTreeMap::new(),
        };
        for (word, said) in text.lines().filter_map(|line| line.split_once(' ')) {
            let mut names = AuthorityName::ALL.into_iter();
            match word {
                "mode" => said.clone_into(&mut record.mode),
                "from" => record.from = Source::parse(said),
                word => {
                    let name = names.find(|name| name.name() == word);
                    record.keys.extend(name.map(|name| (name, said.to_owned())));
                }
            }
        }
        record
    }

    fn text(&self) -> String {
        let mut text = format!("mode {}\n", self.mode);
        if let Some(from) = &self.from {
            writeln!(text, "from {from}").expect("a string takes all");
        }
        for (name, digest) in &self.keys {
            writeln!(text, "{name} {digest}").expect("a string takes all");
        }
        text
    }

    /// The number of authorities, where the word for it is known.
    pub(super) fn authorities(&self) -> Option<Authorities> {
        Authorities::named(&self.mode)
    }

    /// The digest of an authority's public key.
    pub(super) fn key(&self, name: AuthorityName) -> Option<&str> {
        self.keys.get(&name).map(String::as_str)
    }

    /// The text of a record of kinstall's own authorities, by their certificates.
    pub(super) fn local(mode: Authorities, pems: &[(AuthorityName, String)]) -> String {
        let keys = pems.iter().map(|(name, pem)| (*name, digest(pem)));
        let record = Self {
            mode: mode.name().to_owned(),
            from: Some(Source::Local),
            keys: keys.collect(),
        };
        record.text()
    }
}

impl Local {
    /// What is on record, if anything is.
    pub(super) fn recorded(&self) -> Result<Option<Record>, Error> {
        Ok(self.text(RECORD)?.map(|text| Record::parse(&text)))
    }

    /// Where the certificates on record came from; where nothing says it, by what lies there.
    pub(super) fn source(&self, record: &Record) -> Result<Option<Source>, Error> {
        if record.from.is_some() || record.keys.is_empty() {
            return Ok(record.from.clone());
        }
        let mut from = Source::Local;
        for name in record.keys.keys().copied() {
            if self.text(&format!("ca/{name}.pem"))?.is_none() {
                return Ok(Some(Source::Directory(String::new())));
            }
            if !self.holds_key(name)? {
                from = Source::Vault;
            }
        }
        Ok(Some(from))
    }

    /// Whether the key of an authority lies beside its certificate.
    pub(super) fn holds_key(&self, name: AuthorityName) -> Result<bool, Error> {
        let pem = self.text(&format!("ca/{name}.pem"))?;
        let key = self.store.read(&format!("ca/{name}.key"))?;
        let public = key.and_then(|key| key::public_of(&key));
        Ok(public.is_some() && public == pem.and_then(|pem| public_key(&pem).ok()))
    }

    /// How the inventory leads to others than those on record, if it does: as far as that can be
    /// known without asking anybody.
    pub(super) fn differs(
        &self,
        requests: &[Request],
        record: &Record,
    ) -> Result<Option<Error>, Error> {
        let now = self.pki.authorities.name();
        if record.mode != now {
            return Ok(Some(Error::OtherMode {
                path: self.store.path(RECORD),
                was: record.mode.clone(),
                now,
            }));
        }
        let other = |was: &Source, now: &Source| Error::OtherSource {
            path: self.store.path(RECORD),
            was: was.word(),
            now: now.word(),
        };
        let wanted = Source::of(&self.pki.from);
        let Some(before) = self.source(record)? else {
            return Ok(None);
        };
        if before.word() != wanted.word() {
            return Ok(Some(other(&before, &wanted)));
        }
        for (name, digest) in &record.keys {
            if let Some(directory) = &self.directory {
                let found = directory.authority(*name, requests);
                if found.is_some_and(|found| self::digest(&found.pem) != *digest) {
                    return Ok(Some(self.other_authority(*name)));
                }
            } else if self.vault.is_some() && self.text(&format!("ca/{name}.pem"))?.is_some() {
                match (self.is_remote(*name, requests)?, self.holds_key(*name)?) {
                    (true, true) => return Ok(Some(other(&Source::Local, &Source::Vault))),
                    (false, false) => return Ok(Some(other(&Source::Vault, &Source::Local))),
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// Refuses an inventory that leads to other authorities than those that sign now.
    pub fn check_unchanged(&self, requests: &[Request]) -> Result<(), Error> {
        let record = self.recorded()?;
        let difference = record.map(|record| self.differs(requests, &record));
        difference.transpose()?.flatten().map_or(Ok(()), Err)
    }

    /// Refuses authorities other than those on record, and has these put on record.
    pub(super) fn record(
        &self,
        requests: &[Request],
        signers: &BTreeMap<AuthorityName, Signer>,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let mode = self.pki.authorities.name();
        let known = signers.iter().filter(|(_, signer)| !signer.is_made_up());
        let record = Record {
            mode: mode.to_owned(),
            from: Some(Source::of(&self.pki.from)),
            keys: known
                .map(|(name, signer)| (*name, digest(&signer.pem)))
                .collect(),
        };
        let Some(before) = self.recorded()? else {
            // What was made before there were records had one authority, or etcd's own besides.
            // One without its key is Vault's: it was kept a moment ago.
            let has = |file: &str| self.store.path(file).exists();
            let was_single = has("ca/kubernetes.key") && !has("ca/etcd.pem");
            if was_single && self.pki.authorities != Authorities::Single && !self.store.is_beside()
            {
                return Err(Error::OtherMode {
                    path: self.store.path(RECORD),
                    was: Authorities::Single.name().to_owned(),
                    now: mode,
                });
            }
            gathered.write(RECORD, Secret::new(record.text()));
            return Ok(());
        };
        if let Some(difference) = self.differs(requests, &before)? {
            return Err(difference);
        }
        for (name, digest) in &record.keys {
            if before.keys.get(name).is_some_and(|before| before != digest) {
                return Err(self.other_authority(*name));
            }
        }
        if before != record {
            gathered.write(RECORD, Secret::new(record.text()));
        }
        Ok(())
    }

    pub(super) fn other_authority(&self, name: AuthorityName) -> Error {
        let path = match &self.directory {
            Some(_) => self.directory_path.clone(),
            None => self.store.path(&format!("ca/{name}.pem")),
        };
        Error::OtherAuthority { name, path }
    }

    /// An authority's certificate, with what else is to be trusted for its set: its own comes first.
    pub(super) fn with_trust(&self, name: AuthorityName, pem: String) -> Result<String, Error> {
        let signer = crate::certificate::table::signer(self.pki.authorities, name);
        let besides = self.text(&trust_path(signer))?.unwrap_or_default();
        let other = self.other_side_of(name)?;
        let mut bundle = pem;
        for more in certificates(&besides)
            .into_iter()
            .chain(certificates(&other))
        {
            if !bundle.contains(more) {
                bundle.push_str(more);
                bundle.push('\n');
            }
        }
        Ok(bundle)
    }
}

/// Where certificates lie that are trusted besides an authority's own.
pub(super) fn trust_path(name: AuthorityName) -> String {
    format!("trust/{name}.pem")
}

/// What stands for an authority: its key stays when its certificate is made again.
pub(super) fn digest(pem: &str) -> String {
    let key = public_key(pem).unwrap_or_default();
    Digest::of(&key).to_string()
}

impl Authorities {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Single, Self::Kubeadm, Self::Separate];

    /// The word in the inventory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Kubeadm => "kubeadm",
            Self::Separate => "separate",
        }
    }
}
