//! Which authorities a cluster was made with, and what is trusted besides them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::Error;
use super::sign::Signer;
use super::{Gathered, Local};
use crate::certificate::AuthorityName;
use crate::certificate::describe::{certificates, public_key};
use crate::digest::Digest;
use crate::inventory::Authorities;
use crate::secret::Secret;

/// `mode WORD`, then a line for each authority: its name and the digest of its public key.
pub(super) const RECORD: &str = "authorities";

impl Local {
    /// Refuses authorities other than those on record, and has these put on record.
    pub(super) fn record(
        &self,
        signers: &BTreeMap<AuthorityName, Signer>,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let mode = self.pki.authorities.name();
        let mut record = format!("mode {mode}\n");
        for (name, signer) in signers.iter().filter(|(_, signer)| !signer.is_made_up()) {
            writeln!(record, "{name} {}", digest(&signer.pem)).expect("a string takes all");
        }
        let Some(before) = self.text(RECORD)? else {
            // What was made before there were records had one authority, or etcd's own besides.
            let has = |name: AuthorityName| self.store.path(&format!("ca/{name}.pem")).exists();
            let was_single = has(AuthorityName::Kubernetes) && !has(AuthorityName::Etcd);
            if was_single && self.pki.authorities != Authorities::Single {
                return Err(Error::OtherMode {
                    path: self.store.path(RECORD),
                    was: Authorities::Single.name().to_owned(),
                    now: mode,
                });
            }
            gathered.write(RECORD, Secret::new(record));
            return Ok(());
        };
        let words = before.lines().filter_map(|line| line.split_once(' '));
        for (word, said) in words {
            if word == "mode" && said != mode && !self.may_become(said, mode)? {
                return Err(Error::OtherMode {
                    path: self.store.path(RECORD),
                    was: said.to_owned(),
                    now: mode,
                });
            }
            let signer = signers.iter().find(|(name, _)| name.name() == word);
            let signer = signer.filter(|(_, signer)| !signer.is_made_up());
            if let Some((name, signer)) = signer
                && digest(&signer.pem) != said
                && !self.is_trusted_besides(*name, said, &digest(&signer.pem))?
            {
                return Err(Error::OtherAuthority {
                    name: *name,
                    trust: self.store.path(&trust_path(*name)).display().to_string(),
                });
            }
        }
        if before != record {
            gathered.write(RECORD, Secret::new(record));
        }
        Ok(())
    }

    /// An authority's certificate, with what else is to be trusted for its set: its own comes first.
    pub(super) fn with_trust(&self, name: AuthorityName, pem: String) -> Result<String, Error> {
        let signer = crate::certificate::table::signer(self.pki.authorities, name);
        let besides = self.text(&trust_path(signer))?.unwrap_or_default();
        let before = self.moved_from(name)?;
        let mut bundle = pem;
        for more in certificates(&besides)
            .into_iter()
            .chain(certificates(&before))
        {
            if !bundle.contains(more) {
                bundle.push_str(more);
                bundle.push('\n');
            }
        }
        Ok(bundle)
    }

    /// Whether peers already trust both the authority before and the one after it.
    pub(super) fn is_trusted_besides(
        &self,
        name: AuthorityName,
        old: &str,
        new: &str,
    ) -> Result<bool, Error> {
        let text = self.text(&trust_path(name))?.unwrap_or_default();
        let digests: Vec<String> = certificates(&text).into_iter().map(digest).collect();
        Ok([old, new]
            .iter()
            .all(|digest| digests.iter().any(|it| it == digest)))
    }
}

/// Where certificates lie that are trusted besides an authority's own.
pub(super) fn trust_path(name: AuthorityName) -> String {
    format!("trust/{name}.pem")
}

/// What stands for an authority: its key stays when its certificate is made anew.
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
