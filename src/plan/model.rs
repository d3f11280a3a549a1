//! A model of a cluster, to prove of every plan what must hold of every push: random clusters,
//! random inventories, edits by hand, failures after any number of actions, then a rerun.
//!
//! `KINSTALL_MODEL_CASES` sets the number of cases, `KINSTALL_MODEL_FIRST` the first; each has its
//! own seed, told when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::action::{Action, FileOperation, Group, Steps};
use crate::arch::Arch;
use crate::component::Scheme;
use crate::diff::{self, Difference};
use crate::digest::Digest;
use crate::fuzz::Random;
use crate::inventory::{NodeName, Rollout, Widths};
use crate::manifest::{Entry, Kind, Manifest, Mode, Probe, Registration, Stage, Unit, UnitName};
use crate::plan::{Direction, Plan, View};
use crate::remote_path::RemotePath;
use crate::snapshot::{Found, FoundKind, Recorded, Snapshot, UnitState};

static NONE: BTreeSet<Digest> = BTreeSet::new();

const CASES_DEFAULT: u64 = 1000;
/// Pushes of one case that may fail before the last one, which does not.
const PUSHES_MAX: u64 = 6;

/// What an inventory says, as far as a plan is concerned: the version of each thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions {
    pub(super) etcd: u64,
    pub(super) kubernetes: u64,
    pub(super) flag: u64,
    pub(super) ca: u64,
}

fn path(text: &str) -> RemotePath {
    RemotePath::fixed(text)
}

pub(super) fn file(seed: &str) -> Entry {
    let kind = Kind::File {
        digest: Digest::of(seed.as_bytes()),
        size: 1,
    };
    entry(kind)
}

fn entry(kind: Kind) -> Entry {
    let mode = if matches!(kind, Kind::Link { .. }) {
        Mode(0)
    } else {
        Mode(0o644)
    };
    Entry {
        kind,
        mode,
        user: "root".into(),
        group: "root".into(),
        secret: false,
        protected: false,
    }
}

const UNITS: [(&str, Stage); 6] = [
    ("etcd", Stage::Etcd),
    ("kube-apiserver", Stage::Apiserver),
    ("kube-controller-manager", Stage::Controllers),
    ("kube-scheduler", Stage::Controllers),
    ("containerd", Stage::Workers),
    ("kubelet", Stage::Workers),
];

pub(super) fn manifest(node: &NodeName, wish: Versions) -> Manifest {
    let mut entries = BTreeMap::new();
    let mut units = BTreeMap::new();
    entries.insert(path("/etc/sysusers.d/kinstall.conf"), file("users"));
    entries.insert(path("/etc/k8s"), entry(Kind::Directory));
    entries.insert(path("/etc/k8s/ca.pem"), file(&format!("ca {}", wish.ca)));
    entries.insert(
        path("/usr/local/bin/kubectl"),
        file(&format!("kubectl {}", wish.kubernetes)),
    );
    let has = |stage| is_worker(node) == (stage == Stage::Workers);
    for (name, stage) in UNITS.into_iter().filter(|(_, stage)| has(*stage)) {
        let version = if stage == Stage::Etcd {
            wish.etcd
        } else {
            wish.kubernetes
        };
        let program = path(&format!("/usr/local/bin/{name}-v{version}"));
        let link = path(&format!("/usr/local/bin/{name}"));
        let unit = path(&format!("/etc/systemd/system/{name}.service"));
        entries.insert(program.clone(), file(&format!("{name} {version}")));
        let target = program.file_name().to_owned();
        entries.insert(link.clone(), entry(Kind::Link { target }));
        entries.insert(
            unit.clone(),
            file(&format!("unit {name} {} {version}", wish.flag)),
        );
        let watches = BTreeSet::from([program, link, unit, path("/etc/k8s/ca.pem")]);
        let probe = Some(Probe {
            scheme: Scheme::Https,
            port: 1,
            path: "/".into(),
            client: None,
            authority: None,
        });
        let unit = Unit {
            component: name.into(),
            stage,
            probe,
            watches,
            lease: (stage == Stage::Controllers).then(|| format!("/{name}")),
            first_start: None,
            registration: (name == "kubelet").then(|| registration(node, wish)),
        };
        units.insert(unit_name(name), unit);
    }
    let (cluster, node) = ("model".to_owned(), node.to_string());
    Manifest {
        cluster,
        node,
        arch: Arch::Arm64,
        versions: BTreeMap::new(),
        entries,
        units,
    }
}

fn registration(node: &NodeName, wish: Versions) -> Registration {
    Registration {
        version: format!("1.{}.0", wish.kubernetes),
        labels: [("flag".to_owned(), format!("{node}-{}", wish.flag))].into(),
        taints: BTreeSet::new(),
        pod_range: None,
        servers: vec!["10.0.0.1:6443".parse().unwrap()],
    }
}

pub(super) fn unit_name(name: &str) -> UnitName {
    format!("{name}.service").parse().unwrap()
}

/// A node as the model has it.
#[derive(Debug, Clone, Default)]
struct Node {
    entries: BTreeMap<RemotePath, Found>,
    stored: BTreeSet<Digest>,
    /// For each unit that runs: what it read when it started.
    running: BTreeMap<UnitName, BTreeMap<RemotePath, Found>>,
    enabled: BTreeSet<UnitName>,
    applied: BTreeMap<UnitName, String>,
    recorded: Option<Recorded>,
    begun: Option<BTreeMap<RemotePath, Entry>>,
    /// The Node that the cluster has of it.
    registered: Option<Registration>,
}

pub(super) fn found(entry: &Entry) -> Found {
    let [user, group] = [&entry.user, &entry.group].map(ToString::to_string);
    Found {
        kind: FoundKind::of(&entry.kind),
        mode: entry.mode.0,
        user,
        group,
        modified: 0,
    }
}

impl Node {
    fn snapshot(&self) -> Snapshot {
        let unit = |(name, _): (&'static str, Stage)| {
            let name = unit_name(name);
            let active = if self.running.contains_key(&name) {
                "active"
            } else {
                "inactive"
            };
            let state = UnitState {
                active: active.to_owned(),
                enabled: self.enabled.contains(&name),
                applied: self.applied.get(&name).cloned(),
                ..UnitState::default()
            };
            (name, state)
        };
        Snapshot {
            arch: Some(Arch::Arm64),
            systemd: Some(252),
            owned: true,
            entries: self.entries.clone(),
            units: UNITS.into_iter().map(unit).collect(),
            stored: self.stored.clone(),
            recorded: self.recorded.clone(),
            begun: self.begun.clone(),
            ..Snapshot::default()
        }
    }

    fn put(&mut self, put: &FileOperation) {
        match put {
            FileOperation::Users(path) => {
                assert!(self.entries.contains_key(path), "users before their file");
            }
            FileOperation::Remove(path) => drop(self.entries.remove(path)),
            FileOperation::Unsettle(unit) => drop(self.applied.remove(unit)),
            FileOperation::Entry(path, entry) => {
                if let Kind::File { digest, .. } = entry.kind {
                    assert!(
                        self.stored.contains(&digest),
                        "{path} is put in place unstaged"
                    );
                }
                if let Kind::Link { target } = &entry.kind {
                    let target = path.parent().unwrap().join(target).unwrap();
                    assert!(
                        self.entries.contains_key(&target),
                        "{path} leads nowhere for a while"
                    );
                }
                self.entries.insert(path.clone(), found(entry));
            }
        }
    }

    /// Carries a steps out for as long as there is power. Whether it came to its end.
    fn steps(
        &mut self,
        steps: &Steps,
        manifest: &Manifest,
        go_on: &mut impl FnMut() -> bool,
    ) -> bool {
        for put in &steps.operations {
            if !go_on() {
                return false;
            }
            self.put(put);
        }
        for start in &steps.starts {
            let unit = &start.unit;
            if !go_on() {
                return false;
            }
            let before = self.applied.get(unit).cloned();
            self.start(unit, manifest, &start.fingerprint);
            // The power may go after the restart and before the fingerprint is kept.
            if !go_on() {
                match before {
                    Some(before) => drop(self.applied.insert(unit.clone(), before)),
                    None => drop(self.applied.remove(unit)),
                }
                return false;
            }
        }
        true
    }

    fn start(&mut self, unit: &UnitName, manifest: &Manifest, fingerprint: &str) {
        let watches = &manifest.units[unit].watches;
        let read = watches.iter().map(|path| {
            let found = self
                .entries
                .get(path)
                .unwrap_or_else(|| panic!("{unit} starts without {path}"));
            (path.clone(), found.clone())
        });
        let read = read.collect();
        self.running.insert(unit.clone(), read);
        self.enabled.insert(unit.clone());
        self.applied.insert(unit.clone(), fingerprint.to_owned());
    }
}

struct Model {
    random: Random,
    nodes: BTreeMap<NodeName, Node>,
    /// A node on which units do not start.
    failing: Option<NodeName>,
    rollout: Rollout,
}

/// Whether a node of the model has nothing of the control plane.
fn is_worker(node: &NodeName) -> bool {
    node.as_str().starts_with('w')
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let count: u64 = [1, 3, 3, 5][usize::try_from(random.below(4)).unwrap()];
        let workers = random.below(3);
        let masters = (0..count).map(|index| format!("n{index}"));
        let workers = (0..workers).map(|index| format!("w{index}"));
        let mut below = |most: u64| usize::try_from(1 + random.below(most)).unwrap();
        let width = Widths {
            apiserver: below(count.div_ceil(2)),
            controllers: below(count),
            workers: below(2),
        };
        Self {
            nodes: masters
                .chain(workers)
                .map(|name| (name.parse().unwrap(), Node::default()))
                .collect(),
            random,
            failing: None,
            rollout: Rollout {
                width,
                ..Rollout::default()
            },
        }
    }

    fn wish(&mut self) -> Versions {
        let mut below = || self.random.below(3);
        Versions {
            etcd: below(),
            kubernetes: below(),
            flag: below(),
            ca: below(),
        }
    }

    /// Somebody does something by hand, or a machine fails.
    fn meddle(&mut self) {
        for node in self.nodes.values_mut() {
            if self.random.one_in(8) {
                let which = self.random.below(UNITS.len() as u64);
                let (name, _) = UNITS[usize::try_from(which).unwrap()];
                node.running.remove(&unit_name(name));
            }
            if self.random.one_in(8) && !node.entries.is_empty() {
                let count = node.entries.len() as u64;
                let index = usize::try_from(self.random.below(count)).unwrap();
                let path = node.entries.keys().nth(index).unwrap().clone();
                match self.random.below(3) {
                    0 => drop(node.entries.remove(&path)),
                    1 => drop(node.entries.insert(path, found(&file("by hand")))),
                    _ => node.entries.get_mut(&path).unwrap().mode = 0o600,
                }
            }
        }
    }

    /// One push, which dies after so many actions. Whether it came to its end.
    fn push(&mut self, wish: Versions, actions_max: u64) -> bool {
        let manifests: BTreeMap<_, _> = self
            .nodes
            .keys()
            .map(|name| (name.clone(), manifest(name, wish)))
            .collect();
        let snapshots: BTreeMap<_, _> = self
            .nodes
            .iter()
            .map(|(name, node)| (name.clone(), node.snapshot()))
            .collect();
        let differences: BTreeMap<NodeName, Difference> = manifests
            .iter()
            .map(|(name, manifest)| (name.clone(), diff::between(manifest, &snapshots[name])))
            .collect();
        let count = self.nodes.len() as u64;
        let leader = usize::try_from(self.random.below(count)).unwrap();
        let leader = self.nodes.keys().nth(leader).unwrap();
        let views = manifests.iter().map(|(name, manifest)| {
            let (snapshot, difference) = (&snapshots[name], &differences[name]);
            (
                name.clone(),
                View {
                    manifest,
                    snapshot,
                    difference,
                    leads: leader == name,
                    retired: &NONE,
                },
            )
        });
        let plan = Plan::new(&views.collect(), Direction::Forward, &self.rollout)
            .expect("the model never asks for what is refused");
        for (name, digests) in &plan.staging {
            self.nodes.get_mut(name).unwrap().stored.extend(digests);
        }
        let mut left = actions_max;
        for group in plan.waves.iter().flat_map(|wave| &wave.groups) {
            if !self.group(group, &manifests, &mut left) {
                return false;
            }
        }
        true
    }

    /// The steps of a group, the nodes taking turns at random.
    fn group(
        &mut self,
        group: &Group,
        manifests: &BTreeMap<NodeName, Manifest>,
        left: &mut u64,
    ) -> bool {
        self.check_width(group, manifests);
        let mut turns: BTreeMap<&NodeName, std::slice::Iter<'_, Action>> = group
            .steps
            .iter()
            .map(|(name, actions)| (name, actions.iter()))
            .collect();
        while !turns.is_empty() {
            let count = turns.len() as u64;
            let index = usize::try_from(self.random.below(count)).unwrap();
            let name = *turns.keys().nth(index).unwrap();
            let Some(action) = turns.get_mut(name).and_then(Iterator::next) else {
                turns.remove(name);
                continue;
            };
            if !self.act(name, action, &manifests[name], left) {
                return false;
            }
        }
        true
    }

    fn act(
        &mut self,
        name: &NodeName,
        action: &Action,
        manifest: &Manifest,
        left: &mut u64,
    ) -> bool {
        let mut go_on = || {
            let alive = *left > 0;
            *left = left.saturating_sub(1);
            alive
        };
        let starts = action.starts().iter();
        let stages: BTreeSet<Stage> = starts
            .map(|start| manifest.units[&start.unit].stage)
            .collect();
        if stages.contains(&Stage::Workers) {
            self.check_worker(name, manifest);
        }
        if stages.contains(&Stage::Controllers) {
            let server = self.nodes[name]
                .running
                .contains_key(&unit_name("kube-apiserver"));
            assert!(
                server,
                "a controller starts before the kube-apiserver of its node"
            );
        }
        let node = self.nodes.get_mut(name).unwrap();
        match action {
            Action::Begin { entries } if go_on() => node.begun = Some(entries.clone()),
            Action::Install(operations) => {
                for put in operations {
                    if !go_on() {
                        return false;
                    }
                    node.put(put);
                }
            }
            Action::Transaction(transaction) => {
                if !node.steps(&transaction.forward, manifest, &mut go_on) {
                    return false;
                }
                // A unit does not start: the node goes back, and the run is over.
                if self.failing == Some(name.clone()) {
                    let recorded = node.recorded.clone();
                    if let (Some(back), Some(recorded)) = (&transaction.back, recorded) {
                        node.steps(back, &recorded.manifest, &mut go_on);
                    }
                    return false;
                }
            }
            Action::Await { unit, .. } => {
                assert!(
                    node.running.contains_key(unit),
                    "{name}: {unit} is awaited and down"
                );
            }
            Action::Lead { leases, .. } => {
                let runs =
                    |unit: &UnitName| self.nodes.values().any(|it| it.running.contains_key(unit));
                assert!(leases.keys().all(runs), "nobody could lead {leases:?}");
                let server = unit_name("kube-apiserver");
                assert!(
                    self.nodes[name].running.contains_key(&server),
                    "nobody to ask"
                );
            }
            Action::Register { registration, .. } if go_on() => {
                node.registered = Some(registration.clone());
            }
            Action::Drain { through, .. } => {
                assert!(
                    self.nodes[through]
                        .running
                        .contains_key(&unit_name("kube-apiserver")),
                    "{name} is drained through {through}, which has no kube-apiserver"
                );
            }
            Action::Ready { unit, registration } => {
                assert!(node.running.contains_key(unit), "{name} cannot get Ready");
                assert_eq!(node.registered.as_ref(), Some(registration), "{name}");
            }
            Action::Record(recorded) if go_on() => {
                node.recorded = Some((**recorded).clone());
                node.begun = None;
            }
            Action::Begin { .. } | Action::Record(_) | Action::Register { .. } => return false,
            // Nothing of the model is systemd's own.
            Action::Reload => {}
            Action::Member(_) | Action::Enlist { .. } => {
                unreachable!("the members of the model stay")
            }
            Action::Stop(_) => unreachable!("the model drops no unit"),
        }
        true
    }

    /// A worker has its turn when there is a control plane of its version to talk to, and its Node is there.
    fn check_worker(&self, name: &NodeName, manifest: &Manifest) {
        let registered = manifest.units[&unit_name("kubelet")].registration.as_ref();
        assert_eq!(self.nodes[name].registered.as_ref(), registered, "{name}");
        let server = unit_name("kube-apiserver");
        for (other, node) in self.nodes.iter().filter(|(name, _)| !is_worker(name)) {
            assert!(
                node.running.contains_key(&server),
                "{name} has its turn while {other} has no kube-apiserver"
            );
        }
    }

    /// Of a kind that runs anywhere, no more nodes are chosen in a group than may be away at once,
    /// and while they are, all others of that kind that should run do.
    fn check_width(&self, group: &Group, manifests: &BTreeMap<NodeName, Manifest>) {
        for stage in Stage::ALL {
            let touches = |actions: &Vec<Action>, name: &NodeName| {
                let mut starts = actions.iter().flat_map(Action::starts);
                starts.any(|start| manifests[name].units[&start.unit].stage == stage)
            };
            let width = match stage {
                Stage::Etcd => 1,
                Stage::Apiserver => self.rollout.width.apiserver,
                Stage::Controllers => self.rollout.width.controllers,
                Stage::Workers => self.rollout.width.workers,
            };
            let chosen: Vec<_> = group
                .steps
                .iter()
                .filter(|(name, it)| touches(it, name))
                .map(|(name, _)| name)
                .collect();
            let runs = |node: &Node| {
                UNITS
                    .iter()
                    .any(|(unit, of)| *of == stage && node.running.contains_key(&unit_name(unit)))
            };
            if self.nodes.values().any(runs) {
                assert!(
                    chosen.len() <= width,
                    "{stage:?}: {chosen:?} are chosen together"
                );
            }
            let takes_away = chosen.iter().any(|name| runs(&self.nodes[*name]));
            if takes_away && [Stage::Etcd, Stage::Apiserver].contains(&stage) {
                let others = self.nodes.iter();
                let others = others.filter(|(name, _)| !chosen.contains(name) && !is_worker(name));
                for (name, node) in others {
                    assert!(
                        runs(node),
                        "{stage:?}: {chosen:?} is taken away while {name} is down"
                    );
                }
            }
        }
    }

    /// Every node holds what it should, every process runs on it, and another push would do nothing.
    fn check_converged(&self, wish: Versions) {
        for (name, node) in &self.nodes {
            let manifest = manifest(name, wish);
            for (path, entry) in &manifest.entries {
                let there = node
                    .entries
                    .get(path)
                    .unwrap_or_else(|| panic!("{path} is missing"));
                assert_eq!(there.kind, found(entry).kind, "{path}");
            }
            for (unit, wanted) in &manifest.units {
                for path in &wanted.watches {
                    assert_eq!(
                        node.running[unit][path].kind, node.entries[path].kind,
                        "{unit} {path}"
                    );
                }
            }
            let mut registered = manifest.units.values();
            let registered = registered.find_map(|unit| unit.registration.as_ref());
            assert_eq!(node.registered.as_ref(), registered, "{name}");
            let difference = diff::between(&manifest, &node.snapshot());
            assert!(
                difference.is_empty(),
                "a second push would do {difference:?}"
            );
            let retired = &node.recorded.as_ref().unwrap().retired;
            let ours = manifest.entries.len() + retired.len();
            let there = node
                .entries
                .keys()
                .filter(|path| path.as_str() != "/elsewhere");
            assert!(
                there.count() <= ours,
                "something is left over: {:?}",
                node.entries.keys()
            );
        }
    }
}

fn case(seed: u64) {
    let mut model = Model::new(seed);
    for _ in 0..model.random.below(PUSHES_MAX) {
        let wish = model.wish();
        let actions_max = model.random.below(160);
        let failing = model.random.below(3 * model.nodes.len() as u64);
        let failing = usize::try_from(failing).unwrap();
        model.failing = model.nodes.keys().nth(failing).cloned();
        model.push(wish, actions_max);
        model.meddle();
    }
    model.failing = None;
    let wish = model.wish();
    assert!(model.push(wish, u64::MAX));
    model.check_converged(wish);
}

#[test]
fn whatever_happened_before_a_push_converges_and_breaks_no_rule() {
    let cases = std::env::var("KINSTALL_MODEL_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    let first = std::env::var("KINSTALL_MODEL_FIRST")
        .ok()
        .and_then(|text| text.parse().ok());
    let first: u64 = first.unwrap_or(0);
    let cases: u64 = cases.unwrap_or(CASES_DEFAULT);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + cases {
                        break;
                    }
                    let outcome = std::panic::catch_unwind(|| case(seed));
                    assert!(outcome.is_ok(), "the case of seed {seed} fails");
                }
            });
        }
    });
    println!("{cases} cases, each converged, no rule broken");
}
