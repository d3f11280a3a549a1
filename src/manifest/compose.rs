//! Writes the manifests: what each node of an inventory should hold.
//!
//! A pure function of the inventory, the nodes' architectures, the pins and the credentials; the
//! same input gives the same bytes. What a component is stands in [`crate::component`].

mod command;
mod files;
mod images;
mod places;
mod problem;
mod tree;
mod words;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod units;
#[cfg(test)]
mod versions;

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::Serialize;

pub use self::places::{Holds, Place, places};
pub use self::problem::Error;
use self::tree::{Owners, Shared, Tree};
use self::words::Neighbours;
pub(super) use self::words::{networks, of_node as context};
use super::{Desired, FirstStart, Manifest, Probe, Registration, Stage, Unit, UnitName, UnitTexts};
use crate::arch::Arch;
use crate::artifact;
use crate::certificate::Credentials;
use crate::component::{self, Access, Account, COMPONENTS, Component, Reach};
use crate::digest::Digest;
use crate::inventory::{Inventory, Network, Node, NodeName, Role};
use crate::lockfile::Lockfile;
use crate::remote_path::RemotePath;
use crate::template::{self, Context, Renderer, Scene, ServiceWords, builtin};

/// The directories that kinstall puts things into and that are not its own: their owner and mode
/// are left as they are. Where one is missing (a bare tree), it is made 0755 for root. Every other
/// directory that a file needs is an entry.
pub const BASE_DIRECTORIES: [&str; 10] = [
    "/etc",
    "/etc/modules-load.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/sysusers.d",
    "/etc/tmpfiles.d",
    "/opt",
    "/usr/local/bin",
    "/var/lib",
];

/// The label of a node's availability zone, which the scheduler spreads Pods over.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The users that services run as; `systemd-sysusers` makes them before anything is given to them.
pub const SYSUSERS: &str = "/etc/sysusers.d/kinstall.conf";

/// Who owns what, for a tree that was written where these users did not exist yet.
pub const TMPFILES: &str = "/etc/tmpfiles.d/kinstall.conf";

/// What each node whose architecture is known should hold.
pub fn compose(
    inventory: &Inventory,
    archs: &BTreeMap<NodeName, Arch>,
    lockfile: &Lockfile,
    credentials: &Credentials,
) -> Result<Desired, Error> {
    let renderer = Renderer::with(&inventory.own)?;
    let mut desired = Desired {
        manifests: BTreeMap::new(),
        contents: BTreeMap::new(),
        retired: credentials.encryption_history.iter().copied().collect(),
    };
    let ways = Shared::new(words::ways(inventory));
    let neighbours = Neighbours::of(inventory);
    let mut owned = HashMap::new();
    for node in inventory.nodes.values() {
        let Some(arch) = archs.get(&node.name).copied() else {
            continue;
        };
        let context = context(inventory, node);
        let mut composer = Composer {
            inventory,
            lockfile,
            credentials,
            renderer: &renderer,
            ways: &ways,
            neighbours: &neighbours,
            owned: &mut owned,
            node,
            arch,
            scene: Scene::of(&context)?,
            context,
            service: ServiceWords::default(),
            tree: Tree::new(&mut desired.contents),
            accounts: Accounts::default(),
            units: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        for component in COMPONENTS {
            if inventory.gets(component, node) {
                composer.component(component)?;
            }
        }
        let manifest = composer.finish()?;
        desired.manifests.insert(node.name.clone(), manifest);
    }
    Ok(desired)
}

/// Writes the manifest of one node, component by component.
struct Composer<'a> {
    inventory: &'a Inventory,
    lockfile: &'a Lockfile,
    credentials: &'a Credentials,
    renderer: &'a Renderer,
    ways: &'a Shared,
    neighbours: &'a Neighbours,
    /// The tmpfiles files of the nodes before: most nodes have the same entries.
    owned: &'a mut HashMap<Owners, Shared>,
    node: &'a Node,
    arch: Arch,
    context: Context,
    /// The same with the words of the component whose turn it is.
    scene: Scene,
    service: ServiceWords,
    tree: Tree<'a>,
    accounts: Accounts,
    units: BTreeMap<UnitName, Unit>,
    versions: BTreeMap<String, String>,
}

/// The users and groups of a node, as its sysusers file wants them.
#[derive(Default, Serialize)]
struct Accounts {
    groups: BTreeSet<&'static str>,
    users: Vec<User>,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct User {
    name: &'static str,
    home: &'static str,
}

#[derive(Serialize)]
struct Member {
    user: &'static str,
    group: &'static str,
}

impl Composer<'_> {
    fn component(&mut self, component: &'static Component) -> Result<(), Error> {
        let mut watches = BTreeSet::new();
        let version = self.inventory.version(component.name, self.node);
        self.scene.set("word", &component.words_in(version))?;
        self.service = match &component.service {
            Some(service) => self.command(component, service, version)?,
            None => ServiceWords::default(),
        };
        self.scene.set("service", &self.service)?;
        let programs = artifact::of_component(component, self.inventory, self.node, self.arch);
        if !programs.is_empty() {
            let name = component.name.to_owned();
            self.versions.insert(name, version.to_string());
        }
        for program in programs {
            let paths = self.program(component.directory, &program)?;
            // The one that its service runs.
            if program.name == component.name {
                watches.extend(paths);
            }
        }
        for directory in component.directories {
            let path = RemotePath::fixed(directory.path);
            self.tree.directory(&path, directory.access);
        }
        for file in component.files {
            let paths = self.file(file)?;
            // What a service cannot read is of no concern to it.
            let service = component.service.as_ref();
            if service.is_some_and(|service| service.account.can_read(file.access())) {
                watches.extend(paths);
            }
        }
        if let Some(service) = &component.service {
            self.account(component, service);
            self.unit(component, service, watches)?;
        }
        Ok(())
    }

    /// The user of a service, and the groups it is in.
    fn account(&mut self, component: &'static Component, service: &component::Service) {
        let Account::Own { home } = service.account else {
            return;
        };
        self.accounts.users.push(User {
            name: component.name,
            home,
        });
        for file in component.files {
            if let Access::Group(group) = file.access() {
                self.accounts.groups.insert(group);
                self.accounts.members.push(Member {
                    user: component.name,
                    group,
                });
            }
        }
    }

    fn unit(
        &mut self,
        component: &'static Component,
        service: &component::Service,
        mut watches: BTreeSet<RemotePath>,
    ) -> Result<(), Error> {
        let name: UnitName = format!("{}.service", component.name)
            .parse()
            .expect("the name of a component is the name of a service");
        let path = name.path();
        let own = &self.inventory.own;
        let texts = UnitTexts::of(service, own, &self.scene, self.renderer)?;
        // Nobody but root: what the CIS benchmark asks of the control plane's configuration, and
        // the environment may hold a proxy's password. systemd would let others read it, and says
        // so in its journal; they still have to ask systemd, and the file is no weaker for it.
        self.tree.open(&path, texts.unit, Access::Root);
        watches.insert(path);
        for other in service.follows {
            let mut units = self.units.values();
            let other = units.find(|unit| unit.component == *other);
            watches.extend(other.into_iter().flat_map(|unit| unit.watches.clone()));
        }
        let directory = name.drop_ins();
        for (file, text) in texts.drop_ins {
            self.tree.directory(&directory, Access::Anyone);
            let path = directory.join(&file)?;
            self.tree.open(&path, text, Access::Root);
            watches.insert(path);
        }
        let probe = match &service.probe {
            Some(probe) => Some(Probe {
                scheme: probe.scheme,
                port: self.port(component, probe)?,
                path: probe.path.to_owned(),
                client: probe.client.map(|kind| kind.name().to_owned()),
                authority: probe.authority.map(|name| name.name().to_owned()),
            }),
            None => None,
        };
        let unit = Unit {
            component: component.name.to_owned(),
            stage: service.stage,
            probe,
            lease: self.lease(component, service),
            watches,
            first_start: self.first_start(service)?,
            registration: service.registers.then(|| self.registration(component)),
        };
        self.units.insert(name, unit);
        Ok(())
    }

    /// The path of the Lease that a controller's leader holds, by the program's name (source: the
    /// defaults of `--leader-elect-resource-lock`, `-name` and `-namespace` since 1.20).
    fn lease(&self, component: &Component, service: &component::Service) -> Option<String> {
        let settings = self.inventory.component(component.name, self.node);
        let is_about_it = |flag: &String| {
            let is_elsewhere = ["leader-elect-resource-", "lock-object-"];
            ["leader-elect", "config"].contains(&flag.as_str())
                || is_elsewhere.iter().any(|start| flag.starts_with(start))
        };
        let mut said = settings.flags.keys().chain(&settings.flags_removed);
        let files = component.files.iter();
        let mut templates = files.filter_map(|file| Some(file.text()?.name));
        let is_own = said.any(is_about_it)
            || templates.any(|name| self.inventory.own.text(name).is_some())
            || self.inventory.own.text(service.template.name).is_some();
        (service.stage == Stage::Controllers && !is_own).then(|| {
            format!(
                "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{}",
                component.name
            )
        })
    }

    /// The Node object of the node.
    fn registration(&self, component: &Component) -> Registration {
        let (inventory, node) = (self.inventory, self.node);
        let role = |role: &Role| (format!("node-role.kubernetes.io/{role}"), String::new());
        // A role is told to people by a label that a kubelet may not give itself.
        let roles = [Role::ControlPlane, Role::Worker];
        let roles = roles.iter().filter(|role| node.roles.contains(role));
        let mut labels: BTreeMap<_, _> = roles.map(role).collect();
        let zone = node.zone.iter();
        labels.extend(zone.map(|zone| (ZONE.to_owned(), zone.clone())));
        labels.extend(node.labels.clone());
        let mut servers: Vec<&Node> = inventory.with_role(Role::ControlPlane).collect();
        // A stable sort: its own first.
        servers.sort_by_key(|server| server.name != node.name);
        let server = |server: &&Node| SocketAddr::new(server.address, inventory.api_port(server));
        Registration {
            version: inventory.version(component.name, node).to_string(),
            labels,
            taints: node.taints.clone(),
            pod_range: inventory
                .pod_range(node)
                .filter(|_| inventory.network() != Network::None),
            servers: servers.iter().map(server).collect(),
        }
    }

    /// What of its unit file no running process is restarted for: words for its first start, and the
    /// addresses of other nodes, which systemd lets in and out of a service while it runs. A node that
    /// comes or leaves restarts nothing on the others.
    fn first_start(&mut self, service: &component::Service) -> Result<Option<FirstStart>, Error> {
        let makes_a_cluster = !service.first_start.is_empty();
        if !makes_a_cluster && !matches!(service.reach, Reach::Members | Reach::Nodes) {
            return Ok(None);
        }
        let words = &mut self.service;
        words.networks.clear();
        words.arguments.retain(|argument| {
            let argument = argument.trim_start_matches(['"', '-']);
            let name = argument.split('=').next().unwrap_or_default();
            !service.first_start.contains(&name)
        });
        let own = &self.inventory.own;
        self.scene.set("service", words)?;
        let texts = UnitTexts::of(service, own, &self.scene, self.renderer)?;
        let members = self.context.etcd.initial_cluster.split(',');
        let members = members.filter(|_| makes_a_cluster);
        Ok(Some(FirstStart {
            lasting: Digest::of(texts.unit.as_bytes()),
            members: members.map(ToOwned::to_owned).collect(),
        }))
    }

    fn text(&self, name: &str, text: &str) -> Result<String, template::Error> {
        self.renderer.render(name, text, &self.scene)
    }

    fn path(&self, text: &str, ending: &str) -> Result<RemotePath, Error> {
        Ok(format!("{}{ending}", self.text("a path", text)?).parse()?)
    }

    /// The accounts and owners last, when all entries are known; then the whole.
    fn finish(mut self) -> Result<Manifest, Error> {
        if !self.accounts.users.is_empty() {
            let text = builtin!("etc/sysusers.d/kinstall.conf.hbs");
            let text = self.renderer.builtin(text, &Scene::of(&self.accounts)?)?;
            let path = RemotePath::fixed(SYSUSERS);
            self.tree.open(&path, text, Access::Anyone);
        }
        if !self.tree.is_empty() {
            let text = match self.owned.entry(self.tree.owners()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let text = builtin!("etc/tmpfiles.d/kinstall.conf.hbs");
                    let text = self.renderer.builtin(text, &Scene::of(new.key())?)?;
                    new.insert(Shared::new(text))
                }
            };
            let path = RemotePath::fixed(TMPFILES);
            self.tree.shared(&path, text, Access::Anyone);
        }
        Ok(Manifest {
            cluster: self.inventory.cluster.name.to_string(),
            node: self.node.name.to_string(),
            arch: self.arch,
            versions: self.versions,
            entries: self.tree.entries(),
            units: self.units,
        })
    }
}
