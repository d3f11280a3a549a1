//! What a machine lacks that is to run Pods, or has that is in their way; each with the command that
//! mends it.

mod firewall;
mod others;
mod programs;

use std::net::IpAddr;

use super::{Finding, Node};
use crate::component::named;
use crate::inventory::{ComponentSettings, Network};
use crate::machine::Worker;
use crate::plain;
use crate::remote_path::RemotePath;
use crate::role::Role;
use crate::version::{Minor, Version};

/// The controllers without which a kubelet does not start, or no Pod does.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// The first kubelet that does not start on version 1 of the control groups (`failCgroupV1`).
const WITHOUT_V1: Minor = Minor::new(1, 35);
/// What has a kernel's systemd set up version 2 of them.
const UNIFIED: &str = "systemd.unified_cgroup_hierarchy=1";

/// Everything of a node that is to run Pods and on which something of that will be started.
pub(super) fn findings(node: &Node<'_>) -> Vec<Finding> {
    let row = &node.inventory.nodes[node.name];
    let Some(worker) = &node.view.snapshot.machine.worker else {
        return Vec::new();
    };
    if !row.roles.contains(&Role::Worker) {
        return Vec::new();
    }
    let starts = |component: &str| {
        let unit = named(component).and_then(crate::component::Component::unit_name);
        unit.is_some_and(|unit| node.view.difference.units.contains_key(&unit))
    };
    let kubelet = node.inventory.component("kubelet", row);
    let look = Look {
        node,
        worker,
        kubelet,
    };
    let mut findings = Vec::new();
    if starts("kubelet") {
        findings.extend(look.name());
        findings.extend(look.cgroups());
        findings.extend(look.swap());
        findings.extend(look.name_servers());
        findings.extend(look.leftovers());
    }
    if starts("kubelet") || starts("kube-proxy") || starts("kinstall-network") {
        findings.extend(look.programs());
        findings.extend(look.modules());
        findings.extend(look.nftables());
        findings.extend(look.forwarding());
        findings.extend(look.firewalld());
        findings.extend(look.managers());
        findings.extend(look.clusters());
        findings.extend(look.networks());
        findings.extend(look.cni());
        findings.extend(look.selinux());
    }
    findings
}

struct Look<'a> {
    node: &'a Node<'a>,
    worker: &'a Worker,
    /// What is said of its kubelet.
    kubelet: ComponentSettings,
}

impl Look<'_> {
    fn error(
        &self,
        name: &'static str,
        text: impl Into<String>,
        help: impl Into<String>,
    ) -> Finding {
        self.node.error(name, text.into(), help.into())
    }

    fn warning(
        &self,
        name: &'static str,
        text: impl Into<String>,
        help: impl Into<String>,
    ) -> Finding {
        self.node.warning(name, text.into(), help.into())
    }

    /// Whether a user's own field of `KubeletConfiguration` has a value.
    fn configured(&self, field: &str, value: bool) -> bool {
        let said = self.kubelet.config.get(field);
        said.and_then(serde_json::Value::as_bool) == Some(value)
    }

    /// The version of a component on the node.
    fn version(&self, component: &str) -> Version {
        let row = &self.node.inventory.nodes[self.node.name];
        self.node.inventory.version(component, row)
    }

    /// Whether kinstall connects the Pods.
    fn connects(&self) -> bool {
        self.node.inventory.network() != Network::None
    }

    /// A kubelet is the Node that its host is called, and no other may be.
    fn name(&self) -> Option<Finding> {
        let wanted = self.node.name.as_str();
        let said = self.kubelet.flags.get("hostname-override");
        let found = said.map_or(self.worker.one("name"), String::as_str);
        // As `GetHostname` of `k8s.io/component-helpers/node/util` has it.
        if found.trim().to_lowercase() == wanted {
            return None;
        }
        let flags = format!(
            "in its `[[node]]`: `component = {{ kubelet = {{ flags = {{ hostname-override = \
             \"{wanted}\" }} }} }}`"
        );
        Some(if said.is_some() {
            self.error(
                "host-name",
                format!(
                    "its kubelet is told to be the Node `{found}`, and its Node will be `{wanted}`"
                ),
                format!("take `hostname-override` out of the kubelet's `flags`, or say {flags}"),
            )
        } else {
            self.error(
                "host-name",
                format!("the machine is called `{found}`, and its Node will be `{wanted}`"),
                format!(
                    "give it the name: `hostnamectl set-hostname {wanted}` on it; or say {flags}"
                ),
            )
        })
    }

    fn cgroups(&self) -> Option<Finding> {
        let version = self.worker.one("cgroup");
        if version == "none" {
            return Some(self.error(
                "cgroups",
                "there are no control groups, and nothing can be a Pod without",
                "boot a kernel with CONFIG_CGROUPS: every distribution's has it",
            ));
        }
        let all = self.worker.all("controller");
        let has = |name: &str| all.iter().any(|it| it.split(',').any(|it| it == name));
        let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|it| !has(it)).collect();
        if !missing.is_empty() {
            return Some(self.controllers(&missing));
        }
        let kubelet = self.version("kubelet");
        let starts = kubelet.minor() < WITHOUT_V1 || self.configured("failCgroupV1", false);
        (version == "v1" && !starts).then(|| {
            self.error(
                "cgroups",
                format!(
                    "its control groups are version 1, and kubelet {kubelet} does not start there"
                ),
                format!(
                    "have it set up version 2: {}; or, while kubelets still can, `config = {{ \
                     failCgroupV1 = false }}` under `[component.kubelet]`",
                    self.boots_with(UNIFIED)
                ),
            )
        })
    }

    /// Controllers that are off.
    fn controllers(&self, missing: &[&str]) -> Finding {
        let cmdline = self.worker.one("cmdline");
        let disabled = self.worker.all("disables");
        let mut words = disabled.iter().flat_map(|it| it.split(','));
        let help = if missing == ["memory"] && !cmdline.is_empty() {
            // Its firmware says `cgroup_disable=memory`, and what follows wins.
            format!(
                "on a Raspberry Pi it is off unless {cmdline} says otherwise: {}",
                self.boots_with("cgroup_enable=memory cgroup_memory=1")
            )
        } else if words.any(|word| missing.contains(&word)) {
            "its kernel was told so: `sed -i 's/ *cgroup_disable=[^ \"]*//' /etc/default/grub; \
             update-grub; reboot` on it"
                .to_owned()
        } else {
            "a container's host decides what its guests have (of LXC: `lxc.cgroup2` and nesting); \
             a machine's kernel has all of them unless its command line says `cgroup_disable=`"
                .to_owned()
        };
        let noun = if missing.len() == 1 {
            "controller is"
        } else {
            "controllers are"
        };
        let missing = missing.join(", ");
        let text = format!("the control groups' {noun} off: {missing}");
        self.error("cgroups", text, help)
    }

    /// How the kernel is started with words that it was not started with.
    fn boots_with(&self, words: &str) -> String {
        let (file, has) = (self.worker.one("cmdline"), |it| self.worker.has("has", it));
        if !file.is_empty() {
            // A file of one line.
            format!("`grep -q '{words}' {file} || sed -i '1s/$/ {words}/' {file}; reboot` on it")
        } else if has("dnf") {
            format!("`grubby --update-kernel=ALL --args='{words}'; reboot` on it")
        } else {
            format!(
                "`sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{words} /' /etc/default/grub; update-grub; \
                 reboot` on it"
            )
        }
    }

    fn swap(&self) -> Option<Finding> {
        let all = self.worker.all("swap");
        if all.is_empty() || self.configured("failSwapOn", false) {
            return None;
        }
        let mut commands = Vec::new();
        for swap in &all {
            let name = swap.trim_start_matches("/dev/");
            commands.push(match *swap {
                // That of Raspberry Pi OS before Trixie.
                "/var/swap" => "systemctl disable --now dphys-swapfile".to_owned(),
                // Whichever generator makes the unit.
                _ if name.starts_with("zram") => format!("systemctl mask --now dev-{name}.swap"),
                _ => "sed -i '/[[:space:]]swap[[:space:]]/s/^/#/' /etc/fstab".to_owned(),
            });
        }
        commands.push("swapoff -a".to_owned());
        commands.dedup();
        Some(self.error(
            "swap",
            format!(
                "it swaps ({}), and a kubelet does not start there",
                plain::brief_list(all.iter().copied())
            ),
            format!(
                "`{}` on it; or let it swap: `config = {{ failSwapOn = false }}` under \
                 `[component.kubelet]`",
                commands.join("; ")
            ),
        ))
    }

    /// What Pods are given as their name servers must be there, and be servers to them, too.
    fn name_servers(&self) -> Option<Finding> {
        if let Some(said) = self.kubelet.config.get("resolvConf") {
            let path: RemotePath = said.as_str()?.parse().ok()?;
            return (!self.node.view.snapshot.entries.contains_key(&path)).then(|| {
                self.error(
                    "name-servers",
                    format!("there is no `{path}`, which Pods are to be given (`resolvConf`)"),
                    format!(
                        "write it, as in `echo nameserver 10.0.0.1 >{path}` on it, or leave \
                         `resolvConf` out: no Pod starts without the file"
                    ),
                )
            });
        }
        let resolved = self.worker.has("resolved", "1");
        if self.worker.has("nameserver", "none") && !resolved {
            return Some(self.error(
                "name-servers",
                "there is no /etc/resolv.conf, and no Pod starts without",
                "write it, as in `echo nameserver 10.0.0.1 >/etc/resolv.conf` on it",
            ));
        }
        let is_loopback = |text: &&str| {
            let bare = text.split('%').next().unwrap_or_default();
            bare.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
        };
        let all = self.worker.all("nameserver");
        let useless = !all.is_empty() && all.iter().all(is_loopback);
        (useless && !resolved).then(|| {
            self.error(
                "name-servers",
                format!(
                    "/etc/resolv.conf names {} alone, which is another machine inside of each Pod",
                    plain::brief_list(all.iter().copied())
                ),
                "write the name servers behind it into a file, as in `echo nameserver 10.0.0.1 \
                 >/etc/resolv.pods.conf` on it, and have Pods use that: `config = { resolvConf = \
                 \"/etc/resolv.pods.conf\" }` under `[component.kubelet]`",
            )
        })
    }

    /// Networks that the machine itself is in.
    fn networks(&self) -> Vec<Finding> {
        let cluster = &self.node.inventory.cluster;
        let ours = |net: &ipnet::IpNet| {
            let mut ranges = self.node.inventory.pods.ranges.values();
            ranges.any(|range| range.contains(net))
        };
        let own = self.node.view.snapshot.machine.networks.keys();
        let own: Vec<_> = own.filter(|net| !ours(net)).collect();
        let clash = |noun: &str, key: &str, net: ipnet::IpNet| {
            let it = own
                .iter()
                .find(|it| it.contains(&net) || net.contains(**it))?;
            Some(self.error(
                "networks",
                format!("it is in the network {it}, which overlaps with the one of {noun}, {net}"),
                format!(
                    "give `[cluster]` another `{key}`, which is used nowhere else at your site"
                ),
            ))
        };
        let pods = clash("Pods", "pod-cidr", cluster.pod_cidr);
        let services = clash("Services", "service-cidr", cluster.service_cidr);
        pods.into_iter().chain(services).collect()
    }

    /// What kinstall puts there lies where no policy expects it.
    fn selinux(&self) -> Option<Finding> {
        self.worker.has("selinux", "enforcing").then(|| {
            self.warning(
                "selinux",
                "SELinux is enforcing there, and kinstall labels nothing for it: services may not start",
                "`setenforce 0; sed -i 's/^SELINUX=enforcing/SELINUX=permissive/' \
                 /etc/selinux/config` on it",
            )
        })
    }
}
