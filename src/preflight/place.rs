//! What is in the way that no run replaces: a link where a directory is wanted, and the like.

use super::{Finding, Node};
use crate::diff::ChangeKind;
use crate::manifest::{Kind, Stage};
use crate::snapshot::FoundKind;

/// Entries of one kind that are wanted where something of another kind is.
pub(super) fn findings(node: &Node<'_>) -> Vec<Finding> {
    let view = node.view;
    let changed = view.difference.entries.iter();
    let changed = changed.filter(|(_, change)| change.kind == ChangeKind::Replace);
    let found = changed.filter_map(|(path, _)| {
        let wanted = &view.manifest.entries.get(path)?.kind;
        let found = &view.snapshot.entries.get(path)?.kind;
        let (wanted, help) = match (wanted, found) {
            (Kind::Directory, FoundKind::Directory) => return None,
            (Kind::Directory, FoundKind::Link { target }) => {
                ("a directory", mounted(path.as_str(), target))
            }
            (Kind::Directory, _) => (
                "a directory",
                format!("move it away: `mv {path} {path}.old`"),
            ),
            (Kind::File { .. }, FoundKind::Directory) => {
                ("a file", format!("move it away: `mv {path} {path}.old`"))
            }
            (Kind::Link { .. }, FoundKind::Directory) => {
                ("a link", format!("move it away: `mv {path} {path}.old`"))
            }
            _ => return None,
        };
        let there = match found {
            FoundKind::Directory => "a directory".to_owned(),
            FoundKind::File { .. } => "a file".to_owned(),
            FoundKind::Link { target } => format!("a link to `{target}`"),
            FoundKind::Other => "a device or a socket".to_owned(),
        };
        let text = format!("`{path}` is {there}, and {wanted} is wanted there");
        Some(node.error("in-the-way", text, help))
    });
    found.chain(linked_state(node)).collect()
}

/// A state directory that is a link: systemd 252 does not start a unit on one ("Failed to set up
/// special execution directory in /var/lib: Not a directory").
fn linked_state<'a>(node: &'a Node<'_>) -> impl Iterator<Item = Finding> + 'a {
    let etcd = node.view.manifest.of_stage(Stage::Etcd);
    let starts = etcd.is_some_and(|(unit, _)| node.view.difference.units.contains_key(unit));
    let links = node.view.snapshot.machine.links.iter();
    links.filter(move |_| starts).map(|(path, target)| {
        let text = format!("`{path}` is a link to `{target}`, and systemd wants a directory there");
        node.error("in-the-way", text, mounted(path.as_str(), target))
    })
}

/// How what a link leads to is put in the link's place.
fn mounted(path: &str, target: &str) -> String {
    format!(
        "put a directory in its place; what is to stay elsewhere is mounted there: \
         `rm {path} && mkdir {path} && mount --bind {target} {path}`, and a line in `/etc/fstab`"
    )
}
