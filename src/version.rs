//! Versions of Kubernetes and etcd: three numbers. Pre-releases are not installed by kinstall.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release, as in `1.36.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// The first number.
    pub major: u64,
    /// The second number: what version skew is counted in.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
}

/// A line of releases, as in `1.32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minor {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

impl Version {
    /// A version of three numbers.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The line of releases it belongs to.
    pub const fn minor(&self) -> Minor {
        Minor {
            major: self.major,
            minor: self.minor,
        }
    }
}

impl Minor {
    /// A line of two numbers.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }
}

/// The text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of the form `{1}`")]
pub struct NotAVersion(pub String, pub &'static str);

fn numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut words = text.split('.');
    for number in &mut numbers {
        let word = words.next()?;
        let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = word == "0" || !word.starts_with('0');
        *number = word.parse().ok().filter(|_| plain && canonical)?;
    }
    words.next().is_none().then_some(numbers)
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let refuse = || NotAVersion(text.to_owned(), "1.36.3");
        let [major, minor, patch] = numbers(text).ok_or_else(refuse)?;
        Ok(Self {
            major,
            minor,
            patch,
        })
    }
}

impl FromStr for Minor {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let refuse = || NotAVersion(text.to_owned(), "1.32");
        let [major, minor] = numbers(text).ok_or_else(refuse)?;
        Ok(Self { major, minor })
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number_not_by_text() {
        let [nine, ten]: [Version; 2] = ["1.9.10", "1.10.9"].map(|text| text.parse().unwrap());
        assert!(nine < ten);
        assert_eq!(ten.to_string(), "1.10.9");
        assert_eq!(ten.minor(), "1.10".parse().unwrap());
    }

    #[test]
    fn anything_but_three_plain_numbers_is_refused() {
        for text in [
            "",
            "1",
            "1.2",
            "v1.2.3",
            "1.2.3-rc.1",
            "1.02.3",
            "1.+2.3",
            "1.2.3.4",
            "1..3",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
