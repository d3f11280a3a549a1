//! Slow cables: a rate and a delay for each direction of a node's cable.
//!
//! The kernel's netem does it where there is one. Without it a rate alone is tbf's work, and a
//! delay that of a small program of ours (`shaper.c`), compiled the first time it is needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Bed;
use super::error::Error;
use super::host::{self, Tool};
use super::name::NodeName;
use super::network;
use super::state::{Cache, load, short_digest, store};
use crate::command::{Program, last_lines, poll};

const SOURCE: &str = include_str!("shaper.c");
const START_SECONDS: u64 = 5;
/// What a compiler takes, and the package for each part.
const COMPILER: &[Tool] = &[
    Tool {
        command: "cc",
        package: "gcc",
    },
    Tool {
        command: "/usr/include/stdio.h",
        package: "libc6-dev",
    },
];

/// How slow a cable is, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// Bits a second.
    rate_bits: u64,
    /// Microseconds from one end to the other.
    delay_us: u64,
}

impl Shape {
    /// A shape from words such as `100mbit` and `5ms`.
    pub(crate) fn new(rate: &str, delay: &str) -> Result<Self, Error> {
        let rates = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)];
        let delays = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
        let rate_bits = quantity(rate, &rates).filter(|bits| *bits > 0);
        let wrong = |text: &str, what, example| {
            let text = text.to_owned();
            Error::Quantity {
                text,
                what,
                example,
            }
        };
        Ok(Self {
            rate_bits: rate_bits.ok_or_else(|| wrong(rate, "a rate", "100mbit"))?,
            delay_us: quantity(delay, &delays).ok_or_else(|| wrong(delay, "a delay", "5ms"))?,
        })
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}bit/{}us", self.rate_bits, self.delay_us)
    }
}

/// Makes ready what shaping takes on this machine.
pub(super) fn setup(cache: &Cache) -> Result<(), Error> {
    if !has_netem() {
        shaper(cache)?;
    }
    Ok(())
}

/// The shape a node's cable was given, if any.
pub(super) fn recorded(bed: &Bed, node: NodeName) -> Result<Option<Shape>, Error> {
    load(&record(bed, node))
}

/// Gives a node's cable a shape, or takes it away, and remembers it for the node's next boot.
pub(super) fn set(bed: &Bed, node: NodeName, shape: Option<Shape>) -> Result<(), Error> {
    clear(bed, node)?;
    match shape {
        Some(shape) => {
            apply(bed, node, shape)?;
            store(&record(bed, node), &shape)
        }
        None if record(bed, node).exists() => Ok(fs_err::remove_file(record(bed, node))?),
        None => Ok(()),
    }
}

/// Gives a newly plugged cable the shape that is remembered for it.
pub(super) fn restore(bed: &Bed, node: NodeName) -> Result<(), Error> {
    match recorded(bed, node)? {
        Some(shape) => apply(bed, node, shape),
        None => Ok(()),
    }
}

fn record(bed: &Bed, node: NodeName) -> PathBuf {
    bed.place().node(node).join("shape.json")
}

fn apply(bed: &Bed, node: NodeName, shape: Shape) -> Result<(), Error> {
    let Shape {
        rate_bits,
        delay_us,
    } = shape;
    if has_netem() {
        queue(
            bed,
            node,
            &format!("netem rate {rate_bits}bit delay {delay_us}us limit 20000"),
        )
    } else if delay_us == 0 {
        queue(
            bed,
            node,
            &format!("tbf rate {rate_bits}bit burst 128k latency 100ms"),
        )
    } else {
        start_shaper(bed, node, shape)
    }
}

/// Puts a queueing discipline on both ends of the cable.
fn queue(bed: &Bed, node: NodeName, discipline: &str) -> Result<(), Error> {
    let (link, namespace) = (
        network::link(bed.name(), node),
        network::namespace(bed.name(), node),
    );
    let words = || discipline.split(' ');
    Program::new("tc")
        .args(["qdisc", "add", "dev", &link, "root"])
        .args(words())
        .done()?;
    let inside = Program::new("tc").args(["-netns", &namespace, "qdisc", "add", "dev", "eth0"]);
    Ok(inside.arg("root").args(words()).done()?)
}

/// Undoes any shaping: a plain cable on the bridge.
fn clear(bed: &Bed, node: NodeName) -> Result<(), Error> {
    let (link, namespace) = (
        network::link(bed.name(), node),
        network::namespace(bed.name(), node),
    );
    if !bed.group(node).part("shaper").kill()? {
        return Err(Error::Alive {
            node,
            limit_seconds: super::cgroup::KILL_SECONDS,
        });
    }
    // Without a discipline of ours these fail, and that is as it should be.
    Program::new("tc")
        .args(["qdisc", "delete", "dev", &link, "root"])
        .succeeds();
    let inside = [
        "-netns", &namespace, "qdisc", "delete", "dev", "eth0", "root",
    ];
    Program::new("tc").args(inside).succeeds();
    segments(&namespace, "65535")?;
    let bridge = network::bridge(bed.name());
    Ok(Program::new("ip")
        .args(["link", "set", &link, "master", &bridge])
        .done()?)
}

/// Takes the cable's end off the bridge and puts the shaper between the two.
fn start_shaper(bed: &Bed, node: NodeName, shape: Shape) -> Result<(), Error> {
    let program = shaper(&bed.place().cache())?;
    let link = network::link(bed.name(), node);
    let tap = format!("{link}t");
    let log = bed.place().node(node).join("shaper.log");
    Program::new("ip")
        .args(["link", "set", &link, "nomaster"])
        .done()?;
    // A node that hands over 64 KiB at once would make the rate come in lumps.
    segments(&network::namespace(bed.name(), node), "1")?;
    let script = r#"exec </dev/null >>"$1" 2>&1; echo $$ >"$2"; shift 2; exec nice -n -15 "$@""#;
    Program::new("setsid")
        .args(["--fork", "sh", "-c", script, "shaper"])
        .arg(&log)
        .arg(bed.group(node).part("shaper").path().join("cgroup.procs"))
        .arg(program)
        .args([
            &link,
            &tap,
            &shape.rate_bits.to_string(),
            &shape.delay_us.to_string(),
        ])
        .done()?;
    let limit = Duration::from_secs(START_SECONDS);
    if poll(limit, || network::exists(&tap).then_some(())).is_none() {
        let log = fs_err::read_to_string(&log).unwrap_or_default();
        return Err(Error::Shaper {
            node,
            said: last_lines(&log, 5),
        });
    }
    network::quieten(&tap);
    let bridge = network::bridge(bed.name());
    let on_bridge = [
        "link",
        "set",
        &tap,
        "txqueuelen",
        "1000",
        "master",
        &bridge,
        "up",
    ];
    Ok(Program::new("ip").args(on_bridge).done()?)
}

/// How many segments the node's kernel may hand over as one frame.
fn segments(namespace: &str, count: &str) -> Result<(), Error> {
    let set = [
        "-netns",
        namespace,
        "link",
        "set",
        "eth0",
        "gso_max_segs",
        count,
    ];
    Ok(Program::new("ip").args(set).done()?)
}

/// The compiled shaper.
fn shaper(cache: &Cache) -> Result<PathBuf, Error> {
    let program = cache.shaper(&short_digest(SOURCE));
    if !program.exists() {
        let _lock = cache.lock("shaper")?;
        host::require(COMPILER)?;
        compile(&program)?;
    }
    if !Path::new("/dev/net/tun").exists() {
        fs_err::create_dir_all("/dev/net")?;
        // The number of the device is fixed: Documentation/networking/tuntap.rst of the kernel.
        Program::new("mknod")
            .args(["/dev/net/tun", "c", "10", "200"])
            .done()?;
    }
    Ok(program)
}

fn compile(program: &Path) -> Result<(), Error> {
    let new = program.with_extension("new");
    let cc = Program::new("cc")
        .args(["-O2", "-Wall", "-x", "c", "-", "-o"])
        .arg(&new);
    cc.input(SOURCE).limit_seconds(120).done()?;
    Ok(fs_err::rename(new, program)?)
}

/// Whether the kernel has netem, tried in a network namespace that vanishes at once.
fn has_netem() -> bool {
    let script = "ip link add probe0 type veth peer name probe1 && \
        tc qdisc add dev probe0 root netem delay 1ms";
    Program::new("unshare")
        .args(["--net", "sh", "-c", script])
        .succeeds()
}

/// A number with a unit, in the smallest unit. Zero needs no unit.
fn quantity(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let start = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(start);
    let (_, factor) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let value = number.parse::<f64>().ok()? * factor;
    // Whole and in range, so that the rounding below changes nothing that matters.
    (value <= 1e12).then(|| format!("{value:.0}").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rate: &str, delay: &str, rate_bits: u64, delay_us: u64) {
        assert_eq!(
            Shape::new(rate, delay).unwrap(),
            Shape {
                rate_bits,
                delay_us
            }
        );
    }

    #[test]
    fn rates_and_delays_are_read() {
        check("100mbit", "5ms", 100_000_000, 5_000);
        check("2.5Gbit", "0", 2_500_000_000, 0);
        check("64kbit", "150us", 64_000, 150);
        check("9600bit", "1.5s", 9_600, 1_500_000);
    }

    #[test]
    fn nonsense_is_refused() {
        for (rate, delay) in [
            ("fast", "5ms"),
            ("0", "5ms"),
            ("100", "5ms"),
            ("1mbit", "5"),
        ] {
            assert!(Shape::new(rate, delay).is_err(), "{rate} {delay}");
        }
        for delay in ["ms", "-1ms", "1.2.3ms", "5min", ""] {
            assert!(Shape::new("1mbit", delay).is_err(), "{delay}");
        }
    }
}
