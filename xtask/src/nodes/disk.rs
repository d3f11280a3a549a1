//! A node's disk: what is its own above the base it shares with the others.
//!
//! The disk is the upper directory of an overlay, so a node is made by writing a few files, and
//! taking a program away from it is one whiteout (overlayfs: a character device 0/0).

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Bed;
use super::error::Error;
use super::name::NodeName;
use super::state::{load, store};
use super::{cgroup, host, qemu, ssh};
use crate::command::Program;

/// How many nodes know each other by name.
const NEIGHBOURS: u8 = 20;
/// Where programs are in a tree whose `/bin` is a link to `/usr/bin`.
const PROGRAM_DIRECTORIES: &[&str] = &["usr/bin", "usr/sbin"];
/// Where a node has the programs whose place ours took.
const REAL: &str = "usr/local/lib/real";

/// What is special about a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeOptions {
    /// Debian or Ubuntu release, by its codename [default: this machine's own]
    #[arg(long)]
    pub(crate) suite: Option<String>,
    /// Answer as a machine of this architecture does (uname and dpkg; the programs stay native)
    #[arg(long, value_enum)]
    pub(crate) arch: Option<Arch>,
    /// With --arch: let programs of that architecture run, through qemu-user on this machine
    #[arg(long, requires = "arch")]
    pub(crate) qemu: bool,
    /// Leave these programs out, such as zstd,rsync
    #[arg(long, value_delimiter = ',', value_name = "PROGRAM,...")]
    pub(crate) without: Vec<String>,
    /// Look like a machine without systemd: no systemctl, no /run/systemd/system
    #[arg(long)]
    pub(crate) no_systemd: bool,
    /// Give /var/lib/kinstall a file system of its own, of this many MiB
    #[arg(long, value_name = "MIB")]
    pub(crate) small_disk: Option<u32>,
}

/// An architecture a node can say it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM with floating point.
    Armhf,
}

impl Arch {
    /// What dpkg calls it.
    pub(super) fn dpkg(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
        }
    }

    /// What uname calls it.
    fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Armhf => "armv7l",
        }
    }
}

/// What a node is made of; kept beside its disk, so that it can be made again.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    /// The base below its disk.
    pub(super) base: PathBuf,
    /// What is special about it.
    pub(super) options: NodeOptions,
}

impl Origin {
    /// What the node was made of.
    pub(super) fn of(bed: &Bed, node: NodeName) -> Result<Self, Error> {
        load(&bed.place().node(node).join("node.json"))?.ok_or_else(|| Error::NoNode {
            bed: bed.name().to_string(),
            node,
        })
    }
}

/// Makes a node's disk. The node exists once `node.json` does, which is written last.
pub(super) fn make(bed: &Bed, node: NodeName, origin: &Origin) -> Result<(), Error> {
    let directory = bed.place().node(node);
    let disk = Disk {
        upper: directory.join("upper"),
        base: &origin.base,
    };
    for part in ["upper", "work", "root"] {
        directory_for_all(&directory.join(part))?;
    }
    ssh::host_key(bed, node)?;
    let key = bed.place().host_key(node);
    disk.write(
        "etc/ssh/ssh_host_ed25519_key",
        &fs_err::read_to_string(&key)?,
        0o600,
    )?;
    let public = fs_err::read_to_string(key.with_extension("pub"))?;
    disk.write("etc/ssh/ssh_host_ed25519_key.pub", &public, 0o644)?;
    disk.write("etc/hostname", &format!("{node}\n"), 0o644)?;
    disk.write("etc/hosts", &hosts(bed)?, 0o644)?;
    for program in &origin.options.without {
        disk.leave_out(program)?;
    }
    if let Some(arch) = origin.options.arch {
        disk.pretend(arch)?;
        if origin.options.qemu
            && let Some(library) = qemu::library(arch)?
        {
            disk.add_library(&library)?;
        }
    }
    if origin.options.small_disk.is_some() {
        disk.directory("var/lib/kinstall")?;
    }
    store(&directory.join("node.json"), origin)
}

/// Mounts the small file system of a node that asked for one. It lives outside the node, so it
/// survives the node's power-off as a disk does.
pub(super) fn mount_small(bed: &Bed, node: NodeName, origin: &Origin) -> Result<(), Error> {
    let Some(mib) = origin.options.small_disk else {
        return Ok(());
    };
    let small = bed.place().node(node).join("small");
    fs_err::create_dir_all(&small)?;
    if !cgroup::is_mounted(&small) {
        let options = format!("size={mib}m,mode=755");
        Program::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(&small)
            .done()?;
    }
    Ok(())
}

/// Wipes a node off this machine's disk; it must be off.
pub(super) fn wipe(bed: &Bed, node: NodeName) -> Result<(), Error> {
    let directory = bed.place().node(node);
    let small = directory.join("small");
    if cgroup::is_mounted(&small) {
        Program::new("umount").arg(&small).done()?;
    }
    let remove = Program::new("rm")
        .args(["-rf", "--one-file-system", "--"])
        .arg(directory);
    Ok(remove.limit_seconds(300).done()?)
}

/// Brings systemctl back to a node that pretends to have none, so that it can boot and be asked
/// whether it has. The node must be off.
pub(super) fn show_systemd(bed: &Bed, node: NodeName) -> Result<(), Error> {
    let whiteout = bed.place().node(node).join("upper/usr/bin/systemctl");
    if whiteout.symlink_metadata().is_ok() {
        fs_err::remove_file(whiteout)?;
    }
    Ok(())
}

struct Disk<'a> {
    upper: PathBuf,
    base: &'a Path,
}

impl Disk<'_> {
    fn write(&self, path: &str, text: &str, mode: u32) -> Result<(), Error> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent)?;
        }
        let path = self.upper.join(path);
        fs_err::write(&path, text)?;
        Ok(fs_err::set_permissions(
            &path,
            PermissionsExt::from_mode(mode),
        )?)
    }

    /// Makes a directory that hides nothing of the base, and is no stricter than it.
    fn directory(&self, path: &str) -> Result<(), Error> {
        let mut directory = self.upper.clone();
        for part in Path::new(path) {
            directory.push(part);
            directory_for_all(&directory)?;
        }
        Ok(())
    }

    fn leave_out(&self, program: &str) -> Result<(), Error> {
        let name = program.to_owned();
        if program == "systemctl" {
            return Err(Error::Without {
                name,
                why: "that is what --no-systemd is for",
            });
        }
        let mut found = false;
        for directory in PROGRAM_DIRECTORIES {
            if program.contains('/') || !self.base.join(directory).join(program).exists() {
                continue;
            }
            found = true;
            self.directory(directory)?;
            let whiteout = self.upper.join(directory).join(program);
            Program::new("mknod")
                .arg(whiteout)
                .args(["c", "0", "0"])
                .done()?;
        }
        let why = "the base has no such program";
        if found {
            Ok(())
        } else {
            Err(Error::Without { name, why })
        }
    }

    /// Puts a C library beside the node's own: its files are below a directory with the name of its
    /// architecture, and its loader has one, too.
    fn add_library(&self, tree: &Path) -> Result<(), Error> {
        self.directory("usr/lib")?;
        for lib in ["lib", "usr/lib"].map(|lib| tree.join(lib)) {
            if lib.is_dir() {
                let copy = Program::new("cp").args(["-a", "--no-preserve=ownership"]);
                copy.arg(lib.join("."))
                    .arg(self.upper.join("usr/lib"))
                    .done()?;
            }
        }
        Ok(())
    }

    /// Puts an `uname` and a `dpkg` in the place of the real ones, which they ask for the rest.
    fn pretend(&self, arch: Arch) -> Result<(), Error> {
        let native = Program::new("uname").arg("-m").text()?;
        if arch.dpkg() == host::system()?.arch {
            return Ok(());
        }
        let (machine, dpkg) = (arch.machine(), arch.dpkg());
        let uname = format!(
            "#!/bin/sh\n# This node says it is {machine}.\n\
             /{REAL}/uname \"$@\" | sed 's/{native}/{machine}/g'\n"
        );
        let dpkg = format!(
            "#!/bin/sh\n# This node says it is {dpkg}.\n\
             case $* in --print-architecture) echo {dpkg} ;; *) exec /{REAL}/dpkg \"$@\" ;; esac\n"
        );
        self.directory(REAL)?;
        for (name, text) in [("uname", uname), ("dpkg", dpkg)] {
            let program = Path::new("usr/bin").join(name);
            let real = self.upper.join(REAL).join(name);
            fs_err::copy(self.base.join(&program), real)?;
            self.write(&program.to_string_lossy(), &text, 0o755)?;
        }
        Ok(())
    }
}

/// Makes a directory that everyone may enter, whatever our umask.
fn directory_for_all(path: &Path) -> Result<(), Error> {
    fs_err::create_dir_all(path)?;
    Ok(fs_err::set_permissions(
        path,
        PermissionsExt::from_mode(0o755),
    )?)
}

fn hosts(bed: &Bed) -> Result<String, Error> {
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    for node in NodeName::first(NEIGHBOURS)? {
        let _ = writeln!(hosts, "{} {node}", bed.address(node));
    }
    Ok(hosts)
}
