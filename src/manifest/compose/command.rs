//! The command line and the environment of a service as they stand in its unit.

use super::{Composer, Error};
use crate::component::{Component, Probe, Service};
use crate::manifest::command::Unwritable;
use crate::manifest::{Command, Situation};
use crate::template::ServiceWords;
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
            &self.scene,
            self.renderer,
        )?;
        let settings = self.inventory.component(component.name, self.node);
        let networks = self
            .neighbours
            .networks(service, settings.networks.as_deref());
        let words = command.words(component.name, networks);
        words.map_err(|unwritable| self.unwritable(component, unwritable))
    }

    fn unwritable(&self, component: &'static Component, unwritable: Unwritable) -> Error {
        let (node, component) = (self.node.name.clone(), component.name);
        match unwritable {
            Unwritable::Flag { flag, source } => Error::Flag {
                node,
                component,
                flag,
                source,
            },
            Unwritable::Variable { name } => Error::Variable {
                node,
                component,
                name,
            },
        }
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
    pub(super) fn port(&self, component: &'static Component, probe: &Probe) -> Result<u16, Error> {
        let settings = self.inventory.component(component.name, self.node);
        let Some(value) = settings.flags.get("secure-port") else {
            return Ok(probe.port);
        };
        settings.port().ok_or_else(|| Error::NotAPort {
            node: self.node.name.clone(),
            component: component.name,
            value: value.clone(),
        })
    }
}
