//! Promises of `push` on real nodes, when nothing goes wrong: empty nodes become a cluster, a rerun
//! does nothing, a change does what it must and no more.

use crate::bed::{Bed, ETCDCTL, NODES, PUSH};

#[test]
fn empty_nodes_become_a_cluster() {
    let Some(mut bed) = Bed::take("empty_nodes_become_a_cluster") else {
        return;
    };
    let lab = bed.fresh();
    let output = lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    println!("the first push took {:.1} s", output.seconds);
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("all healthy, nothing changed by hand");
    let members = bed.on("node2", &format!("{ETCDCTL} member list"));
    assert_eq!(members.matches(", started, ").count(), 3, "{members}");
    let health = bed.try_on("node3", &format!("{ETCDCTL} endpoint health --cluster"));
    let said = health.stdout + &health.stderr;
    assert_eq!(said.matches("is healthy").count(), 3, "{said}");
    for node in NODES {
        let enabled =
            "systemctl is-enabled etcd kube-apiserver kube-controller-manager kube-scheduler";
        assert_eq!(bed.on(node, enabled).matches("enabled").count(), 4);
        let left = bed.on(
            node,
            "find / -xdev -name '*.kinstall-new' -o -path '*/store/incoming'",
        );
        assert_eq!(left, "");
    }
    bed.leave(lab);
}

#[test]
fn a_rerun_is_one_session_a_node_and_restarts_nothing() {
    let Some(mut bed) = Bed::take("a_rerun_is_one_session_a_node_and_restarts_nothing") else {
        return;
    };
    let lab = bed.pushed();
    let (before, starts) = (bed.calls(), NODES.map(|node| bed.starts(node)));
    let output = lab.run(PUSH).exits(0).says("home: nothing to do");
    println!("a rerun took {:.2} s", output.seconds);
    let due = before.map(|(connections, sessions)| (connections + 1, sessions + 1));
    assert_eq!(bed.calls(), due, "one connection and one session a node");
    assert_eq!(
        NODES.map(|node| bed.starts(node)),
        starts,
        "nothing was restarted"
    );
    bed.leave(lab);
}

#[test]
fn a_flag_restarts_one_service_one_node_after_the_other() {
    let Some(mut bed) = Bed::take("a_flag_restarts_one_service_one_node_after_the_other") else {
        return;
    };
    let lab = bed.pushed();
    let before = NODES.map(|node| bed.starts(node));
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    lab.edit("stable-seconds = 1", "stable-seconds = 2");
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .prints("kube-apiserver: node1, then node2, then node3")
        .prints("home: 3 changes on 3 nodes, 3 services to start or restart");
    lab.run(PUSH)
        .exits(0)
        .says("home: 3 changes on 3 nodes, 3 services");
    let mut restarts = Vec::new();
    for (node, before) in NODES.iter().zip(before) {
        let after = bed.starts(node);
        let same = |index: usize| before[index] == after[index];
        assert_eq!(
            [0, 1, 2, 3].map(same),
            [true, false, true, true],
            "{node}: only kube-apiserver"
        );
        restarts.push(after[1]);
        let line = bed.on(
            node,
            "tr '\\0' '\\n' </proc/$(pidof kube-apiserver)/cmdline | grep maxage",
        );
        assert_eq!(line, "--audit-log-maxage=61");
    }
    restarts.sort_unstable();
    for pair in restarts.windows(2) {
        // The one before had to be healthy for two seconds on end.
        assert!(pair[1] - pair[0] >= 2_000_000, "{restarts:?}");
    }
    lab.run(PUSH).exits(0).says("nothing to do");
    bed.leave(lab);
}

#[test]
fn keys_are_for_those_who_need_them() {
    let Some(mut bed) = Bed::take("keys_are_for_those_who_need_them") else {
        return;
    };
    let lab = bed.pushed();
    let readable = |user: &str| {
        let find = "find /etc/etcd /etc/k8s /var/lib/kinstall -type f -readable 2>/dev/null \
            | xargs -r grep -lE 'PRIVATE KEY|client-key-data|secret: ' 2>/dev/null | sort";
        let script =
            format!("setpriv --reuid={user} --regid={user} --init-groups sh -c \"{find}\" || :");
        bed.on("node1", &script)
    };
    assert_eq!(readable("nosudo"), "", "a user of the node reads no secret");
    let root = readable("root");
    assert!(root.lines().count() > 15, "root reads them all: {root}");
    let due: [(&str, &[&str]); 4] = [
        (
            "etcd",
            &["/etc/etcd/certs/client/", "/etc/etcd/certs/server/"],
        ),
        (
            "kube-apiserver",
            &[
                "/etc/k8s/kube-apiserver/",
                "/etc/k8s/shared/service-account.key",
            ],
        ),
        (
            "kube-controller-manager",
            &[
                "/etc/k8s/kube-controller-manager/",
                "/etc/k8s/shared/service-account.key",
            ],
        ),
        ("kube-scheduler", &["/etc/k8s/kube-scheduler/"]),
    ];
    for (user, places) in due {
        let found = readable(user);
        assert!(!found.is_empty(), "{user} reads its own");
        for path in found.lines() {
            let is_due = places.iter().any(|place| path.starts_with(place));
            assert!(is_due, "{user} reads {path}");
        }
    }
    bed.leave(lab);
}

#[test]
fn status_tells_what_is_stopped_and_what_was_changed() {
    let Some(mut bed) = Bed::take("status_tells_what_is_stopped_and_what_was_changed") else {
        return;
    };
    let lab = bed.pushed();
    bed.on("node2", "systemctl stop kube-scheduler");
    bed.on(
        "node3",
        "echo '# by hand' >>/etc/systemd/system/etcd.service",
    );
    bed.on("node1", "systemctl disable -q kube-controller-manager");
    let output = lab.run(["status", "inventory.toml"]).exits(3);
    output
        .prints("unhealthy: inactive (dead)")
        .prints("drift /etc/systemd/system/etcd.service: changed")
        .prints("does not start with the machine")
        .prints("something needs a look");
    let json = lab
        .run(["status", "inventory.toml", "--json"])
        .exits(3)
        .json();
    assert_eq!(json["nodes"][1]["units"][3]["active"], "inactive", "{json}");
    assert_eq!(
        json["nodes"][2]["drift"]["/etc/systemd/system/etcd.service"],
        "changed"
    );
    lab.run(PUSH).exits(0);
    lab.run(["status", "inventory.toml"]).exits(0);
    bed.leave(lab);
}
