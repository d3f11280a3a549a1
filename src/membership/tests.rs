//! Rows of clusters, in a line each: `a` is a healthy member, `a!` one that is down, `a~` a learner,
//! `?d` one that was let in at the address of `d` and has not started; and of nodes that should be
//! members: `a` one whose etcd runs, `a=` one with data where it is down, `a-` an empty machine,
//! `a@x` one that has moved to another address.

use std::collections::BTreeMap;

use super::{Change, DesiredMember, DesiredMembership, Member, Problem, changes, from_etcdctl};
use crate::inventory::NodeName;

fn url(host: &str) -> String {
    format!("https://{host}:2380")
}

fn member((index, word): (usize, &str)) -> Member {
    let is_new = word.starts_with('?');
    let name = word.trim_matches(|c: char| "?!~".contains(c));
    Member {
        id: 1000 + index as u64,
        name: if is_new {
            String::new()
        } else {
            name.to_owned()
        },
        peer_urls: vec![url(name)],
        client_urls: vec![],
        is_learner: word.contains('~'),
        is_healthy: !is_new && !word.contains('!') && !word.contains('~'),
    }
}

fn seat(word: &str) -> (NodeName, DesiredMember) {
    let plain = word.trim_end_matches(['=', '-']);
    let (name, host) = plain.split_once('@').unwrap_or((plain, plain));
    let seat = DesiredMember {
        peer_url: url(host),
        has_data: !word.ends_with('-'),
        runs: !word.ends_with(['=', '-']),
        has_moved: plain.contains('@'),
    };
    (name.parse().unwrap(), seat)
}

fn decide(members: &str, desired: &str, version: &str) -> Result<super::Changes, Vec<Problem>> {
    let members: Vec<Member> = members.split(' ').enumerate().map(member).collect();
    let desired: BTreeMap<NodeName, DesiredMember> = desired.split(' ').map(seat).collect();
    let wish = DesiredMembership {
        desired: &desired,
        version: version.parse().unwrap(),
        data_directory: "/var/lib/etcd",
    };
    changes(&members, wish)
}

#[track_caller]
fn check(members: &str, desired: &str, expected: &str) {
    let told = match decide(members, desired, "3.4.23") {
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
        Ok(changes) => {
            let steps = changes.steps.iter().map(|step| match step {
                Change::Remove { title, .. } => format!("-{title}"),
                Change::Move { node, .. } => format!("{node} moves"),
                Change::Join(join) => format!(
                    "{}{}{}{}",
                    if join.add { "+" } else { "" },
                    join.node,
                    if join.initial_cluster.is_some() {
                        " starts"
                    } else {
                        ""
                    },
                    if join.promote { " votes" } else { "" },
                ),
            });
            vec![steps.collect::<Vec<_>>().join(", ")]
        }
    };
    assert_eq!(told.join("; "), expected, "{members} → {desired}");
}

#[test]
fn members_that_are_as_they_should_be_stay() {
    check("a b c", "a b c", "");
    // One that is down and has its data comes back by itself.
    check("a b c!", "a b c=", "");
    // A first push that was cut short: the others have a majority.
    check("a b ?c", "a b c-", "c starts");
    check("a b ?c", "a b c=", "");
    // No majority, and nothing to change: the push starts what is down.
    check("a b! c!", "a b= c=", "");
}

#[test]
fn who_is_new_joins_as_a_learner_one_after_the_other() {
    check("a", "a b- c-", "+b starts votes, +c starts votes");
    check("a b c", "a b c d- e-", "+d starts votes, +e starts votes");
}

#[test]
fn a_join_that_was_cut_short_goes_on_where_it_stopped() {
    check("a ?b~", "a b- c-", "b starts votes, +c starts votes");
    // Its first start left data and no name yet.
    check("a ?b~", "a b= c-", "b votes, +c starts votes");
    check("a b~", "a b c-", "b votes, +c starts votes");
    check("a b", "a b c-", "+c starts votes");
    // Nobody wants it any more.
    check("a b c ?d~", "a b c", "-https://d:2380");
    check("a b c d~", "a b c", "-d");
}

#[test]
fn who_lost_the_data_or_came_back_elsewhere_is_replaced_before_anyone_joins() {
    check("a b c!", "a b c-", "-c, +c starts votes");
    check("a b c!", "a b c@x-", "-c, +c starts votes");
    // It was taken out, and the run died.
    check("a b", "a b c-", "+c starts votes");
    check(
        "a b c",
        "a b c-",
        "c: has no data of etcd, and the cluster has a healthy member of that name or address",
    );
    check(
        "a b c! d! e",
        "a b c- d- e",
        "-c, -d, +c starts votes, +d starts votes",
    );
    // With its data it has only moved.
    check("a b c!", "a b c@x=", "c moves");
    check("a", "a@x", "a moves");
}

#[test]
fn who_is_not_in_the_inventory_leaves_the_ones_that_are_down_first() {
    check("a b c", "a", "-b, -c");
    check("a b c d e", "a b c", "-d, -e");
    check("a b c d! e!", "a b c", "-d, -e");
    check("a b! c", "a d- c", "-b, +d starts votes");
    check("a b c", "a d- c", "-b, +d starts votes");
}

#[test]
fn a_majority_is_never_given_away() {
    let told = |what: &str, healthy, of, needed| {
        format!(
            "etcd: {what} would leave {healthy} healthy members of {of}, and {needed} are needed"
        )
    };
    check("a b! c!", "a b- c-", &told("any change", 1, 3, 2));
    check("a b! c", "a b= d-", &told("taking c out", 1, 2, 2));
    check("a b! c", "b=", &told("taking a out", 1, 2, 2));
    check("a! b! c d e", "a= b= c", &told("taking d out", 2, 4, 3));
    check("a", "b-", &told("taking a out", 0, 0, 1));
}

#[test]
fn data_of_another_cluster_is_not_taken_for_a_member_s() {
    let told = "d: would join etcd, and holds the data of a member that the cluster does not know";
    check("a b c", "a b c d=", told);
    check("a b c", "a b c d", told);
}

#[test]
fn before_there_were_learners_nobody_joins() {
    let problems = decide("a", "a b- c-", "3.3.27").unwrap_err();
    assert!(
        problems[0]
            .to_string()
            .starts_with("etcd 3.3.27 has no learners")
    );
    assert!(decide("a b c", "a", "3.3.27").is_ok());
}

#[test]
fn a_new_member_is_told_of_all_who_are_members_by_then() {
    let told = |members, desired| {
        let changes = decide(members, desired, "3.5.21").unwrap();
        let joins = changes
            .joining()
            .filter_map(|it| it.initial_cluster.clone());
        let speaker = changes.speaker.clone().unwrap();
        (speaker.to_string(), joins.collect::<Vec<_>>())
    };
    let (a, b, c) = ("a=https://a:2380", "b=https://b:2380", "c=https://c:2380");
    assert_eq!(
        told("a", "a b- c-"),
        (
            "a".to_owned(),
            vec![format!("{a},{b}"), format!("{a},{b},{c}")]
        )
    );
    assert_eq!(
        told("a! b c d e!", "a= b c d e@x-"),
        (
            "b".to_owned(),
            vec![format!("{a},{b},{c},d=https://d:2380,e=https://x:2380")]
        ),
        "whoever is healthy is told, and the old address is forgotten"
    );
    assert_eq!(told("a ?b~", "a b- c-").1[0], format!("{a},{b}"));
}

#[test]
fn shrinking_alone_is_known_for_it() {
    let shrinks = |members, desired| decide(members, desired, "3.5.21").unwrap().only_shrinks();
    assert!(shrinks("a b c", "a"));
    assert!(!shrinks("a b c", "a d- c"));
    assert!(!shrinks("a b c!", "a b c-"));
    assert!(!shrinks("a b c", "a b c"));
}

#[test]
fn what_etcdctl_prints_is_understood() {
    let output = "members {\"header\":{\"cluster_id\":17237436991929493444,\"member_id\":14720799474854129801},\"members\":[\
        {\"ID\":7760637309661353028,\"peerURLs\":[\"http://b:2380\"],\"isLearner\":true},\
        {\"ID\":14720799474854129801,\"name\":\"a\",\"peerURLs\":[\"http://a:2380\"],\"clientURLs\":[\"http://a:2379\"]}]}\n\
        health [{\"endpoint\":\"http://a:2379\",\"health\":true,\"took\":\"1ms\"}]\n";
    let members = from_etcdctl(output).unwrap();
    assert_eq!(members[0].id, 7_760_637_309_661_353_028);
    assert!(members[0].is_learner && !members[0].is_healthy && members[0].name.is_empty());
    assert!(members[1].is_healthy && !members[1].is_learner);
    let ill = output.replace("true,\"took\"", "false,\"took\"");
    assert!(!from_etcdctl(&ill).unwrap()[1].is_healthy);
    assert!(from_etcdctl("members {}\n").is_err() && from_etcdctl("").is_err());
}
