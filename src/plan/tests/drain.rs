//! When the Pods of a worker are moved to others before its turn.

use super::{Cluster, WISH};
use crate::action::Action;
use crate::inventory::Drain;
use crate::plan::model::{Versions, unit_name};
use crate::plan::{Direction, Refusal};

const MINOR: Versions = Versions {
    kubernetes: 2,
    ..WISH
};
const FLAG: Versions = Versions { flag: 2, ..WISH };

impl Cluster {
    /// What is done on the worker.
    fn turn(&self) -> Vec<Action> {
        let plan = self.plan(Direction::Forward, "").unwrap();
        let groups = plan.waves.iter().flat_map(|wave| &wave.groups);
        let worker = "w0".parse().unwrap();
        let steps = groups.filter_map(|group| group.steps.get(&worker));
        steps.flatten().cloned().collect()
    }

    #[track_caller]
    fn check_drains(&self, expected: bool) {
        let turn = self.turn();
        let drains = turn
            .iter()
            .position(|step| matches!(step, Action::Drain { .. }));
        let restarts = turn.iter().position(|step| !step.starts().is_empty());
        let drains_before = drains.map(|at| at + 1);
        assert_eq!(drains_before, restarts.filter(|_| expected), "{turn:#?}");
        if let Some(Action::Drain { through, .. }) = drains.map(|at| &turn[at]) {
            assert_eq!(through.as_str(), "a");
            // It is opened to Pods again.
            assert!(turn.iter().any(|step| matches!(step, Action::Ready { .. })));
        }
    }
}

#[test]
fn pods_are_moved_away_for_a_minor_step_of_a_kubelet_or_as_the_inventory_says() {
    for (after, when, expected) in [
        (MINOR, Drain::Minor, true),
        (MINOR, Drain::Always, true),
        (MINOR, Drain::Never, false),
        (FLAG, Drain::Minor, false),
        (FLAG, Drain::Always, true),
        (FLAG, Drain::Never, false),
    ] {
        let mut cluster = Cluster::of(&["a", "w0"], WISH, after);
        cluster.rollout.drain = when;
        cluster.check_drains(expected);
    }
}

#[test]
fn a_node_without_a_kubelet_that_runs_has_no_pods_to_move() {
    let mut down = Cluster::of(&["a", "w0"], WISH, MINOR);
    let (_, snapshot) = down.node("w0");
    let kubelet = snapshot.units.get_mut(&unit_name("kubelet")).unwrap();
    kubelet.active = "failed".into();
    down.check_drains(false);

    let mut new = Cluster::of(&["a", "w0"], WISH, MINOR);
    let (_, snapshot) = new.node("w0");
    *snapshot = crate::snapshot::Snapshot {
        systemd: Some(252),
        owned: true,
        ..Default::default()
    };
    new.rollout.drain = Drain::Always;
    new.check_drains(false);
}

#[test]
fn a_run_without_the_control_plane_cannot_move_pods_away() {
    let mut alone = Cluster::of(&["w0"], WISH, MINOR);
    let refusals = alone.plan(Direction::Forward, "").unwrap_err();
    let node = "w0".parse().unwrap();
    assert_eq!(refusals, [Refusal::Undrained { node }]);
    alone.rollout.drain = Drain::Never;
    alone.plan(Direction::Forward, "").unwrap();
}
