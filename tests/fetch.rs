//! Promises of `fetch`: whatever a mirror does, nothing wrong is ever in the cache, the message
//! names the cause, and the next run against a healthy mirror ends right.

mod archive;
mod bench;
mod moods;
mod network;
mod trust;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use kinstall::artifact::Program;
use kinstall::digest::Digest;
use kinstall::fetch::stream::tail;
use kinstall::fetch::{self, Encoding, Event, Update};
use kinstall::lockfile::{Lockfile, Trust};

use crate::mirror::Mood;
use bench::{Bench, ETCD, SCHEDULER, SIDECAR, SUMS, elf, inventory, program, tls_server};

#[tokio::test]
async fn programs_are_pinned_fetched_and_kept() {
    let mut bench = Bench::new();
    let all = ["kube-scheduler", "etcd", "etcdctl"].map(program);
    let report = bench.pin(&all).await.unwrap();
    assert_eq!((report.pinned.len(), report.kept), (2, 0));
    assert!(
        report
            .pinned
            .iter()
            .all(|pinned| pinned.pin.trust == Trust::Mirror)
    );
    bench.ensure(&all).await.unwrap();
    for program in &all {
        let pinned = bench.lockfile.program(program).unwrap();
        assert_eq!(pinned.digest, Digest::of(&elf(&program.name)));
        assert_eq!(
            fs::read(bench.cache.path(pinned.digest)).unwrap(),
            elf(&program.name)
        );
    }
    assert_eq!(bench.mirror.requests(SCHEDULER).len(), 1);
    assert_eq!(bench.mirror.requests(ETCD).len(), 1);

    // Once more, with a lockfile that went through its file: nothing is asked of the network.
    assert!(fetch::write_lockfile(&bench.inventory, &bench.lockfile).unwrap());
    assert!(!fetch::write_lockfile(&bench.inventory, &bench.lockfile).unwrap());
    assert_eq!(
        fetch::read_lockfile(&bench.inventory).unwrap(),
        bench.lockfile
    );
    bench.mirror.recover();
    let report = bench.pin(&all).await.unwrap();
    assert_eq!((report.pinned.len(), report.kept), (0, 2));
    bench.ensure(&all).await.unwrap();
    for path in [SCHEDULER, SIDECAR, ETCD, SUMS] {
        assert!(bench.mirror.requests(path).is_empty());
    }
}

/// A first fetch from a mirror in a mood either ends right, or fails with the message; a second
/// one from the mirror recovered ends right either way.
#[track_caller]
fn check(path: &str, moods: &[Mood], message: Option<&str>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut bench = Bench::new();
    bench.mirror.mood(path, moods.iter().cloned());
    let first = runtime.block_on(bench.scheduler());
    bench.assert_sound();
    match (first, message) {
        (Ok(()), None) => {}
        (Err(error), Some(message)) => {
            let text = error.to_string();
            assert!(text.contains(message), "{moods:?}: {text}");
            assert_eq!(error.exit_code(), 5, "{moods:?}");
            assert_eq!(bench.lockfile, Lockfile::default());
        }
        (first, _) => panic!("{moods:?}: {first:?}"),
    }
    bench.mirror.recover();
    runtime.block_on(bench.scheduler()).unwrap();
    bench.assert_sound();
    let pinned = bench.lockfile.program(&program("kube-scheduler")).unwrap();
    assert_eq!(pinned.digest, Digest::of(&elf("kube-scheduler")));
}

#[test]
fn a_mirror_that_recovers_is_waited_for() {
    let unavailable = Mood::Page(503, "busy");
    check(SCHEDULER, &[unavailable.clone(), Mood::Right], None);
    check(SIDECAR, &[unavailable, Mood::Right], None);
    check(SCHEDULER, &[Mood::CutAfter(20_000)], None);
    check(SCHEDULER, &[Mood::CutAfter(100_000), Mood::NoRange], None);
    check(
        SCHEDULER,
        &[Mood::CutAfter(100_000), Mood::WrongRange, Mood::Right],
        None,
    );
    check(SCHEDULER, &[Mood::StallAfter(1000), Mood::Right], None);
    check(
        SCHEDULER,
        &[Mood::Slow(30_000, Duration::from_millis(5))],
        None,
    );
    check(SCHEDULER, &[Mood::NoLength], None);
    check(SCHEDULER, &[Mood::LengthOff(5), Mood::Right], None);
}

#[test]
fn a_mirror_that_does_not_is_given_up_with_the_cause() {
    let page = "<!DOCTYPE html><html><title>Please log in</title>";
    let rows = [
        (
            Mood::Page(404, page),
            "404 Not Found with a page that says `Please log in`",
        ),
        (
            Mood::Page(200, page),
            "a web page came instead of the file: `Please log in`",
        ),
        (Mood::Page(403, "no"), "403 Forbidden"),
        (Mood::Page(503, "busy"), "503 Service Unavailable"),
        (Mood::CutAfter(0), "the connection broke after 0 bytes"),
        (
            Mood::StallAfter(0),
            "nothing came for 1 second, after 0 bytes",
        ),
        (Mood::LengthOff(-5), "bytes have sha256"),
        (Mood::WrongBytes, "suspect its file, or the way here"),
        (Mood::Gzip, "the file came with `content-encoding: gzip`"),
        (
            Mood::Redirect(SCHEDULER.to_owned()),
            "a redirect is not followed: it leads on more than 10 times",
        ),
    ];
    for (mood, message) in rows {
        check(SCHEDULER, &[mood], Some(message));
    }
}

#[test]
fn without_a_checksum_nothing_is_pinned() {
    let page = "<html><title>Please log in</title>";
    let rows = [
        (
            Mood::Page(404, page),
            "kube-scheduler.sha256 cannot be had: 404 Not Found",
        ),
        (
            Mood::Page(200, page),
            "a web page came instead of a checksum: `Please log in`",
        ),
        (
            Mood::Page(200, ""),
            "kube-scheduler.sha256: the checksum file is empty",
        ),
        (Mood::Page(200, "abc"), "`abc` is not a digest"),
    ];
    for (mood, message) in rows {
        check(SIDECAR, &[mood], Some(message));
    }
}

#[tokio::test]
async fn checksum_files_of_every_usual_form_do() {
    let digest = Digest::of(&elf("kube-scheduler"));
    for text in [
        format!("{digest}  kube-scheduler\n"),
        format!("{digest} *kube-scheduler\r\n"),
        digest.to_string().to_uppercase(),
    ] {
        let mut bench = Bench::new();
        bench.mirror.put(SIDECAR, text);
        bench.scheduler().await.unwrap();
    }
}

#[tokio::test]
async fn a_download_goes_on_where_the_last_run_stopped() {
    let mut bench = Bench::new();
    bench.options.limits.attempts_max = 1;
    bench.mirror.mood(SCHEDULER, [Mood::CutAfter(200_000)]);
    bench.scheduler().await.unwrap_err();
    bench.mirror.recover();
    bench.scheduler().await.unwrap();
    let requests = bench.mirror.requests(SCHEDULER);
    let range = requests[0].headers["range"].strip_prefix("bytes=").unwrap();
    let from: u64 = range.trim_end_matches('-').parse().unwrap();
    assert!((1..=200_000).contains(&from), "{from}");
    assert!(requests[0].headers.contains_key("if-range"));
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn what_is_left_of_another_file_does_no_harm() {
    let mut bench = Bench::new();
    let digest = Digest::of(&elf("kube-scheduler"));
    let partial = bench
        .cache
        .directory()
        .join("partial")
        .join(digest.to_string());
    for left in [vec![7; 1000], vec![7; 400_000], elf("kube-scheduler")] {
        fs::write(&partial, left).unwrap();
        bench.scheduler().await.unwrap();
        bench.assert_sound();
        bench.forget_cache();
        bench.lockfile = Lockfile::default();
    }
}

#[tokio::test]
async fn other_bytes_than_pinned_are_refused_and_the_suspect_is_named() {
    let mut bench = Bench::new();
    bench.scheduler().await.unwrap();
    bench.forget_cache();
    let (pinned, other) = (elf("kube-scheduler"), elf("kube-schedulex"));

    bench.mirror.put(SCHEDULER, other.clone());
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(text.contains(&Digest::of(&pinned).to_string()), "{text}");
    assert!(text.contains(&Digest::of(&other).to_string()), "{text}");
    assert!(
        text.contains("agrees with `kinstall.lock`: suspect its file"),
        "{text}"
    );

    bench.mirror.put(SIDECAR, Digest::of(&other).to_string());
    let text = bench.scheduler().await.unwrap_err().to_string();
    assert!(text.contains("suspect both, and ask a third"), "{text}");
    bench.assert_sound();

    // Only `--update` takes the new ones, and says so.
    bench.options.update = Update::All;
    let report = bench.pin(&[program("kube-scheduler")]).await.unwrap();
    assert_eq!(report.pinned[0].before, Some(Digest::of(&pinned)));
    assert_eq!(report.pinned[0].pin.digest, Digest::of(&other));
}

#[tokio::test]
async fn locked_pins_nothing() {
    let mut bench = Bench::new();
    bench.options.locked = true;
    let error = bench.pin(&[program("kube-scheduler")]).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("kube-scheduler 1.99.3 arm64"));
    assert!(bench.mirror.requests(SIDECAR).is_empty());
}

#[tokio::test]
async fn sources_are_tried_in_order_and_each_failure_is_told() {
    let mut bench = Bench::new();
    let directory = bench.room.path().join("mirror");
    let bases = [
        format!("file://{}", directory.display()),
        bench.mirror.url(),
    ];
    bench.inventory = inventory(bench.room.path(), &bases);
    bench.scheduler().await.unwrap();
    let failed = |event: &Event| matches!(event, Event::SourceFailed { url, .. } if url.starts_with("file://"));
    assert_eq!(bench.happened(failed), 1);

    bench.forget_cache();
    bench.mirror.mood(SCHEDULER, [Mood::Page(404, "")]);
    let text = bench.scheduler().await.unwrap_err().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "could not fetch kube-scheduler 1.99.3 arm64");
    assert!(lines[1].contains("from file:///") && lines[1].contains("there is no file"));
    assert!(lines[2].contains("from http://") && lines[2].contains("404"));

    // The directory a user fills serves the lock that the other one made.
    let file = directory.join(&SCHEDULER[1..]);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, elf("kube-scheduler")).unwrap();
    bench.scheduler().await.unwrap();
    bench.assert_sound();
}

#[tokio::test]
async fn a_damaged_cache_entry_is_noticed_and_fetched_again() {
    let mut bench = Bench::new();
    bench.scheduler().await.unwrap();
    let digest = Digest::of(&elf("kube-scheduler"));
    let path = bench.cache.path(digest);
    let mut damaged = elf("kube-scheduler");
    damaged[200_000] ^= 1;
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, damaged).unwrap();
    bench.scheduler().await.unwrap();
    bench.assert_sound();
    assert_eq!(
        bench.happened(|event| matches!(event, Event::Corrupt { .. })),
        1
    );
    assert_eq!(bench.mirror.requests(SCHEDULER).len(), 2);
}

#[tokio::test]
async fn two_runs_share_a_cache() {
    let mut bench = Bench::new();
    bench.scheduler().await.unwrap();
    bench.forget_cache();
    bench.mirror.recover();
    bench
        .mirror
        .mood(SCHEDULER, [Mood::Slow(30_000, Duration::from_millis(20))]);
    let programs = [program("kube-scheduler")];
    let (one, other) = tokio::join!(bench.ensure(&programs), bench.ensure(&programs));
    one.unwrap();
    other.unwrap();
    bench.assert_sound();
    assert_eq!(bench.mirror.requests(SCHEDULER).len(), 1);
    assert_eq!(
        bench.happened(|event| matches!(event, Event::Waiting { .. })),
        1
    );
}

#[tokio::test]
async fn a_release_that_kinstall_knows_is_not_taken_from_who_says_otherwise() {
    let mut bench = Bench::new();
    let known = Program {
        version: "1.32.3".parse().unwrap(),
        ..program("kube-scheduler")
    };
    let digest = known.artifact().unwrap().known_digest().unwrap();
    let path = format!("/{}", known.artifact().unwrap().path);
    bench.mirror.put(&path, elf("replaced"));
    bench.mirror.put(
        &format!("{path}.sha256"),
        Digest::of(&elf("replaced")).to_string(),
    );
    let error = bench.pin(std::slice::from_ref(&known)).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(
        text.contains(&digest.to_string()) && text.contains("suspect the source"),
        "{text}"
    );
    assert!(bench.mirror.requests(&path).is_empty());

    // Without a checksum of its own, or with the right one, the file itself is compared.
    for checksum in [Mood::Page(404, ""), Mood::Right] {
        bench
            .mirror
            .put(&format!("{path}.sha256"), digest.to_string());
        bench.mirror.mood(&format!("{path}.sha256"), [checksum]);
        let text = bench
            .pin(std::slice::from_ref(&known))
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("kinstall knows it as"), "{text}");
        bench.assert_sound();
    }
    assert_eq!(bench.lockfile, Lockfile::default());

    // Who builds upstream's releases again is believed, if the user says that they do.
    bench.inventory.source.rebuilt = true;
    let checksum = Digest::of(&elf("replaced")).to_string();
    bench.mirror.put(&format!("{path}.sha256"), checksum);
    let report = bench.pin(std::slice::from_ref(&known)).await.unwrap();
    assert_eq!(report.pinned[0].pin.trust, Trust::Mirror);

    // A lockfile that says so without that word is not believed, whoever edited it.
    bench.inventory.source.rebuilt = false;
    let error = bench.pin(&[known]).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(
        error.to_string().contains("suspect the lockfile"),
        "{error}"
    );
}

#[tokio::test]
async fn a_program_for_another_machine_is_refused_before_it_is_pinned() {
    let mut bench = Bench::new();
    let mut amd64 = elf("kube-scheduler");
    amd64[18] = 62;
    bench.mirror.put(SIDECAR, Digest::of(&amd64).to_string());
    bench.mirror.put(SCHEDULER, amd64);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(
        error.to_string(),
        "kube-scheduler 1.99.3 arm64 cannot be used: it is a program for amd64, not for arm64"
    );
    assert_eq!(bench.lockfile, Lockfile::default());
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_given_up_at_once() {
    let mut bench = Bench::new();
    let server = tls_server().await;
    bench.inventory = inventory(bench.room.path(), &[format!("https://{server}")]);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(text.contains("the TLS connection is refused"), "{text}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("SSL_CERT_FILE"), "{help}");
    assert_eq!(
        bench.happened(|event| matches!(event, Event::Retrying { .. })),
        0
    );
}

#[tokio::test]
async fn an_own_build_is_pinned_and_watched() {
    let mut bench = Bench::new();
    let own = Program {
        own: Some("build/kube-scheduler".to_owned()),
        ..program("kube-scheduler")
    };
    let error = bench.pin(std::slice::from_ref(&own)).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);

    let file = bench.room.path().join("build/kube-scheduler");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, elf("mine")).unwrap();
    let report = bench.pin(std::slice::from_ref(&own)).await.unwrap();
    assert_eq!(report.pinned[0].pin.trust, Trust::Yours);
    bench.ensure(std::slice::from_ref(&own)).await.unwrap();

    fs::write(&file, elf("mine, again")).unwrap();
    let error = bench.pin(std::slice::from_ref(&own)).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(
        error
            .to_string()
            .contains("no longer what `kinstall.lock` pins")
    );
    fs::remove_file(&file).unwrap();
    bench.pin(std::slice::from_ref(&own)).await.unwrap();
    bench.ensure(&[own]).await.unwrap();
}

#[tokio::test]
async fn the_real_tools_unpack_the_stream_of_a_push() {
    let mut bench = Bench::new();
    let programs = ["kube-scheduler", "etcd"].map(program);
    bench.pin(&programs).await.unwrap();
    bench.ensure(&programs).await.unwrap();
    let inline: [&[u8]; 3] = [b"", b"a unit", &[b'x'; 512]];
    let inline = inline.map(|content| (Digest::of(content), content));
    for (encoding, tool) in [(Encoding::Zstd, "zstd"), (Encoding::Gzip, "gzip")] {
        let mut stream = Vec::new();
        for program in &programs {
            let digest = bench.lockfile.program(program).unwrap().digest;
            let path = bench.cache.member(digest, encoding).await.unwrap();
            stream.extend(fs::read(path).unwrap());
        }
        stream.extend(tail(&inline, encoding));
        let plain = piped(Command::new(tool).arg("-dc"), stream);
        let into = tempfile::tempdir().unwrap();
        let told = piped(
            Command::new("tar").arg("-xvf-").arg("-C").arg(into.path()),
            plain,
        );
        assert_eq!(String::from_utf8(told).unwrap().lines().count(), 5);
        for content in [
            &elf("kube-scheduler"),
            &elf("etcd"),
            inline[0].1,
            inline[1].1,
            inline[2].1,
        ] {
            let file = into.path().join(Digest::of(content).to_string());
            assert_eq!(fs::read(&file).unwrap(), content);
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

fn piped(command: &mut Command, input: Vec<u8>) -> Vec<u8> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    output.stdout
}
