//! A cluster that goes from one version to another and back, and what its nodes hold at each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::fault::{Fault, shrink_disks};
use crate::bed::{Bed, NODES, PUSH, stock_servers, stock_workers};
use crate::cluster::turn::bring_runtime;
use crate::lab::{Going, Lab, Output};
use crate::watch::Watch;

/// The versions: patches that never were, of one line, so that each may follow the other.
const VERSIONS: [&str; 2] = ["1.32.98", "1.32.99"];
/// How long a push may take to come to an action.
const REACHED: Duration = Duration::from_secs(90);
/// How long the lock of a run that was cut off may stand in the way, and a node that was off.
const FREED: Duration = Duration::from_secs(100);

/// What each node holds.
type Trees = [BTreeMap<String, String>; 3];

/// The cluster.
pub(super) struct Site {
    bed: Bed,
    labs: [Lab; 2],
    trees: [Trees; 2],
    /// The version that it is at.
    now: usize,
    actions: Vec<String>,
}

impl Site {
    /// Makes it, and goes to each version once, undisturbed.
    pub(super) fn set(mut bed: Bed) -> Self {
        drop(bed.fresh());
        let mirror = bed.workshop().join("crash-mirror");
        make_mirror(&bed, &mirror);
        let labs = [0, 1].map(|index| lab(&bed, &mirror, index));
        labs[0].run(PUSH).exits(0);
        std::os::unix::fs::symlink(labs[0].path("pki"), labs[1].path("pki")).unwrap();
        let mut site = Self {
            bed,
            labs,
            trees: Default::default(),
            now: 0,
            actions: Vec::new(),
        };
        for target in [1, 0] {
            site.strip();
            let room = site.room();
            site.start(target, 0, &room).finish().exits(0);
            let told = fs::read_to_string(room.join("actions")).unwrap();
            site.actions = told.lines().map(unnumbered).collect();
            site.trees[target] = site.look();
            site.now = target;
        }
        assert_ne!(site.trees[0], site.trees[1]);
        site
    }

    /// The actions of an undisturbed upgrade.
    pub(super) fn actions(&self) -> Vec<String> {
        self.actions.clone()
    }

    /// One point of the matrix; what was wrong, if anything.
    pub(super) fn point(&mut self, fault: Fault, number: usize) -> Result<(), String> {
        if fault == Fault::Disk {
            shrink_disks(&self.bed);
        }
        let target = 1 - self.now;
        self.strip();
        let room = self.room();
        let watch = Watch::begin(&self.bed);
        let going = self.start(target, number, &room);
        let outcome = self
            .disturb(fault, number, &room, going)
            .and_then(|()| self.finish(target));
        let seen = watch.end();
        outcome?;
        match seen.first() {
            Some(first) => Err(format!("{first}, and {} times more", seen.len() - 1)),
            None => Ok(()),
        }
    }

    fn disturb(
        &self,
        fault: Fault,
        number: usize,
        room: &Path,
        going: Going,
    ) -> Result<(), String> {
        let begun = Instant::now();
        // It is there a moment before there is something in it.
        let line = loop {
            let reached = fs::read_to_string(room.join("reached")).unwrap_or_default();
            if reached.ends_with('\n') {
                break reached;
            }
            if begun.elapsed() > REACHED {
                going.signal("KILL");
                return Err(format!(
                    "action {number} was not reached: {}",
                    going.finish()
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let node = line.split(' ').nth(1).unwrap();
        fault.strike(&self.bed, room, number, node, going);
        whole(&self.look(), &self.trees)
    }

    /// The next push, and what it comes to.
    fn finish(&mut self, target: usize) -> Result<(), String> {
        let rerun = self.rerun(target);
        if rerun.code != Some(0) {
            return Err(format!("the next push: {rerun}"));
        }
        self.now = target;
        let there = self.look();
        for ((node, there), due) in NODES.iter().zip(&there).zip(&self.trees[target]) {
            if let Some(path) = differing(there, due) {
                let (is, due) = (there.get(&path), due.get(&path));
                return Err(format!("{node}:{path} is {is:?} in the end, not {due:?}"));
            }
        }
        let again = self.labs[target].run(PUSH);
        if again.code == Some(0) && again.stderr.contains("nothing to do") {
            Ok(())
        } else {
            Err(format!("one more push finds something to do: {again}"))
        }
    }

    /// A push that waits for the lock of a run that was cut off, and for a node that is starting.
    fn rerun(&self, target: usize) -> Output {
        let begun = Instant::now();
        loop {
            let rerun = self.labs[target].run(PUSH);
            let may_pass = [Some(4), Some(7)].contains(&rerun.code);
            if !may_pass || begun.elapsed() > FREED {
                return rerun;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Brings the cluster to one version or the other, whatever went wrong.
    pub(super) fn mend(&mut self) {
        let target = [self.now, 1 - self.now];
        let mended = target
            .into_iter()
            .find(|at| self.rerun(*at).code == Some(0));
        self.now = mended.expect("a cluster can be pushed again");
    }

    /// Takes what no node needs now out of their stores, so that an upgrade sends it again.
    fn strip(&self) {
        let script = "cd /var/lib/kinstall/store && for content in *; do
            grep -qF $content ../recorded.json || rm $content; done";
        on_all(|node| self.bed.on(node, script));
    }

    fn start(&self, target: usize, number: usize, room: &Path) -> Going {
        let pause = format!("{number}:{}", room.display());
        Going::start(self.labs[target].command(PUSH).env("KINSTALL_PAUSE", pause))
    }

    /// An empty directory in which a push is held.
    fn room(&self) -> PathBuf {
        let room = self.labs[0].path("room");
        if room.exists() {
            fs::remove_dir_all(&room).unwrap();
        }
        fs::create_dir(&room).unwrap();
        room
    }

    /// What the nodes hold.
    fn look(&self) -> Trees {
        on_all(|node| self.bed.holds(node))
    }
}

/// Asks all nodes at once.
fn on_all<T: Send>(ask: impl Fn(&'static str) -> T + Sync) -> [T; 3] {
    std::thread::scope(|scope| {
        let ask = &ask;
        let asking = NODES.map(|node| scope.spawn(move || ask(node)));
        asking.map(|asking| asking.join().unwrap())
    })
}

/// Whatever is there is wholly of one version or the other; what is not in place yet aside.
fn whole(found: &Trees, trees: &[Trees; 2]) -> Result<(), String> {
    for (index, node) in NODES.iter().enumerate() {
        let (one, other) = (&trees[0][index], &trees[1][index]);
        for (path, what) in &found[index] {
            let is_one = [one.get(path), other.get(path)].contains(&Some(what));
            if !is_one && !path.ends_with(".kinstall-new") {
                let (one, other) = (one.get(path), other.get(path));
                return Err(format!(
                    "{node}:{path} is {what}, neither {one:?} nor {other:?}"
                ));
            }
        }
        let mut gone = one.keys().filter(|path| other.contains_key(*path));
        if let Some(path) = gone.find(|path| !found[index].contains_key(*path)) {
            return Err(format!("{node}:{path} is gone"));
        }
    }
    Ok(())
}

fn differing(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Option<String> {
    let mut paths = one.keys().chain(other.keys());
    paths
        .find(|path| one.get(*path) != other.get(*path))
        .cloned()
}

/// `12 node1 turn` without its number.
fn unnumbered(line: &str) -> String {
    line.split_once(' ').unwrap().1.to_owned()
}

/// The directory from which one of the versions is pushed. What differs is all that is restarted:
/// the programs, and a flag of etcd. One of the nodes is a worker, too.
fn lab(bed: &Bed, mirror: &Path, index: usize) -> Lab {
    let lab = bed.lab_named(&format!("crash{index}"), &NODES);
    let version = format!("kubernetes = \"{}\"", VERSIONS[index]);
    lab.edit(
        &format!("kubernetes = \"{}\"", crate::lab::KUBERNETES),
        &version,
    );
    let theirs = format!("file://{}", bed.workshop().join("mirror").display());
    lab.edit(&theirs, &format!("file://{}", mirror.display()));
    let etcd = format!(
        "[component.etcd]\nflags = {{ snapshot-count = {} }}\n",
        5000 + index
    );
    let text = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    if text.contains("[component.etcd]\n") {
        lab.edit("[component.etcd]\n", &etcd);
    } else {
        lab.write(&(text + "\n" + &etcd));
    }
    lab.edit("stable-seconds = 1", "stable-seconds = 0");
    bring_runtime(&lab);
    let name = "name = \"node3\"\n";
    let roles = "roles = [\"etcd\", \"control-plane\", \"worker\"]\n";
    lab.edit(name, &format!("{name}{roles}"));
    lab
}

/// Both versions of the servers; without what a debugger would need, for they are sent often.
fn make_mirror(bed: &Bed, mirror: &Path) {
    if mirror.exists() {
        return;
    }
    fs::create_dir_all(mirror).unwrap();
    let small = mirror.join("standin");
    fs::copy(bed.standin(), &small).unwrap();
    let stripped = Command::new("strip").arg(&small).status();
    assert!(stripped.unwrap().success());
    for version in VERSIONS {
        stock_servers(&small, mirror, version);
        stock_workers(&small, mirror, version);
    }
}
