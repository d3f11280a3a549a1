//! What `encryption rotate` does: one key exchanged for another.
//!
//! A rotation follows upstream's order for several servers
//! (<https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#rotating-a-decryption-key>):
//! the new key is read everywhere before it writes anywhere, everything is rewritten with it, and
//! only then does the old one go. Where a rotation stands is told by the configuration itself, so
//! that one that was stopped goes on from there.

use super::servers::Servers;
use super::{Keys, failed, rewrite};
use crate::apply::Failpoint;
use crate::encryption::{Config, KeyName, Standing};
use crate::engine::pki::PkiMode;
use crate::engine::session::Session;
use crate::engine::steps::{self, Left};
use crate::engine::{PushOptions, push};
use crate::failure::{Exit, Failure};
use crate::inventory::Provider;

/// Exchanges the key, in at most so many steps.
pub(crate) async fn rotate(session: &Session<'_>, steps: Option<u32>) -> Result<Exit, Failure> {
    let rotation = Rotation {
        keys: Keys::of(session.inventory)?,
        // One for all of it: a wish to stop is heard between two pushes too.
        session: session.stoppable(),
        failpoint: Failpoint::from_environment(),
    };
    rotation.come_to("begin").await?;
    let key = rotation.begin()?;
    let step = async || rotation.step(&key).await;
    steps::take(&rotation.session, steps, step).await
}

/// What a rotation works with.
struct Rotation<'a> {
    keys: Keys,
    session: Session<'a>,
    /// Where it is held, for tests.
    failpoint: Failpoint,
}

impl Rotation<'_> {
    async fn step(&self, key: &KeyName) -> Result<Left, Failure> {
        let (_, config) = self.keys.config()?;
        match config.standing(key) {
            Standing::Absent => {
                self.say(format!("1/5 every server learns to read with {key}"));
                let secret = self.keys.local.encryption_key().map_err(failed)?;
                let add = |config: &mut Config| config.add(key, secret.expose());
                self.keep("learn", config, add).await?;
            }
            Standing::Reads => {
                self.everywhere(None).await?;
                self.say(format!("2/5 every server writes with {key}"));
                self.keep("promote", config, |config| config.promote(key))
                    .await?;
            }
            Standing::Writes => {
                self.everywhere(Some((&config, key))).await?;
                self.say("4/5 every server forgets the old key");
                self.keep("forget", config, |config| config.keep_only(key))
                    .await?;
            }
            Standing::Alone => {
                self.everywhere(None).await?;
                self.come_to("close").await?;
                self.keys.local.keep_rotation(None).map_err(failed)?;
                self.say(format!("5/5 done: {key} alone encrypts"));
                return Ok(Left::Nothing);
            }
        }
        Ok(Left::Steps)
    }

    fn say(&self, line: impl Into<String>) {
        self.session.note(line);
    }

    /// A moment between two things, at which a rotation can be stopped.
    async fn come_to(&self, what: &str) -> Result<(), Failure> {
        self.failpoint.before("rotation", what).await;
        if self.session.stop.is_asked() {
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
        self.keys
            .local
            .keep_encryption(&config.write())
            .map_err(failed)
    }

    /// Has every server run on what is kept, one after the other, and proves that it does. Then,
    /// if that is asked for, has everything rewritten with a key.
    async fn everywhere(&self, replaced: Option<(&Config, &KeyName)>) -> Result<(), Failure> {
        // Not verified: what it has to know of a node is proven in deed below.
        push(&self.session, &PushOptions::of(PkiMode::Obtain)).await?;
        self.come_to("prove").await?;
        // Nothing of this leaves anything half done: anyone who wants to stop need not wait.
        tokio::select! {
            done = self.proven(replaced) => done,
            () = self.session.stop.asked() => Err(early_stop()),
        }
    }

    async fn proven(&self, replaced: Option<(&Config, &KeyName)>) -> Result<(), Failure> {
        let (text, _) = self.keys.config()?;
        let servers = Servers::reach(&self.session).await?;
        let count = servers.prove(&text).await?;
        self.say(format!(
            "proven on {count} kube-apiservers: what each writes, all read"
        ));
        if let Some((config, key)) = replaced {
            self.say("3/5 everything that is encrypted is rewritten");
            self.rewrite(&servers, config, key).await?;
        }
        servers.close().await;
        Ok(())
    }

    /// Writes everything again, and makes sure that nothing is left of another key.
    async fn rewrite(
        &self,
        servers: &Servers,
        config: &Config,
        key: &KeyName,
    ) -> Result<(), Failure> {
        self.come_to("rewrite").await?;
        let api = servers.any_api().await?;
        let count = rewrite::all(&api, &config.encrypted()).await?;
        self.say(format!("rewrote {}", crate::plain::count(count, "object")));
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
                    to; run the same command again once they are rewritten or gone";
        Err(Failure::words(Exit::Failed, message, help))
    }

    /// The key to bring in: the one of a rotation that was stopped, or a new one.
    fn begin(&self) -> Result<KeyName, Failure> {
        let keys = &self.keys;
        if let Some(key) = keys.local.rotation().map_err(failed)? {
            self.say(format!("going on with {key}"));
            return Ok(key);
        }
        let (_, config) = keys.config()?;
        let encryption = &self.session.inventory.encryption;
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
        keys.local.keep_rotation(Some(&key)).map_err(failed)?;
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
