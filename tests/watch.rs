//! Who is away, and when: the members of each kind, looked at many times a second, by what the
//! kernel knows of their processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::bed::{Bed, NODES};

/// The kinds of members, and the ports on which they serve.
const KINDS: [(&str, u16); 4] = [
    ("etcd", 2379),
    ("kube-apiserver", 6443),
    ("kube-controller-manager", 10257),
    ("kube-scheduler", 10259),
];
const LOOK: Duration = Duration::from_millis(20);

/// A watch that goes on until it is asked what it saw.
pub(crate) struct Watch {
    done: Arc<AtomicBool>,
    watching: JoinHandle<Vec<String>>,
}

struct Member {
    node: &'static str,
    /// Where the kernel lists its processes.
    processes: PathBuf,
    port: u16,
}

impl Member {
    /// Whether it does not run, or does not listen.
    fn is_away(&self) -> bool {
        let list = fs::read_to_string(&self.processes).unwrap_or_default();
        // Each sees the sockets of its own machine.
        let sees = |process: &str| {
            ["tcp", "tcp6"].iter().any(|family| {
                let table = fs::read_to_string(format!("/proc/{process}/net/{family}"));
                table.is_ok_and(|table| listens(&table, self.port))
            })
        };
        !list.lines().take(1).any(sees)
    }
}

/// Whether a table of sockets has one that listens on a port (proc(5): the local address is the
/// second word, the state the fourth, 0A for one that listens).
fn listens(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_it = words.next().is_some_and(|local| local.ends_with(&port));
        is_it && words.nth(1) == Some("0A")
    })
}

impl Watch {
    /// Begins.
    pub(crate) fn begin(bed: &Bed) -> Self {
        let kinds: Vec<_> = KINDS
            .into_iter()
            .map(|(kind, port)| (kind, members(bed, kind, port)))
            .collect();
        let done = Arc::<AtomicBool>::default();
        let is_done = Arc::clone(&done);
        let watching = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut seen = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                for (kind, members) in &kinds {
                    let away = members.iter().filter(|member| member.is_away());
                    let away: Vec<&str> = away.map(|member| member.node).collect();
                    if away.len() > 1 {
                        let at = begun.elapsed().as_secs_f64();
                        seen.push(format!("after {at:.1} s {kind} was away on {away:?}"));
                    }
                }
                std::thread::sleep(LOOK);
            }
            seen
        });
        Self { done, watching }
    }

    /// Ends; the moments at which two members of a kind were away.
    pub(crate) fn end(self) -> Vec<String> {
        self.done.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}

fn members(bed: &Bed, kind: &str, port: u16) -> Vec<Member> {
    let member = |node: &'static str| {
        let unit = format!("machine/payload/system.slice/{kind}.service/cgroup.procs");
        Member {
            node,
            processes: bed.cgroup(node).join(unit),
            port,
        }
    };
    NODES.into_iter().map(member).collect()
}
