//! What a plan is for clusters that can be told in a line.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Wish, file, found, manifest, unit_name};
use super::{Direction, Plan, Refusal, View};
use crate::action::{Action, WaveName};
use crate::diff;
use crate::digest::Digest;
use crate::inventory::NodeName;
use crate::manifest::{Manifest, Stage};
use crate::remote_path::RemotePath;
use crate::snapshot::{Recorded, Snapshot, UnitState};

static NONE: BTreeSet<Digest> = BTreeSet::new();

const WISH: Wish = Wish {
    etcd: 1,
    kubernetes: 1,
    flag: 1,
    ca: 1,
};

/// A node that holds, runs and has on record what a manifest says.
fn settled(manifest: &Manifest) -> Snapshot {
    let unit = |name: &str| UnitState {
        active: "active".into(),
        enabled: true,
        applied: Some(diff::fingerprint(
            manifest,
            &manifest.units[&unit_name(name)].watches,
        )),
        ..UnitState::default()
    };
    let names = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ];
    let recorded = Recorded {
        generation: 1,
        manifest: manifest.clone(),
        superseded: BTreeMap::new(),
    };
    Snapshot {
        systemd: Some(252),
        owned: true,
        entries: manifest
            .entries
            .iter()
            .map(|(path, it)| (path.clone(), found(it)))
            .collect(),
        units: names
            .into_iter()
            .map(|name| (unit_name(name), unit(name)))
            .collect(),
        recorded: Some(recorded),
        ..Snapshot::default()
    }
}

struct Cluster(BTreeMap<NodeName, (Manifest, Snapshot)>);

impl Cluster {
    /// Three nodes that are as they should be, and what they should be from now on.
    fn settled(before: Wish, after: Wish) -> Self {
        let names = ["a", "b", "c"].map(|name| name.parse::<NodeName>().unwrap());
        let node = |name: NodeName| {
            let snapshot = settled(&manifest(&name, before));
            (name.clone(), (manifest(&name, after), snapshot))
        };
        Self(names.into_iter().map(node).collect())
    }

    fn node(&mut self, name: &str) -> &mut (Manifest, Snapshot) {
        self.0.get_mut(&name.parse().unwrap()).unwrap()
    }

    fn plan(&self, direction: Direction, leader: &str) -> Result<Plan, Vec<Refusal>> {
        let differences: BTreeMap<_, _> = self
            .0
            .iter()
            .map(|(name, (manifest, snapshot))| (name, diff::between(manifest, snapshot)))
            .collect();
        let view = |(name, (manifest, snapshot)): (&NodeName, &'_ (Manifest, Snapshot))| {
            (name.clone(), (manifest.clone(), snapshot.clone()))
        };
        let owned: BTreeMap<_, _> = self.0.iter().map(view).collect();
        let views = owned.iter().map(|(name, (manifest, snapshot))| {
            let difference = &differences[name];
            (
                name.clone(),
                View {
                    manifest,
                    snapshot,
                    difference,
                    leads: name.as_str() == leader,
                    superseded: &NONE,
                },
            )
        });
        Plan::new(&views.collect(), direction)
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

    let flag = Cluster::settled(WISH, Wish { flag: 2, ..WISH });
    let order = "etcd: a b c; kube-apiserver: a b c; controllers: a b c";
    flag.check_order(Direction::Forward, "", order);
    let order = "controllers: a b c; kube-apiserver: a b c; etcd: a b c";
    flag.check_order(Direction::Back, "", order);
}

#[test]
fn what_is_down_has_its_turn_first_and_the_leader_of_etcd_last() {
    let mut etcd = Cluster::settled(WISH, Wish { etcd: 2, ..WISH });
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
    let plan = Cluster::settled(WISH, Wish { etcd: 2, ..WISH })
        .plan(Direction::Forward, "")
        .unwrap();
    let wave = plan
        .waves
        .iter()
        .find(|wave| wave.name == WaveName::Etcd)
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
    key.precious = true;
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
        .insert(path, found(&file("another key")));
    check_refused(
        &cluster,
        "b: `/etc/k8s/encryption-config.yaml` holds another key",
    );
}

#[test]
fn members_of_a_running_etcd_cluster_neither_join_nor_leave() {
    let mut cluster = Cluster::settled(WISH, WISH);
    cluster.node("c").1 = Snapshot {
        systemd: Some(252),
        owned: true,
        ..Snapshot::default()
    };
    check_refused(&cluster, "c: would join");
    cluster.node("c").1.begun = Some(BTreeMap::new());
    assert!(
        cluster.plan(Direction::Forward, "").is_ok(),
        "its first push was cut short"
    );

    let mut cluster = Cluster::settled(WISH, WISH);
    cluster
        .node("c")
        .0
        .units
        .retain(|_, unit| unit.stage != Stage::Etcd);
    check_refused(&cluster, "c: would leave");
}
