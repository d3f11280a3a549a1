//! The names of beds, nodes and their addresses: made once, right for ever.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// Nodes get the addresses `.11` and up; `.1` is this machine.
const FIRST_HOST: u8 = 10;
/// More would run out of addresses (and of machine).
const NODES_MAX: u8 = 200;

/// The name of a bed: it begins the names of its bridge, links and namespaces. An interface's
/// name has 15 characters at most (`IFNAMSIZ`), and `-200t` may follow: so 8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct BedName(String);

/// The `/24` of a bed, as its first three numbers: `10.78.0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Subnet([u8; 3]);

/// The name of a node: `node1`, `node2`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeName(u8);

impl Subnet {
    /// This machine's own address on the bed's bridge.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// The address of a node.
    pub(crate) fn address(&self, node: NodeName) -> Ipv4Addr {
        self.host(FIRST_HOST + node.0)
    }

    fn host(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.0;
        Ipv4Addr::new(a, b, c, last)
    }
}

impl NodeName {
    /// The first `count` nodes.
    pub(crate) fn first(count: u8) -> Result<Vec<Self>, Error> {
        (1..=count).map(Self::numbered).collect()
    }

    /// The number in the name.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The node of that number.
    pub(crate) fn numbered(number: u8) -> Result<Self, Error> {
        if (1..=NODES_MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Error::NodeName {
                text: format!("node{number}"),
            })
        }
    }
}

impl FromStr for BedName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let starts = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        if plain && starts && text.len() <= 8 {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::BedName {
                text: text.to_owned(),
            })
        }
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Subnet {
            text: text.to_owned(),
        };
        let address: Ipv4Addr = format!("{text}.0").parse().map_err(|_| wrong())?;
        let [a, b, c, _] = address.octets();
        // Traffic of a test must stay on this machine.
        if address.is_private() {
            Ok(Self([a, b, c]))
        } else {
            Err(wrong())
        }
    }
}

impl FromStr for NodeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix("node")
            .filter(|digits| !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse().ok())
            .and_then(|number| Self::numbered(number).ok())
            .ok_or_else(|| Error::NodeName {
                text: text.to_owned(),
            })
    }
}

impl TryFrom<String> for BedName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<BedName> for String {
    fn from(name: BedName) -> Self {
        name.0
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for BedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a}.{b}.{c}")
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_are_taken_and_others_refused() {
        for good in ["kin", "a", "bench2", "abcdefgh"] {
            assert_eq!(good.parse::<BedName>().unwrap().to_string(), good);
        }
        for bad in ["", "abcdefghi", "2kin", "Kin", "a-b", "a/b"] {
            assert!(bad.parse::<BedName>().is_err(), "{bad}");
        }
        for bad in [
            "node", "node0", "node01", "node+1", "node201", "node300", "kin1", "",
        ] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_has_an_address_in_its_subnet() {
        let subnet: Subnet = "10.78.0".parse().unwrap();
        let node: NodeName = "node3".parse().unwrap();
        assert_eq!(subnet.address(node).to_string(), "10.78.0.13");
        assert_eq!(subnet.gateway().to_string(), "10.78.0.1");
    }

    #[test]
    fn only_private_subnets_are_taken() {
        for bad in ["8.8.8", "10.78", "10.78.0.0", "10.78.256", "", "x"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
