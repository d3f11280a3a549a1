//! A certificate that was there, and whether it still serves.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rcgen::{KeyPair, PublicKeyData};

use super::super::{Error, Reason};
use super::DAY_SECONDS;
use super::sign::{self, Signer};
use crate::certificate::describe::{certificates, is_signed_by, key_of, key_word};
use crate::certificate::path::Name;
use crate::certificate::{AuthorityName, Description, Request, describe};
use crate::inventory::KeyType;

/// A certificate is renewed when less than this is left of it, or than a third of its life.
const RENEWAL_SECONDS_MAX: i64 = 30 * DAY_SECONDS;

/// A certificate that was there.
pub(super) struct Existing {
    pub(super) pem: String,
    pub(super) description: Description,
}

/// Where the certificate and the key of an authority lie.
pub(super) struct Paths {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Existing {
    /// Why it does not serve, if it does not.
    pub(super) fn reason(
        &self,
        key: Option<&KeyPair>,
        request: &Request,
        signer: &Signer,
        now: i64,
    ) -> Option<Reason> {
        let found = &self.description;
        let sans: BTreeSet<Name> = request.sans.iter().map(Name::from).collect();
        let is_live = |pem: &str| describe(pem).is_ok_and(|authority| now < authority.not_after);
        let mut signers = certificates(&signer.pem).into_iter();
        let is_signed = signers.any(|pem| is_signed_by(&self.pem, pem) == Ok(true) && is_live(pem));
        let is_subject = found.subject.common_name.as_ref() == Some(&request.common_name)
            && found.subject.organizations == request.organizations;
        let serves = [
            (key.is_some_and(|key| self.belongs_to(key)), Reason::Key),
            (found.key == key_word(request.key), Reason::KeyType),
            (is_signed, Reason::Signer),
            (is_subject, Reason::Subject),
            (found.sans == sans, Reason::Names),
            (
                found.usages.as_ref() == Some(&request.usages),
                Reason::Usages,
            ),
            (now >= found.not_before, Reason::NotYetValid),
            (
                !self.is_expiring(signer.end(request, now), now),
                Reason::Expiring,
            ),
        ];
        serves
            .into_iter()
            .find_map(|(serves, reason)| (!serves).then_some(reason))
    }

    /// Whether it can sign others now.
    pub(super) fn check_authority(
        &self,
        name: AuthorityName,
        key: &KeyPair,
        paths: Paths,
        now: i64,
    ) -> Result<(), Error> {
        let Paths {
            certificate,
            key: key_path,
        } = paths;
        let (from, to) = (self.description.not_before, self.description.not_after);
        if !self.description.is_authority {
            return Err(Error::NotAnAuthority {
                name,
                path: certificate,
                reason: "it lacks `CA:TRUE`",
            });
        }
        if !self.belongs_to(key) {
            return Err(Error::AuthorityOtherKey {
                certificate,
                key: key_path,
            });
        }
        if now < from || now >= to {
            return Err(Error::AuthorityNotValid {
                name,
                path: certificate,
                from: sign::day(from),
                to: sign::day(to),
            });
        }
        Ok(())
    }

    /// Whether little is left of it, and a new one would last longer: one that ends with its
    /// authority would be renewed in vain, on every run.
    pub(super) fn is_expiring(&self, new_end: i64, now: i64) -> bool {
        let Description {
            not_before,
            not_after,
            ..
        } = self.description;
        let life = not_after - not_before;
        not_after - now < RENEWAL_SECONDS_MAX.min(life / 3) && new_end > not_after
    }

    fn belongs_to(&self, key: &KeyPair) -> bool {
        self.description.public_key == key.subject_public_key_info()
    }
}

/// Whether a key is of the kind that is asked for.
pub(super) fn is_of_type(key: &KeyPair, asked: KeyType) -> bool {
    key_of(&key.subject_public_key_info()).as_deref() == Some(key_word(asked))
}
