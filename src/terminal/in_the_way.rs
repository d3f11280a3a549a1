//! What is in the way of a node's units, told: units that somebody else made, drop-ins, and programs
//! that run in the place of theirs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{drop_in, listing::paint};
use crate::diff::Disposition;
use crate::inventory::NodeName;
use crate::plan::View;
use crate::remote_path::RemotePath;

/// One such thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InTheWay {
    /// The node.
    pub node: String,
    /// The unit.
    pub unit: String,
    /// What it is, in words.
    pub what: String,
    /// Of a drop-in: where it lies.
    pub path: Option<String>,
    /// Of a drop-in: its lines, without what may be secret.
    pub text: Vec<String>,
}

/// Everything in the way on a node. `present` holds the texts that lie on the nodes, as far as they
/// were read.
pub fn of(
    node: &NodeName,
    view: &View<'_>,
    present: &BTreeMap<(NodeName, RemotePath), String>,
) -> Vec<InTheWay> {
    let strangers = view.difference.strangers.iter().map(|stranger| InTheWay {
        node: node.to_string(),
        unit: stranger.unit.to_string(),
        what: match &stranger.disposition {
            Disposition::Shadowed => format!("{}: it will be shadowed", stranger.what),
            Disposition::Replaced => format!(
                "{}: push refuses to stop and replace it without `--replace-unmanaged`",
                stranger.what
            ),
            Disposition::Stays(command) => {
                format!("{}: push refuses, `{command}` first", stranger.what)
            }
        },
        path: None,
        text: Vec::new(),
    });
    let drop_ins = view.difference.drop_ins.iter().map(|found| {
        let path: Option<RemotePath> = found.path.parse().ok();
        let text = path.and_then(|path| present.get(&(node.clone(), path)));
        InTheWay {
            node: node.to_string(),
            unit: found.unit.to_string(),
            what: "drop-in by hand: push refuses to remove it without `--replace-unmanaged`"
                .to_owned(),
            path: Some(found.path.clone()),
            text: text.map_or_else(Vec::new, |text| drop_in::shown(text)),
        }
    });
    // Of what is started again, that is told as the reason.
    let staying = view.difference.intruders.iter();
    let staying = staying.filter(|(unit, _)| !view.difference.units.contains_key(*unit));
    let intruders = staying.map(|(unit, what)| InTheWay {
        node: node.to_string(),
        unit: unit.to_string(),
        what: what.clone(),
        path: None,
        text: Vec::new(),
    });
    strangers.chain(drop_ins).chain(intruders).collect()
}

impl InTheWay {
    /// As a person reads it.
    pub fn write(&self, text: &mut String, color: bool) {
        let Self {
            node, unit, what, ..
        } = self;
        let path = self.path.iter().map(|path| format!("{path}, "));
        let path: String = path.collect();
        let sign = paint("!", "33", color);
        // Writing to a String cannot fail.
        _ = writeln!(text, "{sign} {node}: {unit}: {path}{what}");
        for line in &self.text {
            _ = writeln!(text, "      {}", paint(&format!("+{line}"), "33", color));
        }
    }
}
