//! Which version may follow which, judged by what runs on the nodes, not by what was recorded.
//!
//! Source: the Kubernetes version skew policy (kube-apiserver may not skip a minor version, even
//! alone; going back is not covered by it), and etcd's upgrade guides (one minor at a time, never
//! down, to some only from a late patch: [`etcd_floor`]).

use std::collections::BTreeMap;

use super::guard::Refusal;
use super::{Direction, View};
use crate::inventory::NodeName;
use crate::inventory::pairing::etcd_floor;
use crate::manifest::{Manifest, Stage};
use crate::snapshot::UnitState;
use crate::version::{Minor, Version};

/// Every step from what runs to what is wanted that must not be taken.
pub(super) fn refusals(views: &BTreeMap<NodeName, View<'_>>, direction: Direction) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (node, view) in views {
        for (name, unit) in &view.manifest.units {
            let state = view
                .snapshot
                .units
                .get(name)
                .filter(|state| state.is_active());
            let Some(running) = state.and_then(running) else {
                continue;
            };
            let wanted = view.manifest.versions.get(&unit.component);
            let Some(wanted) = wanted.and_then(|text| text.parse().ok()) else {
                continue;
            };
            let step = Step {
                running,
                wanted,
                direction,
            };
            let problem = match unit.stage {
                Stage::Etcd => step.of_etcd(),
                Stage::Apiserver => step.of_apiserver(),
                // They follow the kube-apiserver of their node, which the inventory holds them to.
                Stage::Controllers | Stage::Workers => None,
            };
            if let Some(problem) = problem {
                let (node, component) = (node.clone(), unit.component.clone());
                refusals.push(Refusal::Skew {
                    node,
                    component,
                    running,
                    wanted,
                    problem,
                });
            }
        }
    }
    refusals
}

/// Whether the components of a stage may go back to the versions of an older manifest.
pub(super) fn may_go_back(stage: Stage, from: &Manifest, to: &Manifest) -> bool {
    let units = to.units.values().filter(|unit| unit.stage == stage);
    let mut steps = units.filter_map(|unit| {
        let version = |manifest: &Manifest| manifest.versions.get(&unit.component)?.parse().ok();
        Some(Step {
            running: version(from)?,
            wanted: version(to)?,
            direction: Direction::Back,
        })
    });
    steps.all(|step| match stage {
        Stage::Etcd => step.of_etcd().is_none(),
        Stage::Apiserver => step.of_apiserver().is_none(),
        Stage::Controllers | Stage::Workers => true,
    })
}

/// The version of the program that a unit's process was started from, by the name it lies under.
pub fn running(state: &UnitState) -> Option<Version> {
    let (_, name) = state.program.as_ref()?.path.rsplit_once('/')?;
    let (_, version) = name.rsplit_once("-v")?;
    // A build of the user's own has its digest behind the version.
    version.split('-').next()?.parse().ok()
}

/// What is wrong with a step from one version to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It skips these lines of releases.
    Skips(Vec<Minor>),
    /// It goes back.
    Down,
    /// It needs at least this version first.
    Floor(Version),
}

#[derive(Clone, Copy)]
struct Step {
    running: Version,
    wanted: Version,
    direction: Direction,
}

impl Step {
    fn of_apiserver(self) -> Option<Problem> {
        let (running, wanted) = (self.running.minor(), self.wanted.minor());
        let back = running.minor.saturating_sub(wanted.minor);
        match self.direction {
            Direction::Forward if back > 0 => Some(Problem::Down),
            Direction::Back if back > 1 => Some(Problem::Down),
            _ => self.skips(),
        }
    }

    fn of_etcd(self) -> Option<Problem> {
        let down = match self.direction {
            Direction::Forward => self.wanted < self.running,
            // Members of one line read each other's data.
            Direction::Back => self.wanted.minor() < self.running.minor(),
        };
        if down {
            return Some(Problem::Down);
        }
        let line = self.wanted.minor();
        let floor =
            etcd_floor(line).filter(|floor| self.running.minor() < line && self.running < *floor);
        self.skips().or(floor.map(Problem::Floor))
    }

    fn skips(self) -> Option<Problem> {
        let Version { major, minor, .. } = self.running;
        let between: Vec<_> = (minor + 1..self.wanted.minor)
            .map(|minor| Minor::new(major, minor))
            .collect();
        (!between.is_empty()).then_some(Problem::Skips(between))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Program;

    fn told(problem: Option<Problem>) -> String {
        match problem {
            None => String::new(),
            Some(Problem::Down) => "down".to_owned(),
            Some(Problem::Floor(floor)) => format!("floor {floor}"),
            Some(Problem::Skips(minors)) => {
                let minors: Vec<String> = minors.iter().map(ToString::to_string).collect();
                format!("skips {}", minors.join(" "))
            }
        }
    }

    #[track_caller]
    fn check(of: fn(Step) -> Option<Problem>, from: &str, to: &str, forward: &str, back: &str) {
        let [running, wanted] = [from, to].map(|text| text.parse().unwrap());
        let step = |direction| Step {
            running,
            wanted,
            direction,
        };
        assert_eq!(told(of(step(Direction::Forward))), forward);
        assert_eq!(told(of(step(Direction::Back))), back);
    }

    #[test]
    fn kube_apiserver_goes_up_one_minor_and_back_only_by_rollback() {
        let check = |from, to, forward, back| check(Step::of_apiserver, from, to, forward, back);
        check("1.32.3", "1.32.3", "", "");
        check("1.32.3", "1.33.0", "", "");
        check("1.32.3", "1.32.1", "", "");
        check("1.32.3", "1.34.0", "skips 1.33", "skips 1.33");
        check("1.32.3", "1.35.0", "skips 1.33 1.34", "skips 1.33 1.34");
        check("1.32.3", "1.31.9", "down", "");
        check("1.32.3", "1.30.9", "down", "down");
    }

    #[test]
    fn etcd_never_goes_down_a_line_and_up_only_from_its_floor() {
        let check = |from, to, forward, back| check(Step::of_etcd, from, to, forward, back);
        check("3.4.23", "3.5.21", "", "");
        check("3.5.21", "3.5.20", "down", "");
        check("3.5.21", "3.4.30", "down", "down");
        check("3.5.31", "3.6.5", "floor 3.5.32", "floor 3.5.32");
        check("3.5.32", "3.6.5", "", "");
        check("3.6.8", "3.7.0", "floor 3.6.11", "floor 3.6.11");
        check("3.4.23", "3.6.5", "skips 3.5", "skips 3.5");
    }

    #[test]
    fn the_running_version_is_that_of_the_program_a_process_was_started_from() {
        let of = |program: &str| {
            running(&UnitState {
                program: Some(Program {
                    path: program.to_owned(),
                    is_gone: false,
                }),
                ..UnitState::default()
            })
        };
        assert_eq!(
            of("/usr/local/bin/kube-apiserver-v1.32.3"),
            Some(Version::new(1, 32, 3))
        );
        assert_eq!(
            of("/usr/local/bin/etcd-v3.5.21-own-12345678"),
            Some(Version::new(3, 5, 21))
        );
        assert_eq!(of("/usr/bin/etcd"), None);
    }
}
