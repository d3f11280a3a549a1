//! `kinstall push`: the main job. What it does is in [`crate::engine`].

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::check;
use crate::engine::pki::PkiMode;
use crate::engine::session::Session;
use crate::engine::{self, Consent, PushOptions, load, through};
use crate::terminal::Terminal;
use crate::version::Version;

/// Make every node what the inventory says: install, upgrade, or nothing.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// The inventory
    inventory: PathBuf,
    /// Write into DIR/<node> instead of reaching nodes: an SD card's root, an image
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Read every managed file again, whatever its size and times say
    #[arg(long)]
    verify: bool,
    /// Take releases out of a bundle, and ask no source
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Upgrade by way of these versions, in one run, each healthy before the next; the last is the
    /// inventory's
    #[arg(long, value_name = "VERSION,...", value_delimiter = ',',
          conflicts_with_all = ["into", "bundle"])]
    through: Vec<Version>,
    /// Take no snapshot of etcd before an upgrade, or before its members change
    #[arg(long)]
    no_snapshot: bool,
    /// Take nodes from another run that holds them; that run stops
    #[arg(long)]
    break_lock: bool,
    #[command(flatten)]
    foreign: Foreign,
    #[command(flatten)]
    login: Login,
}

/// What becomes of files that somebody else made or changed.
#[derive(Debug, Args)]
struct Foreign {
    /// Refuse, rather than overwrite a managed file that was changed by hand
    #[arg(long)]
    keep_drift: bool,
    /// Replace files that are in the way and that kinstall did not put there
    #[arg(long)]
    replace_unmanaged: bool,
    /// Start etcd on data that kinstall has no record of: take over the cluster they are of
    #[arg(long)]
    adopt_data: bool,
}

impl Push {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let read = load::read(&self.inventory, self.bundle.as_deref(), terminal)?;
        read.report(&check::command_lines(&read.inventory), terminal)?;
        let options = PushOptions {
            into: self.into.as_deref(),
            verify: self.verify,
            pki: PkiMode::Obtain,
            bundle: self.bundle.as_deref(),
            consent: Consent {
                keep_drift: self.foreign.keep_drift,
                replace_unmanaged: self.foreign.replace_unmanaged,
                adopt_data: self.foreign.adopt_data,
            },
            snapshot: !self.no_snapshot,
            break_lock: self.break_lock,
        };
        let settings = common.settings(&self.login);
        let push = async |session: &Session<'_>| {
            if self.through.is_empty() {
                engine::push(&session.stoppable(), &options).await
            } else {
                through::push(session, &read, &self.through, &options).await
            }
        };
        Session::run(&read.inventory, &settings, terminal, push).await
    }
}
