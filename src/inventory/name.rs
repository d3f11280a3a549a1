//! Names that survive a shell, a unit file, a URL and a certificate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The text is not a name of the kind that was due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {rule}")]
pub struct NotAName {
    /// What was found.
    pub text: String,
    /// What it should have been.
    pub kind: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

const LABEL_RULE: &str =
    "at most 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit";
const DOMAIN_RULE: &str =
    "at most 253 characters: labels of lower-case letters, digits and `-`, joined by dots";

/// Whether a text is an RFC 1123 label: what Kubernetes wants of most names, and host names of.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    let text = text.chars().take(260).collect();
                    Err(NotAName { text, kind: $kind, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;

            fn try_from(text: String) -> Result<Self, NotAName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from($name(text): $name) -> Self {
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A cluster's name: an RFC 1123 label.
    ClusterName, "cluster name", LABEL_RULE, is_label
}
name! {
    /// A node's name: an RFC 1123 label. It is the etcd member's name and the Kubernetes node's.
    NodeName, "node name", LABEL_RULE, is_label
}
name! {
    /// A DNS name: RFC 1123 labels joined by dots.
    DomainName, "domain name", DOMAIN_RULE,
    |text| text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_misread_somewhere_are_refused() {
        for text in [
            "",
            "Az1",
            "az_1",
            "-az",
            "az-",
            "az 1",
            "az1;rm",
            "az%i",
            "$az",
            "é",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<NodeName>().is_err(), "{text}");
        }
        for text in ["", ".", "a..b", "a.b.", "a b.c", "A.b"] {
            assert!(text.parse::<DomainName>().is_err(), "{text}");
        }
        assert_eq!(
            "kube-apiserver.az1.k8s.home"
                .parse::<DomainName>()
                .unwrap()
                .as_str(),
            "kube-apiserver.az1.k8s.home"
        );
    }
}
