//! A node as a machine: switching it on, waiting for it, switching it off, running things in it.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Bed;
use super::disk::{self, Origin};
use super::error::Error;
use super::name::NodeName;
use super::{cgroup, legacy, network, shape};
use crate::command::{Program, last_lines, poll};

/// A node boots in about a second; many at once on a busy machine take longer.
const BOOT_SECONDS: u64 = 120;
/// How much of the console an error repeats.
const CONSOLE_LINES: usize = 12;

/// The keeper of a node: what mounts its disk and runs systemd-nspawn.
const KEEPER: &str = include_str!("keeper.sh");
/// The first process of a node.
const INIT: &str = include_str!("init.sh");

/// Switches a node on and waits until it is booted, sshd answers, and its cable is shaped as it
/// was. A cable that was cut is whole again.
pub(super) fn power_on(bed: &Bed, node: NodeName) -> Result<(), Error> {
    let origin = Origin::of(bed, node)?;
    if origin.options.no_systemd {
        disk::show_systemd(bed, node)?;
    }
    disk::mount_small(bed, node, &origin)?;
    network::plug(bed.name(), bed.subnet(), node)?;
    bed.group(node).make()?;
    legacy::make(bed.place(), bed.name(), node)?;
    start_keeper(bed, node, &origin)?;
    await_boot(bed, node)?;
    if origin.options.no_systemd {
        let script = "rm -f /usr/bin/systemctl; mv /run/systemd/system /run/systemd/hidden";
        inside(bed, node, 20)?.args(["sh", "-c", script]).done()?;
    }
    shape::restore(bed, node)
}

/// Switches a node off as a power loss does: the cable goes first, so that no farewell leaves the
/// node, then all of its processes at once.
pub(super) fn power_off(bed: &Bed, node: NodeName) -> Result<(), Error> {
    let link = network::link(bed.name(), node);
    if network::exists(&link) {
        network::set(&link, false)?;
    }
    let group = bed.group(node);
    if !group.kill()? {
        return Err(Error::Alive {
            node,
            limit_seconds: cgroup::KILL_SECONDS,
        });
    }
    group.remove()?;
    legacy::remove(bed.place(), bed.name(), node)?;
    network::unplug(bed.name(), node)
}

/// Whether the node is switched on.
pub(super) fn is_on(bed: &Bed, node: NodeName) -> bool {
    bed.group(node).part("machine").is_populated()
}

/// A program that enters the node and then runs the arguments still to be added, as root. It ends
/// after `limit_seconds`, inside the node too.
pub(super) fn inside(bed: &Bed, node: NodeName, limit_seconds: u64) -> Result<Program, Error> {
    let init = init(bed, node).ok_or(Error::Off { node })?;
    let limit = limit_seconds.to_string();
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    Ok(Program::new("nsenter")
        .args([
            "--target",
            &init.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
        ])
        .args([
            "--cgroup",
            "--root",
            "--wd",
            "--",
            "/usr/bin/env",
            "--ignore-environment",
        ])
        .args(["HOME=/root", "LANG=C.UTF-8"])
        .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .arg(format!("TERM={terminal}"))
        .args(["timeout", "--foreground", "--kill-after=2", &limit])
        .limit_seconds(limit_seconds + 5))
}

/// What systemd in the node says of itself: `running`, `degraded`, `starting` and so on.
pub(super) fn system_state(bed: &Bed, node: NodeName) -> Option<String> {
    let ask = inside(bed, node, 20)
        .ok()?
        .args(["systemctl", "is-system-running"]);
    Some(ask.output().ok()?.stdout.trim().to_owned())
}

/// The node's console, all boots in one.
pub(super) fn console(bed: &Bed, node: NodeName) -> Result<String, Error> {
    let log = fs_err::read(bed.place().node(node).join("console.log"))?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}

/// Starts the keeper in a session of its own: neither our end nor a Ctrl-C switches a node off.
fn start_keeper(bed: &Bed, node: NodeName, origin: &Origin) -> Result<(), Error> {
    let small = if origin.options.small_disk.is_some() {
        "yes"
    } else {
        "no"
    };
    let keeper = Program::new("setsid")
        .args(["--fork", "unshare", "--mount", "--propagation", "private"])
        .args(["sh", "-c", KEEPER, "keeper"])
        .arg(bed.place().node(node))
        .arg(&origin.base)
        .args([bed.name().to_string(), node.to_string()])
        .arg(network::namespace_path(bed.name(), node))
        .args([network::link(bed.name(), node), small.to_owned()])
        .arg(bed.place().legacy())
        .arg(INIT);
    Ok(keeper.done()?)
}

fn await_boot(bed: &Bed, node: NodeName) -> Result<(), Error> {
    let address = SocketAddr::from((bed.address(node), 22));
    let mut lacking = "systemd-nspawn has not started".to_owned();
    let mut was_on = false;
    let up = poll(Duration::from_secs(BOOT_SECONDS), || {
        if !is_on(bed, node) {
            // A machine that was on and is off will not come up any more: no need to wait.
            return was_on.then_some(false);
        }
        was_on = true;
        if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            lacking = format!("no sshd at {address} ({error})");
            return None;
        }
        let state = system_state(bed, node).unwrap_or_default();
        lacking = format!("systemd says `{state}`");
        matches!(state.as_str(), "running" | "degraded").then_some(true)
    });
    match up {
        Some(true) => Ok(()),
        other => {
            let lacking = match other {
                Some(_) => "it switched itself off".to_owned(),
                None => format!("{lacking}, after {BOOT_SECONDS} s"),
            };
            let console = last_lines(&console(bed, node).unwrap_or_default(), CONSOLE_LINES);
            Err(Error::Boot {
                node,
                lacking,
                console,
            })
        }
    }
}

/// The node's systemd, as this machine numbers it: the process that is number 1 one level down.
fn init(bed: &Bed, node: NodeName) -> Option<u32> {
    let processes = bed.group(node).part("machine").processes();
    processes.into_iter().find(|process| {
        let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        is_init(&status)
    })
}

/// `NSpid:` lists a process's number in each namespace, ours first (proc(5)).
fn is_init(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers: Vec<&str> = numbers.unwrap_or_default().split_whitespace().collect();
    matches!(numbers[..], [_, "1"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_one_level_down_is_init() {
        assert!(is_init("Name:\tsystemd\nNSpid:\t4711\t1\n"));
        assert!(!is_init("NSpid:\t1\n"));
        assert!(!is_init("NSpid:\t4711\t12\n"));
        assert!(!is_init("NSpid:\t4711\t12\t1\n"));
        assert!(!is_init(""));
    }
}
