//! The command line and the environment of a service: the table's, and the user's over it.

use std::collections::BTreeMap;

use super::{Composer, Error};
use crate::component::{Component, Service};
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
        let mut arguments = Vec::new();
        for (name, value) in self.flags(component, service, version)? {
            let argument = template::exec_argument(&format!("--{name}={value}"));
            arguments.push(argument.map_err(|source| Error::Flag {
                node: self.node.name.clone(),
                component: component.name,
                flag: name,
                source,
            })?);
        }
        let mut environment = Vec::new();
        for (name, value) in self.environment(component, service, version)? {
            let assignment = template::environment_assignment(&name, &value).ok();
            let assignment = assignment.filter(|_| is_variable(&name));
            environment.push(assignment.ok_or_else(|| Error::Variable {
                node: self.node.name.clone(),
                component: component.name,
                name,
            })?);
        }
        Ok(ServiceWords {
            program: format!("/usr/local/bin/{}", component.name),
            arguments,
            environment,
        })
    }

    /// The flags in the order of the table, with the user's values; then those that only the user
    /// knows, by name.
    fn flags(
        &self,
        component: &'static Component,
        service: &Service,
        version: Version,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut settings = self.inventory.component(component.name, self.node);
        let mut flags: Vec<(String, String)> = Vec::new();
        for flag in service.flags {
            // Another row for other versions.
            if flags.iter().any(|(name, _)| name == flag.name) {
                continue;
            }
            let asked = settings.flags.remove(flag.name);
            let written = flag.valid.contains(version)
                && self.holds(flag.when)
                && !settings.flags_removed.contains(flag.name);
            let value = match asked {
                Some(value) => value,
                None if written => self.text(flag.name, flag.value)?,
                None => continue,
            };
            flags.push((flag.name.to_owned(), value));
        }
        flags.extend(settings.flags);
        Ok(flags)
    }

    fn environment(
        &self,
        component: &'static Component,
        service: &Service,
        version: Version,
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut environment = BTreeMap::new();
        for variable in service.environment {
            if variable.valid.contains(version) && self.holds(variable.when) {
                let value = self.text(variable.name, variable.value)?;
                environment.insert(variable.name.to_owned(), value);
            }
        }
        let settings = self.inventory.component(component.name, self.node);
        environment.extend(settings.environment);
        Ok(environment)
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
        let port = value.parse().ok().filter(|port| *port != 0);
        port.ok_or_else(|| Error::NotAPort {
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
