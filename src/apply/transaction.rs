//! A node's transaction: it puts entries in place and restarts what reads them by itself, so that a
//! connection which breaks, or a kinstall that is killed, leaves it at an end: forward, or back.

use super::Run;
use super::step::{StepError, install, installed, unhealthy};
use crate::action::{Start, Steps, Transaction};
use crate::event::Event;
use crate::script;
use crate::transport::{Body, Transport};

/// What a transaction may take beyond the time that its units have, in seconds: putting files in place.
const REST_SECONDS: u64 = 120;
/// What systemd and the scripts around a start take beyond the time that a unit has, in seconds; most
/// of it is for an old process that does not want to end (`activate.sh`).
const START_SECONDS: u64 = 130;

/// Has a transaction carried out.
pub(super) async fn run(
    run: &Run<'_>,
    transport: &Transport,
    transaction: &Transaction,
) -> Result<(), StepError> {
    for Start { unit, restart, .. } in &transaction.forward.starts {
        run.events.send(Event::Activating {
            node: transport.node().clone(),
            unit: unit.clone(),
            restart: *restart,
        });
    }
    if transport.ssh().is_none() {
        return in_directory(run, transport, &transaction.forward).await;
    }
    let ready_seconds = run.rollout.ready_seconds;
    let starts = &transaction.forward.starts;
    let units: Vec<&str> = starts.iter().map(|start| start.unit.as_str()).collect();
    // There and back.
    let times = 2 * units.len() as u64;
    let limit = times * (ready_seconds + START_SECONDS) + REST_SECONDS;
    // It waits for the end of an earlier one, too.
    let script = script::TRANSACTION.within(limit + REST_SECONDS);
    let limit = limit.to_string();
    let arguments = [
        &ready_seconds.to_string(),
        &units.join(" "),
        &limit,
        script::TRANSACTION_STEPS.text,
        script::INSTALL.text,
        script::ACTIVATE.text,
    ];
    let body = Body::text(transaction.lines());
    let reply = transport.call(script, &arguments, body).await?;
    match reply.status {
        0 => {
            installed(run, transport, &transaction.forward.operations);
            Ok(())
        }
        1 => {
            let why = "does not start".to_owned();
            // The one that did not is the last that was told of.
            let culprit = reply.output.lines().find_map(|line| {
                let name = line.strip_prefix("unit ")?;
                starts.iter().find(|start| start.unit.as_str() == name)
            });
            let unit = &culprit.unwrap_or(&starts[0]).unit;
            Err(unhealthy(transport, unit, why, &reply.output))
        }
        _ => Err(transport.failed(script::TRANSACTION, &reply).into()),
    }
}

/// The same below a directory, where there is no systemd and nothing that can be cut off.
async fn in_directory(
    run: &Run<'_>,
    transport: &Transport,
    steps: &Steps,
) -> Result<(), StepError> {
    if !steps.operations.is_empty() {
        install(run, transport, &steps.operations).await?;
    }
    for start in &steps.starts {
        let arguments = [start.unit.as_str(), &start.fingerprint, "0"];
        transport
            .run(script::ACTIVATE, &arguments, Body::default())
            .await?;
    }
    Ok(())
}
