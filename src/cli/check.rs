//! `kinstall check`: what is wrong with an inventory, and what an upgrade would break. The
//! benchmark is [`super::cis`].

use std::path::PathBuf;

use clap::Args;

use super::prepare::{self, Read};
use super::{Common, Exit, Failure, Login, cis};
use crate::check;
use crate::terminal::{Terminal, outlook::Outlook};
use crate::version::Version;

const AFTER_HELP: &str = "\
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
    /// With --cis, reach no node
    #[arg(long, requires = "cis")]
    pub(super) offline: bool,
    #[command(flatten)]
    pub(super) login: Login,
}

impl Check {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let read = prepare::read(&self.inventory)?;
        let findings = check::command_lines(&read.inventory);
        if self.cis {
            read.report(&findings, terminal)?;
            return cis::run(&self, &read.inventory, common, terminal).await;
        }
        if self.kubernetes.is_empty() {
            return present(&read, &findings, common, terminal);
        }
        read.report(&findings, terminal)?;
        let path = check::upgrade(&read.inventory, &self.kubernetes)
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let outlook = Outlook::of(&path, &read.inventory, &read.text);
        if common.json {
            terminal.print_json(&outlook);
        } else {
            terminal.print_colored(|color| outlook.text(&read.name, color));
        }
        Ok(if path.has_findings() {
            Exit::Found
        } else {
            Exit::Done
        })
    }
}

/// What is wrong with the inventory as it is.
fn present(
    read: &Read,
    findings: &[check::Finding],
    common: &Common,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    read.report(findings, terminal)?;
    let outlook = Outlook::today(findings, &read.inventory, &read.text);
    if common.json {
        terminal.print_json(&outlook);
    } else if findings.is_empty() {
        terminal.say("nothing is wrong with it");
    }
    Ok(Exit::Done)
}
