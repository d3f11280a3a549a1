//! `kinstall encryption`: the key that Secrets are encrypted with at rest.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Common, Exit, Failure, Login};
use crate::encryption::Config;
use crate::engine::encryption::Keys;
use crate::engine::encryption::rotate::rotate;
use crate::engine::encryption::servers::Servers;
use crate::engine::load;
use crate::engine::session::Session;
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
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Status {
    /// The inventory
    inventory: PathBuf,
    #[command(flatten)]
    login: Login,
}

#[derive(Debug, Args)]
struct Rotate {
    /// The inventory
    inventory: PathBuf,
    /// Stop after so many steps; the same command goes on from there
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
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

impl Rotate {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let settings = common.settings(&self.login);
        let rotate = async |session: &Session<'_>| rotate(session, self.steps).await;
        Session::run(&inventory, &settings, terminal, rotate).await
    }
}

impl Status {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let keys = Keys::of(&inventory)?;
        let text = keys.text()?;
        let config = Config::read(&text).map_err(|error| Failure::new(Exit::Failed, error))?;
        let rotating = keys.rotation()?;
        let settings = common.settings(&self.login);
        let reach = async |session: &Session<'_>| Servers::reach(session).await;
        let servers = Session::run(&inventory, &settings, terminal, reach).await?;
        let behind = servers.behind(&text);
        let stored = servers.stored().await?;
        servers.close().await;
        let told = Told {
            cluster: inventory.cluster.name.to_string(),
            resources: config.resources(),
            keys: config.outline(),
            rotating,
            behind,
            stored,
        };
        terminal.print_data(common.json, &told, |_| told.text());
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
        lines.extend(stored.map(|(prefix, count)| {
            format!(
                "in etcd    {} as {prefix}",
                crate::plain::count(count, "value")
            )
        }));
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
