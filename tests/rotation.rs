//! Promises about the exchange of the key at rest: wherever it is stopped, every server reads
//! everything, no key goes that is still needed, and the same command goes on from there.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::api::{Api, Failure};
use crate::bed::{Bed, ETCDCTL, NODES, PUSH};
use crate::crash::FULL_VARIABLE;
use crate::lab::{Lab, Output};
use crate::watch::Watch;

/// Where the keys lie on a node.
const CONFIG: &str = "/etc/k8s/kube-apiserver/encryption-config.yaml";
const ROTATE: [&str; 3] = ["encryption", "rotate", "inventory.toml"];
/// How long a rotation may take to come to its next action.
const REACHED: Duration = Duration::from_secs(240);
/// How long after an action began kinstall is killed, in milliseconds: points take turns.
const MOMENTS: [u64; 3] = [0, 40, 250];
/// Between two rounds of reading.
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn a_rotation_is_stopped_at_each_step_and_goes_on() {
    let Some(mut bed) = Bed::take("a_rotation_is_stopped_at_each_step_and_goes_on") else {
        return;
    };
    let lab = bed.pushed();
    // What root makes in `/tmp`, any user of the node can be waiting for.
    for node in NODES {
        bed.on(
            node,
            "mv /usr/bin/mktemp /usr/bin/mktemp.real
            printf '#!/bin/sh\\ntouch /run/made-temporary\\nexec mktemp.real \"$@\"\\n' >/usr/bin/mktemp
            chmod 755 /usr/bin/mktemp",
        );
    }
    rotate_with_interruptions(&bed, &lab);
    for node in NODES {
        bed.on(
            node,
            "mv /usr/bin/mktemp.real /usr/bin/mktemp; test ! -e /run/made-temporary",
        );
    }
    lab.run(["rollback", "inventory.toml", "--plan"])
        .exits(1)
        .says("node1: the generation to go back to has another key in `/etc/k8s/")
        .says("a key does not go back");
    bed.leave(lab);
}

/// Rotates, and stops it at each step, until it has come to its end all the same.
#[track_caller]
pub(crate) fn rotate_with_interruptions(bed: &Bed, lab: &Lab) {
    let api = Api::of(bed, lab);
    for number in 0..20 {
        api.create(number % 3, &format!("old-{number}")).unwrap();
    }
    let before = keys(&fs::read_to_string(lab.path("pki/encryption-config.yaml")).unwrap());
    let (done, wrong) = (&AtomicBool::new(false), &Mutex::new(Vec::new()));
    let begun = Instant::now();
    let watch = Watch::begin(bed);
    let (points, rounds) = std::thread::scope(|scope| {
        let readers = scope.spawn(|| read(&api, done, wrong));
        let points = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stop_all(bed, lab)));
        done.store(true, Ordering::Relaxed);
        (points, readers.join().unwrap())
    });
    let seen = watch.end();
    let wrong = wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let points = points.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(seen.is_empty(), "{seen:#?}");
    let after = keys(&fs::read_to_string(lab.path("pki/encryption-config.yaml")).unwrap());
    assert!(after.len() == 1 && after != before, "{before:?}, {after:?}");
    for node in NODES {
        assert_eq!(keys(&bed.on(node, &format!("cat {CONFIG}"))), after);
    }
    for server in 0..3 {
        let all = api.list(server).unwrap();
        for number in 0..20 {
            assert!(
                all.contains(&format!("\"old-{number}\"")),
                "{server}: {all}"
            );
        }
    }
    let stored = BTreeSet::from_iter(after);
    assert_eq!(stored_with(bed), stored);
    lab.run(PUSH).exits(0).says("nothing to do");
    println!(
        "stopped at {}; read and written {rounds} times meanwhile; {:.0} s",
        points.join(", "),
        begun.elapsed().as_secs_f64()
    );
}

/// Stops a rotation at every step in turn; answers where.
#[track_caller]
fn stop_all(bed: &Bed, lab: &Lab) -> Vec<String> {
    let is_full = std::env::var_os(FULL_VARIABLE).is_some();
    let mut points: Vec<String> = Vec::new();
    loop {
        let room = lab.path("room");
        if room.exists() {
            fs::remove_dir_all(&room).unwrap();
        }
        fs::create_dir(&room).unwrap();
        let pause = format!("every:{}", room.display());
        let mut command = lab.command(ROTATE);
        let mut going = crate::lab::Going::start(command.env("KINSTALL_PAUSE", pause));
        let mut passed = 0;
        let stopped = loop {
            let begun = Instant::now();
            let line = loop {
                let reached = fs::read_to_string(room.join("reached")).unwrap_or_default();
                let line = reached.split_inclusive('\n').nth(passed);
                if let Some(line) = line.filter(|line| line.ends_with('\n')) {
                    break Some(line.trim().to_owned());
                }
                if going.has_ended() {
                    break None;
                }
                assert!(begun.elapsed() < REACHED, "{}", going.said());
                std::thread::sleep(Duration::from_millis(5));
            };
            let Some(line) = line else {
                break None;
            };
            let (number, action) = line.split_once(' ').unwrap();
            let config = fs::read_to_string(lab.path("pki/encryption-config.yaml")).unwrap();
            let point = format!("{action} of {}", keys(&config).join("+"));
            let go = || fs::write(room.join(format!("go-{number}")), "").unwrap();
            let is_own = action.starts_with("rotation") && !action.ends_with("begin");
            let is_due = is_full || points.is_empty() || is_own || action == "node2 transaction";
            if is_due && !points.contains(&point) {
                let by_word = points.len() % 4 == 3;
                let moment = Duration::from_millis(MOMENTS[points.len() % MOMENTS.len()]);
                points.push(point.clone());
                if by_word {
                    going.signal("INT");
                    going.wait_for("stopping as soon as nothing is half done");
                    // This one, and whatever else it does before it stops.
                    for number in 1..1000 {
                        fs::write(room.join(format!("go-{number}")), "").unwrap();
                    }
                } else {
                    go();
                    std::thread::sleep(moment);
                    going.signal("KILL");
                }
                break Some((point, by_word));
            }
            go();
            passed += 1;
        };
        let output = going.finish();
        let Some((point, by_word)) = stopped else {
            output.exits(0).says("5/5 done");
            return points;
        };
        assert_safe(bed, &point, by_word, &output);
        // The last thing that it does; once more would be another rotation.
        let is_over = fs::read(lab.path("pki/rotation")).is_ok_and(|text| text.is_empty());
        if is_over && points.len() > 1 {
            return points;
        }
    }
}

/// That no key is gone which something in etcd needs, wherever a rotation was stopped.
#[track_caller]
fn assert_safe(bed: &Bed, point: &str, by_word: bool, output: &Output) {
    if by_word {
        assert_eq!(output.code, Some(130), "{point}: {output}");
    }
    let needed = stored_with(bed);
    for node in NODES {
        let has = keys(&bed.on(node, &format!("cat {CONFIG}")));
        let lacks: Vec<_> = needed.iter().filter(|key| !has.contains(key)).collect();
        assert!(lacks.is_empty(), "{point}: {node} lacks {lacks:?}");
    }
}

/// The names of the keys of a configuration, in order.
fn keys(config: &str) -> Vec<String> {
    let lines = config.lines();
    let names = lines.filter_map(|line| line.trim().strip_prefix("- name: "));
    names.map(ToOwned::to_owned).collect()
}

/// The names of the keys that Secrets in etcd are encrypted with.
fn stored_with(bed: &Bed) -> BTreeSet<String> {
    let ask = format!(
        "{ETCDCTL} get /registry/secrets/ --prefix --print-value-only \
        | grep -a -o '^k8s:enc:[a-z]*:v1:[^:]*:'"
    );
    let found = bed.on("node1", &ask);
    let names = found.lines().filter_map(|line| line.split(':').nth(4));
    names.map(ToOwned::to_owned).collect()
}

/// Writes through each server and reads it through every other one, and reads everything there is,
/// until it is done; what was ever refused is wrong. A server that is away refuses nothing.
fn read(api: &Api<'_>, done: &AtomicBool, wrong: &Mutex<Vec<String>>) -> u32 {
    let begun = Instant::now();
    let judge = |what: String, outcome: Result<(), Failure>| match outcome {
        Ok(()) => true,
        Err(Failure::Away(_)) => false,
        Err(Failure::Refused(status, why)) => {
            let at = begun.elapsed().as_secs_f64();
            let why: String = why.chars().take(300).collect();
            let mut wrong = wrong.lock().unwrap();
            wrong.push(format!("after {at:.1} s {what}: {status}: {why}"));
            false
        }
    };
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) {
        let server = rounds as usize % 3;
        let name = format!("new-{rounds}");
        let written = api.create(server, &name);
        if judge(format!("{} wrote", NODES[server]), written) {
            for (reader, node) in NODES.iter().enumerate() {
                let what = format!("{node} read what {} wrote", NODES[server]);
                judge(what, api.read(reader, &name));
            }
        }
        let what = format!("{} read everything", NODES[server]);
        judge(what, api.list(server).map(drop));
        rounds += 1;
        std::thread::sleep(PAUSE);
    }
    rounds
}
