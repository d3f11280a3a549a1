//! The machine architectures kinstall installs for, under Debian's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An architecture, named as Debian names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM, hard float.
    Armhf,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Amd64, Self::Arm64, Self::Armhf];

    /// Debian's name, which is the one users write: `amd64`, `arm64`, `armhf`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
        }
    }

    /// What it is, for those who do not think in Debian's names.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Amd64 => "64-bit x86",
            Self::Arm64 => "64-bit ARM",
            Self::Armhf => "32-bit ARM",
        }
    }

    /// The name in upstream's download paths and Go's `GOARCH`: `amd64`, `arm64`, `arm`.
    pub const fn upstream(self) -> &'static str {
        match self {
            Self::Armhf => "arm",
            other => other.name(),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The word names no architecture that kinstall knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no architecture kinstall installs for; it knows `amd64`, `arm64` and `armhf`")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        let known = Self::ALL.into_iter().find(|arch| arch.name() == text);
        known.ok_or_else(|| UnknownArch(text.to_owned()))
    }
}
