//! Promises of `fetch`: whatever a mirror does, nothing wrong is ever in the cache, the message
//! names the cause, and the next run against a healthy mirror ends right.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use fs_err as fs;
use kinstall::arch::Arch;
use kinstall::artifact::Program;
use kinstall::digest::Digest;
use kinstall::fetch::stream::tail;
use kinstall::fetch::{self, Cache, Encoding, Error, Event, Limits, Options};
use kinstall::inventory::{
    Authorities, Cluster, Encryption, Endpoint, Inventory, KeyType, Pki, PkiSource, Rollout, San,
    Source,
};
use kinstall::lockfile::{Lockfile, Trust};
use kinstall::version::Version;

use crate::mirror::{Mirror, Mood};

const SCHEDULER: &str = "/release/v1.32.3/bin/linux/arm64/kube-scheduler";
const SIDECAR: &str = "/release/v1.32.3/bin/linux/arm64/kube-scheduler.sha256";
const ETCD: &str = "/v3.5.21/etcd-v3.5.21-linux-arm64.tar.gz";
const SUMS: &str = "/v3.5.21/SHA256SUMS";

/// A mirror, an inventory that names it, a cache, and what was told.
struct Bench {
    mirror: Mirror,
    inventory: Inventory,
    cache: Cache,
    lockfile: Lockfile,
    options: Options,
    told: Mutex<Vec<Event>>,
    room: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let (mirror, room) = (Mirror::start(), tempfile::tempdir().unwrap());
        let inventory = inventory(room.path(), &[mirror.url()]);
        let cache = Cache::open(Some(&room.path().join("cache"))).unwrap();
        let limits = Limits {
            connect_seconds: 2,
            stall_seconds: 1,
            total_seconds: 20,
            attempts_max: 3,
            backoff_milliseconds: 1,
        };
        let options = Options {
            limits,
            ..Options::default()
        };
        let bench = Self {
            mirror,
            inventory,
            cache,
            lockfile: Lockfile::default(),
            options,
            told: Mutex::default(),
            room,
        };
        bench.mirror.put(SCHEDULER, elf("kube-scheduler"));
        bench
            .mirror
            .put(SIDECAR, Digest::of(&elf("kube-scheduler")).to_string());
        let archive = etcd_archive();
        let sums = format!(
            "{}  etcd-v3.5.21-linux-amd64.tar.gz\n{}  etcd-v3.5.21-linux-arm64.tar.gz\n",
            Digest::of(b"amd64"),
            Digest::of(&archive)
        );
        bench.mirror.put(ETCD, archive);
        bench.mirror.put(SUMS, sums);
        bench
    }

    async fn pin(&mut self, programs: &[Program]) -> Result<fetch::PinReport, Error> {
        let programs: BTreeSet<_> = programs.iter().cloned().collect();
        let tell = |event| self.told.lock().unwrap().push(event);
        let (inventory, cache, options) = (&self.inventory, &self.cache, &self.options);
        fetch::pin(
            inventory,
            &programs,
            &mut self.lockfile,
            cache,
            options,
            &tell,
        )
        .await
    }

    async fn ensure(&self, programs: &[Program]) -> Result<(), Error> {
        let programs: BTreeSet<_> = programs.iter().cloned().collect();
        let tell = |event| self.told.lock().unwrap().push(event);
        let (inventory, cache, options) = (&self.inventory, &self.cache, &self.options);
        fetch::ensure(inventory, &programs, &self.lockfile, cache, options, &tell).await
    }

    /// Pins and fetches the scheduler; the mirror must be right.
    async fn scheduler(&mut self) -> Result<(), Error> {
        self.pin(&[program("kube-scheduler")]).await?;
        self.ensure(&[program("kube-scheduler")]).await
    }

    fn forget_cache(&self) {
        for folder in ["sha256", "index", "member", "partial"] {
            for entry in fs::read_dir(self.cache.directory().join(folder)).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }

    /// Whether every name in the cache is the digest of what it names.
    #[track_caller]
    fn assert_sound(&self) {
        for entry in fs::read_dir(self.cache.directory().join("sha256")).unwrap() {
            let path = entry.unwrap().path();
            let content = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(Digest::of(&content).to_string(), name);
        }
    }

    fn happened(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.told
            .lock()
            .unwrap()
            .iter()
            .filter(|event| what(event))
            .count()
    }
}

fn inventory(directory: &Path, bases: &[String]) -> Inventory {
    Inventory {
        directory: directory.to_owned(),
        cluster: Cluster {
            name: "home".parse().unwrap(),
            kubernetes: Version::new(1, 32, 3),
            etcd: Version::new(3, 5, 21),
            domain: "cluster.local".parse().unwrap(),
            endpoint: Endpoint {
                host: San::Ip([10, 0, 12, 1].into()),
                port: 6443,
            },
            service_cidr: "10.32.0.0/24".parse().unwrap(),
            pod_cidr: "10.200.0.0/16".parse().unwrap(),
        },
        source: Source {
            kubernetes: bases.to_vec(),
            etcd: bases.to_vec(),
        },
        pki: Pki {
            from: PkiSource::Local,
            authorities: Authorities::Single,
            key: KeyType::EcdsaP256,
            days: 365,
            ca_days: 3650,
        },
        encryption: Encryption::default(),
        rollout: Rollout::default(),
        components: BTreeMap::new(),
        nodes: BTreeMap::new(),
    }
}

fn program(name: &str) -> Program {
    let version = if name.starts_with("etcd") {
        "3.5.21"
    } else {
        "1.32.3"
    };
    Program {
        name: name.to_owned(),
        version: version.parse().unwrap(),
        arch: Arch::Arm64,
        own: None,
    }
}

/// Something with the header of an arm64 program and 300 KB that do not compress away.
fn elf(seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 183;
    let mut block = Digest::of(seed.as_bytes());
    while bytes.len() < 300_000 {
        block = Digest::of(block.to_string().as_bytes());
        bytes.extend(block.to_string().as_bytes());
    }
    bytes
}

fn etcd_archive() -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for name in ["README.md", "etcd", "etcdctl"] {
        let content = elf(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        let path = format!("etcd-v3.5.21-linux-arm64/{name}");
        archive
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

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
            "nothing came for 1 seconds (0 bytes were there)",
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
        (Mood::Page(200, "abc"), "`abc` is not a SHA-256 digest"),
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
    bench.options.update = true;
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
    assert!(error.to_string().contains("kube-scheduler 1.32.3 arm64"));
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
    assert_eq!(lines[0], "could not fetch kube-scheduler 1.32.3 arm64");
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
        bench.happened(|event| *event == Event::Corrupt { digest }),
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
        "kube-scheduler 1.32.3 arm64 cannot be used: it is a program for amd64, not for arm64"
    );
    assert_eq!(bench.lockfile, Lockfile::default());
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
