//! What `kinstall check --cis` tells, as JSON and as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::listing::paint;
use crate::check::cis::{BENCHMARK, SECTIONS, Scored, Status, Verdict};
use crate::inventory::{Inventory, NodeName};

/// A score. Its JSON form is documented in docs/json.md and changes only by additions.
#[derive(Debug, Clone, Serialize)]
pub struct Benchmark {
    /// The cluster.
    pub cluster: String,
    /// Its Kubernetes.
    pub kubernetes: String,
    /// The benchmark, with its version.
    pub benchmark: &'static str,
    /// How many checks of all turned out how.
    pub total: Counts,
    /// The same for each section.
    pub sections: Vec<SectionRow>,
    /// Every check.
    pub checks: Vec<CheckRow>,
    #[serde(skip)]
    nodes: usize,
}

/// How many checks turned out how, by its word.
pub type Counts = BTreeMap<&'static str, usize>;

/// A section.
#[derive(Debug, Clone, Serialize)]
pub struct SectionRow {
    /// Its number.
    pub section: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How many of its checks turned out how.
    pub counts: Counts,
}

/// A check.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRow {
    /// Its number in the benchmark.
    pub id: &'static str,
    /// Its section.
    pub section: &'static str,
    /// What should be.
    pub about: &'static str,
    /// How it turned out: the worse of the two.
    pub status: &'static str,
    /// What push would install.
    pub rendered: VerdictRow,
    /// What lies on the nodes; none where they were not asked.
    pub installed: Option<VerdictRow>,
}

/// How a check turned out.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictRow {
    /// `pass`, `fail`, `manual` or `not applicable`.
    pub status: &'static str,
    /// Why.
    pub reason: String,
    /// The nodes it was like that on.
    pub nodes: Vec<String>,
}

impl Benchmark {
    /// Of what was found; `installed` where the nodes were asked.
    pub fn of(inventory: &Inventory, rendered: &[Scored], installed: Option<&[Scored]>) -> Self {
        let mut statuses = Vec::new();
        let row = |(index, rendered): (usize, &Scored)| {
            let installed = installed.and_then(|installed| installed.get(index));
            let own = rendered.verdict.status;
            let status = installed.map_or(own, |it| it.verdict.status.max(own));
            statuses.push((rendered.check.section(), status));
            CheckRow {
                id: rendered.check.id,
                section: rendered.check.section(),
                about: rendered.check.about,
                status: status.name(),
                rendered: (&rendered.verdict).into(),
                installed: installed.map(|it| (&it.verdict).into()),
            }
        };
        let checks = rendered.iter().enumerate().map(row).collect();
        let count = |holds: &dyn Fn(&str) -> bool| {
            let number = |status: Status| {
                let of_it = |(section, its): &&(&str, Status)| *its == status && holds(section);
                (status.name(), statuses.iter().filter(of_it).count())
            };
            Status::ALL.map(number).into()
        };
        let sections = SECTIONS.map(|(section, about)| SectionRow {
            section,
            about,
            counts: count(&|its| its == section),
        });
        Self {
            cluster: inventory.cluster.name.to_string(),
            kubernetes: inventory.cluster.kubernetes.to_string(),
            benchmark: BENCHMARK,
            total: count(&|_| true),
            sections: sections.into(),
            checks,
            nodes: inventory.nodes.len(),
        }
    }

    /// Whether something that applies is not as it should be.
    pub fn has_failures(&self) -> bool {
        self.total[Status::Fail.name()] > 0
    }

    /// As a person reads it.
    pub fn text(&self, color: bool) -> String {
        let (cluster, kubernetes) = (&self.cluster, &self.kubernetes);
        let mut text = format!("{cluster}: {}, Kubernetes {kubernetes}\n", self.benchmark);
        for section in &self.sections {
            let counts = counted(&section.counts);
            // Writing to a String cannot fail.
            _ = writeln!(text, "\n{} {}: {counts}", section.section, section.about);
            let rows = self.checks.iter();
            for check in rows.filter(|check| check.section == section.section) {
                check.write(&mut text, self.nodes, color);
            }
        }
        let hue = if self.has_failures() { "31" } else { "32" };
        _ = writeln!(text, "\n{}", paint(&counted(&self.total), hue, color));
        text
    }
}

impl CheckRow {
    fn write(&self, text: &mut String, all: usize, color: bool) {
        let hue = match self.status {
            "pass" => "32",
            "fail" => "31",
            "manual" => "33",
            _ => "2",
        };
        let status = paint(&format!("{:14}", self.status), hue, color);
        _ = writeln!(text, "  {status} {:7} {}", self.id, self.about);
        let mut tell = |what: &str, verdict: &VerdictRow| {
            // Where it is well, any of them is only an example.
            let worth = verdict.status == "fail" && verdict.nodes.len() < all;
            let nodes = if worth {
                format!(" ({})", verdict.nodes.join(", "))
            } else {
                String::new()
            };
            _ = writeln!(text, "{:25}{what}{}{nodes}", "", verdict.reason);
        };
        match &self.installed {
            None => tell("", &self.rendered),
            Some(it)
                if (it.status, &it.reason) == (self.rendered.status, &self.rendered.reason) =>
            {
                tell("", it);
            }
            Some(installed) => {
                let (own, theirs) = (self.rendered.status, installed.status);
                tell(&format!("rendered: {own}: "), &self.rendered);
                tell(&format!("installed: {theirs}: "), installed);
            }
        }
    }
}

impl From<&Verdict> for VerdictRow {
    fn from(verdict: &Verdict) -> Self {
        Self {
            status: verdict.status.name(),
            reason: verdict.reason.clone(),
            nodes: verdict.nodes.iter().map(NodeName::to_string).collect(),
        }
    }
}

fn counted(counts: &Counts) -> String {
    let words = Status::ALL.map(|status| format!("{} {}", counts[status.name()], status.name()));
    words.join(", ")
}
