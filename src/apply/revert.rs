//! Taking a node back to its recorded generation after a step failed on it: by the code that
//! brought it forward, with an older manifest.

use std::collections::BTreeMap;

use super::{Error, Run, drain};
use crate::action::{Action, Group, WaveName};
use crate::diff;
use crate::event::Event;
use crate::inventory::{Drain, NodeName, Rollout};
use crate::manifest::{Kind, Manifest};
use crate::plan::{self, Direction, Plan, View};
use crate::probe::Prober;
use crate::survey;

/// Takes one node back. The generation it is at then, or why it is not.
pub(super) async fn revert(run: &Run<'_>, node: &NodeName) -> Result<u64, String> {
    let recorded = run.snapshots[node].recorded.as_ref();
    let recorded = recorded.ok_or("it has no recorded generation yet")?;
    run.events.send(Event::Reverting {
        node: node.clone(),
        generation: recorded.generation,
    });
    let transport = &run.transports[node];
    let snapshot = survey::look_at(transport, &recorded.manifest, [])
        .await
        .map_err(in_words)?;
    let mut manifest = recorded.manifest.clone();
    plan::keep_ways(&mut manifest, &snapshot);
    let manifest = &manifest;
    let difference = diff::between(manifest, &snapshot);
    if !difference.missing.is_empty() {
        let count = difference.missing.len();
        return Err(format!(
            "{count} of its contents are no longer in the node's store"
        ));
    }
    // A key that this run put there may go again for the one that was there before.
    let put_there = run
        .desired
        .manifests
        .get(node)
        .into_iter()
        .flat_map(|it| it.entries.values());
    let put_there = put_there.filter_map(|entry| match entry.kind {
        Kind::File { digest, .. } if entry.protected => Some(digest),
        _ => None,
    });
    let put_there = put_there.collect();
    let view = View {
        manifest,
        snapshot: &snapshot,
        difference: &difference,
        leads: false,
        retired: &put_there,
    };
    let views = BTreeMap::from([(node.clone(), view)]);
    // Its Pods were moved away before, or were to stay.
    let rollout = Rollout {
        drain: Drain::Never,
        ..run.rollout.clone()
    };
    let plan =
        Plan::new(&views, Direction::Back, &rollout).map_err(|refusals| joined(&refusals))?;
    let asked = Group {
        steps: [(node.clone(), questions(manifest))].into(),
    };
    for group in plan
        .waves
        .iter()
        .flat_map(|wave| wave.groups.iter().map(|group| (wave.name, group)))
    {
        let (wave, group) = group;
        // Who leads is for the whole cluster to settle, and some of it may not be as it should.
        let mut actions = group.steps.values().flatten();
        if actions.all(|action| matches!(action, Action::Lead { .. })) {
            continue;
        }
        run.group(wave, group, &mut Vec::new())
            .await
            .map_err(|errors: Vec<Error>| joined(&errors))?;
    }
    // What the node took back by itself was not asked after yet.
    run.group(WaveName::Record, &asked, &mut Vec::new())
        .await
        .map_err(|errors| joined(&errors))?;
    let mut units = manifest.units.values();
    let registration = units.find_map(|unit| unit.registration.as_ref());
    if let Some(registration) = registration {
        let prober = Prober::new(run.credentials);
        let opened = drain::uncordon(run, &prober, transport, &registration.servers).await;
        opened.map_err(in_words)?;
    }
    Ok(recorded.generation)
}

/// Whether every unit of a manifest is healthy.
fn questions(manifest: &Manifest) -> Vec<Action> {
    let units = manifest.units.iter();
    let ask = units.map(|(name, unit)| Action::Await {
        unit: name.clone(),
        probe: unit.probe.clone(),
        settle: false,
    });
    ask.collect()
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn joined(errors: &[impl std::fmt::Display]) -> String {
    let words: Vec<String> = errors.iter().map(in_words).collect();
    words.join("; ")
}
