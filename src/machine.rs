//! What a machine is beyond what kinstall put there, as `script/machine.sh` tells it: where things
//! lie, which addresses and ports there are, what time it is, and what tells it from other machines.

mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

pub use self::worker::Worker;
use crate::remote_path::RemotePath;

/// No file system has larger blocks, whatever a node says.
const BLOCK_BYTES_MAX: u64 = 1 << 30;
/// No clock is further from 1970, in seconds, whatever a node says.
const CLOCK_SECONDS_MAX: u64 = 1 << 40;

/// A machine, as far as it could be asked: a directory in its place tells only where things lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// What tells it from all others.
    pub identity: Option<Identity>,
    /// Its clock.
    pub clock: Option<Clock>,
    /// systemd's word for the whole: `running`, `degraded`, `stopping`.
    pub state: String,
    /// The addresses of its interfaces; a network where it takes all of it for its own.
    pub addresses: BTreeSet<IpNet>,
    /// The networks that its interfaces lead to without a router, and the most bytes that a packet
    /// there may have.
    pub networks: BTreeMap<IpNet, u32>,
    /// Whether IPv4 addresses that are on no interface can be listened on.
    pub foreign_v4: bool,
    /// The same for IPv6.
    pub foreign_v6: bool,
    /// TCP sockets that somebody listens on.
    pub listeners: Vec<Listener>,
    /// What it brings along to run Pods, where that was asked.
    pub worker: Option<Worker>,
    /// Where directories lie: as much of each as is there.
    places: BTreeMap<RemotePath, String>,
    /// State directories that are links, each with where it leads.
    pub links: BTreeMap<RemotePath, String>,
    rooms: BTreeMap<String, Room>,
}

/// What tells a machine from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// `/etc/machine-id`; a copied disk has a copied one.
    pub machine: String,
    /// The kernel's number of this boot; containers have that of their host.
    pub boot: String,
    /// The namespace of process 1, which tells containers of one host apart.
    pub namespace: String,
}

/// A clock that was read some time between two moments of the clock here. All in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// What it said.
    pub said: i64,
    /// When it was not asked yet, by the clock here.
    pub after: i64,
    /// When its answer was there.
    pub before: i64,
}

/// A TCP socket that somebody listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub at: SocketAddr,
    /// What the kernel knows it by.
    pub inode: u64,
}

/// What there is to write to at a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// The number of the mount: a hard link does not reach into another.
    pub mount: u64,
    /// The file system: several mounts may show one.
    pub device: String,
    /// Whether nothing can be written.
    pub fixed: bool,
    /// Whether its mount lets no program run.
    pub no_exec: bool,
    /// Bytes in a block.
    pub block: u64,
    /// Its size in blocks; 0 where it does not tell.
    pub blocks: u64,
    /// Blocks that root can still fill.
    pub free: u64,
    /// Blocks that anybody can still fill.
    pub available: u64,
    /// How many files it can hold; 0 where there is no such number.
    pub inodes: u64,
    /// How many more.
    pub inodes_free: u64,
}

impl Machine {
    /// Where a directory lies, and what there is to write to.
    pub fn room(&self, directory: &RemotePath) -> Option<(&str, &Room)> {
        let at = self.places.get(directory)?;
        Some((at.trim_start_matches('.'), self.rooms.get(at)?))
    }

    /// The same with the directory as it is called.
    pub fn room_by_name(&self, directory: &RemotePath) -> Option<(&RemotePath, &Room)> {
        let (name, at) = self.places.get_key_value(directory)?;
        Some((name, self.rooms.get(at)?))
    }

    /// Takes in what a later look at more paths told.
    pub fn merge(&mut self, later: Self) {
        self.places.extend(later.places);
        self.links.extend(later.links);
        self.rooms.extend(later.rooms);
    }

    /// Takes one line in, without its first word; none where it is not understood.
    pub fn line(&mut self, text: &str) -> Option<()> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        if word == "worker" {
            let (word, text) = rest.split_once(' ')?;
            return self.worker.get_or_insert_default().line(word, text);
        }
        match (word, words.as_slice()) {
            ("id", [machine, boot, namespace]) => {
                let text = |word: &&str| (*word).to_owned();
                self.identity = Some(Identity {
                    machine: text(machine),
                    boot: text(boot),
                    namespace: text(namespace),
                });
            }
            ("clock", [seconds]) => self.clock = clock(seconds),
            ("state", [state]) => (*state).clone_into(&mut self.state),
            ("address", [net]) => drop(self.addresses.insert(net.parse().ok()?)),
            ("address6", [hex]) => {
                let address = u128::from_str_radix(hex, 16).ok()?;
                let address = IpAddr::V6(Ipv6Addr::from(address));
                self.addresses.insert(address.into());
            }
            ("network", [address, mask, mtu]) => {
                // In the order of the machine's bytes: all of kinstall's are little-endian.
                let bytes = |hex: &str| Some(u32::from_str_radix(hex, 16).ok()?.swap_bytes());
                let (address, mask) = (Ipv4Addr::from(bytes(address)?), bytes(mask)?);
                let bits = u8::try_from(mask.leading_ones()).ok()?;
                let network = ipnet::Ipv4Net::new(address, bits).ok()?;
                self.networks.insert(network.into(), mtu.parse().ok()?);
            }
            ("network6", [address, bits, mtu]) => {
                let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
                let bits = u8::from_str_radix(bits, 16).ok()?;
                let network = ipnet::Ipv6Net::new(address, bits).ok()?;
                self.networks.insert(network.into(), mtu.parse().ok()?);
            }
            ("foreign", ["4"]) => self.foreign_v4 = true,
            ("foreign", ["6"]) => self.foreign_v6 = true,
            ("listens", [at, inode]) => {
                let (at, inode) = (socket(at)?, inode.parse().ok()?);
                self.listeners.push(Listener { at, inode });
            }
            ("lies", [path, at]) => {
                self.places.insert(path.parse().ok()?, (*at).to_owned());
            }
            ("link", [path, ..]) => {
                let target = rest.split_once(' ').unwrap_or_default().1;
                self.links.insert(path.parse().ok()?, target.to_owned());
            }
            ("fixed", [at]) => self.at(at).fixed = true,
            ("mount", [at, mount, device, options]) => {
                let room = self.at(at);
                room.mount = mount.parse().ok()?;
                (*device).clone_into(&mut room.device);
                room.fixed |= options.split(',').any(|option| option == "ro");
                room.no_exec = options.split(',').any(|option| option == "noexec");
            }
            ("room", [at, numbers @ ..]) => {
                let numbers: Option<Vec<u64>> = numbers.iter().map(|it| it.parse().ok()).collect();
                let [block, blocks, free, available, inodes, inodes_free] = numbers?[..] else {
                    return None;
                };
                let room = self.at(at);
                let block = block.min(BLOCK_BYTES_MAX);
                (room.block, room.blocks, room.free) = (block, blocks, free);
                (room.available, room.inodes, room.inodes_free) = (available, inodes, inodes_free);
            }
            _ => return None,
        }
        Some(())
    }

    fn at(&mut self, at: &str) -> &mut Room {
        self.rooms.entry(at.to_owned()).or_default()
    }

    /// Whether a service can listen on an address; also where that is not known.
    pub fn can_listen_on(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let (foreign, family) = match address {
            IpAddr::V4(_) => (self.foreign_v4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            IpAddr::V6(_) => (self.foreign_v6, IpAddr::is_ipv6 as fn(&IpAddr) -> bool),
        };
        let known = self.addresses.iter().any(|net| family(&net.addr()));
        let has = self.addresses.iter().any(|net| net.contains(&address));
        foreign || !known || has || address.is_unspecified() || address.is_loopback()
    }
}

impl Clock {
    /// How far it may be from the clock here, at least and at most, in milliseconds; positive where
    /// it is ahead.
    pub fn ahead(self) -> (i64, i64) {
        (self.said - self.before, self.said - self.after)
    }
}

/// `SECONDS.NANOSECONDS`.
fn clock(text: &str) -> Option<Clock> {
    let (seconds, parts) = text.split_once('.').unwrap_or((text, "0"));
    // A `date` that knows no `%N` writes the letter.
    let parts = format!("{parts:0<3}");
    let thousandths: i64 = parts.get(..3)?.parse().unwrap_or(0);
    let seconds = seconds.parse::<i64>().ok();
    let seconds = seconds.filter(|it| it.unsigned_abs() <= CLOCK_SECONDS_MAX)?;
    let said = seconds * 1000 + thousandths;
    Some(Clock {
        said,
        after: i64::MIN / 2,
        before: i64::MAX / 2,
    })
}

/// An address and a port as the kernel writes them in `/proc/net/tcp`: words of 32 bits in the order
/// of the machine's bytes, and every machine that kinstall knows is little-endian.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_tells_is_understood() {
        let mut machine = Machine::default();
        let lines = [
            "lies /etc/k8s ./etc",
            "fixed ./usr/local",
            "lies /usr/local/bin ./usr/local",
            "room ./usr/local 4096 100 50 40 10 5",
            "mount ./usr/local 27 254:0 ro,noexec,relatime,rw",
            "room ./etc 4096 100 50 40 0 0",
            "mount ./etc 26 254:0 rw,rw",
            "id abc 6cfcbeb1 pid:[4026531836]",
            "clock 1795897268.073666436",
            "state degraded",
            "address 127.0.0.0/8",
            "address 10.0.0.1/32",
            "address6 fd000000000000000000000000000002",
            "listens 0100007F:09 7",
            "listens 00000000000000000000000000000000:192B 8",
        ];
        for line in lines {
            machine.line(line).unwrap_or_else(|| panic!("{line}"));
        }
        let (at, room) = machine.room(&RemotePath::fixed("/usr/local/bin")).unwrap();
        assert_eq!((at, room.fixed, room.no_exec), ("/usr/local", true, true));
        assert_eq!((room.mount, room.free, room.inodes_free), (27, 50, 5));
        let etc = machine.room(&RemotePath::fixed("/etc/k8s")).unwrap().1;
        assert!(!etc.fixed && !etc.no_exec && etc.device == room.device);
        assert_eq!(machine.clock.unwrap().said, 1_795_897_268_073);
        let at: Vec<String> = machine
            .listeners
            .iter()
            .map(|it| it.at.to_string())
            .collect();
        assert_eq!(at, ["127.0.0.1:9", "[::]:6443"]);
    }

    #[test]
    fn what_can_be_listened_on_is_what_is_on_an_interface() {
        let mut machine = Machine::default();
        let can =
            |machine: &Machine, address: &str| machine.can_listen_on(address.parse().unwrap());
        assert!(can(&machine, "10.0.0.9"), "nothing is known");
        for line in ["address 10.0.0.1/32", "address 192.168.0.0/16"] {
            machine.line(line).unwrap();
        }
        assert!(can(&machine, "10.0.0.1") && can(&machine, "192.168.7.7"));
        assert!(can(&machine, "0.0.0.0") && can(&machine, "127.0.0.2"));
        assert!(!can(&machine, "10.0.0.9"));
        assert!(
            can(&machine, "fd00::1"),
            "of the other family nothing is known"
        );
        machine.line("foreign 4").unwrap();
        assert!(can(&machine, "10.0.0.9"));
    }

    #[test]
    fn a_clock_is_told_within_bounds() {
        let clock = Clock {
            said: 10_500,
            after: 9_000,
            before: 10_000,
        };
        assert_eq!(clock.ahead(), (500, 1_500));
        assert_eq!(super::clock("12.N").unwrap().said, 12_000);
        // The last that fits into 64 bits, and what would be less than any.
        for beyond in ["9223372036854775.999", "-9223372036854775.0", "1e9"] {
            assert_eq!(super::clock(beyond), None);
        }
    }
}
