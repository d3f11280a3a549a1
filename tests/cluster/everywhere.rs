//! Three machines each of which is everything, with genuine programs and a tunnel between their Pods: from
//! nothing to a cluster that is proven, in one push.

use crate::bed::{Bed, NODES, PUSH, is_well};
use crate::lab::Lab;
use crate::verify;

use super::{all_talk, genuine, import, pods, serve, wait};

#[test]
fn genuine_machines_of_all_roles_are_one_cluster_after_one_push() {
    let test = "genuine_machines_of_all_roles_are_one_cluster_after_one_push";
    let Some((bed, _, lab)) = genuine(test) else {
        return;
    };
    let all = "roles = [\"etcd\", \"control-plane\", \"worker\"]";
    lab.edit("roles = [\"worker\"]\nlabels = { disk = \"ssd\" }", all);
    lab.edit("[cluster]\n", "[cluster]\nnetwork = \"vxlan\"\n");
    let pushed = lab.run(PUSH).exits(0);
    is_well(&lab);
    let calls = bed.calls();
    lab.run(PUSH).exits(0).says("nothing to do");
    let due = calls.map(|(connections, sessions)| (connections + 1, sessions + 1));
    assert_eq!(bed.calls(), due, "a rerun is one session a node");
    import(&bed, &NODES);
    verify::proves_a_cluster(&lab);
    serve(&lab);
    all_talk(&lab, &pods(&lab, 3));
    tunnels_come_back(&bed, &lab);
    println!("{test}: from empty nodes {:.0} s", pushed.seconds);
}

/// A tunnel that somebody takes away, or whose uplink goes, is back within seconds.
#[track_caller]
fn tunnels_come_back(bed: &Bed, lab: &Lab) {
    for harm in [
        "ip link del pods0",
        "ip link set eth0 down; sleep 1; ip link set eth0 up",
    ] {
        bed.on("node2", &format!("systemd-run -q --wait sh -c '{harm}'"));
        wait("the tunnel is back", || {
            bed.on("node2", "ip route show proto 107 dev pods0 | wc -l") == "2"
        });
        // What was underway to a link that was down is sent again.
        wait("Nodes are Ready", || {
            lab.run(["status", "inventory.toml"]).code == Some(0)
        });
        all_talk(lab, &pods(lab, 3));
    }
}
