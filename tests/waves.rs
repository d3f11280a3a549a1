//! Promises about the order of a rollout on real nodes.

use crate::bed::{Bed, ETCDCTL, NODES, PUSH};

/// Has the member of a node lead.
pub(crate) fn lead(bed: &Bed, node: &str) {
    let own = format!("own=$({ETCDCTL} endpoint status | cut -d, -f2 | tr -d ' ')");
    let id = bed.on(node, &format!("{own}; echo $own"));
    for other in NODES {
        // Only the one that leads does as it is asked.
        bed.try_on(other, &format!("{ETCDCTL} move-leader {id}"));
    }
    let status = bed.on(node, &format!("{ETCDCTL} endpoint status"));
    assert_eq!(status.split(", ").nth(4), Some("true"), "{status}");
}

#[test]
fn the_leader_of_etcd_is_restarted_last() {
    let Some(mut bed) = Bed::take("the_leader_of_etcd_is_restarted_last") else {
        return;
    };
    let lab = bed.pushed();
    lead(&bed, "node1");
    let flags = "flags = { max-snapshots = 6 }\n";
    if bed.inventory(&NODES).contains("[component.etcd]\n") {
        lab.edit("[component.etcd]\n", &format!("[component.etcd]\n{flags}"));
    } else {
        lab.edit(
            "[rollout]\n",
            &format!("[component.etcd]\n{flags}\n[rollout]\n"),
        );
    }
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .prints("etcd: node2, then node3, then node1");
    lab.run(PUSH).exits(0);
    let [first, second, third] = NODES.map(|node| bed.started(node, "etcd"));
    assert!(second < third && third < first, "{first} {second} {third}");
    // Each stays healthy for a second before the next is touched.
    assert!(third - second >= 1_000_000 && first - third >= 1_000_000);
    bed.leave(lab);
}
