//! `kinstall check --cis`: the CIS benchmark, asked of what would be installed and of what is.

use std::collections::BTreeMap;

use base64::Engine;

use super::check::Check;
use super::prepare::{self, Talk};
use super::{Common, Exit, Failure};
use crate::arch::Arch;
use crate::check::cis::{self, Program, View};
use crate::component::{COMPONENTS, ETCD_DATA};
use crate::event::{Event, Events};
use crate::inventory::{Inventory, NodeName};
use crate::manifest::{Desired, Manifest, UnitName};
use crate::remote_path::RemotePath;
use crate::script;
use crate::snapshot::Snapshot;
use crate::survey::{self};
use crate::terminal::{Terminal, benchmark::Benchmark};
use crate::transport::{Body, Transport};

pub(super) async fn run(
    ask: &Check,
    inventory: &Inventory,
    common: &Common,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let talk = Talk::open(terminal);
    let outcome = score(ask, inventory, common, &talk.events).await;
    talk.close().await;
    let benchmark = outcome?;
    if common.json {
        terminal.print_json(&benchmark);
    } else {
        terminal.print_colored(|color| benchmark.text(color));
    }
    Ok(if benchmark.has_failures() {
        Exit::Found
    } else {
        Exit::Done
    })
}

async fn score(
    ask: &Check,
    inventory: &Inventory,
    common: &Common,
    events: &Events,
) -> Result<Benchmark, Failure> {
    let desired = desired(inventory, common, events)?;
    let views = desired.manifests.iter().map(|(name, manifest)| {
        View::rendered(inventory, &inventory.nodes[name], manifest, &desired)
    });
    let rendered = cis::score(&views.collect::<Vec<_>>());
    if ask.offline {
        return Ok(Benchmark::of(inventory, &rendered, None));
    }
    let views = installed(ask, inventory, &desired, common, events).await?;
    let installed = (!views.is_empty()).then(|| cis::score(&views));
    Ok(Benchmark::of(inventory, &rendered, installed.as_deref()))
}

/// What each node should hold. No check looks at an architecture or into a program.
fn desired(inventory: &Inventory, common: &Common, events: &Events) -> Result<Desired, Failure> {
    let scope = prepare::scope(inventory, common)?;
    let nodes = inventory.nodes.values();
    let nodes = nodes.filter(|node| scope.contains(&node.name));
    let archs = nodes.map(|node| (node.name.clone(), node.arch.unwrap_or(Arch::Amd64)));
    let archs: BTreeMap<NodeName, Arch> = archs.collect();
    let programs = prepare::programs(inventory, &archs);
    let credentials = prepare::credentials_in_effect(inventory, events)?;
    let lockfile = prepare::supposed(prepare::lockfile(inventory)?, &programs);
    prepare::compose(inventory, &archs, &lockfile, &credentials)
}

/// What lies on the nodes that something was pushed to.
async fn installed<'a>(
    ask: &Check,
    inventory: &'a Inventory,
    desired: &Desired,
    common: &Common,
    events: &Events,
) -> Result<Vec<View<'a>>, Failure> {
    let scope = prepare::scope(inventory, common)?;
    let password = prepare::password(&ask.login)?;
    let reach = prepare::reach(password.as_ref(), common);
    let transports = survey::connect(inventory, &scope, reach, events).await?;
    let mut views = Vec::new();
    for (name, manifest) in &desired.manifests {
        let transport = &transports[name];
        let state = RemotePath::fixed(ETCD_DATA);
        let snapshot = survey::look_at(transport, manifest, [state]).await;
        let snapshot = snapshot.map_err(|error| Failure::from(vec![error]))?;
        if snapshot.recorded.is_none() {
            let message = format!("{name}: nothing was pushed to it yet, so it is not scored");
            events.send(Event::Warning(message));
            continue;
        }
        let programs = programs(transport, manifest, &snapshot).await?;
        let node = &inventory.nodes[name];
        views.push(View::installed(
            inventory, node, manifest, &snapshot, programs,
        ));
    }
    let closing = transports.into_values().map(Transport::close);
    futures_util::future::join_all(closing).await;
    Ok(views)
}

/// The command lines that the services of a node run with.
async fn programs(
    transport: &Transport,
    manifest: &Manifest,
    snapshot: &Snapshot,
) -> Result<BTreeMap<&'static str, Program>, Failure> {
    let process = |unit: &UnitName| {
        let pid = snapshot.units.get(unit)?.pid;
        (pid > 0).then(|| format!("/proc/{pid}/cmdline"))
    };
    let asked: Vec<String> = manifest.units.keys().filter_map(process).collect();
    let lines = asked
        .iter()
        .fold(String::new(), |text, path| text + path + "\n");
    let output = transport.run(script::READ, &[], Body::text(lines)).await;
    let output = output.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    let answers: BTreeMap<&str, &str> = output
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut programs = BTreeMap::new();
    for component in COMPONENTS {
        let Some(unit) = component.unit_name() else {
            continue;
        };
        if !manifest.units.contains_key(&unit) {
            continue;
        }
        let answer = process(&unit).and_then(|path| answers.get(path.as_str()).copied());
        let program = answer.and_then(words).map_or_else(
            || Err(format!("{} does not run", component.name)),
            |words| Ok(cis::commands(component.name, &words)),
        );
        programs.insert(component.name, program);
    }
    Ok(programs)
}

/// The words behind the program, of what `/proc/PID/cmdline` holds: each ends with a zero.
fn words(base64: &str) -> Option<Vec<String>> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let words = text.split_terminator('\0').skip(1);
    Some(words.map(str::to_owned).collect())
}
