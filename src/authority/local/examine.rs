//! What is wrong with what is kept or would be used, and in which file.

use super::super::Error;
use super::record::trust_path;
use super::{Authority as _, Local};
use crate::certificate::check::{self, About, Finding, Flaw, Severity, Terms};
use crate::certificate::describe::certificates;
use crate::certificate::{Credentials, Request, describe};

/// A certificate from elsewhere is told of when fewer days are left of it.
const NEAR_END_DAYS: u32 = 30;

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
        self.name_files(&mut findings);
        if let Some(directory) = &self.directory {
            if matches!(self.foresee(requests, now), Ok(_) | Err(Error::Flawed(_))) {
                findings.retain(|finding| finding.flaw != Flaw::Missing);
            }
            findings.extend_from_slice(directory.remarks());
        }
        findings
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
        // What kinstall makes is made anew before it ends, and ends with its authority if need be.
        let days = self.directory.as_ref().map_or(0, |_| NEAR_END_DAYS);
        let go = self.go;
        let mut findings = check::check(requests, credentials, Terms { now, days, go });
        self.name_files(&mut findings);
        if let Some(directory) = &self.directory {
            findings.extend_from_slice(directory.remarks());
        }
        let is_error = |finding: &Finding| finding.flaw.severity() == Severity::Error;
        let (errors, mut doubts): (Vec<_>, Vec<_>) = findings.into_iter().partition(is_error);
        if !errors.is_empty() {
            // A file that could not be read may be why.
            let unread = doubts
                .into_iter()
                .filter(|it| matches!(it.about, About::File(_)));
            return Err(Error::Flawed(errors.into_iter().chain(unread).collect()));
        }
        if let Some(directory) = &self.directory {
            doubts.extend(directory.open_keys(&credentials.leaves));
        }
        Ok(doubts)
    }
}
