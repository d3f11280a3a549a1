//! Moving the Pods of a node to others before what runs them is restarted, and letting Pods come back.
//!
//! A Node that is closed to new Pods carries a mark that it was kinstall that closed it. So a run that is
//! killed, or fails, leaves it to the next run to open it again: every turn of a worker ends with that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Run;
use super::step::StepError;
use crate::event::Event;
use crate::inventory::NodeName;
use crate::kube_api::Reply;
use crate::manifest::Registration;
use crate::node_object::Node;
use crate::plain::count;
use crate::probe::Prober;
use crate::script;
use crate::survey::kubectl::Kubectl;
use crate::survey::node::{NODES, ask, send};
use crate::transport::{self, Transport};

/// How often a change is tried that somebody else's change came before.
const TRIES: u32 = 5;
/// How long between two tries, in milliseconds.
const RETRY_MILLISECONDS: u64 = 500;
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
    let cordoned = change(prober, transport, servers, Node::cordon).await?;
    cordoned.map_err(|why| {
        let why = format!("its Node cannot be closed to new Pods: {why}");
        fail(
            why,
            "a worker reaches every kube-apiserver at its port: look at firewalls and routes between them",
        )
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
    let node = transport.node();
    match change(prober, transport, servers, Node::uncordon).await? {
        Ok(false) => {}
        Ok(true) => {
            run.events
                .send(Event::Note(format!("  {node}: open to Pods again")));
        }
        Err(why) => {
            run.events.send(Event::Warning(format!(
                "{node}: its Node cannot be opened to Pods again ({why}): `kubectl uncordon {node}` does it"
            )));
        }
    }
    Ok(())
}

/// Changes the Node by a merge patch, if there is anything to change; whether there was.
async fn change(
    prober: &Prober<'_>,
    transport: &Transport,
    servers: &[SocketAddr],
    patch: impl Fn(&Node) -> Option<Value>,
) -> Result<Result<bool, String>, transport::Error> {
    let path = format!("{NODES}/{}", transport.node());
    let mut why = String::new();
    for _ in 0..TRIES {
        let found = match ask(prober, transport, servers).await? {
            Ok(None) => return Ok(Ok(false)),
            Ok(Some(found)) => found,
            Err(unreachable) => {
                why = unreachable;
                tokio::time::sleep(Duration::from_millis(RETRY_MILLISECONDS)).await;
                continue;
            }
        };
        let Some(patch) = patch(&found) else {
            return Ok(Ok(false));
        };
        match send(
            prober,
            transport,
            servers,
            Method::PATCH,
            &path,
            Some(patch),
        )
        .await?
        {
            Ok(reply) if reply.is_success() => return Ok(Ok(true)),
            // Somebody was faster: what there is now is looked at again.
            Ok(Reply { status: 409, .. }) => {
                "somebody else changes the Node at the same time".clone_into(&mut why);
            }
            Ok(reply) => return Ok(Err(reply.message())),
            Err(unreachable) => why = unreachable,
        }
    }
    Ok(Err(why))
}
