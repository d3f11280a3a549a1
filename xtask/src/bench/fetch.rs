//! `cargo xtask bench fetch`: how long a fetch takes beside what one would type instead, and how
//! much memory it takes.
//!
//! Near: four files from a mirror on the loopback, beside `curl --parallel` and `sha256sum`. Far:
//! the same through a front that is 50 ms away, beside the documents' `wget`, one after another. All
//! take turns, and the medians are compared.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use sha2::{Digest, Sha256};

use super::{Error, MEMORY_MIB_MAX, held_kib};
use crate::command::Program;
use crate::mirror::server::Server;
use crate::nodes;
use crate::say;
use crate::setup::{self, Profile, Seat};

/// A release that never was, so that no digest of it is known beforehand.
const VERSION: &str = "1.36.99";
const NAMES: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];
/// How far away the front is, there and back.
const ROUND_TRIP: Duration = Duration::from_millis(50);
/// What one connection brings at that distance in bytes a second: a window of 2.5 MB each trip.
const FAR_RATE: u32 = 50_000_000;
/// How much the front passes on at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(300);
/// What is promised: times curl's time, times faster than wget.
const NEAR_RATIO_MAX: f64 = 1.15;
const FAR_RATIO_MIN: f64 = 2.0;

/// Everything that is measured with, in one directory.
struct Bench {
    room: PathBuf,
    kinstall: PathBuf,
}

/// What one run took.
struct Run {
    seconds: f64,
    /// The most memory it held, in KiB, where that was looked at.
    peak_kib: u64,
}

/// Measures.
pub(super) fn run(repeats: u8, megabytes: u32) -> Result<(), Error> {
    let kinstall = setup::build("kinstall", Profile::Release)?;
    let seat = Seat::take("bench", super::SUBNET)?;
    let room = nodes::cached(&format!("{}-fetch", seat.name));
    if room.exists() {
        fs::remove_dir_all(&room)?;
    }
    let bench = Bench { room, kinstall };
    say::line(format!("bench: making four files of {megabytes} MB"));
    bench.stock(megabytes)?;
    let server = Server::start(&bench.room.join("mirror"))?;
    let near = server.url();
    let far = front(near.trim_start_matches("http://"))?;
    let (mut ours, mut curl, mut far_ours, mut wget) = (vec![], vec![], vec![], vec![]);
    let (mut peak, mut peak_compressing) = (0, 0);
    for turn in 1..=repeats {
        say::line(format!("bench: {turn} of {repeats}"));
        curl.push(bench.curl(&near)?);
        let run = bench.fetch(&near, &[])?;
        ours.push(run.seconds);
        peak = peak.max(run.peak_kib);
        wget.push(bench.wget(&far)?);
        far_ours.push(bench.fetch(&far, &[])?.seconds);
    }
    peak_compressing = peak_compressing.max(bench.fetch(&near, &["--compress"])?.peak_kib);
    let [ours, curl, far_ours, wget] = [ours, curl, far_ours, wget].map(median);
    let (near_ratio, far_ratio) = (ours / curl, wget / far_ours);
    let (mib, mib_compressing) = (peak / 1024, peak_compressing / 1024);
    let word = |kept: bool| if kept { "kept" } else { "NOT KEPT" };
    say::data(format!(
        "four files of {megabytes} MB, medians of {repeats}\n\
         near: fetch {ours:.2} s, curl --parallel and sha256sum {curl:.2} s: {near_ratio:.2} times \
         (at most {NEAR_RATIO_MAX}: {})\n\
         50 ms away: fetch {far_ours:.2} s, wget one after another {wget:.2} s: {far_ratio:.2} times \
         faster (at least {FAR_RATIO_MIN}: {})\n\
         memory: {mib} MiB, {mib_compressing} MiB with --compress (at most {MEMORY_MIB_MAX}: {})",
        word(near_ratio <= NEAR_RATIO_MAX),
        word(far_ratio >= FAR_RATIO_MIN),
        word(mib.max(mib_compressing) <= MEMORY_MIB_MAX),
    ));
    drop(server);
    Ok(fs::remove_dir_all(&bench.room)?)
}

impl Bench {
    /// A mirror with four files, and an inventory whose etcd needs no network.
    fn stock(&self, megabytes: u32) -> Result<(), Error> {
        let shelf = self.room.join("mirror").join(shelf());
        fs::create_dir_all(&shelf)?;
        for (seed, name) in (1_u64..).zip(NAMES) {
            let digest = make(&shelf.join(name), seed, u64::from(megabytes) * 1_000_000)?;
            fs::write(shelf.join(format!("{name}.sha256")), digest)?;
        }
        fs::create_dir_all(self.room.join("etcd"))?;
        for name in ["etcd", "etcdctl"] {
            make(&self.room.join("etcd").join(name), 9, 1000)?;
        }
        Ok(())
    }

    fn fetch(&self, url: &str, words: &[&str]) -> Result<Run, Error> {
        let (cache, lock) = (self.room.join("cache"), self.room.join("kinstall.lock"));
        remove(&cache)?;
        if lock.exists() {
            fs::remove_file(lock)?;
        }
        let inventory = self.room.join("inventory.toml");
        let text = format!(
            "[cluster]\nname = \"bench\"\nkubernetes = \"{VERSION}\"\n\
             [source]\nkubernetes = [\"{url}\"]\n[component.etcd]\npath = \"etcd\"\n\
             [[node]]\nname = \"a\"\naddress = \"10.0.12.1\"\narch = \"amd64\"\n"
        );
        fs::write(&inventory, text)?;
        let mut command = Command::new(&self.kinstall);
        command
            .arg("fetch")
            .args(words)
            .arg("--quiet")
            .arg(&inventory);
        command.env("KINSTALL_CACHE", &cache).stdout(Stdio::null());
        watched(&mut command)
    }

    fn curl(&self, url: &str) -> Result<f64, Error> {
        let room = self.fresh("curl")?;
        let begun = Instant::now();
        let mut curl = Program::new("curl").args(["--parallel", "--silent", "--fail"]);
        for name in NAMES {
            let to = room.join(name);
            curl = curl
                .arg("-o")
                .arg(to)
                .arg(format!("{url}/{}/{name}", shelf()));
        }
        curl.limit_seconds(LIMIT.as_secs()).done()?;
        let sums = NAMES.map(|name| room.join(name));
        Program::new("sha256sum")
            .args(sums)
            .limit_seconds(LIMIT.as_secs())
            .done()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn wget(&self, url: &str) -> Result<f64, Error> {
        let room = self.fresh("wget")?;
        let begun = Instant::now();
        for name in NAMES {
            let wget = Program::new("wget").args(["-q", "-P"]).arg(&room);
            let wget = wget.arg(format!("{url}/{}/{name}", shelf()));
            wget.limit_seconds(LIMIT.as_secs()).done()?;
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    fn fresh(&self, name: &str) -> Result<PathBuf, Error> {
        let room = self.room.join(name);
        remove(&room)?;
        fs::create_dir_all(&room)?;
        Ok(room)
    }
}

fn shelf() -> String {
    format!("release/v{VERSION}/bin/linux/amd64")
}

fn remove(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// Runs a program to its end, and looks at its memory all the while.
fn watched(command: &mut Command) -> Result<Run, Error> {
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let mut peak_kib = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        // What it was in the last two milliseconds may be missed.
        peak_kib = peak_kib.max(held_kib(child.id()));
        if begun.elapsed() > LIMIT {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let seconds = begun.elapsed().as_secs_f64();
    if !ended.success() {
        return Err(Error::Wrong {
            method: "kinstall fetch",
            what: ended.to_string(),
        });
    }
    Ok(Run { seconds, peak_kib })
}

/// Writes something with the header of an amd64 program and bytes that do not compress away, and
/// returns its SHA-256.
fn make(path: &Path, seed: u64, bytes: u64) -> io::Result<String> {
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    let mut hasher = Sha256::new();
    let mut header = [0; 64];
    header[..6].copy_from_slice(b"\x7fELF\x02\x01");
    header[18] = 62;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut piece = header.to_vec();
    let mut written = 0;
    while written < bytes {
        hasher.update(&piece);
        file.write_all(&piece)?;
        written += piece.len() as u64;
        piece.clear();
        while piece.len() < CHUNK_BYTES {
            // xorshift; half of each word stays the same, as in programs.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            piece.extend((state & 0xffff_ffff).to_le_bytes());
        }
        piece.truncate(
            usize::try_from(bytes.saturating_sub(written))
                .map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES)),
        );
    }
    file.flush()?;
    let digest = hasher.finalize();
    Ok(digest
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// Stands before a server as if it were far away: a round trip to connect, one to ask, and no
/// connection is faster than its window allows. It ends with the process.
fn front(behind: &str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let behind: SocketAddr = behind.parse().map_err(io::Error::other)?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away is its own business.
            thread::spawn(move || pass(client, behind));
        }
    });
    Ok(url)
}

fn pass(mut client: TcpStream, behind: SocketAddr) -> io::Result<()> {
    thread::sleep(ROUND_TRIP);
    let mut server = TcpStream::connect(behind)?;
    let (mut asks, mut hears) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut asks, &mut hears));
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut sent = 0_u32;
    let mut begun = None;
    loop {
        let read = server.read(&mut chunk)?;
        if read == 0 {
            return client.shutdown(std::net::Shutdown::Both);
        }
        let begun = *begun.get_or_insert_with(|| {
            thread::sleep(ROUND_TRIP);
            Instant::now()
        });
        client.write_all(&chunk[..read])?;
        sent = sent.saturating_add(u32::try_from(read).unwrap_or(u32::MAX));
        let due = Duration::from_secs_f64(f64::from(sent) / f64::from(FAR_RATE));
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
