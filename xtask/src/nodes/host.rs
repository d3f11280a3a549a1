//! This machine: whether it can boot nodes at all, and the programs that takes.

use std::os::unix::fs::MetadataExt;

use thiserror::Error;

use super::error::Error;
use crate::command::{Program, is_installed};
use crate::say;

/// `cgroup.kill`, the power switch of a node, came with this kernel.
const KERNEL_MIN: (u32, u32) = (5, 14);
/// apt-get may have to wait for another one, and then to download.
const APT_SECONDS: u64 = 900;

/// What a bed needs, and the Debian package that brings it.
pub(super) const TOOLS: &[Tool] = &[
    Tool {
        command: "mmdebstrap",
        package: "mmdebstrap",
    },
    Tool {
        command: "systemd-nspawn",
        package: "systemd-container",
    },
    Tool {
        command: "ip",
        package: "iproute2",
    },
    Tool {
        command: "tc",
        package: "iproute2",
    },
    Tool {
        command: "ssh",
        package: "openssh-client",
    },
    Tool {
        command: "ssh-keygen",
        package: "openssh-client",
    },
    Tool {
        command: "unshare",
        package: "util-linux",
    },
    Tool {
        command: "nsenter",
        package: "util-linux",
    },
];

/// A program and where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    /// The program, or the absolute path of a file.
    pub(crate) command: &'static str,
    /// The package.
    pub(crate) package: &'static str,
}

/// Why nodes cannot be booted on this machine.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Why {
    /// We are not root.
    #[error("only root may make namespaces and mounts; run as root")]
    NotRoot,
    /// Not a system we know how to clone.
    #[error("this is `{found}`, and nodes are made from a Debian or Ubuntu mirror")]
    NotDebian {
        /// The system's `ID` in os-release.
        found: String,
    },
    /// The kernel is too old.
    #[error("kernel {found} cannot kill a whole cgroup; 5.14 or newer is needed")]
    OldKernel {
        /// The kernel's release.
        found: String,
    },
    /// The kernel, or the container we are in, refuses something.
    #[error("this machine refuses to {what}: {said}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the system said.
        said: String,
    },
}

/// Which Debian or Ubuntu this machine runs.
pub(super) struct System {
    /// The codename of the release, such as `bookworm`.
    pub(super) suite: String,
    /// What dpkg calls the architecture, such as `amd64`.
    pub(super) arch: String,
}

/// Whether nodes can be booted here, or why not. Tries each thing inside throw-away namespaces,
/// so nothing of this machine changes.
pub(crate) fn possible() -> Result<(), Why> {
    if fs_err::metadata("/proc/self").map_or(true, |own| own.uid() != 0) {
        return Err(Why::NotRoot);
    }
    let release = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
    let id = field(&release, "ID").unwrap_or("unknown");
    if !matches!(id, "debian" | "ubuntu") {
        return Err(Why::NotDebian {
            found: id.to_owned(),
        });
    }
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !is_new_enough(kernel.trim()) {
        return Err(Why::OldKernel {
            found: kernel.trim().to_owned(),
        });
    }
    let namespaces = ["--mount", "--net", "--ipc", "--uts", "--pid", "--fork"];
    let probe = Program::new("unshare")
        .args(namespaces)
        .args([
            "--propagation",
            "private",
            "sh",
            "-c",
            include_str!("probe.sh"),
        ])
        .output()
        .map_err(|error| Why::Refused {
            what: "run a probe".into(),
            said: error.to_string(),
        })?;
    if probe.status.success() {
        return Ok(());
    }
    let what = probe
        .stdout
        .lines()
        .last()
        .unwrap_or("make namespaces")
        .to_owned();
    Err(Why::Refused {
        what,
        said: probe.stderr.trim().replace('\n', "; "),
    })
}

/// Which system this is.
pub(super) fn system() -> Result<System, Error> {
    let release = fs_err::read_to_string("/etc/os-release")?;
    let suite = field(&release, "VERSION_CODENAME")
        .unwrap_or("stable")
        .to_owned();
    let arch = Program::new("dpkg").arg("--print-architecture").text()?;
    Ok(System { suite, arch })
}

/// Installs with apt-get those of the tools that are missing, and says so.
pub(crate) fn require(tools: &[Tool]) -> Result<(), Error> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|tool| !is_present(tool.command))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if possible() == Err(Why::NotRoot) || !is_installed("apt-get") {
        return Err(Error::Missing {
            commands: missing
                .iter()
                .map(|tool| format!("`{}`", tool.command))
                .collect(),
            packages: packages.iter().map(ToString::to_string).collect(),
        });
    }
    say::line(format!(
        "setup: installing {} with apt-get",
        packages.join(", ")
    ));
    apt().arg("update").done()?;
    apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .done()?;
    Ok(())
}

fn apt() -> Program {
    // Another apt-get may hold dpkg's lock for a while; that is no reason to fail.
    Program::new("env")
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"])
        .args(["--option", "DPkg::Lock::Timeout=300"])
        .limit_seconds(APT_SECONDS)
}

fn is_present(command: &str) -> bool {
    if command.starts_with('/') {
        std::path::Path::new(command).exists()
    } else {
        is_installed(command)
    }
}

/// The value of a field of os-release, without its quotes.
pub(super) fn field<'a>(release: &'a str, name: &str) -> Option<&'a str> {
    release
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches(['"', '\'']))
}

fn is_new_enough(release: &str) -> bool {
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= KERNEL_MIN,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_os_release_lose_their_quotes() {
        let release = "NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(field(release, "NAME"), Some("Debian"));
        assert_eq!(field(release, "ID"), Some("debian"));
        assert_eq!(field(release, "ID_LIKE"), None);
    }

    #[test]
    fn kernels_are_compared_as_numbers() {
        for new in ["5.14.0", "6.1.0-35-amd64", "6.18.44-x", "5.15"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["5.10.0-21-amd64", "4.19.0", "", "x"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}
