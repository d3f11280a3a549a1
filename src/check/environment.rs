//! etcd's environment: `ETCD_NAME` is the flag `--name`, and said twice it keeps etcd from
//! starting. The other programs take no flags from theirs.

use super::Finding;
use super::command::Case;
use crate::flags::{FlagTable, Presence, Severity};
use crate::inventory::Setting;
use crate::manifest::{By, Given};

/// Variables that are no flags. Source: etcd's `checkSupportArch`, and its verification of the
/// environment, which leaves the last two out.
const NO_FLAGS: [&str; 3] = ["ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY", "ETCD_VERSION"];

/// What is wrong with the variables that the user gave.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    if case.component.name != "etcd" {
        return Vec::new();
    }
    let variables = case.command.environment.iter();
    let users = variables.filter(|given| given.by == By::User);
    users
        .filter(|given| !NO_FLAGS.contains(&given.name.as_str()))
        .filter_map(|given| variable(case, given))
        .collect()
}

fn variable(case: &Case<'_>, given: &Given) -> Option<Finding> {
    let (name, value) = (&given.name, &given.value);
    let flag = name.strip_prefix("ETCD_")?.to_lowercase().replace('_', "-");
    let table = FlagTable::of("etcd")?;
    let place = case.settings.places.get(&Setting::Variable(name.clone()));
    let key = place.map(|place| place.key.clone());
    if table.presence(&flag, case.version) == Presence::Absent {
        let message = format!("etcd {} knows no variable `{name}`", case.version);
        let help = format!("it would be the flag `--{flag}`, which this release does not have");
        return Some(case.finding(Severity::Warning, key, message, Some(help)));
    }
    if case.command.flag(&flag).is_some() {
        let message = format!("etcd does not start with both `{name}` and `--{flag}`");
        let help = format!("set the flag instead: `flags = {{ {flag} = ... }}`");
        return Some(case.finding(Severity::Error, key, message, Some(help)));
    }
    let kind = table.flag(&flag, case.version)?.kind;
    (!kind.accepts(value)).then(|| {
        let message = format!("`{name}` takes {}, not `{value}`", kind.expected());
        let value = place.map(|place| place.value.clone());
        case.finding(Severity::Error, value, message, None)
    })
}
