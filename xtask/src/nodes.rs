//! Real nodes on this machine, for the demo, the tests and the benchmarks.
//!
//! A bed is a handful of Debian (or Ubuntu) machines on one bridge, each with systemd as PID 1,
//! sshd, an address and a network namespace of its own. They are systemd-nspawn containers over
//! overlays of one cached tree, so they boot in a second, can lose their power or their cable, and
//! can be wiped, any number of times. Several beds can be up side by side.
//!
//! Other chores use [`Bed`]. Programs that cannot link xtask (the integration tests) run it as a
//! subprocess: [`PROGRAM_VARIABLE`] names the binary and [`STATE_VARIABLE`] the bed's state
//! directory, in which `ssh_config` is.
//!
//! In each node these can log in, with one key: `root`; `ubuntu`, who may sudo without a password;
//! `asksudo`, who may with the password `raspberry`; and `nosudo`, who may not.

mod base;
mod cgroup;
pub(crate) mod cli;
mod disk;
mod error;
mod host;
mod legacy;
mod machine;
mod mirror;
mod name;
mod network;
mod qemu;
mod self_test;
mod shape;
mod ssh;
mod state;
mod status;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;

use crate::command::{Output, Program};
pub(crate) use disk::NodeOptions;
pub(crate) use error::Error;
pub(crate) use host::{Tool, Why, require};
pub(crate) use name::{BedName, NodeName, Subnet};
pub(crate) use shape::Shape;
pub(crate) use state::Lock;
use state::{Cache, Place, Record};
use status::Status;

/// The environment variable with the path of the xtask binary.
pub(crate) const PROGRAM_VARIABLE: &str = "KINSTALL_XTASK";
/// The environment variable with the state directory of a bed.
pub(crate) const STATE_VARIABLE: &str = "KINSTALL_NODES";
/// The bed that is meant when none is named.
pub(crate) const DEFAULT_NAME: &str = "kin";
/// Its subnet.
pub(crate) const DEFAULT_SUBNET: &str = "10.78.0";

/// The password with which the user `asksudo` may sudo.
pub(crate) const ASKSUDO_PASSWORD: &str = "raspberry";
/// A machine with many nodes has more watchers than the kernel allows root by default.
const INOTIFY_INSTANCES: u32 = 1024;

/// A bed of nodes on this machine, up or not.
#[derive(Clone, Debug)]
pub(crate) struct Bed {
    name: BedName,
    subnet: Subnet,
    place: Place,
}

/// A directory of the cache that all beds of this user share, for a chore to keep things in. It
/// need not exist.
pub(crate) fn cached(name: &str) -> PathBuf {
    Cache::of_user().directory(name)
}

/// Python's installer of packages, installed itself if need be.
pub(crate) fn pip() -> Result<Program, Error> {
    let pip = || Program::new("python3").args(["-m", "pip"]);
    if !pip().arg("--version").succeeds() {
        require(&[Tool {
            command: "pip3",
            package: "python3-pip",
        }])?;
    }
    Ok(pip())
}

/// The URI of the mirror that this machine's Debian comes from; none where it runs another system.
pub(crate) fn debian_mirror() -> Result<Option<String>, Error> {
    let release = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    if host::field(&release, "ID") != Some("debian") {
        return Ok(None);
    }
    mirror::find(&host::system()?.suite).map(Some)
}

/// Holds the lock of that name in the cache, unless another process does.
pub(crate) fn try_lock(name: &str) -> Result<Option<Lock>, Error> {
    Cache::of_user().try_lock(name)
}

/// Waits for the lock of that name in the cache, and holds it.
pub(crate) fn lock(name: &str) -> Result<Lock, Error> {
    Cache::of_user().lock(name)
}

impl Bed {
    /// The bed of that name and subnet in the user's cache; nothing happens yet.
    pub(crate) fn new(name: &str, subnet: &str) -> Result<Self, Error> {
        Self::named(name, Some(subnet), subnet)
    }

    /// The bed whose state is in that directory; it must exist.
    pub(crate) fn open(state: &Path) -> Result<Self, Error> {
        let place = Place::at(state);
        let record = place.record()?.ok_or_else(|| Error::NoBed {
            state: state.to_owned(),
        })?;
        Ok(Self {
            name: record.name,
            subnet: record.subnet,
            place,
        })
    }

    /// Whether nodes can be booted on this machine, or why not. Changes nothing.
    pub(crate) fn possible() -> Result<(), Why> {
        host::possible()
    }

    /// Installs what is missing and builds the base of that release (this machine's own if none
    /// is given) and the traffic shaper. Quick when all is there.
    pub(crate) fn setup(&self, suite: Option<&str>) -> Result<(), Error> {
        Self::possible()?;
        require(host::TOOLS)?;
        base::ready(&self.place.cache(), suite)?;
        shape::setup(&self.place.cache())
    }

    /// Boots the nodes up to that number, all at once, and waits for them. Those that are on stay
    /// as they are, those that were off keep their disk; the options are for those made now.
    pub(crate) fn up(&self, count: u8, options: &NodeOptions) -> Result<(), Error> {
        self.up_these(&NodeName::first(count)?, options)
    }

    /// The same for nodes of any number.
    pub(crate) fn up_these(&self, nodes: &[NodeName], options: &NodeOptions) -> Result<(), Error> {
        Self::possible()?;
        require(host::TOOLS)?;
        let base = base::ready(&self.place.cache(), options.suite.as_deref())?;
        let _lock = self.lock()?;
        self.prepare()?;
        if let Some(arch) = options.arch.filter(|_| options.qemu) {
            qemu::enable(self, arch)?;
        }
        let origin = disk::Origin {
            base,
            options: options.clone(),
        };
        let off = |node: &NodeName| !machine::is_on(self, *node);
        let nodes: Vec<NodeName> = nodes.iter().copied().filter(off).collect();
        for node in &nodes {
            machine::power_off(self, *node)?;
            if !self.place.node(*node).join("node.json").exists() {
                disk::wipe(self, *node)?;
                disk::make(self, *node, &origin)?;
            }
        }
        ssh::configure(self)?;
        in_parallel(&nodes, |node| machine::power_on(self, node))
    }

    /// Switches all nodes off and removes everything of the bed but what is cached. Works on
    /// whatever an interrupted `up` left, and on a bed that is not there.
    pub(crate) fn down(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        in_parallel(&self.place.list()?, |node| {
            machine::power_off(self, node)?;
            disk::wipe(self, node)
        })?;
        qemu::disable(self)?;
        network::remove(&network::bridge(&self.name))?;
        cgroup::unmount(&self.place, &self.name)?;
        legacy::unmount(&self.place, &self.name)?;
        if cgroup::is_mounted(&self.place.nodes()) {
            Program::new("umount").arg(self.place.nodes()).done()?;
        }
        let root = self.place.root();
        Program::new("rm")
            .args(["-rf", "--one-file-system", "--"])
            .arg(root)
            .done()?;
        match self.leftovers()?.as_slice() {
            [] => Ok(()),
            left => Err(Error::Left {
                what: left.join(", "),
            }),
        }
    }

    /// The nodes that exist, on or off.
    pub(crate) fn nodes(&self) -> Result<Vec<NodeName>, Error> {
        self.place.whole()
    }

    /// A node's address.
    pub(crate) fn address(&self, node: NodeName) -> Ipv4Addr {
        self.subnet.address(node)
    }

    /// The ssh configuration that reaches the nodes by name and by address.
    pub(crate) fn ssh_config(&self) -> Result<PathBuf, Error> {
        let config = self.place.ssh_config();
        let absent = || Error::NoBed {
            state: self.place.root().to_owned(),
        };
        config.exists().then_some(config).ok_or_else(absent)
    }

    /// The environment that lets another program drive this bed.
    pub(crate) fn environment(&self) -> Result<[(&'static str, PathBuf); 2], Error> {
        let program = std::env::current_exe()?;
        Ok([
            (PROGRAM_VARIABLE, program),
            (STATE_VARIABLE, self.place.root().to_owned()),
        ])
    }

    /// How a node is doing.
    pub(crate) fn status(&self, node: NodeName) -> Result<Status, Error> {
        Status::of(self, node)
    }

    /// Switches a node off as a power loss does. What it had written is kept.
    pub(crate) fn power_off(&self, node: NodeName) -> Result<(), Error> {
        let _lock = self.lock_with(node)?;
        machine::power_off(self, node)
    }

    /// Switches a node on and waits for it, if it is off.
    pub(crate) fn power_on(&self, node: NodeName) -> Result<(), Error> {
        let _lock = self.lock_with(node)?;
        if machine::is_on(self, node) {
            return Ok(());
        }
        self.prepare()?;
        machine::power_off(self, node)?;
        machine::power_on(self, node)
    }

    /// Wipes a node's disk and boots it again, with the host key it had.
    pub(crate) fn reset(&self, node: NodeName) -> Result<(), Error> {
        let _lock = self.lock_with(node)?;
        let origin = disk::Origin::of(self, node)?;
        self.prepare()?;
        machine::power_off(self, node)?;
        disk::wipe(self, node)?;
        disk::make(self, node, &origin)?;
        ssh::configure(self)?;
        machine::power_on(self, node)
    }

    /// Cuts a node's cable.
    pub(crate) fn cut(&self, node: NodeName) -> Result<(), Error> {
        self.set_cable(node, false)
    }

    /// Mends a node's cable.
    pub(crate) fn heal(&self, node: NodeName) -> Result<(), Error> {
        self.set_cable(node, true)
    }

    /// Gives a node's cable a rate and a delay, or none. It stays so until the node is reset.
    pub(crate) fn shape(&self, node: NodeName, shape: Option<Shape>) -> Result<(), Error> {
        let _lock = self.lock_with(node)?;
        self.refuse_off(node)?;
        shape::set(self, node, shape)
    }

    /// Gives a node another ssh host key, one that `known_hosts` does not have.
    pub(crate) fn rekey(&self, node: NodeName) -> Result<(), Error> {
        // A hang-up makes sshd start itself again, on a node without systemctl too. Until it listens again,
        // on other sockets, anyone who calls is turned away.
        let script = "cd /etc/ssh && rm -f ssh_host_ed25519_key* && \
            ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && \
            [ -e /run/sshd.pid ] || exit
            sockets() { ss -ltneH 'sport = :22' | grep -o 'ino:[0-9]*' | sort; }
            before=$(sockets)
            kill -HUP \"$(cat /run/sshd.pid)\"
            for try in $(seq 100); do
                now=$(sockets)
                [ \"$now\" = \"$before\" ] || [ ${#now} -lt ${#before} ] || exit 0
                sleep 0.05
            done";
        let _lock = self.lock_with(node)?;
        Ok(machine::inside(self, node, 30)?
            .args(["sh", "-c", script])
            .done()?)
    }

    /// Runs a command in a node as root, without ssh, and returns what it said.
    pub(crate) fn exec(
        &self,
        node: NodeName,
        command: &[&str],
        limit_seconds: u64,
    ) -> Result<Output, Error> {
        self.refuse_unknown(node)?;
        Ok(machine::inside(self, node, limit_seconds)?
            .args(command)
            .output()?)
    }

    /// The same on our own stdin, stdout and stderr.
    pub(crate) fn attach(
        &self,
        node: NodeName,
        command: &[String],
        limit_seconds: u64,
    ) -> Result<ExitStatus, Error> {
        self.refuse_unknown(node)?;
        Ok(machine::inside(self, node, limit_seconds)?
            .args(command)
            .attached()?)
    }

    /// A node's console, all boots in one.
    pub(crate) fn console(&self, node: NodeName) -> Result<String, Error> {
        self.refuse_unknown(node)?;
        machine::console(self, node)
    }

    /// What this bed has on this machine right now: links, namespaces, mounts, control groups.
    /// Nothing after `down`.
    fn leftovers(&self) -> Result<Vec<String>, Error> {
        let mut left = network::leftovers(&self.name);
        let root = self.place.root();
        let mounts = fs_err::read_to_string("/proc/self/mounts")?;
        // By its parts: the directory of `test` is not the beginning of that of `test2`.
        let is_ours = |line: &&str| {
            let place = line.split(' ').nth(1);
            place.is_some_and(|place| Path::new(place).starts_with(root))
        };
        left.extend(mounts.lines().filter(is_ours).map(str::to_owned));
        if root.exists() {
            left.push(root.display().to_string());
        }
        Ok(left)
    }

    /// The bed of that name. One that exists keeps its subnet; a new one gets the one that is
    /// given, or else the default.
    fn named(name: &str, subnet: Option<&str>, default: &str) -> Result<Self, Error> {
        let name: BedName = name.parse()?;
        let place = Cache::of_user().place(&name);
        let wanted: Subnet = subnet.unwrap_or(default).parse()?;
        let subnet = match place.record()? {
            Some(record) if subnet.is_none() || record.subnet == wanted => record.subnet,
            Some(record) => {
                let subnet = record.subnet.to_string();
                return Err(Error::OtherSubnet {
                    bed: name.to_string(),
                    subnet,
                });
            }
            None => wanted,
        };
        Ok(Self {
            name,
            subnet,
            place,
        })
    }

    /// Makes what all nodes of the bed share. Harmless when it is there.
    fn prepare(&self) -> Result<(), Error> {
        fs_err::create_dir_all(self.place.nodes())?;
        let record = Record {
            name: self.name.clone(),
            subnet: self.subnet.clone(),
        };
        self.place.set_record(&record)?;
        self.mount_disks()?;
        cgroup::mount(&self.place, &self.name)?;
        legacy::mount(&self.place, &self.name)?;
        let limit = "/proc/sys/fs/inotify/max_user_instances";
        let now = fs_err::read_to_string(limit)?;
        if now
            .trim()
            .parse::<u32>()
            .is_ok_and(|now| now < INOTIFY_INSTANCES)
        {
            fs_err::write(limit, INOTIFY_INSTANCES.to_string())?;
        }
        network::make_bridge(&self.name, &self.subnet)
    }

    /// A node's disk cannot be a directory of an overlay, which is what the cache is inside of a
    /// container: there the disks are in memory.
    fn mount_disks(&self) -> Result<(), Error> {
        let disks = self.place.nodes();
        let ask = Program::new("stat")
            .args(["--file-system", "--format=%T"])
            .arg(&disks);
        if ask.text()? == "overlayfs" {
            let tmpfs = ["-t", "tmpfs", "-o", "size=80%,mode=755", "none"];
            Program::new("mount").args(tmpfs).arg(&disks).done()?;
        }
        Ok(())
    }

    fn set_cable(&self, node: NodeName, up: bool) -> Result<(), Error> {
        let _lock = self.lock_with(node)?;
        self.refuse_off(node)?;
        network::set(&network::link(&self.name, node), up)
    }

    fn lock(&self) -> Result<Lock, Error> {
        self.place.cache().lock(&format!("bed-{}", self.name))
    }

    fn lock_with(&self, node: NodeName) -> Result<Lock, Error> {
        let lock = self.lock()?;
        self.refuse_unknown(node)?;
        Ok(lock)
    }

    fn refuse_unknown(&self, node: NodeName) -> Result<(), Error> {
        disk::Origin::of(self, node).map(drop)
    }

    fn refuse_off(&self, node: NodeName) -> Result<(), Error> {
        if machine::is_on(self, node) {
            Ok(())
        } else {
            Err(Error::Off { node })
        }
    }

    fn name(&self) -> &BedName {
        &self.name
    }

    fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn group(&self, node: NodeName) -> cgroup::Group {
        cgroup::Group::of(&self.place, &self.name, node)
    }
}

/// Does the same to all nodes at once; the first error of all, once all are done.
fn in_parallel(
    nodes: &[NodeName],
    act: impl Fn(NodeName) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let act = &act;
    thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(move || act(*node)))
            .collect();
        let results = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        // All of them are joined before the first error is picked out.
        results.collect::<Vec<_>>().into_iter().collect()
    })
}
