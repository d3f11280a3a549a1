//! `kinstall certs move`: from one number of authorities to another, on a cluster that runs.
//!
//! Three rollouts, each node by node: every peer learns to trust the authorities of both; everything
//! is signed by the new ones; the ones before are trusted no more. Where a move stands is told by
//! `pki/`, so that one that was stopped goes on from there, or back.

use std::path::PathBuf;

use clap::Args;
use tokio::sync::watch;

use super::super::carry::stop_on_interrupt;
use super::super::plan::Ask;
use super::super::prepare::{self, Keep, Talk};
use super::super::{Common, Exit, Failure, Login, push};
use crate::authority::Local;
use crate::authority::local::Moving;
use crate::event::{Event, Events};
use crate::inventory::{Authorities, Inventory};
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The inventory
    inventory: PathBuf,
    /// Stop after so many of the three steps; the same command goes on from there
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    #[command(flatten)]
    login: Login,
}

impl Move {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        if !common.limit.is_empty() {
            let message = "`--limit` has no meaning here: every peer must trust the same";
            return Err(Failure::words(Exit::Usage, message, "leave it out"));
        }
        let inventory = prepare::checked_inventory(&self.inventory, terminal)?;
        let local = Local::of(&inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
        if !local.makes_authorities() {
            let message = "the authorities of this cluster are made elsewhere than in `pki/`";
            let help = "this moves a cluster of `from = \"local\"` only; others begin anew";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        let talk = Talk::open(terminal);
        let way = Way {
            inventory: &inventory,
            local,
            login: &self.login,
            common,
            terminal,
            events: &talk.events,
            stop: stop_on_interrupt(talk.events.clone()),
        };
        let outcome = way.go(self.steps.unwrap_or(u32::MAX)).await;
        talk.close().await;
        outcome
    }
}

/// What a move works with.
struct Way<'a> {
    inventory: &'a Inventory,
    local: Local,
    login: &'a Login,
    common: &'a Common,
    terminal: Terminal,
    events: &'a Events,
    /// Becomes true when the user wants to stop.
    stop: watch::Receiver<bool>,
}

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Every peer is to trust both.
    Trust(Moving, Authorities),
    /// Everything is to be signed by the new authorities.
    Sign,
    /// Nothing but a push is left.
    Close,
}

impl Way<'_> {
    async fn go(&self, mut left: u32) -> Result<Exit, Failure> {
        let wanted = self.inventory.pki.authorities;
        loop {
            if *self.stop.borrow() {
                let message = "stopped on request; every peer trusts every other";
                let help = "run the same command again to go on";
                return Err(Failure::words(Exit::Stopped, message, help));
            }
            if left == 0 {
                self.say("stopped as asked; the same command goes on from here");
                return Ok(Exit::Done);
            }
            left -= 1;
            match self.next(wanted)? {
                Step::Trust(moving, mode) => {
                    self.say("1/3 every peer trusts the authorities before and after");
                    self.keep(Some(moving))?;
                    self.push(mode).await?;
                    let is_trusted = true;
                    self.keep(Some(Moving {
                        is_trusted,
                        ..moving
                    }))?;
                }
                Step::Sign => {
                    self.say("2/3 the authorities after sign every certificate anew");
                    self.push(wanted).await?;
                    self.keep(None)?;
                }
                Step::Close => {
                    self.say("3/3 nobody trusts the authorities before any more");
                    self.push(wanted).await?;
                    let word = wanted.name();
                    self.say(&format!("done: `authorities = \"{word}\"`; whoever has a kubeconfig needs it anew, as by `kinstall kubeconfig --merge`"));
                    return Ok(Exit::Done);
                }
            }
        }
    }

    fn next(&self, wanted: Authorities) -> Result<Step, Failure> {
        let failed = |error| Failure::new(Exit::Failed, error);
        let Some(mode) = self.local.mode().map_err(failed)? else {
            let message = "there is no cluster yet that could be moved";
            let help = "a new one begins with the authorities that it shall have: `kinstall push`";
            return Err(Failure::words(Exit::Usage, message, help));
        };
        step(mode, wanted, self.local.moving().map_err(failed)?)
    }

    fn say(&self, line: &str) {
        self.events.send(Event::Note(line.to_owned()));
    }

    fn keep(&self, moving: Option<Moving>) -> Result<(), Failure> {
        let kept = self.local.keep_moving(moving, prepare::now());
        kept.map_err(|error| Failure::new(Exit::Failed, error))
    }

    async fn push(&self, mode: Authorities) -> Result<(), Failure> {
        let mut inventory = self.inventory.clone();
        inventory.pki.authorities = mode;
        let ask = Ask::of(self.login, Keep::Yes);
        let stop = self.stop.clone();
        let (common, terminal, events) = (self.common, self.terminal, self.events);
        push::once(&inventory, ask, common, terminal, events, stop)
            .await
            .map(drop)
    }
}

/// What is next, by the mode on record, the one wanted, and between which two the cluster is.
fn step(mode: Authorities, wanted: Authorities, moving: Option<Moving>) -> Result<Step, Failure> {
    let begin = Moving {
        between: [mode, wanted],
        is_trusted: false,
    };
    match moving {
        None if mode == wanted => Ok(Step::Close),
        None => Ok(Step::Trust(begin, mode)),
        Some(moving) if !moving.between.contains(&wanted) => {
            let [from, to] = moving.between.map(Authorities::name);
            let message = format!("the cluster is on its way from `{from}` to `{to}`");
            let help = "say one of the two in the inventory, and let it come to an end first";
            Err(Failure::words(Exit::Usage, message, help))
        }
        // Signed as wanted, by word at least: some nodes may not have it yet.
        Some(_) if mode == wanted => Ok(Step::Sign),
        Some(moving) if !moving.is_trusted => Ok(Step::Trust(moving, mode)),
        Some(_) => Ok(Step::Sign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Authorities::{Kubeadm, Separate, Single};

    fn moving(is_trusted: bool) -> Moving {
        Moving {
            between: [Single, Separate],
            is_trusted,
        }
    }

    #[test]
    fn a_move_goes_on_or_back_from_wherever_it_was_stopped() {
        let next = |mode, wanted, moving| step(mode, wanted, moving).ok();
        let begun = Step::Trust(moving(false), Single);
        assert_eq!(next(Single, Separate, None), Some(begun));
        let begun = Step::Trust(moving(false), Single);
        assert_eq!(next(Single, Separate, Some(moving(false))), Some(begun));
        for (mode, wanted) in [(Single, Separate), (Separate, Separate), (Separate, Single)] {
            let sign = next(mode, wanted, Some(moving(true)));
            assert_eq!(sign, Some(Step::Sign), "{mode:?} {wanted:?}");
        }
        assert_eq!(next(Single, Single, Some(moving(false))), Some(Step::Sign));
        assert_eq!(next(Separate, Separate, None), Some(Step::Close));
        assert_eq!(next(Single, Kubeadm, Some(moving(true))), None);
    }
}
