//! Versions of releases: three numbers.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::Error;

/// A release of Kubernetes or etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64, pub(crate) u64, pub(crate) u64);

impl Version {
    /// The versions that directories below this one are named after, such as `v1.32.3`, from the
    /// oldest to the newest.
    pub(super) fn all_in(directory: &Path) -> Vec<Self> {
        let items = fs_err::read_dir(directory).into_iter().flatten().flatten();
        let mut versions: Vec<Self> = items
            .filter_map(|item| item.file_name().to_str()?.strip_prefix('v')?.parse().ok())
            .collect();
        versions.sort_unstable();
        versions
    }

    /// The first version in what a program says of itself.
    pub(crate) fn said(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.')
            .find_map(|word| word.parse().ok())
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let numbers: Vec<u64> = text
            .split('.')
            .filter(|part| part.len() < 10 && !part.starts_with('+'))
            .map_while(|part| part.parse().ok())
            .collect();
        match numbers[..] {
            [major, minor, patch] if text.split('.').count() == 3 => Ok(Self(major, minor, patch)),
            _ => Err(Error::Version {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers() {
        assert_eq!("1.32.3".parse::<Version>().unwrap(), Version(1, 32, 3));
        for bad in [
            "", "1.32", "1.32.3.4", "v1.32.3", "1.32.x", "1..3", "+1.2.3",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_programs_say_of_themselves_is_understood() {
        let check = |text, version| assert_eq!(Version::said(text), version);
        check(
            "etcd Version: 3.5.1\nGit SHA: e8732fb5f",
            Some(Version(3, 5, 1)),
        );
        check("Client Version: v1.31.7-eks-1\n", Some(Version(1, 31, 7)));
        check("unknown 3.5", None);
    }
}
