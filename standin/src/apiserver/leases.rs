//! Leases, by which controllers agree on who leads. Whoever asks must be a controller or an
//! administrator.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use super::{
    etcd::Etcd,
    store::{self, Provided},
};
use crate::http::{Asked, Response};

/// Leases in etcd; where its gateway is off, this server's own, that nobody else knows of.
pub(crate) struct Leases {
    etcd: Arc<Etcd>,
    /// `/registry/leases`.
    root: String,
    own: Mutex<BTreeMap<String, Value>>,
}

impl Leases {
    pub(crate) fn new(etcd: Arc<Etcd>, prefix: &str) -> Self {
        Self {
            etcd,
            root: format!("{prefix}/leases"),
            own: Mutex::default(),
        }
    }

    /// The answer to a request, if it is about Leases.
    pub(crate) async fn answer(&self, asked: &Asked) -> Option<Response> {
        let rest = asked.path.strip_prefix("/apis/coordination.k8s.io/v1/")?;
        let words: Vec<&str> = rest.split('/').collect();
        let ["namespaces", space, "leases", rest @ ..] = words.as_slice() else {
            return None;
        };
        let sent: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        Some(match (asked.verb.as_str(), rest) {
            ("GET", [name]) => self.get(space, name).await,
            ("POST", []) => {
                let name = sent["metadata"]["name"].as_str().unwrap_or_default();
                self.write(space, name, &sent, Provided::Absent).await
            }
            ("PUT", [name]) => {
                let revision = sent["metadata"]["resourceVersion"].as_str();
                let provided = Provided::Unchanged(revision.unwrap_or_default());
                self.write(space, name, &sent, provided).await
            }
            _ => return None,
        })
    }

    async fn get(&self, space: &str, name: &str) -> Response {
        let path = format!("{}/{space}/{name}", self.root);
        let found = match store::at(&self.etcd, &path).await {
            Ok(kept) => kept.and_then(|kept| {
                let mut lease: Value = serde_json::from_slice(&kept.value).ok()?;
                lease["metadata"]["resourceVersion"] = kept.revision.into();
                Some(lease)
            }),
            Err(_) => self.own().get(&path).cloned(),
        };
        match found {
            Some(lease) => Response::json(200, lease.to_string()),
            None => Response::refused(404, "NotFound", &format!("leases {name:?} not found")),
        }
    }

    async fn write(&self, space: &str, name: &str, sent: &Value, due: Provided<'_>) -> Response {
        let path = format!("{}/{space}/{name}", self.root);
        let text = sent.to_string();
        match store::put(&self.etcd, &path, text.as_bytes(), due).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                let message = format!("Operation cannot be fulfilled on leases {name:?}");
                return Response::refused(409, "Conflict", &message);
            }
            Err(_) => drop(self.own().insert(path, sent.clone())),
        }
        Response::json(200, text)
    }

    fn own(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.own.lock().expect("no one panics with it")
    }
}
