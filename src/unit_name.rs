//! The names of systemd services.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::remote_path::RemotePath;

/// A systemd service, by its full name: `etcd.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct UnitName(String);

impl UnitName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the unit file lies.
    pub fn path(&self) -> RemotePath {
        RemotePath::fixed(UNITS)
            .join(&self.0)
            .expect("the name of a unit is that of a file")
    }

    /// Where its drop-ins lie (`systemd.unit(5)`).
    pub fn drop_ins(&self) -> RemotePath {
        RemotePath::fixed(UNITS)
            .join(&format!("{}.d", self.0))
            .expect("the name of a unit is that of a file")
    }
}

/// Where the administrator's units lie.
const UNITS: &str = "/etc/systemd/system";

impl FromStr for UnitName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let stem = text.strip_suffix(".service").unwrap_or_default();
        if !stem.is_empty() && stem.bytes().all(plain) && !stem.starts_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not the name of a service"))
        }
    }
}

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
