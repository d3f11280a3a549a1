//! Name constraints of an authority (RFC 5280, 4.2.1.10), as Go holds to them
//! (`checkNameConstraints` in `verify.go`).

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};

use super::Name;

/// What an authority may sign for.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraints {
    permitted: Vec<Constraint>,
    excluded: Vec<Constraint>,
    /// Whether there is one of a kind that Go does not hold to.
    pub(super) has_unknown: bool,
}

#[derive(Debug, Clone)]
enum Constraint {
    Dns(String),
    Email(String),
    Uri(String),
    Ip { network: Vec<u8>, mask: Vec<u8> },
}

impl Constraints {
    pub(super) fn read(found: &NameConstraints<'_>) -> Result<Self, String> {
        let mut constraints = Self::default();
        let empty = Vec::new();
        let permitted = found.permitted_subtrees.as_ref().unwrap_or(&empty);
        let excluded = found.excluded_subtrees.as_ref().unwrap_or(&empty);
        if permitted.is_empty() && excluded.is_empty() {
            return Err("empty name constraints extension".to_owned());
        }
        constraints.permitted = constraints.values(permitted)?;
        constraints.excluded = constraints.values(excluded)?;
        Ok(constraints)
    }

    fn values(&mut self, subtrees: &[GeneralSubtree<'_>]) -> Result<Vec<Constraint>, String> {
        let mut values = Vec::new();
        for subtree in subtrees {
            let bad = |text: &str| format!("failed to parse the name constraint `{text}`");
            values.push(match &subtree.base {
                GeneralName::DNSName(text) if is_domain(text) => {
                    Constraint::Dns((*text).to_owned())
                }
                GeneralName::URI(text) if is_domain(text) && text.parse::<IpAddr>().is_err() => {
                    Constraint::Uri((*text).to_owned())
                }
                GeneralName::RFC822Name(text)
                    if mailbox(text).is_some() || !text.contains('@') && is_domain(text) =>
                {
                    Constraint::Email((*text).to_owned())
                }
                GeneralName::DNSName(text)
                | GeneralName::URI(text)
                | GeneralName::RFC822Name(text) => return Err(bad(text)),
                GeneralName::IPAddress(bytes) => {
                    if bytes.len() != 8 && bytes.len() != 32 {
                        return Err(format!("IP constraint of length {}", bytes.len()));
                    }
                    let (network, mask) = bytes.split_at(bytes.len() / 2);
                    if !is_mask(mask) {
                        return Err("IP constraint with an invalid mask".to_owned());
                    }
                    let (network, mask) = (network.to_vec(), mask.to_vec());
                    Constraint::Ip { network, mask }
                }
                GeneralName::Invalid(..) => return Err(bad("")),
                _ => {
                    self.has_unknown = true;
                    continue;
                }
            });
        }
        Ok(values)
    }

    /// The first name that they do not allow.
    pub(super) fn forbidden<'n>(&self, names: &'n [Name]) -> Option<&'n Name> {
        names.iter().find(|name| !self.allow(name))
    }

    fn allow(&self, name: &Name) -> bool {
        let is_readable = match name {
            Name::Dns(text) => labels(text).is_some(),
            Name::Email(text) => mailbox(text).is_some(),
            Name::Uri(_) | Name::Ip(_) => true,
            Name::Other(_) => return true,
        };
        let mut of_kind = self.permitted.iter().filter(|it| it.is_of(name)).peekable();
        let none = of_kind.peek().is_none();
        // What cannot be compared is refused by whatever it should be compared with.
        let is_within = none || of_kind.any(|it| it.matches(name) == Some(true));
        let mut excluded = self.excluded.iter().filter(|it| it.is_of(name));
        is_readable && is_within && excluded.all(|it| it.matches(name) == Some(false))
    }
}

impl Constraint {
    const fn is_of(&self, name: &Name) -> bool {
        matches!(
            (self, name),
            (Self::Dns(_), Name::Dns(_))
                | (Self::Email(_), Name::Email(_))
                | (Self::Uri(_), Name::Uri(_))
                | (Self::Ip { .. }, Name::Ip(_))
        )
    }

    fn matches(&self, name: &Name) -> Option<bool> {
        match (self, name) {
            (Self::Dns(domain), Name::Dns(name)) => is_below(name, domain),
            (Self::Uri(domain), Name::Uri(uri)) => is_below(&host(uri)?, domain),
            (Self::Email(constraint), Name::Email(name)) => {
                let (local, domain) = mailbox(name)?;
                match mailbox(constraint) {
                    Some((own, other)) => Some(own == local && other.eq_ignore_ascii_case(domain)),
                    None => is_below(domain, constraint),
                }
            }
            (Self::Ip { network, mask }, Name::Ip(address)) => {
                let bytes = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                let is_same =
                    |((byte, network), mask): ((&u8, &u8), &u8)| byte & mask == network & mask;
                let within = bytes.len() == network.len()
                    && bytes.iter().zip(network).zip(mask).all(is_same);
                Some(within)
            }
            _ => Some(false),
        }
    }
}

/// `matchDomainConstraint`; none where either cannot be read.
fn is_below(name: &str, constraint: &str) -> Option<bool> {
    if constraint.is_empty() {
        return Some(true);
    }
    let name = labels(name)?;
    let bare = constraint.strip_prefix('.');
    let above = labels(bare.unwrap_or(constraint))?;
    let is_long = name.len() > above.len() || bare.is_none() && name.len() == above.len();
    let mut pairs = name.iter().rev().zip(above.iter().rev());
    Some(is_long && pairs.all(|(one, other)| one.eq_ignore_ascii_case(other)))
}

/// `domainToReverseLabels`, not reversed; no label at all of an empty name. Go, which goes from the
/// end, does not notice a period that a name begins with.
fn labels(name: &str) -> Option<Vec<&str>> {
    if name.is_empty() {
        return Some(Vec::new());
    }
    let bare = name.strip_prefix('.').filter(|bare| !bare.is_empty());
    let name = bare.unwrap_or(name);
    let labels: Vec<&str> = name.split('.').collect();
    let is_label =
        |label: &&str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic());
    labels.iter().all(is_label).then_some(labels)
}

fn is_domain(text: &str) -> bool {
    labels(text.strip_prefix('.').unwrap_or(text)).is_some() && text.is_ascii()
}

/// The local part and the domain of a mailbox; those of a quoted local part are not taken apart.
fn mailbox(text: &str) -> Option<(&str, &str)> {
    let (local, domain) = text.split_once('@')?;
    let is_atom =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let is_local = !local.is_empty()
        && local.bytes().all(is_atom)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    (is_local && labels(domain).is_some()).then_some((local, domain))
}

/// The host of a URI, where it has one that is not an address.
fn host(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("//")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_name = !host.is_empty() && !host.starts_with('[') && host.parse::<IpAddr>().is_err();
    is_name.then(|| host.to_owned())
}

/// Ones, then zeros.
fn is_mask(mask: &[u8]) -> bool {
    let bits = |byte: &u8| byte.leading_ones();
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading = mask.iter().take_while(|byte| **byte == 0xff).count();
    let partial = mask.get(leading).map_or(0, bits);
    ones == u32::try_from(8 * leading).unwrap_or(0) + partial
}
