//! What a unit and its surroundings rely on: ports, addresses and directories that a flag may
//! change, but not to anything.

use std::net::IpAddr;

use super::Finding;
use super::command::Case;
use crate::component::{Component, Data};
use crate::flags::Severity;
use crate::manifest::{By, Given};

/// The first port that a program without privileges may listen on.
const PORT_MIN: u16 = 1024;

/// What makes a program print something and end.
const NO_SERVICE: [&str; 3] = ["help", "h", "version"];

/// Directories that a unit hides from its program (`ProtectHome=`, `PrivateTmp=`).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// All that etcd's unit lets it see (`RootDirectory=`, `BindReadOnlyPaths=`).
const SEEN_BY_ETCD: [&str; 5] = ["/etc/etcd", "/var/lib/etcd", "/usr", "/dev", "/proc"];

/// What is wrong with the flags that the user gave.
pub(super) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let given = case.command.flags.iter();
    let users = given.filter(|given| given.by == By::User);
    users
        .flat_map(|given| {
            [
                no_service(case, given),
                port(case, given),
                address(case, given),
                client_urls(case, given),
                written(case, given),
                hidden(case, given),
            ]
        })
        .flatten()
        .collect()
}

fn error(case: &Case<'_>, given: &Given, message: String, help: &str) -> Finding {
    let place = case.value_place(&given.name);
    case.finding(Severity::Error, place, message, Some(help.to_owned()))
}

fn warning(case: &Case<'_>, given: &Given, message: String, help: String) -> Finding {
    let place = case.value_place(&given.name);
    case.finding(Severity::Warning, place, message, Some(help))
}

fn no_service(case: &Case<'_>, given: &Given) -> Option<Finding> {
    NO_SERVICE.contains(&given.name.as_str()).then(|| {
        let (component, name) = (case.component.name, &given.name);
        let message = format!("with `--{name}` {component} says something and ends");
        error(case, given, message, "leave it out")
    })
}

/// Programs run as users of their own, and without the capability to bind low ports.
fn port(case: &Case<'_>, given: &Given) -> Option<Finding> {
    let port = given.value.parse::<u16>().ok().filter(|port| *port != 0);
    let port = port.filter(|port| given.name == "secure-port" && *port < PORT_MIN)?;
    let component = case.component.name;
    let message = format!("{component} cannot listen on port {port}: it runs without privileges");
    let help = "take a port from 1024 up; a balancer in front of it may answer on any port";
    Some(error(case, given, message, help))
}

/// Health is asked for on 127.0.0.1, and the controllers find their kube-apiserver there.
fn address(case: &Case<'_>, given: &Given) -> Option<Finding> {
    if given.name != "bind-address" || case.component.name == "etcd" {
        return None;
    }
    let address: IpAddr = given.value.trim().parse().ok()?;
    let answers = address.is_unspecified() || address == IpAddr::from([127, 0, 0, 1]);
    (!answers).then(|| {
        let component = case.component.name;
        let message = format!("{component} would not answer on 127.0.0.1");
        let help = "kinstall asks there whether it is healthy: take `0.0.0.0` or `127.0.0.1`, and \
                    keep others out with `networks`";
        error(case, given, message, help)
    })
}

fn client_urls(case: &Case<'_>, given: &Given) -> Option<Finding> {
    if given.name != "listen-client-urls" {
        return None;
    }
    let hosts = ["127.0.0.1", "0.0.0.0", "localhost", "[::]"];
    let local = hosts.map(|host| format!("https://{host}:2379"));
    let mut urls = given.value.split(',');
    let answers = urls.any(|url| local.iter().any(|local| url.trim() == local));
    (!answers).then(|| {
        let message = "etcd would not answer on `https://127.0.0.1:2379`".to_owned();
        let help = "kinstall asks there whether it is healthy: add that URL";
        error(case, given, message, help)
    })
}

/// What a flag names of what a component writes, and where alone its unit lets it write.
fn data_of(component: &Component, flag: &str) -> Option<&'static Data> {
    let mut data = component.service.iter().flat_map(|service| service.data);
    data.find(|data| data.flags.contains(&flag))
}

fn written(case: &Case<'_>, given: &Given) -> Option<Finding> {
    let directory = data_of(case.component, &given.name)?.directory;
    let component = case.component.name;
    let path = given.value.as_str();
    let inside = path == directory || path.starts_with(&format!("{directory}/"));
    let somewhere_else = path.starts_with('/') && (!inside || path.contains("/.."));
    somewhere_else.then(|| {
        let message = format!(
            "{component} may not write `{path}`: its unit lets it write below `{directory}` only"
        );
        let directive = if component == "etcd" {
            "BindPaths="
        } else {
            "ReadWritePaths="
        };
        let help = format!(
            "mount the disk at `{directory}`, or add a drop-in of your own with `{directive}`"
        );
        warning(case, given, message, help)
    })
}

fn hidden(case: &Case<'_>, given: &Given) -> Option<Finding> {
    let path = given.value.as_str();
    let is_below = |directory: &&&str| {
        let rest = path.strip_prefix(**directory);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let component = case.component.name;
    if component == "etcd"
        && path.starts_with('/')
        && data_of(case.component, &given.name).is_none()
    {
        let seen = SEEN_BY_ETCD.iter().any(|directory| is_below(&directory));
        return (!seen).then(|| {
            let message =
                format!("etcd does not see `{path}`: its unit gives it a root of its own");
            let help = "put the file below `/etc/etcd`, readable for the user `etcd`, or add a \
                        drop-in of your own with `BindReadOnlyPaths=`";
            warning(case, given, message, help.to_owned())
        });
    }
    let directory = HIDDEN.iter().find(is_below)?;
    let message = format!("{component} does not see `{path}`: its unit hides `{directory}`");
    let help = "put the file below `/etc`, readable for the program's user".to_owned();
    Some(warning(case, given, message, help))
}
