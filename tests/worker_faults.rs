//! Promises about machines that are not fit to run Pods: everything that is in the way is told at once,
//! with the value that was found and a command that mends it, and nothing is put there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fs_err as fs;
use serde_json::Value;

use crate::bed::{Bed, NODES, PUSH};
use crate::lab::{KUBERNETES, Lab, elf, stock_as};

const PLAN: [&str; 3] = ["plan", "inventory.toml", "--json"];
/// What a run that was refused must not have made.
const UNTOUCHED: &str = "ls -d /etc/k8s /etc/sysusers.d/kinstall.conf /etc/systemd/system/kubelet.service \
    /etc/modules-load.d/kinstall.conf /opt/cni /var/lib/kinstall/store /usr/local/bin/kubelet 2>/dev/null || :";
/// The line of stand-ins that the mirror has.
const STAND_INS: &str = "1.32.3";
/// A kube-proxy that still calls conntrack.
const OLDER: &str = "1.31.9";

/// Three nodes, the first of which is everything and the others workers, and an inventory that brings
/// stand-ins to them; none, with the reason said, where there is no mirror of such.
pub(crate) fn stand_ins(test: &str, bed: &mut Bed) -> Option<Lab> {
    let Some(mirror) = std::env::var_os("KINSTALL_MIRROR").map(PathBuf::from) else {
        println!("NOT RUN: {test}: `KINSTALL_MIRROR` is not set; `cargo xtask test` makes one");
        return None;
    };
    let lab = bed.fresh();
    let mirror = mirror.display();
    fs::write(lab.path("kubectl"), elf("kubectl")).unwrap();
    // The stand-in for ctr remembers images where a containerd would.
    let drop_in = lab.path("templates/kinstall-images.service.d/stand-in.conf");
    fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
    fs::write(drop_in, "[Service]\nReadWritePaths=/var/lib/containerd\n").unwrap();
    let mut sources = format!(
        "kubernetes = [\"file://{mirror}\", \"file://{}\"]\nimages = [\"file://{mirror}/images\"]\n",
        lab.path("extra").display()
    );
    for name in ["containerd", "runc", "cni-plugins", "crictl"] {
        sources = format!("{sources}{name} = [\"file://{mirror}/{name}\"]\n");
    }
    let text = bed.inventory(&NODES).replace(KUBERNETES, STAND_INS);
    let lines = text.lines().map(|line| match line {
        line if line.starts_with("kubernetes = [") => &*sources,
        "[ssh]" => "[component.kubectl]\npath = \"kubectl\"\n\n[ssh]",
        "name = \"node1\"" => "name = \"node1\"\nroles = [\"etcd\", \"control-plane\", \"worker\"]",
        "name = \"node2\"" => "name = \"node2\"\nroles = [\"worker\"]",
        "name = \"node3\"" => "name = \"node3\"\nroles = [\"worker\"]",
        line => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    lab.write(&text);
    if !text.contains("rebuilt = true") {
        lab.edit("[source]\n", "[source]\nrebuilt = true\n");
    }
    Some(lab)
}

/// Programs that do on a node what the ones of that name do on a machine.
const PROGRAMS: [(&str, &str); 6] = [
    // What the firmware of a Raspberry Pi, and the kernel, reread.
    (
        "reboot",
        "grep -q 'rootwait cgroup_enable=memory cgroup_memory=1$' /boot/firmware/cmdline.txt && sh /root/memory on
         ! grep -q '^tmpfs /proc/sys/net ' /proc/mounts || umount -l /proc/sys/net
         rm -rf /lib/modules",
    ),
    ("swapoff", "umount /proc/swaps"),
    // It has one package for each thing that was taken away.
    (
        "apt-get",
        "[ \"$1\" = install ] && shift && for it; do case $it in
           iptables) mv /root/iptables /usr/sbin/iptables ;;
           conntrack) mv /root/conntrack /usr/sbin/conntrack ;;
           linux-modules-extra-$(uname -r)) umount -l /sys/module; rm -r /lib/modules ;;
           *) exit 100 ;;
         esac; done",
    ),
    ("update-alternatives", "[ \"$3\" = /usr/sbin/iptables-nft ] && mv /root/iptables /usr/sbin/iptables"),
    ("k3s-agent-uninstall.sh", "systemctl stop k3s-agent; rm -rf /etc/rancher"),
    ("k3s-uninstall.sh", "exit 1"),
];

/// Turns the memory controller off as far as can be seen, and on again.
const MEMORY: &str = "cd /sys/fs/cgroup
    if [ \"$1\" = on ]; then
      if mountpoint -q cgroup.controllers; then umount cgroup.controllers; else rm -f cgroup.controllers; fi
    else
      echo cpuset cpu io pids >/root/controllers
      if [ -e cgroup.controllers ]; then mount --bind /root/controllers cgroup.controllers
      else mount -o remount,rw . && cp /root/controllers cgroup.controllers; fi
    fi";

/// Has something of that name run as a service.
fn runs(name: &str, title: &str, unit: &str) -> String {
    format!(
        "cp /bin/sleep /usr/local/bin/{name}
         printf '#!/bin/bash\\nexec -a \"{title}\" /usr/local/bin/{name} infinity\\n' >/root/{name}
         printf '[Service]\\nExecStart=/bin/bash /root/{name}\\nExecReload=/bin/true\\n' >/etc/systemd/system/{unit}.service
         systemctl daemon-reload && systemctl start {unit}
         for i in $(seq 50); do ! grep -qx {name} /proc/[0-9]*/comm || exit 0; sleep 0.1; done; exit 1"
    )
}

/// What is done to a node, and what is then told of it, in the order of the alphabet.
type Faults = (Vec<String>, Vec<&'static str>);

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// A Raspberry Pi as it is delivered, more or less.
fn of_a_pi() -> Faults {
    let mut faults = texts(&[
        "mkdir -p /boot/firmware; echo 'console=tty1 rootwait' >/boot/firmware/cmdline.txt; sh /root/memory off",
        "hostname raspberrypi",
        "printf 'Filename Type Size Used Priority\\n/var/swap file 102396 0 -2\\n' >/root/swaps
         mount --bind /root/swaps /proc/swaps",
        "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n' \
         >/etc/systemd/system/dphys-swapfile.service; systemctl start dphys-swapfile",
        "echo nameserver 127.0.0.1 >/etc/resolv.conf",
        "mv /usr/sbin/iptables /root/iptables
         printf '#!/bin/sh\\necho \"can not initialize table filter\" >&2; exit 3\\n' >/usr/sbin/iptables
         chmod +x /usr/sbin/iptables",
        "ip address add 10.32.0.77/24 dev eth0",
    ]);
    faults.push(runs("dhcpcd", "dhcpcd: [manager] [ip4] [ip6]", "dhcpcd"));
    let told = vec![
        "cgroups: the control groups' controller is off: memory",
        "dhcpcd: dhcpcd takes each new interface for one of its own",
        "host-name: the machine is called `raspberrypi`, and its Node will be `node1`",
        "name-servers: /etc/resolv.conf names 127.0.0.1 alone",
        "networks: it is in the network 10.32.0.0/24, which overlaps with the one of Services, 10.32.0.0/24",
        "programs: its `iptables` fails: can not initialize table filter",
        "swap: it swaps (/var/swap), and a kubelet does not start there",
    ];
    (faults, told)
}

/// What was a node of another cluster.
fn of_a_former_node() -> Faults {
    let faults = texts(&[
        "mkdir -p /etc/kubernetes/manifests /var/lib/kubelet/pods/1/volumes/secret /etc/cni/net.d
         touch /etc/kubernetes/kubelet.conf /etc/kubernetes/manifests/etcd.yaml
         mount -t tmpfs tmpfs /var/lib/kubelet/pods/1/volumes/secret
         touch /etc/cni/net.d/10-flannel.conflist /etc/cni/net.d/05-notes.txt /etc/cni/net.d/87-podman-bridge.conflist",
        "ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.200.7.1/15 dev cni0",
        "iptables -t nat -N KUBE-SERVICES; iptables -t nat -A PREROUTING -m comment --comment portals -j KUBE-SERVICES",
        "iptables -P FORWARD DROP; iptables -A FORWARD -j REJECT",
        "hostname node1",
        "printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=no\\nLinkLocalAddressing=no\\nKeepConfiguration=yes\\n' \
         >/etc/systemd/network/eth0.network; systemctl start systemd-networkd",
        "mkdir -p /lib/modules/$(uname -r); touch /lib/modules/$(uname -r)/modules.dep
         mount -t tmpfs tmpfs /sys/module",
    ]);
    let told = vec![
        "another-network: another network of Pods is configured: /etc/cni/net.d/10-flannel.conflist",
        "forwarding: its firewall drops what it passes on (`iptables -S FORWARD`)",
        "host-name: the machine is called `node1`, and its Node will be `node2`",
        "leftovers: something else made it a node of a cluster: /etc/kubernetes, /var/lib/kubelet, \
                 the interface cni0, the rules of KUBE-SERVICES",
        "modules: its kernel has no module xt_comment, no xt_conntrack, no xt_mark, no xt_statistic",
        "networks: it is in the network 10.200.0.0/15, which overlaps with the one of Pods, 10.200.0.0/16",
    ];
    (faults, told)
}

/// One that lacks much, and on which others work.
fn of_an_odd_one() -> Faults {
    let mut faults = texts(&[
        "mv /usr/sbin/iptables /root/iptables",
        "mv /usr/sbin/conntrack /root/conntrack",
        "mount -t tmpfs tmpfs /proc/sys/net; mkdir -p /lib/modules/1.2.3",
        "nft add table inet site
         nft add chain inet site forward '{ type filter hook forward priority 0; policy drop; }'",
        "mkdir /etc/rancher",
    ]);
    faults.push(runs("k3s-agent", "k3s agent", "k3s-agent"));
    faults.push(runs("firewalld", "firewalld", "firewalld"));
    faults.push("mkdir -p /etc/NetworkManager/conf.d".to_owned());
    faults.push(runs("NetworkManager", "NetworkManager", "NetworkManager"));
    let socket =
        "printf '[Socket]\\nListenStream=/run/docker.sock\\n' >/etc/systemd/system/docker.socket";
    faults.extend([socket.to_owned(), runs("dockerd", "dockerd", "docker")]);
    let told = vec![
        "another-cluster: `k3s-agent` runs on it",
        "firewalld: firewalld runs on it, and rejects what it passes on",
        "forwarding: its firewall drops what it passes on (`nft list chain inet site forward`)",
        "leftovers: something else made it a node of a cluster: /etc/rancher",
        "modules: its kernel has no module br_netfilter",
        "programs: it has no `iptables`",
    ];
    (faults, told)
}

/// What is wrong with each node.
fn faults() -> [(&'static str, Faults); 3] {
    [
        ("node1", of_a_pi()),
        ("node2", of_a_former_node()),
        ("node3", of_an_odd_one()),
    ]
}

/// Does all that to the nodes.
fn spoil(bed: &Bed) {
    let programs = PROGRAMS.iter().fold(String::new(), |script, (name, text)| {
        let path = format!("/usr/local/sbin/{name}");
        format!("{script}cat >{path} <<'END'\n#!/bin/sh\n{text}\nEND\nchmod +x {path}\n")
    });
    let scripts = faults().map(|(node, (faults, _))| {
        let faults = faults
            .iter()
            .map(|fault| format!("( {fault} ) || exit 1\n"));
        let faults: String = faults.collect();
        (
            node,
            format!("cat >/root/memory <<'END'\n{MEMORY}\nEND\n{programs}{faults}"),
        )
    });
    on_each(bed, &scripts);
}

/// Something that was found.
struct Told {
    node: String,
    /// Its name, and the message without the node.
    text: String,
    /// The command that is to be typed on the node, if there is one.
    command: Option<String>,
}

/// What a run found, by node and text.
fn told(list: &Value) -> Vec<Told> {
    let all = list.as_array().into_iter().flatten().map(|it| {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let (node, message, help) = (text("node"), text("message"), text("help"));
        let message = message
            .strip_prefix(&format!("{node}: "))
            .unwrap_or(&message);
        let before = help.split_once("` on it").map(|(before, _)| before);
        let command = before
            .and_then(|it| it.rsplit('`').next())
            .map(str::to_owned);
        Told {
            text: format!("{}: {message}", text("name")),
            node,
            command,
        }
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|it| (it.node.clone(), it.text.clone()));
    all
}

/// That a node is told of this and nothing else.
#[track_caller]
fn are(told: &[Told], node: &str, expected: &[&str]) {
    let found: Vec<_> = told
        .iter()
        .filter(|it| it.node == node)
        .map(|it| &it.text)
        .collect();
    assert_eq!(found.len(), expected.len(), "{node}: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.starts_with(expected),
            "{node}: `{expected}` in {found:#?}"
        );
    }
}

/// Does on nodes what they are told to, all nodes at a time.
fn obey(bed: &Bed, told: &[Told]) {
    let mut scripts = BTreeMap::<&str, String>::new();
    for it in told {
        let command = it.command.as_deref().unwrap_or(":");
        let script = scripts.entry(&it.node).or_default();
        *script = format!("{script}\n{command}");
    }
    on_each(bed, &scripts.into_iter().collect::<Vec<_>>());
}

/// Runs a script on each of some nodes, all at a time.
fn on_each(bed: &Bed, scripts: &[(&str, String)]) {
    std::thread::scope(|scope| {
        for (node, script) in scripts {
            scope.spawn(move || bed.on(node, script));
        }
    });
}

fn untouched(bed: &Bed) {
    for node in NODES {
        assert_eq!(bed.on(node, UNTOUCHED), "", "{node}");
    }
}

#[test]
fn what_is_wrong_with_a_worker_is_told_with_the_command_that_mends_it() {
    let test = "what_is_wrong_with_a_worker_is_told_with_the_command_that_mends_it";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    let Some(lab) = stand_ins(test, &mut bed) else {
        return;
    };
    stock_as(&lab.path("extra"), OLDER, "kube-proxy", &elf("kube-proxy"));
    lab.edit(
        "[ssh]",
        &format!("[component.kube-proxy]\nversion = \"{OLDER}\"\n\n[ssh]"),
    );
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let sound = lab.run(PLAN).exits(3).json();
    assert!(
        told(&sound["warnings"]).is_empty(),
        "{:#}",
        sound["warnings"]
    );

    spoil(&bed);
    let found = told(&lab.run(PLAN).exits(1).json()["errors"]);
    for (node, (_, expected)) in faults() {
        are(&found, node, &expected);
    }
    let pushed = lab.run([&PUSH[..], &["--json"]].concat()).exits(1);
    let errors = told(&pushed.json()["errors"]);
    for (node, (_, expected)) in faults() {
        are(&errors, node, &expected);
    }
    untouched(&bed);

    // What concerns the cluster is said in the inventory.
    obey(&bed, &found);
    lab.edit(
        "[cluster]\n",
        "[cluster]\nservice-cidr = \"10.33.0.0/24\"\n",
    );
    lab.edit(
        "[ssh]",
        "[component.kubelet]\nconfig = { resolvConf = \"/etc/resolv.pods.conf\" }\n\n[ssh]",
    );
    let found = told(&lab.run(PLAN).exits(1).json()["errors"]);
    let missing = ["name-servers: there is no `/etc/resolv.pods.conf`, which Pods are to be given"];
    are(&found, "node1", &[]);
    are(&found, "node2", &missing);
    are(&found, "node3", &missing);
    obey(&bed, &found);
    untouched(&bed);

    // The rest would work, and may not be what was meant.
    let found = told(&lab.run(PLAN).exits(3).json()["warnings"]);
    are(&found, "node1", &[]);
    let networkd = "networkd: systemd-networkd ";
    are(&found, "node2", &[networkd]);
    are(
        &found,
        "node3",
        &[
            "docker: Docker runs on it, and sets its firewall to drop what it passes on",
            "network-manager: NetworkManager may take Pods' interfaces down",
            "programs: it has no `conntrack`: kube-proxy cannot end connections",
        ],
    );
    obey(&bed, &found);
    let sound = lab.run(PLAN).exits(3).json();
    assert!(
        told(&sound["warnings"]).is_empty(),
        "{:#}",
        sound["warnings"]
    );
    // What nobody complained of is still there.
    bed.on(
        "node2",
        "cd /etc/cni/net.d && [ -e 05-notes.txt ] && [ -e 87-podman-bridge.conflist ]",
    );

    another_containerd(&bed, &lab);
    no_image(&bed, &lab);
}

/// A containerd of somebody else's is not replaced without a word.
#[track_caller]
fn another_containerd(bed: &Bed, lab: &Lab) {
    let place = "/usr/lib/systemd/system/containerd.service";
    bed.on(
        "node2",
        &format!(
            "cp /bin/sleep /usr/bin/containerd; mkdir -p /usr/lib/systemd/system
        printf '[Service]\\nExecStart=/usr/bin/containerd infinity\\n' >{place}
        systemctl daemon-reload && systemctl start containerd"
        ),
    );
    let plan = lab.run(PLAN).exits(3).json();
    let way = &plan["in_the_way"][0];
    assert_eq!(
        (&way["node"], &way["unit"]),
        (&"node2".into(), &"containerd.service".into()),
        "{plan:#}"
    );
    let words = "containerd.service runs `/usr/bin/containerd`";
    lab.run(PUSH)
        .exits(3)
        .says(words)
        .says("--replace-unmanaged");
    bed.on(
        "node2",
        &format!(
            "systemctl stop containerd && rm {place} /usr/bin/containerd && systemctl daemon-reload"
        ),
    );
    let plan = lab.run(PLAN).exits(3).json();
    assert_eq!(plan["in_the_way"], Value::Array(Vec::new()), "{plan:#}");
}

/// Where nobody can be asked for the image that each Pod begins with, nothing begins.
#[track_caller]
fn no_image(bed: &Bed, lab: &Lab) {
    let lock = lab.path("kinstall.lock");
    if lock.exists() {
        fs::remove_file(lock).unwrap();
    }
    let text = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    let from = text
        .lines()
        .find(|line| line.starts_with("images = ["))
        .unwrap();
    lab.edit(from, "images = [\"http://127.0.0.1:9\"]");
    let empty = lab.path("cache").display().to_string();
    lab.run([&PUSH[..], &["--cache", &empty]].concat())
        .exits(5)
        .says("registry.k8s.io/pause:3.10")
        .says("127.0.0.1:9");
    untouched(bed);
}

/// The words of an inventory that are wrong, and what is said of them before any node is asked.
#[test]
fn what_no_worker_could_start_with_is_refused_before_any_is_asked() {
    let lab = Lab::new();
    let worker = "roles = [\"worker\"]\nlabels";
    for (node, disk) in [("node2", "hdd"), ("node3", "ssd")] {
        let name = format!("name = \"{node}\"\n");
        lab.edit(
            &name,
            &format!("{name}{worker} = {{ disk = \"{disk}\" }}\n"),
        );
    }
    let text = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    let refused = |from: &str, to: &str, says: &[&str]| {
        lab.write(&text);
        lab.edit(from, to);
        for command in ["check", "plan", "push"] {
            let mut output = lab.run([command, "inventory.toml"]).exits(2);
            for words in says {
                output = output.says(words);
            }
        }
    };
    refused(
        "[source]",
        "[component.kubelet]\nconfig = { maxPod = 60 }\n\n[source]",
        &["has no field `maxPod`", "did you mean `maxPods`?"],
    );
    refused(
        "disk = \"ssd\"",
        "\"a b\" = \"ssd\"",
        &["`a b` is not a label's key", "write a word, as in `disk`"],
    );
    refused(
        "[source]",
        "[component.kubelet]\nflags = { node-labels = \"node-role.kubernetes.io/worker=\" }\n\n[source]",
        &[
            "`--node-labels` can be labels that a kubelet may give",
            "`labels` of the `[[node]]`",
        ],
    );
    refused(
        "[cluster]\n",
        "[cluster]\npod-cidr = \"10.0.0.0/16\"\n",
        &[
            "`10.0.0.1` inside the network of Pods",
            "machines stay outside",
        ],
    );
    refused(
        "[cluster]\n",
        "[cluster]\npod-cidr = \"10.32.0.0/16\"\n",
        &["overlaps the network of Pods", "no address in common"],
    );
    refused(
        "name = \"node3\"\n",
        "name = \"node2\"\n",
        &["two nodes have the name `node2`", "a name of its own"],
    );
    assert!(!lab.path("pki").exists());
}
