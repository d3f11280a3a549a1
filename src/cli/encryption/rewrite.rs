//! Has kube-apiserver write every object of some resources anew: read a page, put each back as it
//! is. An object that nothing changes in is still written, if it was stored with another key.

use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::Value;

use super::super::{Exit, Failure};
use crate::inventory::NodeName;

/// Objects a page: what kubectl asks for.
const PAGE: u32 = 500;
/// Objects that are put back at a time.
const WRITERS: usize = 8;
/// How often one that somebody else changes meanwhile is read again.
const ATTEMPTS_MAX: u32 = 5;

/// The API of one server, with the administrator's certificate.
pub(super) struct Api {
    node: NodeName,
    base: String,
    client: reqwest::Client,
}

impl Api {
    pub(super) fn new(node: &NodeName, port: u16, client: reqwest::Client) -> Self {
        Self {
            node: node.clone(),
            base: format!("https://127.0.0.1:{port}"),
            client,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let answer = self.send(self.client.get(url)).await?;
        self.good(path, answer)
    }

    pub(super) async fn post(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let answer = self.send(with_json(self.client.post(url), object)).await?;
        self.good(path, answer)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let answer = self.send(self.client.delete(url)).await?;
        self.good(path, answer)
    }

    async fn put(&self, path: &str, object: &Value) -> Result<(StatusCode, Value), Failure> {
        let url = format!("{}{path}", self.base);
        self.send(with_json(self.client.put(url), object)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Failure> {
        let node = &self.node;
        let lost = |error: reqwest::Error| {
            let message = format!(
                "{node}: kube-apiserver did not answer: {}",
                error.without_url()
            );
            Failure::words(Exit::Failed, message, "run the same command again to go on")
        };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let text = answer.text().await.map_err(lost)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    fn good(&self, path: &str, (status, answer): (StatusCode, Value)) -> Result<Value, Failure> {
        if status.is_success() {
            return Ok(answer);
        }
        // A status object says why and holds nothing of the object itself.
        let why = answer["message"].as_str().unwrap_or_default();
        let message = format!("{}: {path}: {status}: {why}", self.node);
        Err(Failure::words(
            Exit::Failed,
            message,
            "run the same command again to go on",
        ))
    }
}

fn with_json(request: reqwest::RequestBuilder, object: &Value) -> reqwest::RequestBuilder {
    request
        .header("content-type", "application/json")
        .body(object.to_string())
}

/// A resource as its API has it.
struct Resource {
    /// `/api/v1`, `/apis/apps/v1`.
    root: String,
    version: String,
    kind: String,
    plural: String,
}

/// Writes all objects of these resources anew; answers how many there were.
pub(super) async fn all(api: &Api, resources: &[String]) -> Result<usize, Failure> {
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
        let (status, answer) = api
            .send(api.client.get(format!("{}{list}", api.base)))
            .await?;
        // The list has grown too old to go on in: the answer says where a newer one does.
        let newer = answer["metadata"]["continue"].as_str().unwrap_or_default();
        if status == StatusCode::GONE && !newer.is_empty() && newer != next {
            newer.clone_into(&mut next);
            continue;
        }
        let page = api.good(&list, (status, answer))?;
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
        let (status, answer) = api.put(&path, &item).await?;
        match status {
            StatusCode::NOT_FOUND => return Ok(()),
            StatusCode::CONFLICT => {}
            _ => return api.good(&path, (status, answer)).map(drop),
        }
        let url = format!("{}{path}", api.base);
        let (status, answer) = api.send(api.client.get(url)).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        item = api.good(&path, (status, answer))?;
    }
    let message = format!("{path} is changed by somebody else all the time");
    Err(Failure::words(
        Exit::Failed,
        message,
        "run the same command again",
    ))
}
