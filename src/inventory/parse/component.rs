//! `[component.NAME]`, for all nodes or for one.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{address, scalar};
use crate::component::{COMPONENTS, Component, Track};
use crate::inventory::draft::ComponentDraft;
use crate::inventory::problem::Problem;
use crate::inventory::settings::ComponentSettings;
use crate::inventory::span::{Setting, SettingSpan, Spans};
use crate::inventory::table::{Found, Table, Value, shown};

/// Reads what is said of each component. The end of a title names the node, if it is of one.
pub(super) fn all(
    mut table: Table<'_>,
    of: &str,
    found: &mut Found,
) -> BTreeMap<&'static str, ComponentDraft> {
    let mut components = BTreeMap::new();
    // What has no program has nothing that could be said of it.
    for component in COMPONENTS.iter().filter(|it| !it.programs.is_empty()) {
        let name = component.name;
        if let Some(value) = table.take(name) {
            let title = format!("`[component.{name}]`{of}");
            if let Some(table) = value.table(title, found) {
                components.insert(name, one(component, table, found));
            }
        }
    }
    table.finish(found);
    components
}

fn one(component: &Component, mut table: Table<'_>, found: &mut Found) -> ComponentDraft {
    let read_version = match component.track {
        Track::Etcd => scalar::etcd,
        Track::Kubernetes(_) => scalar::kubernetes,
        Track::Own(_) => scalar::release,
    };
    let version = table.read("version", found, read_version);
    let path = table.read("path", found, scalar::build_path);
    let mut settings = ComponentSettings {
        version: version.this().map(|version| version.value),
        path: path.this().map(|path| path.value.clone()),
        ..ComponentSettings::default()
    };
    if let Some(version) = version.this() {
        let (key, value) = (version.span.clone(), version.span.clone());
        settings
            .places
            .insert(Setting::Version, SettingSpan { key, value });
    }
    let service = ["flags", "flags-removed", "environment", "networks"].map(|key| table.take(key));
    if component.service.is_none() {
        service
            .iter()
            .flatten()
            .for_each(|value| no_service(component.name, value, found));
    } else {
        let [flags, flags_removed, environment, networks] = service;
        if let Some(value) = flags {
            settings.flags = read_flags(&value, &mut settings.places, found);
        }
        if let Some(value) = flags_removed {
            settings.flags_removed =
                read_flags_removed(&value, &settings.flags, &mut settings.places, found);
        }
        if let Some(value) = networks {
            settings.networks = read_networks(&value, found);
        }
        if let Some(value) = environment {
            settings.environment = read_environment(&value, &mut settings.places, found);
        }
    }
    // What has no such file does not know the key.
    if component.configuration().is_some()
        && let Some(value) = table.take("config")
    {
        settings.config = read_config(&value, &mut settings.places, found);
    }
    table.finish(found);
    ComponentDraft {
        version,
        path,
        settings,
    }
}

/// A tool is run by people: there is no unit to put a flag into.
fn no_service(name: &str, value: &Value<'_>, found: &mut Found) {
    let message = format!("{name} is not a service, and has no `{}`", value.key);
    let help = "`version` and `path` can be said of it";
    found.push(Problem::new(value.key_span.clone(), "of a service only", message).help(help));
}

fn read_flags(
    value: &Value<'_>,
    places: &mut Spans,
    found: &mut Found,
) -> BTreeMap<String, String> {
    let mut flags = BTreeMap::new();
    let Some(mut table) = value.table("`flags`", found) else {
        return flags;
    };
    for (name, value) in table.take_all() {
        let flag = scalar::flag(name, value.key_span.clone(), found);
        let text = value.flag_text(found);
        let text = text.filter(|text| scalar::one_line(text, &value, found));
        if let Some(flag) = &flag {
            places.insert(Setting::Flag(flag.clone()), place(&value));
        }
        flags.extend(flag.zip(text));
    }
    flags
}

fn read_flags_removed(
    value: &Value<'_>,
    flags: &BTreeMap<String, String>,
    places: &mut Spans,
    found: &mut Found,
) -> BTreeSet<String> {
    let mut removed = BTreeSet::new();
    for name in value.texts(found).unwrap_or_default() {
        let Some(flag) = scalar::flag(name.value, name.span.clone(), found) else {
            continue;
        };
        if flags.contains_key(&flag) {
            let message = format!("the flag `{}` is both set and removed", shown(&flag));
            let help = "leave it in `flags` or in `flags-removed`";
            found.push(Problem::new(name.span.clone(), "set in `flags`", message).help(help));
        }
        let (key, value) = (name.span.clone(), name.span);
        places.insert(Setting::Removed(flag.clone()), SettingSpan { key, value });
        removed.insert(flag);
    }
    removed
}

fn read_environment(
    value: &Value<'_>,
    places: &mut Spans,
    found: &mut Found,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let Some(mut table) = value.table("`environment`", found) else {
        return environment;
    };
    for (name, value) in table.take_all() {
        let valid = scalar::variable(name, &value, found);
        let text = value.text(found);
        let text = text.filter(|text| scalar::one_line(text, &value, found));
        if let (true, Some(text)) = (valid, text) {
            places.insert(Setting::Variable(name.to_owned()), place(&value));
            environment.insert(name.to_owned(), text.to_owned());
        }
    }
    environment
}

/// Fields of a configuration. What each of them may be is judged where the version is known.
fn read_config(
    value: &Value<'_>,
    places: &mut Spans,
    found: &mut Found,
) -> serde_json::Map<String, serde_json::Value> {
    let mut fields = serde_json::Map::new();
    let Some(mut table) = value.table("`config`", found) else {
        return fields;
    };
    for (name, value) in table.take_all() {
        places.insert(Setting::Field(name.to_owned()), place(&value));
        if let Some(json) = value.json(found) {
            fields.insert(name.to_owned(), json);
        }
    }
    fields
}

/// Networks that a service may talk to; an address is a network of one.
fn read_networks(value: &Value<'_>, found: &mut Found) -> Option<Vec<IpNet>> {
    let elements = value.elements("an array of strings", found)?;
    let networks = elements
        .iter()
        .map(|element| Some(address::network(element, found)?.value));
    networks.collect()
}

fn place(value: &Value<'_>) -> SettingSpan {
    SettingSpan {
        key: value.key_span.clone(),
        value: value.span.clone(),
    }
}
