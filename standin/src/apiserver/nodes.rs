//! Nodes, kept in etcd as they were sent, and told as if a healthy kubelet of this server's version were on each;
//! but for those with the label [`NOT_READY`]. Who asks must be an administrator.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    etcd::Etcd,
    store::{self, Kept, Provided},
};
use crate::http::{Asked, Response};

/// By which a kubelet is told the address of its node (`k8s.io/cloud-provider/api`).
const ADDRESS: &str = "alpha.kubernetes.io/provided-node-ip";
/// A Node with this label is not Ready, for the reason that is its value.
const NOT_READY: &str = "standin.test/not-ready";
/// How often a change is tried that others get in the way of.
const TRIES: u32 = 5;

/// Nodes in etcd.
pub(crate) struct Nodes {
    pub(crate) etcd: Arc<Etcd>,
    /// `/registry/minions`.
    pub(crate) root: String,
    /// What kubelets say that they are.
    pub(crate) version: String,
}

impl Nodes {
    /// The answer to a request, if it is about Nodes.
    pub(crate) async fn answer(&self, asked: &Asked) -> Option<Response> {
        let path = asked.path.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix("/api/v1/nodes")?;
        let name = rest.strip_prefix('/').filter(|name| !name.is_empty());
        let answer = match (asked.verb.as_str(), name) {
            ("GET", None) if rest.is_empty() => self.list().await,
            ("POST", None) if rest.is_empty() => self.create(&asked.body).await,
            (_, Some(name)) if name.contains('/') => return None,
            ("GET", Some(name)) => self.get(name).await,
            ("PUT", Some(name)) => {
                let sent = object(&asked.body);
                self.change(name, sent, |_, sent| sent.clone()).await
            }
            ("PATCH", Some(name)) => self.change(name, parse(&asked.body), merged).await,
            ("DELETE", Some(name)) => self.delete(name).await,
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refused| refused))
    }

    async fn list(&self) -> Result<Response, Response> {
        let kept = store::below(&self.etcd, &format!("{}/", self.root)).await;
        let mut items = Vec::new();
        for kept in kept.map_err(internal)? {
            items.push(self.told(&kept)?);
        }
        let list = json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": items});
        Ok(Response::json(200, list.to_string()))
    }

    async fn get(&self, name: &str) -> Result<Response, Response> {
        let kept = self.found(name).await?;
        Ok(Response::json(200, self.told(&kept)?.to_string()))
    }

    async fn create(&self, body: &[u8]) -> Result<Response, Response> {
        let mut node = object(body)?;
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(invalid("name or generateName is required"));
        }
        let name = name.to_owned();
        let nanoseconds = OffsetDateTime::now_utc().unix_timestamp_nanos();
        node["metadata"]["creationTimestamp"] = now().into();
        node["metadata"]["uid"] = format!("standin-{nanoseconds}").into();
        let put = self.put(&name, node, Provided::Absent).await?;
        let kept = put.ok_or_else(|| {
            let message = format!("nodes {name:?} already exists");
            Response::refused(409, "AlreadyExists", &message)
        })?;
        Ok(Response::json(201, self.told(&kept)?.to_string()))
    }

    /// Changes a Node to what comes of it and of what was sent, as it is when that is written.
    async fn change(
        &self,
        name: &str,
        sent: Result<Value, Response>,
        change: impl Fn(&Value, &Value) -> Value,
    ) -> Result<Response, Response> {
        let sent = sent?;
        let conflict = || {
            let message = format!("Operation cannot be fulfilled on nodes {name:?}");
            Response::refused(409, "Conflict", &message)
        };
        for _ in 0..TRIES {
            let kept = self.found(name).await?;
            let expected = sent["metadata"]["resourceVersion"].as_str();
            if expected.is_some_and(|expected| expected != kept.revision) {
                return Err(conflict());
            }
            let before = parse(&kept.value)?;
            let mut node = change(&before, &sent);
            for field in ["name", "creationTimestamp", "uid"] {
                node["metadata"][field] = before["metadata"][field].clone();
            }
            // A range of addresses is given once (`k8s.io/kubernetes/pkg/apis/core/validation`).
            let range = &before["spec"]["podCIDR"];
            if range.is_string() && node["spec"]["podCIDR"] != *range {
                let message = format!(
                    "Node {name:?} is invalid: spec.podCIDR: Forbidden: may not be changed"
                );
                return Err(Response::refused(422, "Invalid", &message));
            }
            let provided = Provided::Unchanged(&kept.revision);
            if let Some(kept) = self.put(name, node, provided).await? {
                return Ok(Response::json(200, self.told(&kept)?.to_string()));
            }
        }
        Err(conflict())
    }

    async fn delete(&self, name: &str) -> Result<Response, Response> {
        self.found(name).await?;
        let removed = store::remove(&self.etcd, &self.path(name)).await;
        removed.map_err(internal)?;
        let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
        Ok(Response::json(200, done.to_string()))
    }

    async fn found(&self, name: &str) -> Result<Kept, Response> {
        let kept = store::at(&self.etcd, &self.path(name)).await;
        kept.map_err(internal)?.ok_or_else(|| {
            let message = format!("nodes {name:?} not found");
            Response::refused(404, "NotFound", &message)
        })
    }

    async fn put(
        &self,
        name: &str,
        mut node: Value,
        provided: Provided<'_>,
    ) -> Result<Option<Kept>, Response> {
        strip(&mut node);
        let value = node.to_string().into_bytes();
        let key = self.path(name);
        let written = store::put(&self.etcd, &key, &value, provided).await;
        Ok(written.map_err(internal)?.map(|revision| Kept {
            key,
            value,
            revision,
        }))
    }

    /// A Node with what its kubelet would have added.
    fn told(&self, kept: &Kept) -> Result<Value, Response> {
        let mut node = parse(&kept.value)?;
        node["metadata"]["resourceVersion"] = kept.revision.as_str().into();
        let address = node["metadata"]["annotations"][ADDRESS].as_str();
        let addresses = address.map(|address| json!({"type": "InternalIP", "address": address}));
        let ill = node["metadata"]["labels"][NOT_READY].as_str();
        let (status, reason) = ill.map_or(("True", "KubeletReady"), |reason| ("False", reason));
        node["status"] = json!({
            "addresses": addresses.into_iter().collect::<Vec<_>>(),
            "conditions": [{
                "type": "Ready", "status": status, "reason": reason,
                "message": "the stand-in knows of no kubelet", "lastHeartbeatTime": now(),
            }],
            "nodeInfo": {"kubeletVersion": self.version},
        });
        Ok(node)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}

/// The time, as the API writes it.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// A merge patch (RFC 7396).
fn merged(target: &Value, patch: &Value) -> Value {
    let Some(patch) = patch.as_object() else {
        return patch.clone();
    };
    let mut target = target.as_object().cloned().unwrap_or_else(Map::new);
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let own = target.get(name).cloned().unwrap_or_default();
            target.insert(name.clone(), merged(&own, value));
        }
    }
    target.into()
}

/// Takes out what is not stored.
fn strip(node: &mut Value) {
    if let Some(fields) = node.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = node["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
}

fn object(body: &[u8]) -> Result<Value, Response> {
    let node = parse(body)?;
    if node["kind"] == "Node" && node["apiVersion"] == "v1" {
        Ok(node)
    } else {
        Err(invalid("the object provided is unrecognized"))
    }
}

fn parse(body: &[u8]) -> Result<Value, Response> {
    let value: Result<Value, _> = serde_json::from_slice(body);
    let value = value.map_err(|error| invalid(&error.to_string()))?;
    let is_object = value.is_object();
    is_object
        .then_some(value)
        .ok_or_else(|| invalid("an object is wanted"))
}

fn invalid(why: &str) -> Response {
    Response::refused(400, "BadRequest", why)
}

fn internal(why: impl std::fmt::Display) -> Response {
    let why = format!("Internal error occurred: {why}");
    Response::refused(500, "InternalError", &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_replaces_adds_and_removes() {
        let target = json!({"a": {"b": 1, "c": [1, 2]}, "d": "e"});
        let patch = json!({"a": {"b": null, "c": [3]}, "f": {"g": null, "h": 1}});
        let expected = json!({"a": {"c": [3]}, "d": "e", "f": {"h": 1}});
        assert_eq!(merged(&target, &patch), expected);
    }
}
