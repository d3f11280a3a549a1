//! Promises about runs that are stopped, killed, or meet each other: the exit code says it, nothing
//! half-done stays, the next run goes on.

use std::time::Duration;

use crate::bed::{Bed, NODES, PUSH};
use crate::lab::{Lab, shelf};
use crate::mirror::{Mirror, Mood};

/// Stops a push once it has come to a word, and says how it ended.
#[track_caller]
fn stop_at(lab: &Lab, word: &str) -> crate::lab::Output {
    let mut going = lab.start(PUSH);
    going.wait_for(word);
    going.signal("INT");
    going.finish().exits(130)
}

/// Whether a process has a child of that name.
fn has_child(id: u32, name: &str) -> bool {
    let children = fs_err::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs_err::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // `pid (name) state parent ...`
        let (front, back) = stat.rsplit_once(") ")?;
        let parent: u32 = back.split(' ').nth(1)?.parse().ok()?;
        (parent == id).then(|| front.split_once('(').map(|(_, name)| name.to_owned()))?
    });
    children.into_iter().any(|child| child == name)
}

/// Nothing that a run left behind: no lock, no half of a file, no connection.
#[track_caller]
fn assert_clean(bed: &Bed) {
    for node in NODES {
        let left = bed.on(
            node,
            "find / -xdev -name '*.kinstall-new' -o -path '*/store/incoming'",
        );
        assert_eq!(left, "", "{node}");
    }
    assert_no_sessions(bed);
}

/// Sessions end within a moment of their client.
#[track_caller]
pub(crate) fn assert_no_sessions(bed: &Bed) {
    for node in NODES {
        let gone = "for i in 1 2 3 4 5 6 7 8 9 10; do pgrep -f '^sshd: root' >/dev/null || exit 0; sleep 0.5; done; pgrep -af '^sshd: root'; exit 1";
        bed.on(node, gone);
    }
}

#[test]
fn a_push_can_be_stopped_in_each_phase() {
    let Some(mut bed) = Bed::take("a_push_can_be_stopped_in_each_phase") else {
        return;
    };
    let lab = bed.fresh();

    // While it looks at the nodes, which answer slowly.
    bed.nodes("netem all 100mbit 300ms");
    let mut going = lab.start(PUSH);
    let id = going.id();
    going.wait_until("it is about to reach a node", |_| has_child(id, "ssh"));
    going.signal("INT");
    going
        .finish()
        .exits(130)
        .says("stopped on request; no node was changed");
    bed.nodes("netem all off");
    assert_clean(&bed);

    // While it downloads, from a mirror that is slow.
    let mirror = Mirror::start();
    let text = std::fs::read_dir(shelf(&mirror_directory(&lab))).unwrap();
    for entry in text {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!(
            "/release/v{}/bin/linux/amd64/{name}",
            crate::lab::KUBERNETES
        );
        mirror.put(&path, fs_err::read(entry.path()).unwrap());
        mirror.mood(&path, [Mood::Slow(2000, Duration::from_millis(50))]);
    }
    let inventory = fs_err::read_to_string(lab.path("inventory.toml")).unwrap();
    let file = format!("file://{}", mirror_directory(&lab).display());
    lab.edit(&file, &mirror.url());
    // Every test shares the cache: this download must not be in it.
    let mut slow = lab.command(PUSH);
    slow.env("KINSTALL_CACHE", lab.path("empty-cache"));
    let mut going = crate::lab::Going::start(&mut slow);
    let path = format!(
        "/release/v{}/bin/linux/amd64/kube-apiserver",
        crate::lab::KUBERNETES
    );
    going.wait_until("it downloads", |_| !mirror.requests(&path).is_empty());
    going.signal("INT");
    going
        .finish()
        .exits(130)
        .says("stopped on request; no node was changed");
    assert!(
        !lab.path("kinstall.lock").exists(),
        "nothing was pinned yet"
    );
    lab.write(&inventory);
    assert_clean(&bed);

    // While it sends.
    bed.nodes("netem all 20mbit");
    stop_at(&lab, "staging:").says("stopped on request while staging; nothing was changed");
    bed.nodes("netem all off");
    assert_clean(&bed);
    for node in NODES {
        let changed = bed.on(
            node,
            "ls /etc/k8s /etc/etcd /var/lib/kinstall/begun.json 2>/dev/null || :",
        );
        assert_eq!(changed, "", "{node}");
    }

    // While services start.
    stop_at(&lab, "kube-apiserver:").says("every service runs on what is in place");
    assert_clean(&bed);
    lab.run(["status", "inventory.toml"]).exits(3);

    lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    lab.run(["status", "inventory.toml"]).exits(0);
    lab.run(PUSH).exits(0).says("nothing to do");
    bed.leave(lab);
}

/// The directory behind the `file://` of an inventory.
fn mirror_directory(lab: &Lab) -> std::path::PathBuf {
    let text = fs_err::read_to_string(lab.path("inventory.toml")).unwrap();
    let (_, rest) = text.split_once("file://").unwrap();
    rest.split('"').next().unwrap().into()
}

#[test]
fn two_runs_do_not_meet_on_a_node() {
    let Some(mut bed) = Bed::take("two_runs_do_not_meet_on_a_node") else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 62");
    lab.edit("stable-seconds = 1", "stable-seconds = 5");
    let mut first = lab.start(PUSH);
    first.wait_for("kube-apiserver:");
    let process = format!("process {}", first.id());
    lab.run(PUSH)
        .exits(7)
        .says("another run holds it: ")
        .says(&process)
        .says("the lock is free as soon as the run that held it is gone");
    // Neither plan nor status needs the lock.
    lab.run(["plan", "inventory.toml"]).exits(3);

    // The first is killed: its lock goes with it.
    first.signal("KILL");
    let killed = first.finish();
    assert_eq!(killed.code, None, "{killed}");
    let again = lab.run(PUSH).exits(0);
    println!("after a kill the next push took {:.1} s", again.seconds);

    // The next is told to stop by somebody else.
    lab.edit("audit-log-maxage = 62", "audit-log-maxage = 63");
    let mut first = lab.start(PUSH);
    first.wait_for("kube-apiserver:");
    let process = format!("process {}", first.id());
    lab.edit("audit-log-maxage = 63", "audit-log-maxage = 62");
    let breaker = lab.run(PUSH.into_iter().chain(["--break-lock"]));
    first
        .finish()
        .exits(7)
        .says("it is no longer held for this run")
        .says("another run took it by `--break-lock`");
    // It looked at the nodes before the other came to an end there.
    let breaker = breaker
        .says("took it from a run that held it")
        .says(&process);
    if breaker.code == Some(0) {
        breaker.says("done: ");
    } else {
        breaker
            .exits(7)
            .says("another run changed it while this one was being prepared");
        lab.run(PUSH).exits(0);
    }
    lab.run(["status", "inventory.toml"]).exits(0);
    lab.run(PUSH).exits(0).says("nothing to do");
    for node in NODES {
        let line = bed.on(
            node,
            "tr '\\0' '\\n' </proc/$(pidof kube-apiserver)/cmdline | grep maxage",
        );
        assert_eq!(line, "--audit-log-maxage=62");
    }
    bed.leave(lab);
}
