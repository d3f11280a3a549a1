//! Promises about programs that come in an archive: all of it is right, or none of it is used.

use fs_err as fs;
use kinstall::artifact::Program;
use kinstall::digest::Digest;
use kinstall::lockfile::Lockfile;

use super::bench::{Bench, ETCD, SUMS, elf, etcd_archive, program};
use crate::mirror::Mood;

/// The names in the cache.
fn cached(bench: &Bench) -> usize {
    let folder = bench.cache.directory().join("sha256");
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn nothing_is_taken_out_of_an_archive_that_is_not_right() {
    for mood in [
        Mood::WrongBytes,
        Mood::LengthOff(-100),
        Mood::LengthOff(-70_000),
        Mood::CutAfter(0),
        Mood::Page(200, "<html>"),
    ] {
        let mut bench = Bench::new();
        bench.mirror.mood(ETCD, [mood]);
        let error = bench.pin(&[program("etcd")]).await.unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert_eq!(cached(&bench), 0);
        bench.mirror.recover();
        bench.pin(&[program("etcd")]).await.unwrap();
        bench.ensure(&[program("etcd")]).await.unwrap();
        bench.assert_sound();
    }
}

#[tokio::test]
async fn an_archive_that_leads_out_of_itself_is_refused_whatever_its_checksum_says() {
    let mut bench = Bench::new();
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..14].copy_from_slice(b"../../evil.txt");
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(0);
    header.set_cksum();
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    archive.append(&header, std::io::empty()).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let name = ETCD.rsplit('/').next().unwrap();
    bench
        .mirror
        .put(SUMS, format!("{}  {name}\n", Digest::of(&archive)));
    bench.mirror.put(ETCD, archive);
    let error = bench.pin(&[program("etcd")]).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(
        error
            .to_string()
            .contains("`../../evil.txt`, a path that leads out of it")
    );
    assert_eq!(bench.lockfile, Lockfile::default());
    let partial = fs::read_dir(bench.cache.directory().join("partial")).unwrap();
    assert_eq!((cached(&bench), partial.count()), (0, 0));
}

#[tokio::test]
async fn a_lockfile_edited_about_a_member_is_found_out() {
    let mut bench = Bench::new();
    bench.pin(&[program("etcd")]).await.unwrap();
    let (right, wrong) = (Digest::of(&elf("etcd")), Digest::of(b"evil"));
    let text = bench.lockfile.to_text();
    bench.lockfile =
        Lockfile::parse(&text.replace(&right.to_string(), &wrong.to_string())).unwrap();
    let error = bench.ensure(&[program("etcd")]).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(
        text.starts_with("`kinstall.lock` contradicts itself"),
        "{text}"
    );
    assert!(text.contains(&right.to_string()) && text.contains(&wrong.to_string()));
}

fn both() -> [Program; 2] {
    ["etcd", "etcdctl"].map(program)
}

#[tokio::test]
async fn programs_come_out_of_an_archive_that_is_not_kept() {
    let mut bench = Bench::new();
    let report = bench.pin(&both()).await.unwrap();
    bench.ensure(&both()).await.unwrap();
    bench.assert_sound();
    let [pinned] = report.pinned.as_slice() else {
        panic!("one artifact: {report:?}");
    };
    let members: Vec<_> = pinned.pin.members.keys().cloned().collect();
    assert_eq!(members, ["etcd", "etcdctl"]);
    for program in both() {
        let digest = bench.lockfile.program(&program).unwrap().digest;
        assert_eq!(
            fs::read(bench.cache.path(digest)).unwrap(),
            elf(&program.name)
        );
    }
    let partial = fs::read_dir(bench.cache.directory().join("partial")).unwrap();
    assert_eq!((cached(&bench), partial.count()), (2, 0));
    assert_eq!(bench.mirror.requests(ETCD).len(), 1);
}

#[tokio::test]
async fn a_program_that_a_pin_lacks_is_added_to_it_and_the_others_stay() {
    let mut bench = Bench::new();
    bench.pin(&[program("etcd")]).await.unwrap();
    let before = bench.lockfile.program(&program("etcd"));
    bench.pin(&both()).await.unwrap();
    assert_eq!(bench.lockfile.program(&program("etcd")), before);
    assert!(bench.lockfile.program(&program("etcdctl")).is_some());
    assert_eq!(bench.lockfile.pins().count(), 1);
}

#[tokio::test]
async fn an_archive_that_is_cut_goes_on_and_its_programs_are_right() {
    for moods in [
        vec![Mood::CutAfter(200_000)],
        vec![Mood::CutAfter(200_000), Mood::NoRange],
        vec![Mood::StallAfter(300_000), Mood::Right],
        vec![Mood::CutAfter(100_000), Mood::WrongRange, Mood::Right],
    ] {
        let mut bench = Bench::new();
        bench.mirror.mood(ETCD, moods);
        bench.pin(&both()).await.unwrap();
        bench.ensure(&both()).await.unwrap();
        bench.assert_sound();
        assert!(bench.mirror.requests(ETCD).len() > 1);
    }
}

#[tokio::test]
async fn an_interrupted_archive_goes_on_where_the_last_run_stopped() {
    let mut bench = Bench::new();
    bench.options.limits.attempts_max = 1;
    bench.mirror.mood(ETCD, [Mood::CutAfter(400_000)]);
    bench.pin(&both()).await.unwrap_err();
    bench.mirror.recover();
    bench.pin(&both()).await.unwrap();
    let requests = bench.mirror.requests(ETCD);
    assert!(requests[0].headers.contains_key("range"));
    bench.ensure(&both()).await.unwrap();
    bench.assert_sound();
}

/// As a run leaves it that is killed while it unpacks.
#[tokio::test]
async fn an_archive_that_came_whole_is_not_asked_for_again() {
    let mut bench = Bench::new();
    let archive = etcd_archive();
    let name = Digest::of(&archive).to_string();
    let partial = bench.cache.directory().join("partial");
    fs::write(partial.join(name), archive).unwrap();
    bench.pin(&both()).await.unwrap();
    bench.ensure(&both()).await.unwrap();
    bench.assert_sound();
    assert!(bench.mirror.requests(ETCD).is_empty());
    assert_eq!(fs::read_dir(partial).unwrap().count(), 0);
}

#[tokio::test]
async fn members_lost_from_the_cache_are_fetched_again() {
    let mut bench = Bench::new();
    let both = ["etcd", "etcdctl"].map(program);
    bench.pin(&both).await.unwrap();
    bench.ensure(&both).await.unwrap();
    fs::remove_file(bench.cache.path(Digest::of(&elf("etcdctl")))).unwrap();
    bench.mirror.recover();
    bench.ensure(&both).await.unwrap();
    bench.assert_sound();
    assert_eq!(bench.mirror.requests(ETCD).len(), 1);
}
