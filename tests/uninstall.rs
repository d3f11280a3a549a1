//! Promises of `uninstall` on real nodes: what kinstall put there goes, and nothing else.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::bed::{Bed, NODES, PUSH};
use crate::lab::{Going, Lab, Output};
use crate::worker_faults::stand_ins;

const UNINSTALL: [&str; 3] = ["uninstall", "inventory.toml", "--yes"];

/// `uninstall` at a terminal, where somebody types a line.
fn type_in(lab: &Lab, line: &str, more: &[&str]) -> Output {
    let command = lab.command([&["uninstall", "inventory.toml"], more].concat());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut typing = Command::new("script");
    // What it prints ends in CR LF, as for any terminal.
    typing.args([
        "--quiet",
        "--return",
        "--command",
        &words.join(" "),
        "/dev/null",
    ]);
    typing.current_dir(lab.path("")).env("NO_COLOR", "1");
    typing
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = typing.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{line}").unwrap();
    Going::of(child, &typing).finish()
}

#[test]
fn uninstall_takes_away_what_was_put_there_and_nothing_else() {
    let Some(mut bed) = Bed::take("uninstall_takes_away_what_was_put_there_and_nothing_else")
    else {
        return;
    };
    let lab = bed.fresh();
    // Everything below these, without what comes and goes by itself.
    let tree = "cd / && find etc usr/local var/lib/kinstall var/lib/etcd -xdev \
        ! -path 'etc/ssh*' ! -name '*-' ! -name 'passwd' ! -name 'group' ! -name 'shadow' \
        ! -name 'gshadow' ! -name '.updated' ! -path 'var/lib/etcd/*' 2>/dev/null | sort";
    let before = NODES.map(|node| bed.on(node, tree));
    lab.run(PUSH).exits(0);
    lab.run(["uninstall", "inventory.toml", "--plan"])
        .exits(3)
        .prints("node1: stops kube-scheduler.service kube-controller-manager.service kube-apiserver.service etcd.service")
        .prints("- /usr/local/bin/etcd\n")
        .prints("data stay: /var/lib/etcd");
    lab.run(["uninstall", "inventory.toml"])
        .exits(2)
        .says("there is no terminal to ask at");
    type_in(&lab, "hmoe", &[])
        .exits(130)
        .prints("that is not the cluster's name; nothing was changed");
    lab.run([&UNINSTALL[..], &["--limit", "node3"]].concat())
        .exits(1)
        .says("node3: is one of 3 members of a living etcd cluster");
    lab.run(["status", "inventory.toml"]).exits(0);

    let theirs = "/etc/k8s/kube-apiserver/theirs";
    let edited = "/etc/sysusers.d/kinstall.conf";
    bed.on(
        "node2",
        &format!("touch {theirs}; echo '# mine' >>{edited}"),
    );
    type_in(&lab, "home", &["--data"])
        .exits(0)
        .prints("To take this and all data away, type the cluster's name (home): ")
        .prints(&format!("{edited} was changed by hand, and stays"))
        .prints("all data go, for ever: /var/lib/etcd");
    let gone = "! pidof etcd kube-apiserver kube-scheduler kube-controller-manager; \
                ! systemctl cat etcd kube-apiserver 2>/dev/null; ls -d /var/log/kubernetes || :";
    for (node, before) in NODES.iter().zip(before) {
        assert_eq!(bed.on(node, gone), "", "{node}");
        let left = bed.on(node, tree);
        // The system's own, which a bare one may lack.
        let system = ["etc/sysusers.d", "etc/tmpfiles.d"];
        let left = left.lines().filter(|path| !before.contains(*path));
        let left = left.filter(|path| !system.contains(path));
        let left: Vec<&str> = left.collect();
        if *node == "node2" {
            let stays = [
                &edited[1..],
                "etc/k8s",
                "etc/k8s/kube-apiserver",
                &theirs[1..],
            ];
            assert!(left.iter().all(|path| stays.contains(path)), "{left:?}");
            bed.on(node, &format!("rm {edited} && rm -r /etc/k8s"));
        } else {
            assert_eq!(left, Vec::<&str>::new(), "{node}");
        }
    }
    lab.run(UNINSTALL)
        .exits(0)
        .prints("home: nothing of kinstall's is there");
    // An emptied machine is as good as a new one.
    lab.run(PUSH).exits(0);
    lab.run(["status", "inventory.toml"]).exits(0);
    bed.leave(lab);
}

/// What Pods of a worker leave in the kernel and on the disk; stand-ins run none.
const PODS: &str = "set -e
    mkdir -p /var/lib/kubelet/pods/1/volumes/secret /run/containerd/task/1/rootfs /run/netns \
      /var/lib/cni/networks/kinstall /var/lib/cni/results
    mount -t tmpfs tmpfs /var/lib/kubelet/pods/1/volumes/secret
    mount -t tmpfs tmpfs /run/containerd/task/1/rootfs
    touch /var/lib/kubelet/cpu_manager_state /var/lib/containerd/layer /var/lib/cni/networks/kinstall/10.200.1.2
    touch /run/netns/cni-1 && mount --bind /proc/self/ns/net /run/netns/cni-1
    ip link add cni0 type bridge && ip link set cni0 up
    iptables -t nat -N KUBE-SERVICES && iptables -t nat -A PREROUTING -j KUBE-SERVICES
    iptables -N KUBE-FIREWALL && iptables -A INPUT -j KUBE-FIREWALL";
/// What of that is there.
const OF_PODS: &str = "ip -o link show | grep -o 'cni0\\|pods0'; ip route show proto 107; iptables-save | grep KUBE
    nft list tables | grep kinstall; grep -o '/var/lib/kubelet/[^ ]*\\|/run/containerd/[^ ]*\\|/run/netns/cni[^ ]*' /proc/mounts
    ls -d /run/containerd /run/kinstall /var/lib/kinstall-images /var/lib/cni /opt/cni /etc/cni 2>/dev/null
    ls -A /var/lib/kubelet; :";

#[test]
fn a_worker_that_was_uninstalled_is_fit_to_be_one_again() {
    let test = "a_worker_that_was_uninstalled_is_fit_to_be_one_again";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    let Some(lab) = stand_ins(test, &mut bed) else {
        return;
    };
    // Both are file systems of their own there.
    let data = "ls -A /var/lib/containerd /var/lib/kubelet";
    let before = NODES.map(|node| bed.on(node, data));
    // Across routers there is a tunnel, too.
    lab.edit("[cluster]\n", "[cluster]\nnetwork = \"vxlan\"\n");
    lab.run(PUSH).exits(0);
    for node in NODES {
        bed.on(node, PODS);
        let there = bed.on(node, OF_PODS);
        for word in [
            "cni0",
            "pods0",
            "KUBE-SERVICES",
            "KUBE-FIREWALL",
            "inet kinstall",
            "/volumes/secret",
        ] {
            assert!(there.contains(word), "{word}: {there}");
        }
    }
    lab.run(UNINSTALL).exits(0).prints(
        "data stay: /var/lib/containerd, /var/lib/etcd, /var/lib/kubelet, /var/log/kubernetes",
    );
    for node in NODES {
        assert_eq!(bed.on(node, OF_PODS), "", "{node}");
        bed.on(node, "[ -e /var/lib/containerd/layer ]");
    }
    let plan = ["plan", "inventory.toml", "--json"];
    let fit = lab.run(plan).exits(3).json();
    assert_eq!(
        fit["warnings"],
        serde_json::Value::Array(Vec::new()),
        "{fit:#}"
    );

    // Whoever thinks of the data later is helped, but not to those of another.
    bed.on("node3", "printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/containerd.service; systemctl daemon-reload");
    let later = [&UNINSTALL[..], &["--data"]].concat();
    lab.run(&later)
        .exits(0)
        .prints("node2: nothing of kinstall's is there but data")
        .prints("all data go, for ever: /var/lib/containerd, /var/lib/etcd, /var/lib/kubelet");
    bed.on(
        "node3",
        "cd /var/lib/containerd && [ -e layer ] && rm -r ./* /etc/systemd/system/containerd.service",
    );
    for (node, before) in NODES.iter().zip(before) {
        assert_eq!(bed.on(node, data), before, "{node}");
        bed.on(node, "[ ! -e /var/lib/kinstall ]");
    }
    lab.run(later)
        .exits(0)
        .prints("home: nothing of kinstall's is there");
    lab.run(plan).exits(3);
}
