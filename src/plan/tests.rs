//! What a plan is for clusters that can be told in a line.

mod data;
mod drain;
mod members;

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Versions, file, found, manifest, unit_name};
use super::{Direction, Plan, Refusal, View};
use crate::action::{Action, Group, WaveName};
use crate::diff;
use crate::digest::Digest;
use crate::inventory::{NodeName, OnFailure, Rollout};
use crate::manifest::{Manifest, Stage};
use crate::membership::Changes;
use crate::remote_path::RemotePath;
use crate::snapshot::{Format, FoundKind, Recorded, Snapshot, UnitState};

static NONE: BTreeSet<Digest> = BTreeSet::new();

const WISH: Versions = Versions {
    etcd: 1,
    kubernetes: 1,
    flag: 1,
    ca: 1,
};

/// A node that holds, runs and has on record what a manifest says.
fn settled(manifest: &Manifest) -> Snapshot {
    let unit = |unit| UnitState {
        active: "active".into(),
        enabled: true,
        applied: Some(diff::fingerprint(manifest, unit)),
        ..UnitState::default()
    };
    let recorded = Recorded {
        format: Format::default(),
        generation: 1,
        manifest: manifest.clone(),
        retired: BTreeMap::new(),
    };
    Snapshot {
        systemd: Some(252),
        owned: true,
        entries: manifest
            .entries
            .iter()
            .map(|(path, it)| (path.clone(), found(it)))
            .collect(),
        units: manifest
            .units
            .iter()
            .map(|(name, it)| (name.clone(), unit(it)))
            .collect(),
        recorded: Some(recorded),
        ..Snapshot::default()
    }
}

struct Cluster {
    nodes: BTreeMap<NodeName, (Manifest, Snapshot)>,
    rollout: Rollout,
}

impl Cluster {
    /// Three nodes that are as they should be, and what they should be from now on.
    fn settled(before: Versions, after: Versions) -> Self {
        Self::of(&["a", "b", "c"], before, after)
    }

    /// The same of nodes of these names.
    fn of(names: &[&str], before: Versions, after: Versions) -> Self {
        let names = names.iter().map(|name| name.parse::<NodeName>().unwrap());
        let node = |name: NodeName| {
            let snapshot = settled(&manifest(&name, before));
            (name.clone(), (manifest(&name, after), snapshot))
        };
        Self {
            nodes: names.map(node).collect(),
            rollout: Rollout::default(),
        }
    }

    fn node(&mut self, name: &str) -> &mut (Manifest, Snapshot) {
        self.nodes.get_mut(&name.parse().unwrap()).unwrap()
    }

    fn plan(&self, direction: Direction, leader: &str) -> Result<Plan, Vec<Refusal>> {
        self.plan_with(direction, leader, None)
    }

    fn plan_with(
        &self,
        direction: Direction,
        leader: &str,
        changes: Option<&Changes>,
    ) -> Result<Plan, Vec<Refusal>> {
        let differences: BTreeMap<_, _> = self
            .nodes
            .iter()
            .map(|(name, (manifest, snapshot))| (name, diff::between(manifest, snapshot)))
            .collect();
        let view = |(name, (manifest, snapshot)): (&NodeName, &'_ (Manifest, Snapshot))| {
            (name.clone(), (manifest.clone(), snapshot.clone()))
        };
        let owned: BTreeMap<_, _> = self.nodes.iter().map(view).collect();
        let views = owned.iter().map(|(name, (manifest, snapshot))| {
            let difference = &differences[name];
            (
                name.clone(),
                View {
                    manifest,
                    snapshot,
                    difference,
                    leads: name.as_str() == leader,
                    retired: &NONE,
                },
            )
        });
        Plan::with_members(&views.collect(), direction, changes, &self.rollout)
    }

    /// The order in which units are touched: waves, and in them nodes that have their turn together.
    #[track_caller]
    fn check_order(&self, direction: Direction, leader: &str, expected: &str) {
        let plan = self.plan(direction, leader).unwrap();
        let touches =
            |actions: &Vec<Action>| actions.iter().any(|action| !action.starts().is_empty());
        let mut told = Vec::new();
        for wave in &plan.waves {
            let groups = wave.groups.iter().map(|group| {
                let nodes = group.steps.iter().filter(|(_, actions)| touches(actions));
                nodes
                    .map(|(name, _)| name.to_string())
                    .collect::<Vec<_>>()
                    .join("+")
            });
            let groups: Vec<_> = groups.filter(|group| !group.is_empty()).collect();
            if !groups.is_empty() {
                told.push(format!("{}: {}", wave.name.name(), groups.join(" ")));
            }
        }
        assert_eq!(told.join("; "), expected);
    }
}

#[test]
fn a_new_cluster_starts_together_and_a_running_one_goes_node_by_node() {
    let mut new = Cluster::settled(WISH, WISH);
    for name in ["a", "b", "c"] {
        new.node(name).1 = Snapshot {
            systemd: Some(252),
            owned: true,
            ..Snapshot::default()
        };
    }
    let order = "etcd: a+b+c; kube-apiserver: a+b+c; controllers: a+b+c";
    new.check_order(Direction::Forward, "", order);

    let flag = Cluster::settled(WISH, Versions { flag: 2, ..WISH });
    let order = "etcd: a b c; kube-apiserver: a b c; controllers: a b c";
    flag.check_order(Direction::Forward, "", order);
    let order = "controllers: a b c; kube-apiserver: a b c; etcd: a b c";
    flag.check_order(Direction::Back, "", order);
}

#[test]
fn as_many_go_at_once_as_the_inventory_says_but_of_etcd_one() {
    let mut flag = Cluster::settled(WISH, Versions { flag: 2, ..WISH });
    flag.rollout.width.apiserver = 2;
    flag.rollout.width.controllers = 3;
    let order = "etcd: b c a; kube-apiserver: a+b c; controllers: a+b+c";
    flag.check_order(Direction::Forward, "a", order);
}

#[test]
fn controllers_that_were_restarted_are_led_again_before_a_run_ends() {
    let cluster = |after: Versions| {
        let plan = Cluster::settled(WISH, after).plan(Direction::Forward, "");
        let groups = plan.unwrap().waves.into_iter().flat_map(|wave| {
            let name = wave.name;
            wave.groups.into_iter().map(move |group| (name, group))
        });
        let leads = groups.filter_map(|(wave, group)| {
            let (node, actions) = group.steps.into_iter().next()?;
            match actions.into_iter().next()? {
                Action::Lead { leases, .. } => Some((wave, node.to_string(), leases.len())),
                _ => None,
            }
        });
        leads.collect::<Vec<_>>()
    };
    let once = [(WaveName::Stage(Stage::Controllers), "c".to_owned(), 2)];
    assert_eq!(cluster(Versions { flag: 2, ..WISH }), once);
    assert_eq!(cluster(Versions { etcd: 2, ..WISH }), []);
}

#[test]
fn workers_come_when_the_control_plane_is_through() {
    let mut cluster = Cluster::settled(WISH, Versions { flag: 2, ..WISH });
    for name in ["b", "c"] {
        let (wanted, snapshot) = cluster.node(name);
        wanted.units.clear();
        *snapshot = Snapshot {
            owned: true,
            ..Snapshot::default()
        };
    }
    for (width, expected) in [(10, "b+c"), (1, "b c")] {
        cluster.rollout.width.workers = width;
        let plan = cluster.plan(Direction::Forward, "").unwrap();
        let names: Vec<_> = plan.waves.iter().map(|wave| wave.name).collect();
        let due = [
            WaveName::Base,
            WaveName::Stage(Stage::Etcd),
            WaveName::Stage(Stage::Apiserver),
            WaveName::Stage(Stage::Controllers),
            WaveName::Stage(Stage::Workers),
            WaveName::Record,
        ];
        assert_eq!(names, due);
        let together = |group: &Group| {
            let names: Vec<_> = group.steps.keys().map(NodeName::as_str).collect();
            names.join("+")
        };
        let workers: Vec<_> = plan.waves[4].groups.iter().map(together).collect();
        assert_eq!(workers.join(" "), expected);
        assert!(
            !plan.waves[0].groups[0]
                .steps
                .keys()
                .any(|name| name.as_str() != "a")
        );
    }
}

#[test]
fn what_runs_on_workers_has_its_turn_with_all_else_of_theirs_and_goes_back_first() {
    let mut cluster = Cluster::settled(WISH, Versions { flag: 2, ..WISH });
    for name in ["b", "c"] {
        let (wanted, snapshot) = cluster.node(name);
        let runs = unit_name("kube-scheduler");
        wanted.units.retain(|unit, _| *unit == runs);
        wanted.units.get_mut(&runs).unwrap().stage = Stage::Workers;
        snapshot.recorded.as_mut().unwrap().manifest = wanted.clone();
    }
    for direction in [Direction::Forward, Direction::Back] {
        let plan = cluster.plan(direction, "").unwrap();
        let at = |stage| {
            let mut waves = plan.waves.iter();
            waves.position(|wave| wave.name == WaveName::Stage(stage))
        };
        let (servers, workers) = (at(Stage::Apiserver).unwrap(), at(Stage::Workers).unwrap());
        assert_eq!(workers > servers, direction == Direction::Forward);
        for group in &plan.waves[workers].groups {
            for (node, actions) in &group.steps {
                assert!(["b", "c"].contains(&node.as_str()), "{node}");
                let words: Vec<_> = actions.iter().map(Action::name).collect();
                assert_eq!(
                    words,
                    ["begin", "install", "transaction", "await"],
                    "{node}"
                );
            }
        }
    }
}

#[test]
fn a_node_goes_back_by_itself_unless_it_is_to_stay() {
    let mut flag = Cluster::settled(WISH, Versions { flag: 2, ..WISH });
    for (_, snapshot) in flag.nodes.values_mut() {
        let kinds = snapshot.entries.values().map(|found| &found.kind);
        let digests = kinds.filter_map(|kind| match kind {
            FoundKind::File { digest, .. } => *digest,
            _ => None,
        });
        snapshot.stored = digests.collect();
    }
    for (on_failure, goes_back) in [(OnFailure::Revert, true), (OnFailure::Stay, false)] {
        flag.rollout.on_failure = on_failure;
        let plan = flag.plan(Direction::Forward, "").unwrap();
        let groups = plan.waves.iter().flat_map(|wave| &wave.groups);
        let actions = groups.flat_map(|group| group.steps.values().flatten());
        let backs: Vec<bool> = actions
            .filter_map(|action| match action {
                Action::Transaction(transaction) => Some(transaction.back.is_some()),
                _ => None,
            })
            .collect();
        assert_eq!(backs, [goes_back; 9]);
    }
}

#[test]
fn what_is_down_has_its_turn_first_and_the_leader_of_etcd_last() {
    let mut etcd = Cluster::settled(WISH, Versions { etcd: 2, ..WISH });
    etcd.check_order(Direction::Forward, "a", "etcd: b c a");
    etcd.node("c")
        .1
        .units
        .get_mut(&unit_name("etcd"))
        .unwrap()
        .active = "failed".into();
    etcd.check_order(Direction::Forward, "a", "etcd: c b a");
}

#[test]
fn before_something_healthy_is_taken_away_the_others_are_asked() {
    let plan = Cluster::settled(WISH, Versions { etcd: 2, ..WISH })
        .plan(Direction::Forward, "")
        .unwrap();
    let wave = plan
        .waves
        .iter()
        .find(|wave| wave.name == WaveName::Stage(Stage::Etcd))
        .unwrap();
    let asked: Vec<Vec<&str>> = wave
        .groups
        .iter()
        .step_by(2)
        .map(|group| group.steps.keys().map(NodeName::as_str).collect())
        .collect();
    assert_eq!(asked, [["b", "c"], ["a", "c"], ["a", "b"]]);
}

#[test]
fn nothing_to_do_is_an_empty_plan() {
    assert!(
        Cluster::settled(WISH, WISH)
            .plan(Direction::Forward, "")
            .unwrap()
            .is_empty()
    );
}

#[track_caller]
fn check_refused(cluster: &Cluster, expected: &str) {
    let refusals = cluster.plan(Direction::Forward, "").unwrap_err();
    let told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(expected), "{told:?}");
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let mut cluster = Cluster::settled(WISH, WISH);
    cluster
        .node("b")
        .1
        .recorded
        .as_mut()
        .unwrap()
        .manifest
        .cluster = "away".into();
    check_refused(&cluster, "b: belongs to the cluster `away`");
}

#[test]
fn a_key_that_data_depends_on_is_made_and_never_replaced() {
    let path = RemotePath::fixed("/etc/k8s/encryption-config.yaml");
    let mut key = file("the key in pki/");
    key.protected = true;
    let mut cluster = Cluster::settled(WISH, WISH);
    cluster.node("b").0.entries.insert(path.clone(), key);
    assert!(
        cluster.plan(Direction::Forward, "").is_ok(),
        "where there is none it is made"
    );
    cluster
        .node("b")
        .1
        .entries
        .insert(path.clone(), found(&file("another key")));
    check_refused(
        &cluster,
        "b: `/etc/k8s/encryption-config.yaml` holds another key",
    );
    // Gone from the node, it is not made again either where another one is on record.
    let recorded = cluster.node("b").1.recorded.as_mut().unwrap();
    let mut other = file("another key");
    other.protected = true;
    recorded.manifest.entries.insert(path.clone(), other);
    let there = cluster.node("b").1.entries.remove(&path);
    check_refused(
        &cluster,
        "b: `/etc/k8s/encryption-config.yaml` holds another key",
    );
    cluster
        .node("b")
        .1
        .entries
        .extend(there.map(|it| (path.clone(), it)));
    let refusals = cluster.plan(Direction::Back, "").unwrap_err();
    let due = "b: the generation to go back to has another key in `/etc/k8s/encryption-config.yaml`, \
        and what was made with the one there would be lost";
    assert_eq!(refusals[0].to_string(), due);
}
