//! The names that a certificate is valid for, each of its own type, and how Go compares them.

use std::fmt;
use std::net::IpAddr;

use x509_parser::extensions::GeneralName;

use crate::inventory::San;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// A DNS name, whatever it looks like: one that looks like an address serves no address.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A mailbox.
    Email(String),
    /// A URI.
    Uri(String),
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) | Self::Other(text) => {
                f.write_str(text)
            }
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl From<&San> for Name {
    fn from(san: &San) -> Self {
        match san {
            San::Dns(name) => Self::Dns(name.to_string()),
            San::Ip(address) => Self::Ip(*address),
        }
    }
}

impl From<&GeneralName<'_>> for Name {
    fn from(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DNSName(text) => Self::Dns((*text).to_owned()),
            GeneralName::RFC822Name(text) => Self::Email((*text).to_owned()),
            GeneralName::URI(text) => Self::Uri((*text).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                v4.or(v6)
                    .map_or_else(|_| Self::Other(name.to_string()), Self::Ip)
            }
            other => Self::Other(other.to_string()),
        }
    }
}

/// Whether a name of a certificate stands for one that a client goes by (`VerifyHostname`).
pub fn covers(name: &Name, san: &San) -> bool {
    match (name, san) {
        (Name::Ip(found), San::Ip(wanted)) => found.to_canonical() == wanted.to_canonical(),
        (Name::Dns(pattern), San::Dns(host)) => {
            if is_pattern(pattern) {
                matches(pattern, host.as_str())
            } else {
                !pattern.is_empty() && pattern != "." && pattern.eq_ignore_ascii_case(host.as_str())
            }
        }
        _ => false,
    }
}

/// `validHostnamePattern`.
fn is_pattern(name: &str) -> bool {
    let is_label = |(index, label): (usize, &str)| {
        let is_valid = |(at, byte): (usize, u8)| {
            byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' && at != 0
        };
        index == 0 && label == "*" || !label.is_empty() && label.bytes().enumerate().all(is_valid)
    };
    name.split('.').enumerate().all(is_label)
}

/// `matchHostnames`: a star stands for the whole first label.
fn matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if pattern.split('.').count() != host.split('.').count() {
        return false;
    }
    let mut labels = pattern.split('.').zip(host.split('.')).enumerate();
    labels.all(|(index, (label, other))| {
        index == 0 && label == "*" || label.eq_ignore_ascii_case(other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &Name, san: &str, expected: bool) {
        let address = san.parse().map(San::Ip);
        let san = address.unwrap_or_else(|_| San::Dns(san.parse().unwrap()));
        assert_eq!(covers(name, &san), expected, "{name:?} {san}");
    }

    #[test]
    fn names_are_compared_as_go_does() {
        let dns = |text: &str| Name::Dns(text.to_owned());
        check(&dns("Kube.Home"), "kube.home", true);
        check(&dns("*.home"), "kube.home", true);
        check(&dns("*.home"), "a.kube.home", false);
        check(&dns("*"), "kube", true);
        check(&dns("k*.home"), "kube.home", false);
        check(&dns("10.0.0.1"), "10.0.0.1", false);
        check(&dns("kube.home."), "kube.home", false);
        check(&Name::Ip([10, 0, 0, 1].into()), "10.0.0.1", true);
        check(
            &Name::Ip("::ffff:10.0.0.1".parse().unwrap()),
            "10.0.0.1",
            true,
        );
        check(&Name::Ip([10, 0, 0, 1].into()), "10.0.0.2", false);
    }
}
