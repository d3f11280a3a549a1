//! `kinstall plan`: what push would change.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::engine::pki::PkiMode;
use crate::engine::session::Session;
use crate::engine::{self, Consent, PushOptions, etcd, load};
use crate::terminal::Terminal;
use crate::terminal::listing::Listing;

/// Show what push would change; change nothing.
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    /// The inventory
    inventory: PathBuf,
    /// Compare with the trees in DIR/<node> instead of reaching nodes
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Read every managed file again, whatever its size and times say
    #[arg(long)]
    verify: bool,
    /// As `push --adopt-data`
    #[arg(long)]
    adopt_data: bool,
    #[command(flatten)]
    login: Login,
}

impl PlanCommand {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::checked(&self.inventory, terminal)?;
        let options = PushOptions {
            into: self.into.as_deref(),
            verify: self.verify,
            consent: Consent {
                adopt_data: self.adopt_data,
                ..Consent::default()
            },
            ..PushOptions::of(PkiMode::Preview)
        };
        let settings = common.settings(&self.login);
        let plan = async |session: &Session<'_>| plan(session, &options).await;
        let (listing, users) = Session::run(&inventory, &settings, terminal, plan).await?;
        terminal.print_data(common.json, &listing, |color| listing.text(color));
        for missing in &users {
            terminal.say(&format!("etcd would get: {missing}"));
        }
        Ok(
            if listing.changes || !listing.in_the_way.is_empty() || !users.is_empty() {
                Exit::Found
            } else {
                Exit::Done
            },
        )
    }
}

/// The plan, as it is shown, and the users of etcd that a push would make.
async fn plan(
    session: &Session<'_>,
    options: &PushOptions<'_>,
) -> Result<(Listing, Vec<String>), Failure> {
    let (_, planned) = engine::plan(session, options).await?;
    let users = etcd::users::missing(session.inventory, &planned).unwrap_or_default();
    Ok((planned.end().await, users))
}
