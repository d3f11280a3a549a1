//! The texts that run a service on a node: its unit, and what is dropped into it. Pure, and
//! without credentials or pins, so that they can be looked at before anything is contacted.

use std::collections::BTreeMap;

use super::command::RENDERER;
use super::compose::{context, networks};
use super::{Command, Situation};
use crate::component::{Component, Service};
use crate::template::{Error, Override, Renderer, Scene};
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
    /// Renders them. `scene` has the words of the service.
    pub fn of(
        service: &Service,
        own: &crate::template::Overrides,
        scene: &Scene,
        renderer: &Renderer,
    ) -> Result<Self, Error> {
        let drop_in =
            |(name, text): (&str, &Override)| Ok((name.to_owned(), renderer.own(text, scene)?));
        let unit = unit_of(service);
        Ok(Self {
            unit: renderer.builtin(service.template, scene)?,
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
pub fn previewed(
    component: &Component,
    version: Version,
    situation: &Situation<'_>,
) -> Result<Option<Scene>, Error> {
    let mut scene = Scene::of(&context(situation.inventory, situation.node))?;
    scene.set("word", &component.words_in(version))?;
    let Some(service) = &component.service else {
        return Ok(Some(scene));
    };
    let command = Command::of(component, service, version, situation, &scene, &RENDERER)?;
    let settings = situation
        .inventory
        .component(component.name, situation.node);
    let networks = networks(situation.inventory, service, settings.networks.as_deref());
    let Ok(words) = command.words(component.name, networks) else {
        return Ok(None);
    };
    scene.set("service", &words)?;
    Ok(Some(scene))
}

/// Every text of the user's own that a component has on a node, rendered; what goes wrong with
/// each.
pub fn try_own(
    component: &Component,
    version: Version,
    situation: &Situation<'_>,
    renderer: &Renderer,
) -> Vec<Error> {
    let scene = match previewed(component, version, situation) {
        Ok(Some(scene)) => scene,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error],
    };
    let mut results = Vec::new();
    for file in component.files {
        if let Some(text) = file.text() {
            results.push(renderer.builtin(text, &scene));
        }
    }
    if let Some(service) = &component.service {
        results.push(renderer.builtin(service.template, &scene));
        let drop_ins = situation.inventory.own.drop_ins(unit_of(service));
        results.extend(drop_ins.map(|(_, text)| renderer.own(text, &scene)));
    }
    results.into_iter().filter_map(Result::err).collect()
}
