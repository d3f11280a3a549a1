//! The CIS Kubernetes Benchmark, asked of what kinstall renders and of what lies on the nodes.
//! Pure: views of nodes in, a score out.
//!
//! The checks are those of version 1.12, made for Kubernetes 1.32 to 1.34; of another version the
//! same is asked, as far as it has the flag. They were written for static Pods run by root: where
//! they speak of a Pod's manifest, the unit is meant, and where they want a file to be root's, one
//! that only an unprivileged service of kinstall's may read is as good, and said to be so.

mod field;
mod judge;
mod table;
#[cfg(test)]
mod tests;
mod view;

pub use self::table::CHECKS;
pub use self::view::{Attributes, Fields, Program, View, commands, fields};

use crate::inventory::NodeName;
use crate::node_config::Configuration;

/// The benchmark that is asked.
pub const BENCHMARK: &str = "CIS Kubernetes Benchmark 1.12";

/// The sections, by the beginning of their checks' numbers.
pub const SECTIONS: [(&str, &str); 10] = [
    ("1.1", "files of the control plane"),
    ("1.2", "kube-apiserver"),
    ("1.3", "kube-controller-manager"),
    ("1.4", "kube-scheduler"),
    ("2", "etcd"),
    ("3.1", "authentication and authorization"),
    ("3.2", "logging"),
    ("4.1", "files of the workers"),
    ("4.2", "kubelet"),
    ("4.3", "kube-proxy"),
];

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its number in the benchmark.
    pub id: &'static str,
    /// What should be, as a sentence without its full stop.
    pub about: &'static str,
    /// What is looked at.
    pub rule: Rule,
    /// Where not to do so may be right: what to consider. It is then for a person to judge.
    pub consider: Option<&'static str>,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// No permission bit of these files goes beyond these.
    Mode(Files, u16),
    /// These files belong to root, or to the one service that reads them.
    Owner(Files),
    /// These belong to a user and the group of the same name.
    Exactly(Files, &'static str),
    /// A flag of a program.
    Flag(&'static str, Requirement),
    /// A field of a configuration, or the flag that beats it.
    Field(Configuration, Requirement),
    /// What writes Secrets encrypts them well.
    Provider,
    /// etcd has an authority of its own.
    OwnAuthority,
    /// A person has to look.
    Person(&'static str),
    /// Nothing of it is kinstall's.
    Elsewhere(&'static str),
}

/// Some files of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// The unit of a component and its drop-ins.
    Unit(&'static str),
    /// The kubeconfig of a component.
    Kubeconfig(&'static str),
    /// The configuration of a component.
    Configuration(&'static str),
    /// The configuration of the network plugins.
    Network,
    /// etcd's data directory.
    Data,
    /// The directories of certificates and keys, and what is in them.
    Pki,
    /// Certificates.
    Certificates,
    /// Private keys.
    Keys,
    /// The authority that a kubelet is given.
    KubeletAuthority,
}

/// How a flag or a field should be.
#[derive(Debug, Clone, Copy)]
pub enum Requirement {
    /// All of these are said.
    Set(&'static [&'static str]),
    /// It is not said.
    Unset(&'static str),
    /// It is said, with this value.
    Is(&'static str, &'static str),
    /// It has this value, or is not said.
    IsUnlessUnset(&'static str, &'static str),
    /// This is in its list.
    Has(&'static str, &'static str),
    /// It is said, and this is not in its list.
    Lacks(&'static str, &'static str),
    /// This is not in its list, or it is not said.
    LacksOrUnset(&'static str, &'static str),
    /// It is at least this number.
    AtLeast(&'static str, u64),
    /// It is some time, or not said.
    SomeTime(&'static str),
    /// It is an address of the machine's own loopback, or not said.
    Loopback(&'static str),
    /// Nothing else is in its list.
    Among(&'static str, &'static [&'static str]),
}

/// How a check turned out, the better the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// There is nothing here that it could be asked of.
    NotApplicable,
    /// It is as it should be.
    Pass,
    /// A person has to look.
    Manual,
    /// It is not as it should be.
    Fail,
}

impl Status {
    /// All of them, in the order they are counted.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Manual, Self::NotApplicable];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotApplicable => "not applicable",
            Self::Pass => "pass",
            Self::Manual => "manual",
            Self::Fail => "fail",
        }
    }
}

/// How a check turned out, why, and on which nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How.
    pub status: Status,
    /// Why.
    pub reason: String,
    /// The nodes it was like that on; none where it was asked of none.
    pub nodes: Vec<NodeName>,
}

/// A check and its verdict.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The check.
    pub check: &'static Check,
    /// How it turned out.
    pub verdict: Verdict,
}

impl Check {
    /// The section it is in.
    pub fn section(&self) -> &'static str {
        let within = |(section, _): &&(&'static str, _)| {
            let rest = self.id.strip_prefix(section);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        SECTIONS.iter().find(within).map_or("", |found| found.0)
    }
}

/// Asks every check of these nodes; of each, what was worst counts.
pub fn score(views: &[View<'_>]) -> Vec<Scored> {
    let scored = |check: &'static Check| {
        let mut worst: Option<Verdict> = None;
        for view in views {
            let (status, reason) = judge::judge(check, view);
            let node = view.node.name.clone();
            match &mut worst {
                Some(worst) if (worst.status, &worst.reason) == (status, &reason) => {
                    worst.nodes.push(node);
                }
                Some(worst) if worst.status >= status => {}
                worst => {
                    *worst = Some(Verdict {
                        status,
                        reason,
                        nodes: vec![node],
                    });
                }
            }
        }
        let verdict = worst.unwrap_or_else(|| Verdict {
            status: Status::NotApplicable,
            reason: "there is no node".to_owned(),
            nodes: Vec::new(),
        });
        Scored { check, verdict }
    };
    CHECKS.iter().map(scored).collect()
}
