//! The ways to bring files to three nodes at once.

use std::cell::Cell;
use std::fmt;
use std::thread;
use std::time::Instant;

use super::payload::Payload;
use super::table::Phase;
use super::{Error, held_kib};
use crate::command::{CommandError, Program, is_installed};
use crate::demo::site::Site;
use crate::nodes::{Bed, NodeName, Shape};

/// Where all but kinstall put the files.
const PLACE: &str = "/opt/bench";
/// How long one may take on a slow link, in seconds.
const LIMIT_SECONDS: u64 = 900;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    /// A push.
    Kinstall,
    /// One scp a node, all at once.
    Scp,
    /// One pipe a node, compressed on the way.
    TarZstd,
    /// One rsync a node, compressed on the way.
    Rsync,
    /// A playbook that copies the files.
    Ansible,
}

impl Method {
    /// Those that this machine has.
    pub(super) fn here() -> Vec<Self> {
        let mut methods = vec![Self::Kinstall, Self::Scp, Self::TarZstd, Self::Rsync];
        if is_installed("ansible-playbook") {
            methods.push(Self::Ansible);
        }
        methods
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kinstall => "kinstall",
            Self::Scp => "scp, parallel",
            Self::TarZstd => "tar | zstd -1 | ssh",
            Self::Rsync => "rsync -az",
            Self::Ansible => "Ansible copy",
        }
    }

    /// Whether it knows what is there already.
    fn compares(self) -> bool {
        !matches!(self, Self::Scp | Self::TarZstd)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What all of them work with.
pub(super) struct Crew<'a> {
    /// The nodes.
    pub(super) bed: &'a Bed,
    /// Where kinstall is run.
    pub(super) site: &'a Site,
    /// The files.
    pub(super) payload: &'a Payload,
    /// The most memory that kinstall held.
    pub(super) peak_kib: Cell<u64>,
}

impl Crew<'_> {
    /// Makes the nodes as if nothing had been brought to them.
    pub(super) fn clear(&self, method: Method) -> Result<(), Error> {
        for node in self.bed.nodes()? {
            if method == Method::Kinstall {
                self.bed.reset(node)?;
            }
            let script = format!("rm -rf {PLACE} && mkdir -p {PLACE}");
            self.bed.exec(node, &["sh", "-c", &script], 60)?;
        }
        Ok(())
    }

    /// Gives all cables a shape, or none.
    pub(super) fn shape(&self, shape: Option<Shape>) -> Result<(), Error> {
        let nodes = self.bed.nodes()?.into_iter();
        Ok(nodes
            .into_iter()
            .try_for_each(|node| self.bed.shape(node, shape))?)
    }

    /// Brings the files, and tells how many seconds that took.
    pub(super) fn first(&self, method: Method) -> Result<Vec<(Phase, f64)>, Error> {
        let start = Instant::now();
        if method != Method::Kinstall {
            self.bring(method)?;
            return Ok(vec![(Phase::First, start.elapsed().as_secs_f64())]);
        }
        let mut staged = None;
        self.watch(|line| {
            if line.contains(": staged") {
                staged = Some(start.elapsed().as_secs_f64());
            }
        })?;
        let whole = start.elapsed().as_secs_f64();
        match staged {
            Some(staged) => Ok(vec![(Phase::First, staged), (Phase::Whole, whole)]),
            None => Err(wrong(method, "it staged nothing".to_owned())),
        }
    }

    /// A push, line by line; its memory is looked at with each.
    pub(super) fn watch(&self, mut hear: impl FnMut(&str)) -> Result<(), Error> {
        let mut last = String::new();
        let status = self.site.command(&["push"]).lines_of(|process, line| {
            self.peak_kib
                .set(self.peak_kib.get().max(held_kib(process)));
            hear(line);
            line.clone_into(&mut last);
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(wrong(Method::Kinstall, last))
        }
    }

    /// Brings the files once more, when nothing has changed.
    pub(super) fn again(&self, method: Method) -> Result<Option<f64>, Error> {
        if !method.compares() {
            return Ok(None);
        }
        let start = Instant::now();
        if method == Method::Kinstall {
            let output = self.site.command(&["push"]).output()?;
            if !output.stderr.contains("nothing to do") {
                return Err(wrong(method, output.stderr));
            }
        } else {
            self.bring(method)?;
        }
        Ok(Some(start.elapsed().as_secs_f64()))
    }

    /// Whether every byte arrived everywhere.
    pub(super) fn check(&self, method: Method) -> Result<(), Error> {
        let place = match method {
            Method::Kinstall => "/usr/local/bin",
            _ => PLACE,
        };
        let script = "cd \"$1\" && printf %s \"$2\" | sha256sum --quiet -c -";
        let sums = self.payload.sums();
        for node in self.bed.nodes()? {
            let ask = ["sh", "-c", script, "sh", place, sums];
            let output = self.bed.exec(node, &ask, 120)?;
            if !output.status.success() {
                return Err(wrong(method, format!("{node}: {}", output.stdout)));
            }
        }
        Ok(())
    }

    fn bring(&self, method: Method) -> Result<(), Error> {
        if method == Method::Ansible {
            return self.play();
        }
        let config = self.bed.ssh_config()?;
        let ssh = format!("ssh -F {}", config.display());
        let program = |node: NodeName| match method {
            Method::Scp => Program::new("scp")
                .args(["-q", "-F"])
                .arg(&config)
                .args(self.payload.paths())
                .arg(format!("{node}:{PLACE}/")),
            Method::Rsync => Program::new("rsync")
                .args(["-az", "-e", &ssh])
                .args(self.payload.paths())
                .arg(format!("{node}:{PLACE}/")),
            _ => Program::new("sh")
                .arg("-c")
                .arg(format!(
                    "tar -C \"$0\" -cf - . | zstd -1 -q -c | \
                     {ssh} {node} 'zstd -dc | tar -C {PLACE} -xf -'"
                ))
                .arg(self.payload.directory()),
        };
        let programs = self.bed.nodes()?.into_iter().map(program);
        Ok(all_at_once(programs)?)
    }

    fn play(&self) -> Result<(), Error> {
        let playbook = self.site.directory().join("playbook.yml");
        let from = self.payload.directory().display();
        fs_err::write(
            &playbook,
            format!(
                "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.copy:\n        \
                 src: \"{from}/\"\n        dest: {PLACE}/\n        mode: \"0755\"\n"
            ),
        )?;
        let names: Vec<String> = self.bed.nodes()?.iter().map(ToString::to_string).collect();
        let ssh = format!(
            "-F {} -o ControlPersist=60s",
            self.bed.ssh_config()?.display()
        );
        let play = Program::new("ansible-playbook")
            .args(["--forks", "10", "--inventory"])
            .arg(format!("{},", names.join(",")))
            .arg(playbook)
            .env("ANSIBLE_SSH_ARGS", format!("{ssh} -o ControlMaster=auto"))
            .env("ANSIBLE_PIPELINING", "true");
        Ok(play.limit_seconds(LIMIT_SECONDS).done()?)
    }
}

fn wrong(method: Method, what: String) -> Error {
    Error::Wrong {
        method: method.name(),
        what,
    }
}

/// Runs them side by side; the first error of all, once all are done.
fn all_at_once(programs: impl Iterator<Item = Program>) -> Result<(), CommandError> {
    thread::scope(|scope| {
        let threads: Vec<_> = programs
            .map(|program| scope.spawn(|| program.limit_seconds(LIMIT_SECONDS).done()))
            .collect();
        let results = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        results.collect::<Vec<_>>().into_iter().collect()
    })
}
