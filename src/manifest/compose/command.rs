//! The command line and the environment of a service as they stand in its unit.

use super::{Composer, Error, words};
use crate::component::{Component, Service};
use crate::manifest::{Command, Situation};
use crate::template::{self, ServiceWords};
use crate::version::Version;

impl Composer<'_> {
    /// What stands in the unit, quoted.
    pub(super) fn command(
        &self,
        component: &'static Component,
        service: &Service,
        version: Version,
    ) -> Result<ServiceWords, Error> {
        let situation = self.situation();
        let command = Command::of(
            component,
            service,
            version,
            &situation,
            &self.context,
            self.renderer,
        )?;
        let mut arguments = Vec::new();
        for flag in command.flags {
            let argument = template::exec_argument(&flag.argument());
            arguments.push(argument.map_err(|source| Error::Flag {
                node: self.node.name.clone(),
                component: component.name,
                flag: flag.name,
                source,
            })?);
        }
        let mut environment = Vec::new();
        for variable in command.environment {
            let assignment = template::environment_assignment(&variable.name, &variable.value).ok();
            let assignment = assignment.filter(|_| is_variable(&variable.name));
            environment.push(assignment.ok_or_else(|| Error::Variable {
                node: self.node.name.clone(),
                component: component.name,
                name: variable.name,
            })?);
        }
        let settings = self.inventory.component(component.name, self.node);
        Ok(ServiceWords {
            program: format!("/usr/local/bin/{}", component.name),
            arguments,
            environment,
            networks: words::networks(self.inventory, service, settings.networks.as_deref()),
        })
    }

    /// Where the services of the node run.
    fn situation(&self) -> Situation<'_> {
        Situation {
            inventory: self.inventory,
            node: self.node,
            arch: Some(self.arch),
            signing_key: self.credentials.signing_key_pem.is_some(),
        }
    }

    /// The port that the service is probed at: the user's `secure-port`, else the table's.
    pub(super) fn port(
        &self,
        component: &'static Component,
        service: &Service,
    ) -> Result<u16, Error> {
        let settings = self.inventory.component(component.name, self.node);
        let Some(value) = settings.flags.get("secure-port") else {
            return Ok(service.probe.port);
        };
        settings.port().ok_or_else(|| Error::NotAPort {
            node: self.node.name.clone(),
            component: component.name,
            value: value.clone(),
        })
    }
}

/// Whether systemd takes a text for the name of a variable.
fn is_variable(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty()
        && name.bytes().all(inner)
        && !name.starts_with(|char: char| char.is_ascii_digit())
}
