//! `kinstall.lock`: the size and SHA-256 of everything that was ever downloaded for an inventory.

use std::collections::BTreeMap;

use crate::artifact::Program;
use crate::digest::Digest;

/// What is pinned of a program: enough to plan with, without having it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedProgram {
    /// The SHA-256 of the program itself, not of an archive it came in.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The pins of an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockfile {
    programs: BTreeMap<Program, PinnedProgram>,
}

impl Lockfile {
    /// What is pinned of a program.
    pub fn program(&self, program: &Program) -> Option<PinnedProgram> {
        self.programs.get(program).copied()
    }
}

impl FromIterator<(Program, PinnedProgram)> for Lockfile {
    fn from_iter<I: IntoIterator<Item = (Program, PinnedProgram)>>(pins: I) -> Self {
        Self {
            programs: pins.into_iter().collect(),
        }
    }
}
