//! What a push does only when it was told to, or may: files that somebody else made or changed.

use std::collections::BTreeMap;

use clap::Args;

use super::{Exit, Failure};
use crate::diff::{Change, ChangeKind};
use crate::inventory::NodeName;
use crate::plan::View;

/// What becomes of files that somebody else made or changed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Consent {
    /// Refuse, rather than overwrite a managed file that was changed by hand
    #[arg(long)]
    keep_drift: bool,
    /// Replace files that are in the way and that kinstall did not put there
    #[arg(long)]
    replace_unmanaged: bool,
}

impl Consent {
    /// Refuses, with the names of all files that would be overwritten without consent.
    pub(super) fn check(self, views: &BTreeMap<NodeName, View<'_>>) -> Result<(), Failure> {
        if !self.replace_unmanaged {
            refuse(
                views,
                |change| change.unmanaged,
                "in the way, and not put there by kinstall",
                "look at it, then move it away, or say `--replace-unmanaged`; nothing was changed on any node",
            )?;
        }
        if self.keep_drift {
            refuse(
                views,
                // One that is missing is restored: nothing is lost by that.
                |change| change.drift && change.kind != ChangeKind::Create,
                "changed by hand",
                "take what shall stay into the inventory; without `--keep-drift` the inventory wins; nothing was changed on any node",
            )?;
        }
        Ok(())
    }
}

fn refuse(
    views: &BTreeMap<NodeName, View<'_>>,
    is_meant: impl Fn(&Change) -> bool,
    what: &str,
    help: &str,
) -> Result<(), Failure> {
    let is_meant = &is_meant;
    let paths = views.iter().flat_map(|(node, view)| {
        let changes = view.difference.entries.iter();
        let meant = changes.filter(move |(_, change)| is_meant(change));
        meant.map(move |(path, _)| format!("\n  {node}: {path}"))
    });
    let paths: String = paths.collect();
    if paths.is_empty() {
        return Ok(());
    }
    Err(Failure::words(Exit::Found, format!("{what}:{paths}"), help))
}
