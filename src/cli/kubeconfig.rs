//! `kinstall kubeconfig`: the administrator's.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure};
use crate::authority::{Authority, Local};
use crate::certificate;
use crate::engine::kubeconfig::Place;
use crate::engine::{clock, load};
use crate::inventory::{Endpoint, San};
use crate::kubeconfig::{self, Client};
use crate::terminal::Terminal;

/// Print the administrator's kubeconfig.
#[derive(Debug, Args)]
pub(super) struct KubeconfigCommand {
    /// The inventory
    inventory: PathBuf,
    /// The kube-apiserver of this node, instead of the cluster's endpoint
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Put it into FILE beside the other clusters there [default: where kubectl would write: `KUBECONFIG`, ~/.kube/config]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "an option that was given without a value, as clap tells it"
    )]
    merge: Option<Option<PathBuf>>,
}

impl KubeconfigCommand {
    pub(super) fn run(self, _common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let mut inventory = load::inventory(&self.inventory, terminal)?;
        if let Some(word) = &self.node {
            let node = inventory
                .nodes
                .values()
                .find(|node| node.name.as_str() == word);
            let node = node.ok_or_else(|| {
                let message = format!("`--node {word}`: the inventory has no node of that name");
                Failure::words(
                    Exit::Usage,
                    message,
                    "see the inventory's `[[node]]` tables",
                )
            })?;
            inventory.cluster.endpoint = Endpoint {
                host: San::Ip(node.address),
                port: inventory.api_port(node),
            };
        }
        let effective = Local::in_effect(&inventory);
        let (authority, effective) = effective.map_err(|error| Failure::new(Exit::Usage, error))?;
        let requests = certificate::requests(&effective);
        let obtained = authority.obtain(&requests, clock::now())?;
        for remark in &obtained.remarks {
            terminal.say(&format!("warning: {remark}"));
        }
        if let Some(file) = self.merge {
            let place = Place::of(file, &inventory.cluster)?;
            return place.merge(&inventory.cluster, &obtained.credentials, terminal);
        }
        let port = inventory.cluster.endpoint.port;
        let text = kubeconfig::render(
            Client::Admin,
            None,
            &inventory.cluster,
            port,
            &obtained.credentials,
        )
        .map_err(|error| {
            Failure::words(Exit::Failed, error.to_string(), "run `kinstall push` first")
        })?;
        terminal.print_exactly(text.expose_text().unwrap_or_default());
        Ok(Exit::Done)
    }
}
