//! What a push does only when it was told to, or may: files that somebody else made or changed.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::Comparison;
use crate::diff::{Change, ChangeKind, Disposition};
use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::plan::View;

/// What becomes of files that somebody else made or changed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Consent {
    /// Refuse, rather than overwrite a managed file that was changed by hand.
    pub(crate) keep_drift: bool,
    /// Replace files that are in the way and that kinstall did not put there.
    pub(crate) replace_unmanaged: bool,
    /// Start etcd on data that kinstall has no record of: take over the cluster they are of.
    pub(crate) adopt_data: bool,
}

impl Consent {
    /// Has everything that may be replaced taken out of the way.
    pub(crate) fn prepare(self, comparison: &mut Comparison) {
        if !self.replace_unmanaged {
            return;
        }
        let Comparison { fleet, desired, .. } = comparison;
        for (node, difference) in &mut comparison.differences {
            difference.take_drop_ins_away(&desired.manifests[node], &fleet.snapshots[node]);
        }
    }

    /// Refuses, with the names of all files that would be overwritten without consent.
    pub(crate) fn check(self, views: &BTreeMap<NodeName, View<'_>>) -> Result<(), Failure> {
        immovable(views)?;
        if !self.replace_unmanaged {
            let files = paths(views, |change| change.unmanaged);
            let lines = strangers(views)
                .into_iter()
                .chain(drop_ins(views))
                .chain(files);
            refuse(
                lines,
                "in the way, and not put there by kinstall",
                "look at it (`kinstall plan` shows texts), then move it away, or say `--replace-unmanaged`; a drop-in to keep goes into `templates/UNIT.d/`; nothing was changed on any node",
            )?;
        }
        if self.keep_drift {
            // One that is missing is restored: nothing is lost by that.
            let is_changed = |change: &Change| change.drift && change.kind != ChangeKind::Create;
            let changed = paths(views, |change| is_changed(change) && !change.unmanaged);
            refuse(
                drop_ins(views).into_iter().chain(changed),
                "changed by hand",
                "add what you want to keep to the inventory; without `--keep-drift` the inventory wins; nothing was changed on any node",
            )?;
        }
        Ok(())
    }
}

/// What `--replace-unmanaged` would not take out of the way.
fn immovable(views: &BTreeMap<NodeName, View<'_>>) -> Result<(), Failure> {
    let strangers = views.iter().flat_map(|(node, view)| {
        let strangers = view.difference.strangers.iter();
        strangers.map(move |stranger| (node, stranger))
    });
    let (mut lines, mut ways) = (Vec::new(), BTreeSet::new());
    for (node, stranger) in strangers {
        if let Disposition::Stays(command) = &stranger.disposition {
            lines.push(format!("{node}: {} {}", stranger.unit, stranger.what));
            ways.insert(format!("`{command}`"));
        }
    }
    let ways: Vec<String> = ways.into_iter().collect();
    let help = format!(
        "`--replace-unmanaged` does not help here: {} there; nothing was changed on any node",
        ways.join(", ")
    );
    refuse(lines, "in the way, and not put there by kinstall", &help)
}

/// Units that are replaced.
fn strangers(views: &BTreeMap<NodeName, View<'_>>) -> Vec<String> {
    let lines = views.iter().flat_map(|(node, view)| {
        let strangers = view.difference.strangers.iter();
        let replaced = strangers.filter(|stranger| stranger.disposition == Disposition::Replaced);
        replaced.map(move |stranger| format!("{node}: {} {}", stranger.unit, stranger.what))
    });
    lines.collect()
}

fn drop_ins(views: &BTreeMap<NodeName, View<'_>>) -> BTreeSet<String> {
    let lines = views.iter().flat_map(|(node, view)| {
        let drop_ins = view.difference.drop_ins.iter();
        drop_ins.map(move |drop_in| format!("{node}: {}", drop_in.path))
    });
    lines.collect()
}

fn paths(views: &BTreeMap<NodeName, View<'_>>, is_meant: impl Fn(&Change) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    for (node, view) in views {
        let changes = view.difference.entries.iter();
        let meant = changes.filter(|(_, change)| is_meant(change));
        paths.extend(meant.map(|(path, _)| format!("{node}: {path}")));
    }
    paths
}

fn refuse(lines: impl IntoIterator<Item = String>, what: &str, help: &str) -> Result<(), Failure> {
    let lines = lines.into_iter().map(|line| format!("\n  {line}"));
    let lines: String = lines.collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(Failure::words(Exit::Found, format!("{what}:{lines}"), help))
}
