//! What a machine lacks that is to run Pods, or has that is in their way.

use super::{Cluster, Finding, Severity};
use crate::inventory::{ComponentSettings, Network, Pods, Proxy};
use crate::manifest::compose::fixture::Fixture;
use crate::role::Role;

/// What a worker tells where nothing is wrong with it.
const WORKER: &str = "\
worker name az1
worker kernel 6.1.0-13-amd64
worker cgroup v2
worker controller cpu
worker controller cpuset
worker controller memory
worker controller pids
worker has apt-get
worker has iptables
worker has ip
worker has mount
worker module overlay
worker module br_netfilter
worker nameserver 10.0.12.254
worker forwards iptables ACCEPT
worker forwards ip6tables DROP
network 000C000A 00FFFFFF 1500
";

/// The first of the two is a worker, too.
fn worker(change: impl Fn(&mut Fixture), lines: &str) -> Cluster {
    let mut cluster = Cluster::of(|fixture: &mut Fixture| {
        fixture.node("az1").roles.insert(Role::Worker);
        fixture.inventory = fixture
            .inventory
            .clone()
            .with_pods(Pods::default())
            .unwrap();
        change(fixture);
    });
    for directory in ["/etc/k8s", "/opt", "/etc/sysctl.d", "/etc/modules-load.d"] {
        cluster.tells("az1", &format!("lies {directory} ./etc"));
    }
    cluster.tells("az1", lines);
    cluster
}

/// What is found with a line in place of another, as `TEXT; HELP`.
fn found(cluster: &Cluster) -> Vec<String> {
    let findings = cluster.findings();
    let words = |it: &Finding| format!("{it}; {}", it.help);
    findings.iter().map(words).collect()
}

/// That of this alone a node is told, with these words and this help in them.
#[track_caller]
fn tells(cluster: &Cluster, text: &str, help: &str) {
    let found = found(cluster);
    let [one] = &found[..] else {
        panic!("{found:#?}");
    };
    assert!(one.starts_with(&format!("az1: {text}; ")), "{one}");
    assert!(one.contains(help), "{one}");
}

/// The same where a line of a sound worker is another one.
#[track_caller]
fn tells_of(from: &str, to: &str, text: &str, help: &str) {
    assert!(WORKER.contains(from), "{from}");
    tells(&worker(|_| {}, &WORKER.replace(from, to)), text, help);
}

/// The same where a worker tells more.
#[track_caller]
fn tells_also(more: &str, text: &str, help: &str) {
    tells(&worker(|_| {}, &format!("{WORKER}{more}")), text, help);
}

fn settings<'a>(cluster: &'a mut Cluster, component: &str) -> &'a mut ComponentSettings {
    let components = &mut cluster.inventory.components;
    components.entry(component.to_owned()).or_default()
}

#[test]
fn a_worker_brings_what_pods_need() {
    assert_eq!(worker(|_| {}, WORKER).findings(), []);
    tells_of(
        "worker name az1",
        "worker name raspberrypi",
        "the machine is called `raspberrypi`, and its Node will be `az1`",
        "`hostnamectl set-hostname az1` on it",
    );
    tells_of(
        "worker controller cpuset\nworker controller memory\nworker controller pids\n",
        "",
        "the control groups' controllers are off: cpuset, memory, pids",
        "a container's host decides",
    );
    tells_of(
        "worker has iptables\n",
        "worker has nft\n",
        "it has no `iptables`",
        "`apt-get install iptables` on it",
    );
    tells_of(
        "worker has apt-get\nworker has iptables\nworker has ip\n",
        "worker has dnf\n",
        "it has no `ip`, no `iptables`",
        "`dnf install iproute iptables` on it",
    );
    tells_of(
        "worker has apt-get\nworker has iptables\n",
        "",
        "it has no `iptables`",
        "install what its distribution has of `iptables`",
    );
    tells_of(
        "worker nameserver 10.0.12.254",
        "worker nameserver 127.0.0.53",
        "/etc/resolv.conf names 127.0.0.53 alone, which is another machine inside of each Pod",
        "resolvConf = \"/etc/resolv.pods.conf\"",
    );
    tells_of(
        "worker nameserver 10.0.12.254",
        "worker nameserver none",
        "there is no /etc/resolv.conf, and no Pod starts without",
        ">/etc/resolv.conf` on it",
    );
    tells_of(
        "network 000C000A 00FFFFFF 1500",
        "network 0000C80A 0000FFFF 1500",
        "it is in the network 10.200.0.0/16, which overlaps with the one of Pods, 10.200.0.0/16",
        "`pod-cidr`",
    );
    tells_of(
        "network 000C000A 00FFFFFF 1500",
        "network 0000200A 00FFFFFF 1500",
        "it is in the network 10.32.0.0/24, which overlaps with the one of Services, 10.32.0.0/24",
        "`service-cidr`",
    );
}

#[test]
fn a_controller_that_is_off_is_told_with_the_words_that_turn_it_on() {
    let off = "the control groups' controller is off: memory";
    for (more, help) in [
        (
            "worker cmdline /boot/firmware/cmdline.txt\nworker disables memory\n",
            "/boot/firmware/cmdline.txt || sed -i '1s/$/ cgroup_enable=memory cgroup_memory=1/' \
             /boot/firmware/cmdline.txt; reboot` on it",
        ),
        (
            "worker disables hugetlb,memory\n",
            "`sed -i 's/ *cgroup_disable=[^ \"]*//' /etc/default/grub; update-grub; reboot`",
        ),
        ("", "a container's host decides what its guests have"),
    ] {
        tells_of("worker controller memory\n", more, off, help);
    }
}

#[test]
fn a_kubelet_that_takes_version_two_alone_is_not_started_on_version_one() {
    let lines = WORKER.replace("cgroup v2", "cgroup v1");
    let at = |version: &str, more: &str| {
        let mut cluster = worker(|_| {}, &format!("{lines}{more}"));
        settings(&mut cluster, "kubelet").version = Some(version.parse().unwrap());
        cluster
    };
    assert_eq!(at("1.34.9", "").findings(), []);
    let text = "its control groups are version 1, and kubelet 1.35.0 does not start there";
    for (more, help) in [
        ("", "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_"),
        ("worker has dnf", "`grubby --update-kernel=ALL"),
        (
            "worker cmdline /boot/cmdline.txt",
            "/boot/cmdline.txt; reboot` on it",
        ),
    ] {
        tells(&at("1.35.0", more), text, help);
    }
    let mut cluster = at("1.35.0", "");
    let config = &mut settings(&mut cluster, "kubelet").config;
    config.insert("failCgroupV1".to_owned(), false.into());
    assert_eq!(cluster.findings(), []);
}

#[test]
fn modules_are_told_with_what_brings_them() {
    let (all, one) = ("worker module br_netfilter\n", "br_netfilter");
    let text = format!("its kernel has no module {one}");
    for (more, help) in [
        ("", "`apt-get install linux-modules-extra-6.1.0-13-amd64`"),
        (
            "worker has dnf\n",
            "`dnf install kernel-modules-extra-6.1.0-13-amd64`",
        ),
        (
            "worker stale 6.1.0-13-amd64\n",
            "its kernel was upgraded, and 6.1.0-13-amd64 runs on without its modules: `reboot` on it",
        ),
    ] {
        tells_of(all, more, &text, help);
    }
    let lacks = "worker lacks xt_comment\nworker lacks xt_statistic\n";
    let text = "its kernel has no module xt_comment, no xt_statistic";
    tells_also(lacks, text, "`modprobe -a xt_comment xt_statistic`");
    let change = |fixture: &mut Fixture| fixture.inventory.cluster.proxy = Proxy::Nftables;
    let nft = format!("{WORKER}worker has nft\nworker nft 1.0.6\n");
    assert_eq!(worker(change, &format!("{nft}{lacks}")).findings(), []);
}

#[test]
fn what_is_too_old_for_nftables_is_told() {
    let change = |fixture: &mut Fixture| fixture.inventory.cluster.proxy = Proxy::Nftables;
    let lines = format!("{WORKER}worker has nft\n");
    for (kernel, nft, text) in [
        (
            "5.10.0-28-amd64",
            "1.0.6",
            "it has kernel 5.10.0-28-amd64, and from 5.13 on kube-proxy forwards with nftables",
        ),
        (
            "5.14.0-503.el9",
            "0.9.8",
            "it has nft 0.9.8, and from 1.0.1 on kube-proxy forwards with nftables",
        ),
    ] {
        let lines = lines.replace("6.1.0-13-amd64", kernel);
        let cluster = worker(change, &format!("{lines}worker nft {nft}\n"));
        tells(&cluster, text, "`proxy = \"iptables\"`");
    }
}

#[test]
fn conntrack_is_asked_for_as_long_as_kube_proxy_calls_it() {
    let mut cluster = worker(|_| {}, WORKER);
    settings(&mut cluster, "kube-proxy").version = Some("1.31.9".parse().unwrap());
    let text =
        "it has no `conntrack`: kube-proxy cannot end connections (of UDP) to Pods that are gone";
    tells(&cluster, text, "`apt-get install conntrack` on it");
    assert_eq!(cluster.findings()[0].severity, Severity::Warning);
    cluster.tells("az1", "worker has conntrack");
    assert_eq!(cluster.findings(), []);
}

#[test]
fn an_iptables_that_fails_is_told_where_it_is_called() {
    let broken = "worker broken iptables iptables v1.8.9 (legacy): can't initialize table\n\
                  worker broken ip6tables anything\n";
    let text = "its `iptables` fails: iptables v1.8.9 (legacy): can't initialize table";
    let help = "`update-alternatives --set iptables /usr/sbin/iptables-nft` on it";
    tells_also(broken, text, help);
    let change = |fixture: &mut Fixture| fixture.inventory.cluster.proxy = Proxy::None;
    let lines = format!("{WORKER}worker has nft\n{broken}");
    assert_eq!(worker(change, &lines).findings(), []);
}

#[test]
fn a_firewall_that_drops_what_it_passes_on_is_told_until_pods_pass() {
    let (s, d) = ("s 10.200.0.0/16", "d 10.192.0.0/12");
    for (tables, what, text, help) in [
        (
            "iptables",
            "DROP",
            "its firewall drops what it passes on (`iptables -S FORWARD`), and Pods' packets with it",
            "`iptables -I FORWARD -s 10.200.0.0/16 -j ACCEPT; iptables -I FORWARD -d 10.200.0.0/16 -j ACCEPT` on it",
        ),
        (
            "iptables",
            "REJECT",
            "its firewall rejects what it passes on (`iptables -S FORWARD`), and Pods' packets with it",
            "`ufw route allow from 10.200.0.0/16; ufw route allow to 10.200.0.0/16`",
        ),
        (
            "inet:site:forward",
            "DROP",
            "its firewall drops what it passes on (`nft list chain inet site forward`), and Pods' packets with it",
            "`nft insert rule inet site forward ip saddr 10.200.0.0/16 accept; nft insert rule inet site forward ip daddr",
        ),
    ] {
        let line = format!("worker forwards {tables} {what}\n");
        tells_also(&line, text, help);
        // One way is not enough, nor is what passes elsewhere, nor a part of the network.
        for more in [
            format!("worker passes {tables} {s}"),
            format!("worker passes ip6tables {s}\nworker passes ip6tables {d}"),
            format!("worker passes {tables} {s}\nworker passes {tables} d 10.200.0.0/24"),
        ] {
            tells_also(&format!("{line}{more}"), text, help);
        }
        let more = format!("worker passes {tables} {s}\nworker passes {tables} {d}");
        let cluster = worker(|_| {}, &format!("{WORKER}{line}{more}"));
        assert_eq!(cluster.findings(), [], "{more}");
    }
    let text = "firewalld runs on it, and rejects what it passes on, Pods' packets with it";
    let help = "--zone=trusted --add-source=10.200.0.0/16 --add-source=10.0.12.1 --add-source=10.0.22.1; \
                firewall-cmd --reload`";
    tells_also("worker runs firewalld", text, help);
    let trusted = "worker runs firewalld\nworker trusts 10.200.0.0/16";
    let cluster = worker(|_| {}, &format!("{WORKER}{trusted}"));
    assert_eq!(cluster.findings(), []);
}

#[test]
fn swap_is_told_with_what_turns_it_off_for_good() {
    for (swap, command) in [
        (
            "/dev/sda2",
            "`sed -i '/[[:space:]]swap[[:space:]]/s/^/#/' /etc/fstab; swapoff -a` on it",
        ),
        (
            "/var/swap",
            "`systemctl disable --now dphys-swapfile; swapoff -a` on it",
        ),
        (
            "/dev/zram0",
            "`systemctl mask --now dev-zram0.swap; swapoff -a` on it",
        ),
    ] {
        let text = format!("it swaps ({swap}), and a kubelet does not start there");
        tells_also(&format!("worker swap {swap}"), &text, command);
    }
}

#[test]
fn what_would_take_part_on_a_worker_is_told() {
    for (more, text, help) in [
        (
            "worker runs dhcpcd\nworker spares NetworkManager",
            "dhcpcd takes each new interface for one of its own, a Pod's too, and may make it the \
             machine's way out",
            "systemctl restart dhcpcd` on it",
        ),
        (
            "worker runs NetworkManager\nworker spares dhcpcd",
            "NetworkManager may take Pods' interfaces down",
            "`printf '[keyfile]\\nunmanaged-devices=interface-name:cni0;",
        ),
        (
            "worker runs networkd",
            "systemd-networkd may take away the ways to other nodes' Pods when it is restarted, as \
             upgrades do; they are back after seconds",
            "ManageForeignRoutes=no",
        ),
        (
            "worker runs k3s-agent",
            "`k3s-agent` runs on it",
            "`k3s-agent-uninstall.sh` on it",
        ),
        (
            "worker runs dockerd",
            "Docker runs on it, and sets its firewall to drop what it passes on",
            "`systemctl disable --now docker.socket docker` on it",
        ),
        (
            "worker cni /etc/cni/net.d/05-calico.conflist\nworker cni /etc/cni/net.d/10-flannel.conflist",
            "another network of Pods is configured: /etc/cni/net.d/05-calico.conflist, \
             /etc/cni/net.d/10-flannel.conflist",
            "`mv /etc/cni/net.d/05-calico.conflist /etc/cni/net.d/05-calico.conflist.off; mv /etc",
        ),
        (
            "worker selinux enforcing",
            "SELinux is enforcing there, and kinstall labels nothing for it: services may not start",
            "`setenforce 0; ",
        ),
    ] {
        tells_also(more, text, help);
    }
    // What was told to keep away, the network of its own Pods and those that a runtime would take after
    // it, and what kinstall put there are well.
    for more in [
        "worker runs dhcpcd\nworker spares dhcpcd",
        "worker runs networkd\nworker spares networkd",
        "worker cni /etc/cni/net.d/10-kinstall.conflist",
        "worker cni /etc/cni/net.d/87-podman-bridge.conflist",
        "network 0000C80A 00FFFFFF 1500",
        "worker nameserver 127.0.0.1",
    ] {
        let cluster = worker(|_| {}, &format!("{WORKER}{more}"));
        assert_eq!(cluster.findings(), [], "{more}");
    }
}

#[test]
fn what_is_left_of_another_cluster_is_told_with_what_takes_it_away() {
    let more = "worker leftover /etc/kubernetes\nworker link cni0\nworker chain KUBE-SERVICES\n";
    let text = "something else made it a node of a cluster: /etc/kubernetes, the interface cni0, \
                the rules of KUBE-SERVICES";
    let rest = "rm -r /etc/kubernetes; ip link delete cni0; for it in iptables ip6tables; do \
                $it-save | grep -v KUBE- | $it-restore; done` on it";
    tells_also(more, text, &format!("all: `{rest}"));
    let tool = format!("{more}worker has kubeadm\n");
    tells_also(&tool, text, &format!("all: `kubeadm reset -f; {rest}"));
    let more = "worker leftover /var/lib/kubelet\nworker chain kube-proxy";
    let text =
        "something else made it a node of a cluster: /var/lib/kubelet, the rules of kube-proxy";
    tells_also(more, text, "-delete; nft delete table ip kube-proxy` on it");

    // Beside a kubelet of kinstall's own they are that one's.
    let mut cluster = worker(|_| {}, &format!("{WORKER}{more}"));
    let unit = crate::remote_path::RemotePath::fixed("/etc/systemd/system/kubelet.service");
    let az1 = cluster.desired.manifests[&"az1".parse().unwrap()].clone();
    let entry = az1.entries[&unit].clone();
    cluster.node("az1").begun = Some([(unit, entry)].into());
    assert_eq!(cluster.findings(), []);
}

#[test]
fn what_the_inventory_says_otherwise_is_not_asked_for() {
    let check = |change: &dyn Fn(&mut Cluster), from: &str, to: &str| {
        let mut cluster = worker(|_| {}, &WORKER.replace(from, to));
        change(&mut cluster);
        assert_eq!(cluster.findings(), [], "{from} -> {to}");
    };
    check(
        &|cluster| {
            let config = &mut settings(cluster, "kubelet").config;
            config.insert("failSwapOn".to_owned(), false.into());
        },
        "worker cgroup v2",
        "worker cgroup v2\nworker swap /dev/sda2",
    );
    let hostname = |name: &str| {
        let flag = ("hostname-override".to_owned(), name.to_owned());
        move |cluster: &mut Cluster| settings(cluster, "kubelet").flags.extend([flag.clone()])
    };
    check(&hostname("az1"), "name az1", "name raspberrypi");
    check(
        &|cluster| cluster.inventory.cluster.network = Some(Network::None),
        "worker forwards iptables ACCEPT",
        "worker forwards iptables DROP\nworker cni /etc/cni/net.d/05-calico.conflist\n\
         worker runs networkd\nworker runs firewalld",
    );
    // Pods of a node that keeps none need nothing.
    assert_eq!(Cluster::new().named(), [""; 0]);

    let mut cluster = worker(|_| {}, WORKER);
    hostname("other")(&mut cluster);
    tells(
        &cluster,
        "its kubelet is told to be the Node `other`, and its Node will be `az1`",
        "take `hostname-override` out",
    );
}

#[test]
fn the_name_servers_that_pods_are_to_be_given_must_be_there() {
    let lines = WORKER.replace("nameserver 10.0.12.254", "nameserver 127.0.0.53");
    let mut cluster = worker(|_| {}, &lines);
    let path = "/etc/resolv.pods.conf";
    let config = &mut settings(&mut cluster, "kubelet").config;
    config.insert("resolvConf".to_owned(), path.into());
    let text = "there is no `/etc/resolv.pods.conf`, which Pods are to be given (`resolvConf`)";
    tells(
        &cluster,
        text,
        "`echo nameserver 10.0.0.1 >/etc/resolv.pods.conf` on it",
    );
    let found = crate::snapshot::Found {
        kind: crate::snapshot::FoundKind::Other,
        mode: 0o644,
        user: "root".into(),
        group: "root".into(),
        modified: 0,
    };
    let entries = &mut cluster.node("az1").entries;
    entries.insert(path.parse().unwrap(), found);
    assert_eq!(cluster.findings(), []);
}
