//! What is wrong with what is kept or would be used, and in which file.

use std::collections::BTreeSet;

use super::super::Error;
use super::record::trust_path;
use super::{Authority as _, DAY_SECONDS, Local};
use crate::certificate::check::{self, About, Finding, Flaw, Severity, Terms};
use crate::certificate::describe::certificates;
use crate::certificate::{Credentials, Request, describe};

/// A certificate from elsewhere is told of when fewer days are left of it.
const NEAR_END_DAYS: u32 = 30;
/// An authority is told of when fewer days are left of it, or fewer than a certificate of it lasts.
const AUTHORITY_NEAR_END_DAYS: u32 = 365;

impl Local {
    /// What is wrong with what is kept, with what of it could not be read. What is missing and can be
    /// made is not wrong where the rest comes from elsewhere.
    pub fn examine(
        &self,
        requests: &[Request],
        credentials: &Credentials,
        now: i64,
        days: u32,
    ) -> Vec<Finding> {
        let go = self.go;
        let mut findings = check::check(requests, credentials, Terms { now, days, go });
        self.authorities_near_end(&mut findings, requests, credentials, now, days);
        self.name_files(&mut findings);
        if let Some(directory) = &self.directory {
            if matches!(self.preview(requests, now), Ok(_) | Err(Error::Flawed(_))) {
                findings.retain(|finding| finding.flaw != Flaw::Missing);
            }
            findings.extend_from_slice(directory.remarks());
        }
        findings
    }

    /// Tells in time of authorities that end: it takes a year until all that they signed is signed by
    /// others, where nobody does more than what is due.
    fn authorities_near_end(
        &self,
        findings: &mut Vec<Finding>,
        requests: &[Request],
        credentials: &Credentials,
        now: i64,
        days: u32,
    ) {
        findings.retain(|found| {
            !matches!(
                (&found.about, &found.flaw),
                (About::Authority(_), Flaw::NearEnd { .. })
            )
        });
        let life = days.max(self.pki.days).max(AUTHORITY_NEAR_END_DAYS);
        let signers: BTreeSet<_> = requests.iter().map(|request| request.signer).collect();
        for name in signers {
            let signs = credentials.authorities.get(&name);
            let end = signs.and_then(|pem| describe(pem).ok());
            let Some(end) = end.map(|found| found.not_after).filter(|end| *end > now) else {
                continue;
            };
            let left = end - now;
            if left >= i64::from(life) * DAY_SECONDS {
                continue;
            }
            let is_own =
                self.directory.is_none() && matches!(self.is_remote(name, requests), Ok(false));
            let way = if is_own {
                "`kinstall certs rotate-ca INVENTORY` makes a new one, which every peer comes to trust first"
            } else {
                "exchange it where it is made, and `kinstall certs move INVENTORY` has every peer trust both first"
            };
            let days = left.div_euclid(DAY_SECONDS);
            findings.push(Finding {
                about: About::Authority(name),
                flaw: Flaw::AuthorityNearEnd { days, end, way },
            });
        }
    }

    /// Says in which file a certificate lies that serves nobody.
    fn name_files(&self, findings: &mut [Finding]) {
        for finding in findings {
            if let Finding {
                about: About::Authority(name),
                flaw: Flaw::Beside { subject, file, .. },
            } = finding
            {
                let trust = trust_path(*name);
                let besides = self.text(&trust).ok().flatten().unwrap_or_default();
                let mut all = certificates(&besides).into_iter();
                let is_it =
                    |pem: &str| describe(pem).is_ok_and(|it| it.subject.to_string() == *subject);
                let path = match &self.directory {
                    _ if all.any(is_it) => self.store.path(&trust),
                    Some(directory) => self.directory_path.join(directory.file_of(is_it)),
                    None => self.store.path(&format!("ca/{name}.pem")),
                };
                *file = path.display().to_string();
            }
        }
    }

    /// Refuses what would not do, before any of it is kept or sent anywhere.
    pub(super) fn check(
        &self,
        requests: &[Request],
        credentials: &Credentials,
        now: i64,
    ) -> Result<Vec<Finding>, Error> {
        // What kinstall makes is made again before it ends, and ends with its authority if need be.
        let days = self.directory.as_ref().map_or(0, |_| NEAR_END_DAYS);
        let go = self.go;
        let mut findings = check::check(requests, credentials, Terms { now, days, go });
        self.name_files(&mut findings);
        if let Some(directory) = &self.directory {
            findings.extend_from_slice(directory.remarks());
        }
        let is_error = |finding: &Finding| finding.flaw.severity() == Severity::Error;
        let (errors, mut warnings): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_error);
        if !errors.is_empty() {
            // A file that could not be read may be why.
            let unread = warnings
                .into_iter()
                .filter(|it| matches!(it.about, About::File(_)));
            return Err(Error::Flawed(errors.into_iter().chain(unread).collect()));
        }
        if let Some(directory) = &self.directory {
            warnings.extend(directory.open_keys(&credentials.leaves));
        }
        Ok(warnings)
    }
}
