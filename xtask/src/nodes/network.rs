//! The wires: one bridge a bed, and for each node a network namespace with a cable to it.
//!
//! A cable is a veth pair. The node's end is `eth0` in the node's namespace; this machine's end is
//! `<bed>-<number>`, and cutting the cable is setting that end down.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::error::Error;
use super::name::{BedName, NodeName, Subnet};
use crate::command::Program;

/// The name of the bed's bridge.
pub(super) fn bridge(bed: &BedName) -> String {
    format!("{bed}0")
}

/// The name of this machine's end of a node's cable.
pub(super) fn link(bed: &BedName, node: NodeName) -> String {
    format!("{bed}-{}", node.number())
}

/// The name of a node's network namespace.
pub(super) fn namespace(bed: &BedName, node: NodeName) -> String {
    format!("{bed}-{node}")
}

/// Where that namespace is in the file system.
pub(super) fn namespace_path(bed: &BedName, node: NodeName) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace(bed, node))
}

/// Whether this machine has a link of that name.
pub(super) fn exists(link: &str) -> bool {
    PathBuf::from("/sys/class/net").join(link).exists()
}

/// A link's state in one word (`up`, `down`), or `gone`.
pub(super) fn state(link: &str) -> String {
    fs_err::read_to_string(format!("/sys/class/net/{link}/operstate"))
        .map_or_else(|_| "gone".to_owned(), |state| state.trim().to_owned())
}

/// Makes the bed's bridge, with this machine's own address on it.
pub(super) fn make_bridge(bed: &BedName, subnet: &Subnet) -> Result<(), Error> {
    let bridge = bridge(bed);
    refuse_taken(&bridge, subnet)?;
    if exists(&bridge) {
        return Ok(());
    }
    let gateway = subnet.gateway();
    let batch = format!(
        "link add {bridge} address 02:4b:00:00:00:01 type bridge forward_delay 0 stp_state 0\n\
         address add {gateway}/24 dev {bridge}\n\
         link set {bridge} up\n"
    );
    Ok(ip_batch(&[], batch)?)
}

/// Makes a node's namespace and cable again, plugged in.
pub(super) fn plug(bed: &BedName, subnet: &Subnet, node: NodeName) -> Result<(), Error> {
    unplug(bed, node)?;
    let (namespace, link, bridge) = (namespace(bed, node), link(bed, node), bridge(bed));
    Program::new("ip")
        .args(["netns", "add", &namespace])
        .done()?;
    ip_batch(
        &[],
        format!("link add {link} type veth peer name eth0 netns {namespace}\n"),
    )?;
    quieten(&link);
    ip_batch(&[], format!("link set {link} master {bridge} up\n"))?;
    let (address, gateway): (Ipv4Addr, Ipv4Addr) = (subnet.address(node), subnet.gateway());
    // The same hardware address after each boot: this machine need not ask again who has the IP.
    let batch = format!(
        "link set lo up\n\
         link set eth0 address 02:4b:00:00:01:{:02x}\n\
         address add {address}/24 dev eth0\n\
         link set eth0 up\n\
         route add default via {gateway}\n",
        node.number()
    );
    Ok(ip_batch(&["-netns", &namespace], batch)?)
}

/// Removes a node's cable and namespace.
pub(super) fn unplug(bed: &BedName, node: NodeName) -> Result<(), Error> {
    remove(&link(bed, node))?;
    if namespace_path(bed, node).exists() {
        Program::new("ip")
            .args(["netns", "delete", &namespace(bed, node)])
            .done()?;
    }
    Ok(())
}

/// Removes a link if it is there.
pub(super) fn remove(link: &str) -> Result<(), Error> {
    if exists(link) {
        Program::new("ip").args(["link", "delete", link]).done()?;
    }
    Ok(())
}

/// Sets this machine's end of a cable up or down.
pub(super) fn set(link: &str, up: bool) -> Result<(), Error> {
    let state = if up { "up" } else { "down" };
    Ok(Program::new("ip")
        .args(["link", "set", link, state])
        .done()?)
}

/// No IPv6 on that link: its solicitations are noise on a bridge of IPv4 nodes.
pub(super) fn quieten(link: &str) {
    // Without IPv6 in the kernel there is no such file, and nothing to quieten.
    let _ = fs_err::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "1");
}

/// What this bed still has on this machine, for `down` to be sure: links and namespaces.
pub(super) fn leftovers(bed: &BedName) -> Vec<String> {
    let names = |directory| {
        let items = fs_err::read_dir(directory).into_iter().flatten().flatten();
        items
            .map(|item| item.file_name().to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let own = |name: &String| *name == bridge(bed) || name.starts_with(&format!("{bed}-"));
    let links = names("/sys/class/net")
        .into_iter()
        .filter(own)
        .map(|name| format!("link {name}"));
    let spaces = names("/run/netns").into_iter().filter(own);
    links
        .chain(spaces.map(|name| format!("namespace {name}")))
        .collect()
}

/// Refuses a subnet that another link of this machine already has.
fn refuse_taken(bridge: &str, subnet: &Subnet) -> Result<(), Error> {
    let addresses = Program::new("ip")
        .args(["-oneline", "-4", "address", "show"])
        .text()?;
    match holder(&addresses, bridge, subnet) {
        Some(link) => Err(Error::SubnetTaken {
            subnet: subnet.to_string(),
            link,
        }),
        None => Ok(()),
    }
}

/// The link, other than the bridge, that has an address in the subnet. The lines read
/// `5: eth0    inet 10.0.0.7/24 ...`.
fn holder(addresses: &str, bridge: &str, subnet: &Subnet) -> Option<String> {
    let mut links = addresses.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?, words.nth(1)?))
    });
    let inside = format!("{subnet}.");
    links
        .find(|(link, address)| *link != bridge && address.starts_with(&inside))
        .map(|(link, _)| link.to_owned())
}

fn ip_batch(options: &[&str], mut batch: String) -> Result<(), crate::command::CommandError> {
    let _ = writeln!(batch);
    Program::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .input(batch)
        .done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_on_another_link_is_seen() {
        let text = "1: lo    inet 127.0.0.1/8 scope host lo\n\
            4: eth0    inet 10.78.0.7/16 brd 10.78.255.255 scope global eth0\n";
        let subnet: Subnet = "10.78.0".parse().unwrap();
        assert_eq!(holder(text, "kin0", &subnet).as_deref(), Some("eth0"));
        assert_eq!(holder(text, "eth0", &subnet), None);
        let other: Subnet = "10.78.1".parse().unwrap();
        assert_eq!(holder(text, "kin0", &other), None);
    }

    #[test]
    fn names_fit_an_interface() {
        let bed: BedName = "abcdefgh".parse().unwrap();
        let node: NodeName = "node200".parse().unwrap();
        // IFNAMSIZ is 16 with the final zero; the shaper's tap adds one letter.
        assert!(link(&bed, node).len() < 15);
        assert!(bridge(&bed).len() <= 15);
    }
}
