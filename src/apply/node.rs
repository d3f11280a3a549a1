//! The Node object of a worker: made before its kubelet starts, changed with the inventory, waited for
//! until it is Ready.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::Run;
use super::step::{StepError, unhealthy};
use crate::event::Event;
use crate::kube_api::Reply;
use crate::manifest::{Registration, UnitName};
use crate::node_object::{Change, Node, change};
use crate::probe::Prober;
use crate::script;
use crate::survey::node::{NODES, ask, send};
use crate::transport::{self, Body, Transport};

/// How often a change is tried that somebody else's change came before.
const TRIES: u32 = 5;
/// How long between two looks, in milliseconds.
const LOOK_MILLISECONDS: u64 = 500;
/// What to look at where no kube-apiserver answers a worker.
pub(super) const HELP_UNREACHABLE: &str =
    "a worker reaches every kube-apiserver at its port: look at firewalls and routes between them";

/// Has the cluster hold the Node object.
pub(super) async fn register(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    registration: &Registration,
    machine: Option<&str>,
) -> Result<(), StepError> {
    if transport.ssh().is_none() {
        return Ok(());
    }
    let node = transport.node();
    let wanted = |found: Option<&Node>| change(node.as_str(), found, registration, machine);
    match bring(prober, transport, &registration.servers, wanted).await? {
        Ok(None) => Ok(()),
        Ok(Some(verb)) => {
            let range = registration
                .pod_range
                .map(|range| format!(", Pods in {range}"));
            let range = range.unwrap_or_default();
            run.events
                .send(Event::Note(format!("  {node}: {verb} its Node{range}")));
            Ok(())
        }
        Err(failed) => {
            let (why, help) = match failed {
                Failed::Refused(why, help) => (why, help),
                Failed::Rejected(why) => (
                    format!("its Node is refused ({why})"),
                    "what kube-apiserver says tells what to change in the inventory",
                ),
                Failed::Unreachable(why) => {
                    (format!("its Node cannot be made: {why}"), HELP_UNREACHABLE)
                }
            };
            Err(StepError::Node {
                node: node.clone(),
                why,
                help,
            })
        }
    }
}

/// Why a Node is not what it should be.
pub(super) enum Failed {
    /// It must not be touched; what the user can do.
    Refused(String, &'static str),
    /// kube-apiserver does not take the change.
    Rejected(String),
    /// Nobody answers, or somebody else was faster each time.
    Unreachable(String),
}

impl Failed {
    /// In a line.
    pub(super) fn why(self) -> String {
        let (Self::Refused(why, _) | Self::Rejected(why) | Self::Unreachable(why)) = self;
        why
    }
}

/// Makes a Node what it should be, by how it is; in a word what was done, none where it was so already.
pub(super) async fn bring(
    prober: &Prober<'_>,
    transport: &Transport,
    servers: &[SocketAddr],
    wanted: impl Fn(Option<&Node>) -> Change,
) -> Result<Result<Option<&'static str>, Failed>, transport::Error> {
    let mut why = String::new();
    for _ in 0..TRIES {
        let found = match ask(prober, transport, servers).await? {
            Ok(found) => found,
            Err(unreachable) => {
                why = unreachable;
                tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
                continue;
            }
        };
        let (method, path, body, verb) = match wanted(found.as_ref()) {
            Change::Nothing => return Ok(Ok(None)),
            Change::Refused { why, help } => return Ok(Err(Failed::Refused(why, help))),
            Change::Make(body) => (Method::POST, NODES.to_owned(), body, "made"),
            Change::Patch(body) => {
                let path = format!("{NODES}/{}", transport.node());
                (Method::PATCH, path, body, "changed")
            }
        };
        match send(prober, transport, servers, method, &path, Some(body)).await? {
            Ok(Reply {
                status: 200 | 201, ..
            }) => return Ok(Ok(Some(verb))),
            // Somebody was faster: what there is now is looked at again.
            Ok(Reply { status: 409, .. }) => {
                "somebody else changes the Node at the same time".clone_into(&mut why);
            }
            Ok(reply) => return Ok(Err(Failed::Rejected(reply.message()))),
            Err(unreachable) => why = unreachable,
        }
    }
    Ok(Err(Failed::Unreachable(why)))
}

/// Waits until the node is Ready, with the version it was given; or, where the network of Pods is the
/// user's own, until nothing else is missing.
pub(super) async fn wait(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    unit: &UnitName,
    registration: &Registration,
) -> Result<(), StepError> {
    if transport.ssh().is_none() {
        return Ok(());
    }
    let (node, begun) = (transport.node(), Instant::now());
    let limit = Duration::from_secs(run.rollout.ready_seconds);
    let since = started(transport, unit).await?;
    loop {
        let why = match ask(prober, transport, &registration.servers).await? {
            Err(why) => why,
            Ok(None) => "there is no such Node".to_owned(),
            Ok(Some(found)) => match found.lacks(registration, since.as_deref()) {
                None => break,
                Some(_) if registration.pod_range.is_none() && found.waits_for_a_network() => {
                    run.events.send(Event::Note(format!(
                        "  {node}: not Ready until your network of Pods is there (`network = \"none\"`)"
                    )));
                    return Ok(());
                }
                Some(why) => why,
            },
        };
        if begun.elapsed() >= limit {
            let output = transport
                .run(script::EXPLAIN, &[unit.as_str()], Body::default())
                .await?;
            let why = format!(
                "runs, and its Node is not Ready after {} s: {why}",
                limit.as_secs()
            );
            return Err(unhealthy(transport, unit, why, &output));
        }
        run.events.send(Event::Waiting {
            node: node.clone(),
            unit: unit.clone(),
            why,
        });
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    run.events
        .send(Event::Note(format!("  {node}: Ready after {seconds:.1} s")));
    Ok(())
}

/// When the process of a unit was started, as the API writes a time; none where nobody knows.
async fn started(
    transport: &Transport,
    unit: &UnitName,
) -> Result<Option<String>, transport::Error> {
    let words = [unit.as_str()];
    let told = transport.run(script::EXPLAIN, &words, Body::default());
    let told = told.await?;
    let since = told.lines().find_map(|line| line.strip_prefix("since "));
    Ok(since.map(str::to_owned))
}
