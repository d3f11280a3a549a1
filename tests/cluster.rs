//! Promises about workers, on real nodes with genuine Kubernetes 1.20.2, containerd and runc: after a
//! push every node is Ready and Pods talk; what is changed later disturbs none of them.

mod drain;
mod everywhere;
mod harm;
pub(crate) mod turn;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bed::{Bed, PUSH, is_well};
use crate::lab::Lab;
use crate::servers::{kubectl, servers, site};
use crate::verify;

/// A Pod on each node, and a Service before them.
const WEB: &str = r"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: kinstall.test/serve:1
        imagePullPolicy: Never
        args: [netexec, --http-port=8080]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.32.0.80
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
";

/// A bed, the mirror of genuine programs with their version, and a lab of genuine workers; none where
/// something of that is not to be had.
pub(crate) fn genuine(test: &str) -> Option<(Bed, (PathBuf, String), Lab)> {
    let mirror = servers(test)?;
    let mut bed = Bed::take(test)?;
    let lab = workers(&mut bed, &mirror);
    Some((bed, mirror, lab))
}

/// Has each node serve, and all of them behind a Service.
pub(crate) fn serve(lab: &Lab) {
    fs_err::write(lab.path("web.yaml"), WEB).unwrap();
    let file = lab.path("web.yaml").display().to_string();
    kubectl(lab, "node1", &["apply", "-f", &file]);
}

/// What is said of the Pods of the `DaemonSet` along a path of kubectl's.
fn told_of_pods(lab: &Lab, path: &str) -> String {
    let path = format!("jsonpath={path}");
    let ask = ["get", "pods", "-l", "app=web", "-o", &path];
    kubectl(lab, "node1", &ask)
}

/// Two nodes, the first of which is everything, and an inventory that brings genuine programs to them.
pub(crate) fn workers(bed: &mut Bed, mirror: &(PathBuf, String)) -> Lab {
    let lab = site(bed, mirror, "");
    let genuine = mirror.0.display();
    let sources = ["containerd", "runc", "cni-plugins", "crictl"];
    let sources = sources.map(|name| format!("{name} = [\"file://{genuine}/{name}\"]\n"));
    let images = format!("images = [\"file://{}\"]\n", images().display());
    let versions = [
        ("containerd", version(mirror, "containerd")),
        ("runc", version(mirror, "runc")),
        ("cni-plugins", version(mirror, "cni-plugins")),
        ("crictl", version(mirror, "crictl")),
    ];
    let versions =
        versions.map(|(name, version)| format!("[component.{name}]\nversion = \"{version}\"\n\n"));
    // Images are not cleared away for want of room on the machine that pretends to be three.
    let kubelet = "[component.kubelet]\nconfig = { maxPods = 110, imageGCHighThresholdPercent = 100, evictionHard = \
                   { \"imagefs.available\" = \"1%\", \"nodefs.available\" = \"1%\" } }\n\n";
    // The machine's own, as a push may bring any.
    fs_err::copy(program("kubectl"), lab.path("kubectl")).unwrap();
    let kubectl = "[component.kubectl]\npath = \"kubectl\"\n\n";
    let tables = format!("{}{kubelet}{kubectl}[ssh]", versions.concat());
    lab.edit("[ssh]", &tables);
    lab.edit(
        "\nkubernetes = [",
        &format!("\n{}{images}kubernetes = [", sources.concat()),
    );
    let roles = [
        ("node1", r#"["etcd", "control-plane", "worker"]"#),
        ("node2", r#"["worker"]"#),
        ("node3", r#"["worker"]"#),
    ];
    for (node, roles) in roles {
        let name = format!("name = \"{node}\"\n");
        lab.edit(&name, &format!("{name}roles = {roles}\n"));
    }
    lab.edit(
        "roles = [\"worker\"]",
        "roles = [\"worker\"]\nlabels = { disk = \"ssd\" }",
    );
    lab
}

/// The version of a program that a mirror has.
fn version((mirror, _): &(PathBuf, String), name: &str) -> String {
    let directory = fs_err::read_dir(mirror.join(name)).unwrap();
    let mut names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.next().unwrap().trim_start_matches('v').to_owned()
}

/// Where a program of this machine is.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut places = std::env::split_paths(&path).map(|place| place.join(name));
    places.find(|place| place.exists()).unwrap()
}

/// The images that this machine made.
pub(crate) fn images() -> PathBuf {
    let mirror = std::env::var_os("KINSTALL_MIRROR").map(PathBuf::from);
    mirror.expect("`cargo xtask test` sets it").join("images")
}

/// Has nodes hold the image. What each Pod begins with, a push brings.
fn import(bed: &Bed, nodes: &[&str]) {
    let serve = images().join("serve.tar");
    for node in nodes {
        let copied = Command::new("scp")
            .arg("-q")
            .arg("-F")
            .arg(bed.ssh_config())
            .arg(&serve)
            .arg(format!("{node}:/root/serve.tar"))
            .status();
        assert!(copied.unwrap().success(), "{node}");
        bed.on(
            node,
            "ctr -n k8s.io images import /root/serve.tar >/dev/null",
        );
    }
}

/// Waits until something holds, for a minute.
#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    wait_for(Duration::from_secs(60), what, holds);
}

/// The same for as long as it may take.
#[track_caller]
fn wait_for(limit: Duration, what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The Pods of the `DaemonSet` once there are as many, all of them ready: the node, the name, the address.
#[track_caller]
pub(crate) fn pods(lab: &Lab, count: usize) -> Vec<(String, String, String)> {
    let path = "{range .items[?(@.status.containerStatuses[0].ready==true)]}{.spec.nodeName} \
                {.metadata.name} {.status.podIP}{\"\\n\"}{end}";
    let list = || {
        let text = told_of_pods(lab, path);
        let row = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?, words.next()?))
        };
        let mut all: Vec<_> = text.lines().filter_map(row).collect();
        all.sort();
        all
    };
    wait("Pods are ready", || list().len() == count);
    list()
}

/// Has a Pod ask another address for its name.
#[track_caller]
fn dial(lab: &Lab, pod: &str, host: &str, port: u16) -> String {
    let path = format!(
        "/api/v1/namespaces/default/pods/{pod}:8080/proxy/dial?host={host}&port={port}\
         &protocol=http&request=hostname"
    );
    kubectl(lab, "node1", &["get", "--raw", &path])
}

/// That each Pod reaches each other, itself through its Service, and the API.
#[track_caller]
fn all_talk(lab: &Lab, pods: &[(String, String, String)]) {
    for (_, pod, _) in pods {
        for (_, other, address) in pods {
            let answer = dial(lab, pod, address, 8080);
            assert!(answer.contains(other), "{pod} to {other}: {answer}");
        }
        // Often enough that each one is itself chosen, too.
        for _ in 0..6 {
            assert!(
                dial(lab, pod, "10.32.0.80", 80).contains("web-"),
                "{pod} to the Service"
            );
        }
        let api = dial(lab, pod, "10.32.0.1", 443);
        assert!(api.contains("HTTP request to an HTTPS server"), "{api}");
    }
}

/// The processes of the Pods of a node.
fn processes(bed: &Bed, node: &str) -> String {
    bed.on(node, "for it in /proc/[0-9]*/exe; do case $(readlink $it) in /serve*) echo $it ;; esac; done | sort")
}

/// Reads the Service from outside of the cluster again and again; the failures are told at the end.
fn reader(bed: &Bed, node: &str) {
    let address = bed.address(node);
    bed.on(
        node,
        &format!(
            "systemd-run -q --unit=reader sh -c 'while :; do curl -s -m 2 -o /dev/null \
             http://{address}:30080/hostname && echo ok || echo failed; sleep 0.1; done >/run/reader'"
        ),
    );
}

#[track_caller]
fn reads(bed: &Bed, node: &str) -> (usize, usize) {
    bed.on(node, "systemctl stop reader");
    let text = bed.on(node, "cat /run/reader");
    let count = |word: &str| text.lines().filter(|line| *line == word).count();
    (count("ok"), count("failed"))
}

/// What the API tells of every node.
#[track_caller]
fn nodes(lab: &Lab, path: &str) -> String {
    kubectl(
        lab,
        "node1",
        &["get", "nodes", "-o", &format!("jsonpath={path}")],
    )
}

/// That every node is Ready with its own range, and that services are as tight as they can be.
#[track_caller]
fn all_are_ready(bed: &Bed, lab: &Lab) {
    is_well(lab);
    let path = "{range .items[*]}{.metadata.name} {.spec.podCIDR} {.metadata.labels.disk} \
                {.spec.taints[*].key} {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
    let expected = "node1 10.200.0.0/24  node-role.kubernetes.io/control-plane True\n\
                    node2 10.200.1.0/24 ssd  True\n";
    assert_eq!(nodes(lab, path), expected);
    for (name, most) in [
        ("kubelet", 5.2),
        ("kube-proxy", 1.5),
        ("kinstall-network", 1.6),
    ] {
        let ask = format!("systemd-analyze security --no-pager {name} | tail -n 1");
        let told = bed.on("node2", &ask);
        let score = told.split(": ").nth(1).and_then(|it| it.split(' ').next());
        let score: f64 = score.unwrap().parse().unwrap();
        assert!(score <= most, "{told}");
    }
}

/// That Pods outlive whatever serves them.
#[track_caller]
fn services_are_replaced_under_pods(bed: &Bed) {
    let before = processes(bed, "node2");
    assert!(!before.is_empty());
    let harm = "systemctl restart containerd kubelet kube-proxy; \
                systemctl kill -s KILL --kill-who=main containerd kubelet kube-proxy";
    bed.on("node2", harm);
    let ask = "for it in containerd kubelet kube-proxy; do systemctl is-active -q $it || exit 1; done; \
               curl -sf http://127.0.0.1:10248/healthz && curl -sf http://127.0.0.1:10256/healthz";
    wait("all of them are back", || {
        bed.try_on("node2", ask).code == Some(0)
    });
    assert_eq!(processes(bed, "node2"), before);
}

/// Labels are kinstall's to change, and those of others stay.
#[track_caller]
fn labels_follow_the_inventory(lab: &Lab) {
    kubectl(lab, "node1", &["label", "node", "node2", "theirs=kept"]);
    lab.edit("disk = \"ssd\"", "rack = \"2\"");
    lab.run(PUSH).exits(0);
    let labels = nodes(lab, "{.items[1].metadata.labels}");
    for (word, there) in [
        ("\"rack\":\"2\"", true),
        ("\"theirs\":\"kept\"", true),
        ("disk", false),
    ] {
        assert_eq!(labels.contains(word), there, "{labels}");
    }
}

/// Every node goes back to what it had before its own last change, its Node too; a push brings all of
/// it back.
#[track_caller]
fn nodes_go_back(lab: &Lab) {
    lab.run(["rollback", "inventory.toml"]).exits(0);
    let labels = nodes(lab, "{.items[1].metadata.labels}");
    assert!(labels.contains("\"disk\":\"ssd\""), "{labels}");
    lab.run(PUSH).exits(0);
    is_well(lab);
}

/// Routes that somebody takes away, or that go with the uplink, are back within seconds.
#[track_caller]
fn routes_come_back(bed: &Bed) {
    // What `netplan apply` does: a network manager takes every route away that it does not know.
    // networkd 252 asks for a broadcast address in a way that newer kernels refuse.
    let managed = "mkdir -p /run/systemd/network; \
                   printf '[Match]\\nName=eth0\\n[Route]\\nGateway=%s\\n[Address]\\nAddress=%s\\nBroadcast=no\\n' \
                   $(ip route show default | cut -d ' ' -f 3) \
                   $(ip -4 -o addr show dev eth0 | tr -s ' ' | cut -d ' ' -f 4) \
                   >/run/systemd/network/eth0.network; systemctl start systemd-networkd";
    bed.on("node2", managed);
    for harm in [
        "ip route flush proto 107",
        "ip link set eth0 down; sleep 1; ip link set eth0 up",
        "systemctl restart systemd-networkd",
        "networkctl reconfigure eth0",
    ] {
        bed.on("node2", &format!("systemd-run -q --wait sh -c '{harm}'"));
        let begun = Instant::now();
        wait("routes are back", || {
            bed.on("node2", "ip route show proto 107 | wc -l") == "2"
        });
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(6), "{harm}: {took:?}");
    }
    bed.on(
        "node2",
        "systemctl stop systemd-networkd; rm /run/systemd/network/eth0.network",
    );
}

/// Nothing is left of it, and the machines would do for another cluster.
#[track_caller]
fn nothing_is_left(bed: &Bed, lab: &Lab) {
    lab.run(["uninstall", "inventory.toml", "--data", "--yes"])
        .exits(0);
    let ask = "ip -br link | grep -v 'lo\\|eth0'; ip route show proto 107; \
               grep ' /var/lib/kubelet/\\|/run/containerd\\|cni-' /proc/mounts; \
               iptables-save | grep KUBE; nft list tables | grep kinstall; \
               ls /opt/cni /etc/cni /var/lib/cni 2>/dev/null; \
               for it in /proc/[0-9]*/exe; do readlink $it; done | grep 'serve\\|shim\\|kube\\|containerd'; :";
    for node in ["node1", "node2", "node3"] {
        assert_eq!(bed.on(node, ask), "", "{node}");
    }
    lab.run(["plan", "inventory.toml"]).exits(3);
}

#[test]
fn genuine_workers_run_pods_that_nothing_disturbs() {
    let test = "genuine_workers_run_pods_that_nothing_disturbs";
    let Some((bed, mirror, lab)) = genuine(test) else {
        return;
    };
    // The third comes later.
    let all = fs_err::read_to_string(lab.path("inventory.toml")).unwrap();
    let (two, third) = all.split_at(all.rfind("\n[[node]]").unwrap());
    lab.write(two);

    let pushed = lab.run(PUSH).exits(0).says("network of Pods: routes");
    all_are_ready(&bed, &lab);
    import(&bed, &["node1", "node2"]);
    serve(&lab);
    all_talk(&lab, &pods(&lab, 2));
    services_are_replaced_under_pods(&bed);

    // A field of the kubelets' changes, one node at a time, and a worker comes, while somebody reads.
    let before = processes(&bed, "node2");
    reader(&bed, "node1");
    lab.edit("maxPods = 110", "maxPods = 60");
    let seconds = "stable-seconds = 1";
    lab.edit(seconds, &format!("{seconds}\nwidth = {{ workers = 1 }}"));
    let changed = lab.run(PUSH).exits(0);
    assert_eq!(nodes(&lab, "{.items[*].status.capacity.pods}"), "60 60");
    let more = fs_err::read_to_string(lab.path("inventory.toml")).unwrap();
    lab.write(&format!("{more}{third}"));
    let ask = |property: &str| {
        let show = format!("systemctl show -p {property} --value kubelet");
        bed.on("node2", &show)
    };
    let (since, allowed) = (ask("ExecMainStartTimestamp"), ask("IPAddressAllow"));
    let came = "node3: made its Node, Pods in 10.200.2.0/24";
    lab.run(PUSH).exits(0).says(came);
    assert_eq!(
        ask("ExecMainStartTimestamp"),
        since,
        "restarted for another"
    );
    assert_ne!(ask("IPAddressAllow"), allowed, "kept from another");
    import(&bed, &["node3"]);
    all_talk(&lab, &pods(&lab, 3));
    let (ok, failed) = reads(&bed, "node1");
    assert!(ok > 50 && failed == 0, "{ok} reads, {failed} failed");
    assert_eq!(processes(&bed, "node2"), before, "a Pod was restarted");

    let calls = bed.calls();
    lab.run(PUSH).exits(0).says("nothing to do");
    let due = calls.map(|(connections, sessions)| (connections + 1, sessions + 1));
    assert_eq!(bed.calls(), due, "a rerun is one session a node");
    verify::proves_a_cluster(&lab);
    verify::finds_what_is_broken(&bed, &lab);
    labels_follow_the_inventory(&lab);
    routes_come_back(&bed);
    all_talk(&lab, &pods(&lab, 3));
    nodes_go_back(&lab);
    all_talk(&lab, &pods(&lab, 3));
    harm::certificates_are_renewed(&bed, &lab);
    harm::all_is_replaced_under_pods(&bed, &lab, &mirror);
    drain::pods_are_moved_away(&bed, &lab);
    harm::machines_lose_their_power(&bed, &lab);
    nothing_is_left(&bed, &lab);
    println!(
        "{test}: from empty nodes {:.0} s; a field of two kubelets {:.0} s; {ok} reads, none failed",
        pushed.seconds, changed.seconds
    );
}
