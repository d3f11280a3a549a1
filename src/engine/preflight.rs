//! The first look: what nodes lack for a run is told before anything is staged or changed.

use std::collections::BTreeMap;

use super::comparison::Comparison;
use super::session::Session;
use crate::failure::{Exit, Failure};
use crate::preflight::{Finding, Look, Severity};
use crate::survey;

/// Tells what is doubtful, and gives it back; fails with everything that a run would fail with.
pub(crate) async fn check(
    session: &Session<'_>,
    comparison: &Comparison,
) -> Result<Vec<Finding>, Failure> {
    let views = comparison.views();
    let mut look = Look {
        inventory: session.inventory,
        desired: &comparison.desired,
        views: &views,
        holders: BTreeMap::new(),
    };
    let contested = look.contested();
    let asking = contested.iter().map(|(name, inodes)| async move {
        let holders = survey::holders(&comparison.fleet.transports[name], inodes).await?;
        Ok::<_, survey::Error>((name.clone(), holders))
    });
    let holders = futures_util::future::try_join_all(asking).await;
    look.holders = holders.map_err(|error| vec![error])?.into_iter().collect();
    let findings = look.findings();
    for finding in &findings {
        if finding.severity == Severity::Warning {
            let help = &finding.help;
            session.warn(format!("{finding}; {help}"));
        }
    }
    let (warnings, errors): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Warning);
    let Some(worst) = errors.first() else {
        return Ok(warnings);
    };
    let exit = match worst.severity {
        Severity::Inventory => Exit::Usage,
        Severity::Error | Severity::Warning => Exit::Failed,
    };
    Err(Failure::all(exit, errors))
}
