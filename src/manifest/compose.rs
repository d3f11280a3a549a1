//! Writes the manifests: what each node of an inventory should hold.
//!
//! A pure function of the inventory, the nodes' architectures, the pins and the credentials; the
//! same input gives the same bytes. What a component is stands in [`crate::component`].

mod command;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(test)]
mod units;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::tree::Tree;
use super::{Desired, Manifest, Probe, Unit, UnitName};
use crate::arch::Arch;
use crate::artifact::{self, Program};
use crate::certificate::{AuthorityName, CertificateId, Credentials, Kind, Leaf};
use crate::component::{self, Access, COMPONENTS, Component, File, When};
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::kubeconfig;
use crate::lockfile::Lockfile;
use crate::remote_path::{NotARemotePath, RemotePath};
use crate::template::{self, Context, Renderer, ServiceWords, Unquotable};

/// The directories that kinstall puts things into and that are not its own: their owner and mode
/// are left as they are. Where one is missing (a bare tree), it is made 0755 for root. Every other
/// directory that a file needs is an entry.
pub const BASE_DIRECTORIES: [&str; 6] = [
    "/etc",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/sysusers.d",
    "/etc/tmpfiles.d",
    "/usr/local/bin",
];

/// The users that services run as; `systemd-sysusers` makes them before anything is given to them.
pub const SYSUSERS: &str = "/etc/sysusers.d/kinstall.conf";

/// Who owns what, for a tree that was written where these users did not exist yet.
pub const TMPFILES: &str = "/etc/tmpfiles.d/kinstall.conf";

/// Why no manifest could be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A program is not pinned.
    #[error("`{program}` for the node `{node}` is not pinned")]
    #[diagnostic(help("run `kinstall fetch` to pin what the inventory asks for"))]
    NotPinned {
        /// The program.
        program: Program,
        /// A node that needs it.
        node: NodeName,
    },
    /// A certificate is missing.
    #[error("the certificate `{kind}` for the node `{node}` is missing", kind = kind.name())]
    #[diagnostic(help("run `kinstall certs list` to see what there is and what there is not"))]
    NoCertificate {
        /// Which one.
        kind: Kind,
        /// A node that needs it.
        node: NodeName,
    },
    /// An authority's certificate is missing.
    #[error("the certificate of the authority `{name}` is missing")]
    #[diagnostic(help("run `kinstall certs list` to see what there is and what there is not"))]
    NoAuthority {
        /// Whose.
        name: AuthorityName,
    },
    /// A certificate begins to be valid at no time that can be written.
    #[error("the certificate `{id}` is valid from the second {not_before}, which is no date")]
    NotADate {
        /// Which one.
        id: CertificateId,
        /// Seconds since 1970.
        not_before: i64,
    },
    /// A kubeconfig could not be written.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Missing),
    /// A path has characters that no path may have.
    #[error(transparent)]
    Path(#[from] NotARemotePath),
    /// A template does not render.
    #[error(transparent)]
    Template(#[from] template::Error),
    /// A flag's value cannot stand in a unit.
    #[error("the flag `{flag}` of `{component}` on the node `{node}` cannot be written")]
    #[diagnostic(help("flags in the inventory are one line of text"))]
    Flag {
        /// The node.
        node: NodeName,
        /// The component.
        component: &'static str,
        /// The flag.
        flag: String,
        /// Why.
        source: Unquotable,
    },
    /// A variable cannot stand in a unit.
    #[error("the variable `{name}` of `{component}` on the node `{node}` cannot be written")]
    #[diagnostic(help(
        "a name is letters, digits and `_`, not beginning with a digit; a value is one line of text"
    ))]
    Variable {
        /// The node.
        node: NodeName,
        /// The component.
        component: &'static str,
        /// The variable.
        name: String,
    },
    /// The flag `secure-port` is no port.
    #[error("`secure-port` of `{component}` on the node `{node}` is `{value}`, which is no port")]
    #[diagnostic(help("a port is a number from 1 to 65535"))]
    NotAPort {
        /// The node.
        node: NodeName,
        /// The component.
        component: &'static str,
        /// What was found.
        value: String,
    },
}

/// What each node whose architecture is known should hold.
pub fn compose(
    inventory: &Inventory,
    archs: &BTreeMap<NodeName, Arch>,
    lockfile: &Lockfile,
    credentials: &Credentials,
) -> Result<Desired, Error> {
    let renderer = Renderer::default();
    let mut desired = Desired {
        manifests: BTreeMap::new(),
        contents: BTreeMap::new(),
    };
    for node in inventory.nodes.values() {
        let Some(arch) = archs.get(&node.name).copied() else {
            continue;
        };
        let mut composer = Composer {
            inventory,
            lockfile,
            credentials,
            renderer: &renderer,
            node,
            arch,
            context: words::of_node(inventory, node),
            tree: Tree::new(&mut desired.contents),
            accounts: Accounts::default(),
            units: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        for component in COMPONENTS {
            if node.roles.contains(&component.role) {
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
    node: &'a Node,
    arch: Arch,
    context: Context,
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

impl<'a> Composer<'a> {
    fn component(&mut self, component: &'static Component) -> Result<(), Error> {
        let mut watches = BTreeSet::new();
        let programs = artifact::of_node(self.inventory, self.node, self.arch);
        for program in programs {
            if !component.programs.contains(&program.name.as_str()) {
                continue;
            }
            let paths = self.program(&program)?;
            if program.name == component.name {
                watches.extend(paths);
                self.versions
                    .insert(component.name.to_owned(), program.version.to_string());
                let words = component.words.iter();
                let words = words.filter(|word| word.valid.contains(program.version));
                self.context.word = words.map(|word| (word.name, word.value)).collect();
                if let Some(service) = &component.service {
                    self.context.service = self.command(component, service, program.version)?;
                }
            }
        }
        for directory in component.directories {
            self.tree.directory(directory);
        }
        for file in component.files {
            let paths = self.file(file)?;
            // What only root may read, the service does not read.
            if access_of(file) != Access::Root {
                watches.extend(paths);
            }
        }
        if let Some(service) = &component.service {
            self.account(component, service);
            self.unit(component, service, watches)?;
        }
        Ok(())
    }

    /// A program under its versioned name, and the link that leads to it.
    fn program(&mut self, program: &Program) -> Result<[RemotePath; 2], Error> {
        let pinned = self.lockfile.program(program);
        let pinned = pinned.ok_or_else(|| Error::NotPinned {
            program: program.clone(),
            node: self.node.name.clone(),
        })?;
        let mut name = format!("{}-v{}", program.name, program.version);
        if program.own.is_some() {
            name = format!("{name}-own-{}", &pinned.digest.to_string()[..8]);
        }
        let directory = RemotePath::fixed("/usr/local/bin");
        let (path, link) = (directory.join(&name)?, directory.join(&program.name)?);
        self.tree.binary(&path, &program.name, pinned);
        self.tree.link(&link, &name);
        Ok([path, link])
    }

    /// The entries of a row of files; their paths.
    fn file(&mut self, file: &File) -> Result<Vec<RemotePath>, Error> {
        match *file {
            File::Template { path, text, access } => {
                let path = self.path(path, "")?;
                let text = self.text(path.as_str(), text)?;
                self.tree.open(&path, text, access);
                Ok(vec![path])
            }
            File::Authority { path, name } => {
                let path = self.path(path, "")?;
                let authority = self.credentials.authorities.get(&name);
                let pem = authority.ok_or(Error::NoAuthority { name })?;
                self.tree.open(&path, pem.clone(), Access::Anyone);
                Ok(vec![path])
            }
            File::Pair { stem, kind, access } => self.pair(stem, kind, access),
            File::Kubeconfig {
                path,
                client,
                access,
            } => {
                let path = self.path(path, "")?;
                let kubeconfig =
                    kubeconfig::render(client, &self.inventory.cluster, self.credentials)?;
                self.tree.secret(&path, &kubeconfig, access);
                Ok(vec![path])
            }
            File::ServiceAccount { stem, access } => {
                let pair = &self.credentials.service_account;
                let (public, private) = (self.path(stem, ".pem")?, self.path(stem, ".key")?);
                self.tree
                    .open(&public, pair.public_pem.clone(), Access::Anyone);
                self.tree.precious(&private, &pair.private_pem, access);
                Ok(vec![public, private])
            }
            File::EncryptionConfig { path, access } => {
                let path = self.path(path, "")?;
                let text = &self.credentials.encryption_config;
                self.tree.precious(&path, text, access);
                Ok(vec![path])
            }
            File::SigningKey { path, access } => {
                let Some(key) = &self.credentials.signing_key_pem else {
                    return Ok(Vec::new());
                };
                let path = self.path(path, "")?;
                self.tree.secret(&path, key, access);
                Ok(vec![path])
            }
        }
    }

    /// A certificate and its key under dated names, and the links that lead to them.
    fn pair(
        &mut self,
        stem: &'static str,
        kind: Kind,
        access: Access,
    ) -> Result<Vec<RemotePath>, Error> {
        let (id, leaf) = self.leaf(kind)?;
        let date = tree::date(leaf.not_before).ok_or_else(|| Error::NotADate {
            id: id.clone(),
            not_before: leaf.not_before,
        })?;
        let dated = |ending: &str| self.path(stem, &format!("-{date}{ending}"));
        let (dated_pem, dated_key) = (dated(".pem")?, dated(".key")?);
        let (pem, key) = (self.path(stem, ".pem")?, self.path(stem, ".key")?);
        self.tree
            .open(&dated_pem, leaf.chain_pem.clone(), Access::Anyone);
        self.tree.secret(&dated_key, &leaf.key_pem, access);
        self.tree.link(&pem, dated_pem.file_name());
        self.tree.link(&key, dated_key.file_name());
        Ok(vec![dated_pem, dated_key, pem, key])
    }

    /// The certificate of a kind: the node's own, else the one that the cluster shares.
    fn leaf(&self, kind: Kind) -> Result<(CertificateId, &'a Leaf), Error> {
        let leaves = &self.credentials.leaves;
        let ids = [Some(self.node.name.clone()), None].map(|node| CertificateId { kind, node });
        let found = ids
            .into_iter()
            .find_map(|id| leaves.get(&id).map(|leaf| (id, leaf)));
        found.ok_or_else(|| Error::NoCertificate {
            kind,
            node: self.node.name.clone(),
        })
    }

    /// The user of a service, and the groups it is in.
    fn account(&mut self, component: &'static Component, service: &component::Service) {
        self.accounts.users.push(User {
            name: component.name,
            home: service.home,
        });
        for file in component.files {
            if let Access::Group(group) = access_of(file) {
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
        let path = RemotePath::fixed("/etc/systemd/system").join(name.as_str())?;
        let text = self.text(path.as_str(), service.template)?;
        // Nobody but root: what the CIS benchmark asks of the control plane's configuration, and
        // the environment may hold a proxy's password. systemd would let others read it, and says
        // so in its journal; they still have to ask systemd, and the file is no weaker for it.
        self.tree.open(&path, text, Access::Root);
        watches.insert(path);
        let probe = Probe {
            port: self.port(component, service)?,
            path: service.probe.path.to_owned(),
            client: service.probe.client.map(|kind| kind.name().to_owned()),
            authority: service.probe.authority.map(|name| name.name().to_owned()),
        };
        let unit = Unit {
            component: component.name.to_owned(),
            stage: service.stage,
            probe,
            watches,
        };
        self.units.insert(name, unit);
        self.context.service = ServiceWords::default();
        Ok(())
    }

    /// Whether something is written for this node.
    fn holds(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::SeveralApiservers => self.inventory.with_role(Role::ControlPlane).count() > 1,
            When::NotWorker => !self.node.roles.contains(&Role::Worker),
            When::SigningKey => self.credentials.signing_key_pem.is_some(),
            When::Armhf => self.arch == Arch::Armhf,
            When::Arm64 => self.arch == Arch::Arm64,
        }
    }

    fn text(&self, name: &str, text: &str) -> Result<String, template::Error> {
        self.renderer.render(name, text, &self.context)
    }

    fn path(&self, text: &str, ending: &str) -> Result<RemotePath, Error> {
        Ok(format!("{}{ending}", self.text("a path", text)?).parse()?)
    }

    /// The accounts and owners last, when all entries are known; then the whole.
    fn finish(mut self) -> Result<Manifest, Error> {
        if !self.accounts.users.is_empty() {
            let text = include_str!("../../templates/etc/sysusers.d/kinstall.conf.hbs");
            let text = self.renderer.render(SYSUSERS, text, &self.accounts)?;
            let path = RemotePath::fixed(SYSUSERS);
            self.tree.open(&path, text, Access::Anyone);
        }
        if !self.tree.is_empty() {
            let text = include_str!("../../templates/etc/tmpfiles.d/kinstall.conf.hbs");
            let text = self.renderer.render(TMPFILES, text, &self.tree.owners())?;
            let path = RemotePath::fixed(TMPFILES);
            self.tree.open(&path, text, Access::Anyone);
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

/// Who may read what is secret in a row of files.
const fn access_of(file: &File) -> Access {
    match *file {
        File::Authority { .. } => Access::Anyone,
        File::Template { access, .. }
        | File::Pair { access, .. }
        | File::Kubeconfig { access, .. }
        | File::ServiceAccount { access, .. }
        | File::EncryptionConfig { access, .. }
        | File::SigningKey { access, .. } => access,
    }
}
