//! `kinstall rollback`: nodes taken back to a recorded generation.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::engine::load;
use crate::engine::rollback::{RollbackOptions, rollback};
use crate::engine::session::Session;
use crate::terminal::Terminal;

/// Take nodes back to a recorded generation.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The inventory
    inventory: PathBuf,
    /// The generation, as `status` tells it [default: on each node the one before the last; after a
    /// push that was not finished, the one that was there before it]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Show what would change; change nothing
    #[arg(long)]
    plan: bool,
    /// Take no snapshot of etcd before versions change
    #[arg(long)]
    no_snapshot: bool,
    /// Take nodes from another run that holds them; that run stops
    #[arg(long)]
    break_lock: bool,
    #[command(flatten)]
    login: Login,
}

impl Rollback {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let options = RollbackOptions {
            to: self.to,
            only_plan: self.plan,
            snapshot: !self.no_snapshot,
            break_lock: self.break_lock,
        };
        let settings = common.settings(&self.login);
        let rollback = async |session: &Session<'_>| rollback(session, options).await;
        Session::run(&inventory, &settings, terminal, rollback).await
    }
}
