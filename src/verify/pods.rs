//! Nodes, and a Pod on each.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::judge::{self, Pod, WantedNode};
use super::{Check, Trial, Why, object};
use crate::inventory::{Network, Node, NodeName, Role};

/// How long a Node may take to be Ready, in seconds: a push has waited for it already.
const NODE_SECONDS: u64 = 30;
/// How long a Pod may take to serve, in seconds: its image may have to be fetched.
const POD_SECONDS: u64 = 120;

impl Trial<'_> {
    /// Looks at the Node of each worker; those that are Ready.
    pub(super) async fn nodes(&self) -> BTreeSet<NodeName> {
        let looks = self.with_role(Role::Worker).map(|node| async move {
            let looked = self.prove(Check::Node, Some(&node.name), self.node(node));
            looked.await.map(|()| node.name.clone())
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn node(&self, node: &Node) -> Result<(String, ()), Why> {
        let inventory = self.task.inventory;
        let is_ours = inventory.network() != Network::None;
        let wanted = WantedNode {
            version: inventory.version("kubelet", node).to_string(),
            address: node.address,
            pod_range: inventory.pod_range(node).filter(|_| is_ours),
        };
        let path = format!("/api/v1/nodes/{}", node.name);
        let look = async || match self.find(&path).await? {
            None => Err(Why::Failed("there is no such Node".to_owned())),
            Some(found) => Ok(judge::node(&found, &wanted)?),
        };
        let found = self.until("its Node", NODE_SECONDS, look).await?;
        Ok((found, ()))
    }

    /// Makes what Pods come from; whether they can come.
    pub(super) async fn make_pods(&self, workers: &BTreeSet<NodeName>) -> bool {
        if workers.is_empty() {
            return false;
        }
        let pods = object::pods(self.task.image, workers.iter().map(NodeName::as_str));
        match self.post(&object::daemon_sets(), &pods).await {
            Ok(_) => true,
            Err(why) => {
                self.give_up(Check::Pod, Why::Failed(why));
                false
            }
        }
    }

    /// Waits for the Pods; those that serve.
    pub(super) async fn pods(&self, workers: &BTreeSet<NodeName>) -> BTreeMap<NodeName, Pod> {
        let looks = workers.iter().map(|worker| async move {
            let pod = self.prove(Check::Pod, Some(worker), self.pod(worker)).await;
            pod.map(|pod| (worker.clone(), pod))
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    async fn pod(&self, worker: &NodeName) -> Result<(String, Pod), Why> {
        let path = object::path(&format!("pods?fieldSelector=spec.nodeName={worker}"));
        let look = async || {
            let found = self.find(&path).await?.unwrap_or_default();
            match judge::pod(&found, worker) {
                Ok(pod) => Ok(pod),
                Err((name, why)) => {
                    let events = self.find(&object::path("events")).await?;
                    let about = name.as_deref().unwrap_or(object::PODS);
                    let events = events.unwrap_or_default();
                    let complaint = judge::complaint(&events, about);
                    let complaint = complaint.filter(|complaint| *complaint != why);
                    let complaint = complaint.map(|it| format!("; {it}")).unwrap_or_default();
                    Err(Why::Failed(format!("{why}{complaint}")))
                }
            }
        };
        let pod = self.until("its Pod to serve", POD_SECONDS, look).await?;
        Ok((format!("a Pod serves, at {}", pod.address), pod))
    }
}
