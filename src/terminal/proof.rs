//! What `verify` tells: a line for each thing as it is proven, and all of it as JSON.

use std::fmt::Display;

use serde::Serialize;

use super::listing::paint;
use crate::plain;
use crate::verify::{Outcome, Proof};

/// Everything that was looked at. Its JSON form is documented in docs/json.md and changes only by
/// additions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The cluster's name.
    pub cluster: String,
    /// What was found, in the order in which it was.
    pub checks: Vec<Proof>,
}

/// As a person reads it, with a line below that says what to look at.
pub fn line(proof: &Proof, color: bool) -> String {
    let (word, hue) = match proof.outcome {
        Outcome::Proven => ("ok         ", "32"),
        Outcome::Failed => ("failed     ", "31"),
        Outcome::NotChecked => ("not checked", "33"),
    };
    let node = proof.node.as_ref();
    let node = node.map_or_else(String::new, |node| format!("{node}: "));
    let (seconds, found) = (proof.seconds, plain::line(&proof.found));
    let help = proof
        .help
        .map_or_else(String::new, |help| format!("             {help}\n"));
    let word = paint(word, hue, color);
    format!("{word} {seconds:5.1} s  {node}{found}\n{help}")
}

impl Report {
    /// Of a cluster that nothing was looked at of yet.
    pub fn of(cluster: &impl Display) -> Self {
        Self {
            cluster: cluster.to_string(),
            checks: Vec::new(),
        }
    }

    /// Whether nothing failed.
    pub fn is_well(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    /// How it ended, in a line.
    pub fn verdict(&self, color: bool) -> String {
        let mut parts = Vec::new();
        for (outcome, word) in [
            (Outcome::Proven, "proven"),
            (Outcome::Failed, "failed"),
            (Outcome::NotChecked, "not checked"),
        ] {
            let count = self.count(outcome);
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        let hue = if self.is_well() { "32" } else { "31" };
        let verdict = paint(&parts.join(", "), hue, color);
        format!("{}: {verdict}\n", self.cluster)
    }

    fn count(&self, outcome: Outcome) -> usize {
        let all = self.checks.iter();
        all.filter(|proof| proof.outcome == outcome).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Check;

    fn proof(outcome: Outcome, node: Option<&str>) -> Proof {
        Proof {
            check: Check::Hairpin,
            node: node.map(str::to_owned),
            outcome,
            seconds: 0.25,
            found: "its Pod\u{202e}".to_owned(),
            help: (outcome == Outcome::Failed).then_some("look there"),
        }
    }

    #[test]
    fn a_proof_is_a_line_and_a_failure_says_what_to_look_at() {
        let told = |outcome, node| line(&proof(outcome, node), false);
        assert_eq!(
            told(Outcome::Proven, Some("a")),
            "ok            0.2 s  a: its Pod\\u{202e}\n"
        );
        assert_eq!(
            told(Outcome::Failed, None),
            "failed        0.2 s  its Pod\\u{202e}\n             look there\n"
        );
        assert!(told(Outcome::NotChecked, None).starts_with("not checked   0.2 s  its"));
    }

    #[test]
    fn a_failure_is_counted_and_what_was_not_checked_is_none() {
        let mut report = Report::of(&"home");
        report.checks = vec![
            proof(Outcome::Proven, None),
            proof(Outcome::Proven, None),
            proof(Outcome::NotChecked, None),
        ];
        assert_eq!(report.verdict(false), "home: 2 proven, 1 not checked\n");
        assert!(report.is_well());
        report.checks.push(proof(Outcome::Failed, Some("a")));
        assert_eq!(
            report.verdict(false),
            "home: 2 proven, 1 failed, 1 not checked\n"
        );
        assert!(!report.is_well());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checks"][3]["check"], "hairpin");
        assert_eq!(json["checks"][2]["outcome"], "not-checked");
    }
}
