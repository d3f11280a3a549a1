//! The machines that are built for.

use std::fmt;

use clap::ValueEnum;

use crate::nodes::Tool;

/// An ARM machine, by Debian's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// 64 bits.
    Arm64,
    /// 32 bits, `ARMv7` with hardware floating point and NEON: not the first Pi, nor the Zero.
    Armhf,
}

impl Target {
    /// Rust's name for it.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::Armhf => "armv7-unknown-linux-gnueabihf",
        }
    }

    /// Debian's.
    pub(crate) fn dpkg(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
        }
    }

    /// What runs its programs here.
    pub(super) fn qemu(self) -> Tool {
        Tool {
            command: match self {
                Self::Arm64 => "qemu-aarch64-static",
                Self::Armhf => "qemu-arm-static",
            },
            package: "qemu-user-static",
        }
    }

    /// Debian's package of its C library, and where that has it.
    pub(super) fn libc(self) -> (&'static str, &'static str) {
        match self {
            Self::Arm64 => ("libc6-arm64-cross", "usr/aarch64-linux-gnu"),
            Self::Armhf => ("libc6-armhf-cross", "usr/arm-linux-gnueabihf"),
        }
    }
}

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glibc(pub(crate) u32, pub(crate) u32);

impl Glibc {
    /// The newest that a program asks for. The names of versions are plain text in it.
    pub(crate) fn needed_by(program: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"GLIBC_";
        let starts = program
            .windows(NAME.len())
            .enumerate()
            .filter(|(_, window)| *window == NAME);
        starts
            .filter_map(|(at, _)| {
                let rest = &program[at + NAME.len()..];
                let end = rest
                    .iter()
                    .position(|byte| !(byte.is_ascii_digit() || *byte == b'.'))?;
                let mut numbers = std::str::from_utf8(&rest[..end]).ok()?.split('.');
                let major = numbers.next()?.parse().ok()?;
                Some(Self(major, numbers.next()?.parse().ok()?))
            })
            .max()
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found() {
        let program = b"\0GLIBC_2.4\0GLIBC_2.28\0GLIBC_PRIVATE\0GLIBC_2.9\0";
        assert_eq!(Glibc::needed_by(program), Some(Glibc(2, 28)));
        assert_eq!(Glibc::needed_by(b"static"), None);
        assert!(Glibc(2, 31) > Glibc(2, 4));
    }
}
