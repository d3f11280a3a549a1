//! `kinstall check`: what is wrong with an inventory, and what an upgrade would break.

use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::authority::{Local, VaultFinding};
use crate::certificate;
use crate::check;
use crate::engine::benchmark::score;
use crate::engine::clock;
use crate::engine::load::{self, LoadedInventory};
use crate::engine::session::Session;
use crate::inventory::Inventory;
use crate::terminal::{Terminal, outlook::Outlook};
use crate::version::Version;

const AFTER_HELP: &str = "\
Where certificates come from a Vault, it is asked what it would refuse: whether the token is valid, the
roles are there, and names or lifetimes would be refused. Nothing is issued. The exit code is 3 then.

With --cis the exit code is 3 if a check that applies fails, 0 if none does; what only a person can
judge (`manual`) and what is not kinstall's (`not applicable`) fails nothing.";

/// Tell what is wrong with an inventory, what an upgrade would break, or how the CIS benchmark
/// scores it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Check {
    /// The inventory
    inventory: PathBuf,
    /// What would break on the way to this version? Several are gone through in turn
    #[arg(long, value_name = "VERSION,...", value_delimiter = ',')]
    kubernetes: Vec<Version>,
    /// Score the CIS Kubernetes Benchmark: what push would install, and what lies on the nodes
    #[arg(long, conflicts_with = "kubernetes")]
    cis: bool,
    /// Ask no Vault; with --cis, reach no node
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    login: Login,
}

impl Check {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let read = load::read(&self.inventory, None, terminal)?;
        let findings = check::command_lines(&read.inventory);
        if self.cis {
            read.report(&findings, terminal)?;
            let settings = common.settings(&self.login);
            let score = async |session: &Session<'_>| score(session, self.offline).await;
            let benchmark = Session::run(&read.inventory, &settings, terminal, score).await?;
            terminal.print_data(common.json, &benchmark, |color| benchmark.text(color));
            return Ok(if benchmark.has_failures() {
                Exit::Found
            } else {
                Exit::Done
            });
        }
        if self.kubernetes.is_empty() {
            return present(&read, &findings, self.offline, common, terminal);
        }
        read.report(&findings, terminal)?;
        let path = check::upgrade(&read.inventory, &self.kubernetes)
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let outlook = Outlook::of(&path, &read.inventory, &read.text);
        terminal.print_data(common.json, &outlook, |color| {
            outlook.text(&read.name, color)
        });
        Ok(if path.has_findings() {
            Exit::Found
        } else {
            Exit::Done
        })
    }
}

/// What is wrong with the inventory as it is, and what a Vault would say to it.
fn present(
    read: &LoadedInventory,
    findings: &[check::Finding],
    is_offline: bool,
    common: &Common,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    read.report(findings, terminal)?;
    let told = if is_offline {
        Vec::new()
    } else {
        ask_vault(&read.inventory)?
    };
    let (errors, warnings): (Vec<_>, Vec<_>) = told.into_iter().partition(|it| it.is_error);
    if !common.json || !errors.is_empty() {
        for warning in &warnings {
            terminal.say(&format!("warning: {warning}"));
        }
    }
    if !errors.is_empty() {
        return Err(Failure::all(Exit::Found, errors));
    }
    let outlook = Outlook {
        vault: warnings.iter().map(ToString::to_string).collect(),
        ..Outlook::today(findings, &read.inventory, &read.text)
    };
    if common.json {
        terminal.print_json(&outlook);
    } else if findings.is_empty() && warnings.is_empty() {
        terminal.say("nothing is wrong with it");
    }
    Ok(Exit::Done)
}

/// What the Vault of an inventory would refuse or do otherwise; nothing where there is none.
fn ask_vault(inventory: &Inventory) -> Result<Vec<VaultFinding>, Failure> {
    let local = Local::of(inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(local.vault_findings(&certificate::requests(inventory), clock::now())?)
}
