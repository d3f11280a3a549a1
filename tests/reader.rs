//! Promises to those who use a cluster while it changes: a request fails at the kube-apiserver that
//! is being restarted, and nowhere else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;

use crate::api::Api;
use crate::bed::{Bed, NODES, PUSH, kube_mirror, stock_servers};
use crate::lab::{KUBERNETES, Lab, elf, stock_as};

/// The version of genuine Kubernetes servers.
const GENUINE: &str = "1.20.2";
/// Between two requests to one server.
const PAUSE: Duration = Duration::from_millis(50);
/// What a server needs from telling systemd that it is up until it answers, in microseconds, and
/// how exact the clocks are.
const SLACK: u64 = 1_500_000;

/// A request that failed, by the clock that all machines here share, in microseconds.
struct Failed {
    begun: u64,
    ended: u64,
    why: String,
}

/// What a reader saw: how often all went well, and each time when it did not, by server.
#[derive(Default)]
struct Seen {
    well: u32,
    failed: Vec<Failed>,
}

/// Writes and reads through one server until the push is over.
fn read(api: &Api<'_>, server: usize, done: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        number += 1;
        let begun = now();
        let name = format!("reader-{server}-{number}");
        let kept = api.create(server, &name);
        match kept.and_then(|()| api.read(server, &name)) {
            Ok(()) => seen.well += 1,
            Err(why) => seen.failed.push(Failed {
                begun,
                ended: now(),
                why: why.to_string(),
            }),
        }
        std::thread::sleep(PAUSE);
    }
    seen
}

/// Microseconds on the clock that starts with the machine.
fn now() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    let (seconds, _) = text.split_once(' ').unwrap();
    let digits = seconds.replace('.', "");
    // Hundredths of a second.
    digits.parse::<u64>().unwrap() * 10_000
}

/// When a kube-apiserver was last away: from the moment it was told to stop.
fn away(bed: &Bed, node: &str) -> (u64, u64) {
    let ask = |property: &str| {
        let ask = format!("systemctl show -p {property} --value kube-apiserver");
        bed.on(node, &ask).parse::<u64>().unwrap()
    };
    (
        ask("ActiveExitTimestampMonotonic"),
        ask("ActiveEnterTimestampMonotonic"),
    )
}

/// Pushes a change while somebody reads, and judges what was seen.
#[track_caller]
fn check(bed: &Bed, lab: &Lab) {
    let (api, done) = (&Api::of(bed, lab), &AtomicBool::new(false));
    let begun = now();
    let seen = std::thread::scope(|scope| {
        let reading = [0, 1, 2].map(|server| scope.spawn(move || read(api, server, done)));
        let pushed = lab.run(PUSH);
        std::thread::sleep(Duration::from_millis(500));
        done.store(true, Ordering::Relaxed);
        let seen = reading.map(|reading| reading.join().unwrap());
        pushed.exits(0);
        seen
    });
    let mut windows = NODES.map(|node| away(bed, node));
    for ((node, seen), (left, back)) in NODES.iter().zip(&seen).zip(windows) {
        assert!(left > begun && back > left, "{node} was restarted");
        for failed in &seen.failed {
            let is_due = failed.ended + SLACK / 10 >= left && failed.begun <= back + SLACK;
            assert!(
                is_due,
                "{node}: `{}` from {} to {}, and it was away from {left} to {back}",
                failed.why, failed.begun, failed.ended
            );
        }
        assert!(seen.well > 10, "{node}: {} went well", seen.well);
        println!(
            "{node}: {} requests went well, {} failed while it was away for {} ms",
            seen.well,
            seen.failed.len(),
            (back - left) / 1000
        );
    }
    windows.sort_unstable();
    for pair in windows.windows(2) {
        assert!(pair[0].1 < pair[1].0, "two were away at once: {windows:?}");
    }
}

#[test]
fn an_upgrade_fails_no_request_but_at_the_server_being_restarted() {
    let Some(mut bed) = Bed::take("an_upgrade_fails_no_request_but_at_the_server_being_restarted")
    else {
        return;
    };
    let lab = bed.pushed();
    let mirror = bed.workshop().join("mirror");
    let newer = "1.32.100";
    stock_servers(bed.standin(), &mirror, newer);
    lab.edit(
        &format!("kubernetes = \"{KUBERNETES}\""),
        &format!("kubernetes = \"{newer}\""),
    );
    check(&bed, &lab);
    bed.leave(lab);
}

#[test]
fn genuine_servers_are_changed_without_a_failed_request_elsewhere() {
    let name = "genuine_servers_are_changed_without_a_failed_request_elsewhere";
    let Some(genuine) = kube_mirror(name) else {
        return;
    };
    let Some(mut bed) = Bed::take(name) else {
        return;
    };
    drop(bed.fresh());
    let lab = bed.lab_named("genuine", &NODES).of_genuine_servers();
    let own = bed.workshop().join("mirror");
    // Nobody asks this one anything.
    stock_as(&own, GENUINE, "kubectl", &elf("kubectl"));
    lab.edit(
        &format!("kubernetes = \"{KUBERNETES}\""),
        &format!("kubernetes = \"{GENUINE}\""),
    );
    let own = format!("\"file://{}\"", own.display());
    let both = format!("\"file://{}\", {own}", genuine.display());
    lab.edit(
        &format!("kubernetes = [{own}]"),
        &format!("kubernetes = [{both}]"),
    );
    lab.run(PUSH).exits(0);
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    check(&bed, &lab);
}
