//! Versions: `1.32.3` is a [`Version`], `1.32` is a [`Minor`]. Kubernetes and etcd both speak of
//! flags, skew and upgrades in minors, so the two are types of their own. Pure.

use std::{fmt, num::ParseIntError, str::FromStr};

use thiserror::Error;

/// A release, e.g. `1.32.3`. A leading `v` is accepted when parsed and never printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
}

/// A line of releases, e.g. `1.32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a version like `{example}`")]
pub struct VersionError {
    text: String,
    example: &'static str,
}

impl Version {
    /// The line of releases this one belongs to.
    pub fn minor(&self) -> Minor {
        Minor {
            major: self.major,
            minor: self.minor,
        }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match numbers(text).as_deref() {
            Ok(&[major, minor, patch]) => Ok(Self {
                major,
                minor,
                patch,
            }),
            _ => Err(VersionError {
                text: text.to_owned(),
                example: "1.32.3",
            }),
        }
    }
}

impl FromStr for Minor {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match numbers(text).as_deref() {
            Ok(&[major, minor]) => Ok(Self { major, minor }),
            _ => Err(VersionError {
                text: text.to_owned(),
                example: "1.32",
            }),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

fn numbers(text: &str) -> Result<Vec<u64>, ParseIntError> {
    text.strip_prefix('v')
        .unwrap_or(text)
        .split('.')
        .map(str::parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers() {
        let version: Version = "1.32.3".parse().unwrap();
        assert_eq!(
            version,
            Version {
                major: 1,
                minor: 32,
                patch: 3
            }
        );
        assert_eq!("v1.32.3".parse::<Version>().unwrap().to_string(), "1.32.3");
        assert_eq!(version.minor().to_string(), "1.32");
        for wrong in ["", "1", "1.32", "1.32.x", "1.32.3.4", "1.32.3-rc.1"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_sort_by_number() {
        assert!("1.9.0".parse::<Version>().unwrap() < "1.10.0".parse().unwrap());
        assert!("3.4".parse::<Minor>().unwrap() < "3.10".parse().unwrap());
    }
}
