//! `kinstall check`: what is wrong with an inventory, and what an upgrade would break.

use std::path::PathBuf;

use clap::Args;

use super::prepare::{self, Read};
use super::{Common, Exit, Failure};
use crate::check;
use crate::terminal::{Terminal, outlook::Outlook};
use crate::version::Version;

/// Tell what is wrong with an inventory, or what an upgrade would break.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The inventory
    inventory: PathBuf,
    /// What would break on the way to this version? Several are gone through in turn
    #[arg(long, value_name = "VERSION,...", value_delimiter = ',')]
    kubernetes: Vec<Version>,
}

impl Check {
    pub(super) fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let read = prepare::read(&self.inventory)?;
        let findings = check::command_lines(&read.inventory);
        if self.kubernetes.is_empty() {
            return present(&read, &findings, common, terminal);
        }
        read.report(&findings, terminal)?;
        let path = check::upgrade(&read.inventory, &self.kubernetes)
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let outlook = Outlook::of(&path, &read.inventory, &read.text);
        terminal.print(&if common.json {
            json(&outlook)
        } else {
            outlook.text(&read.name, terminal.uses_color())
        });
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
        terminal.print(&json(&outlook));
    } else if findings.is_empty() {
        terminal.say("nothing is wrong with it");
    }
    Ok(Exit::Done)
}

fn json(outlook: &Outlook) -> String {
    serde_json::to_string_pretty(outlook).expect("an outlook is texts and numbers") + "\n"
}
