//! How a unit of a node is, as `systemctl show` tells.

use crate::manifest::UnitName;
use crate::plain;

/// How a unit is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// systemd's `ActiveState`: `active`, `failed`, `inactive`, `activating`.
    pub active: String,
    /// systemd's `SubState`: `running`, `auto-restart`.
    pub sub: String,
    /// Whether it starts with the machine.
    pub enabled: bool,
    /// The process, 0 for none.
    pub pid: u32,
    /// How often systemd restarted it by itself.
    pub restarts: u32,
    /// The file its process was started from.
    pub program: Option<Program>,
    /// The program that its unit file starts, where that is another one.
    pub instead_of: Option<String>,
    /// When its process started, as systemd writes it, in UTC.
    pub since: Option<String>,
    /// Whether its unit file is newer than what systemd has read.
    pub stale: bool,
    /// The fingerprint of what it was last activated with.
    pub applied: Option<String>,
    /// Its real name, where it was asked for by another.
    pub name: Option<String>,
    /// Whether it is masked.
    pub is_masked: bool,
    /// The unit file that systemd has read; none where there is none.
    pub fragment: Option<String>,
    /// The data directory of etcd that its process has open.
    pub holds: Option<String>,
}

/// The file that a process was started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: String,
    /// Whether it is not there any more.
    pub is_gone: bool,
}

/// A drop-in of a unit that lies on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// The unit.
    pub unit: UnitName,
    /// Where it lies; of characters that no managed path has there stands `?`.
    pub path: String,
}

/// Where a unit waits for its first start to join a living etcd cluster; see `enlist.sh`.
const JOIN: &str = "/kinstall-join.conf";

impl DropIn {
    /// Reads `UNIT PATH`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (unit, path) = text.split_once(' ')?;
        Some(Self {
            unit: unit.parse().ok()?,
            path: path.to_owned(),
        })
    }

    /// Whether it is kinstall's own, for one start.
    pub(super) fn joins(&self) -> bool {
        self.path.ends_with(JOIN)
    }
}

impl UnitState {
    /// Whether it runs.
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }

    /// Whether a process of it may be there.
    pub fn is_up(&self) -> bool {
        !matches!(self.active.as_str(), "" | "inactive" | "failed")
    }

    /// Whether systemd has read it from somewhere else than where kinstall puts its units.
    pub(super) fn is_foreign(&self, unit: &UnitName) -> bool {
        let own = unit.path();
        let elsewhere = |fragment: &String| fragment != own.as_str();
        self.name.is_some() || self.is_masked || self.fragment.as_ref().is_some_and(elsewhere)
    }

    /// Takes in which file its process was started from.
    pub(super) fn runs(&mut self, program: &str) {
        let bare = program.strip_suffix(" (deleted)");
        self.program = Some(Program {
            path: bare.unwrap_or(program).to_owned(),
            is_gone: bare.is_some(),
        });
        self.program.take_if(|program| program.path.is_empty());
    }

    /// Takes in `Property=value`.
    pub(super) fn show(&mut self, unit: &UnitName, text: &str) -> Option<()> {
        let (property, value) = text.split_once('=')?;
        let said = || Some(value.to_owned()).filter(|value| !value.is_empty());
        let word = || plain::brief(value);
        match property {
            "Id" => self.name = said().filter(|name| name != unit.as_str()),
            "LoadState" => self.is_masked = value == "masked",
            "FragmentPath" => self.fragment = said(),
            "ActiveState" => self.active = word(),
            "SubState" => self.sub = word(),
            "UnitFileState" => self.enabled = value == "enabled",
            "MainPID" => self.pid = value.parse().ok()?,
            "NRestarts" => self.restarts = value.parse().ok()?,
            "NeedDaemonReload" => self.stale = value == "yes",
            "ExecMainStartTimestamp" if !value.is_empty() => self.since = Some(word()),
            _ => {}
        }
        Some(())
    }
}
