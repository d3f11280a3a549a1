//! What a promise of the program is tried on: a directory with an inventory and a mirror, and the
//! real `kinstall` run in it, each time for a bounded time.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fs_err as fs;
use kinstall::digest::Digest;

/// The longest that one run of `kinstall` may take unless told otherwise, in seconds.
const RUN_SECONDS_MAX: u64 = 120;
/// The same where genuine servers start and stop: each takes its time, one after the other.
const RUN_SECONDS_MAX_GENUINE: u64 = 900;
/// The most memory that `kinstall` may hold, whatever it does, in MiB: it is to run on a Raspberry
/// Pi, in 64 MiB. Of those its own file takes up to 12.
pub(crate) const MEMORY_MIB_MAX: u64 = 52;
/// The Kubernetes of labs: a patch that never was, so that no digest of it is known beforehand.
pub(crate) const KUBERNETES: &str = "1.32.99";
/// Their etcd, unless they run on nodes.
const ETCD: &str = "3.5.99";

/// A directory that a user works in.
pub(crate) struct Lab {
    room: PathBuf,
    cache: PathBuf,
    /// The longest that one run may take, in seconds.
    run_seconds_max: u64,
    /// Removes the directory with the lab.
    _temporary: Option<tempfile::TempDir>,
}

impl Lab {
    /// Three nodes of amd64, and a mirror of programs that only look like programs.
    pub(crate) fn new() -> Self {
        let lab = Self::empty();
        let mirror = lab.path("mirror");
        for name in [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubectl",
        ] {
            stock(&mirror, name, &elf(name));
        }
        stock_etcd(&mirror);
        let url = format!("file://{}", mirror.display());
        let nodes: String = (1..=3).fold(String::new(), |text, number| {
            format!(
                "{text}\n[[node]]\nname = \"node{number}\"\naddress = \"10.0.0.{number}\"\narch = \"amd64\"\n"
            )
        });
        lab.write(&format!(
            "[cluster]\nname = \"home\"\nkubernetes = \"{KUBERNETES}\"\netcd = \"{ETCD}\"\n\n\
             [source]\nkubernetes = [\"{url}\"]\netcd = [\"{url}\"]\n\n\
             [component.kube-apiserver]\nflags = {{ audit-log-maxage = 60 }}\n{nodes}"
        ));
        lab
    }

    /// A directory with nothing in it.
    pub(crate) fn empty() -> Self {
        // Pushes sync what they write; in memory that takes no time, and proves as much here.
        let room = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let room = room.unwrap();
        Self {
            cache: room.path().join("cache"),
            room: room.path().to_owned(),
            run_seconds_max: RUN_SECONDS_MAX,
            _temporary: Some(room),
        }
    }

    /// A directory of somebody else's, emptied, and a cache that other labs share.
    pub(crate) fn at(room: &Path, cache: &Path) -> Self {
        if room.exists() {
            fs::remove_dir_all(room).unwrap();
        }
        fs::create_dir_all(room).unwrap();
        Self {
            room: room.to_owned(),
            cache: cache.to_owned(),
            run_seconds_max: RUN_SECONDS_MAX,
            _temporary: None,
        }
    }

    /// The same with the patience that genuine servers take.
    pub(crate) fn of_genuine_servers(self) -> Self {
        Self {
            run_seconds_max: RUN_SECONDS_MAX_GENUINE,
            ..self
        }
    }

    /// A path below the directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.room.join(path)
    }

    /// Where downloads are kept.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Writes the inventory.
    pub(crate) fn write(&self, inventory: &str) {
        fs::write(self.path("inventory.toml"), inventory).unwrap();
    }

    /// Changes the inventory; what is changed must be there.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("inventory.toml")).unwrap();
        assert!(
            text.contains(from),
            "the inventory has no `{from}`:\n{text}"
        );
        self.write(&text.replace(from, to));
    }

    /// `kinstall`, as a user would type it, in this directory.
    pub(crate) fn command<I, S>(&self, words: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinstall"));
        command
            .args(words)
            .current_dir(&self.room)
            .env("KINSTALL_CACHE", &self.cache)
            // Whoever runs the tests may have logged in somewhere.
            .env("DOCKER_CONFIG", self.path("docker"))
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `kinstall` to its end.
    #[track_caller]
    pub(crate) fn run<I, S>(&self, words: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = self.start(words).finish();
        assert!(
            output.peak_kib <= MEMORY_MIB_MAX * 1024,
            "it took {} KiB of memory: {output}",
            output.peak_kib
        );
        output
    }

    /// Starts `kinstall`.
    pub(crate) fn start<I, S>(&self, words: I) -> Going
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut going = Going::start(&mut self.command(words));
        going.seconds_max = self.run_seconds_max;
        going
    }
}

/// A program on its way.
pub(crate) struct Going {
    child: Child,
    line: String,
    begun: Instant,
    seconds_max: u64,
    stdout: Stream,
    stderr: Stream,
}

type Stream = (Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

impl Going {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        Self::of(child, command)
    }

    /// One that was started just now by this command.
    pub(crate) fn of(mut child: Child, command: &Command) -> Self {
        let line = format!("{command:?}");
        let begun = Instant::now();
        let stdout = listen(child.stdout.take().unwrap());
        let stderr = listen(child.stderr.take().unwrap());
        Self {
            child,
            line,
            begun,
            seconds_max: RUN_SECONDS_MAX,
            stdout,
            stderr,
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.0.lock().unwrap()).into_owned()
    }

    /// Whether it has come to its end.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |said| said.contains(text));
    }

    /// Waits until something holds of what it said.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        while !holds(&self.said()) {
            let ended = self.child.try_wait().unwrap().is_some();
            if ended || self.is_late() {
                let (line, said) = (&self.line, self.said());
                assert!(
                    holds(&said),
                    "{line}\nnever came to: {what}\nit said:\n{said}"
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal, by its name: `INT`, `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args(["-s", name, "--", &self.child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        // A process that has ended meanwhile needs no signal.
        kill.unwrap();
    }

    fn is_late(&self) -> bool {
        self.begun.elapsed() > Duration::from_secs(self.seconds_max)
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let mut peak_kib = 0;
        let mut looked: Option<Instant> = None;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            // A look costs the kernel more than a run that waits for a node.
            if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
                peak_kib = peak_kib.max(held_kib(self.child.id()));
                looked = Some(Instant::now());
            }
            if self.is_late() {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                let (line, said) = (&self.line, self.said());
                let seconds = self.seconds_max;
                panic!("{line}\ndid not end within {seconds} s; it said:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |(bytes, listener): Stream| {
            // A grandchild may hold the pipe open; what the program itself said has arrived.
            let patience = Instant::now() + Duration::from_secs(2);
            while !listener.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(5));
            }
            let bytes = bytes.lock().unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Output {
            line: self.line,
            code: status.code(),
            stdout: text(self.stdout),
            stderr: text(self.stderr),
            seconds: self.begun.elapsed().as_secs_f64(),
            peak_kib,
        }
    }
}

/// How often it is asked how much memory a run holds: the kernel remembers the most it held.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The most memory that a process has held so far (proc(5)), but for its own file: that of a debug
/// build is three times as large as what users have.
fn held_kib(process: u32) -> u64 {
    // Until the program is loaded, the process has the memory of this one.
    let program = fs::read_link(format!("/proc/{process}/exe")).ok();
    if program == std::env::current_exe().ok() {
        return 0;
    }
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = |name: &str| -> Option<u64> {
        let mut lines = status.lines();
        let kib = lines.find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
        kib?.trim().parse().ok()
    };
    // One that ends just now has no memory any more.
    let held = kib("VmHWM:").zip(kib("RssFile:"));
    held.map_or(0, |(all, file)| all.saturating_sub(file))
}

fn listen(mut pipe: impl Read + Send + 'static) -> Stream {
    let bytes = Arc::<Mutex<Vec<u8>>>::default();
    let shared = Arc::clone(&bytes);
    let listener = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            shared.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    (bytes, listener)
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) seconds: f64,
    /// The most memory it held.
    pub(crate) peak_kib: u64,
}

impl Output {
    /// The exit code; none is none, as after a signal.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// What the user reads on the standard error, whatever its lines were wrapped to.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            flat(&self.stderr).contains(&flat(text)),
            "no `{text}` in\n{self}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        let all = flat(&self.stderr) + &flat(&self.stdout);
        assert!(!all.contains(&flat(text)), "`{text}` in\n{self}");
        self
    }

    /// What comes on the standard output.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no `{text}` in\n{self}");
        self
    }

    /// The standard output, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            code,
            stdout,
            stderr,
            seconds,
            ..
        } = self;
        write!(
            f,
            "{line}\nended with {code:?} after {seconds:.1} s\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// A text without what wrapping and frames do to it.
fn flat(text: &str) -> String {
    let words = text
        .split(|c: char| c.is_whitespace() || "│╭╰─▶×".contains(c))
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Something with the header of an amd64 program and 100 kB behind it.
pub(crate) fn elf(seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 62;
    let mut block = Digest::of(seed.as_bytes());
    while bytes.len() < 100_000 {
        block = Digest::of(block.to_string().as_bytes());
        bytes.extend(block.to_string().as_bytes());
    }
    bytes
}

/// The directory of a mirror in which Kubernetes' programs are.
pub(crate) fn shelf(mirror: &Path) -> PathBuf {
    shelf_of(mirror, KUBERNETES)
}

fn shelf_of(mirror: &Path, version: &str) -> PathBuf {
    mirror.join(format!("release/v{version}/bin/linux/amd64"))
}

/// Puts a program into a mirror, and its digest beside it.
pub(crate) fn stock(mirror: &Path, name: &str, content: &[u8]) {
    stock_as(mirror, KUBERNETES, name, content);
}

/// The same for another version.
pub(crate) fn stock_as(mirror: &Path, version: &str, name: &str, content: &[u8]) {
    let shelf = shelf_of(mirror, version);
    fs::create_dir_all(&shelf).unwrap();
    fs::write(shelf.join(name), content).unwrap();
    let digest = Digest::of(content).to_string();
    fs::write(shelf.join(format!("{name}.sha256")), digest).unwrap();
}

fn stock_etcd(mirror: &Path) {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let folder = format!("etcd-v{ETCD}-linux-amd64");
    for name in ["etcd", "etcdctl"] {
        let content = elf(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive
            .append_data(&mut header, format!("{folder}/{name}"), content.as_slice())
            .unwrap();
    }
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let shelf = mirror.join(format!("v{ETCD}"));
    fs::create_dir_all(&shelf).unwrap();
    let sums = format!("{}  {folder}.tar.gz\n", Digest::of(&archive));
    fs::write(shelf.join("SHA256SUMS"), sums).unwrap();
    fs::write(shelf.join(format!("{folder}.tar.gz")), archive).unwrap();
}
