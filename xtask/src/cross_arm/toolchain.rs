//! What builds for ARM: a standard library for the target, and zig as the C compiler and linker.
//!
//! zig comes from `PyPI` with `cargo-zigbuild`, and knows every glibc, so that what is built runs on
//! older systems than this one. The standard library is rustup's; where its server does not answer,
//! it is built once from Debian's packages of Rust, with the compiler of those packages, for it
//! takes the compiler that belongs to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Error, cache};
use crate::command::{Program, is_installed};
use crate::debian::Packages;
use crate::nodes;
use crate::say;
use crate::setup::{self, Profile};

const ZIG: &str = "ziglang==0.15.2";
const ZIGBUILD: &str = "cargo-zigbuild==0.24.0";
/// The oldest glibc that programs are to run on: Debian 10's.
const GLIBC: &str = "2.28";
/// A build of everything may take so many seconds on a small, busy machine.
const BUILD_SECONDS: u64 = 5400;
const DOWNLOAD_SECONDS: u64 = 900;
/// rustup may take so long to install a standard library, which is 25 MB.
const RUSTUP_SECONDS: u64 = 300;
/// Its server answers at once or not at all: curl's limit.
const ANSWER_SECONDS: &str = "10";
/// The packages of Rust, and the libraries its compiler needs beside what every system has.
const PACKAGES: [&str; 6] = [
    "rustc-web",
    "rust-web-src",
    "libstd-rust-web-dev",
    "libedit2",
    "libxml2",
    "libz3-4",
];

/// Of what those depend on, these have a version in their names: Rust's library, and LLVM's.
const PARTS: [&str; 2] = ["libstd-rust-web-", "libllvm"];

/// Everything that building takes, ready.
pub(crate) struct Toolchain {
    zig: PathBuf,
    /// The compiler of Debian's packages, where rustup has no standard library.
    rustc: Option<PathBuf>,
}

impl Toolchain {
    /// Finds or sets up what building for these takes.
    pub(crate) fn ready(triples: &[&'static str], packaged: bool) -> Result<Self, Error> {
        let zig = zig()?;
        let rustup = if packaged {
            Err("it was not asked".to_owned())
        } else {
            triples.iter().try_for_each(|triple| of_rustup(triple))
        };
        let rustc = match rustup {
            Ok(()) => None,
            Err(reason) => {
                say::line(format!(
                    "cross-arm: no standard library from rustup ({reason}), so from Debian's Rust"
                ));
                let packaged = packaged_std(triples, &zig);
                Some(packaged.map_err(|error| Error::NoStd {
                    triple: triples.first().unwrap_or(&""),
                    rustup: reason,
                    packaged: say::sentence(&error),
                })?)
            }
        };
        Ok(Self { zig, rustc })
    }

    /// Builds programs of the workspace for these targets, stripped, in that folder of `target/`.
    /// No path of this machine is in them.
    pub(crate) fn build(
        &self,
        packages: &[&str],
        triples: &[&str],
        profile: Profile,
        folder: &str,
    ) -> Result<Built, Error> {
        // Another compiler would have everything built again.
        let compiler = self.rustc.as_ref().map_or("", |_| "-packaged");
        let directory = setup::workspace()
            .join("target")
            .join(format!("{folder}{compiler}"));
        let named = packages
            .iter()
            .flat_map(|name| ["--package", name, "--bin", name]);
        // All in one go: the last crate of one keeps no core from the next.
        let targets = triples
            .iter()
            .flat_map(|triple| ["--target".to_owned(), format!("{triple}.{GLIBC}")]);
        let mut cargo = self
            .cargo(&directory, profile)
            .arg("zigbuild")
            .args(named)
            .args(targets);
        cargo = cargo.arg("--target-dir").arg(&directory);
        let kind = match profile {
            Profile::Debug => "debug",
            Profile::Release => {
                cargo = cargo.arg("--release");
                "release"
            }
        };
        if !cargo.attached()?.success() {
            let line = format!(
                "zigbuild --package {} --target {}",
                packages.join(" --package "),
                triples.join(" --target ")
            );
            return Err(setup::Error::Build { line }.into());
        }
        Ok(Built { directory, kind })
    }

    /// cargo for a build in that directory. A release names it nowhere, so that it is the same
    /// wherever it is built.
    fn cargo(&self, directory: &Path, profile: Profile) -> Program {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
        let mut places = Vec::new();
        places.extend(home.or(user).map(|home| (home, "cargo")));
        places.push((setup::workspace(), "kinstall"));
        if profile == Profile::Release {
            // What build scripts write is there. Of two that match, rustc takes the last.
            places.push((directory.to_owned(), "target"));
        }
        let remap = |(place, name): (PathBuf, &str)| {
            format!("--remap-path-prefix={}={name} ", place.display())
        };
        let flags: String = places.into_iter().map(remap).collect();
        let cargo = with_zig(setup::cargo(), &self.zig)
            .env("RUSTFLAGS", flags.trim_end())
            .env("CARGO_PROFILE_DEV_STRIP", "true")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .limit_seconds(BUILD_SECONDS);
        match &self.rustc {
            Some(rustc) => cargo.env("RUSTC", rustc),
            None => cargo,
        }
    }
}

/// Where programs were built.
pub(crate) struct Built {
    directory: PathBuf,
    kind: &'static str,
}

impl Built {
    /// One of them.
    pub(crate) fn program(&self, package: &str, triple: &str) -> PathBuf {
        self.directory.join(triple).join(self.kind).join(package)
    }
}

fn with_zig(program: Program, zig: &Path) -> Program {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = OsString::from(zig.join("bin"));
    all.push(":");
    all.push(path);
    program
        .env("PATH", all)
        .env("CARGO_ZIGBUILD_ZIG_PATH", zig.join("ziglang/zig"))
        .env("ZIG_GLOBAL_CACHE_DIR", cache("zig-cache"))
        .env("CARGO_ZIGBUILD_CACHE_DIR", cache("zigbuild-cache"))
}

/// Where zig and cargo-zigbuild are.
fn zig() -> Result<PathBuf, Error> {
    let directory = cache(&format!("{ZIG}-{ZIGBUILD}").replace('=', ""));
    if directory.join("bin/cargo-zigbuild").exists() {
        return Ok(directory);
    }
    say::line(format!("cross-arm: getting {ZIG} and {ZIGBUILD} from PyPI"));
    // Beside its place, so that what is there is whole.
    let partial = directory.with_extension(format!("{}.partial", std::process::id()));
    nodes::pip()?
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .arg("--target")
        .arg(&partial)
        .args([ZIG, ZIGBUILD])
        .limit_seconds(DOWNLOAD_SECONDS)
        .done()?;
    fs_err::rename(partial, &directory)?;
    Ok(directory)
}

/// Has rustup install the standard library of a target, unless it is there; else why not.
fn of_rustup(triple: &str) -> Result<(), String> {
    let rustup = || Program::new("rustup").directory(setup::workspace());
    let installed = rustup().args(["target", "list", "--installed"]).text();
    let installed = installed.map_err(|error| say::sentence(&error))?;
    if installed.lines().any(|line| line == triple) {
        return Ok(());
    }
    if is_installed("curl") && !rustup_answers() {
        return Err("rustup's server does not answer".to_owned());
    }
    say::line(format!("cross-arm: rustup target add {triple}"));
    let add = rustup().args(["target", "add", triple]);
    let added = add.limit_seconds(RUSTUP_SECONDS).done();
    added.map_err(|error| say::sentence(&error))
}

/// Whether rustup's server can be reached; rustup itself would try for minutes.
fn rustup_answers() -> bool {
    let server = std::env::var("RUSTUP_DIST_SERVER");
    let server = server.unwrap_or_else(|_| "https://static.rust-lang.org".to_owned());
    let ask = Program::new("curl").args(["--silent", "--fail", "--head", "--location"]);
    let ask = ask.args(["--max-time", ANSWER_SECONDS, "--output", "/dev/null"]);
    ask.arg(format!("{server}/dist/channel-rust-stable.toml.sha256"))
        .succeeds()
}

/// The compiler of Debian's packages, with a standard library for each target beside its own.
fn packaged_std(triples: &[&str], zig: &Path) -> Result<PathBuf, Error> {
    let root = cache("rust");
    let _lock = nodes::lock("rust")?;
    if !root.exists() {
        say::line("cross-arm: getting Rust from Debian's packages");
        Packages::own().unpack(&PACKAGES, &PARTS, &root)?;
    }
    let rustc = cache("rustc");
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={0}/usr/lib/x86_64-linux-gnu:$LD_LIBRARY_PATH exec {0}/usr/bin/rustc \"$@\"\n",
        root.display()
    );
    // Somebody may be running the one that is there.
    if !fs_err::read_to_string(&rustc).is_ok_and(|there| there == script) {
        let new = rustc.with_extension("new");
        fs_err::write(&new, script)?;
        Program::new("chmod").arg("+x").arg(&new).done()?;
        fs_err::rename(new, &rustc)?;
    }
    let library = |triple: &str| root.join("usr/lib/rustlib").join(triple).join("lib");
    let lacking: Vec<&str> = triples
        .iter()
        .copied()
        // That of this machine is among the packages.
        .filter(|triple| !library(triple).exists())
        .collect();
    if lacking.is_empty() {
        return Ok(rustc);
    }
    say::line(format!(
        "cross-arm: building the standard library of {}",
        lacking.join(" and ")
    ));
    let start = Instant::now();
    let seed = cache("std");
    let no_place = format!("--remap-path-prefix={}=rust", root.display());
    let build = build_std(&lacking, &seed, zig)?.env("RUSTC", &rustc);
    build.env("RUSTFLAGS", no_place).done()?;
    for triple in lacking {
        let built = seed.join("target").join(triple).join("release/deps");
        lay_in(&built, &library(triple))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    say::line(format!(
        "cross-arm: the standard library took {seconds:.0} s"
    ));
    fs_err::remove_dir_all(seed)?;
    Ok(rustc)
}

/// What builds a compiler's own library for targets, by way of a crate that holds nothing.
fn build_std(triples: &[&str], seed: &Path, zig: &Path) -> Result<Program, Error> {
    fs_err::create_dir_all(seed.join("src"))?;
    fs_err::write(
        seed.join("Cargo.toml"),
        "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
    )?;
    fs_err::write(seed.join("src/lib.rs"), "#![no_std]\n")?;
    let build = with_zig(setup::cargo(), zig)
        .directory(seed)
        // What is built is the compiler's own library, with what that may use.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--release"])
        .arg("-Zbuild-std=std,panic_abort,panic_unwind")
        .args(triples.iter().flat_map(|triple| ["--target", triple]));
    Ok(build.limit_seconds(BUILD_SECONDS))
}

/// Puts the crates of a library where the compiler looks for it; it is there when it is whole.
fn lay_in(built: &Path, library: &Path) -> Result<(), Error> {
    let partial = library.with_extension("partial");
    fs_err::create_dir_all(&partial)?;
    for item in fs_err::read_dir(built)? {
        let path = item?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libseed") {
            fs_err::copy(&path, partial.join(&*name))?;
        }
    }
    Ok(fs_err::rename(partial, library)?)
}
