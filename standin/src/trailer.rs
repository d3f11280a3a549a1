//! The line behind the ELF file that says which program this copy is:
//! `kinstall-standin kube-apiserver 1.32.3`. Loaders ignore what follows the last section, so a
//! copy with a trailer runs like the bare program.
//!
//! Padding before the trailer makes a copy as large as the real server. A Go binary compresses
//! to about a quarter: of every 256 bytes of padding 56 are pseudo-random and 200 repeat, which
//! gives the same. The bytes depend on name and version alone, so the same order makes the same
//! file, and two versions share no block.

use std::{
    fmt,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    str::FromStr,
};

use fs_err as fs;
use kinstall::version::Version;
use thiserror::Error;

const MARK: &str = "kinstall-standin";
/// More than the longest trailer.
const TAIL_BYTES: u64 = 128;

/// The programs there are stand-ins for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Apiserver,
    ControllerManager,
    Scheduler,
    Kubelet,
    Proxy,
    /// One that `mite` is copied for.
    Small(&'static str),
}

/// What runs containers on a worker, and whatever else does little.
const SMALL: [&str; 9] = [
    "bridge",
    "containerd",
    "containerd-shim-runc-v2",
    "crictl",
    "ctr",
    "host-local",
    "loopback",
    "portmap",
    "runc",
];

/// Which server of which version a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) program: Program,
    pub(crate) version: Version,
}

/// What `standin make` was asked for.
pub(crate) struct Order {
    identity: Identity,
    out: PathBuf,
    size: Option<u64>,
    /// The stand-in that is copied: one for another machine, or this very program.
    of: PathBuf,
}

/// Why no copy was made.
#[derive(Debug, Error)]
pub(crate) enum MakeError {
    #[error(
        "usage: standin make --name kube-apiserver|kube-controller-manager|kube-scheduler|\
         kubelet|kube-proxy --version 1.32.3 --out FILE [--size BYTES] [--of STANDIN], or \
         standin make --name containerd|ctr|runc|... --version 2.0.11 --out FILE --of MITE"
    )]
    Usage,
    #[error("`{size}` bytes are fewer than the program itself has ({least})")]
    Small { size: u64, least: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Apiserver => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Small(name) => name,
        }
    }
}

impl FromStr for Program {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let all = [
            Self::Apiserver,
            Self::ControllerManager,
            Self::Scheduler,
            Self::Kubelet,
            Self::Proxy,
        ];
        let mut all = all.into_iter().chain(SMALL.map(Self::Small));
        all.find(|program| program.name() == name).ok_or(())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\n{MARK} {} {}\n", self.program.name(), self.version)
    }
}

/// Which server this process is, if any.
pub(crate) fn own() -> io::Result<Option<Identity>> {
    let mut file = fs::File::open("/proc/self/exe")?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(identity(&String::from_utf8_lossy(&tail)))
}

fn identity(tail: &str) -> Option<Identity> {
    let line = tail.strip_suffix('\n')?.rsplit('\n').next()?;
    let mut words = line.strip_prefix(MARK)?.split_whitespace();
    let program = words.next()?.parse().ok()?;
    Some(Identity {
        program,
        version: words.next()?.parse().ok()?,
    })
}

impl Order {
    pub(crate) fn read(words: &[String]) -> Result<Self, MakeError> {
        let Some(("make", pairs)) = words
            .split_first()
            .map(|(verb, pairs)| (verb.as_str(), pairs))
        else {
            return Err(MakeError::Usage);
        };
        let (mut name, mut version, mut out, mut size) = (None, None, None, None);
        let mut of = None;
        for pair in pairs.chunks(2) {
            let [key, value] = pair else {
                return Err(MakeError::Usage);
            };
            match key.as_str() {
                "--name" => name = value.parse().ok(),
                "--version" => version = value.parse().ok(),
                "--out" => out = Some(PathBuf::from(value)),
                "--of" => of = Some(PathBuf::from(value)),
                "--size" => size = Some(value.parse().map_err(|_| MakeError::Usage)?),
                _ => return Err(MakeError::Usage),
            }
        }
        let (program, version) = name.zip(version).ok_or(MakeError::Usage)?;
        let identity = Identity { program, version };
        let is_own = !matches!(program, Program::Small(_));
        let own = is_own.then(|| PathBuf::from("/proc/self/exe"));
        Ok(Self {
            identity,
            out: out.ok_or(MakeError::Usage)?,
            size,
            of: of.or(own).ok_or(MakeError::Usage)?,
        })
    }

    pub(crate) fn make(&self) -> Result<(), MakeError> {
        let trailer = self.identity.to_string();
        let program = fs::read(&self.of)?;
        let least = (program.len() + trailer.len()) as u64;
        let size = self.size.unwrap_or(least);
        let padding = size
            .checked_sub(least)
            .ok_or(MakeError::Small { size, least })?;
        let mut out = io::BufWriter::new(fs::File::create(&self.out)?);
        out.write_all(&program)?;
        pad(&mut out, padding, &trailer)?;
        out.write_all(trailer.as_bytes())?;
        out.flush()?;
        drop(out);
        Ok(fs::set_permissions(
            &self.out,
            std::fs::Permissions::from_mode(0o755),
        )?)
    }
}

fn pad(out: &mut impl io::Write, bytes: u64, seed: &str) -> io::Result<()> {
    const RANDOM: usize = 56;
    let mut state = seed.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut left = bytes;
    let mut chunk = [b'.'; 256];
    while left > 0 {
        for part in chunk[..RANDOM].chunks_mut(8) {
            // xorshift: noise for a compressor, no more.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            part.copy_from_slice(&state.to_le_bytes());
        }
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        out.write_all(&chunk[..now])?;
        left -= now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_says_what_it_was_made_with() {
        let identity = Identity {
            program: Program::Scheduler,
            version: Version {
                major: 1,
                minor: 32,
                patch: 3,
            },
        };
        assert_eq!(
            super::identity(&format!("\u{7f}ELF..{identity}")),
            Some(identity)
        );
        assert_eq!(super::identity("\u{7f}ELF.."), None);
        assert_eq!(super::identity("\nkinstall-standin kubeadm 1.32.3\n"), None);
    }
}
