//! Where programs are published, with what checksums, and which builds there are.

use std::cmp::Ordering;

use super::PUBLISHERS;
use crate::arch::Arch;
use crate::version::Version;

/// Who publishes programs: a key of `[source]`, with a list of base URLs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Publisher {
    /// The key, which is also the word in a lockfile: `kubernetes`.
    pub name: &'static str,
    /// The base URL, unless the inventory says others.
    pub url: &'static str,
    /// Where the checksum of a file lies.
    pub checksums: Checksums,
}

/// In the order of [`PUBLISHERS`], which is that of a lockfile.
impl Ord for Publisher {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |it: &Self| PUBLISHERS.iter().position(|known| *known == it);
        place(self).cmp(&place(other))
    }
}

impl PartialOrd for Publisher {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a publisher keeps SHA-256 checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksums {
    /// In a file beside each file, whose name has this behind it.
    Beside(&'static str),
    /// In a list of this name in the same directory.
    List(&'static str),
}

/// How the programs of a component are published. In paths `{version}`, `{arch}` (upstream's word)
/// and `{program}` are filled in.
#[derive(Debug)]
pub struct Release {
    /// Who publishes them.
    pub publisher: &'static Publisher,
    /// Where the file lies below a base URL.
    pub path: &'static str,
    /// Where a program lies inside, if the file is an archive.
    pub member: Option<&'static str>,
    /// Builds that there are not.
    pub gaps: &'static [Gap],
}

/// Builds that a publisher does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// For this architecture.
    pub arch: Arch,
    /// After this release; none where there never was one.
    pub last: Option<Version>,
    /// What a user can do.
    pub way_out: &'static str,
}

impl Release {
    /// Where the file with a program lies below a base URL.
    pub fn path(&self, program: &str, version: Version, arch: Arch) -> String {
        filled(self.path, program, version, arch)
    }

    /// Where a program lies inside of the file; none if the file is the program.
    pub fn member(&self, program: &str, version: Version, arch: Arch) -> Option<String> {
        let path = self.member?;
        Some(filled(path, program, version, arch))
    }

    /// Whether nothing was ever built for an architecture.
    pub fn is_never_built(&self, arch: Arch) -> bool {
        let mut gaps = self.gaps.iter();
        gaps.any(|gap| gap.arch == arch && gap.last.is_none())
    }

    /// Why there is no build of a version for an architecture; none where there is one.
    pub fn gap(&self, version: Version, arch: Arch) -> Option<&'static Gap> {
        let mut gaps = self.gaps.iter();
        gaps.find(|gap| gap.arch == arch && gap.last.is_none_or(|last| version > last))
    }
}

fn filled(text: &str, program: &str, version: Version, arch: Arch) -> String {
    text.replace("{version}", &version.to_string())
        .replace("{arch}", arch.upstream())
        .replace("{program}", program)
}
