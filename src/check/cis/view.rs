//! What the checks see of a node: modes and owners, and the flags its services are run with. As it
//! is rendered, or as it is installed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::exec_start::{self, started};
use crate::component::COMPONENTS;
use crate::flags::{self, Argument, FlagTable};
use crate::inventory::{Inventory, Node};
use crate::manifest::{Content, Desired, Kind, Manifest};
use crate::remote_path::RemotePath;
use crate::snapshot::{FoundKind, Snapshot};
use crate::yaml;

/// What a node is or would be.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The node.
    pub node: &'a Node,
    /// Files and directories, by path. Links have no mode that means anything.
    pub files: BTreeMap<RemotePath, Attributes>,
    /// Paths that should be there and are not.
    pub missing: Vec<RemotePath>,
    /// The services of the node, by component.
    pub programs: BTreeMap<&'static str, Program>,
    /// The configurations of services, by component.
    pub configurations: BTreeMap<&'static str, Fields>,
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The permission bits.
    pub mode: u16,
    /// The user it belongs to.
    pub user: String,
    /// The group it belongs to.
    pub group: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// The flags that a service is run with; why they are not known, where they are not.
pub type Program = Result<BTreeMap<String, String>, String>;

/// The fields of a configuration; why they are not known, where they are not.
pub type Fields = Result<Value, String>;

impl<'a> View<'a> {
    /// As push would install it.
    pub fn rendered(
        inventory: &'a Inventory,
        node: &'a Node,
        manifest: &Manifest,
        desired: &Desired,
    ) -> Self {
        let entries = manifest.entries.iter();
        let entries = entries.filter(|(_, entry)| !matches!(entry.kind, Kind::Link { .. }));
        let files = entries.map(|(path, entry)| {
            let attributes = Attributes {
                mode: entry.mode.0,
                user: entry.user.to_string(),
                group: entry.group.to_string(),
                is_directory: entry.kind == Kind::Directory,
            };
            (path.clone(), attributes)
        });
        let mut view = Self {
            inventory,
            node,
            files: files.collect(),
            missing: Vec::new(),
            programs: BTreeMap::new(),
            configurations: BTreeMap::new(),
        };
        for component in COMPONENTS {
            let Some(unit) = component.unit_name() else {
                continue;
            };
            if !manifest.units.contains_key(&unit) {
                continue;
            }
            let texts = texts(manifest, desired, &unit.path(), &unit.drop_ins());
            let program = of_unit(component.name, &texts);
            view.programs.insert(component.name, program);
            if let Some((_, path)) = component.configuration() {
                let text = text_of(manifest, desired, &path);
                let read = text.map_or_else(|| Err("it is not there".to_owned()), |it| fields(&it));
                view.configurations.insert(component.name, read);
            }
            if component.name == "etcd" {
                view.files.insert(data(), state_directory(&texts));
            }
        }
        view
    }

    /// As it lies on the node. `programs` are the command lines that were found there, and
    /// `configurations` what those read.
    pub fn installed(
        inventory: &'a Inventory,
        node: &'a Node,
        manifest: &Manifest,
        snapshot: &Snapshot,
        programs: BTreeMap<&'static str, Program>,
        configurations: BTreeMap<&'static str, Fields>,
    ) -> Self {
        let mut view = Self {
            inventory,
            node,
            files: BTreeMap::new(),
            missing: Vec::new(),
            programs,
            configurations,
        };
        let entries = manifest.entries.iter();
        let paths = entries.filter(|(_, entry)| !matches!(entry.kind, Kind::Link { .. }));
        let paths = paths.map(|(path, _)| path.clone());
        let state = view.programs.contains_key("etcd").then(data);
        for path in paths.chain(state) {
            match snapshot.entries.get(&path) {
                Some(found) => {
                    let attributes = Attributes {
                        mode: found.mode,
                        user: found.user.clone(),
                        group: found.group.clone(),
                        is_directory: found.kind == FoundKind::Directory,
                    };
                    view.files.insert(path, attributes);
                }
                None => view.missing.push(path),
            }
        }
        view
    }
}

/// Where etcd keeps its data.
pub(super) fn data() -> RemotePath {
    RemotePath::fixed("/var/lib/etcd")
}

/// The texts of a unit and its drop-ins.
fn texts(
    manifest: &Manifest,
    desired: &Desired,
    unit: &RemotePath,
    drop_ins: &RemotePath,
) -> Vec<String> {
    let dropped = |path: &&RemotePath| path.parent().as_ref() == Some(drop_ins);
    let paths = std::iter::once(unit).chain(manifest.entries.keys().filter(dropped));
    let text = |path| text_of(manifest, desired, path);
    paths.filter_map(text).collect()
}

/// The text of a file that is rendered.
fn text_of(manifest: &Manifest, desired: &Desired, path: &RemotePath) -> Option<String> {
    let Kind::File { digest, .. } = manifest.entries.get(path)?.kind else {
        return None;
    };
    match desired.contents.get(&digest)? {
        Content::Inline(content) => content.expose_text().map(str::to_owned),
        Content::Fetched { .. } => None,
    }
}

/// The fields of a configuration as the programs of Kubernetes read it.
pub fn fields(text: &str) -> Fields {
    let root = yaml::parse(text).map_err(|problem| problem.to_string())?;
    let read = yaml::read(root.as_deref()).map_err(|problem| problem.to_string())?;
    Ok(read.value)
}

/// What systemd makes of `StateDirectory=`: the unit's user's, with the mode it says, by default
/// 0755 (`systemd.exec(5)`).
fn state_directory(texts: &[String]) -> Attributes {
    let last = |key: &str| {
        let values = texts.iter().flat_map(|text| exec_start::values(text, key));
        values.last()
    };
    let mode = last("StateDirectoryMode").and_then(|mode| u16::from_str_radix(&mode, 8).ok());
    let user = last("User").unwrap_or_else(|| "root".to_owned());
    Attributes {
        mode: mode.unwrap_or(0o755),
        group: last("Group").unwrap_or_else(|| user.clone()),
        user,
        is_directory: true,
    }
}

fn of_unit(component: &str, texts: &[String]) -> Program {
    let started = started(texts.iter().map(String::as_str))?;
    let arguments: Vec<String> = started.arguments.into_iter().map(|it| it.text).collect();
    Ok(commands(component, &arguments))
}

/// The flags of a command line, by name; of one that is said twice, what it says last.
pub fn commands(component: &str, arguments: &[String]) -> BTreeMap<String, String> {
    let Some(table) = FlagTable::of(component) else {
        return BTreeMap::new();
    };
    let words = flags::parse(component, table, arguments).into_iter();
    let flags = words.filter_map(|word| match word {
        Argument::Flag { name, value } => Some((name, value.unwrap_or_else(|| "true".to_owned()))),
        _ => None,
    });
    flags.collect()
}
