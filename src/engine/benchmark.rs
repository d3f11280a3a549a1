//! What `check --cis` does: the CIS benchmark, asked of what would be installed and of what is.

use std::collections::BTreeMap;

use base64::Engine;

use super::session::{self, Session};
use super::{pki, releases};
use crate::arch::Arch;
use crate::artifact;
use crate::check::cis::{self, Fields, Program, View};
use crate::component::{COMPONENTS, Component, ETCD_DATA};
use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::manifest::{Desired, Manifest, UnitName};
use crate::remote_path::RemotePath;
use crate::script;
use crate::snapshot::Snapshot;
use crate::survey;
use crate::terminal::benchmark::Benchmark;
use crate::transport::{Body, Transport};

/// Scores what would be installed, and unless it is offline what is.
pub(crate) async fn score(session: &Session<'_>, is_offline: bool) -> Result<Benchmark, Failure> {
    let inventory = session.inventory;
    let desired = desired(session)?;
    let views = desired.manifests.iter().map(|(name, manifest)| {
        View::rendered(inventory, &inventory.nodes[name], manifest, &desired)
    });
    let rendered = cis::score(&views.collect::<Vec<_>>());
    if is_offline {
        return Ok(Benchmark::of(inventory, &rendered, None));
    }
    let views = installed(session, &desired).await?;
    let installed = (!views.is_empty()).then(|| cis::score(&views));
    Ok(Benchmark::of(inventory, &rendered, installed.as_deref()))
}

/// What each node should hold. No check looks at an architecture or into a program.
fn desired(session: &Session<'_>) -> Result<Desired, Failure> {
    let (inventory, scope) = (session.inventory, session.scope()?);
    let nodes = inventory.nodes.values();
    let nodes = nodes.filter(|node| scope.contains(&node.name));
    let archs = nodes.map(|node| (node.name.clone(), node.arch.unwrap_or(Arch::Amd64)));
    let archs: BTreeMap<NodeName, Arch> = archs.collect();
    let needs = artifact::of_cluster(inventory, &archs);
    let credentials = pki::credentials_in_effect(session)?;
    let lockfile = releases::placeholder(inventory, &needs)?;
    releases::compose(inventory, &archs, &lockfile, &credentials)
}

/// What lies on the nodes that something was pushed to.
async fn installed<'a>(session: &Session<'a>, desired: &Desired) -> Result<Vec<View<'a>>, Failure> {
    let inventory = session.inventory;
    let transports = session.connect(&session.scope()?).await?;
    let mut views = Vec::new();
    for (name, manifest) in &desired.manifests {
        let transport = &transports[name];
        let state = RemotePath::fixed(ETCD_DATA);
        let snapshot = survey::look_at(transport, manifest, [state]).await;
        let snapshot = snapshot.map_err(|error| Failure::from(vec![error]))?;
        if snapshot.recorded.is_none() {
            let message = format!("{name}: nothing was pushed to it yet, so it is not scored");
            session.warn(message);
            continue;
        }
        let (programs, configurations) = found(transport, manifest, &snapshot).await?;
        let node = &inventory.nodes[name];
        views.push(View::installed(
            inventory,
            node,
            manifest,
            &snapshot,
            programs,
            configurations,
        ));
    }
    session::close(transports).await;
    Ok(views)
}

/// The command lines that the services of a node run with, and the configurations that they read.
async fn found(
    transport: &Transport,
    manifest: &Manifest,
    snapshot: &Snapshot,
) -> Result<
    (
        BTreeMap<&'static str, Program>,
        BTreeMap<&'static str, Fields>,
    ),
    Failure,
> {
    let process = |unit: &UnitName| {
        let pid = snapshot.units.get(unit)?.pid;
        (pid > 0).then(|| format!("/proc/{pid}/cmdline"))
    };
    let runs = |component: &&&Component| {
        let unit = component.unit_name();
        unit.is_some_and(|unit| manifest.units.contains_key(&unit))
    };
    let files = COMPONENTS.iter().filter(runs);
    let files = files.filter_map(|component| component.configuration());
    let processes = manifest.units.keys().filter_map(process);
    let asked = processes.chain(files.map(|(_, path)| path.to_string()));
    let lines = asked.fold(String::new(), |text, path| text + &path + "\n");
    let output = transport.run(script::READ, &[], Body::text(lines)).await;
    let output = output.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    let answers: BTreeMap<&str, &str> = output
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let (mut programs, mut configurations) = (BTreeMap::new(), BTreeMap::new());
    for component in COMPONENTS.iter().filter(runs) {
        let Some(unit) = component.unit_name() else {
            continue;
        };
        let answer = process(&unit).and_then(|path| answers.get(path.as_str()).copied());
        let program = answer.and_then(words).map_or_else(
            || Err(format!("{} does not run", component.name)),
            |words| Ok(cis::commands(component.name, &words)),
        );
        programs.insert(component.name, program);
        if let Some((_, path)) = component.configuration() {
            let text = answers.get(path.as_str()).and_then(|it| decoded(it));
            let fields = text.map_or_else(
                || Err(format!("`{path}` is not there")),
                |it| cis::fields(&it),
            );
            configurations.insert(component.name, fields);
        }
    }
    Ok((programs, configurations))
}

/// The words behind the program, of what `/proc/PID/cmdline` holds: each ends with a zero.
fn words(base64: &str) -> Option<Vec<String>> {
    let text = decoded(base64)?;
    let words = text.split_terminator('\0').skip(1);
    Some(words.map(str::to_owned).collect())
}

fn decoded(base64: &str) -> Option<String> {
    let engine = base64::engine::general_purpose::STANDARD;
    let bytes = engine.decode(base64).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
