//! Reaching the nodes, all at once, and taking a snapshot of what each holds.

pub mod kubectl;
pub mod members;
pub mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};

use crate::arch::Arch;
use crate::etcd_data::Place;
use crate::event::{Event, Events};
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::manifest::{Manifest, UnitName};
use crate::preflight::Holder;
use crate::remote_path::RemotePath;
use crate::script;
use crate::secret::Secret;
use crate::snapshot::{Snapshot, Unreadable};
use crate::transport::{self, Body, Transport, local_root::LocalRoot, ssh::Connection};

/// The oldest systemd whose units kinstall writes: `Type=exec` came with 240; Debian 10 has 241.
const SYSTEMD_MIN: u32 = 241;
/// How often a node is looked at that goes on by itself, in milliseconds.
const TURN_MILLISECONDS: u64 = 1000;
/// How long that is waited for, in seconds. A run that goes on meanwhile holds the node, which is
/// told as such.
const TURN_SECONDS_MAX: u64 = 120;

/// Why a node cannot be worked on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// It could not be reached, or did not do as it was told.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(#[from] transport::Error),
    /// It answered something else than was asked.
    #[error("{node}: {why}")]
    Unreadable {
        /// The node.
        node: NodeName,
        /// What was wrong with the answer.
        why: Unreadable,
    },
    /// What kinstall wrote down there has more in it than this one knows, or less.
    #[error(
        "{node}: what another kinstall recorded there cannot be read by this one, {}",
        env!("CARGO_PKG_VERSION")
    )]
    #[diagnostic(help(
        "use a kinstall as new as the one that was used there last: `kinstall history INVENTORY` where that was run tells when"
    ))]
    OfAnother {
        /// The node.
        node: NodeName,
    },
    /// systemd does not run it, or is too old.
    #[error("{node}: {found}, and kinstall's units need systemd {SYSTEMD_MIN} or newer")]
    #[diagnostic(help(
        "use a Debian, Ubuntu or Raspberry Pi OS of the last years; for an image that does not run yet, use `push --into DIR`"
    ))]
    NoSystemd {
        /// The node.
        node: NodeName,
        /// What was found instead.
        found: String,
    },
    /// Its architecture is not the one in the inventory.
    #[error(
        "{node}: the inventory says `arch = \"{wanted}\"`, and the node's programs are {found}"
    )]
    #[diagnostic(help(
        "a 32-bit system under a 64-bit kernel is usual on Raspberry Pis; what counts is the system. Write `arch = \"{found}\"`, leave it out, or install a {wanted} system"
    ))]
    WrongArch {
        /// The node.
        node: NodeName,
        /// The inventory's word.
        wanted: Arch,
        /// What was found.
        found: Arch,
    },
    /// It is to be a worker, and its kernel and its programs are of two architectures.
    #[error("{node}: a kubelet cannot run there: its kernel is {kernel}, its programs are {arch}")]
    #[diagnostic(help(
        "a kubelet is not static: the one for the kernel does not find its libraries, and the one for {arch} calls the node what it is not. Install a 64-bit system, boot a 32-bit kernel (`arm_64bit=0` in a Raspberry Pi's config.txt), or take `worker` out of the node's `roles`; etcd and the control plane run on it"
    ))]
    MixedWorker {
        /// The node.
        node: NodeName,
        /// What its kernel says.
        kernel: String,
        /// What its programs are.
        arch: Arch,
    },
    /// Its architecture cannot be told.
    #[error("{node}: its architecture cannot be told, by `dpkg` or by `/bin/sh`")]
    #[diagnostic(help(
        "write `arch = \"arm64\"` (or `armhf`, `amd64`) under this node in the inventory"
    ))]
    UnknownArch {
        /// The node.
        node: NodeName,
    },
}

impl Error {
    /// Whether the node itself could not be reached or refused, rather than being unfit.
    pub fn is_transport(&self) -> bool {
        matches!(self, Self::Transport(_))
    }
}

/// How nodes are reached.
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions<'a> {
    /// A directory with one directory a node in it, in place of machines.
    pub into: Option<&'a Path>,
    /// The password for sudo.
    pub password: Option<&'a Secret>,
    /// How many nodes at a time.
    pub jobs: usize,
}

/// Reaches nodes, all at once; every one that could not be reached is told.
pub async fn connect(
    inventory: &Inventory,
    nodes: &BTreeSet<NodeName>,
    reach: ConnectOptions<'_>,
    events: &Events,
) -> Result<BTreeMap<NodeName, Transport>, Vec<Error>> {
    let wanted = inventory
        .nodes
        .values()
        .filter(|node| nodes.contains(&node.name));
    let connecting = wanted.map(|node| async move {
        events.send(Event::Connecting(node.name.clone()));
        let transport = match reach.into {
            Some(directory) => {
                let directory = directory.join(node.name.as_str());
                LocalRoot::new(node.name.clone(), &directory).map(Transport::LocalRoot)
            }
            None => Connection::open(node, &inventory.directory, reach.password)
                .await
                .map(|connection| Transport::Ssh(Box::new(connection))),
        };
        Ok((node.name.clone(), transport?))
    });
    all(stream::iter(connecting)
        .buffer_unordered(reach.jobs)
        .collect()
        .await)
}

/// What to look at beyond what a node has on record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Entries.
    pub paths: BTreeSet<RemotePath>,
    /// Units.
    pub units: BTreeSet<UnitName>,
    /// The place of etcd's data.
    pub data: Option<Place>,
    /// The role of kube-apiservers, where it is asked whom its etcd knows.
    pub users: Option<String>,
    /// Whether it is asked what it brings along to run Pods.
    pub worker: bool,
}

impl Asked {
    /// Everything of a manifest that a snapshot does not speak of.
    pub fn beyond(manifest: &Manifest, snapshot: &Snapshot) -> Self {
        let known = |path: &RemotePath| {
            snapshot.entries.contains_key(path) || snapshot.ours().contains_key(path)
        };
        let paths = manifest
            .entries
            .keys()
            .filter(|path| !known(path))
            .cloned()
            .collect();
        let units = manifest
            .units
            .keys()
            .filter(|unit| !snapshot.units.contains_key(*unit));
        Self {
            paths,
            units: units.cloned().collect(),
            data: None,
            users: None,
            worker: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.units.is_empty()
    }
}

/// Takes a snapshot of each node. `verify` has every file read again, whatever the index says.
pub async fn take(
    transports: &BTreeMap<NodeName, Transport>,
    asked: &BTreeMap<NodeName, Asked>,
    verify: bool,
    jobs: usize,
    events: &Events,
) -> Result<BTreeMap<NodeName, Snapshot>, Vec<Error>> {
    let looks = transports.iter().map(|(name, transport)| async move {
        let snapshot = look(transport, &asked[name], verify).await?;
        events.send(Event::Surveyed(name.clone()));
        Ok((name.clone(), snapshot))
    });
    all(stream::iter(looks).buffer_unordered(jobs).collect().await)
}

/// Looks at what manifests name and snapshots do not speak of yet. On a rerun that is nothing,
/// and no node is asked again.
pub async fn complete(
    transports: &BTreeMap<NodeName, Transport>,
    snapshots: &mut BTreeMap<NodeName, Snapshot>,
    manifests: &BTreeMap<NodeName, Manifest>,
    jobs: usize,
) -> Result<(), Vec<Error>> {
    let mut asked = Vec::new();
    for (name, snapshot) in snapshots.iter() {
        let Some(manifest) = manifests.get(name) else {
            continue;
        };
        let beyond = Asked::beyond(manifest, snapshot);
        if !beyond.is_empty() {
            asked.push((name.clone(), &transports[name], beyond));
        }
    }
    let looks = asked
        .into_iter()
        .map(|(name, transport, asked)| async move {
            Ok((name, look(transport, &asked, false).await?))
        });
    let later = all(stream::iter(looks).buffer_unordered(jobs).collect().await)?;
    for (name, later) in later {
        if let Some(snapshot) = snapshots.get_mut(&name) {
            snapshot.merge(later);
        }
    }
    Ok(())
}

/// Waits for nodes that carry out by themselves what a run before this one began, and looks at them
/// again: before that, what they hold is half-way.
pub async fn settle(
    transports: &BTreeMap<NodeName, Transport>,
    snapshots: &mut BTreeMap<NodeName, Snapshot>,
    asked: &BTreeMap<NodeName, Asked>,
    events: &Events,
) -> Result<(), Vec<Error>> {
    let turning = snapshots.iter().filter(|(_, snapshot)| snapshot.turning);
    let waits = turning.map(|(name, _)| async move {
        events.send(Event::Note(format!(
            "{name}: goes on by itself with what a run before this one began; waiting for it"
        )));
        let begun = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(TURN_MILLISECONDS)).await;
            let snapshot = look(&transports[name], &asked[name], false).await?;
            if !snapshot.turning || begun.elapsed() > Duration::from_secs(TURN_SECONDS_MAX) {
                return Ok((name.clone(), snapshot));
            }
        }
    });
    let settled = all(futures_util::future::join_all(waits).await)?;
    snapshots.extend(settled);
    Ok(())
}

/// Looks at everything a manifest names on one node, and at further paths.
pub async fn look_at(
    transport: &Transport,
    manifest: &Manifest,
    more: impl IntoIterator<Item = RemotePath>,
) -> Result<Snapshot, Error> {
    let paths = manifest.entries.keys().cloned().chain(more).collect();
    let units = manifest.units.keys().cloned().collect();
    let asked = Asked {
        paths,
        units,
        data: None,
        users: None,
        worker: false,
    };
    look(transport, &asked, false).await
}

async fn look(transport: &Transport, asked: &Asked, verify: bool) -> Result<Snapshot, Error> {
    let paths = asked.paths.iter().map(|path| format!("path {path}\n"));
    let units = asked.units.iter().map(|unit| format!("unit {unit}\n"));
    let data = asked.data.iter().map(Place::lines);
    let worker = asked.worker.then(|| "worker\n".to_owned());
    let users = asked.users.iter().map(|role| format!("users {role}\n"));
    let body = Body::text(
        paths
            .chain(units)
            .chain(data)
            .chain(users)
            .chain(worker)
            .collect::<String>(),
    );
    let how = if verify { "hash" } else { "index" };
    let after = now_milliseconds();
    let output = transport.run(script::OBSERVE, &[how], body).await?;
    let before = now_milliseconds();
    let mut snapshot = Snapshot::parse(&output).map_err(|why| {
        let node = transport.node().clone();
        if why.is_record() {
            Error::OfAnother { node }
        } else {
            Error::Unreadable { node, why }
        }
    })?;
    snapshot.owned = transport.ssh().is_some();
    if let Some(clock) = &mut snapshot.machine.clock {
        (clock.after, clock.before) = (after, before);
    }
    Ok(snapshot)
}

/// The clock here, in milliseconds since 1970.
fn now_milliseconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whose the sockets with these inodes are.
pub async fn holders(
    transport: &Transport,
    inodes: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, Holder>, Error> {
    let inodes: Vec<String> = inodes.iter().map(ToString::to_string).collect();
    let words: Vec<&str> = inodes.iter().map(String::as_str).collect();
    let output = transport.run(script::HOLDERS, &words, Body::default());
    Ok(Holder::all(&output.await?))
}

/// The architecture of each node, or why one cannot be worked on.
pub fn archs(
    inventory: &Inventory,
    snapshots: &BTreeMap<NodeName, Snapshot>,
    into: bool,
) -> Result<BTreeMap<NodeName, Arch>, Vec<Error>> {
    let nodes = inventory.nodes.values();
    let fit = nodes.filter_map(|node| {
        let snapshot = snapshots.get(&node.name)?;
        Some(arch(node, snapshot, into).map(|arch| (node.name.clone(), arch)))
    });
    all(fit.collect())
}

fn arch(node: &Node, snapshot: &Snapshot, into: bool) -> Result<Arch, Error> {
    let name = node.name.clone();
    if !into && snapshot.systemd.is_none_or(|version| version < SYSTEMD_MIN) {
        let found = match snapshot.systemd {
            Some(version) => format!("runs systemd {version}"),
            None => "is not run by systemd".to_owned(),
        };
        return Err(Error::NoSystemd { node: name, found });
    }
    let arch = match (node.arch, snapshot.arch) {
        (Some(wanted), Some(found)) if wanted != found => {
            return Err(Error::WrongArch {
                node: name,
                wanted,
                found,
            });
        }
        (wanted, found) => wanted.or(found),
    };
    let arch = arch.ok_or_else(|| Error::UnknownArch { node: name.clone() })?;
    match &snapshot.kernel {
        // What `uname -m` calls a 64-bit ARM: uname(2), and `UTS_MACHINE` of the kernel's arch/arm64.
        Some(kernel)
            if arch == Arch::Armhf && kernel == "aarch64" && node.roles.contains(&Role::Worker) =>
        {
            Err(Error::MixedWorker {
                node: name,
                kernel: kernel.clone(),
                arch,
            })
        }
        _ => Ok(arch),
    }
}

/// All results, or all errors.
fn all<T>(results: Vec<Result<(NodeName, T), Error>>) -> Result<BTreeMap<NodeName, T>, Vec<Error>> {
    let mut right = BTreeMap::new();
    let mut wrong = Vec::new();
    for result in results {
        match result {
            Ok((name, value)) => drop(right.insert(name, value)),
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() {
        Ok(right)
    } else {
        Err(wrong)
    }
}
