//! `kinstall encryption`: the key that Secrets are encrypted with at rest.
//!
//! A rotation follows upstream's order for several servers
//! (<https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#rotating-a-decryption-key>):
//! the new key is read everywhere before it writes anywhere, everything is rewritten with it, and
//! only then does the old one go. Where a rotation stands is told by the configuration itself, so
//! that one that was stopped goes on from there.

mod rewrite;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::plan::Ask;
use super::prepare::{self, Keep};
use super::{Common, Exit, Failure, Login, push};
use crate::authority::Local;
use crate::encryption::{self, Config, KeyName, Standing};
use crate::inventory::{Inventory, Provider};
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

/// The inventory, and what is kept.
struct Desk {
    inventory: Inventory,
    local: Local,
}

impl Desk {
    fn open(path: &std::path::Path, terminal: Terminal) -> Result<Self, Failure> {
        let inventory = prepare::inventory(path, terminal)?;
        let local = Local::of(&inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
        Ok(Self { inventory, local })
    }

    fn text(&self) -> Result<Secret, Failure> {
        let text = self.local.encryption().map_err(failed)?;
        text.ok_or_else(|| {
            let help = "run `kinstall push` first";
            Failure::words(
                Exit::Failed,
                "there is no encryption configuration yet",
                help,
            )
        })
    }

    fn config(&self) -> Result<(Secret, Config), Failure> {
        let text = self.text()?;
        let config = Config::parse(&text).map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok((text, config))
    }
}

fn failed(error: crate::authority::Error) -> Failure {
    Failure::new(Exit::Failed, error)
}

impl Status {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.inventory, terminal)?;
        let text = desk.text()?;
        let outlined = encryption::outline(&text);
        let (resources, keys) = match Config::parse(&text) {
            Ok(config) => {
                let keys = config.keys().iter().map(KeyName::to_string).collect();
                (config.resources(), keys)
            }
            // The keys are elsewhere, or there are none.
            Err(_) => outlined.map_err(|error| Failure::new(Exit::Failed, error))?,
        };
        let rotating = desk.local.rotation().map_err(failed)?;
        let servers =
            verify::Servers::reach(&desk.inventory, common, &self.login, terminal).await?;
        let behind = servers.behind(&text);
        let stored = servers.stored().await?;
        servers.close().await;
        let told = Told {
            cluster: desk.inventory.cluster.name.to_string(),
            resources,
            keys,
            rotating: rotating.map(|key| key.to_string()),
            behind,
            stored,
        };
        terminal.print(&if common.json {
            serde_json::to_string_pretty(&told).expect("texts and numbers") + "\n"
        } else {
            told.text()
        });
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

impl Rotate {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.inventory, terminal)?;
        let key = begin(&desk, terminal)?;
        let mut left = self.steps.unwrap_or(u32::MAX);
        loop {
            if left == 0 {
                terminal.say("stopped as asked; the same command goes on from here");
                return Ok(Exit::Done);
            }
            left -= 1;
            let (_, config) = desk.config()?;
            let next = match config.standing(&key) {
                Standing::Absent => {
                    terminal.say(&format!("1/5 every server learns to read with {key}"));
                    Some(desk.with(config, |config, secret| config.add(&key, secret))?)
                }
                Standing::Reads => {
                    self.everywhere(&desk, common, terminal).await?;
                    terminal.say(&format!("2/5 every server writes with {key}"));
                    Some(desk.with(config, |config, _| config.promote(&key))?)
                }
                Standing::Writes => {
                    self.everywhere(&desk, common, terminal).await?;
                    terminal.say("3/5 everything that is encrypted is written anew");
                    self.rewrite(&desk, &config, &key, common, terminal).await?;
                    terminal.say("4/5 every server forgets the key before");
                    Some(desk.with(config, |config, _| config.keep_only(&key))?)
                }
                Standing::Alone => None,
            };
            if let Some(next) = next {
                desk.local.keep_encryption(&next).map_err(failed)?;
                continue;
            }
            self.everywhere(&desk, common, terminal).await?;
            desk.local.keep_rotation(None).map_err(failed)?;
            terminal.say(&format!("5/5 done: {key} alone encrypts"));
            return Ok(Exit::Done);
        }
    }

    /// Has every server run on what is kept, one after the other, and proves that it does.
    async fn everywhere(
        &self,
        desk: &Desk,
        common: &Common,
        terminal: Terminal,
    ) -> Result<(), Failure> {
        let ask = Ask {
            snapshot: false,
            bundle: None,
            into: None,
            login: &self.login,
            verify: true,
            keep: Keep::Yes,
        };
        push::carry(&desk.inventory, ask, common, terminal).await?;
        let (text, _) = desk.config()?;
        let servers =
            verify::Servers::reach(&desk.inventory, common, &self.login, terminal).await?;
        let proven = servers.prove(&text).await;
        servers.close().await;
        let count = proven?;
        terminal.say(&format!(
            "proven on {count} kube-apiservers: what each writes, all read"
        ));
        Ok(())
    }

    /// Writes everything anew, and makes sure that nothing is left of another key.
    async fn rewrite(
        &self,
        desk: &Desk,
        config: &Config,
        key: &KeyName,
        common: &Common,
        terminal: Terminal,
    ) -> Result<(), Failure> {
        let servers =
            verify::Servers::reach(&desk.inventory, common, &self.login, terminal).await?;
        let api = servers.any_api().await?;
        let count = rewrite::all(&api, &config.resources()).await?;
        terminal.say(&format!("written anew: {count} objects"));
        let stored = servers.stored().await;
        servers.close().await;
        let others = stored?.into_iter();
        let others = others.filter(|(prefix, _)| *prefix != key.prefix());
        let others: Vec<_> = others
            .map(|(prefix, count)| format!("{count} as {prefix}"))
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let message = format!(
            "values in etcd still need another key: {}",
            others.join(", ")
        );
        let help = "nothing was dropped: `resources` of the configuration may lack what they belong \
                    to; run the same command again once they are written anew or gone";
        Err(Failure::words(Exit::Failed, message, help))
    }
}

/// The key to bring in: the one of a rotation that was stopped, or a new one.
fn begin(desk: &Desk, terminal: Terminal) -> Result<KeyName, Failure> {
    if let Some(key) = desk.local.rotation().map_err(failed)? {
        terminal.say(&format!("going on with {key}"));
        return Ok(key);
    }
    let (_, config) = desk.config()?;
    let asked: std::collections::BTreeSet<_> = desk
        .inventory
        .encryption
        .resources
        .iter()
        .cloned()
        .collect();
    if config
        .resources()
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        != asked
    {
        let message = "the inventory says other resources than the configuration encrypts";
        let help = "rotate first, with `resources` as they were";
        return Err(Failure::words(Exit::Usage, message, help));
    }
    let provider = desk.inventory.encryption.provider;
    if !Provider::WITH_KEYS.contains(&provider) {
        let message = format!(
            "a rotation cannot bring in `{}`: it has no key here",
            provider.name()
        );
        let help = "a rotation exchanges one key in the configuration for another: name one of \
                    `aescbc`, `aesgcm` and `secretbox` in `[encryption]`";
        return Err(Failure::words(Exit::Usage, message, help));
    }
    let key = KeyName {
        provider,
        name: config.free_name(),
    };
    desk.local.keep_rotation(Some(&key)).map_err(failed)?;
    Ok(key)
}

impl Desk {
    fn with(
        &self,
        mut config: Config,
        change: impl FnOnce(&mut Config, &[u8]),
    ) -> Result<Secret, Failure> {
        let secret = self.local.encryption_key().map_err(failed)?;
        change(&mut config, secret.expose());
        Ok(config.render())
    }
}
