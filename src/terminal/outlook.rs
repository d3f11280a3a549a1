//! What an upgrade would break, as `kinstall check` tells it: as JSON, and as text.

use std::fmt::Write;

use serde::Serialize;

use super::listing::paint;
use crate::check::{Change, Finding, Path, Step};
use crate::flags::Severity;
use crate::inventory::{Inventory, NodeName};

/// What `kinstall check` tells.
#[derive(Debug, Serialize)]
pub struct Outlook {
    /// The cluster.
    pub cluster: String,
    /// Its Kubernetes.
    pub from: String,
    /// The Kubernetes that was asked about; the same if none was.
    pub to: String,
    /// What is doubtful as it is. What is wrong is an error instead.
    pub findings: Vec<FindingRow>,
    /// Each step on the way.
    pub steps: Vec<StepRow>,
    /// What a Vault would do otherwise than asked, or does not tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vault: Vec<String>,
}

/// One step of an upgrade.
#[derive(Debug, Serialize)]
pub struct StepRow {
    /// The Kubernetes before.
    pub from: String,
    /// The Kubernetes after.
    pub to: String,
    /// The etcd before.
    pub etcd_from: String,
    /// The etcd after.
    pub etcd_to: String,
    /// What breaks or changes, worst first.
    pub findings: Vec<FindingRow>,
    /// What kinstall takes care of: flags that it writes differently.
    pub changes: Vec<ChangeRow>,
}

/// One thing to know.
#[derive(Debug, Serialize)]
pub struct FindingRow {
    /// `error` for what would not work, `warning` for what is to be looked at.
    pub severity: &'static str,
    /// The component; none for the cluster.
    pub component: Option<&'static str>,
    /// Its version.
    pub version: String,
    /// The nodes.
    pub nodes: Vec<String>,
    /// The line of the inventory that brings it about.
    pub line: Option<usize>,
    /// What it is.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    #[serde(skip)]
    subject: String,
}

/// A flag that kinstall writes differently.
#[derive(Debug, Serialize)]
pub struct ChangeRow {
    /// The component.
    pub component: &'static str,
    /// The flag.
    pub flag: String,
    /// Its value before; none if it was not written.
    pub before: Option<String>,
    /// Its value after; none if it is not written.
    pub after: Option<String>,
}

/// The inventory and its text.
struct Source<'a> {
    inventory: &'a Inventory,
    text: &'a str,
}

impl Outlook {
    /// Of an upgrade.
    pub fn of(path: &Path, inventory: &Inventory, text: &str) -> Self {
        let source = Source { inventory, text };
        Self {
            to: path.to().to_string(),
            steps: path.steps.iter().map(|step| source.step(step)).collect(),
            ..Self::today(&[], inventory, text)
        }
    }

    /// Of the inventory as it is.
    pub fn today(findings: &[Finding], inventory: &Inventory, text: &str) -> Self {
        let source = Source { inventory, text };
        let version = inventory.cluster.kubernetes.to_string();
        Self {
            cluster: inventory.cluster.name.to_string(),
            from: version.clone(),
            to: version,
            findings: findings.iter().map(|it| source.finding(it)).collect(),
            steps: Vec::new(),
            vault: Vec::new(),
        }
    }

    /// As a person reads it. `file` is the inventory's name.
    pub fn text(&self, file: &str, color: bool) -> String {
        let mut text = format!("{}: Kubernetes {}", self.cluster, self.from);
        let stops: Vec<&str> = self.steps.iter().map(|step| step.to.as_str()).collect();
        // Writing to a String cannot fail.
        _ = match stops.as_slice() {
            [] => writeln!(text, ", nothing to upgrade"),
            [one] => writeln!(text, " to {one}"),
            several => writeln!(
                text,
                " to {}, a minor version at a time: push {}",
                self.to,
                several.join(", then ")
            ),
        };
        for step in &self.steps {
            step.write(&mut text, file, color);
        }
        let findings = self.steps.iter().flat_map(|step| &step.findings);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            findings.partition(|finding| finding.severity == ERROR);
        let verdict = format!(
            "{} would not work, {} to look at",
            errors.len(),
            warnings.len()
        );
        let hue = match (errors.len(), warnings.len()) {
            (0, 0) => "32",
            (0, _) => "33",
            _ => "31",
        };
        _ = writeln!(text, "\n{}", paint(&verdict, hue, color));
        text
    }
}

const ERROR: &str = "error";
const WARNING: &str = "warning";

impl Source<'_> {
    fn step(&self, step: &Step) -> StepRow {
        StepRow {
            from: step.from.to_string(),
            to: step.to.to_string(),
            etcd_from: step.etcd_from.to_string(),
            etcd_to: step.etcd_to.to_string(),
            findings: step.findings.iter().map(|it| self.finding(it)).collect(),
            changes: step.changes.iter().cloned().map(ChangeRow::from).collect(),
        }
    }

    fn finding(&self, finding: &Finding) -> FindingRow {
        let before = |at: usize| self.text.get(..at).unwrap_or_default();
        let line = |at: usize| before(at).matches('\n').count() + 1;
        FindingRow {
            severity: match finding.severity {
                Severity::Error => ERROR,
                Severity::Warning => WARNING,
            },
            component: finding.component,
            version: finding.version.to_string(),
            nodes: finding.nodes.iter().map(NodeName::to_string).collect(),
            line: finding.place.as_ref().map(|place| line(place.start)),
            message: finding.message.clone(),
            help: finding.help.clone(),
            subject: finding.subject(self.inventory),
        }
    }
}

impl From<Change> for ChangeRow {
    fn from(change: Change) -> Self {
        Self {
            component: change.component,
            flag: change.flag,
            before: change.before,
            after: change.after,
        }
    }
}

impl StepRow {
    fn write(&self, text: &mut String, file: &str, color: bool) {
        let etcd = if self.etcd_from == self.etcd_to {
            String::new()
        } else {
            format!(", etcd {} to {}", self.etcd_from, self.etcd_to)
        };
        _ = writeln!(text, "\n{} to {}{etcd}", self.from, self.to);
        for finding in &self.findings {
            let hue = if finding.severity == ERROR {
                "31"
            } else {
                "33"
            };
            let severity = paint(finding.severity, hue, color);
            _ = writeln!(
                text,
                "  {severity}: {}: {}",
                finding.subject, finding.message
            );
            if let Some(line) = finding.line {
                _ = writeln!(text, "    at {file}:{line}");
            }
            if let Some(help) = &finding.help {
                _ = writeln!(text, "    help: {help}");
            }
        }
        for change in &self.changes {
            _ = writeln!(text, "  kinstall does it: {change}");
        }
        if self.findings.is_empty() {
            _ = writeln!(text, "  nothing breaks");
        }
    }
}

impl std::fmt::Display for ChangeRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            component, flag, ..
        } = self;
        match (&self.before, &self.after) {
            (None, Some(value)) => write!(f, "{component} gets `--{flag}={value}`"),
            (Some(_), Some(value)) => write!(f, "{component}'s `--{flag}` becomes `{value}`"),
            _ => write!(f, "{component} no longer gets `--{flag}`"),
        }
    }
}
