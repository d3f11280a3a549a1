//! What `status` tells, as text and as JSON of the same shape.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::listing::paint;
use crate::plain;
use crate::remote_path::RemotePath;

/// A cluster, told. Its JSON form is documented in docs/json.md and changes only by additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The cluster's name.
    pub cluster: String,
    /// Each node.
    pub nodes: Vec<NodeReport>,
    /// How the members of etcd are not one cluster.
    pub etcd: Option<String>,
}

/// How one node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its name.
    pub node: String,
    /// Its architecture.
    pub arch: Option<String>,
    /// The generation recorded; none where kinstall never finished a push.
    pub generation: Option<u64>,
    /// Every generation that it has on record, the oldest first, with that one.
    pub generations: Vec<GenerationReport>,
    /// Whether a push was begun and not finished.
    pub unfinished: bool,
    /// Each service.
    pub units: Vec<UnitReport>,
    /// What differs from what was recorded.
    pub drift: BTreeMap<RemotePath, &'static str>,
    /// What somebody dropped into units by hand.
    pub drop_ins: Vec<DropInReport>,
    /// Certificates, the first to end first.
    pub certificates: Vec<CertificateReport>,
    /// Its Node; none where no Pods run.
    pub worker: Option<WorkerReport>,
    /// What of its ways to other nodes' Pods is not as it should be.
    pub routes: Vec<String>,
}

/// The Node of a worker, as the cluster's API tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerReport {
    /// Whether it is Ready; nothing if the API could not be asked.
    pub ready: Option<bool>,
    /// What it is instead of what it should be.
    pub complaint: Option<String>,
    /// The version that its kubelet tells.
    pub version: Option<String>,
    /// The range of its Pods.
    pub pod_range: Option<String>,
}

/// One generation of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GenerationReport {
    /// Its number, counted from 1 on each node.
    pub generation: u64,
    /// When it was recorded, in UTC.
    pub recorded: String,
    /// The version of each component.
    pub versions: BTreeMap<String, String>,
}

/// How one service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitReport {
    /// Its name.
    pub unit: String,
    /// Its component's version.
    pub version: Option<String>,
    /// systemd's `ActiveState`.
    pub active: String,
    /// Whether it starts with the machine.
    pub enabled: bool,
    /// Whether it answers that it is healthy; nothing if it could not be asked.
    pub healthy: Option<bool>,
    /// What it answered instead.
    pub complaint: Option<String>,
    /// When its process started, in UTC.
    pub since: Option<String>,
    /// How often systemd restarted it by itself.
    pub restarts: u32,
    /// Whether its process runs on something older than what is in place.
    pub outdated: bool,
    /// What runs in it in the place of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intruder: Option<String>,
}

/// A drop-in that kinstall did not put there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropInReport {
    /// The unit.
    pub unit: String,
    /// Where it lies.
    pub path: String,
    /// Its lines, without what may be secret.
    pub text: Vec<String>,
}

/// One certificate on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateReport {
    /// Where it lies.
    pub path: String,
    /// Whose it is.
    pub subject: String,
    /// Days until it ends; negative once it has.
    pub days_left: i64,
    /// Whether that is within the days that were asked for.
    pub near_end: bool,
}

impl Report {
    /// Whether there is nothing that somebody should look at.
    pub fn is_well(&self) -> bool {
        self.etcd.is_none()
            && self.nodes.iter().all(|node| {
                node.generation.is_some()
                    && !node.unfinished
                    && node.drift.is_empty()
                    && node.drop_ins.is_empty()
                    && node.units.iter().all(|unit| unit.intruder.is_none())
                    && node.routes.is_empty()
                    && node.worker.as_ref().is_none_or(|it| it.complaint.is_none())
                    && node
                        .units
                        .iter()
                        .all(|unit| unit.healthy == Some(true) && unit.enabled && !unit.outdated)
                    && node
                        .certificates
                        .iter()
                        .all(|certificate| !certificate.near_end)
            })
    }

    /// As a person reads it.
    pub fn text(&self, color: bool) -> String {
        let mut text = format!(
            "{}: {}\n",
            self.cluster,
            plain::count(self.nodes.len(), "node")
        );
        for node in &self.nodes {
            node.write(&mut text, color);
        }
        if let Some(why) = &self.etcd {
            let sign = paint("etcd is not one cluster", "31", color);
            // Writing to a String cannot fail.
            _ = writeln!(text, "{sign}: {}", plain::line(why));
        }
        let verdict = if self.is_well() {
            paint("all healthy, nothing changed by hand", "32", color)
        } else {
            paint("something needs a look", "31", color)
        };
        // Writing to a String cannot fail.
        _ = writeln!(text, "{verdict}");
        text
    }
}

impl NodeReport {
    fn write(&self, text: &mut String, color: bool) {
        let arch = self.arch.as_deref().unwrap_or("unknown architecture");
        let generation = match self.generation {
            Some(generation) => format!("generation {generation}"),
            None => "nothing recorded".to_owned(),
        };
        let unfinished = if self.unfinished {
            ", a push was not finished"
        } else {
            ""
        };
        _ = writeln!(text, "{} ({arch}): {generation}{unfinished}", self.node);
        for unit in &self.units {
            let state = match &unit.complaint {
                Some(why) if unit.healthy.is_none() => {
                    paint(&format!("not asked: {}", plain::line(why)), "33", color)
                }
                None => paint("healthy", "32", color),
                Some(complaint) => paint(
                    &format!("unhealthy: {}", plain::line(complaint)),
                    "31",
                    color,
                ),
            };
            let version = plain::line(unit.version.as_deref().unwrap_or(""));
            let since = unit
                .since
                .as_deref()
                .map(|since| format!(" since {}", plain::line(since)))
                .unwrap_or_default();
            let mut notes = String::new();
            if unit.restarts > 0 {
                _ = write!(
                    notes,
                    ", restarted {} by systemd",
                    plain::count(unit.restarts, "time")
                );
            }
            if !unit.enabled {
                notes.push_str(", does not start with the machine");
            }
            if unit.outdated {
                notes.push_str(", runs on older files than those in place");
            }
            if let Some(what) = &unit.intruder {
                let what = plain::line(what);
                _ = write!(notes, ", {}", paint(&what, "31", color));
            }
            let name = unit.unit.trim_end_matches(".service");
            _ = writeln!(text, "  {name:24} {version:9} {state}{since}{notes}");
        }
        if let Some(worker) = &self.worker {
            _ = writeln!(text, "  {}", worker.words(color));
        }
        for way in &self.routes {
            let sign = paint("network of Pods", "31", color);
            _ = writeln!(text, "  {sign}: {}", plain::line(way));
        }
        for (path, what) in &self.drift {
            _ = writeln!(text, "  {} {path}: {what}", paint("drift", "33", color));
        }
        for DropInReport {
            unit,
            path,
            text: lines,
        } in &self.drop_ins
        {
            let drift = paint("drift", "33", color);
            _ = writeln!(text, "  {drift} {path}: dropped into {unit} by hand");
            for line in lines {
                _ = writeln!(text, "      +{line}");
            }
        }
        let earlier = self.generations.iter().rev();
        let earlier = earlier.filter(|it| Some(it.generation) != self.generation);
        let earlier: Vec<String> = earlier.map(GenerationReport::words).collect();
        if !earlier.is_empty() {
            _ = writeln!(text, "  can go back to generation {}", earlier.join("; "));
        }
        if let Some(first) = self.certificates.first() {
            let days = plain::count(first.days_left, "day");
            let hue = if first.near_end { "31" } else { "32" };
            let all = plain::count(self.certificates.len(), "certificate");
            let days = paint(&days, hue, color);
            _ = writeln!(
                text,
                "  {all}, the first ends in {days}: {}",
                plain::line(&first.path)
            );
        }
    }
}

impl WorkerReport {
    /// `Node Ready, kubelet 1.32.3, Pods in 10.200.0.0/24`
    fn words(&self, color: bool) -> String {
        let mut words = match (self.ready, &self.complaint) {
            (None, why) => {
                let why = plain::line(why.as_deref().unwrap_or_default());
                paint(&format!("Node not asked: {why}"), "33", color)
            }
            (Some(true), None) => paint("Node Ready", "32", color),
            (Some(true), Some(why)) => paint(&format!("Node: {}", plain::line(why)), "31", color),
            (Some(false), why) => {
                let why = plain::line(why.as_deref().unwrap_or_default());
                paint(&format!("Node not Ready: {why}"), "31", color)
            }
        };
        let parts = [("kubelet", &self.version), ("Pods in", &self.pod_range)];
        for (what, value) in parts {
            if let Some(value) = value {
                _ = write!(words, ", {what} {}", plain::line(value));
            }
        }
        words
    }
}

impl GenerationReport {
    /// `2 (2026-11-20 18:02 UTC, kube-apiserver 1.32.9, etcd 3.5.24)`: what decides on whether one
    /// can go back there.
    fn words(&self) -> String {
        let mut words = format!("{} ({}", self.generation, self.recorded);
        for name in ["kube-apiserver", "etcd"] {
            if let Some(version) = self.versions.get(name) {
                _ = write!(words, ", {name} {}", plain::line(version));
            }
        }
        words + ")"
    }
}
