//! The texts that run a service on a node: its unit, and what is dropped into it. Pure, and
//! without credentials or pins, so that they can be looked at before anything is contacted.

use std::collections::BTreeMap;

use super::command::RENDERER;
use super::compose::{context, networks};
use super::{Command, Situation};
use crate::component::{Component, File, Service};
use crate::template::{Context, Error, OwnText, Renderer};
use crate::version::Version;

/// The unit of a service, and its drop-ins by their file names, in the order systemd reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitTexts {
    /// The unit.
    pub unit: String,
    /// What is dropped into it.
    pub drop_ins: BTreeMap<String, String>,
}

impl UnitTexts {
    /// Renders them. `context` has the words of the service.
    pub fn of(
        service: &Service,
        own: &crate::template::Own,
        context: &Context,
        renderer: &Renderer,
    ) -> Result<Self, Error> {
        let drop_in =
            |(name, text): (&str, &OwnText)| Ok((name.to_owned(), renderer.own(text, context)?));
        let unit = unit_of(service);
        Ok(Self {
            unit: renderer.builtin(service.template, context)?,
            drop_ins: own.drop_ins(unit).map(drop_in).collect::<Result<_, _>>()?,
        })
    }

    /// All of them, in the order systemd reads them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.unit.as_str()).chain(self.drop_ins.values().map(String::as_str))
    }
}

/// The name of a service's unit, by that of its template.
fn unit_of(service: &Service) -> &'static str {
    let name = service.template.name;
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    name.trim_end_matches(".hbs")
}

/// What the templates of a component see on a node, as far as it is known beforehand; none where
/// its command line cannot stand in a unit, which is told where the command line is checked.
pub fn foreseen(
    component: &Component,
    version: Version,
    situation: &Situation<'_>,
) -> Result<Option<Context>, Error> {
    let mut context = context(situation.inventory, situation.node);
    context.word = component.words_in(version);
    let Some(service) = &component.service else {
        return Ok(Some(context));
    };
    let command = Command::of(component, service, version, situation, &context, &RENDERER)?;
    let settings = situation
        .inventory
        .component(component.name, situation.node);
    let networks = networks(situation.inventory, service, settings.networks.as_deref());
    let words = command.words(component.name, networks);
    Ok(words.ok().map(|words| Context {
        service: words,
        ..context
    }))
}

/// Every text of the user's own that a component has on a node, rendered; what goes wrong with
/// each.
pub fn try_own(
    component: &Component,
    version: Version,
    situation: &Situation<'_>,
    renderer: &Renderer,
) -> Vec<Error> {
    let context = match foreseen(component, version, situation) {
        Ok(Some(context)) => context,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let mut results = Vec::new();
    for file in component.files {
        if let File::Template { text, .. } = file {
            results.push(renderer.builtin(*text, &context));
        }
    }
    if let Some(service) = &component.service {
        results.push(renderer.builtin(service.template, &context));
        let drop_ins = situation.inventory.own.drop_ins(unit_of(service));
        results.extend(drop_ins.map(|(_, text)| renderer.own(text, &context)));
    }
    results.into_iter().filter_map(Result::err).collect()
}
