//! Where services will listen: whether the node has the address, and who listens there already.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::{Finding, Node};
use crate::component::{COMPONENTS, Component};
use crate::inventory::{self, Inventory, NodeName};
use crate::machine::Listener;
use crate::manifest::{Command, Preview, Situation};
use crate::plan::View;

/// The process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// The unit that it belongs to.
    pub unit: Option<String>,
    /// Its name, as the kernel has it.
    pub name: String,
}

impl Holder {
    fn title(&self) -> String {
        let Self { process, name, .. } = self;
        match &self.unit {
            Some(unit) => format!("`{name}` (process {process} of `{unit}`)"),
            None => format!("`{name}` (process {process})"),
        }
    }

    /// How it is stopped.
    fn help(&self) -> String {
        match &self.unit {
            Some(unit) if unit.ends_with(".service") => {
                format!("stop it by `systemctl disable --now {unit}`")
            }
            // systemd listens for a service that it starts when somebody calls.
            _ if self.process == 1 => {
                "stop the socket that `systemctl list-sockets` shows".to_owned()
            }
            _ => format!("stop it by `kill {}`", self.process),
        }
    }

    /// Reads what `script/holders.sh` prints.
    pub fn all(output: &str) -> BTreeMap<u64, Self> {
        let one = |line: &str| {
            let mut words = line.splitn(4, ' ');
            let inode = words.next()?.parse().ok()?;
            let process = words.next()?.parse().ok()?;
            let unit = words.next().filter(|unit| *unit != "-");
            let unit = unit.map(ToOwned::to_owned);
            let name = words.next().unwrap_or_default().to_owned();
            let holder = Self {
                process,
                unit,
                name,
            };
            Some((inode, holder))
        };
        output.lines().filter_map(one).collect()
    }
}

/// A service that will listen where somebody listens.
pub(super) struct Contest {
    component: &'static str,
    wanted: SocketAddr,
    pub(super) listener: Listener,
}

/// A service that is to be started on a node, and its command line.
pub(super) struct Start {
    component: &'static Component,
    command: Command,
}

/// The services that are to be started on a node and may listen: what is not asked over the network does
/// not.
pub(super) fn starts(inventory: &Inventory, name: &NodeName, view: &View<'_>) -> Vec<Start> {
    let Some(node) = inventory.nodes.get(name) else {
        return Vec::new();
    };
    let situation = Situation {
        inventory,
        node,
        arch: Some(view.manifest.arch),
        signing_key: true,
    };
    let Ok(preview) = Preview::of(situation) else {
        return Vec::new();
    };
    let starts = COMPONENTS.iter().copied().filter_map(|component| {
        let service = component.service.as_ref()?;
        service.probe.as_ref()?;
        let unit = component.unit_name()?;
        view.difference.units.get(&unit)?;
        // Whoever writes the command line himself knows where it listens.
        let own = &inventory.own;
        let mut drop_ins = own.drop_ins(unit.as_str());
        if own.text(service.template.name).is_some()
            || drop_ins.any(|(_, own)| own.text.contains("ExecStart"))
        {
            return None;
        }
        let command = preview.command(component).ok()?;
        Some(Start { component, command })
    });
    starts.collect()
}

/// Where a service listens by its flags.
fn listens(component: &Component, command: &Command) -> BTreeSet<SocketAddr> {
    let value = |flag: &str| command.flag(flag).map(|given| given.value.as_str());
    if component.name == "etcd" {
        let flags = [
            "listen-client-urls",
            "listen-peer-urls",
            "listen-metrics-urls",
        ];
        let urls = flags.iter().filter_map(|flag| value(flag));
        let urls = urls.flat_map(|urls| urls.split(','));
        return urls.filter_map(of_url).collect();
    }
    let probe = component.service.as_ref().and_then(|it| it.probe.as_ref());
    let default = probe.map_or(0, |probe| probe.port);
    let address = value("bind-address").map_or(Some(IpAddr::from([0; 4])), |it| it.parse().ok());
    let port = value("secure-port").map_or(Some(default), |it| it.parse().ok());
    let at = address.zip(port).filter(|(_, port)| *port != 0);
    at.map(SocketAddr::from).into_iter().collect()
}

fn of_url(url: &str) -> Option<SocketAddr> {
    let (_, host) = url.trim().split_once("://")?;
    let host = host.trim_end_matches('/');
    let host = host.replace("localhost:", "127.0.0.1:");
    host.parse().ok()
}

/// Whether two sockets of TCP cannot be listened on at once. What listens on `::` or, in Go, on
/// `0.0.0.0`, takes both families (`ipv6(7)`, `IPV6_V6ONLY`; Go's `net`, `favoriteAddrFamily`).
fn collide(wanted: SocketAddr, there: SocketAddr) -> bool {
    let (ours, theirs) = (wanted.ip().to_canonical(), there.ip().to_canonical());
    let covered = theirs.is_unspecified() && (theirs.is_ipv6() || ours.is_ipv4());
    wanted.port() == there.port() && (ours == theirs || ours.is_unspecified() || covered)
}

/// Who listens where a service will that is to be started.
pub(super) fn contests(starts: &[Start], view: &View<'_>) -> Vec<Contest> {
    let listeners = &view.snapshot.machine.listeners;
    let mut contests = Vec::new();
    for Start { component, command } in starts {
        for wanted in listens(component, command) {
            let there = listeners.iter().filter(|it| collide(wanted, it.at));
            contests.extend(there.map(|listener| Contest {
                component: component.name,
                wanted,
                listener: *listener,
            }));
        }
    }
    contests
}

/// Ports that somebody else holds.
pub(super) fn ports(
    node: &Node<'_>,
    starts: &[Start],
    holders: Option<&BTreeMap<u64, Holder>>,
) -> Vec<Finding> {
    let Some(holders) = holders else {
        return Vec::new();
    };
    let ours: BTreeSet<String> = COMPONENTS
        .iter()
        .filter_map(|component| Some(component.unit_name()?.to_string()))
        .collect();
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for contest in contests(starts, node.view) {
        // One that is gone by now holds nothing any more.
        let Some(holder) = holders.get(&contest.listener.inode) else {
            continue;
        };
        let is_ours = holder.unit.as_ref().is_some_and(|unit| ours.contains(unit));
        let port = contest.wanted.port();
        if is_ours || !told.insert((contest.component, port, holder.process)) {
            continue;
        }
        let (whose, help) = (holder.title(), holder.help());
        let text = format!(
            "{} is to listen on {}, and {whose} listens on {}",
            contest.component, contest.wanted, contest.listener.at
        );
        let help = format!(
            "{help} on the node, or give {} another port by its flags in the inventory",
            contest.component
        );
        findings.push(node.error("port-held", text, help));
    }
    findings
}

/// Addresses that the node does not have.
pub(super) fn addresses(node: &Node<'_>, starts: &[Start]) -> Vec<Finding> {
    let machine = &node.view.snapshot.machine;
    let has: Vec<String> = machine
        .addresses
        .iter()
        .map(ipnet::IpNet::addr)
        .filter(|it| !it.is_loopback() && !is_link_local(*it))
        // Enough to find the right one: some machines have thousands.
        .take(8)
        .map(|it| format!("`{it}`"))
        .collect();
    let has = has.join(", ");
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    let said = &node.inventory.nodes[node.name];
    for Start { component, command } in starts {
        for at in listens(component, command) {
            let address = at.ip();
            // Where something listens there now, it can be listened on.
            let is_there = machine.listeners.iter().any(|it| it.at == at);
            if machine.can_listen_on(address) || is_there || !told.insert(address) {
                continue;
            }
            let (name, key) = (component.name, key(said, address));
            let text =
                format!("{name} is to listen on `{address}`, which is on no interface of it");
            let help = format!(
                "it has {has}: {key}; behind NAT, have it listen on its own address by its flags; an \
                 address that comes later needs `sysctl -w net.ipv4.ip_nonlocal_bind=1`"
            );
            findings.push(node.error("address-missing", text, help));
        }
        let advertised = command.flag("advertise-address");
        if let Some(address) = advertised.and_then(|it| it.value.parse::<IpAddr>().ok())
            && !machine.can_listen_on(address)
            && told.insert(address)
        {
            let name = component.name;
            let text = format!(
                "{name} tells others to find it at `{address}`, which is on no interface of it"
            );
            let help = format!(
                "it has {has}: {}; where NAT leads there, all is well",
                key(said, address)
            );
            findings.push(node.warning("address-elsewhere", text, help));
        }
    }
    findings
}

/// What the inventory may say instead.
fn key(node: &inventory::Node, address: IpAddr) -> &'static str {
    if node.etcd_address == Some(address) {
        "write one of them as `etcd-address`"
    } else {
        "write one of them as `address`"
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_collide_where_the_kernel_says_so() {
        let check = |ours: &str, theirs: &str, expected: bool| {
            let found = collide(ours.parse().unwrap(), theirs.parse().unwrap());
            assert_eq!(found, expected, "{ours} {theirs}");
        };
        check("10.0.0.1:2379", "10.0.0.1:2379", true);
        check("10.0.0.1:2379", "10.0.0.2:2379", false);
        check("10.0.0.1:2379", "10.0.0.1:2380", false);
        check("10.0.0.1:2379", "0.0.0.0:2379", true);
        check("10.0.0.1:2379", "[::]:2379", true);
        check("0.0.0.0:6443", "10.0.0.2:6443", true);
        check("0.0.0.0:6443", "[fd00::1]:6443", true);
        check("[fd00::1]:6443", "0.0.0.0:6443", false);
        check("127.0.0.1:2381", "[::ffff:127.0.0.1]:2381", true);
    }

    #[test]
    fn a_url_says_where_is_listened() {
        let of = |url: &str| of_url(url).map(|it| it.to_string());
        assert_eq!(
            of("https://10.0.0.1:2379").as_deref(),
            Some("10.0.0.1:2379")
        );
        assert_eq!(
            of("https://[fd00::1]:2379/").as_deref(),
            Some("[fd00::1]:2379")
        );
        assert_eq!(
            of("http://localhost:2381").as_deref(),
            Some("127.0.0.1:2381")
        );
        assert_eq!(of("unix:///run/etcd.sock"), None);
    }

    #[test]
    fn holders_are_told_by_their_sockets() {
        let all = Holder::all("7 812 haproxy.service haproxy\n8 9 - a b\nx\n");
        assert_eq!(all[&7].unit.as_deref(), Some("haproxy.service"));
        assert_eq!(
            (all[&8].unit.as_ref(), all[&8].name.as_str()),
            (None, "a b")
        );
        assert_eq!(all.len(), 2);
    }
}
