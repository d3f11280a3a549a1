//! `kinstall encryption rotate`: one key exchanged for another.
//!
//! A rotation follows upstream's order for several servers
//! (<https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#rotating-a-decryption-key>):
//! the new key is read everywhere before it writes anywhere, everything is rewritten with it, and
//! only then does the old one go. Where a rotation stands is told by the configuration itself, so
//! that one that was stopped goes on from there.

use std::path::PathBuf;

use clap::Args;
use tokio::sync::watch;

use super::super::carry::{stop_on_interrupt, stopped};
use super::super::plan::Ask;
use super::super::prepare::{Keep, Talk};
use super::super::{Common, Exit, Failure, Login, push};
use super::verify::Servers;
use super::{Desk, failed, rewrite};
use crate::apply::Pause;
use crate::encryption::{Config, KeyName, Standing};
use crate::event::{Event, Events};
use crate::inventory::Provider;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The inventory
    inventory: PathBuf,
    /// Stop after so many steps; the same command goes on from there
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    #[command(flatten)]
    login: Login,
}

impl Rotate {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.inventory, terminal)?;
        let talk = Talk::open(terminal);
        let rotation = Rotation {
            desk,
            common,
            login: &self.login,
            terminal,
            events: &talk.events,
            // One for all of it: a wish to stop is heard between two pushes too.
            stop: stop_on_interrupt(talk.events.clone()),
            pause: Pause::from_environment(),
        };
        let outcome = rotation.run(self.steps).await;
        talk.close().await;
        outcome
    }
}

/// What a rotation works with.
struct Rotation<'a> {
    desk: Desk,
    common: &'a Common,
    login: &'a Login,
    terminal: Terminal,
    events: &'a Events,
    /// Becomes true when the user wants to stop.
    stop: watch::Receiver<bool>,
    /// Where it is held, for tests.
    pause: Pause,
}

impl Rotation<'_> {
    async fn run(&self, steps: Option<u32>) -> Result<Exit, Failure> {
        self.come_to("begin").await?;
        let key = self.begin()?;
        let mut left = steps.unwrap_or(u32::MAX);
        loop {
            if left == 0 {
                self.say("stopped as asked; the same command goes on from here".to_owned());
                return Ok(Exit::Done);
            }
            left -= 1;
            let (_, config) = self.desk.config()?;
            match config.standing(&key) {
                Standing::Absent => {
                    self.say(format!("1/5 every server learns to read with {key}"));
                    let secret = self.desk.local.encryption_key().map_err(failed)?;
                    let add = |config: &mut Config| config.add(&key, secret.expose());
                    self.keep("learn", config, add).await?;
                }
                Standing::Reads => {
                    self.everywhere(None).await?;
                    self.say(format!("2/5 every server writes with {key}"));
                    self.keep("promote", config, |config| config.promote(&key))
                        .await?;
                }
                Standing::Writes => {
                    self.everywhere(Some((&config, &key))).await?;
                    self.say("4/5 every server forgets the key before".to_owned());
                    self.keep("forget", config, |config| config.keep_only(&key))
                        .await?;
                }
                Standing::Alone => {
                    self.everywhere(None).await?;
                    self.come_to("close").await?;
                    self.desk.local.keep_rotation(None).map_err(failed)?;
                    self.say(format!("5/5 done: {key} alone encrypts"));
                    return Ok(Exit::Done);
                }
            }
        }
    }

    fn say(&self, line: String) {
        self.events.send(Event::Note(line));
    }

    /// A moment between two things, at which a rotation can be stopped.
    async fn come_to(&self, what: &str) -> Result<(), Failure> {
        self.pause.before("rotation", what).await;
        if *self.stop.borrow() {
            return Err(early_stop());
        }
        Ok(())
    }

    /// Keeps the next configuration; the servers get it in the next step.
    async fn keep(
        &self,
        what: &str,
        mut config: Config,
        change: impl FnOnce(&mut Config),
    ) -> Result<(), Failure> {
        self.come_to(what).await?;
        change(&mut config);
        self.desk
            .local
            .keep_encryption(&config.write())
            .map_err(failed)
    }

    /// Has every server run on what is kept, one after the other, and proves that it does. Then,
    /// if that is asked for, has everything written anew with a key.
    async fn everywhere(&self, anew: Option<(&Config, &KeyName)>) -> Result<(), Failure> {
        // Not verified: what it has to know of a node is proven in deed below.
        let ask = Ask::of(self.login, Keep::Yes);
        let (inventory, stop) = (&self.desk.inventory, self.stop.clone());
        push::once(
            inventory,
            ask,
            self.common,
            self.terminal,
            self.events,
            stop,
        )
        .await?;
        self.come_to("prove").await?;
        // Nothing of this leaves anything half done: whoever wants to stop need not wait.
        tokio::select! {
            done = self.proven(anew) => done,
            () = stopped(self.stop.clone()) => Err(early_stop()),
        }
    }

    async fn proven(&self, anew: Option<(&Config, &KeyName)>) -> Result<(), Failure> {
        let (text, _) = self.desk.config()?;
        let inventory = &self.desk.inventory;
        let servers = Servers::reach(inventory, self.common, self.login, self.events).await?;
        let count = servers.prove(&text).await?;
        self.say(format!(
            "proven on {count} kube-apiservers: what each writes, all read"
        ));
        if let Some((config, key)) = anew {
            self.say("3/5 everything that is encrypted is written anew".to_owned());
            self.rewrite(&servers, config, key).await?;
        }
        servers.close().await;
        Ok(())
    }

    /// Writes everything anew, and makes sure that nothing is left of another key.
    async fn rewrite(
        &self,
        servers: &Servers,
        config: &Config,
        key: &KeyName,
    ) -> Result<(), Failure> {
        self.come_to("rewrite").await?;
        let api = servers.any_api().await?;
        let count = rewrite::all(&api, &config.encrypted()).await?;
        self.say(format!("written anew: {count} objects"));
        let others = servers.stored().await?.into_iter();
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

    /// The key to bring in: the one of a rotation that was stopped, or a new one.
    fn begin(&self) -> Result<KeyName, Failure> {
        let desk = &self.desk;
        if let Some(key) = desk.local.rotation().map_err(failed)? {
            self.say(format!("going on with {key}"));
            return Ok(key);
        }
        let (_, config) = desk.config()?;
        let encryption = &desk.inventory.encryption;
        let failed_with = |error| Failure::new(Exit::Failed, error);
        let writer = config.writer().map_err(failed_with)?;
        let is_file = encryption.provider == Provider::File;
        if !is_file && !config.has_rule_for(&encryption.resources) {
            let message = "the inventory says other resources than the configuration encrypts";
            let help = "rotate first, with `resources` as they were";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        let provider = if is_file { writer } else { encryption.provider };
        if !Provider::WITH_KEYS.contains(&provider) {
            let message = format!(
                "a rotation cannot bring in `{}`: it has no key here",
                provider.name()
            );
            let help = "a rotation exchanges one key in the configuration for another: name one of \
                        `aescbc`, `aesgcm` and `secretbox` in `[encryption]`";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        let name = config.free_name();
        let key = KeyName { provider, name };
        desk.local.keep_rotation(Some(&key)).map_err(failed)?;
        Ok(key)
    }
}

/// How a rotation ends that was stopped between two things.
fn early_stop() -> Failure {
    Failure::words(
        Exit::Stopped,
        "stopped on request; every server reads everything",
        "run the same command again: the rotation goes on from there",
    )
}
