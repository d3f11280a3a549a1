//! Clocks: etcd and certificates count on them.

use std::collections::BTreeMap;

use super::{Finding, Node, Severity};
use crate::certificate;
use crate::diff::ChangeKind;
use crate::inventory::NodeName;
use crate::manifest::{Content, Desired, Kind};
use crate::plan::View;

/// How far clocks may be apart before it is told, in milliseconds. etcd warns above one second; how
/// long a node takes to answer is known, and counts for it.
const APART_MILLISECONDS_MAX: i64 = 2000;

const HELP: &str = "set them by NTP: `timedatectl set-ntp true` on each node, and here";

/// Clocks that differ from the one here, and from each other.
pub(super) fn differences(views: &BTreeMap<NodeName, View<'_>>) -> Vec<Finding> {
    let clocks = views
        .iter()
        .filter_map(|(name, view)| Some((name, view.snapshot.machine.clock?.ahead())));
    let clocks: Vec<_> = clocks.collect();
    let mut findings: Vec<Finding> = clocks
        .iter()
        .filter_map(|(name, (least, most))| {
            let (apart, word) = if *least > 0 {
                (*least, "ahead of")
            } else {
                (most.saturating_neg(), "behind")
            };
            let text = format!("its clock is {} {word} the one here", seconds(apart));
            (apart > APART_MILLISECONDS_MAX).then(|| warning(name, text))
        })
        .collect();
    let first = clocks.iter().max_by_key(|(_, (least, _))| *least);
    let last = clocks.iter().min_by_key(|(_, (_, most))| *most);
    if let (Some((first, (least, _))), Some((last, (_, most)))) = (first, last) {
        let apart = least.saturating_sub(*most);
        if apart > APART_MILLISECONDS_MAX && findings.len() != 1 {
            let text = format!("its clock is {} ahead of that of {last}", seconds(apart));
            findings.push(warning(first, text));
        }
    }
    findings
}

fn warning(node: &NodeName, text: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        name: "clock",
        node: node.clone(),
        text,
        help: HELP.to_owned(),
    }
}

/// At least so long.
fn seconds(milliseconds: i64) -> String {
    format!(
        "at least {}.{} s",
        milliseconds / 1000,
        milliseconds % 1000 / 100
    )
}

/// Certificates that the node would not take yet, or not any more, by its own clock.
pub(super) fn certificates(node: &Node<'_>, desired: &Desired) -> Option<Finding> {
    let view = node.view;
    let clock = view.snapshot.machine.clock?;
    let (least, most) = clock.ahead();
    if least <= APART_MILLISECONDS_MAX && most >= -APART_MILLISECONDS_MAX {
        return None;
    }
    let now = clock.said / 1000;
    let changed = view.difference.entries.iter();
    let changed = changed.filter(|(_, change)| change.kind != ChangeKind::Remove);
    let mut odd = changed.filter_map(|(path, _)| {
        let Kind::File { digest, .. } = view.manifest.entries.get(path)?.kind else {
            return None;
        };
        let Content::Inline(bytes) = desired.contents.get(&digest)? else {
            return None;
        };
        let it = certificate::describe(bytes.expose_text()?).ok()?;
        let word = match now {
            now if now < it.not_before => "not valid yet",
            now if now > it.not_after => "not valid any more",
            _ => return None,
        };
        Some((path, word))
    });
    let (path, word) = odd.next()?;
    let text = format!(
        "by its clock, {} off the one here, `{path}` is {word}, and {} more",
        seconds(least.max(most.saturating_neg())),
        odd.count()
    );
    let help = "set the node's clock first: `timedatectl set-ntp true`, or `date -s` where there is \
                no NTP";
    Some(node.error("clock-and-certificates", text, help.to_owned()))
}
