//! What the first look finds, on nodes that can be told in a line.

mod worker;

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Holder, Look, Severity};
use crate::diff::{self, Difference};
use crate::digest::Digest;
use crate::inventory::{Inventory, NodeName};
use crate::machine::Clock;
use crate::manifest::compose::fixture;
use crate::manifest::{Desired, Manifest};
use crate::plan::View;
use crate::snapshot::{Found, FoundKind, Snapshot};

static NONE: BTreeSet<Digest> = BTreeSet::new();

/// What a node tells where nothing is wrong with it.
const WELL: &str = "\
lies /etc ./etc
lies /etc/systemd/system ./etc/systemd/system
lies /run/kinstall ./run
lies /usr/local/bin ./usr/local/bin
lies /var/lib/kinstall ./var/lib
mount ./etc 1 8:1 rw,rw
mount ./etc/systemd/system 1 8:1 rw,rw
mount ./run 2 0:2 rw,nosuid,noexec,rw
mount ./usr/local/bin 1 8:1 rw,rw
mount ./var/lib 3 8:3 rw,rw
room ./etc 4096 1000000 500000 500000 1000 900
room ./etc/systemd/system 4096 1000000 500000 500000 1000 900
room ./run 4096 1000 900 900 1000 900
room ./usr/local/bin 4096 1000000 500000 500000 1000 900
room ./var/lib 4096 1000000 500000 500000 1000 900
id machine-NUMBER boot-NUMBER pid:[1]
state running
address 127.0.0.0/8
address 10.0.NUMBER2.1/32
";

/// Nodes `az1` and `az2`, one way or another.
struct Cluster {
    inventory: Inventory,
    desired: Desired,
    snapshots: BTreeMap<NodeName, Snapshot>,
    holders: BTreeMap<NodeName, BTreeMap<u64, Holder>>,
}

impl Cluster {
    fn new() -> Self {
        Self::of(|_| {})
    }

    fn of(change: impl Fn(&mut fixture::Fixture)) -> Self {
        let mut fixture = fixture::Fixture::new(2, "1.32.0", "3.5.21");
        for name in ["az1", "az2"] {
            fixture.node(name).domain = None;
        }
        change(&mut fixture);
        let desired = fixture.composed();
        let mut cluster = Self {
            inventory: fixture.inventory,
            desired,
            snapshots: ["az1", "az2"]
                .map(|name| (name.parse().unwrap(), Snapshot::default()))
                .into(),
            holders: BTreeMap::new(),
        };
        for (name, number) in [("az1", "1"), ("az2", "2")] {
            cluster.tells(name, &WELL.replace("NUMBER", number));
        }
        cluster
    }

    fn node(&mut self, name: &str) -> &mut Snapshot {
        self.snapshots.get_mut(&name.parse().unwrap()).unwrap()
    }

    fn tells(&mut self, name: &str, lines: &str) {
        for line in lines.lines() {
            let understood = self.node(name).machine.line(line);
            understood.unwrap_or_else(|| panic!("{line}"));
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let differences: BTreeMap<NodeName, Difference> = self
            .snapshots
            .iter()
            .map(|(name, snapshot)| {
                let manifest: &Manifest = &self.desired.manifests[name];
                (name.clone(), diff::between(manifest, snapshot))
            })
            .collect();
        let view = |(name, snapshot)| {
            let name: &NodeName = name;
            let view = View {
                manifest: &self.desired.manifests[name],
                snapshot,
                difference: &differences[name],
                leads: false,
                retired: &NONE,
            };
            (name.clone(), view)
        };
        let views = self.snapshots.iter().map(view).collect();
        let look = Look {
            inventory: &self.inventory,
            desired: &self.desired,
            views: &views,
            holders: self.holders.clone(),
        };
        look.findings()
    }

    /// The names of the findings, and the nodes.
    fn named(&self) -> Vec<String> {
        let findings = self.findings();
        let named = findings.iter();
        named.map(|it| format!("{} {}", it.node, it.name)).collect()
    }

    #[track_caller]
    fn finds(&self, text: &str, severity: Severity) {
        let findings = self.findings();
        let [finding] = &findings[..] else {
            panic!("{findings:?}");
        };
        assert_eq!(finding.to_string(), text);
        assert_eq!(finding.severity, severity);
        assert!(!finding.help.is_empty());
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(Cluster::new().findings(), []);
}

#[test]
fn a_place_that_cannot_be_written_is_told_once() {
    let mut cluster = Cluster::new();
    cluster.tells("az1", "mount ./usr/local/bin 9 8:1 ro,rw");
    cluster.finds("az1: `/usr/local/bin` cannot be written", Severity::Error);
    cluster.tells(
        "az1",
        "fixed ./etc\nmount ./usr/local/bin 9 8:1 rw,noexec,rw",
    );
    cluster.tells("az2", "lies /etc/k8s ./etc");
    assert_eq!(
        cluster.named(),
        ["az1 read-only", "az1 read-only", "az1 noexec"],
        "a place stays as it was told"
    );
}

#[test]
fn room_is_asked_of_every_file_system() {
    let mut cluster = Cluster::new();
    cluster.tells("az1", "room ./var/lib 4096 1000 900 900 1000 900");
    cluster.finds(
        "az1: `/var/lib/kinstall` has 3 MB free and 17 MB are needed",
        Severity::Error,
    );
    let mut cluster = Cluster::new();
    // The same file system by two mounts: a program is copied, not linked.
    cluster.tells("az2", "room ./usr/local/bin 4096 1000 2 2 0 0");
    cluster.tells("az2", "mount ./usr/local/bin 4 8:4 rw,rw");
    assert_eq!(cluster.named(), ["az2 no-room"]);
    cluster.tells("az2", "room ./usr/local/bin 4096 1000 900 900 1000 1");
    assert_eq!(cluster.named(), ["az2 no-inodes"]);
    // A size that is not told is no limit.
    cluster.tells("az2", "room ./usr/local/bin 4096 0 0 0 0 0");
    assert_eq!(cluster.named(), [""; 0]);
}

#[test]
fn ports_are_told_with_whoever_holds_them() {
    let mut cluster = Cluster::new();
    // 10.0.12.1:2380, and 6443 on all addresses; the last collides with nothing.
    cluster.tells(
        "az1",
        "listens 010C000A:094C 7\nlistens 00000000:192B 8\nlistens 020C000A:094C 9",
    );
    let holder = |process, unit: Option<&str>| Holder {
        process,
        unit: unit.map(ToOwned::to_owned),
        name: "haproxy".into(),
    };
    let holders = [
        (7, holder(70, None)),
        (8, holder(80, Some("kube-apiserver.service"))),
    ];
    let az1: NodeName = "az1".parse().unwrap();
    cluster.holders.insert(az1.clone(), holders.into());
    cluster.finds(
        "az1: etcd is to listen on 10.0.12.1:2380, and `haproxy` (process 70) listens on \
         10.0.12.1:2380",
        Severity::Error,
    );
    let other = holder(80, Some("haproxy.service"));
    cluster.holders.insert(az1, [(8, other)].into());
    cluster.finds(
        "az1: kube-apiserver is to listen on 0.0.0.0:6443, and `haproxy` (process 80 of \
         `haproxy.service`) listens on 0.0.0.0:6443",
        Severity::Error,
    );
}

#[test]
fn an_address_that_is_on_no_interface_is_told() {
    let mut cluster = Cluster::new();
    cluster.node("az1").machine.addresses.clear();
    cluster.tells("az1", "address 10.0.12.9/32");
    cluster.finds(
        "az1: etcd is to listen on `10.0.12.1`, which is on no interface of it",
        Severity::Error,
    );
    // Behind NAT etcd listens elsewhere, and only what others are told is strange.
    let flags = |flag: &str| (flag.to_owned(), "https://0.0.0.0:1".to_owned());
    let etcd = cluster
        .inventory
        .components
        .entry("etcd".into())
        .or_default();
    etcd.flags = ["listen-client-urls", "listen-peer-urls"].map(flags).into();
    cluster.finds(
        "az1: kube-apiserver tells others to find it at `10.0.12.1`, which is on no interface of it",
        Severity::Warning,
    );
    cluster.tells("az1", "foreign 4");
    assert_eq!(cluster.findings(), []);
}

#[test]
fn one_machine_is_one_node() {
    let mut cluster = Cluster::new();
    cluster.tells("az2", "id machine-1 boot-2 pid:[1]");
    cluster.finds(
        "az1: az1, az2 have the same `/etc/machine-id`: one disk was copied",
        Severity::Warning,
    );
    cluster.tells("az2", "id machine-1 boot-1 pid:[2]");
    assert_eq!(cluster.named(), ["az1 cloned-machine-id"], "two containers");
    cluster.tells("az2", "id machine-1 boot-1 pid:[1]");
    cluster.finds("az2: az1 and az2 are one machine", Severity::Inventory);
    for name in ["az1", "az2"] {
        cluster.tells(name, &format!("id  boot-{name} pid:[1]"));
    }
    assert_eq!(cluster.findings(), [], "an image that was not started yet");
}

#[test]
fn clocks_are_told_where_they_are_surely_apart() {
    let mut cluster = Cluster::new();
    let clock = |said| {
        Some(Clock {
            said,
            after: 100_000,
            before: 101_000,
        })
    };
    cluster.node("az1").machine.clock = clock(103_000);
    cluster.node("az2").machine.clock = clock(98_000);
    assert_eq!(
        cluster
            .findings()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["az1: its clock is at least 4.0 s ahead of that of az2"]
    );
    cluster.node("az1").machine.clock = clock(103_200);
    cluster.node("az2").machine.clock = clock(100_500);
    cluster.finds(
        "az1: its clock is at least 2.2 s ahead of the one here",
        Severity::Warning,
    );
    cluster.node("az1").machine.clock = clock(90_000);
    cluster.finds(
        "az1: its clock is at least 10.0 s behind the one here",
        Severity::Warning,
    );
}

#[test]
fn what_is_in_the_way_is_told_with_a_way_out() {
    let mut cluster = Cluster::new();
    let path = "/etc/etcd".parse().unwrap();
    let found = Found {
        kind: FoundKind::Link {
            target: "/mnt/etcd".into(),
        },
        mode: 0o777,
        user: "root".into(),
        group: "root".into(),
        modified: 0,
    };
    cluster.node("az1").entries.insert(path, found);
    cluster.finds(
        "az1: `/etc/etcd` is a link to `/mnt/etcd`, and a directory is wanted there",
        Severity::Error,
    );
}

#[test]
fn a_system_that_is_shutting_down_starts_nothing() {
    let mut cluster = Cluster::new();
    cluster.tells("az1", "state degraded");
    cluster.tells("az2", "state stopping");
    cluster.finds("az2: it is shutting down", Severity::Error);
}
