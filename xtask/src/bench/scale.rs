//! `cargo xtask bench scale`: what kinstall itself takes for clusters of many nodes, without any.
//!
//! The nodes are directories, and their scripts run on this machine: what those take is left out.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::{Error, SUBNET, held_kib};
use crate::demo::site::{Site, Source};
use crate::mirror::{Mirror, Wish, server::Server};
use crate::say;
use crate::setup::{self, Profile, Seat};

/// How many nodes of a cluster are its control plane.
const SERVERS: u16 = 5;
/// What is promised for so many nodes: seconds of a processor.
const PROMISE: (u16, f64) = (1000, 2.0);
/// How often a run is looked at: its last ticks are missed for so long at most.
const LOOK: Duration = Duration::from_millis(10);
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(900);
/// The kernel's ticks of `/proc/PID/stat` in a second (`USER_HZ`, the same on all our machines).
const TICKS: f64 = 100.0;

/// What is measured: the words of a command, and how it ends.
const COMMANDS: [(&str, &[&str], i32); 3] = [
    ("check", &["check"], 0),
    ("render", &["render", "--out", "out"], 0),
    ("plan", &["plan", "--into", "nodes"], 3),
];

/// Measures.
pub(super) fn run(sizes: &[u16]) -> Result<(), Error> {
    let kinstall = setup::build("kinstall", Profile::Release)?;
    let seat = Seat::take("bench", SUBNET)?;
    let mirror = Mirror::make(&Wish {
        purpose: seat.name.clone(),
        from: None,
        kubernetes: None,
        stand_ins: setup::stand_ins()?,
        padding: std::collections::BTreeMap::new(),
    })?;
    let server = Server::start(&mirror.directory)?;
    let source = Source::Mirror { mirror, server };
    let name = format!("{}-scale", seat.name);
    let site = Site::without_nodes(&kinstall, &name, &source, &seat.subnet)?;
    say::line("bench: pinning what nodes need");
    site.kinstall(&["fetch"], 0)?;
    let all = fs::read_to_string(site.inventory())?;
    let head = all.split("\n[[node]]").next().unwrap_or_default();
    let cluster = "[cluster]\n";
    let head = head.replacen(
        cluster,
        &format!("{cluster}pod-cidr = \"10.64.0.0/10\"\n"),
        1,
    );
    say::data("nodes   command    CPU     memory");
    for size in sizes {
        fs::write(site.inventory(), format!("{head}{}", nodes(*size)))?;
        for (name, words, code) in COMMANDS {
            for place in ["out", "nodes"] {
                let place = site.directory().join(place);
                if place.exists() {
                    fs::remove_dir_all(place)?;
                }
            }
            let (seconds, kib) = measure(&kinstall, site.directory(), words, code)?;
            let (nodes, most) = PROMISE;
            let word = match (*size == nodes && name != "render", seconds <= most) {
                (false, _) => String::new(),
                (true, true) => format!("   at most {most} s: kept"),
                (true, false) => format!("   at most {most} s: NOT KEPT"),
            };
            let mib = kib / 1024;
            say::data(format!(
                "{size:<7} {name:<8} {seconds:5.2} s {mib:5} MiB{word}"
            ));
        }
    }
    Ok(site.remove()?)
}

/// The rows of so many nodes: a control plane, and workers.
fn nodes(size: u16) -> String {
    let mut text = String::new();
    for number in 0..size {
        let (high, low) = (number / 250, number % 250 + 1);
        let roles = if number < SERVERS {
            ""
        } else {
            "roles = [\"worker\"]\n"
        };
        // Writing to a String cannot fail.
        _ = write!(
            text,
            "\n[[node]]\nname = \"n{number}\"\naddress = \"10.1.{high}.{low}\"\narch = \"amd64\"\n{roles}"
        );
    }
    text
}

/// The seconds of a processor and the KiB of memory that kinstall takes, without the programs it runs.
fn measure(
    kinstall: &Path,
    directory: &Path,
    words: &[&str],
    code: i32,
) -> Result<(f64, u64), Error> {
    let said = directory.join("said");
    let mut child = Command::new(kinstall)
        .args([words[0], "inventory.toml"])
        .args(&words[1..])
        .current_dir(directory)
        .env("KINSTALL_CACHE", directory.join("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said)?.into_parts().0)
        .spawn()?;
    let (begun, process) = (Instant::now(), child.id());
    let (mut seconds, mut kib) = (0.0, 0);
    let status = loop {
        seconds = cpu_seconds(process).unwrap_or(seconds);
        kib = held_kib(process).max(kib);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            break child.wait()?;
        }
        thread::sleep(LOOK);
    };
    if status.code() == Some(code) {
        return Ok((seconds, kib));
    }
    Err(Error::Wrong {
        method: "kinstall",
        what: format!(
            "{}: {status}: {}",
            words.join(" "),
            fs::read_to_string(said)?
        ),
    })
}

/// What a process has taken of processors so far, in its own code and the kernel's (proc(5)).
fn cpu_seconds(process: u32) -> Option<f64> {
    let told = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; the state is the first word behind it.
    let (_, rest) = told.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(11);
    let mut ticks = || words.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}
