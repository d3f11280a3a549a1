//! What a node holds, parsed from what `script/observe.sh` prints.

mod recorded;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Arch;
use crate::digest::Digest;
use crate::etcd_data::{Data, Kept};
use crate::etcd_users::Users;
use crate::journal;
use crate::machine::Machine;
use crate::manifest::{Entry, Kind, UnitName};
use crate::remote_path::RemotePath;

pub use recorded::{Format, Recorded};
pub use unit::{DropIn, Program, UnitState};

/// Where a node keeps contents by their digest.
pub const STORE: &str = "/var/lib/kinstall/store";

/// What a node holds, of the paths and units that were asked for and those it has on record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The architecture of its userland, where it could be told.
    pub arch: Option<Arch>,
    /// What its kernel says it runs on, as `aarch64`; none for a directory. The userland may be of
    /// another architecture.
    pub kernel: Option<String>,
    /// The version of systemd that runs it; none for a machine that systemd does not run, and for
    /// a directory.
    pub systemd: Option<u32>,
    /// Whether it can unpack zstd.
    pub zstd: bool,
    /// Bytes that are free where the store is.
    pub free_bytes: u64,
    /// Whether owners mean anything: not in a directory whose users do not exist yet.
    pub owned: bool,
    /// The entries that are there.
    pub entries: BTreeMap<RemotePath, Found>,
    /// The units that were asked for.
    pub units: BTreeMap<UnitName, UnitState>,
    /// Units of these names that somebody else made, from elsewhere: kinstall's do not run.
    pub foreign: BTreeMap<UnitName, UnitState>,
    /// What is dropped into these units, whoever did.
    pub drop_ins: Vec<DropIn>,
    /// The data of etcd that lie where its member keeps them, or would.
    pub data: Option<Data>,
    /// What an `uninstall` left word of beside data that stayed.
    pub kept: Option<Kept>,
    /// The contents in its store, each verified.
    pub stored: BTreeSet<Digest>,
    /// The last generation recorded.
    pub recorded: Option<Recorded>,
    /// What stands for the record as it was looked at: another one once a run has changed it.
    pub version: String,
    /// What runs that did not finish began to put in place.
    pub begun: Option<BTreeMap<RemotePath, Entry>>,
    /// Whether it is carrying a turn out now: of a run that goes on, or of one that was cut off.
    pub turning: bool,
    /// What it wrote down of the last run that changed it.
    pub ran: Option<journal::Entry>,
    /// How the last turn of a run that did not finish ended.
    pub outcome: Option<Outcome>,
    /// What of its ways to other nodes' Pods is not as it should be.
    pub ways: Vec<String>,
    /// Whom its etcd knows, where that was asked.
    pub users: Users,
    /// What it is beyond that.
    pub machine: Machine,
}

/// How a turn ended that the node carried out by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its end.
    pub end: End,
    /// Seconds since 1970.
    pub at: i64,
    /// The units that it was about.
    pub units: Vec<String>,
}

/// The ends that a turn can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All is in place, and systemd calls the units active.
    Finished,
    /// A unit did not start, and what was there before is back and runs.
    Reverted,
    /// A unit did not start; what was there before is back, and does not start either, as where a
    /// node is cut off from the others.
    Returned,
    /// A unit did not start, and there was no way back.
    Failed,
}

/// An entry that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// Its permission bits.
    pub mode: u16,
    /// The user it belongs to: the name, or the number of a user that has none.
    pub user: String,
    /// The group it belongs to.
    pub group: String,
    /// Seconds since 1970 at which its content was last changed.
    pub modified: i64,
}

/// What an entry that is there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File {
        /// The digest of its content; none where it could not be read.
        digest: Option<Digest>,
        /// Its size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Link {
        /// What it points at.
        target: String,
    },
    /// A socket, a device: nothing that kinstall makes.
    Other,
}

/// The node printed something that is not what `observe.sh` prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node's answer cannot be read at line {line}: `{text}`")]
pub struct Unreadable {
    /// The line, counted from 1.
    pub line: usize,
    /// Its first characters.
    pub text: String,
}

impl Unreadable {
    /// Whether it is something that a run recorded, rather than the answer itself.
    pub fn is_record(&self) -> bool {
        self.text.starts_with("recorded ") || self.text.starts_with("begun ")
    }
}

impl FoundKind {
    /// What is found where something was put.
    pub fn of(kind: &Kind) -> Self {
        match kind.clone() {
            Kind::File { digest, size } => Self::File {
                digest: Some(digest),
                size,
            },
            Kind::Directory => Self::Directory,
            Kind::Link { target } => Self::Link { target },
        }
    }
}

impl Snapshot {
    /// Parses what `observe.sh` printed.
    pub fn parse(output: &str) -> Result<Self, Unreadable> {
        let mut parser = Parser {
            snapshot: Self {
                owned: true,
                ..Self::default()
            },
        };
        let mut ended = false;
        for (index, text) in output.lines().enumerate() {
            let unreadable = || Unreadable {
                line: index + 1,
                text: text.chars().take(120).collect(),
            };
            if index == 0 {
                if text != "kinstall-observe 1" {
                    return Err(unreadable());
                }
                continue;
            }
            ended = text == "end";
            parser.line(text).ok_or_else(unreadable)?;
        }
        parser.part();
        if ended {
            Ok(parser.snapshot)
        } else {
            Err(Unreadable {
                line: output.lines().count() + 1,
                text: "the answer ends early".into(),
            })
        }
    }

    /// Takes in a later look at more paths of the same node.
    pub fn merge(&mut self, later: Self) {
        self.entries.extend(later.entries);
        self.units.extend(later.units);
        self.foreign.extend(later.foreign);
        self.drop_ins.extend(later.drop_ins);
        self.stored.extend(later.stored);
        self.machine.merge(later.machine);
    }

    /// Every entry that kinstall put there or began to, by the node's own record.
    pub fn ours(&self) -> BTreeMap<&RemotePath, &Entry> {
        let recorded = self
            .recorded
            .iter()
            .flat_map(|recorded| recorded.retired.iter().chain(&recorded.manifest.entries));
        let begun = self.begun.iter().flatten();
        recorded.chain(begun).collect()
    }
}

impl Outcome {
    /// Reads `END SECONDS UNIT...`; none for half a line, which a full disk may leave.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let end = match words.next()? {
            "finished" => End::Finished,
            "reverted" => End::Reverted,
            "returned" => End::Returned,
            "failed" => End::Failed,
            _ => return None,
        };
        Some(Self {
            end,
            at: words.next()?.parse().ok()?,
            units: words.map(ToOwned::to_owned).collect(),
        })
    }
}

struct Parser {
    snapshot: Snapshot,
}

impl Parser {
    /// Parts the units that somebody else made from kinstall's own.
    fn part(&mut self) {
        for (unit, state) in &mut self.snapshot.units {
            if state.is_foreign(unit) {
                let applied = state.applied.clone();
                let foreign = std::mem::take(state);
                self.snapshot.foreign.insert(unit.clone(), foreign);
                state.applied = applied;
                "inactive".clone_into(&mut state.active);
            }
        }
    }

    /// Takes one line in; none where it is not understood.
    fn line(&mut self, text: &str) -> Option<()> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "dpkg" => self.snapshot.arch = rest.parse().ok().or(self.snapshot.arch),
            "elf" => self.snapshot.arch = self.snapshot.arch.or_else(|| arch_of_elf(rest)),
            "kernel" => self.snapshot.kernel = Some(rest.to_owned()),
            "systemd" => self.snapshot.systemd = rest.parse().ok(),
            "version" => rest.clone_into(&mut self.snapshot.version),
            "zstd" => self.snapshot.zstd = true,
            "free" => self.snapshot.free_bytes = rest.parse::<u64>().ok()?.saturating_mul(1024),
            "entry" => self.entry(rest)?,
            "hash" => self.hash(rest)?,
            "show" => {
                let (unit, rest) = rest.split_once(' ')?;
                let unit: UnitName = unit.parse().ok()?;
                let state = self.snapshot.units.entry(unit.clone()).or_default();
                state.show(&unit, rest)?;
            }
            "holds" => {
                let (unit, directory) = rest.split_once(' ')?;
                let unit = self.snapshot.units.entry(unit.parse().ok()?).or_default();
                unit.holds = Some(directory.to_owned());
            }
            "dropin" => {
                let found = DropIn::parse(rest)?;
                self.snapshot
                    .drop_ins
                    .extend(Some(found).filter(|it| !it.joins()));
            }
            "wanted" => {
                self.snapshot
                    .units
                    .entry(rest.parse().ok()?)
                    .or_default()
                    .enabled = true;
            }
            "program" | "instead" | "applied" => {
                let (unit, said) = rest.split_once(' ')?;
                let unit = self.snapshot.units.entry(unit.parse().ok()?).or_default();
                match word {
                    "program" => unit.runs(said),
                    "instead" => unit.instead_of = Some(said.to_owned()),
                    _ => unit.applied = Some(said.to_owned()),
                }
            }
            "recorded" => self.snapshot.recorded = Some(serde_json::from_str(rest).ok()?),
            "begun" => self.snapshot.begun = Some(serde_json::from_str(rest).ok()?),
            "ran" => self.snapshot.ran = serde_json::from_str(rest).ok(),
            "turning" => self.snapshot.turning = true,
            "data" => self.snapshot.data = Some(Data::parse(rest)?),
            "kept" => self.snapshot.kept = serde_json::from_str(rest).ok(),
            // What cannot be read is not known, and nothing is refused for it.
            "users" => self.snapshot.users.line(rest),
            "machine" => _ = self.snapshot.machine.line(rest),
            "way" => self.snapshot.ways.push(rest.to_owned()),
            "outcome" => self.snapshot.outcome = Outcome::parse(rest),
            "end" => {}
            _ => return None,
        }
        Some(())
    }

    /// `PATH TYPE MODE USER GROUP SIZE MTIME CTIME INODE LAST`, where LAST is a file's digest or
    /// `?`, or what a link points at.
    fn entry(&mut self, rest: &str) -> Option<()> {
        let words: Vec<&str> = rest.splitn(10, ' ').collect();
        let [path, kind, mode, user, group, size, modified, _, _, last] = words[..] else {
            return None;
        };
        let path: RemotePath = path.strip_prefix('.')?.parse().ok()?;
        let kind = match kind {
            "f" => FoundKind::File {
                digest: last.parse().ok(),
                size: size.parse().ok()?,
            },
            "d" => FoundKind::Directory,
            "l" => FoundKind::Link {
                target: last.to_owned(),
            },
            _ => FoundKind::Other,
        };
        if let FoundKind::File {
            digest: Some(digest),
            ..
        } = kind
        {
            self.stored(&path, digest);
        }
        let found = Found {
            kind,
            mode: u16::from_str_radix(mode, 8).ok()?,
            user: user.to_owned(),
            group: group.to_owned(),
            modified: modified.split('.').next()?.parse().ok()?,
        };
        if !path.as_str().starts_with(STORE) {
            self.snapshot.entries.insert(path, found);
        }
        Some(())
    }

    fn hash(&mut self, rest: &str) -> Option<()> {
        let (path, hashed) = rest.split_once(' ')?;
        let path: RemotePath = path.strip_prefix('.')?.parse().ok()?;
        let hashed = hashed.parse().ok()?;
        self.stored(&path, hashed);
        if let Some(Found {
            kind: FoundKind::File { digest, .. },
            ..
        }) = self.snapshot.entries.get_mut(&path)
        {
            *digest = Some(hashed);
        }
        Some(())
    }

    /// A content in the store counts only if its bytes are what its name says.
    fn stored(&mut self, path: &RemotePath, digest: Digest) {
        let in_store = path.parent().is_some_and(|parent| parent.as_str() == STORE);
        if in_store && path.file_name() == digest.to_string() {
            self.snapshot.stored.insert(digest);
        }
    }
}

/// The architecture that the first 40 bytes of an ELF file are for, given in hexadecimal.
///
/// Source: the ELF specification, `e_ident[EI_CLASS]` at 4, `e_machine` at 18, and for 32-bit files
/// `e_flags` at 36; the ABI for the ARM architecture, `EF_ARM_ABI_FLOAT_HARD` = 0x400.
fn arch_of_elf(hex: &str) -> Option<Arch> {
    let byte = |at: usize| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok();
    if hex.get(..8)? != "7f454c46" {
        return None;
    }
    match (byte(4)?, u16::from_le_bytes([byte(18)?, byte(19)?])) {
        (2, 62) => Some(Arch::Amd64),
        (2, 183) => Some(Arch::Arm64),
        (1, 40) if byte(37)? & 0x04 != 0 => Some(Arch::Armhf),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_whole_answer_is_understood() {
        let answer = format!(
            "kinstall-observe 1\ndpkg armhf\nkernel aarch64\nelf \nsystemd 252\nzstd\nfree 10\n\
             entry ./etc/a f 600 root root 0 1700000000.5 1700000001.5 7 ?\n\
             entry ./etc/b f 640 etcd 998 0 1700000000.5 1700000001.5 8 {DIGEST}\n\
             entry ./etc/c l 777 root root 5 1700000000.5 1700000001.5 9 b c\n\
             entry ./etc/d d 755 root root 5 1700000000.5 1700000001.5 9 \n\
             entry .{STORE}/{DIGEST} f 600 root root 0 1.5 1.5 7 {DIGEST}\n\
             entry .{STORE}/{bad} f 600 root root 0 1.5 1.5 7 {DIGEST}\n\
             hash ./etc/a {DIGEST}\n\
             show etcd.service Id=etcd.service\nshow etcd.service ActiveState=active\nshow etcd.service MainPID=12\nshow etcd.service NRestarts=1\n\
             show etcd.service ExecMainStartTimestamp=Sat 2026-11-21 23:00:00 UTC\n\
             program etcd.service /usr/local/bin/etcd-v3.5.21 (deleted)\n\
             applied etcd.service abc\nend\n",
            bad = DIGEST.replace('e', "f"),
        );
        let snapshot = Snapshot::parse(&answer).unwrap();
        assert_eq!(snapshot.arch, Some(Arch::Armhf));
        assert_eq!(snapshot.kernel.as_deref(), Some("aarch64"));
        assert_eq!(
            (snapshot.systemd, snapshot.zstd, snapshot.free_bytes),
            (Some(252), true, 10240)
        );
        let digest: Digest = DIGEST.parse().unwrap();
        assert_eq!(
            snapshot.stored,
            [digest].into(),
            "a content under a wrong name does not count"
        );
        let kinds: Vec<_> = snapshot
            .entries
            .values()
            .map(|found| found.kind.clone())
            .collect();
        let file = FoundKind::File {
            digest: Some(digest),
            size: 0,
        };
        let link = FoundKind::Link {
            target: "b c".into(),
        };
        assert_eq!(kinds, [file.clone(), file, link, FoundKind::Directory]);
        let etcd = &snapshot.units[&"etcd.service".parse().unwrap()];
        assert!(etcd.is_active() && etcd.pid == 12 && etcd.restarts == 1);
        assert_eq!(etcd.applied.as_deref(), Some("abc"));
        let started = etcd.program.as_ref().unwrap();
        assert_eq!(started.path, "/usr/local/bin/etcd-v3.5.21");
        assert!(started.is_gone);
    }

    #[test]
    fn a_broken_answer_is_not() {
        for answer in [
            "",
            "bash: x\n",
            "kinstall-observe 1\n",
            "kinstall-observe 1\nwhat\nend\n",
        ] {
            assert!(Snapshot::parse(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn the_userland_is_told_by_its_shell() {
        let elf = |class: &str, machine: &str, flags: &str| {
            format!(
                "7f454c46{class}010100{zeros}0200{machine}{more}{flags}",
                zeros = "00".repeat(8),
                more = "00".repeat(16)
            )
        };
        assert_eq!(
            arch_of_elf(&elf("02", "3e00", "00000000")),
            Some(Arch::Amd64)
        );
        assert_eq!(
            arch_of_elf(&elf("02", "b700", "00000000")),
            Some(Arch::Arm64)
        );
        assert_eq!(
            arch_of_elf(&elf("01", "2800", "00040005")),
            Some(Arch::Armhf)
        );
        assert_eq!(
            arch_of_elf(&elf("01", "2800", "00020005")),
            None,
            "soft float"
        );
        assert_eq!(arch_of_elf(""), None);
    }
}
