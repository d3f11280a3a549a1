//! Promises about what a pin rests on, and about upstream's archive of all servers.

use std::collections::BTreeSet;

use fs_err as fs;
use kinstall::artifact::Program;
use kinstall::digest::{Digest, Sha512};
use kinstall::fetch::{Event, Update};
use kinstall::lockfile::{Lockfile, Trust};

use super::bench::{Bench, SCHEDULER, SIDECAR, archive, elf, program};
use crate::mirror::Mood;

const ARCHIVE: &str = "/v1.99.3/kubernetes-server-linux-arm64.tar.gz";

/// A bench whose inventory takes Kubernetes' programs out of the archive, and a mirror that has it.
fn archive_bench() -> Bench {
    let mut bench = Bench::new();
    bench.inventory.source.archive = true;
    put_archive(&bench, ARCHIVE);
    bench
}

fn put_archive(bench: &Bench, path: &str) {
    let names = ["kube-apiserver", "kube-scheduler", "kubectl"];
    let mut paths = vec!["kubernetes/LICENSES".to_owned()];
    paths.extend(names.map(|name| format!("kubernetes/server/bin/{name}")));
    let made = archive(&paths);
    let checksum = Sha512::of(&made).to_string();
    bench.mirror.put(&format!("{path}.sha512"), checksum);
    bench.mirror.put(path, made);
}

fn servers() -> [Program; 2] {
    ["kube-apiserver", "kube-scheduler"].map(program)
}

#[tokio::test]
async fn servers_come_out_of_the_archive_that_is_not_kept() {
    let mut bench = archive_bench();
    let report = bench.pin(&servers()).await.unwrap();
    bench.ensure(&servers()).await.unwrap();
    bench.assert_sound();
    let [pinned] = report.pinned.as_slice() else {
        panic!("one artifact: {report:?}");
    };
    assert_eq!(pinned.pin.trust, Trust::Mirror);
    let members: Vec<_> = pinned.pin.members.keys().cloned().collect();
    assert_eq!(members, ["kube-apiserver", "kube-scheduler"]);
    for program in servers() {
        let digest = bench.lockfile.program(&program).unwrap().digest;
        assert_eq!(
            fs::read(bench.cache.path(digest)).unwrap(),
            elf(&program.name)
        );
    }
    let kept = |folder: &str| {
        fs::read_dir(bench.cache.directory().join(folder))
            .unwrap()
            .count()
    };
    assert_eq!((kept("sha256"), kept("partial")), (2, 0));
    assert_eq!(bench.mirror.requests(ARCHIVE).len(), 1);

    // One more program is added to the pin, and what was pinned stays.
    let before = bench.lockfile.clone();
    let all = ["kube-apiserver", "kube-scheduler", "kubectl"].map(program);
    bench.pin(&all).await.unwrap();
    for program in servers() {
        assert_eq!(bench.lockfile.program(&program), before.program(&program));
    }
    assert!(bench.lockfile.program(&program("kubectl")).is_some());

    // What the lockfile says holds, whatever the inventory would choose now.
    bench.inventory.source.archive = false;
    bench.forget_cache();
    bench.pin(&all).await.unwrap();
    bench.ensure(&all).await.unwrap();
    assert!(bench.mirror.requests(SCHEDULER).is_empty());
}

#[tokio::test]
async fn an_archive_that_comes_badly_leaves_nothing_and_a_cut_one_goes_on() {
    for mood in [
        Mood::WrongBytes,
        Mood::Page(200, "<html>"),
        Mood::LengthOff(-70_000),
    ] {
        let mut bench = archive_bench();
        bench.mirror.mood(ARCHIVE, [mood]);
        let error = bench.pin(&servers()).await.unwrap_err();
        assert_eq!(error.exit_code(), 5);
        let kept = fs::read_dir(bench.cache.directory().join("sha256")).unwrap();
        assert_eq!(kept.count(), 0);
        bench.mirror.recover();
        bench.pin(&servers()).await.unwrap();
        bench.assert_sound();
    }
    for moods in [
        vec![Mood::CutAfter(200_000)],
        vec![Mood::CutAfter(200_000), Mood::NoRange],
        vec![Mood::StallAfter(300_000), Mood::Right],
        vec![Mood::CutAfter(100_000), Mood::WrongRange, Mood::Right],
    ] {
        let mut bench = archive_bench();
        bench.mirror.mood(ARCHIVE, moods);
        bench.pin(&servers()).await.unwrap();
        bench.ensure(&servers()).await.unwrap();
        bench.assert_sound();
        assert!(bench.mirror.requests(ARCHIVE).len() > 1);
    }
}

#[tokio::test]
async fn an_interrupted_archive_goes_on_where_the_last_run_stopped() {
    let mut bench = archive_bench();
    bench.options.limits.attempts_max = 1;
    bench.mirror.mood(ARCHIVE, [Mood::CutAfter(400_000)]);
    bench.pin(&servers()).await.unwrap_err();
    bench.mirror.recover();
    bench.pin(&servers()).await.unwrap();
    assert!(
        bench.mirror.requests(ARCHIVE)[0]
            .headers
            .contains_key("range")
    );
    bench.ensure(&servers()).await.unwrap();
    bench.assert_sound();
}

#[tokio::test]
async fn only_the_programs_named_are_pinned_anew() {
    let mut bench = archive_bench();
    bench.inventory.source.archive = false;
    let both = ["kube-scheduler", "etcd"].map(program);
    bench.pin(&both).await.unwrap();
    let before = bench.lockfile.clone();
    for (path, sums) in [
        (SCHEDULER, SIDECAR),
        (super::bench::ETCD, super::bench::SUMS),
    ] {
        bench.mirror.put(path, elf("changed"));
        let digest = Digest::of(&elf("changed"));
        let name = path.rsplit('/').next().unwrap();
        bench.mirror.put(sums, format!("{digest}  {name}\n"));
    }
    bench.options.update = Update::Programs(BTreeSet::from(["kube-scheduler".to_owned()]));
    let report = bench.pin(&both).await.unwrap();
    assert_eq!((report.pinned.len(), report.kept), (1, 1));
    let etcd = program("etcd");
    assert_eq!(bench.lockfile.program(&etcd), before.program(&etcd));
    let scheduler = bench.lockfile.program(&program("kube-scheduler")).unwrap();
    assert_eq!(scheduler.digest, Digest::of(&elf("changed")));
}

#[tokio::test]
async fn too_little_trust_is_refused_before_anything_is_asked() {
    let mut bench = Bench::new();
    bench.options.require = Some(Trust::BuiltIn);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(
        error.to_string(),
        "less than the digest built into kinstall is known of\n  kube-scheduler 1.99.3 arm64: it is not built in"
    );
    assert!(bench.mirror.requests(SIDECAR).is_empty());

    // A mirror without https is not enough for less either, which shows when it was asked.
    bench.options.require = Some(Trust::Published);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(
        text.contains("it rests on a checksum from the mirror itself"),
        "{text}"
    );
    assert_eq!(bench.lockfile, Lockfile::default());
    // Nor is a pin that was made when less was asked for.
    bench.options.require = None;
    bench.scheduler().await.unwrap();
    bench.options.require = Some(Trust::Published);
    assert_eq!(bench.scheduler().await.unwrap_err().exit_code(), 5);
}

#[tokio::test]
async fn where_only_the_archive_is_built_in_the_strict_take_that() {
    let mut bench = Bench::new();
    let of = |name| Program {
        version: "1.22.17".parse().unwrap(),
        ..program(name)
    };
    let scheduler = of("kube-scheduler");
    let archive = scheduler.server_archive().unwrap();
    let known = archive.known_checksum().unwrap();
    // The mirror's own checksum is withheld, so that only the built-in one is left to compare with.
    put_archive(&bench, &format!("/{}", archive.path));
    let sidecar = format!("/{}.sha512", archive.path);
    bench.mirror.mood(&sidecar, [Mood::Page(404, "")]);
    bench.options.require = Some(Trust::BuiltIn);
    let error = bench
        .pin(std::slice::from_ref(&scheduler))
        .await
        .unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(text.contains("kinstall knows it as sha512"), "{text}");
    assert!(text.contains(&known.digits()), "{text}");
    let single = format!("/{}", scheduler.artifact().unwrap().path);
    assert!(bench.mirror.requests(&single).is_empty());
    assert_eq!(bench.lockfile, Lockfile::default());
    bench.assert_sound();

    // A published checksum that contradicts the built-in one is refused with both shown.
    bench.mirror.recover();
    let text = bench.pin(&[scheduler]).await.unwrap_err().to_string();
    assert!(
        text.contains("it publishes sha512") && text.contains(&known.digits()),
        "{text}"
    );

    // kubectl itself is known, so it does not come out of the archive.
    let kubectl = of("kubectl");
    bench.pin(&[kubectl]).await.unwrap_err();
    assert_eq!(
        bench.mirror.requests(&format!("/{}", archive.path)).len(),
        0
    );
}

#[tokio::test]
async fn a_program_that_moves_into_the_archive_keeps_its_digest() {
    let mut bench = archive_bench();
    bench.inventory.source.archive = false;
    bench.scheduler().await.unwrap();
    let before = bench.lockfile.program(&program("kube-scheduler"));
    bench.inventory.source.archive = true;
    // The lockfile holds until it is to be made anew.
    bench.scheduler().await.unwrap();
    assert!(bench.mirror.requests(ARCHIVE).is_empty());
    bench.options.update = Update::All;
    bench.scheduler().await.unwrap();
    assert_eq!(bench.mirror.requests(ARCHIVE).len(), 1);
    assert_eq!(bench.lockfile.program(&program("kube-scheduler")), before);
    assert_eq!(bench.lockfile.pins().count(), 1);
}

#[tokio::test]
async fn a_sha512_beside_a_program_does_where_there_is_no_sha256() {
    let mut bench = Bench::new();
    bench.mirror.mood(SIDECAR, [Mood::Page(404, "")]);
    let sidecar = SIDECAR.replace("sha256", "sha512");
    bench
        .mirror
        .put(&sidecar, Sha512::of(&elf("kube-scheduler")).to_string());
    bench.scheduler().await.unwrap();
    bench.assert_sound();
    bench.forget_cache();
    bench.lockfile = Lockfile::default();
    bench.mirror.put(&sidecar, Sha512::of(b"other").to_string());
    let text = bench.scheduler().await.unwrap_err().to_string();
    assert!(text.contains("bytes have sha512"), "{text}");
    assert_eq!(
        bench.happened(|event| matches!(event, Event::Verified { .. })),
        1
    );
}
