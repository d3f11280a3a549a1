//! `kinstall encryption`: the key that Secrets are encrypted with at rest.
//!
//! Here are the words of the command, and `status`; [`rotate`] exchanges the key.

mod rewrite;
mod rotate;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::prepare::Talk;
use super::{Common, Exit, Failure, Login, load};
use crate::authority::Local;
use crate::encryption::Config;
use crate::inventory::Inventory;
use crate::secret::Secret;
use crate::terminal::Terminal;

/// The key that Secrets are encrypted with at rest.
#[derive(Debug, Args)]
pub(super) struct EncryptionCommand {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Tell the keys, what each server has of them, and how much each of them encrypts
    Status(Status),
    /// Exchange the key, step by step, every server proven before the next step
    Rotate(rotate::Rotate),
}

#[derive(Debug, Args)]
struct Status {
    /// The inventory
    inventory: PathBuf,
    #[command(flatten)]
    login: Login,
}

/// What `status` prints.
#[derive(Serialize)]
struct Told {
    cluster: String,
    resources: Vec<String>,
    /// The first writes.
    keys: Vec<String>,
    /// The key that a rotation is bringing in.
    rotating: Option<String>,
    /// Servers that run on another configuration than the one in `pki/`.
    behind: Vec<String>,
    /// How many values in etcd each key encrypts.
    stored: std::collections::BTreeMap<String, u64>,
}

impl EncryptionCommand {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        if !common.limit.is_empty() {
            let message = "`--limit` has no meaning here: every kube-apiserver must have the keys";
            return Err(Failure::words(Exit::Usage, message, "leave it out"));
        }
        match self.act {
            Act::Status(status) => status.run(common, terminal).await,
            Act::Rotate(rotate) => rotate.run(common, terminal).await,
        }
    }
}

/// The inventory, and what is kept.
struct Desk {
    inventory: Inventory,
    local: Local,
}

impl Desk {
    fn open(path: &std::path::Path, terminal: Terminal) -> Result<Self, Failure> {
        let inventory = load::inventory(path, terminal)?;
        let local = Local::of(&inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Self { inventory, local })
    }

    fn text(&self) -> Result<Secret, Failure> {
        self.local
            .encryption()
            .map_err(failed)?
            .ok_or_else(none_yet)
    }

    /// What a rotation changes.
    fn config(&self) -> Result<(Secret, Config), Failure> {
        let config = self.local.encryption_to_rotate().map_err(failed)?;
        config.ok_or_else(none_yet)
    }
}

fn none_yet() -> Failure {
    let message = "there is no encryption configuration yet";
    Failure::words(Exit::Failed, message, "run `kinstall push` first")
}

fn failed(error: crate::authority::Error) -> Failure {
    Failure::new(Exit::Failed, error)
}

impl Status {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.inventory, terminal)?;
        let text = desk.text()?;
        let config = Config::read(&text).map_err(|error| Failure::new(Exit::Failed, error))?;
        let rotating = desk.local.rotation().map_err(failed)?;
        let talk = Talk::open(terminal);
        let servers =
            verify::Servers::reach(&desk.inventory, common, &self.login, &talk.events).await;
        talk.close().await;
        let servers = servers?;
        let behind = servers.behind(&text);
        let stored = servers.stored().await?;
        servers.close().await;
        let told = Told {
            cluster: desk.inventory.cluster.name.to_string(),
            resources: config.resources(),
            keys: config.outline(),
            rotating: rotating.map(|key| key.to_string()),
            behind,
            stored,
        };
        if common.json {
            terminal.print_json(&told);
        } else {
            terminal.print(&told.text());
        }
        Ok(Exit::Done)
    }
}

impl Told {
    fn text(&self) -> String {
        let (resources, keys) = (self.resources.join(", "), self.keys.join(", "));
        let mut lines = vec![
            format!("encrypted  {resources}"),
            format!("keys       {keys}; the first writes"),
        ];
        let stored = self.stored.iter();
        lines
            .extend(stored.map(|(prefix, count)| format!("in etcd    {count} values as {prefix}")));
        if !self.behind.is_empty() {
            lines.push(format!("behind     {}: push", self.behind.join(", ")));
        }
        if let Some(key) = &self.rotating {
            lines.push(format!(
                "rotating   to {key}: `kinstall encryption rotate` goes on"
            ));
        }
        lines.join("\n") + "\n"
    }
}
