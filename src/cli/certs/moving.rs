//! `kinstall certs move` and `kinstall certs rotate-ca`: others sign, on a cluster that runs.
//!
//! Three rollouts, each node by node: every peer learns to trust both those who sign now and those who
//! will; everything is signed anew, once every running peer was seen to take it; the ones before are
//! trusted no more. Where a change stands is told by `pki/`, so that one that was stopped goes on from
//! there, or back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::watch;

use super::super::carry::stop_on_interrupt;
use super::super::plan::Ask;
use super::super::prepare::{self, Keep, Talk};
use super::super::{Common, Exit, Failure, Login, load, push};
use super::prove;
use crate::authority::Local;
use crate::authority::local::{Phase, Step};
use crate::certificate::{self, AuthorityName, Request};
use crate::event::{Event, Events};
use crate::inventory::Inventory;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The inventory
    inventory: PathBuf,
    #[command(flatten)]
    course: Course,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The inventory
    inventory: PathBuf,
    /// The authorities to make anew, as `list` names them (`etcd`); by default all that kinstall makes
    names: Vec<String>,
    #[command(flatten)]
    course: Course,
}

/// How a change is gone through.
#[derive(Debug, Args)]
struct Course {
    /// Stop after so many of the three steps; the same command goes on from there
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Go back to who signed before; possible until the last step is done
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    login: Login,
}

impl Move {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        run(&self.inventory, &self.course, None, common, terminal).await
    }
}

impl Rotate {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let names = Some(self.names.as_slice());
        run(&self.inventory, &self.course, names, common, terminal).await
    }
}

async fn run(
    path: &Path,
    course: &Course,
    anew: Option<&[String]>,
    common: &Common,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    if !common.limit.is_empty() {
        let message = "`--limit` has no meaning here: every peer must trust the same";
        return Err(Failure::words(Exit::Usage, message, "leave it out"));
    }
    let inventory = load::checked(path, terminal)?;
    let local = Local::of(&inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
    let talk = Talk::open(terminal);
    let change = Change {
        requests: certificate::requests(&inventory),
        inventory: &inventory,
        local,
        course,
        anew,
        common,
        terminal,
        events: &talk.events,
        stop: stop_on_interrupt(talk.events.clone()),
    };
    let outcome = change.go().await;
    talk.close().await;
    outcome
}

/// What a change works with.
struct Change<'a> {
    inventory: &'a Inventory,
    requests: Vec<Request>,
    local: Local,
    course: &'a Course,
    /// The authorities that are to be made anew, where that is asked for.
    anew: Option<&'a [String]>,
    common: &'a Common,
    terminal: Terminal,
    events: &'a Events,
    /// Becomes true when the user wants to stop.
    stop: watch::Receiver<bool>,
}

impl Change<'_> {
    async fn go(&self) -> Result<Exit, Failure> {
        if self.local.moving().map_err(failed)?.is_none() && !self.begin()? {
            self.say("nothing to move: the authorities that sign are those of the inventory");
            return self.push(self.inventory, Keep::Yes).await;
        }
        let mut left = self.course.steps.unwrap_or(u32::MAX);
        let mut is_trusted = false;
        loop {
            if *self.stop.borrow() {
                let message = "stopped on request; every peer trusts every other";
                let help = "run the same command again to go on";
                return Err(Failure::words(Exit::Stopped, message, help));
            }
            let step = self.next()?;
            if left == 0 && !matches!(step, Step::Turn(_)) {
                self.say("stopped as asked; the same command goes on from here");
                return Ok(Exit::Done);
            }
            match step {
                Step::Turn(phase) => {
                    self.say("turned round: going on from where it stands");
                    self.local.turn(phase).map_err(failed)?;
                    continue;
                }
                Step::Trust => {
                    self.trust().await?;
                    is_trusted = true;
                    self.come_to(Phase::Trusted)?;
                }
                Step::Sign => {
                    // Somebody may have changed what an earlier run saw.
                    if !is_trusted && !self.is_back()? {
                        self.trust().await?;
                    }
                    self.sign().await?;
                    self.deploy().await?;
                }
                Step::Deploy => self.deploy().await?,
                Step::Close => {
                    self.say("3/3 nobody trusts the authorities before any more");
                    self.push(self.inventory, Keep::Yes).await?;
                    self.local.retire(prepare::now()).map_err(failed)?;
                    self.say("done: the authorities before are in pki/retired/; whoever has a kubeconfig needs it anew, as by `kinstall kubeconfig --merge`");
                    return Ok(Exit::Done);
                }
            }
            left -= 1;
        }
    }

    /// Begins a change, if there is anything to change.
    fn begin(&self) -> Result<bool, Failure> {
        if self.course.back {
            let message = "no change of who signs is under way that could be taken back";
            let help = "what was put away is in `pki/retired/`, and signs no more; `kinstall certs rotate-ca` makes new authorities";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        if !self.local.has_cluster() {
            let message = "there is no cluster yet that could be moved";
            let help = "a new one begins with the authorities that it shall have: `kinstall push`";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        let anew = match self.anew {
            Some(names) => self.to_make_anew(names)?,
            None => BTreeSet::new(),
        };
        let begun = self.local.begin(&self.requests, &anew, prepare::now());
        begun.map_err(failed)
    }

    fn to_make_anew(&self, names: &[String]) -> Result<BTreeSet<AuthorityName>, Failure> {
        self.local.check_unchanged(&self.requests).map_err(failed)?;
        let anew = self.local.to_make_anew(&self.requests, names);
        anew.map_err(|error| Failure::new(Exit::Usage, error))
    }

    fn next(&self) -> Result<Step, Failure> {
        let moving = self.local.moving().map_err(failed)?;
        let Some(moving) = moving else {
            let message = "another run has brought the change to its end";
            return Err(Failure::words(
                Exit::Failed,
                message,
                "see `kinstall status`",
            ));
        };
        let is_rotation = self.local.is_rotation(&self.requests, moving);
        if self.anew.is_some() && !is_rotation.map_err(failed)? {
            let message = "another change of who signs is under way";
            let help =
                "`kinstall certs move` brings it to its end; make authorities anew after that";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        // `rotate-ca` goes forward unless it is told to go back; `move` goes on as it goes.
        let back = (self.course.back || self.anew.is_some()).then_some(self.course.back);
        let goal = self.local.goal(&self.requests, moving, back);
        match goal.map_err(failed)? {
            Some(side) if self.course.back && side == moving.goal() && !moving.is_back => {
                let message = "the inventory says where this change leads to, and that is not back";
                let help = "put the inventory back as it was, and run the same command";
                Err(Failure::words(Exit::Usage, message, help))
            }
            Some(goal) => Ok(moving.step(goal)),
            None => {
                let message = "another change of who signs is under way, and the inventory leads to neither of its two ends";
                let help = "say one of the two in the inventory, and let it come to an end first";
                Err(Failure::words(Exit::Usage, message, help))
            }
        }
    }

    fn is_back(&self) -> Result<bool, Failure> {
        let moving = self.local.moving().map_err(failed)?;
        Ok(moving.is_some_and(|it| it.is_back))
    }

    /// Has every peer trust both sides; what nodes show stays as it is.
    async fn trust(&self) -> Result<(), Failure> {
        self.say("1/3 every peer trusts the authorities before and after");
        let (_, frozen) = Local::frozen(self.inventory).map_err(failed)?;
        self.push(&frozen, Keep::Frozen).await.map(drop)
    }

    /// Has everything signed anew and proves that every peer that runs takes it; only then it is what
    /// the cluster is to have.
    async fn sign(&self) -> Result<(), Failure> {
        let signed = self.local.sign_beside(&self.requests, prepare::now());
        let credentials = signed.map_err(failed)?;
        let proof = prove::Proof {
            inventory: self.inventory,
            credentials: &credentials,
            login: &self.course.login,
            common: self.common,
            events: self.events,
        };
        let count = proof.run().await?;
        self.say(&format!(
            "proven by {count} handshakes: every peer that runs takes the new certificates"
        ));
        self.local.switch().map_err(failed)
    }

    async fn deploy(&self) -> Result<(), Failure> {
        self.say("2/3 the authorities after sign every certificate anew");
        self.push(self.inventory, Keep::Yes).await?;
        self.come_to(Phase::Close)
    }

    fn come_to(&self, phase: Phase) -> Result<(), Failure> {
        self.local.come_to(phase).map_err(failed)
    }

    fn say(&self, line: &str) {
        self.events.send(Event::Note(line.to_owned()));
    }

    async fn push(&self, inventory: &Inventory, keep: Keep<'_>) -> Result<Exit, Failure> {
        let ask = Ask::of(&self.course.login, keep);
        let stop = self.stop.clone();
        let (common, terminal, events) = (self.common, self.terminal, self.events);
        push::once(inventory, ask, common, terminal, events, stop).await
    }
}

fn failed(error: crate::authority::Error) -> Failure {
    error.into()
}
