//! The course of it: what is proven, in which order, how long each is tried, and that nothing of it
//! stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::{Check, NAMESPACE, Outcome, Outside, Proof, Why, object};
use crate::certificate::Credentials;
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::kube_api::{Api, Reply};
use crate::probe::Prober;
use crate::transport::Transport;

/// How long between two looks, in milliseconds.
const LOOK_MILLISECONDS: u64 = 500;
/// After how long it is told what is waited for, in seconds.
const PATIENCE_SECONDS: u64 = 3;
/// How long a kube-apiserver may take to be ready, in seconds.
const READY_SECONDS: u64 = 10;
/// How long the namespace may take to go, in seconds.
const CLEAN_SECONDS: u64 = 90;
/// After how many seconds Pods are removed without their kubelets' word.
const FORCE_SECONDS: u64 = 30;

/// What is tried, by whom, and who is told.
pub struct Task<'a> {
    /// What was asked for.
    pub inventory: &'a Inventory,
    /// The nodes, reached.
    pub transports: &'a BTreeMap<NodeName, Transport>,
    /// The operator's credentials.
    pub credentials: &'a Credentials,
    /// The image of the Pods.
    pub image: &'a str,
    /// What they are to reach outside.
    pub outside: Option<&'a Outside>,
    /// How many nodes at a time.
    pub jobs: usize,
    /// Who does it, from where and since when.
    pub maker: String,
    /// Who is told.
    pub tell: &'a dyn Fn(Told),
}

/// A cluster that is tried.
pub struct Trial<'a> {
    pub(super) task: Task<'a>,
    /// The kube-apiservers that answer.
    servers: Vec<Server>,
}

/// Something that is told meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// What was found.
    Proof(Proof),
    /// What is waited for, or done beside.
    Note(String),
}

/// A kube-apiserver, and whose it is.
pub(super) struct Server {
    pub(super) node: NodeName,
    pub(super) api: Api,
}

impl<'a> Trial<'a> {
    /// Finds the kube-apiservers. Nothing is made.
    pub async fn reach(task: Task<'a>) -> Self {
        let mut trial = Self {
            task,
            servers: Vec::new(),
        };
        let mut servers = Vec::new();
        let (mut nodes, inventory) = (0, trial.task.inventory);
        for node in trial.with_role(Role::ControlPlane) {
            nodes += 1;
            let work = async {
                let api = trial.own_api(node).await?;
                let what = "kube-apiserver to be ready";
                trial
                    .until(what, READY_SECONDS, async || ready(&api).await)
                    .await?;
                Ok(("kube-apiserver is ready".to_owned(), api))
            };
            if let Some(api) = trial.prove(Check::Apiserver, Some(&node.name), work).await {
                let node = node.name.clone();
                servers.push(Server { node, api });
            }
        }
        if nodes == 0 {
            let afar = trial.afar(inventory);
            servers.extend(trial.prove(Check::Apiserver, None, afar).await);
        }
        trial.servers = servers;
        trial
    }

    /// Proves one after the other, as far as there is something to prove it by.
    pub async fn run(&self) {
        let made = async {
            Ok((
                format!("made the namespace {NAMESPACE}"),
                self.make().await?,
            ))
        };
        if self.servers.is_empty() || self.prove(Check::Namespace, None, made).await.is_none() {
            return;
        }
        let ready = self.nodes().await;
        let made = self.make_pods(&ready).await;
        self.secrets().await;
        self.tokens().await;
        let pods = if made {
            self.pods(&ready).await
        } else {
            BTreeMap::new()
        };
        self.reaching(&pods).await;
        self.node_ports(&pods).await;
        self.control_plane(&pods).await;
        self.kubelets(&pods).await;
    }

    /// Takes away what was made, by this run or one before it.
    pub async fn clean(&self) {
        if self.servers.is_empty() {
            return;
        }
        let work = async {
            let found = match self.there().await? {
                There::Ours(_) => {
                    self.remove().await?;
                    "everything that was made is removed again"
                }
                There::Nothing | There::Theirs => "nothing was made that would have to be removed",
            };
            Ok((found.to_owned(), ()))
        };
        self.prove(Check::Cleanup, None, work).await;
    }

    async fn make(&self) -> Result<(), Why> {
        match self.there().await? {
            There::Nothing => {}
            There::Theirs => {
                return Err(Why::Failed(format!(
                    "there is a namespace {NAMESPACE} that kinstall did not make"
                )));
            }
            There::Ours(maker) => {
                let note = format!("removing what was left by {maker}");
                (self.task.tell)(Told::Note(note));
                self.remove().await?;
            }
        }
        let namespace = object::namespace(&self.task.maker);
        self.post(object::NAMESPACES, &namespace).await?;
        self.post(&object::path("serviceaccounts"), &object::account())
            .await?;
        Ok(())
    }

    /// Whose namespace is there.
    async fn there(&self) -> Result<There, Why> {
        let found = self.find(&object::namespace_path()).await?;
        Ok(found.map_or(There::Nothing, |found| There::of(&found)))
    }

    /// Removes the namespace, and waits for its end.
    async fn remove(&self) -> Result<(), Why> {
        let path = object::namespace_path();
        self.remove_pods().await?;
        let reply = self.ask(Method::DELETE, &path, None).await?;
        if !reply.is_success() && ![404, 409].contains(&reply.status) {
            return Err(Why::Failed(reply.message()));
        }
        let gone = async || match self.find(&path).await? {
            None => Ok(()),
            Some(left) => Err(Why::Failed(held(&left))),
        };
        let what = format!("the namespace {NAMESPACE} to go");
        self.until(&what, CLEAN_SECONDS, gone).await
    }

    /// Removes the Pods first: whatever deletes a namespace looks again ever more seldom while they
    /// are there.
    async fn remove_pods(&self) -> Result<(), Why> {
        let daemon_set = format!("{}/{}", object::daemon_sets(), object::PODS);
        let background = "?propagationPolicy=Background";
        self.ask(Method::DELETE, &format!("{daemon_set}{background}"), None)
            .await?;
        let pods = object::path("pods");
        let remove = format!("{pods}?gracePeriodSeconds=1");
        self.ask(Method::DELETE, &remove, None).await?;
        let begun = Instant::now();
        let gone = async || {
            let left = self.find(&pods).await?.unwrap_or_default();
            let left = left["items"].as_array().map_or(0, Vec::len);
            if left == 0 {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(FORCE_SECONDS) {
                // A kubelet that is gone would be waited for for ever.
                let force = format!("{pods}?gracePeriodSeconds=0");
                self.ask(Method::DELETE, &force, None).await?;
            }
            Err(Why::Failed(format!("{left} are still there")))
        };
        self.until("the Pods to go", 2 * FORCE_SECONDS, gone).await
    }

    /// Does it, and tells how it ended and how long it took.
    pub(super) async fn prove<T>(
        &self,
        check: Check,
        node: Option<&NodeName>,
        work: impl Future<Output = Result<(String, T), Why>>,
    ) -> Option<T> {
        let begun = Instant::now();
        let (outcome, found, value) = match work.await {
            Ok((found, value)) => (Outcome::Proven, found, Some(value)),
            Err(Why::Failed(why)) => (Outcome::Failed, why, None),
            Err(Why::NotChecked(why)) => (Outcome::NotChecked, why, None),
        };
        let seconds = begun.elapsed().as_secs_f64();
        self.told(check, node, outcome, found, seconds);
        value
    }

    /// Tells why something is not proven that needs no look.
    pub(super) fn give_up(&self, check: Check, why: Why) {
        let (outcome, found) = match why {
            Why::Failed(why) => (Outcome::Failed, why),
            Why::NotChecked(why) => (Outcome::NotChecked, why),
        };
        self.told(check, None, outcome, found, 0.0);
    }

    fn told(
        &self,
        check: Check,
        node: Option<&NodeName>,
        outcome: Outcome,
        found: String,
        seconds: f64,
    ) {
        (self.task.tell)(Told::Proof(Proof {
            check,
            node: node.map(ToString::to_string),
            outcome,
            seconds: (seconds * 1000.0).round() / 1000.0,
            found,
            help: (outcome == Outcome::Failed).then(|| check.help()),
        }));
    }

    /// Tries until it is so, or for so many seconds; what stood in its way then.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        seconds: u64,
        attempt: impl AsyncFn() -> Result<T, Why>,
    ) -> Result<T, Why> {
        let (begun, mut told) = (Instant::now(), false);
        loop {
            let why = match attempt().await {
                Err(Why::Failed(why)) => why,
                result => return result,
            };
            let elapsed = begun.elapsed();
            if elapsed >= Duration::from_secs(seconds) {
                return Err(Why::Failed(format!(
                    "{why} (waited {seconds} s for {what})"
                )));
            }
            if !told && elapsed >= Duration::from_secs(PATIENCE_SECONDS) {
                told = true;
                let note = format!("waiting up to {seconds} s for {what}: {why}");
                (self.task.tell)(Told::Note(note));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
        }
    }

    /// Asks the first kube-apiserver that answers.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, String> {
        let mut why = Vec::new();
        for server in &self.servers {
            match server.api.send(method.clone(), path, body).await {
                Ok(reply) => return Ok(reply),
                Err(error) => why.push(format!("{}: {error}", server.node)),
            }
        }
        Err(format!("no kube-apiserver answers: {}", why.join("; ")))
    }

    /// An object; none where there is none.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Value>, String> {
        let reply = self.ask(Method::GET, path, None).await?;
        match reply.status {
            404 => Ok(None),
            _ if reply.is_success() => Ok(Some(reply.object())),
            _ => Err(reply.message()),
        }
    }

    /// Makes an object.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let reply = self.ask(Method::POST, path, Some(body)).await?;
        if reply.is_success() {
            Ok(reply.object())
        } else {
            Err(format!("{path} is refused ({})", reply.message()))
        }
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub(super) fn prober(&self) -> Prober<'a> {
        Prober::new(self.task.credentials)
    }

    /// The nodes with a role that are looked at.
    pub(super) fn with_role(&self, role: Role) -> impl Iterator<Item = &'a Node> {
        let transports = self.task.transports;
        let nodes = self.task.inventory.with_role(role);
        nodes.filter(move |node| transports.contains_key(&node.name))
    }

    async fn own_api(&self, node: &Node) -> Result<Api, Why> {
        let port = self.task.inventory.api_port(node);
        let Some(connection) = self.task.transports[&node.name].ssh() else {
            return Err(Why::NotChecked("nothing runs in a directory".to_owned()));
        };
        let client = self.prober().api(connection, port).await;
        let client = client.map_err(|error| error.to_string())??;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Api::new(client, SocketAddr::new(loopback, port)))
    }

    /// A kube-apiserver of a node that is not looked at, by one that is.
    async fn afar(&self, inventory: &Inventory) -> Result<(String, Server), Why> {
        let mut connections = self.task.transports.values().filter_map(Transport::ssh);
        let Some(connection) = connections.next() else {
            return Err(Why::Failed("there is no node to ask it by".to_owned()));
        };
        let mut failures = Vec::new();
        for node in inventory.with_role(Role::ControlPlane) {
            let address = SocketAddr::new(node.address, inventory.api_port(node));
            let client = self.prober().api_at(connection, address).await;
            let failure = match client.map_err(|error| error.to_string()) {
                Ok(Ok(client)) => {
                    let api = Api::new(client, address);
                    match ready(&api).await {
                        Ok(()) => {
                            let from = connection.node();
                            let found = format!(
                                "the kube-apiserver of {} is ready, asked by {from}",
                                node.name
                            );
                            let node = node.name.clone();
                            return Ok((found, Server { node, api }));
                        }
                        Err(Why::Failed(why) | Why::NotChecked(why)) => why,
                    }
                }
                Ok(Err(why)) | Err(why) => why,
            };
            failures.push(format!("{}: {failure}", node.name));
        }
        Err(Why::Failed(failures.join("; ")))
    }
}

async fn ready(api: &Api) -> Result<(), Why> {
    let reply = api.send(Method::GET, "/readyz", None).await?;
    if reply.is_success() {
        Ok(())
    } else {
        Err(Why::Failed(reply.message()))
    }
}

/// What is where everything is made.
#[derive(Debug, PartialEq, Eq)]
enum There {
    /// Nothing.
    Nothing,
    /// What a run made, and whose that was.
    Ours(String),
    /// Somebody else's.
    Theirs,
}

impl There {
    fn of(namespace: &Value) -> Self {
        let maker = &namespace["metadata"]["annotations"][object::MADE_BY];
        let maker = maker.as_str().map(str::to_owned);
        maker.map_or(Self::Theirs, Self::Ours)
    }
}

/// Why a namespace is still there.
fn held(namespace: &Value) -> String {
    let conditions = namespace["status"]["conditions"].as_array();
    let holds = conditions
        .into_iter()
        .flatten()
        .filter(|it| it["status"] == "True");
    let words: Vec<&str> = holds.filter_map(|it| it["message"].as_str()).collect();
    if words.is_empty() {
        "it is still there".to_owned()
    } else {
        format!("it is still there: {}", words.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_namespace_is_ours_if_it_says_so() {
        let ours = There::of(&object::namespace("me"));
        assert_eq!(ours, There::Ours("me".to_owned()));
        let theirs = json!({ "metadata": { "annotations": { "other": "me" } } });
        assert_eq!(There::of(&theirs), There::Theirs);
    }

    #[test]
    fn what_holds_a_namespace_is_told() {
        let condition =
            |status: &str, message: &str| json!({ "status": status, "message": message });
        let conditions = [
            condition("False", "all deleted"),
            condition("True", "1 Pod remains"),
        ];
        let namespace = json!({ "status": { "conditions": conditions } });
        assert_eq!(held(&namespace), "it is still there: 1 Pod remains");
        assert_eq!(held(&json!({})), "it is still there");
    }
}
