//! Moving the Pods of a node to others before what runs them is restarted, and letting Pods come back.
//!
//! A Node that is closed to new Pods carries a mark that it was kinstall that closed it. So a run that is
//! killed, or fails, leaves it to the next run to open it again: every turn of a worker ends with that.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::Run;
use super::node::{HELP_UNREACHABLE, bring};
use super::step::StepError;
use crate::event::Event;
use crate::inventory::NodeName;
use crate::manifest::Registration;
use crate::node_object::{cordon, uncordon as uncordoned};
use crate::plain::count;
use crate::probe::Prober;
use crate::script;
use crate::survey::kubectl::Kubectl;
use crate::transport::{self, Transport};

/// How many nodes are drained at a time, whatever the width of the wave: all may go through one node, and
/// its sshd lets ten sessions onto a connection (`MaxSessions`), one of which holds the node.
static DRAINS: Semaphore = Semaphore::const_new(4);

/// Has the Pods of a node moved to others; where that fails, the node is as open to Pods as before.
pub(super) async fn drain(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    registration: &Registration,
    (through, port): (&NodeName, u16),
) -> Result<(), StepError> {
    if transport.ssh().is_none() {
        return Ok(());
    }
    let _turn = DRAINS.acquire().await.expect("nobody closes it");
    let (node, begun) = (transport.node(), Instant::now());
    let servers = &registration.servers;
    let fail = |why: String, help| StepError::Node {
        node: node.clone(),
        why,
        help,
    };
    let closed = bring(prober, transport, servers, cordon).await?;
    closed.map_err(|failed| {
        let why = format!("its Node cannot be closed to new Pods: {}", failed.why());
        fail(why, HELP_UNREACHABLE)
    })?;
    run.events.send(Event::Note(format!(
        "  {node}: moving its Pods to other nodes"
    )));
    let kubectl = Kubectl {
        cluster: run.cluster,
        credentials: run.credentials,
        port,
    };
    let seconds = run.rollout.drain_seconds.to_string();
    let words = ["default", "drain", node.as_str(), &seconds];
    let drained = kubectl
        .run(&run.transports[through], script::DRAIN, &words)
        .await;
    let drained = match drained {
        Ok(Ok(said)) => {
            let moved = said.strip_prefix("ok ").and_then(|it| it.parse().ok());
            let moved = count(moved.unwrap_or(0), "Pod");
            let seconds = begun.elapsed().as_secs_f64();
            run.events.send(Event::Note(format!(
                "  {node}: {moved} moved in {seconds:.1} s"
            )));
            return Ok(());
        }
        Ok(Err(why)) => fail(
            format!("its Pods cannot be moved to other nodes (kubectl drain, on {through}): {why}"),
            "mend that and push again; or move the Pods yourself, and write `drain = \"never\"` under `[rollout]`",
        ),
        Err(error) => error.into(),
    };
    uncordon(run, prober, transport, servers).await?;
    Err(drained)
}

/// Opens a node to Pods again, where it was kinstall that closed it. That it cannot be opened now is
/// told, and nothing else fails for it: the next run does it.
pub(super) async fn uncordon(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    servers: &[SocketAddr],
) -> Result<(), transport::Error> {
    if transport.ssh().is_none() {
        return Ok(());
    }
    let node = transport.node();
    match bring(prober, transport, servers, uncordoned).await? {
        Ok(None) => {}
        Ok(Some(_)) => {
            run.events
                .send(Event::Note(format!("  {node}: open to Pods again")));
        }
        Err(failed) => {
            let why = failed.why();
            run.events.send(Event::Warning(format!(
                "{node}: its Node cannot be opened to Pods again ({why}): `kubectl uncordon {node}` does it"
            )));
        }
    }
    Ok(())
}
