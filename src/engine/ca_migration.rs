//! What `certs move` and `certs rotate-ca` do: other authorities sign, on a cluster that runs.
//!
//! Three rollouts, each node by node: every peer learns to trust both those who sign now and those who
//! will; everything is signed again, once every running peer was seen to take it; the ones before are
//! trusted no more. Where a change stands is told by `pki/`, so that one that was stopped goes on from
//! there, or back.

mod prove;

use std::collections::BTreeSet;

use super::pki::PkiMode;
use super::session::Session;
use super::steps::{self, Left};
use super::{PushOptions, clock, push};
use crate::authority::Local;
use crate::authority::local::{Phase, Step};
use crate::certificate::{self, AuthorityName, Request};
use crate::failure::{Exit, Failure};

/// What `certs move` and `certs rotate-ca` are told beyond what every command is.
#[derive(Clone, Copy)]
pub(crate) struct MigrationOptions<'a> {
    /// The authorities that are to be made again, where that is asked for.
    pub(crate) replaced: Option<&'a [String]>,
    /// The most steps that are taken.
    pub(crate) steps: Option<u32>,
    /// Whether it goes back to who signed before.
    pub(crate) back: bool,
}

/// Has other authorities sign, step by step.
pub(crate) async fn migrate(
    session: &Session<'_>,
    options: MigrationOptions<'_>,
) -> Result<Exit, Failure> {
    let inventory = session.inventory;
    let local = Local::of(inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
    let change = Change {
        requests: certificate::requests(inventory),
        session: session.stoppable(),
        local,
        options,
    };
    change.go().await
}

/// What a change works with.
struct Change<'a> {
    session: Session<'a>,
    requests: Vec<Request>,
    local: Local,
    options: MigrationOptions<'a>,
}

impl Change<'_> {
    async fn go(&self) -> Result<Exit, Failure> {
        if self.local.moving().map_err(failed)?.is_none() && !self.begin()? {
            self.say("nothing to move: the authorities that sign are those of the inventory");
            return self.push().await;
        }
        self.turn()?;
        let mut is_trusted = false;
        let step = async || self.step(&mut is_trusted).await;
        steps::take(&self.session, self.options.steps, step).await
    }

    /// Turns the change round, where it is to lead to the other side.
    fn turn(&self) -> Result<(), Failure> {
        if let Step::Turn(phase) = self.next()? {
            self.say("turned round: going on from where it stands");
            self.local.turn(phase).map_err(failed)?;
        }
        Ok(())
    }

    async fn step(&self, is_trusted: &mut bool) -> Result<Left, Failure> {
        if self.session.stop.is_asked() {
            let message = "stopped on request; every peer trusts every other";
            let help = "run the same command again to go on";
            return Err(Failure::words(Exit::Stopped, message, help));
        }
        match self.next()? {
            Step::Turn(_) => self.turn()?,
            Step::Trust => {
                self.trust().await?;
                *is_trusted = true;
                self.come_to(Phase::Trusted)?;
            }
            Step::Sign => {
                // Somebody may have changed what an earlier run saw.
                if !*is_trusted && !self.is_back()? {
                    self.trust().await?;
                }
                self.sign().await?;
                self.deploy().await?;
            }
            Step::Deploy => self.deploy().await?,
            Step::Close => {
                self.say("3/3 the old authorities are no longer trusted");
                self.push().await?;
                self.local.retire(clock::now()).map_err(failed)?;
                self.say("done: the old authorities are in pki/retired/; everyone with a kubeconfig needs a new one, as from `kinstall kubeconfig --merge`");
                return Ok(Left::Nothing);
            }
        }
        Ok(Left::Steps)
    }

    /// Begins a change, if there is anything to change.
    fn begin(&self) -> Result<bool, Failure> {
        if self.options.back {
            let message = "no change of who signs is under way that could be taken back";
            let help = "what was put away is in `pki/retired/`, and signs no more; `kinstall certs rotate-ca` makes new authorities";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        if !self.local.has_cluster() {
            let message = "there is no cluster yet that could be moved";
            let help =
                "a new cluster starts with the authorities of its inventory: `kinstall push`";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        let replaced = match self.options.replaced {
            Some(names) => self.to_replace(names)?,
            None => BTreeSet::new(),
        };
        let begun = self.local.begin(&self.requests, &replaced, clock::now());
        begun.map_err(failed)
    }

    fn to_replace(&self, names: &[String]) -> Result<BTreeSet<AuthorityName>, Failure> {
        self.local.check_unchanged(&self.requests).map_err(failed)?;
        let replaced = self.local.to_replace(&self.requests, names);
        replaced.map_err(|error| Failure::new(Exit::Usage, error))
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
        if self.options.replaced.is_some() && !is_rotation.map_err(failed)? {
            let message = "another change of who signs is under way";
            let help = "`kinstall certs move` finishes it; replace authorities after that";
            return Err(Failure::words(Exit::Usage, message, help));
        }
        // `rotate-ca` goes forward unless it is told to go back; `move` goes on as it goes.
        let back =
            (self.options.back || self.options.replaced.is_some()).then_some(self.options.back);
        let goal = self.local.goal(&self.requests, moving, back);
        match goal.map_err(failed)? {
            Some(side) if self.options.back && side == moving.goal() && !moving.is_back => {
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
        self.say("1/3 every peer trusts the old and the new authorities");
        let (_, frozen) = Local::frozen(self.session.inventory).map_err(failed)?;
        let session = self.session.with(&frozen);
        push(&session, &PushOptions::of(PkiMode::Frozen))
            .await
            .map(drop)
    }

    /// Has everything signed again and proves that every peer that runs takes it; only then it is what
    /// the cluster is to have.
    async fn sign(&self) -> Result<(), Failure> {
        let signed = self.local.sign_beside(&self.requests, clock::now());
        let credentials = signed.map_err(failed)?;
        let proof = prove::Proof {
            session: &self.session,
            credentials: &credentials,
        };
        let count = proof.run().await?;
        self.say(&format!(
            "proven by {count} handshakes: every peer that runs takes the new certificates"
        ));
        self.local.switch().map_err(failed)
    }

    async fn deploy(&self) -> Result<(), Failure> {
        self.say("2/3 the new authorities sign every certificate");
        self.push().await?;
        self.come_to(Phase::Close)
    }

    fn come_to(&self, phase: Phase) -> Result<(), Failure> {
        self.local.come_to(phase).map_err(failed)
    }

    fn say(&self, line: &str) {
        self.session.note(line);
    }

    async fn push(&self) -> Result<Exit, Failure> {
        push(&self.session, &PushOptions::of(PkiMode::Obtain)).await
    }
}

fn failed(error: crate::authority::Error) -> Failure {
    error.into()
}
