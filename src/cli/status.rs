//! `kinstall status`: what runs, how it is, and what was changed by hand.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::engine::session::Session;
use crate::engine::{load, status as engine};
use crate::terminal::Terminal;

/// Show what runs on each node, how it is, and what was changed by hand.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// The inventory
    inventory: PathBuf,
    /// Read every managed file again, whatever its size and times say
    #[arg(long)]
    verify: bool,
    /// Tell certificates that end within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    expiry_days: u32,
    #[command(flatten)]
    login: Login,
}

impl Status {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let settings = common.settings(&self.login);
        let status = engine::Status {
            verify: self.verify,
            expiry_days: self.expiry_days,
        };
        let look = async |session: &Session<'_>| status.report(session).await;
        let report = Session::run(&inventory, &settings, terminal, look).await?;
        terminal.print_data(common.json, &report, |color| report.text(color));
        Ok(if report.is_well() {
            Exit::Done
        } else {
            Exit::Found
        })
    }
}
