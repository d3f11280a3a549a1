//! Whether what a pin rests on is enough.

use std::collections::BTreeSet;

use super::error::Error;
use super::origin::Origins;
use crate::artifact::{Artifact, Origin, Program};
use crate::lockfile::{Lockfile, Pin, Trust};

/// What is pinned anew although it is pinned already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Update {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything.
    All,
    /// Programs of these names, and what comes in the same archive.
    Programs(BTreeSet<String>),
}

impl Update {
    /// Whether a program is pinned anew.
    pub fn covers(&self, program: &Program) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Programs(names) => names.contains(&program.name),
        }
    }
}

/// What decides.
pub(super) struct Choice<'a> {
    pub(super) origins: &'a Origins<'a>,
    pub(super) lockfile: &'a Lockfile,
    pub(super) update: &'a Update,
    pub(super) require: Option<Trust>,
}

impl Choice<'_> {
    /// Refuses what is known beforehand to rest on too little.
    pub(super) fn check_before<'b>(
        &self,
        artifacts: impl Iterator<Item = &'b Artifact>,
    ) -> Result<(), Error> {
        let weak = artifacts.filter(|artifact| !self.promises_enough(artifact));
        self.refuse(weak.map(|artifact| (artifact, self.lockfile.pin(artifact))))
    }

    /// Refuses pins that rest on too little.
    pub(super) fn check<'b>(
        &self,
        pins: impl Iterator<Item = (&'b Artifact, &'b Pin)>,
    ) -> Result<(), Error> {
        let weak =
            pins.filter(|(artifact, pin)| !self.is_enough(self.origins.trust(artifact, pin)));
        self.refuse(weak.map(|(artifact, pin)| (artifact, Some(pin))))
    }

    fn refuse<'b>(
        &self,
        weak: impl Iterator<Item = (&'b Artifact, Option<&'b Pin>)>,
    ) -> Result<(), Error> {
        let told = |(artifact, pin): (&Artifact, Option<&Pin>)| {
            let trust = pin.map(|pin| self.origins.trust(artifact, pin));
            (artifact.to_string(), trust)
        };
        let weak: Vec<_> = weak.map(told).collect();
        match self.require {
            Some(required) if !weak.is_empty() => Err(Error::Weak {
                required,
                weak,
                rebuilt: self.origins.is_rebuilt(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether a pin of an artifact rests on enough, or a first one will, as far as can be known.
    fn promises_enough(&self, artifact: &Artifact) -> bool {
        if artifact.origin == Origin::Own || self.origins.known(artifact).is_some() {
            return true;
        }
        match self.lockfile.pin(artifact) {
            Some(pin) if *self.update == Update::Nothing => {
                self.is_enough(self.origins.trust(artifact, pin))
                    || self.require == Some(Trust::Published)
                        && self.origins.may_be_published(artifact, pin)
            }
            _ => self.require != Some(Trust::BuiltIn),
        }
    }

    /// The user vouches for a build of their own.
    fn is_enough(&self, trust: Trust) -> bool {
        self.require
            .is_none_or(|required| trust <= required || trust == Trust::Yours)
    }
}
