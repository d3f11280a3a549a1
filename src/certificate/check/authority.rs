//! What is wrong with those who sign.

use super::super::AuthorityName;
use super::super::describe::{certificates, describe, public_key};
use super::super::path::Parsed;
use super::{About, Checker, Flaw, Request};

impl Checker<'_> {
    /// The authorities that sign something; one that stands in for others is looked at once.
    pub(super) fn authorities(&mut self, requests: &[Request]) {
        let mut seen = std::collections::BTreeSet::new();
        for request in requests {
            if !seen.insert(request.signer) {
                continue;
            }
            let about = About::Authority(request.signer);
            let Some(pem) = self.credentials.authorities.get(&request.signer) else {
                self.find(about, Flaw::Missing);
                continue;
            };
            self.authority(&about, pem);
        }
        self.front_proxy();
    }

    fn authority(&mut self, about: &About, bundle: &str) {
        let certificates = certificates(bundle);
        if certificates.is_empty() {
            let reason = "it holds no certificate".to_owned();
            self.find(about.clone(), Flaw::NotACertificate { reason });
        }
        // What serves nobody does no harm beside what serves.
        let serves = |pem: &str| self.refused_as_authority(pem).is_none();
        let any_serves = certificates.iter().any(|pem| serves(pem));
        for pem in certificates {
            let description = match describe(pem) {
                Ok(description) => description,
                Err(error) => {
                    let reason = error.reason;
                    self.find(about.clone(), Flaw::NotACertificate { reason });
                    continue;
                }
            };
            match self.refused_as_authority(pem) {
                Some(flaw) if any_serves && !matches!(flaw, Flaw::Refused(_)) => {
                    let subject = description.subject.to_string();
                    let flaw = Box::new(flaw);
                    let file = String::new();
                    self.find(
                        about.clone(),
                        Flaw::Beside {
                            subject,
                            flaw,
                            file,
                        },
                    );
                }
                Some(flaw) => self.find(about.clone(), flaw),
                None => {
                    self.near_end(about, &description);
                    self.weak_key(about, &description);
                }
            }
        }
    }

    /// Why a trusted certificate is good for nothing that it signed, if it is so.
    fn refused_as_authority(&self, pem: &str) -> Option<Flaw> {
        let found = describe(pem).ok()?;
        let (from, end) = (found.not_before, found.not_after);
        let refused = Parsed::read(pem, self.go).err();
        match refused {
            Some(refusal) => Some(Flaw::Refused(refusal)),
            None if !found.is_authority => Some(Flaw::NotAnAuthority),
            None if !found.may_certify => Some(Flaw::MayNotCertify),
            None if self.now >= end => Some(Flaw::Expired { end }),
            None if self.now < from => Some(Flaw::NotYetValid { from }),
            None => None,
        }
    }

    /// Were the aggregation layer's authority also the one for clients, every client certificate
    /// would be taken for a front proxy's, and fail its list of names.
    fn front_proxy(&mut self) {
        let of = |name| {
            self.credentials
                .authorities
                .get(&name)
                .map(|pem| certificates(pem))
        };
        let (Some(front), Some(clients)) = (
            of(AuthorityName::FrontProxy),
            of(AuthorityName::ApiserverClient),
        ) else {
            return;
        };
        let keys = |pems: &[&str]| -> Vec<_> {
            let keys = pems.iter().filter_map(|pem| public_key(pem).ok());
            keys.collect()
        };
        let clients = keys(&clients);
        if keys(&front).iter().any(|key| clients.contains(key)) {
            let about = About::Authority(AuthorityName::FrontProxy);
            self.find(about, Flaw::AlsoClients);
        }
    }
}
