//! A change of who signs, and where it stands: which of its steps is next, whichever way it goes.
//!
//! Two sides take part: who signs now, in `pki/` itself, and the other, in `pki/next/` until
//! everything is signed by it and in `pki/before/` after. While both are trusted by everybody, one may
//! take the other's place at any time. So a change goes on, and back, by the same steps from anywhere.

use super::super::Error;
use super::Local;
use super::record::{RECORD, Record};
use super::store::{BY_SIGNER, Lock, Store, Write};
use crate::certificate::AuthorityName;
use crate::certificate::table::signer;
use crate::secret::Secret;

/// `PHASE`, and `back` behind it where a change was turned round; empty when nothing changes. Earlier
/// versions wrote `FROM TO` and `trusted` behind it (`earlier.rs`).
pub(super) const MOVING: &str = "moving";

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The other side is complete; some peers may not trust it yet.
    Trust,
    /// Every peer trusts both sides. Who signs now has signed everything, on nodes that were reached.
    Trusted,
    /// The other side takes the place of who signs: a matter of a few renames.
    Switch,
    /// Who signs has changed; some nodes may hold what was signed before.
    Signed,
    /// Every node holds what who signs now has signed; some peers may still trust the other side.
    Close,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Trust,
        Self::Trusted,
        Self::Switch,
        Self::Signed,
        Self::Close,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Trusted => "trusted",
            Self::Switch => "switch",
            Self::Signed => "signed",
            Self::Close => "close",
        }
    }

    /// Whether the other side is still to come.
    pub(super) const fn is_before_signing(self) -> bool {
        matches!(self, Self::Trust | Self::Trusted | Self::Switch)
    }
}

/// A change of who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// How far it has come.
    pub phase: Phase,
    /// Whether it was turned round.
    pub is_back: bool,
}

/// Which side the cluster should end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Who signs now.
    Current,
    /// The other side.
    Other,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Every peer is to trust both sides.
    Trust,
    /// The other side signs everything, and takes its place.
    Sign,
    /// Every node is to hold what who signs now has signed.
    Deploy,
    /// No peer is to trust the other side.
    Close,
    /// The change is to be turned round, to go on from this phase.
    Turn(Phase),
}

impl Moving {
    /// The side that it leads to where it is not turned round now.
    pub const fn goal(self) -> Goal {
        match self.phase {
            Phase::Trust | Phase::Trusted | Phase::Switch => Goal::Other,
            Phase::Signed | Phase::Close => Goal::Current,
        }
    }

    /// What is next on the way to a side.
    pub const fn step(self, goal: Goal) -> Step {
        match (self.phase, goal) {
            (Phase::Trust, Goal::Other) => Step::Trust,
            (Phase::Trusted | Phase::Switch, Goal::Other) => Step::Sign,
            (Phase::Signed, Goal::Current) => Step::Deploy,
            (Phase::Close, Goal::Current) => Step::Close,
            // Nothing that the other side signed has left this machine.
            (Phase::Trust, Goal::Current) => Step::Turn(Phase::Close),
            // Where it was turned round before, some nodes may hold what the other side signed.
            (Phase::Trusted | Phase::Switch, Goal::Current) => Step::Turn(Phase::Signed),
            (Phase::Signed, Goal::Other) => Step::Turn(Phase::Trusted),
            // Some peers may trust the other side no more.
            (Phase::Close, Goal::Other) => Step::Turn(Phase::Trust),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let word = words.next()?;
        let phase = Phase::ALL.into_iter().find(|it| it.word() == word)?;
        let is_back = words.next() == Some("back");
        Some(Self { phase, is_back })
    }

    fn text(self) -> String {
        let back = if self.is_back { " back" } else { "" };
        format!("{}{back}\n", self.phase.word())
    }
}

impl Local {
    /// The change that is under way, if one is.
    pub fn moving(&self) -> Result<Option<Moving>, Error> {
        let text = self.text(MOVING)?.unwrap_or_default();
        Ok(Moving::parse(&text))
    }

    /// Writes down how far a change has come. The lock must be held.
    pub(super) fn keep_moving(&self, moving: Option<Moving>) -> Result<(), Error> {
        let text = moving.map(Moving::text).unwrap_or_default();
        let bytes = Secret::new(text);
        let path = MOVING.to_owned();
        self.store.write_all(&[Write { path, bytes }])
    }

    /// Waits until no other run is at work in `pki/`, and finishes what one left half renamed.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let lock = self.store.lock()?;
        self.settle()?;
        self.store.prepare()?;
        Ok(lock)
    }

    /// Finishes what was left half renamed, if anything was: nobody may look at half of it.
    pub(super) fn settled(&self) -> Result<(), Error> {
        let text = self.text(MOVING)?.unwrap_or_default();
        let moving = Moving::parse(&text);
        let is_whole = moving.map_or(text.trim().is_empty(), |it| it.phase != Phase::Switch);
        if !is_whole {
            drop(self.lock()?);
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), Error> {
        self.understand_earlier()?;
        let Some(moving) = self.moving()? else {
            return Ok(());
        };
        let has = |path: &str| self.store.root(path).exists();
        match moving.phase {
            Phase::Switch => {
                self.store.make("before")?;
                for part in BY_SIGNER {
                    let (next, before) = (format!("next/{part}"), format!("before/{part}"));
                    if has(&next) {
                        if has(part) && !has(&before) {
                            self.store.rename(part, &before)?;
                        }
                        self.store.rename(&next, part)?;
                    }
                }
                self.store.discard("next")?;
                let phase = Phase::Signed;
                self.keep_moving(Some(Moving { phase, ..moving }))
            }
            // A change that was turned round, and stopped before the other side had its name.
            phase => {
                let [from, to] = if phase.is_before_signing() {
                    ["before", "next"]
                } else {
                    ["next", "before"]
                };
                if has(from) && !has(to) {
                    self.store.rename(from, to)?;
                }
                Ok(())
            }
        }
    }

    /// The other side of a change, as long as it is to be trusted.
    pub(super) fn other_side(&self) -> Result<Option<Store>, Error> {
        let side = match self.moving()? {
            _ if self.store.is_beside() => "",
            Some(Moving { phase, .. }) if phase.is_before_signing() => "next",
            Some(Moving {
                phase: Phase::Signed,
                ..
            }) => "before",
            _ => return Ok(None),
        };
        Ok(Some(self.store.side(side)))
    }

    /// Who signs for a set on the other side of a change, in PEM. Sets that have one authority on this
    /// side are told of in one file, so that it holds what any of them has on the other.
    pub(super) fn other_side_of(&self, name: AuthorityName) -> Result<String, Error> {
        let Some(store) = self.other_side()? else {
            return Ok(String::new());
        };
        let missing = |path: &str| Error::NotKept {
            path: store.path(path),
        };
        let read = |path: &str| store.text(path)?.ok_or_else(|| missing(path));
        let mode = Record::parse(&read(RECORD)?).authorities();
        let mode = mode.ok_or_else(|| missing(RECORD))?;
        let own = |name| signer(self.pki.authorities, name);
        let alike = AuthorityName::ALL.into_iter();
        let alike = alike.filter(|other| own(*other) == own(name));
        let signers: std::collections::BTreeSet<_> =
            alike.map(|other| signer(mode, other)).collect();
        let mut all = String::new();
        for signer in signers {
            all += &read(&format!("ca/{signer}.pem"))?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Goal::{Current, Other};

    #[test]
    fn a_change_is_told_by_its_words() {
        for phase in Phase::ALL {
            for is_back in [false, true] {
                let moving = Moving { phase, is_back };
                assert_eq!(Moving::parse(&moving.text()), Some(moving));
            }
        }
        assert_eq!(Moving::parse(""), None);
        assert_eq!(Moving::parse("single separate trusted\n"), None);
    }

    /// What peers trust and hold, as far as they were reached: `false` where it is not known of all.
    #[derive(Clone, Copy)]
    struct Peers {
        trust_other: bool,
        trust_current: bool,
        hold_only_current: bool,
    }

    /// Every way through the phases, turned round anywhere and any number of times: nothing is ever
    /// shown to a peer that may not trust who signed it, and nothing is trusted no more that some node
    /// may hold.
    #[test]
    fn whichever_way_a_change_goes_nobody_is_shown_what_it_does_not_trust() {
        let begin = Moving {
            phase: Phase::Trust,
            is_back: false,
        };
        let peers = Peers {
            trust_other: false,
            trust_current: true,
            hold_only_current: true,
        };
        let mut ends = 0;
        go(begin, peers, 9, &mut ends);
        assert!(ends > 100, "{ends} ways came to an end");
    }

    fn go(moving: Moving, peers: Peers, left: u32, ends: &mut u32) {
        if left == 0 {
            return;
        }
        for goal in [Current, Other] {
            let (mut moving, mut peers) = (moving, peers);
            match moving.step(goal) {
                Step::Trust => {
                    // Stopped in the middle, and brought to its end.
                    go(moving, peers, left - 1, ends);
                    peers.trust_other = true;
                    moving.phase = Phase::Trusted;
                }
                Step::Sign => {
                    assert!(peers.trust_other && peers.trust_current);
                    moving.phase = Phase::Signed;
                    peers.hold_only_current = false;
                    std::mem::swap(&mut peers.trust_other, &mut peers.trust_current);
                }
                Step::Deploy => {
                    assert!(peers.trust_other && peers.trust_current);
                    go(moving, peers, left - 1, ends);
                    peers.hold_only_current = true;
                    moving.phase = Phase::Close;
                }
                Step::Close => {
                    assert!(peers.trust_current && peers.hold_only_current);
                    peers.trust_other = false;
                    go(moving, peers, left - 1, ends);
                    *ends += 1;
                    continue;
                }
                Step::Turn(phase) => {
                    moving.phase = phase;
                    moving.is_back = !moving.is_back;
                    assert_eq!(moving.goal(), goal, "turned round, it leads there");
                }
            }
            go(moving, peers, left - 1, ends);
        }
    }
}
