//! Programs of another architecture, run through qemu-user.
//!
//! The kernel is told by a rule in `binfmt_misc`, which holds for the whole machine. So this happens
//! only when asked for. Each bed has rules of its own, and takes them away again with its nodes.
//!
//! A node of such an architecture also has its C library, for programs that are not static.

use std::path::{Path, PathBuf};

use super::Bed;
use super::disk::Arch;
use super::error::Error;
use super::host::{self, Tool};
use crate::command::Program;
use crate::debian::Packages;

const REGISTRY: &str = "/proc/sys/fs/binfmt_misc";

/// How the kernel knows a program of that architecture, and who runs it.
struct Rule {
    name: &'static str,
    tool: Tool,
    /// ELF class and machine, as written in the file's header.
    class: &'static str,
    machine: &'static str,
}

/// Lets programs of that architecture run. Nothing to do for this machine's own.
pub(super) fn enable(bed: &Bed, arch: Arch) -> Result<(), Error> {
    let Some(rule) = rule(arch).filter(|_| host::system().is_ok_and(|own| own.arch != arch.dpkg()))
    else {
        return Ok(());
    };
    host::require(&[rule.tool])?;
    let registry = Path::new(REGISTRY);
    if !registry.join("register").exists() {
        Program::new("mount")
            .args(["-t", "binfmt_misc", "none", REGISTRY])
            .done()?;
    }
    let name = rule.of(bed);
    if registry.join(&name).exists() {
        return Ok(());
    }
    Ok(fs_err::write(registry.join("register"), rule.text(&name))?)
}

/// The C library of that architecture, as a tree; fetched now if it is not there yet. None for this
/// machine's own.
pub(super) fn library(arch: Arch) -> Result<Option<PathBuf>, Error> {
    if host::system().is_ok_and(|own| own.arch == arch.dpkg()) {
        return Ok(None);
    }
    let tree = super::cached(&format!("libc6-{}", arch.dpkg()));
    let _lock = super::lock("libc6")?;
    if !tree.exists() {
        Packages::of(arch.dpkg()).unpack(&["libc6"], &[], &tree)?;
    }
    Ok(Some(tree))
}

/// Removes the rules this bed made.
pub(super) fn disable(bed: &Bed) -> Result<(), Error> {
    for rule in [Arch::Arm64, Arch::Armhf].into_iter().filter_map(rule) {
        let entry = Path::new(REGISTRY).join(rule.of(bed));
        if entry.exists() {
            fs_err::write(entry, "-1")?;
        }
    }
    Ok(())
}

impl Rule {
    /// What a bed's own rule is called.
    fn of(&self, bed: &Bed) -> String {
        format!("{}-{}", self.name, bed.name())
    }

    /// See Documentation/admin-guide/binfmt-misc.rst of the kernel. F opens the interpreter now,
    /// so that it is found from within a node; C lets sudo stay sudo; O hands it the open file.
    fn text(&self, name: &str) -> String {
        let Self {
            tool,
            class,
            machine,
            ..
        } = self;
        let blank = r"\x00".repeat(8);
        let any = r"\x00".repeat(8);
        format!(
            r":{name}:M::\x7fELF{class}\x01\x01\x00{blank}\x02\x00{machine}\x00:\xff\xff\xff\xff\xff\xff\xff\x00{any}\xfe\xff\xff\xff:{}:OCF",
            tool.command
        )
    }
}

fn rule(arch: Arch) -> Option<Rule> {
    let tool = |command| Tool {
        command,
        package: "qemu-user-static",
    };
    match arch {
        Arch::Amd64 => None,
        Arch::Arm64 => Some(Rule {
            name: "kinstall-aarch64",
            tool: tool("/usr/bin/qemu-aarch64-static"),
            class: r"\x02",
            machine: r"\xb7",
        }),
        Arch::Armhf => Some(Rule {
            name: "kinstall-arm",
            tool: tool("/usr/bin/qemu-arm-static"),
            class: r"\x01",
            machine: r"\x28",
        }),
    }
}
