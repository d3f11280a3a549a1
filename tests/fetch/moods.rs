//! Promises about mirrors that lie, dawdle or never end: the next mirror is asked, soon and with the
//! reason told, and nothing is left of them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use fs_err as fs;
use kinstall::digest::Digest;
use kinstall::fetch::Event;
use kinstall::lockfile::Lockfile;

use super::bench::{
    Bench, ETCD, SCHEDULER, SIDECAR, SUMS, archive, elf, inventory, program, stock,
};
use crate::mirror::{Mirror, Mood};

/// How many mirrors are tried at the same time.
const ROWS_AT_A_TIME: usize = 5;
const OK: &str = "HTTP/1.1 200 x\r\n";

fn raw(headers: &str) -> Mood {
    Mood::Raw(format!("{OK}{headers}\r\n\r\n"))
}

/// What is served where, and what is said of it.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rows() -> Vec<(&'static str, Mood, &'static str)> {
    let drip = Mood::Slow(1, Duration::from_millis(100));
    let zeros = vec![0; 1 << 16];
    let too_long = "it is longer than 8388608 bytes";
    let no_http = "its answer is no valid HTTP";
    let range = "the rest of the file was asked for from byte 150";
    vec![
        // Nothing, or too little of it.
        (
            SCHEDULER,
            Mood::Raw(String::new()),
            "nothing came for 2 seconds",
        ),
        (
            SCHEDULER,
            Mood::Raw(OK.to_owned()),
            "nothing came for 2 seconds",
        ),
        (SCHEDULER, drip.clone(), "bytes came in 2 seconds"),
        // Which of the two limits is noticed first, the whole one's or the rate's, is chance.
        (SIDECAR, drip, " 2 seconds"),
        (SIDECAR, Mood::StallAfter(5), " 2 seconds"),
        // More than anything is.
        (
            SCHEDULER,
            raw("content-length: 4611686018427387904"),
            too_long,
        ),
        (SCHEDULER, raw("content-length: 8388609"), too_long),
        (
            SCHEDULER,
            Mood::Endless("HTTP/1.1 200 x\r\n\r\n", zeros.clone()),
            "what comes is no program",
        ),
        (
            SCHEDULER,
            Mood::Endless("HTTP/1.1 200 x\r\n\r\n\u{7f}ELF", zeros.clone()),
            too_long,
        ),
        (
            SIDECAR,
            Mood::Endless("HTTP/1.1 200 x\r\n\r\n", zeros.clone()),
            "longer than 65536 bytes",
        ),
        (
            SUMS,
            Mood::Endless("HTTP/1.1 200 x\r\n\r\n", zeros.clone()),
            "longer than 65536 bytes",
        ),
        (
            ETCD,
            Mood::Endless("HTTP/1.1 200 x\r\n\r\n", zeros),
            "what comes is no `.tar.gz`",
        ),
        // No HTTP, or more of it than any mirror says.
        (SCHEDULER, raw("content-length: -5"), no_http),
        (SCHEDULER, raw("content-length: many"), no_http),
        (
            SCHEDULER,
            raw("content-length: 18446744073709551616"),
            no_http,
        ),
        (
            SCHEDULER,
            raw("content-length: 5\r\ncontent-length: 6"),
            no_http,
        ),
        (
            SCHEDULER,
            Mood::Raw("\u{7f}ELF\u{1}\r\n\r\n".to_owned()),
            no_http,
        ),
        (
            SIDECAR,
            Mood::Raw("SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
            no_http,
        ),
        (
            SCHEDULER,
            Mood::Endless(OK, format!("x-a: {}\r\n", "a".repeat(1000)).into()),
            no_http,
        ),
        (
            SCHEDULER,
            Mood::Endless("HTTP/1.1 200 x\r\nx-a: ", vec![b'a'; 4096]),
            no_http,
        ),
        (
            SCHEDULER,
            Mood::Raw(format!(
                "{OK}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc"
            )),
            no_http,
        ),
        (
            SCHEDULER,
            Mood::Raw(format!(
                "{OK}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"
            )),
            "bytes came in 2 seconds",
        ),
        // Other places and other forms.
        (
            SCHEDULER,
            Mood::Redirect("file:///etc/shadow".to_owned()),
            "it leads to file:///etc/shadow",
        ),
        (
            SCHEDULER,
            Mood::Redirect("gopher://127.0.0.1:22/x".to_owned()),
            "neither https nor http",
        ),
        (
            SCHEDULER,
            Mood::Redirect(SCHEDULER.to_owned()),
            "it leads on more than 10 times",
        ),
        (
            SIDECAR,
            Mood::Redirect("/elsewhere?token=x".to_owned()),
            "/elsewhere: 404 Not Found",
        ),
        (
            SCHEDULER,
            Mood::Gzip,
            "`content-encoding: gzip`, which was not asked for",
        ),
        (SCHEDULER, Mood::RangeLie("5-9/10"), range),
        (
            SCHEDULER,
            Mood::RangeLie("150016-1125899906842624/2251799813685248"),
            too_long,
        ),
        (SCHEDULER, Mood::RangeLie("150016-5/300000"), range),
        // Other things.
        (
            SCHEDULER,
            Mood::Page(200, "<html><title>Log in</title>"),
            "a web page came instead",
        ),
        (
            SIDECAR,
            Mood::Page(200, "\u{1b}]0;PWNED\u{7}\u{1b}[2Jnot a digest"),
            "is not a digest",
        ),
        (
            SCHEDULER,
            Mood::Page(404, "<html><title>\u{1b}[2J</title>"),
            "404 Not Found",
        ),
        (
            SCHEDULER,
            Mood::WrongBytes,
            "suspect its file, or the way here",
        ),
    ]
}

/// Some rows at a time: they mostly wait.
fn each(check: fn(&'static str, Mood, &'static str)) {
    let rows = Mutex::new(rows().into_iter());
    std::thread::scope(|scope| {
        for _ in 0..ROWS_AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let row = rows.lock().unwrap().next();
                    let Some((path, mood, told)) = row else {
                        return;
                    };
                    check(path, mood, told);
                }
            });
        }
    });
}

/// A bench that does not take a busy machine for a slow mirror.
fn patient() -> Bench {
    let mut bench = Bench::new();
    bench.options.limits.stall_seconds = 2;
    bench.options.limits.attempts_max = 2;
    bench.options.compress = false;
    bench
}

/// How many bytes of unfinished downloads are in the cache.
fn unfinished(bench: &Bench) -> Vec<u64> {
    bench.assert_sound();
    let entries = fs::read_dir(bench.cache.directory().join("partial")).unwrap();
    let length = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    entries.map(length).collect()
}

#[test]
fn whatever_the_first_mirror_does_the_second_one_serves() {
    each(|path, mood, told| {
        let bad = Mirror::start();
        stock(&bad);
        bad.mood(path, [mood]);
        let mut bench = patient();
        let bases = [bad.url(), bench.mirror.url()];
        bench.inventory = inventory(bench.room.path(), &bases);
        let programs = ["kube-scheduler", "etcd", "etcdctl"].map(program);
        let begun = Instant::now();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            bench
                .pin(&programs)
                .await
                .unwrap_or_else(|error| panic!("{told}: {error}"));
            bench.ensure(&programs).await.unwrap();
        });
        let seconds = begun.elapsed().as_secs();
        assert!(seconds < 30, "{told}: it took {seconds} s");
        let said = |event: &Event| {
            matches!(event, Event::SourceFailed { url, reason, .. }
                if url.starts_with(&bad.url()) && reason.contains(told) && reason.len() < 500
                    && !reason.contains(|c: char| c.is_control()))
        };
        assert!(bench.happened(said) > 0, "{told}: {:?}", bench.told);
        assert_eq!(unfinished(&bench), [0_u64; 0], "{told}");
    });
}

#[test]
fn a_mirror_that_does_it_for_ever_is_given_up_with_the_reason() {
    each(|path, mood, told| {
        let mut bench = patient();
        bench.mirror.mood(path, [mood]);
        let begun = Instant::now();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let programs = ["kube-scheduler", "etcd"].map(program);
        let error = runtime.block_on(bench.pin(&programs)).unwrap_err();
        assert!(begun.elapsed().as_secs() < 30, "{told}");
        assert_eq!(error.exit_code(), 5, "{told}");
        let text = error.to_string();
        assert!(text.contains(told) && text.len() < 1000, "{told}: {text}");
        assert_eq!(bench.lockfile, Lockfile::default());
        // What else was on its way then may be gone on with.
        let left = unfinished(&bench);
        assert!(
            left.iter().all(|bytes| *bytes < 1 << 20),
            "{told}: {left:?}"
        );
    });
}

#[tokio::test]
async fn a_mirror_that_is_too_slow_for_one_thing_is_asked_last_for_the_next() {
    let bad = Mirror::start();
    stock(&bad);
    bad.mood(SIDECAR, [Mood::StallAfter(0)]);
    let mut bench = Bench::new();
    bench.options.jobs = 1;
    let bases = [bad.url(), bench.mirror.url()];
    bench.inventory = inventory(bench.room.path(), &bases);
    // In the order of the lockfile, in which etcd's archive comes last.
    bench
        .pin(&["kube-scheduler", "etcd"].map(program))
        .await
        .unwrap();
    assert_eq!(bad.requests(SIDECAR).len(), 1);
    assert_eq!(bad.requests(SUMS), []);
}

#[tokio::test]
async fn a_slow_mirror_that_is_the_only_one_is_asked_again_and_goes_on() {
    let mut bench = Bench::new();
    let moods = [
        Mood::StallAfter(1000),
        Mood::StallAfter(200_000),
        Mood::Right,
    ];
    bench.mirror.mood(SCHEDULER, moods);
    bench.scheduler().await.unwrap();
    let requests = bench.mirror.requests(SCHEDULER);
    let ranges = requests
        .iter()
        .filter(|it| it.headers.contains_key("range"));
    assert_eq!((requests.len(), ranges.count()), (3, 2));
}

#[tokio::test]
async fn what_is_no_program_is_looked_for_elsewhere_whatever_its_checksum_says() {
    let bad = Mirror::start();
    stock(&bad);
    let made = archive(&["elsewhere/etcd".to_owned()]);
    let name = ETCD.rsplit('/').next().unwrap();
    bad.put(SUMS, format!("{}  {name}\n", Digest::of(&made)));
    bad.put(ETCD, made);
    let mut foreign = elf("kube-scheduler");
    foreign[18] = 62;
    for content in [b"#!/bin/sh\n".repeat(10), foreign] {
        bad.put(SIDECAR, Digest::of(&content).to_string());
        bad.put(SCHEDULER, content);
        let mut bench = Bench::new();
        let bases = [bad.url(), bench.mirror.url()];
        bench.inventory = inventory(bench.room.path(), &bases);
        let programs = ["kube-scheduler", "etcd", "etcdctl"].map(program);
        bench.pin(&programs).await.unwrap();
        bench.ensure(&programs).await.unwrap();
        bench.assert_sound();
        let entries = fs::read_dir(bench.cache.directory().join("sha256")).unwrap();
        assert_eq!(entries.count(), 3, "nothing of the first mirror is kept");
    }
}
