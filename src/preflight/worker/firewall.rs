//! What keeps Pods' packets from passing.

use ipnet::IpNet;

use super::Look;
use crate::preflight::Finding;

impl Look<'_> {
    /// Firewalls that drop what no rule of theirs is about.
    pub(super) fn forwarding(&self) -> Vec<Finding> {
        if !self.connects() {
            return Vec::new();
        }
        let pods = self.node.inventory.cluster.pod_cidr;
        let all = self.worker.all("forwards");
        let lines = all.iter().filter_map(|line| line.split_once(' '));
        let mut drops: Vec<_> = lines
            .filter(|(tables, what)| {
                let other = ["iptables", "ip6tables"].contains(tables) && *tables != self.tables();
                *what != "ACCEPT" && !other && !self.passes(tables)
            })
            .collect();
        drops.dedup_by_key(|(tables, _)| *tables);
        let finding = |(tables, what): (&str, &str)| {
            let ip = if pods.addr().is_ipv4() { "ip" } else { "ip6" };
            if tables.contains(':') {
                let chain = tables.replace(':', " ");
                let text = format!(
                    "its firewall drops what it passes on (`nft list chain {chain}`), and Pods' packets with it"
                );
                let help = format!(
                    "let Pods through: `nft insert rule {chain} {ip} saddr {pods} accept; nft insert \
                     rule {chain} {ip} daddr {pods} accept` on it, and for good in /etc/nftables.conf"
                );
                return self.error("forwarding", text, help);
            }
            let verb = if what == "REJECT" { "rejects" } else { "drops" };
            let text = format!(
                "its firewall {verb} what it passes on (`{tables} -S FORWARD`), and Pods' packets with it"
            );
            let help = format!(
                "let Pods through: `{tables} -I FORWARD -s {pods} -j ACCEPT; {tables} -I FORWARD -d \
                 {pods} -j ACCEPT` on it, kept as the firewall keeps its rules (with ufw: `ufw route \
                 allow from {pods}; ufw route allow to {pods}`)"
            );
            self.error("forwarding", text, help)
        };
        drops.into_iter().map(finding).collect()
    }

    /// Whether packets from Pods and to Pods pass all the same.
    fn passes(&self, tables: &str) -> bool {
        let pods = self.node.inventory.cluster.pod_cidr;
        let all = self.worker.all("passes");
        let passes = |way: &str| {
            all.iter().any(|line| {
                let network = line
                    .strip_prefix(tables)
                    .and_then(|it| it.strip_prefix(' ')?.strip_prefix(way)?.strip_prefix(' '));
                let network = network.and_then(|it| it.parse::<IpNet>().ok());
                network.is_some_and(|network| network.contains(&pods))
            })
        };
        passes("s") && passes("d")
    }

    pub(super) fn firewalld(&self) -> Option<Finding> {
        let pods = self.node.inventory.cluster.pod_cidr;
        let trusted = self.worker.all("trusts");
        let mut trusted = trusted.iter().filter_map(|it| it.parse::<IpNet>().ok());
        let runs = self.worker.has("runs", "firewalld") && self.connects();
        (runs && !trusted.any(|network| network.contains(&pods))).then(|| {
            let nodes = self.node.inventory.nodes.values();
            let sources = nodes.map(|node| format!(" --add-source={}", node.address));
            let sources: String = sources.collect();
            self.error(
                "firewalld",
                "firewalld runs on it, and rejects what it passes on, Pods' packets with it",
                format!(
                    "`systemctl disable --now firewalld` on it; or have it trust Pods and nodes: \
                     `firewall-cmd --permanent --zone=trusted --add-source={pods}{sources}; \
                     firewall-cmd --reload`"
                ),
            )
        })
    }
}
