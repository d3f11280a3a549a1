//! What befalls a cluster of genuine workers on whose nodes Pods run: services are killed and replaced,
//! certificates renewed, machines switched off.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{all_talk, nodes, pods, processes, reader, reads, told_of_pods, wait_for};
use crate::bed::{Bed, NODES, PUSH, is_well};
use crate::lab::Lab;
use crate::servers::link_release;

/// The version behind the one that is there: the same code, stamped otherwise.
const NEXT: &str = "1.20.3";
/// How long machines may take to boot and run their Pods again.
const BOOT: Duration = Duration::from_secs(240);

/// The processes of Pods on all nodes.
fn all_processes(bed: &Bed) -> [String; 3] {
    NODES.map(|node| processes(bed, node))
}

/// What a node's kubelet shows of itself at its port, which is for nodes alone to ask.
#[track_caller]
fn shown(bed: &Bed, node: &str) -> String {
    let ask = format!(
        "python3 -c 'import ssl; print(ssl.get_server_certificate((\"{}\", 10250)))'",
        bed.address(node)
    );
    bed.on(node, &ask)
}

/// New certificates are in use, the Nodes are Ready, and Pods do not notice.
#[track_caller]
pub(super) fn certificates_are_renewed(bed: &Bed, lab: &Lab) {
    let before = all_processes(bed);
    let shows = NODES.map(|node| shown(bed, node));
    let renew = [
        "certs",
        "renew",
        "inventory.toml",
        "kubelet-server",
        "kubelet-client",
    ];
    lab.run(renew).exits(0);
    for (node, before) in NODES.into_iter().zip(&shows) {
        assert_ne!(
            shown(bed, node),
            *before,
            "{node} shows the one from before"
        );
    }
    assert_eq!(all_processes(bed), before);
    is_well(lab);
}

/// kubelets, kube-proxies and containerds are replaced, one node at a time, while somebody reads.
#[track_caller]
pub(super) fn all_is_replaced_under_pods(bed: &Bed, lab: &Lab, mirror: &(PathBuf, String)) {
    let before = all_processes(bed);
    reader(bed, "node1");
    link_release(lab, mirror, NEXT);
    lab.edit(
        &format!("kubernetes = \"{}\"", mirror.1),
        &format!("kubernetes = \"{NEXT}\""),
    );
    let containerd = "[component.containerd]\n";
    lab.edit(
        containerd,
        &format!("{containerd}flags = {{ log-level = \"info\" }}\n"),
    );
    let begun = Instant::now();
    lab.run(PUSH).exits(0);
    let seconds = begun.elapsed().as_secs_f64();
    let (ok, failed) = reads(bed, "node1");
    assert!(ok > 50 && failed == 0, "{ok} reads, {failed} failed");
    assert_eq!(all_processes(bed), before, "a Pod was restarted");
    let path =
        "{.items[*].status.nodeInfo.kubeletVersion} {.items[*].status.nodeInfo.kubeProxyVersion}";
    let versions = nodes(lab, path);
    assert!(
        versions.split(' ').all(|it| it == format!("v{NEXT}")),
        "{versions}"
    );
    let argument = "tr '\\0' '\\n' </proc/$(pidof containerd)/cmdline | grep -c log-level=info";
    assert_eq!(bed.on("node3", argument), "1");
    println!("replaced all of three workers in {seconds:.0} s: {ok} reads, none failed");
}

/// How often the containers of each node were restarted.
fn restarts(lab: &Lab) -> BTreeMap<String, u32> {
    let path = "{range .items[*]}{.spec.nodeName} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let text = told_of_pods(lab, path);
    let row = |line: &str| {
        let (node, count) = line.split_once(' ')?;
        Some((node.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

/// A machine that loses its power, and then all at once, come back by themselves.
#[track_caller]
pub(super) fn machines_lose_their_power(bed: &Bed, lab: &Lab) {
    for gone in [&["node2"][..], &NODES] {
        let before = restarts(lab);
        let begun = Instant::now();
        for node in gone {
            bed.nodes(&format!("kill {node}"));
        }
        for node in gone {
            bed.nodes(&format!("start {node}"));
        }
        wait_for(BOOT, "all is healthy again", || {
            lab.run(["status", "inventory.toml"]).code == Some(0)
        });
        wait_for(BOOT, "Pods run again", || {
            let now = restarts(lab);
            gone.iter().all(|node| now[*node] > before[*node])
        });
        all_talk(lab, &pods(lab, 3));
        println!(
            "{gone:?} back with their Pods after {:.0} s",
            begun.elapsed().as_secs_f64()
        );
        for node in gone {
            is_as_before(bed, node);
        }
        is_well(lab);
    }
}

/// That nothing of what a boot takes away is missing.
#[track_caller]
fn is_as_before(bed: &Bed, node: &str) {
    let ask = "set -e
        cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge/bridge-nf-call-iptables
        sh /etc/k8s/kinstall-network/network.sh differs
        ip route show proto 107 | wc -l
        nft list table inet kinstall | grep -c masquerade
        for it in kube-proxy.yaml kube-proxy.kubeconfig; do
            setpriv --reuid=kube-proxy --regid=kube-proxy --clear-groups cat /etc/k8s/kube-proxy/$it >/dev/null
        done
        echo readable";
    assert_eq!(bed.on(node, ask), "1\n1\n2\n1\nreadable", "{node}");
}
