//! The user's own templates and drop-ins: whether they render on every node that has them, and
//! what becomes of the command line where they say another.

use super::command::Case;
use super::exec_start::{Started, started};
use super::{Finding, command};
use crate::component::COMPONENTS;
use crate::component::path_of;
use crate::flags::{self, Problem, Severity};
use crate::inventory::Inventory;
use crate::manifest::texts;
use crate::manifest::{Situation, UnitTexts};
use crate::template::{BadText, Error, Renderer};

/// Every text of the user's own that does not render, once each.
pub fn bad_texts(inventory: &Inventory) -> Vec<BadText> {
    if inventory.own.is_empty() {
        return Vec::new();
    }
    let renderer = match Renderer::with(&inventory.own) {
        Ok(renderer) => renderer,
        Err(error) => return vec![bad(error)],
    };
    let mut all: Vec<BadText> = Vec::new();
    for node in inventory.nodes.values() {
        for component in COMPONENTS {
            if !inventory.gets(component, node) {
                continue;
            }
            let version = inventory.version(component.name, node);
            let situation = command::situation(inventory, node);
            let errors = texts::try_own(component, version, &situation, &renderer);
            for found in errors.into_iter().map(bad) {
                let known = |other: &BadText| other.in_words() == found.in_words();
                if !all.iter().any(known) {
                    all.push(found);
                }
            }
        }
    }
    all
}

fn bad(error: Error) -> BadText {
    match error {
        Error::Overrides(bad) => *bad,
        Error::Render { name, source } => BadText::new(&name, &source.to_string()),
    }
}

/// What is wrong with the command line that the user's own unit or drop-ins say in place of the
/// one that was checked.
pub(super) fn findings(case: &Case<'_>, inventory: &Inventory) -> Vec<Finding> {
    let Some((files, texts)) = own_unit(case, inventory) else {
        return Vec::new();
    };
    let arguments = match started(texts.all()) {
        Ok(Started { program, arguments }) if program == path_of(case.component.name) => arguments,
        Ok(Started { program, .. }) => {
            let message = format!("{files}: the unit starts `{program}`");
            let help = "its flags cannot be judged: kinstall knows those of its own programs";
            return vec![case.finding(Severity::Warning, None, message, Some(help.to_owned()))];
        }
        Err(why) => {
            let message = format!("{files}: {why}");
            let help = "a unit has one `ExecStart=`; a drop-in that says another one says \
                        `ExecStart=` first, which takes the unit's away";
            return vec![case.finding(Severity::Error, None, message, Some(help.to_owned()))];
        }
    };
    let plain: Vec<String> = arguments.iter().map(|it| it.text.clone()).collect();
    if plain == case.command.arguments() {
        return Vec::new();
    }
    let (name, version) = (case.component.name, case.version);
    let mut found = flags::check(name, version, &plain);
    found.extend(flags::check_together(name, version, &plain));
    let expanded = |flag: &str| {
        let prefix = format!("--{flag}=");
        let mut all = arguments.iter();
        all.any(|it| it.is_expanded && it.text.starts_with(&prefix))
    };
    let found = found.into_iter().filter(|finding| match &finding.problem {
        Problem::WrongValue { flag, .. } | Problem::NoChoice { flag, .. } => !expanded(flag),
        Problem::Deprecated { flag, .. } => case.command.flag(flag).is_none(),
        _ => true,
    });
    let found = found.map(|finding| {
        let message = format!("{files}: {}", finding.message);
        case.finding(finding.severity, None, message, finding.help)
    });
    let unjudged = arguments.iter().filter(|it| it.is_expanded).map(|it| {
        let message = format!("{files}: systemd fills in `{}`", it.text);
        let help = "its value cannot be judged before it runs";
        case.finding(Severity::Warning, None, message, Some(help.to_owned()))
    });
    found.chain(unjudged).collect()
}

/// The texts of a unit that the user has a hand in, and the files of theirs it is made of.
fn own_unit(case: &Case<'_>, inventory: &Inventory) -> Option<(String, UnitTexts)> {
    let service = case.component.service.as_ref()?;
    let own = &inventory.own;
    let unit = case.component.unit_name()?;
    let drop_ins = own.drop_ins(unit.as_str()).map(|(_, text)| text);
    let files: Vec<String> = own
        .text(service.template.name)
        .into_iter()
        .chain(drop_ins)
        .map(|text| format!("`{}`", text.file))
        .collect();
    if files.is_empty() {
        return None;
    }
    let situation: Situation<'_> = command::situation(inventory, case.node);
    // What does not render is told by itself.
    let renderer = Renderer::with(own).ok()?;
    let scene = texts::previewed(case.component, case.version, &situation).ok()??;
    let texts = UnitTexts::of(service, own, &scene, &renderer).ok()?;
    Some((files.join(", "), texts))
}
