//! The Node object of a worker, as kinstall makes it and keeps it. Pure.
//!
//! It comes before the kubelet, for three reasons: a Pod range can be set once, and would otherwise be
//! handed out in the order of arrival; labels of a role are forbidden to kubelets; and taints hold from
//! the first moment. A kubelet that finds its Node takes it (`pkg/kubelet/kubelet_node_status.go`).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::inventory::Taint;
use crate::manifest::Registration;
use crate::plain;

/// What kinstall gave the object, so that what is no longer wanted can be taken away.
const APPLIED: &str = "kinstall/applied";
/// Marks a Node that kinstall closed to new Pods, so that it is opened again by whoever comes next.
const CORDONED: &str = "kinstall/cordoned";

/// The labels and taints that kinstall gave a Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    #[serde(default)]
    labels: BTreeSet<String>,
    #[serde(default)]
    taints: BTreeSet<Taint>,
}

/// As much of a Node as is of interest (`v1`).
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Node {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "podCIDR")]
    pod_cidr: String,
    #[serde(default)]
    taints: Vec<Value>,
    #[serde(default)]
    unschedulable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    node_info: NodeInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    /// When its kubelet said so last: `2026-11-30T02:03:29Z`.
    #[serde(default, rename = "lastHeartbeatTime")]
    heard: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    #[serde(default, rename = "machineID")]
    machine_id: String,
    #[serde(default)]
    kubelet_version: String,
}

impl Node {
    fn ready(&self) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| condition.kind == "Ready")
    }

    /// Whether its kubelet says that it can run Pods.
    pub fn is_ready(&self) -> bool {
        self.ready().is_some_and(|ready| ready.status == "True")
    }

    /// Why it is not what is waited for; none where it is. What was said before `since`, the start of its
    /// kubelet as the API writes a time, was said by another process.
    pub fn lacks(&self, registration: &Registration, since: Option<&str>) -> Option<String> {
        let told = &self.status.node_info.kubelet_version;
        match self.ready() {
            None => Some("its kubelet has told nothing yet".to_owned()),
            Some(ready) if ready.status != "True" => Some(plain::brief(&format!(
                "{}: {}",
                ready.reason, ready.message
            ))),
            // A kubelet tells how it is at its start, and then only what changes.
            Some(ready)
                if ready
                    .heard
                    .as_deref()
                    .zip(since)
                    .is_some_and(|(it, since)| it < since) =>
            {
                Some(
                    "it was Ready before its kubelet was started, which has told nothing since"
                        .to_owned(),
                )
            }
            Some(_) if !is_version(told, &registration.version) => {
                let told = plain::brief(told);
                Some(format!("it is Ready, still with kubelet {told}"))
            }
            Some(_) => None,
        }
    }

    /// The version that its kubelet tells, without the letter before it; none where it told nothing yet.
    pub fn version(&self) -> Option<&str> {
        let told = &self.status.node_info.kubelet_version;
        (!told.is_empty()).then(|| told.trim_start_matches('v'))
    }

    /// The range of its Pods; none where it was given none.
    pub fn pod_range(&self) -> Option<&str> {
        Some(self.spec.pod_cidr.as_str()).filter(|range| !range.is_empty())
    }

    /// A merge patch that holds for the Node as it was found: not once somebody else has changed it.
    fn patched(&self, mut patch: Value) -> Change {
        patch["metadata"]["resourceVersion"] = json!(self.metadata.resource_version);
        Change::Patch(patch)
    }

    /// Whether nothing is missing but the user's own network.
    pub fn waits_for_a_network(&self) -> bool {
        let missing = [
            "cni plugin not initialized",
            "cni config uninitialized",
            "network plugin",
        ];
        let ready = self.ready();
        ready.is_some_and(|it| missing.iter().any(|word| it.message.contains(word)))
    }
}

/// Whether what a kubelet tells is a version; what somebody built has more behind it: `v1.32.3+k3s1`.
pub fn is_version(told: &str, wanted: &str) -> bool {
    let bare = told.trim_start_matches('v').split(['+', '-']).next();
    bare == Some(wanted)
}

/// What becomes of a Node.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// It is as it should be.
    Nothing,
    /// It is made.
    Make(Value),
    /// It is changed by a merge patch.
    Patch(Value),
    /// It must not be touched.
    Refused {
        /// Why.
        why: String,
        /// What the user can do.
        help: &'static str,
    },
}

/// From a Node as it is, if it is, to what it should be.
pub fn change(
    name: &str,
    found: Option<&Node>,
    wanted: &Registration,
    machine: Option<&str>,
) -> Change {
    let Some(found) = found else {
        return Change::Make(object(name, wanted));
    };
    if let Some(refused) = refusal(name, found, wanted, machine) {
        return refused;
    }
    let patch = patch(found, wanted);
    if patch == json!({}) {
        return Change::Nothing;
    }
    found.patched(patch)
}

/// From a Node to one that is closed to new Pods. Whoever has closed it already opens it again when they
/// want to.
pub fn cordon(found: Option<&Node>) -> Change {
    let Some(found) = found.filter(|found| !found.spec.unschedulable) else {
        return Change::Nothing;
    };
    found.patched(json!({
        "metadata": { "annotations": { CORDONED: "" } },
        "spec": { "unschedulable": true },
    }))
}

/// From a Node that kinstall closed to one that is open again.
pub fn uncordon(found: Option<&Node>) -> Change {
    let is_ours = |found: &&Node| found.metadata.annotations.contains_key(CORDONED);
    let Some(found) = found.filter(is_ours) else {
        return Change::Nothing;
    };
    found.patched(json!({
        "metadata": { "annotations": { CORDONED: null } },
        "spec": { "unschedulable": null },
    }))
}

impl Applied {
    fn of(wanted: &Registration) -> Self {
        Self {
            labels: wanted.labels.keys().cloned().collect(),
            taints: wanted.taints.clone(),
        }
    }

    fn annotations(&self) -> Value {
        json!({ APPLIED: serde_json::to_string(self).expect("texts") })
    }
}

/// The object as it is made.
fn object(name: &str, wanted: &Registration) -> Value {
    let mut spec = json!({ "taints": wanted.taints });
    if let Some(range) = wanted.pod_range {
        spec["podCIDR"] = json!(range);
        spec["podCIDRs"] = json!([range]);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": wanted.labels,
            "annotations": Applied::of(wanted).annotations(),
        },
        "spec": spec,
        // A kubelet that finds its Node writes into these, and dies where they are not there
        // (`reconcileHugePageResource`). It says at once how much there really is.
        "status": { "capacity": { "pods": "0" }, "allocatable": { "pods": "0" } },
    })
}

/// Why a Node must be left alone; none where it need not.
fn refusal(
    name: &str,
    found: &Node,
    wanted: &Registration,
    machine: Option<&str>,
) -> Option<Change> {
    let other = &found.status.node_info.machine_id;
    if let Some(machine) = machine
        && found.is_ready()
        && !other.is_empty()
        && other != machine
    {
        return Some(Change::Refused {
            why: format!(
                "the Node `{name}` is Ready on another machine ({other}, and this is {machine})"
            ),
            help: "two machines cannot be one Node: give one of them another name; where the \
                      other one is gone for good, `kubectl delete node` it first",
        });
    }
    let has = &found.spec.pod_cidr;
    let range = wanted.pod_range?.to_string();
    (!has.is_empty() && *has != range).then(|| Change::Refused {
        why: format!(
            "the Node `{name}` has the Pod range {has}, and `kinstall.pods` gives it {range}"
        ),
        help: "a Node's range never changes: write the one that it has into `kinstall.pods`; \
                  or drain the node and `kubectl delete node` it, and push again",
    })
}

/// What is to be changed of a Node: what others gave it stays.
fn patch(found: &Node, wanted: &Registration) -> Value {
    let before: Applied = found
        .metadata
        .annotations
        .get(APPLIED)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let has = &found.metadata.labels;
    let given = before.labels.iter().filter(|key| has.contains_key(*key));
    let mut labels: BTreeMap<&String, Value> = given.map(|key| (key, Value::Null)).collect();
    for (key, value) in &wanted.labels {
        labels.remove(key);
        if has.get(key) != Some(value) {
            labels.insert(key, json!(value));
        }
    }
    let was_ours = |taint: &Value| {
        serde_json::from_value::<Taint>(taint.clone())
            .is_ok_and(|taint| before.taints.contains(&taint) || wanted.taints.contains(&taint))
    };
    let others = found.spec.taints.iter().filter(|taint| !was_ours(taint));
    let ours = wanted.taints.iter().map(|taint| json!(taint));
    let taints: Vec<Value> = others.cloned().chain(ours).collect();
    let same = taints.len() == found.spec.taints.len()
        && taints.iter().all(|taint| found.spec.taints.contains(taint));
    let mut patch = json!({});
    if !labels.is_empty() {
        patch["metadata"]["labels"] = json!(labels);
    }
    if !same {
        patch["spec"]["taints"] = json!(taints);
    }
    if let Some(range) = wanted.pod_range
        && found.spec.pod_cidr.is_empty()
    {
        patch["spec"]["podCIDR"] = json!(range);
        patch["spec"]["podCIDRs"] = json!([range]);
    }
    let applied = Applied::of(wanted);
    if before != applied {
        patch["metadata"]["annotations"] = applied.annotations();
    }
    patch
}
