//! Secrets, encrypted in etcd as the configuration says. Who asks
//! must be an administrator.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    etcd::Etcd,
    store::{self, Kept, Provided},
};
use crate::{
    encryption::Keyring,
    http::{Asked, Response},
};

/// Secrets in etcd.
pub(crate) struct Secrets {
    pub(crate) etcd: Arc<Etcd>,
    /// `/registry/secrets`.
    pub(crate) root: String,
    pub(crate) keyring: Keyring,
}

/// An object that was read, and how it was kept.
struct Found {
    object: Value,
    revision: String,
    is_stale: bool,
}

impl Secrets {
    /// The answer to a request, if it is about Secrets.
    pub(crate) async fn answer(&self, asked: &Asked) -> Option<Response> {
        let path = asked.path.split('?').next().unwrap_or_default();
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let answer = match (asked.verb.as_str(), words.as_slice()) {
            ("GET", ["api", "v1", "secrets"]) => self.list("").await,
            ("GET", ["api", "v1", "namespaces", space, "secrets"]) => {
                self.list(&format!("{space}/")).await
            }
            ("POST", ["api", "v1", "namespaces", space, "secrets"]) => {
                self.create(space, &asked.body).await
            }
            ("GET", ["api", "v1", "namespaces", space, "secrets", name]) => {
                let found = self.found(space, name).await;
                found.map(|found| Response::json(200, found.whole().to_string()))
            }
            ("PUT", ["api", "v1", "namespaces", space, "secrets", name]) => {
                self.replace(space, name, &asked.body).await
            }
            ("DELETE", ["api", "v1", "namespaces", space, "secrets", name]) => {
                self.delete(space, name).await
            }
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refused| refused))
    }

    /// One that cannot be read makes the whole list one that cannot.
    async fn list(&self, below: &str) -> Result<Response, Response> {
        let kept = store::below(&self.etcd, &format!("{}/{below}", self.root)).await;
        let mut items = Vec::new();
        for kept in kept.map_err(internal)? {
            let mut item = self.open(kept)?.whole();
            // A list says once what all of its items are.
            if let Some(item) = item.as_object_mut() {
                item.remove("kind");
                item.remove("apiVersion");
            }
            items.push(item);
        }
        let list =
            json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items});
        Ok(Response::json(200, list.to_string()))
    }

    async fn create(&self, space: &str, body: &[u8]) -> Result<Response, Response> {
        let mut object = object(body)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(invalid("name or generateName is required"));
        }
        let name = name.to_owned();
        object["metadata"]["namespace"] = space.into();
        let path = self.path(space, &name);
        let put = self.put(&path, &object, Provided::Absent).await?;
        let put = put.ok_or_else(|| {
            let message = format!("secrets {name:?} already exists");
            Response::refused(409, "AlreadyExists", &message)
        })?;
        Ok(Response::json(201, put.whole().to_string()))
    }

    /// What nothing changes in is written all the same if it would be stored with another key now
    /// (`k8s.io/apiserver/pkg/storage/etcd3`, `GuaranteedUpdate`).
    async fn replace(&self, space: &str, name: &str, body: &[u8]) -> Result<Response, Response> {
        let mut object = object(body)?;
        let found = self.found(space, name).await?;
        let conflict = || {
            let message = format!(
                "Operation cannot be fulfilled on secrets {name:?}: the object has been modified; \
                 please apply your changes to the latest version and try again"
            );
            Response::refused(409, "Conflict", &message)
        };
        let expected = object["metadata"]["resourceVersion"].as_str();
        if expected.is_some_and(|expected| expected != found.revision) {
            return Err(conflict());
        }
        object["metadata"]["namespace"] = space.into();
        object["metadata"]["name"] = name.into();
        strip(&mut object);
        if object == found.object && !found.is_stale {
            return Ok(Response::json(200, found.whole().to_string()));
        }
        let provided = Provided::Unchanged(&found.revision);
        let put = self.put(&self.path(space, name), &object, provided).await?;
        let put = put.ok_or_else(conflict)?;
        Ok(Response::json(200, put.whole().to_string()))
    }

    async fn delete(&self, space: &str, name: &str) -> Result<Response, Response> {
        self.found(space, name).await?;
        let removed = store::remove(&self.etcd, &self.path(space, name)).await;
        removed.map_err(internal)?;
        let done = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
        Ok(Response::json(200, done.to_string()))
    }

    async fn found(&self, space: &str, name: &str) -> Result<Found, Response> {
        let kept = store::at(&self.etcd, &self.path(space, name)).await;
        let Some(kept) = kept.map_err(internal)? else {
            let message = format!("secrets {name:?} not found");
            return Err(Response::refused(404, "NotFound", &message));
        };
        self.open(kept)
    }

    fn open(&self, kept: Kept) -> Result<Found, Response> {
        let Kept {
            key,
            value,
            revision,
        } = kept;
        let wrong = |why: String| internal(format!("unable to transform key {key:?}: {why}"));
        let opened = self.keyring.open(&key, &value).map_err(wrong)?;
        let object = serde_json::from_slice(&opened.plain);
        Ok(Found {
            object: object.map_err(|error| wrong(error.to_string()))?,
            revision,
            is_stale: opened.is_stale,
        })
    }

    async fn put(
        &self,
        path: &str,
        object: &Value,
        provided: Provided<'_>,
    ) -> Result<Option<Found>, Response> {
        let mut object = object.clone();
        strip(&mut object);
        let sealed = self.keyring.seal(path, object.to_string().as_bytes());
        let written = store::put(&self.etcd, path, &sealed.map_err(internal)?, provided).await;
        Ok(written.map_err(internal)?.map(|revision| Found {
            object,
            revision,
            is_stale: false,
        }))
    }

    fn path(&self, space: &str, name: &str) -> String {
        format!("{}/{space}/{name}", self.root)
    }
}

impl Found {
    fn whole(&self) -> Value {
        let mut object = self.object.clone();
        object["metadata"]["resourceVersion"] = self.revision.as_str().into();
        object
    }
}

/// A Secret that somebody sends, with its texts as data.
fn object(body: &[u8]) -> Result<Value, Response> {
    let object: Result<Value, _> = serde_json::from_slice(body);
    let mut object = object.map_err(|error| invalid(&error.to_string()))?;
    if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
        return Err(invalid("the object provided is unrecognized"));
    }
    let texts = object["stringData"].take();
    for (name, text) in texts.as_object().into_iter().flatten() {
        let text = STANDARD.encode(text.as_str().unwrap_or_default());
        object["data"][name] = text.into();
    }
    Ok(object)
}

/// Takes out what is not stored.
fn strip(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("stringData");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
}

fn invalid(why: &str) -> Response {
    Response::refused(400, "BadRequest", why)
}

fn internal(why: impl std::fmt::Display) -> Response {
    let why = format!("Internal error occurred: {why}");
    Response::refused(500, "InternalError", &why)
}
