//! Whoever else takes part on a machine: network managers, other clusters, and what is left of one.

use super::Look;
use crate::plain;
use crate::preflight::Finding;
use crate::remote_path::RemotePath;

/// The network of Pods that kinstall configures. A runtime takes the first file, in the order of bytes.
const OWN_NETWORK: &str = "/etc/cni/net.d/10-kinstall.conflist";
/// What makes a machine a node of another cluster, or takes the runtime's part, and what ends that.
const CLUSTERS: [(&str, &str); 6] = [
    ("k3s-server", "k3s-uninstall.sh"),
    ("k3s-agent", "k3s-agent-uninstall.sh"),
    ("rke2", "rke2-uninstall.sh"),
    ("k0s", "k0s stop; k0s reset"),
    ("kubelite", "snap remove --purge microk8s"),
    ("crio", "systemctl disable --now crio"),
];
/// Directories that other tools leave, and the one that takes them away.
const LEFT: [(&str, &str); 6] = [
    ("/etc/kubernetes", "rm -r /etc/kubernetes"),
    (
        "/var/lib/kubelet",
        "awk '$2 ~ \"^/var/lib/kubelet/\" { print $2 }' /proc/mounts | sort -r | xargs -r umount; \
         find /var/lib/kubelet -xdev -mindepth 1 -delete",
    ),
    ("/etc/rancher", RANCHER),
    ("/var/lib/rancher", RANCHER),
    ("/var/lib/k0s", "k0s reset"),
    ("/var/snap/microk8s", "snap remove --purge microk8s"),
];
/// Of a k3s, of a node of one, of an RKE2.
const RANCHER: &str = "k3s-uninstall.sh || k3s-agent-uninstall.sh || rke2-uninstall.sh";
/// Chains of rules that other tools leave, and what all of theirs have in their names.
const CHAINS: [(&str, &str); 3] = [
    ("KUBE-SERVICES", "KUBE-"),
    ("cali-PREROUTING", "cali"),
    ("CILIUM_PRE_nat", "CILIUM_"),
];

impl Look<'_> {
    fn runs(&self, name: &str) -> bool {
        self.worker.has("runs", name)
    }

    /// Programs that would have Pods' interfaces, or the ways to Pods, for their own.
    pub(super) fn managers(&self) -> Vec<Finding> {
        let meddles = |name: &str| self.runs(name) && !self.worker.has("spares", name);
        let mut findings = Vec::new();
        if meddles("dhcpcd") {
            findings.push(self.error(
                "dhcpcd",
                "dhcpcd takes each new interface for one of its own, a Pod's too, and may make it the \
                 machine's way out",
                "`echo 'denyinterfaces veth* cni* pods*' >>/etc/dhcpcd.conf; systemctl restart dhcpcd` on it",
            ));
        }
        if meddles("NetworkManager") {
            findings.push(self.warning(
                "network-manager",
                "NetworkManager may take Pods' interfaces down",
                "`printf '[keyfile]\\nunmanaged-devices=interface-name:cni0;interface-name:pods0;\
                 interface-name:veth*\\n' >/etc/NetworkManager/conf.d/kinstall.conf; systemctl reload \
                 NetworkManager` on it",
            ));
        }
        if meddles("networkd") && self.connects() {
            findings.push(self.warning(
                "networkd",
                "systemd-networkd may take away the ways to other nodes' Pods when it is restarted, as \
                 upgrades do; they are back after seconds",
                "`mkdir -p /etc/systemd/networkd.conf.d; printf '[Network]\\nManageForeignRoutes=no\\n\
                 ManageForeignRoutingPolicyRules=no\\n' >/etc/systemd/networkd.conf.d/kinstall.conf; \
                 systemctl restart systemd-networkd` on it",
            ));
        }
        findings
    }

    /// Other clusters' parts, and other runtimes.
    pub(super) fn clusters(&self) -> Vec<Finding> {
        let others = CLUSTERS.iter().filter(|(name, _)| self.runs(name));
        let finding = |(name, command): &(&str, &str)| {
            let text = format!("`{name}` runs on it");
            let help = format!(
                "a machine is a node of one cluster: `{command}` on it, unless something needs it"
            );
            self.error("another-cluster", text, help)
        };
        let mut findings: Vec<_> = others.map(finding).collect();
        if self.runs("dockerd") {
            findings.push(self.warning(
                "docker",
                "Docker runs on it, and sets its firewall to drop what it passes on",
                "a kubelet does not use it: `systemctl disable --now docker.socket docker` on it, unless \
                 something else needs it",
            ));
        }
        findings
    }

    /// What is left of a cluster that was made otherwise. Where a kubelet of kinstall's own was set up,
    /// it is that one's.
    pub(super) fn leftovers(&self) -> Option<Finding> {
        let unit = RemotePath::fixed("/etc/systemd/system/kubelet.service");
        if self.node.view.snapshot.ours().contains_key(&unit) {
            return None;
        }
        let (paths, links) = (self.worker.all("leftover"), self.worker.all("link"));
        let chains = self.worker.all("chain");
        let named = |noun: &'static str| move |it: &&str| format!("the {noun} {it}");
        let mut found: Vec<_> = paths.iter().map(ToString::to_string).collect();
        found.extend(links.iter().map(named("interface")));
        found.extend(chains.iter().map(named("rules of")));
        if found.is_empty() {
            return None;
        }
        let mut commands = Vec::new();
        if self.worker.has("has", "kubeadm") {
            commands.push("kubeadm reset -f".to_owned());
        }
        let left = LEFT.iter().filter(|(path, _)| paths.contains(path));
        commands.extend(left.map(|(_, command)| (*command).to_owned()));
        commands.extend(links.iter().map(|link| format!("ip link delete {link}")));
        let rules = CHAINS.iter().filter(|(chain, _)| chains.contains(chain));
        commands.extend(rules.map(|(_, word)| {
            format!(
                "for it in iptables ip6tables; do $it-save | grep -v {word} | $it-restore; done"
            )
        }));
        if chains.contains(&"kube-proxy") {
            commands.push("nft delete table ip kube-proxy".to_owned());
        }
        commands.dedup();
        Some(self.error(
            "leftovers",
            format!(
                "something else made it a node of a cluster: {}",
                plain::brief_list(found.iter().map(String::as_str))
            ),
            format!(
                "stop what still runs of it, and take it away, data and all: `{}` on it",
                commands.join("; ")
            ),
        ))
    }

    /// Networks that a runtime takes before kinstall's, whoever configured them.
    pub(super) fn cni(&self) -> Option<Finding> {
        let mut others = self.worker.all("cni");
        others.retain(|path| *path < OWN_NETWORK);
        (self.connects() && !others.is_empty()).then(|| {
            // Those that are named.
            let away = others
                .iter()
                .take(plain::ITEMS_MAX)
                .map(|path| format!("mv {path} {path}.off"));
            let away: Vec<_> = away.collect();
            self.error(
                "another-network",
                format!(
                    "another network of Pods is configured: {}",
                    plain::brief_list(others.iter().copied())
                ),
                format!(
                    "move it away: `{}` on it; or, where it is to be the cluster's, say `network = \
                     \"none\"` under `[cluster]`",
                    away.join("; ")
                ),
            )
        })
    }
}
