//! What a kinstall for ARM has to do here, under qemu-user, before it is packed: say its version,
//! render and push what the native one does to the byte, and fetch over HTTPS.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Error, Target, cache};
use crate::command::Program;
use crate::debian::Packages;
use crate::mirror::{self, Mirror, Wish};
use crate::nodes;
use crate::say;
use crate::setup::{self, Profile, Seat};

/// What serves the mirror.
const HTTPS: &str = include_str!("https.py");
/// A push of everything under emulation, in seconds.
const LIMIT_SECONDS: u64 = 600;

/// A mirror over HTTPS, and the native kinstall to compare with.
pub(super) struct Trial {
    /// The native kinstall.
    pub(super) native: PathBuf,
    room: PathBuf,
    inventory: String,
    server: Child,
}

impl Trial {
    /// Makes all of it.
    pub(super) fn set(seat: &Seat) -> Result<Self, Error> {
        let native = setup::build("kinstall", Profile::Debug)?;
        let mirror = Mirror::make(&Wish {
            purpose: seat.name.clone(),
            from: None,
            kubernetes: None,
            stand_ins: setup::stand_ins()?,
            padding: BTreeMap::new(),
        })?;
        let room = nodes::cached(&seat.name);
        if room.exists() {
            fs_err::remove_dir_all(&room)?;
        }
        fs_err::create_dir_all(&room)?;
        let (server, port) = serve(&mirror.directory, &room)?;
        let tables = mirror.tables(&format!("https://127.0.0.1:{port}"));
        let mut inventory = format!(
            "[cluster]\nname = \"cross\"\n{}\n{}",
            mirror.cluster_versions(),
            tables.replace("[source]\n", "[source]\nca = \"ca.pem\"\n")
        );
        for number in 1..=3 {
            // Writing to a String cannot fail.
            let _ = write!(
                inventory,
                "\n[[node]]\nname = \"node{number}\"\naddress = \"10.0.0.{number}\"\narch = \"{}\"\n",
                mirror::arch()
            );
        }
        Ok(Self {
            native,
            room,
            inventory,
            server,
        })
    }

    /// Has a program do all of it.
    pub(super) fn run(&self, arm: &Emulated) -> Result<(), Error> {
        let (program, target) = (arm.program.as_path(), arm.target);
        let version = arm.kinstall(&self.room).arg("--version").text()?;
        let native = Program::new(&self.native).arg("--version").text()?;
        equal(program, "--version", &version, &native)?;
        say::data(format!(
            "cross-arm: {}: --version: {version}",
            target.dpkg()
        ));

        let room = self.room.join(target.dpkg());
        fs_err::create_dir_all(&room)?;
        let native = || Program::new(&self.native).directory(&room);
        fs_err::copy(self.room.join("ca.pem"), room.join("ca.pem"))?;
        fs_err::write(room.join("inventory.toml"), &self.inventory)?;
        arm.kinstall(&room)
            .args(["fetch", "inventory.toml"])
            .done()?;
        say::data(format!(
            "cross-arm: {}: fetch over HTTPS: done",
            target.dpkg()
        ));
        for (kinstall, into) in [(arm.kinstall(&room), "nodes-arm"), (native(), "nodes")] {
            kinstall
                .args(["push", "inventory.toml", "--into", into])
                .env("KINSTALL_CACHE", room.join("cache"))
                .limit_seconds(LIMIT_SECONDS)
                .done()?;
        }
        same(program, &room, "nodes", "nodes-arm")?;
        say::data(format!(
            "cross-arm: {}: push --into: as the native one, to the byte",
            target.dpkg()
        ));
        // After a push the keys are there, and both take the same.
        native()
            .args(["render", "inventory.toml", "--out", "rendered"])
            .done()?;
        arm.kinstall(&room)
            .args(["render", "inventory.toml", "--out", "rendered-arm"])
            .done()?;
        same(program, &room, "rendered", "rendered-arm")?;
        say::data(format!(
            "cross-arm: {}: render: as the native one, to the byte",
            target.dpkg()
        ));
        Ok(())
    }

    /// Removes what was made.
    pub(super) fn end(&self) -> Result<(), Error> {
        Ok(fs_err::remove_dir_all(&self.room)?)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A program of another architecture, and what runs it.
pub(super) struct Emulated {
    qemu: &'static str,
    libc: PathBuf,
    pub(super) program: PathBuf,
    pub(super) target: Target,
}

impl Emulated {
    /// Gets what runs it.
    pub(super) fn new(program: PathBuf, target: Target) -> Result<Self, Error> {
        nodes::require(&[target.qemu()])?;
        let (package, place) = target.libc();
        let root = cache(package);
        if !root.join(place).exists() {
            Packages::own().unpack(&[package], &[], &root)?;
        }
        Ok(Self {
            qemu: target.qemu().command,
            libc: root.join(place),
            program,
            target,
        })
    }

    /// kinstall in a directory, with a cache there.
    fn kinstall(&self, directory: &Path) -> Program {
        Program::new(self.qemu)
            .arg("-L")
            .arg(&self.libc)
            .arg(&self.program)
            .directory(directory)
            .env("KINSTALL_CACHE", directory.join("cache"))
            .limit_seconds(LIMIT_SECONDS)
    }
}

/// Serves a directory over HTTPS, under a certificate of its own, and tells the port.
fn serve(directory: &Path, room: &Path) -> Result<(Child, u16), Error> {
    let (certificate, key) = (room.join("ca.pem"), room.join("key.pem"));
    Program::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=mirror"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .done()?;
    let mut server = Command::new("python3")
        .args(["-c", HTTPS])
        .arg(directory)
        .arg(&certificate)
        .arg(&key)
        // Held open by us: it ends when we do, however that is.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = server.stdout.take().expect("it was asked for a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match line.trim().parse() {
        Ok(port) => Ok((server, port)),
        Err(_) => Err(Error::Wrong {
            program: "python3".to_owned(),
            what: "it serves nothing over HTTPS".to_owned(),
        }),
    }
}

/// Two trees are the same, but for what tells when they were made.
fn same(program: &Path, room: &Path, one: &str, other: &str) -> Result<(), Error> {
    let diff = Program::new("diff").args(["--recursive", "--no-dereference"]);
    // When it was pushed, and by which process.
    let told = [
        "recorded.json",
        "index",
        "generations",
        "journal",
        "staging.pid",
    ];
    let diff = diff.args(told.map(|name| format!("--exclude={name}")));
    let output = diff.args([one, other]).directory(room).output()?;
    equal(program, "a tree", &output.stdout, "")
}

fn equal(program: &Path, what: &str, found: &str, expected: &str) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Wrong {
        program: program.display().to_string(),
        what: format!("{what}: `{found}` in place of `{expected}`"),
    })
}
