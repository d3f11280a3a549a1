//! What builds for ARM: a standard library for the target, and zig as the C compiler and linker.
//!
//! zig comes from `PyPI` with `cargo-zigbuild`, and knows every glibc, so that what is built runs on
//! older systems than this one. The standard library is rustup's; where its server does not answer,
//! it is built once from Debian's packages of Rust, with the compiler of those packages, for it
//! takes the compiler that belongs to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Error, cache};
use crate::command::Program;
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
/// The packages of Rust, and the libraries its compiler needs beside what every system has.
const PACKAGES: [&str; 6] = [
    "rustc-web",
    "rust-web-src",
    "libstd-rust-web-dev",
    "libedit2",
    "libxml2",
    "libz3-4",
];

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
            Err(reason) => Some(packaged_std(triples, &zig).map_err(|error| Error::NoStd {
                triple: triples.first().unwrap_or(&""),
                rustup: reason,
                packaged: say::sentence(&error),
            })?),
        };
        Ok(Self { zig, rustc })
    }

    /// Builds a program of the workspace, stripped, in that folder of `target/`, and tells where it
    /// is. No path of this machine is in it.
    pub(crate) fn build(
        &self,
        package: &str,
        triple: &str,
        profile: Profile,
        folder: &str,
    ) -> Result<PathBuf, Error> {
        // Another compiler would have everything built anew.
        let compiler = self.rustc.as_ref().map_or("", |_| "-packaged");
        let directory = setup::workspace()
            .join("target")
            .join(format!("{folder}{compiler}"));
        let mut cargo = self
            .cargo()
            .args([
                "zigbuild",
                "--package",
                package,
                "--bin",
                package,
                "--target",
            ])
            .arg(format!("{triple}.{GLIBC}"))
            .arg("--target-dir")
            .arg(&directory);
        let kind = match profile {
            Profile::Debug => "debug",
            Profile::Release => {
                cargo = cargo.arg("--release");
                "release"
            }
        };
        let line = format!("zigbuild --package {package} --target {triple}");
        if !cargo.attached()?.success() {
            return Err(setup::Error::Build { line }.into());
        }
        Ok(directory.join(triple).join(kind).join(package))
    }

    fn cargo(&self) -> Program {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
        let places = [
            (home.or(user), "cargo"),
            (Some(setup::workspace()), "kinstall"),
        ];
        let flags: String = places
            .into_iter()
            .filter_map(|(place, name)| {
                let place = place?;
                Some(format!("--remap-path-prefix={}={name} ", place.display()))
            })
            .collect();
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
    say::line(format!("cross-arm: rustup target add {triple}"));
    let add = rustup().args(["target", "add", triple]);
    let added = add.limit_seconds(DOWNLOAD_SECONDS).done();
    added.map_err(|error| say::sentence(&error))
}

/// The compiler of Debian's packages, with a standard library for each target beside its own.
fn packaged_std(triples: &[&str], zig: &Path) -> Result<PathBuf, Error> {
    say::line("cross-arm: building the standard library from Debian's packages of Rust");
    let root = cache("rust");
    let rustc = cache("rustc");
    if !rustc.exists() {
        download(&PACKAGES, &root)?;
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH={0}/usr/lib/x86_64-linux-gnu:$LD_LIBRARY_PATH exec {0}/usr/bin/rustc \"$@\"\n",
            root.display()
        );
        fs_err::write(&rustc, script)?;
        Program::new("chmod").arg("+x").arg(&rustc).done()?;
    }
    for triple in triples {
        let library = root.join("usr/lib/rustlib").join(triple).join("lib");
        let done = library.join(".done");
        if done.exists() {
            continue;
        }
        say::line(format!("cross-arm: the standard library of {triple}"));
        let seed = cache("std");
        fs_err::create_dir_all(seed.join("src"))?;
        fs_err::create_dir_all(&library)?;
        fs_err::write(
            seed.join("Cargo.toml"),
            "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
        )?;
        fs_err::write(seed.join("src/lib.rs"), "#![no_std]\n")?;
        with_zig(setup::cargo(), zig)
            .directory(&seed)
            .env("RUSTC", &rustc)
            // What is built is the compiler's own library, with what that may use.
            .env("RUSTC_BOOTSTRAP", "1")
            .args([
                "build",
                "--release",
                "-Zbuild-std=std,panic_abort,panic_unwind",
            ])
            .args(["--target", triple])
            .limit_seconds(BUILD_SECONDS)
            .done()?;
        let built = seed.join("target").join(triple).join("release/deps");
        for item in fs_err::read_dir(built)? {
            let path = item?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.extension().is_some_and(|it| it == "rlib") && !name.starts_with("libseed") {
                fs_err::copy(&path, library.join(name))?;
            }
        }
        fs_err::write(done, "")?;
    }
    Ok(rustc)
}

/// Downloads Debian packages, what they name as their own parts too, and unpacks them.
pub(super) fn download(packages: &[&str], root: &Path) -> Result<(), Error> {
    let debs = root.with_extension(format!("{}.partial", std::process::id()));
    fs_err::create_dir_all(&debs)?;
    let get = |names: &[String]| {
        Program::new("apt-get")
            .args([
                "--quiet=2",
                "--option",
                "APT::Sandbox::User=root",
                "download",
            ])
            .args(names)
            .directory(&debs)
            .limit_seconds(DOWNLOAD_SECONDS)
    };
    let mut names: Vec<String> = packages.iter().map(ToString::to_string).collect();
    names.extend(parts(packages)?);
    if !get(&names).succeeds() {
        let update = Program::new("apt-get").args(["--quiet=2", "update"]);
        update.limit_seconds(DOWNLOAD_SECONDS).done()?;
        names.truncate(packages.len());
        names.extend(parts(packages)?);
        get(&names).done()?;
    }
    for deb in fs_err::read_dir(&debs)? {
        let unpack = Program::new("dpkg-deb")
            .arg("-x")
            .arg(deb?.path())
            .arg(root);
        unpack.limit_seconds(300).done()?;
    }
    Ok(fs_err::remove_dir_all(&debs)?)
}

/// Packages with a version in their names that those depend on: Rust's library, and LLVM's.
fn parts(packages: &[&str]) -> Result<Vec<String>, Error> {
    let mut parts = Vec::new();
    let mut ask: Vec<String> = packages.iter().map(ToString::to_string).collect();
    while let Some(package) = ask.pop() {
        let depends = Program::new("apt-cache")
            .arg("depends")
            .arg(&package)
            .text()?;
        let named = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        for name in named {
            let is_part = name.starts_with("libstd-rust-web-") || name.starts_with("libllvm");
            if is_part && !packages.contains(&name) && !parts.iter().any(|part| part == name) {
                parts.push(name.to_owned());
                ask.push(name.to_owned());
            }
        }
    }
    Ok(parts)
}
