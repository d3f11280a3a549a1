//! Who is away, and when: the members of each kind, looked at ten times a second, by what the
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
/// Between two looks; a member that is restarted is away for a second or more.
const LOOK: Duration = Duration::from_millis(100);

/// A watch that goes on until it is asked what it saw.
pub(crate) struct Watch {
    done: Arc<AtomicBool>,
    watching: Option<JoinHandle<Vec<String>>>,
}

/// A node, and where the kernel lists the processes of its member of each kind.
struct Machine {
    node: &'static str,
    processes: [PathBuf; KINDS.len()],
}

impl Machine {
    /// Which kinds do not run there, or do not listen.
    fn away(&self) -> [bool; KINDS.len()] {
        let process = |path: &PathBuf| {
            let list = fs::read_to_string(path).unwrap_or_default();
            list.lines().next().map(str::to_owned)
        };
        let processes = self.processes.each_ref().map(process);
        // Each of them sees all sockets of the machine. They are read once a look: the kernel walks the
        // whole of its table for that, which takes it milliseconds.
        let read = |process: &String| {
            ["tcp", "tcp6"]
                .map(|family| fs::read_to_string(format!("/proc/{process}/net/{family}")))
                .into_iter()
                .collect::<Result<String, _>>()
        };
        let sockets = processes.iter().flatten().find_map(|it| read(it).ok());
        let ports = ports(&sockets.unwrap_or_default());
        std::array::from_fn(|kind| processes[kind].is_none() || !ports.contains(&KINDS[kind].1))
    }
}

/// The ports that a table of sockets has listeners on (proc(5): the local address is the second word,
/// the state the fourth, 0A for one that listens).
fn ports(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (_, port) = words.next()?.rsplit_once(':')?;
        (words.nth(1) == Some("0A")).then_some(())?;
        u16::from_str_radix(port, 16).ok()
    };
    table.lines().filter_map(port).collect()
}

impl Watch {
    /// Begins.
    pub(crate) fn begin(bed: &Bed) -> Self {
        let machines = NODES.map(|node| machine(bed, node));
        let done = Arc::<AtomicBool>::default();
        let is_done = Arc::clone(&done);
        let watching = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut seen = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let all = machines.each_ref().map(|it| (it.node, it.away()));
                for (index, (kind, _)) in KINDS.into_iter().enumerate() {
                    let away = all.iter().filter(|(_, away)| away[index]);
                    let away: Vec<&str> = away.map(|(node, _)| *node).collect();
                    if away.len() > 1 {
                        let at = begun.elapsed().as_secs_f64();
                        seen.push(format!("after {at:.1} s {kind} was away on {away:?}"));
                    }
                }
                std::thread::sleep(LOOK);
            }
            seen
        });
        let watching = Some(watching);
        Self { done, watching }
    }

    /// Ends; the moments at which two members of a kind were away.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.done.store(true, Ordering::Relaxed);
        let watching = self.watching.take();
        watching.expect("it ends once").join().unwrap()
    }
}

/// A test that fails is watched no longer.
impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

fn machine(bed: &Bed, node: &'static str) -> Machine {
    let processes = KINDS.map(|(kind, _)| {
        let unit = format!("machine/payload/system.slice/{kind}.service/cgroup.procs");
        bed.cgroup(node).join(unit)
    });
    Machine { node, processes }
}
