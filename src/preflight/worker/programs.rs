//! Programs and modules of the kernel that kubelets, kube-proxy and the network of Pods take.

use super::Look;
use crate::inventory::{Network, Proxy};
use crate::preflight::Finding;
use crate::version::Minor;

/// What a distribution installs packages with, and how.
const INSTALLERS: [(&str, &str); 4] = [
    ("apt-get", "apt-get install"),
    ("dnf", "dnf install"),
    ("zypper", "zypper install"),
    ("pacman", "pacman -S"),
];
/// A program, and the package that has it: of apt, of dnf, of others.
const PACKAGES: [(&str, [&str; 3]); 6] = [
    ("ip", ["iproute2", "iproute", "iproute2"]),
    ("mount", ["mount", "util-linux", "util-linux"]),
    ("iptables", ["iptables"; 3]),
    ("ip6tables", ["iptables"; 3]),
    ("nft", ["nftables"; 3]),
    (
        "conntrack",
        ["conntrack", "conntrack-tools", "conntrack-tools"],
    ),
];
/// The first kube-proxy that ends connections without that program (kubernetes#126847).
const WITHOUT_CONNTRACK: Minor = Minor::new(1, 32);
/// The first kernel and the first nft with which kube-proxy forwards by nftables
/// (`pkg/proxy/nftables/supported.go`).
const NFT_KERNEL: [u64; 3] = [5, 13, 0];
const NFT: [u64; 3] = [1, 0, 1];

impl Look<'_> {
    fn has(&self, program: &str) -> bool {
        self.worker.has("has", program)
    }

    /// iptables of the family of Pods.
    pub(super) fn tables(&self) -> &'static str {
        if self.node.inventory.cluster.pod_cidr.addr().is_ipv4() {
            "iptables"
        } else {
            "ip6tables"
        }
    }

    /// Whether iptables is called: by kube-proxy, or by what hides Pods' addresses from the world.
    fn calls_tables(&self) -> bool {
        let proxy = self.node.inventory.cluster.proxy;
        proxy == Proxy::Iptables || self.connects() && !self.has("nft")
    }

    pub(super) fn programs(&self) -> Vec<Finding> {
        let proxy = self.node.inventory.cluster.proxy;
        let mut wanted = vec!["ip", "mount"];
        if self.calls_tables() {
            wanted.push(self.tables());
        }
        if proxy == Proxy::Nftables {
            wanted.push("nft");
        }
        wanted.retain(|name| !self.has(name));
        let mut findings = Vec::new();
        if !wanted.is_empty() {
            let text = format!("it has no `{}`", wanted.join("`, no `"));
            findings.push(self.error("programs", text, self.install(&wanted)));
        }
        let calls = proxy != Proxy::None && self.version("kube-proxy").minor() < WITHOUT_CONNTRACK;
        if calls && !self.has("conntrack") {
            findings.push(self.warning(
                "programs",
                "it has no `conntrack`: kube-proxy cannot end connections (of UDP) to Pods that are gone",
                self.install(&["conntrack"]),
            ));
        }
        findings.extend(self.broken());
        findings
    }

    /// How packages with programs are installed on its distribution.
    fn install(&self, programs: &[&str]) -> String {
        let own = INSTALLERS.iter().find(|(name, _)| self.has(name));
        let column = match own {
            Some(("dnf", _)) => 1,
            Some(("zypper" | "pacman", _)) => 2,
            _ => 0,
        };
        let with = PACKAGES.iter().filter(|(name, _)| programs.contains(name));
        let packages: Vec<_> = with.map(|(_, packages)| packages[column]).collect();
        let packages = packages.join(" ");
        own.map_or_else(
            || format!("install what its distribution has of `{packages}`"),
            |(_, install)| format!("`{install} {packages}` on it"),
        )
    }

    /// One that is there and does not work: the older variant, on a kernel that has only nftables.
    fn broken(&self) -> Option<Finding> {
        let tables = self.tables();
        let all = self.worker.all("broken");
        let words = all
            .iter()
            .find_map(|it| it.strip_prefix(tables)?.strip_prefix(' '))?;
        self.calls_tables().then(|| {
            self.error(
                "programs",
                format!("its `{tables}` fails: {words}"),
                format!(
                    "where it is the older variant: `update-alternatives --set {tables} \
                     /usr/sbin/{tables}-nft` on it; where its kernel has no such tables, \
                     `proxy = \"nftables\"` under `[cluster]` (Kubernetes 1.31 and newer)"
                ),
            )
        })
    }

    pub(super) fn modules(&self) -> Option<Finding> {
        let mut missing = vec!["overlay", "br_netfilter"];
        if self.node.inventory.network() == Network::Vxlan {
            missing.push("vxlan");
        }
        missing.retain(|it| !self.worker.has("module", it));
        if self.calls_tables() {
            missing.extend(self.worker.all("lacks"));
        }
        if missing.is_empty() {
            return None;
        }
        let (stale, kernel) = (self.worker.one("stale"), self.worker.one("kernel"));
        let help = if !stale.is_empty() {
            format!(
                "its kernel was upgraded, and {stale} runs on without its modules: `reboot` on it"
            )
        } else if self.has("dnf") {
            format!("`dnf install kernel-modules-extra-{kernel}` on it")
        } else {
            format!(
                "on Ubuntu `apt-get install linux-modules-extra-{kernel}` on it (on one for a \
                 Raspberry Pi `linux-modules-extra-raspi`), elsewhere boot the distribution's own \
                 kernel; a container's host loads them: `modprobe -a {}`",
                missing.join(" ")
            )
        };
        let text = format!("its kernel has no module {}", missing.join(", no "));
        Some(self.error("modules", text, help))
    }

    /// What is too old for kube-proxy with nftables.
    pub(super) fn nftables(&self) -> Option<Finding> {
        if self.node.inventory.cluster.proxy != Proxy::Nftables {
            return None;
        }
        let (kernel, nft) = (self.worker.one("kernel"), self.worker.one("nft"));
        let old = if numbers(kernel).is_some_and(|it| it < NFT_KERNEL) {
            format!("kernel {kernel}, and from 5.13")
        } else if numbers(nft).is_some_and(|it| it < NFT) {
            format!("nft {nft}, and from 1.0.1")
        } else {
            return None;
        };
        Some(self.error(
            "programs",
            format!("it has {old} on kube-proxy forwards with nftables"),
            "`proxy = \"iptables\"` under `[cluster]`, or a newer release of its system",
        ))
    }
}

/// The numbers that a version begins with.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut words = version.split(|it: char| !it.is_ascii_digit());
    let mut next = || words.next().and_then(|it| it.parse().ok());
    Some([next()?, next()?, next().unwrap_or(0)])
}
