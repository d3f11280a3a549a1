//! How a node is doing, in one line.

use std::fmt;
use std::net::Ipv4Addr;

use super::disk::{NodeOptions, Origin};
use super::error::Error;
use super::name::NodeName;
use super::shape::{self, Shape};
use super::{Bed, machine, network};

/// How a node is doing.
pub(crate) struct Status {
    node: NodeName,
    address: Ipv4Addr,
    system: String,
    shape: Option<Shape>,
    link: String,
    options: NodeOptions,
}

impl Status {
    /// Asks the node and its cable.
    pub(super) fn of(bed: &Bed, node: NodeName) -> Result<Self, Error> {
        let on = machine::is_on(bed, node);
        let system = if on {
            machine::system_state(bed, node)
        } else {
            Some("off".into())
        };
        Ok(Self {
            node,
            address: bed.address(node),
            // A node without systemctl cannot say more than that it is on.
            system: system
                .filter(|state| !state.is_empty())
                .unwrap_or_else(|| "on".into()),
            shape: shape::recorded(bed, node)?,
            link: network::state(&network::link(bed.name(), node)),
            options: Origin::of(bed, node)?.options,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            address,
            system,
            shape,
            link,
            options,
        } = self;
        write!(f, "{node} {address} {system} link={link}")?;
        match shape {
            Some(shape) => write!(f, " shape={shape}")?,
            None => write!(f, " shape=none")?,
        }
        if let Some(arch) = options.arch {
            write!(f, " arch={}", arch.dpkg())?;
        }
        if !options.without.is_empty() {
            write!(f, " without={}", options.without.join(","))?;
        }
        if options.no_systemd {
            write!(f, " no-systemd")?;
        }
        if let Some(mib) = options.small_disk {
            write!(f, " small-disk={mib}MiB")?;
        }
        Ok(())
    }
}
