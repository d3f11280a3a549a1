//! Addresses, names of hosts, networks and URLs, as a user may write them.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::inventory::cluster::Endpoint;
use crate::inventory::name::DomainName;
use crate::inventory::node::San;
use crate::inventory::problem::Problem;
use crate::inventory::table::{At, Found, Value, misleads, refuse, shown};

/// The address of a machine.
pub(super) fn machine(value: &Value<'_>, found: &mut Found) -> Option<At<IpAddr>> {
    let text = value.text(found)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        let message = format!("`{}` is not an IP address", shown(text));
        let help = help_with_address(text);
        return refuse(
            found,
            value.problem("not an IP address", message).help(help),
        );
    };
    if let Some(kind) = unreachable_kind(address) {
        let message = format!("`{address}` is {kind}: no other machine reaches a node there");
        let problem = value.problem(kind, message);
        let help = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map(|v4| format!("write `{v4}`")),
            IpAddr::V4(_) => None,
        };
        let usual = "write the address by which the other nodes reach this one";
        return refuse(
            found,
            problem.help(help.unwrap_or_else(|| usual.to_owned())),
        );
    }
    Some(value.at(address))
}

/// What was probably meant by a text that is no address.
fn help_with_address(text: &str) -> String {
    if let Some((address, _)) = text.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        return format!("leave out the prefix length: `{address}`");
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return format!(
            "write `{}`; a port of sshd goes to `ssh.port`",
            address.ip()
        );
    }
    if text.rsplit('.').next().is_some_and(is_number) {
        return "an IPv4 address is four numbers from 0 to 255, joined by dots".to_owned();
    }
    "put a name into `domain`, for certificates, or `ssh.host`, for reaching the node".to_owned()
}

/// Why nodes cannot reach each other at an address.
fn unreachable_kind(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(_) => false,
        // Without an interface's name a link-local address of IPv6 means nothing.
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let kinds = [
        (address.is_unspecified(), "the unspecified address"),
        (address.is_loopback(), "a loopback address"),
        (address.is_multicast(), "a multicast address"),
        (broadcast, "the broadcast address"),
        (link_local, "a link-local address"),
        (mapped, "an IPv4 address in IPv6's clothes"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind)
}

/// A DNS name.
pub(super) fn domain(value: &Value<'_>, found: &mut Found) -> Option<At<DomainName>> {
    let text = value.text(found)?;
    domain_in(text, value, found).map(|name| value.at(name))
}

/// A DNS name that is a part of a value.
fn domain_in(text: &str, value: &Value<'_>, found: &mut Found) -> Option<DomainName> {
    if text.parse::<IpAddr>().is_ok() {
        let message = format!("`{text}`: expected a DNS name, found an address");
        let help = "an address goes to `address`, or to `sans` for certificates";
        return refuse(found, value.problem("an address", message).help(help));
    }
    match text.parse::<DomainName>() {
        // No top-level domain is a number: this is an address with a slip in it.
        Ok(name) if is_number(name.as_str().rsplit('.').next().unwrap_or_default()) => {
            let message = format!("`{name}` is neither an address nor a DNS name");
            let help = "the last part of a DNS name is no number, and each of an address's four \
                        is at most 255";
            refuse(found, value.problem("ends in a number", message).help(help))
        }
        Ok(name) => Some(name),
        Err(error) => {
            let lower = text.to_lowercase();
            let lower = lower.trim_end_matches('.');
            let valid = lower.parse::<DomainName>().is_ok();
            let help = valid.then(|| format!("write `{lower}`"));
            let message = format!("`{}` is not a {}", shown(text), error.kind);
            let rule = format!("a {} is {}", error.kind, error.rule);
            let problem = value.problem("not a DNS name", message).help(rule);
            refuse(found, problem.maybe_help(help))
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name or an address for a certificate.
pub(super) fn san(value: &Value<'_>, found: &mut Found) -> Option<At<San>> {
    let text = value.text(found)?;
    san_in(text, value, found).map(|san| value.at(san))
}

fn san_in(text: &str, value: &Value<'_>, found: &mut Found) -> Option<San> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => {
            let message = format!("nothing answers at `{address}`");
            refuse(found, value.problem("not an address of a host", message))
        }
        Ok(address) => Some(San::Ip(address)),
        Err(_) => domain_in(text, value, found).map(San::Dns),
    }
}

/// `https://host:port`.
pub(super) fn endpoint(value: &Value<'_>, found: &mut Found) -> Option<At<Endpoint>> {
    let text = value.text(found)?;
    let Some(rest) = text.strip_prefix("https://") else {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let message = format!("`{}` does not begin with `https://`", shown(text));
        let help = format!(
            "kube-apiserver speaks TLS only: write `https://{}`",
            shown(rest)
        );
        return refuse(found, value.problem("not https", message).help(help));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@']) {
        let message = format!("`{}` is more than a host and a port", shown(text));
        let help = "write `https://`, a name or an address, and perhaps `:` and a port";
        return refuse(
            found,
            value.problem("more than host and port", message).help(help),
        );
    }
    let (host, port) = split_port(rest);
    let host = san_in(host, value, found)?;
    let port = match port.map(str::parse) {
        None => Endpoint::PORT,
        Some(Ok(port)) if port != 0 => port,
        Some(_) => {
            let message = format!("`{}` ends in no port", shown(text));
            let help = "ports go from 1 to 65535";
            return refuse(found, value.problem("not a port", message).help(help));
        }
    };
    Some(value.at(Endpoint { host, port }))
}

/// Parts host and port: `name`, `name:1`, `[::1]`, `[::1]:1`, and a bare IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (bracketed, text.rsplit_once(':')) {
        (Some((host, "")), _) => (host, None),
        (Some((host, rest)), _) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        (None, Some((host, port))) => (host, Some(port)),
        (None, None) => (text, None),
    }
}

/// A network of its own, host bits clear.
pub(super) fn network(value: &Value<'_>, found: &mut Found) -> Option<At<IpNet>> {
    let text = value.text(found)?;
    let Ok(network) = text.parse::<IpNet>() else {
        let message = format!("`{}` is not a network", shown(text));
        let help = "write an address and a prefix length: `10.32.0.0/24`, `fd00:32::/112`";
        return refuse(found, value.problem("not a network", message).help(help));
    };
    let whole = network.trunc();
    if whole != network {
        let message = format!("`{network}` is an address inside a network");
        let help = format!("the network is `{whole}`");
        return refuse(found, value.problem("has host bits", message).help(help));
    }
    let address = network.addr();
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        let message = format!("`{network}` is not for addresses of hosts");
        let help = "take a private network that is used nowhere else at your site, as \
                    `10.32.0.0/24`";
        return refuse(
            found,
            value.problem("a special network", message).help(help),
        );
    }
    Some(value.at(network))
}

/// A base URL of a mirror, without a slash at its end.
pub(super) fn source(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let schemes = ["https://", "http://", "file:///"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let problem = match rest {
        None if text.starts_with("file:") => unusable(
            value,
            text,
            "`file://` wants an absolute path, as in `file:///srv/mirror`",
        ),
        None => unusable(
            value,
            text,
            "write `https://`, `http://` or `file://` before it",
        ),
        Some("") => unusable(value, text, "a host or a path is missing"),
        Some(rest) if rest.starts_with('/') => unusable(value, text, "a host is missing"),
        Some(rest) if rest.contains('@') && !text.starts_with("file:") => {
            let help = "a user or a password in it would reach logs and the lockfile: use a \
                        mirror that asks for none, or `file://`";
            unusable(value, "…", help)
        }
        Some(rest) if without_placeholders(rest).chars().any(breaks_url) => unusable(
            value,
            text,
            "spaces, quotes, `?` and `#` cannot stand in it, and in braces only `{version}`, \
             `{arch}` and `{name}`",
        ),
        Some(rest) if rest.contains('{') && !rest.contains("{name}") => unusable(
            value,
            text,
            "a template names the file by `{name}`, as in `https://mirror/{version}/{arch}/{name}`",
        ),
        Some(_) => return Some(value.at(text.trim_end_matches('/').to_owned())),
    };
    refuse(found, problem)
}

fn without_placeholders(text: &str) -> String {
    ["{version}", "{arch}", "{name}"]
        .iter()
        .fold(text.to_owned(), |text, placeholder| {
            text.replace(placeholder, "")
        })
}

fn unusable(value: &Value<'_>, text: &str, help: &str) -> Problem {
    let message = format!("`{}` is not a source that kinstall can read", shown(text));
    value.problem("not such a source", message).help(help)
}

fn breaks_url(character: char) -> bool {
    misleads(character) || character.is_whitespace() || "\"'`<>\\?#{}|^".contains(character)
}
