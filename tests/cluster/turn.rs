//! Promises about a worker's turn, and about what its peers know of it, on real nodes with stand-ins for
//! all that runs Pods: a node that never gets Ready is told and taken back, and nobody forgets a node
//! that is there.

use std::path::PathBuf;

use crate::bed::{Bed, NODES, PUSH, is_well, stock_workers};
use crate::lab::{KUBERNETES, Lab};

/// A label by which the stand-in of kube-apiserver takes a Node for one that is not Ready.
const ILL: &str = "labels = { \"standin.test/not-ready\" = \"NetworkPluginNotReady\" }";
const WAYS: &str = "cut -d' ' -f5 /etc/k8s/kinstall-network/ways.conf | grep node | tr '\\n' ' '";
const KEEPER: &str = "systemctl is-active kinstall-network";

/// Has an inventory say where stand-ins are of all that runs containers.
pub(crate) fn bring_runtime(lab: &Lab) {
    let theirs = std::env::var_os("KINSTALL_MIRROR").map(PathBuf::from);
    let theirs = theirs.expect("`cargo xtask test` sets it");
    let sources = ["containerd", "runc", "cni-plugins", "crictl", "images"];
    let source = |name: &str| format!("{name} = [\"file://{}/{name}\"]\n", theirs.display());
    let sources: String = sources.into_iter().map(source).collect();
    lab.edit("[source]\n", &format!("[source]\n{sources}"));
}

/// An inventory of three nodes, of which the first is all of the control plane and the others are workers,
/// in parts: all up to node2, and node3.
fn parts(bed: &mut Bed) -> (Lab, String, String) {
    let lab = bed.fresh();
    bring_runtime(&lab);
    stock_workers(bed.standin(), &bed.workshop().join("mirror"), KUBERNETES);
    for node in ["node2", "node3"] {
        let name = format!("name = \"{node}\"\n");
        lab.edit(&name, &format!("{name}roles = [\"worker\"]\n"));
    }
    lab.edit(
        "stable-seconds = 1",
        "stable-seconds = 0\nwidth = { workers = 1 }",
    );
    lab.edit("ready-seconds = 30", "ready-seconds = 12");
    // A genuine one: it drains nodes.
    fs_err::copy(super::program("kubectl"), lab.path("kubectl")).unwrap();
    let components = "[component.kubectl]\npath = \"kubectl\"\n\n\
                      [component.kubelet]\nconfig = { maxPods = 60 }\n\n[ssh]";
    lab.edit("[ssh]", components);
    let all = fs_err::read_to_string(lab.path("inventory.toml")).unwrap();
    let (two, third) = all.split_at(all.rfind("\n[[node]]").unwrap());
    let (two, third) = (two.to_owned(), third.to_owned());
    (lab, two, third)
}

#[test]
fn a_worker_that_never_gets_ready_is_told_and_its_peers_forget_nobody() {
    let test = "a_worker_that_never_gets_ready_is_told_and_its_peers_forget_nobody";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    let (lab, two, third) = parts(&mut bed);
    let one = two.split_at(two.rfind("\n[[node]]").unwrap()).0;
    lab.write(one);
    lab.run(PUSH).exits(0);
    lab.write(&two);
    lab.run(PUSH)
        .exits(0)
        .says("node2: made its Node, Pods in 10.200.0.0/24");
    is_well(&lab);

    // A new one that never gets Ready: what it is told of is in place, and its peers go on as they are.
    let ill = third.replace("roles = ", &format!("{ILL}\nroles = "));
    lab.write(&(two.clone() + &ill));
    lab.run(PUSH)
        .exits(1)
        .says("node3: `kubelet.service` runs, and its Node is not Ready after 12 s: NetworkPluginNotReady: the stand-in")
        .says("journal: I")
        .says("its new files stay in place there, nodes that were done stay as they are");
    assert_eq!(bed.on("node2", WAYS), "node2");
    // Nothing is left to be put in place, and it is no better for that.
    lab.run(PUSH)
        .exits(1)
        .says("node3: `kubelet.service` runs, and its Node is not Ready after 12 s");
    lab.write(&(two + &third));
    lab.run(PUSH).exits(0).says("node3: Ready");
    is_well(&lab);
    assert_eq!(bed.on("node2", WAYS), "node2 node3");

    one_that_is_ill_is_taken_back(&bed, &lab);
    nobody_is_forgotten(&bed, &lab);
    what_is_missing_is_told(&bed, &lab);
    a_tunnel_is_kept(&bed, &lab);
}

/// A change by which a node that was Ready is no longer: it goes back, and the others are not touched.
#[track_caller]
fn one_that_is_ill_is_taken_back(bed: &Bed, lab: &Lab) {
    let before = NODES.map(|node| bed.started(node, "kubelet"));
    let ready = "ready-seconds = 12";
    let drain = format!("{ready}\ndrain = \"always\"");
    lab.edit(ready, &drain);
    lab.edit("maxPods = 60", "maxPods = 61");
    let role = "name = \"node2\"\n";
    lab.edit(role, &format!("{role}{ILL}\n"));
    lab.run(PUSH)
        .exits(6)
        .says("node2: `kubelet.service` runs, and its Node is not Ready after 12 s: NetworkPluginNotReady")
        .says("node2: moving its Pods to other nodes")
        .says("node2: open to Pods again")
        .says("node2 was taken back to generation 2 and is healthy");
    lab.edit(&drain, ready);
    let limit = "maxPods: 60";
    let grep = format!("grep -c '{limit}' /etc/k8s/kubelet/kubelet.yaml");
    assert_eq!(bed.on("node2", &grep), "1");
    let after = NODES.map(|node| bed.started(node, "kubelet"));
    assert_eq!(before[2], after[2], "node3 was not touched");
    lab.edit(&format!("{ILL}\n"), "");
    lab.run(PUSH).exits(0);
    is_well(lab);
}

/// Whatever nodes go back to, they lead to the Pods of all that are there.
#[track_caller]
fn nobody_is_forgotten(bed: &Bed, lab: &Lab) {
    // node2 has known of node3 since its second generation; node1 had no Pods to lead to in its first.
    let back = ["rollback", "inventory.toml", "--to", "1", "--limit"];
    for nodes in ["node2", "node1"] {
        lab.run(back.iter().chain(&[nodes])).exits(0);
        assert_eq!(bed.on(nodes, WAYS), "node2 node3");
        assert_eq!(bed.on(nodes, KEEPER), "active");
        let routes = bed.on(
            nodes,
            "ip route show proto 107 | cut -d' ' -f1 | tr '\\n' ' '",
        );
        assert!(routes.contains("10.200.1.0/24"), "{nodes}: {routes}");
    }
    lab.run(["status", "inventory.toml"]).exits(0);
    lab.run(PUSH).exits(0);
    is_well(lab);
}

/// A route that nobody puts back is told by anyone who looks, and a push has it put back.
#[track_caller]
fn what_is_missing_is_told(bed: &Bed, lab: &Lab) {
    let told = lab.run(["status", "inventory.toml"]).exits(0);
    told.prints("Node Ready, kubelet 1.32.99, Pods in 10.200.1.0/24");
    // As long as it is watched, it comes back sooner than anybody could tell.
    bed.on("node2", "ip route flush proto 107");
    lab.run(["status", "inventory.toml"]).exits(0);
    bed.on(
        "node2",
        "systemctl stop kinstall-network; ip route flush proto 107; nft delete table inet kinstall",
    );
    let away = format!("missing 10.200.1.0/24 via {}", bed.address("node3"));
    lab.run(["status", "inventory.toml"])
        .exits(3)
        .prints(&format!("network of Pods: {away}"))
        .prints("network of Pods: missing masquerading of what leaves 10.200.0.0/16");
    let told = lab.run(["status", "inventory.toml", "--json"]).exits(3);
    let node = &told.json()["nodes"][1];
    assert_eq!(node["routes"][0], away.as_str(), "{node:#}");
    let worker = serde_json::json!({
        "ready": true, "complaint": null, "version": "1.32.99", "pod_range": "10.200.0.0/24",
    });
    assert_eq!(node["worker"], worker);
    lab.run(["plan", "inventory.toml"])
        .exits(3)
        .says(&format!("node2: the network of Pods is not whole: {away}"))
        .prints("kinstall-network.service: start");
    lab.run(PUSH).exits(0);
    is_well(lab);
    let role = "name = \"node3\"\n";
    lab.edit(role, &format!("{role}{ILL}\n"));
    lab.run(PUSH).exits(0);
    lab.run(["status", "inventory.toml"])
        .exits(3)
        .prints("Node not Ready: NetworkPluginNotReady: the stand-in");
    lab.edit(&format!("{ILL}\n"), "");
    lab.run(PUSH).exits(0);
}

/// The other network: whatever is taken from it comes back.
#[track_caller]
fn a_tunnel_is_kept(bed: &Bed, lab: &Lab) {
    lab.edit("[cluster]\n", "[cluster]\nnetwork = \"vxlan\"\n");
    lab.run(PUSH).exits(0);
    is_well(lab);
    let whole = "[ \"$(ip route show proto 107 dev pods0 | wc -l)\" = 1 ] && \
                 [ -z \"$(sh /etc/k8s/kinstall-network/network.sh differs)\" ]";
    let is_back = || {
        super::wait("the tunnel is back", || {
            bed.try_on("node2", whole).code == Some(0)
        });
    };
    for harm in [
        "ip route flush proto 107",
        "ip link del pods0",
        "nft delete table inet kinstall",
        "systemctl kill -s KILL kinstall-network",
    ] {
        bed.on("node2", harm);
        is_back();
    }
    bed.nodes("kill node2");
    bed.nodes("start node2");
    is_back();
    super::wait("all of it is back", || {
        lab.run(["status", "inventory.toml"]).code == Some(0)
    });
}
