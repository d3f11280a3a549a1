//! Has kube-apiserver write every object of some resources again: read a page, put each back as it
//! is. An object that nothing changes in is still written, if it was stored with another key.

use std::net::Ipv4Addr;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::kube_api::{self, Reply};
use crate::plain;

/// Objects a page.
const PAGE: usize = 50;
/// The most bytes of a page: etcd takes no object of more than 1.5 MiB unless it was told so, and
/// JSON has some more than what is stored.
const PAGE_BYTES_MAX: usize = PAGE * (4 << 20);
/// Objects that are put back at a time.
const WRITERS: usize = 8;
/// How often one that somebody else changes meanwhile is read again.
const ATTEMPTS_MAX: u32 = 5;

/// The HTTP statuses that have a meaning here.
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const GONE: u16 = 410;

/// The API of one server, with the administrator's certificate.
pub(crate) struct Api {
    node: NodeName,
    api: kube_api::Api,
}

impl Api {
    pub(super) fn new(node: &NodeName, port: u16, client: reqwest::Client) -> Self {
        let api = kube_api::Api::new(client, (Ipv4Addr::LOCALHOST, port).into());
        Self {
            node: node.clone(),
            api: api.with_answers_of(PAGE_BYTES_MAX),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let reply = self.send(Method::GET, path, None).await?;
        self.good(path, &reply)
    }

    pub(super) async fn post(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        let reply = self.send(Method::POST, path, Some(object)).await?;
        self.good(path, &reply)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        let reply = self.send(Method::DELETE, path, None).await?;
        self.good(path, &reply)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        object: Option<&Value>,
    ) -> Result<Reply, Failure> {
        let reply = self.api.send(method, path, object).await;
        reply.map_err(|why| self.failed(&format!("kube-apiserver did not answer: {why}")))
    }

    fn good(&self, path: &str, reply: &Reply) -> Result<Value, Failure> {
        if reply.is_success() {
            return Ok(reply.object());
        }
        // A `Status` says why and holds nothing of the object itself; what else it may be is not told.
        let why = reply.object()["message"].as_str().map(plain::brief);
        let why = why.unwrap_or_default();
        Err(self.failed(&format!("{path}: {}: {why}", reply.status)))
    }

    fn failed(&self, why: &str) -> Failure {
        let message = format!("{}: {why}", self.node);
        Failure::words(Exit::Failed, message, "run the same command again to go on")
    }
}

/// A resource as its API has it.
struct Resource {
    /// `/api/v1`, `/apis/apps/v1`.
    root: String,
    version: String,
    kind: String,
    plural: String,
}

/// Writes all objects of these resources again; answers how many there were.
pub(crate) async fn all(api: &Api, resources: &[String]) -> Result<usize, Failure> {
    let mut count = 0;
    for name in resources {
        for resource in found(api, name).await? {
            count += every(api, &resource).await?;
        }
    }
    Ok(count)
}

/// The resources that a word of the configuration stands for: `secrets`, `leases.coordination.k8s.io`,
/// `*.apps`, `*.`, `*.*`.
async fn found(api: &Api, name: &str) -> Result<Vec<Resource>, Failure> {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    let mut roots = Vec::new();
    if group.is_empty() || group == "*" {
        roots.push(("/api/v1".to_owned(), "v1".to_owned()));
    }
    if !group.is_empty() {
        let groups = api.get("/apis").await?;
        for entry in groups["groups"].as_array().into_iter().flatten() {
            let version = entry["preferredVersion"]["groupVersion"].as_str();
            let is_meant = group == "*" || entry["name"] == group;
            roots.extend(
                version
                    .filter(|_| is_meant)
                    .map(|it| (format!("/apis/{it}"), it.to_owned())),
            );
        }
    }
    let mut resources = Vec::new();
    for (root, version) in roots {
        let list = api.get(&root).await?;
        for entry in list["resources"].as_array().into_iter().flatten() {
            let own = entry["name"].as_str().unwrap_or_default();
            let can = |verb: &str| {
                let verbs = entry["verbs"].as_array();
                verbs.is_some_and(|verbs| verbs.iter().any(|it| it == verb))
            };
            let is_meant = own == plural || plural == "*" && !own.contains('/');
            if is_meant && can("list") && can("update") {
                resources.push(Resource {
                    root: root.clone(),
                    version: version.clone(),
                    kind: entry["kind"].as_str().unwrap_or_default().to_owned(),
                    plural: own.to_owned(),
                });
            }
        }
    }
    Ok(resources)
}

async fn every(api: &Api, resource: &Resource) -> Result<usize, Failure> {
    let mut count = 0;
    let mut next = String::new();
    loop {
        let list = format!(
            "{}/{}?limit={PAGE}&continue={next}",
            resource.root, resource.plural
        );
        let reply = api.send(Method::GET, &list, None).await?;
        // The list has grown too old to go on in: the answer says where a newer one does.
        if reply.status == GONE {
            let answer = reply.object();
            let newer = answer["metadata"]["continue"].as_str().unwrap_or_default();
            if !newer.is_empty() && newer != next {
                newer.clone_into(&mut next);
                continue;
            }
        }
        let page = api.good(&list, &reply)?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        count += items.len();
        let writing = items.into_iter().map(|item| again(api, resource, item));
        let written: Vec<_> = stream::iter(writing)
            .buffer_unordered(WRITERS)
            .collect()
            .await;
        written.into_iter().collect::<Result<Vec<()>, _>>()?;
        page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut next);
        if next.is_empty() {
            return Ok(count);
        }
    }
}

/// Puts an object back as it is. One that is gone needs nothing, and one that somebody else has
/// changed is read again: the change may have come from a server that had the old key.
async fn again(api: &Api, resource: &Resource, mut item: Value) -> Result<(), Failure> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (
        text(&item["metadata"]["name"]),
        text(&item["metadata"]["namespace"]),
    );
    let within = if namespace.is_empty() {
        String::new()
    } else {
        format!("/namespaces/{namespace}")
    };
    let path = format!("{}{within}/{}/{name}", resource.root, resource.plural);
    for _ in 0..ATTEMPTS_MAX {
        // A list does not say it of each.
        item["apiVersion"] = resource.version.clone().into();
        item["kind"] = resource.kind.clone().into();
        let reply = api.send(Method::PUT, &path, Some(&item)).await?;
        match reply.status {
            NOT_FOUND => return Ok(()),
            CONFLICT => {}
            _ => return api.good(&path, &reply).map(drop),
        }
        let reply = api.send(Method::GET, &path, None).await?;
        if reply.status == NOT_FOUND {
            return Ok(());
        }
        item = api.good(&path, &reply)?;
    }
    let message = format!("{path} is changed by somebody else all the time");
    Err(Failure::words(
        Exit::Failed,
        message,
        "run the same command again",
    ))
}
