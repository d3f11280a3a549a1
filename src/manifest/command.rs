//! The command line and the environment of a service on a node, before systemd's quoting: the
//! table's, and the user's over it. Pure, and without credentials or pins, so that a command line
//! can be looked at for any version before anything is made or contacted.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::compose::context;
use crate::arch::Arch;
use crate::component::{self, Component, Service, Valid, When};
use crate::inventory::{Authorities, Inventory, Node, Profile, Role};
use crate::template::{self, Renderer, Scene, ServiceWords, Unquotable};
use crate::version::Version;

/// Where a service runs.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The whole inventory.
    pub inventory: &'a Inventory,
    /// The node.
    pub node: &'a Node,
    /// The node's architecture, where it is known.
    pub arch: Option<Arch>,
    /// Whether the key that signs certificate requests is at hand.
    pub signing_key: bool,
}

/// Renders what is only looked at.
pub(super) static RENDERER: LazyLock<Renderer> = LazyLock::new(Renderer::default);

/// A command line and an environment.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The flags, in the order they are written.
    pub flags: Vec<Given>,
    /// The variables, by name.
    pub environment: Vec<Given>,
}

/// A flag or a variable, by name, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name; of a flag without `--`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Who said so.
    pub by: By,
}

/// Who gave a flag its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The table of components.
    Kinstall,
    /// The inventory.
    User,
}

/// Something that cannot stand in a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritable {
    /// The value of a flag.
    Flag {
        /// The flag.
        flag: String,
        /// Why.
        source: Unquotable,
    },
    /// A variable.
    Variable {
        /// Its name.
        name: String,
    },
}

impl Given {
    /// A flag as a program is given it.
    pub fn argument(&self) -> String {
        format!("--{}={}", self.name, self.value)
    }
}

impl Command {
    /// What a service of this version is run with. `scene` is what the templates of the node see.
    pub fn of(
        component: &Component,
        service: &Service,
        version: Version,
        situation: &Situation<'_>,
        scene: &Scene,
        renderer: &Renderer,
    ) -> Result<Self, template::Error> {
        let row = Row {
            version,
            situation,
            scene,
            renderer,
        };
        Ok(Self {
            flags: row.flags(component, service)?,
            environment: row.environment(component, service)?,
        })
    }

    /// It as it stands in a unit, quoted; `networks` are those it may talk to.
    pub fn words(self, component: &str, networks: Vec<String>) -> Result<ServiceWords, Unwritable> {
        let mut arguments = Vec::new();
        for flag in self.flags {
            let argument = template::exec_argument(&flag.argument());
            arguments.push(argument.map_err(|source| Unwritable::Flag {
                flag: flag.name,
                source,
            })?);
        }
        let mut environment = Vec::new();
        for variable in self.environment {
            let assignment = template::environment_assignment(&variable.name, &variable.value).ok();
            let assignment = assignment.filter(|_| is_variable(&variable.name));
            environment.push(assignment.ok_or(Unwritable::Variable {
                name: variable.name,
            })?);
        }
        Ok(ServiceWords {
            program: component::path_of(component),
            arguments,
            environment,
            networks,
        })
    }

    /// The words behind the program.
    pub fn arguments(&self) -> Vec<String> {
        self.flags.iter().map(Given::argument).collect()
    }

    /// The value of a flag, if it is written.
    pub fn flag(&self, name: &str) -> Option<&Given> {
        self.flags.iter().find(|given| given.name == name)
    }
}

/// The command lines of a node, for whoever only looks at them.
pub struct Preview<'a> {
    situation: Situation<'a>,
    scene: Scene,
}

impl<'a> Preview<'a> {
    /// Of a node.
    pub fn of(situation: Situation<'a>) -> Result<Self, template::Error> {
        let scene = Scene::of(&context(situation.inventory, situation.node))?;
        Ok(Self { situation, scene })
    }

    /// What a component is run with there; nothing for one that is no service.
    pub fn command(&self, component: &Component) -> Result<Command, template::Error> {
        let Some(service) = &component.service else {
            return Ok(Command::default());
        };
        let Situation {
            inventory, node, ..
        } = self.situation;
        let version = inventory.version(component.name, node);
        Command::of(
            component,
            service,
            version,
            &self.situation,
            &self.scene,
            &RENDERER,
        )
    }
}

/// Whether systemd takes a text for the name of a variable.
fn is_variable(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(inner)
        && !name.starts_with(|char: char| char.is_ascii_digit())
}

impl Situation<'_> {
    /// Whether something is written here.
    pub fn holds(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::SeveralApiservers => self
                .inventory
                .with_role(Role::ControlPlane)
                .nth(1)
                .is_some(),
            When::NotWorker => !self.node.roles.contains(&Role::Worker),
            When::SigningKey => self.signing_key,
            When::SeparateAuthorities => self.inventory.pki.authorities == Authorities::Separate,
            When::Small => self.node.profile == Profile::Small,
            When::NotSmall => self.node.profile != Profile::Small,
            When::EtcdPrefix => self.inventory.etcd.prefix.is_some(),
            When::Armhf => self.arch == Some(Arch::Armhf),
            When::Arm64 => self.arch == Some(Arch::Arm64),
        }
    }
}

/// What decides which rows of the table are written, and with which text.
struct Row<'a> {
    version: Version,
    situation: &'a Situation<'a>,
    scene: &'a Scene,
    renderer: &'a Renderer,
}

impl Row<'_> {
    fn is_written(&self, valid: Valid, when: When) -> bool {
        valid.contains(self.version) && self.situation.holds(when)
    }

    fn text(&self, name: &str, text: &str) -> Result<String, template::Error> {
        self.renderer.render(name, text, self.scene)
    }

    /// The flags in the order of the table, with the user's values; then those that only the user
    /// knows, by name.
    fn flags(
        &self,
        component: &Component,
        service: &Service,
    ) -> Result<Vec<Given>, template::Error> {
        let Situation {
            inventory, node, ..
        } = self.situation;
        let mut settings = inventory.component(component.name, node);
        let mut flags: Vec<Given> = Vec::new();
        for flag in service.flags {
            // Another row for other versions.
            if flags.iter().any(|given| given.name == flag.name) {
                continue;
            }
            let written = self.is_written(flag.valid, flag.when)
                && !settings.flags_removed.contains(flag.name);
            let (value, by) = match settings.flags.remove(flag.name) {
                Some(value) => (value, By::User),
                None if written => (self.text(flag.name, flag.value)?, By::Kinstall),
                None => continue,
            };
            let name = flag.name.to_owned();
            flags.push(Given { name, value, by });
        }
        let by = By::User;
        let others = settings.flags.into_iter();
        flags.extend(others.map(|(name, value)| Given { name, value, by }));
        Ok(flags)
    }

    fn environment(
        &self,
        component: &Component,
        service: &Service,
    ) -> Result<Vec<Given>, template::Error> {
        let mut environment = BTreeMap::new();
        for variable in service.environment {
            if self.is_written(variable.valid, variable.when) {
                let value = self.text(variable.name, variable.value)?;
                environment.insert(variable.name.to_owned(), (value, By::Kinstall));
            }
        }
        let Situation {
            inventory, node, ..
        } = self.situation;
        let settings = inventory.component(component.name, node);
        let own = settings.environment.into_iter();
        environment.extend(own.map(|(name, value)| (name, (value, By::User))));
        let given = |(name, (value, by))| Given { name, value, by };
        Ok(environment.into_iter().map(given).collect())
    }
}
