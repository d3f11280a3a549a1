//! What a plan is where the members of etcd change.

use std::collections::BTreeMap;

use super::{Cluster, WISH, check_refused, settled};
use crate::action::{Action, MemberAction, Start};
use crate::digest::Digest;
use crate::inventory::NodeName;
use crate::manifest::{FirstStart, Manifest, Stage};
use crate::membership::{Change, Changes, Join};
use crate::plan::model::{file, manifest, unit_name};
use crate::plan::{Direction, Plan};
use crate::remote_path::RemotePath;
use crate::snapshot::Snapshot;

#[test]
fn members_neither_join_nor_leave_a_cluster_that_cannot_be_asked() {
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

/// Every step of a plan that has to do with etcd's members and services, in order.
fn told(plan: &Plan) -> Vec<String> {
    let groups = plan.waves.iter().flat_map(|wave| &wave.groups);
    let steps = groups.flat_map(|group| &group.steps);
    let steps = steps.flat_map(|(node, actions)| actions.iter().map(move |it| (node, it)));
    let told = steps.flat_map(|(node, action)| {
        let what = match action {
            Action::Member(it) => vec![match it {
                MemberAction::Remove { title, excused, .. } if excused.is_empty() => {
                    format!("removes {title}")
                }
                MemberAction::Remove { title, .. } => format!("removes {title}, others are down"),
                MemberAction::Move { .. } => "moves one".to_owned(),
                MemberAction::Add { name, .. } => format!("adds {name}"),
                MemberAction::Promote { name, .. } => format!("promotes {name}"),
            }],
            Action::Enlist { .. } => vec!["enlists".to_owned()],
            Action::Reload => vec!["reloads".to_owned()],
            other => other.starts().iter().filter_map(started).collect(),
        };
        what.into_iter().map(move |what| format!("{node} {what}"))
    });
    told.collect()
}

/// What is told of a start: etcd's and kube-apiserver's only.
fn started(start: &Start) -> Option<String> {
    let verb = if start.restart { "restarts" } else { "starts" };
    let unit = start.unit.as_str().trim_end_matches(".service");
    ["etcd", "kube-apiserver"]
        .contains(&unit)
        .then(|| format!("{verb} {unit}"))
}

/// The unit file of a node's etcd, for a cluster of these members.
fn begin(manifest: &mut Manifest, members: &str) {
    let path = RemotePath::fixed("/etc/systemd/system/etcd.service");
    manifest.entries.insert(path, file(members));
    let unit = manifest.units.get_mut(&unit_name("etcd")).unwrap();
    unit.first_start = Some(FirstStart {
        lasting: Digest::of(b"the rest"),
        members: members.split(' ').map(ToOwned::to_owned).collect(),
    });
}

/// Nodes `a` and `b` of a cluster whose members change from some to others, and a kube-apiserver
/// that is told so.
fn changing(from: &str, to: &str) -> Cluster {
    let mut cluster = Cluster::settled(WISH, WISH);
    cluster.nodes.remove(&"c".parse().unwrap());
    for (wanted, snapshot) in cluster.nodes.values_mut() {
        let mut before = wanted.clone();
        begin(&mut before, from);
        begin(wanted, to);
        *snapshot = settled(&before);
        let path = RemotePath::fixed("/etc/systemd/system/kube-apiserver.service");
        wanted.entries.insert(path, file(to));
    }
    cluster
}

#[test]
fn a_member_joins_after_the_others_know_it_and_none_of_them_is_restarted() {
    let mut cluster = changing("a b", "a b d");
    let d: NodeName = "d".parse().unwrap();
    let mut wanted = manifest(&d, WISH);
    begin(&mut wanted, "a b d");
    let empty = Snapshot {
        systemd: Some(252),
        owned: true,
        ..Snapshot::default()
    };
    cluster.nodes.insert(d.clone(), (wanted, empty));
    let join = Join {
        node: d,
        peer_url: "https://d:2380".into(),
        add: true,
        initial_cluster: Some("a,b,d".into()),
        promote: true,
    };
    let dead = |id, title: &str| Change::Remove {
        id,
        title: title.into(),
        is_healthy: false,
        is_replaced: true,
    };
    let changes = Changes {
        speaker: Some("a".parse().unwrap()),
        steps: vec![dead(1, "d"), dead(2, "e"), Change::Join(join)],
    };
    let plan = cluster
        .plan_with(Direction::Forward, "", Some(&changes))
        .unwrap();
    let expected = [
        "a removes d, others are down",
        "a removes e",
        "a reloads",
        "b reloads",
        "a adds d",
        "d enlists",
        "d starts etcd",
        "a promotes d",
        "d starts kube-apiserver",
        "a restarts kube-apiserver",
        "b restarts kube-apiserver",
    ];
    assert_eq!(told(&plan), expected);
    assert_eq!(plan.members.len(), 3);
    let awaited = plan.waves.iter().flat_map(|wave| &wave.groups);
    let mut awaited = awaited.skip_while(|group| {
        let promotes = |it: &Action| matches!(it, Action::Member(MemberAction::Promote { .. }));
        !group.steps.values().flatten().any(promotes)
    });
    let next = awaited.nth(1).unwrap();
    let asks = |it: &Action| matches!(it, Action::Await { .. });
    assert!(next.steps.values().flatten().all(asks), "{next:?}");
}

#[test]
fn kube_apiservers_forget_a_member_before_it_leaves() {
    let leave = Change::Remove {
        id: 1,
        title: "c".into(),
        is_healthy: true,
        is_replaced: false,
    };
    let changes = Changes {
        speaker: Some("a".parse().unwrap()),
        steps: vec![leave],
    };
    let plan = changing("a b c", "a b").plan_with(Direction::Forward, "", Some(&changes));
    let expected = [
        "a restarts kube-apiserver",
        "b restarts kube-apiserver",
        "a removes c",
        "a reloads",
        "b reloads",
    ];
    assert_eq!(told(&plan.unwrap()), expected);
}

#[test]
fn who_is_a_member_does_not_go_back() {
    let refusals = changing("a b c", "a b")
        .plan(Direction::Back, "")
        .unwrap_err();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    assert!(
        refusals[0]
            .to_string()
            .contains("was made for other members of etcd")
    );
}
