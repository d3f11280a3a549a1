//! Which of several leads: the one that holds the Lease, and renews it.

use std::time::Duration;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::{Instant, sleep};

use crate::client::{Answer, Endpoint};

/// Where the Leases of a cluster's own controllers are.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
/// The defaults of `--leader-elect-retry-period` and `--leader-elect-lease-duration`.
const RETRY: Duration = Duration::from_secs(2);
const DURATION: Duration = Duration::from_secs(15);

/// A candidate.
pub(crate) struct Candidate<'a> {
    pub(crate) server: &'a Endpoint,
    /// The name of the Lease, which is the program's.
    pub(crate) name: &'a str,
    /// Its own name, different from any other candidate's.
    pub(crate) identity: String,
}

impl Candidate<'_> {
    /// Leads, or tries to, until it is dropped.
    pub(crate) async fn run(&self) {
        let mut seen = (Value::Null, Instant::now());
        loop {
            if let Some(lease) = self.lease().await {
                let renewed = lease["spec"]["renewTime"].clone();
                if renewed != seen.0 {
                    seen = (renewed, Instant::now());
                }
                let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
                let is_free = holder.is_empty() || seen.1.elapsed() > DURATION;
                if holder == self.identity || is_free {
                    self.hold(&lease, &self.identity).await;
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Lets go of what it holds. The real kube-controller-manager does not, and the others wait
    /// until its Lease runs out.
    pub(crate) async fn release(&self) {
        let lease = self.lease().await.unwrap_or_default();
        if lease["spec"]["holderIdentity"] == self.identity.as_str() {
            self.hold(&lease, "").await;
        }
    }

    /// The Lease as it is, nothing of it if there is none, none if nobody tells.
    async fn lease(&self) -> Option<Value> {
        let answer = self.server.get(&format!("{LEASES}/{}", self.name)).await;
        match answer.ok()? {
            Answer { status: 200, body } => serde_json::from_str(&body).ok(),
            Answer { status: 404, .. } => Some(Value::Null),
            Answer { .. } => None,
        }
    }

    /// Writes it. Who was faster is found out at the next look.
    async fn hold(&self, lease: &Value, holder: &str) {
        let now = OffsetDateTime::now_utc().format(&Rfc3339);
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": self.name, "namespace": "kube-system",
                "resourceVersion": lease["metadata"]["resourceVersion"],
            },
            "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": DURATION.as_secs(),
                "renewTime": now.unwrap_or_default(),
            },
        });
        let (verb, path) = if lease.is_null() {
            ("POST", LEASES.to_owned())
        } else {
            ("PUT", format!("{LEASES}/{}", self.name))
        };
        _ = self.server.send(verb, &path, &body.to_string()).await;
    }
}
