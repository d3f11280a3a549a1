//! What the cache keeps and what it gives away.

use super::*;
use std::time::SystemTime;

fn cache() -> (tempfile::TempDir, Cache) {
    let room = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(room.path())).unwrap();
    (room, cache)
}

#[track_caller]
fn check(set: &[(&str, &str)], place: Option<&str>) {
    let found = usual_place(|name| {
        let (_, value) = set.iter().find(|(set, _)| *set == name)?;
        Some(PathBuf::from(value))
    });
    assert_eq!(found.ok(), place.map(PathBuf::from));
}

#[test]
fn the_place_is_the_users_or_the_usual_one() {
    let (xdg, home) = (("XDG_CACHE_HOME", "/x"), ("HOME", "/home/me"));
    check(&[("KINSTALL_CACHE", "here"), xdg, home], Some("here"));
    check(&[("KINSTALL_CACHE", ""), xdg, home], Some("/x/kinstall"));
    check(
        &[("XDG_CACHE_HOME", "relative"), home],
        Some("/home/me/.cache/kinstall"),
    );
    check(&[], None);
}

#[test]
fn touched_content_is_hashed_again_and_damaged_content_removed() {
    let (_room, cache) = cache();
    let PinnedProgram { digest, size } = cache.store(&mut b"program".as_slice()).unwrap();
    assert_eq!((digest, size), (Digest::of(b"program"), 7));
    assert_eq!(
        cache.find_blocking(digest, false).unwrap(),
        Found::Present(7)
    );

    // The same bytes from elsewhere, as a restored backup has them.
    let path = cache.path(digest);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"program").unwrap();
    assert!(!cache.index.agrees(&path, &digest.to_string()));
    assert_eq!(
        cache.find_blocking(digest, false).unwrap(),
        Found::Present(7)
    );
    assert!(cache.index.agrees(&path, &digest.to_string()));

    fs::write(&path, b"pr0gram").unwrap();
    assert_eq!(cache.find_blocking(digest, false).unwrap(), Found::Corrupt);
    assert_eq!(cache.find_blocking(digest, false).unwrap(), Found::Absent);
}

#[tokio::test]
async fn a_damaged_member_is_made_again_and_none_is_made_of_damaged_content() {
    let (_room, cache) = cache();
    let digest = cache.store(&mut b"program".as_slice()).unwrap().digest;
    let member = cache.member(digest, Encoding::Zstd).await.unwrap();
    let right = fs::read(&member).unwrap();
    fs::write(&member, b"damaged").unwrap();
    assert!(!cache.has_member(digest, Encoding::Zstd));
    cache.member(digest, Encoding::Zstd).await.unwrap();
    assert_eq!(fs::read(&member).unwrap(), right);

    let path = cache.path(digest);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"pr0gram").unwrap();
    let error = cache.member(digest, Encoding::Gzip).await.unwrap_err();
    assert!(matches!(error, Error::Absent(absent) if absent == digest));
    assert!(!member.exists());
}

#[test]
fn what_killed_processes_left_is_swept_when_it_is_old() {
    let (room, cache) = cache();
    let days = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    let old = [
        ("new-a", 0, true),
        ("new-b", 2, false),
        ("c", 2, true),
        ("d", 31, false),
    ];
    for (name, age, _) in old {
        let path = cache.directory().join("partial").join(name);
        let file = fs::File::create(path).unwrap();
        file.file().set_modified(days(age)).unwrap();
    }
    Cache::open(Some(room.path())).unwrap();
    for (name, _, kept) in old {
        assert_eq!(
            cache.directory().join("partial").join(name).exists(),
            kept,
            "{name}"
        );
    }
}

#[test]
fn a_full_disk_is_named_as_such() {
    let (room, cache) = cache();
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let text = cache.failed(kind.into()).to_string();
        let place = room.path().display();
        assert_eq!(
            text,
            format!("the disk that holds the cache `{place}` is full")
        );
    }
}
