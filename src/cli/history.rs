//! `kinstall history`: what runs did, and when.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::engine::session::{self, Session};
use crate::engine::{clock, journal, load};
use crate::journal::Entry;
use crate::plain;
use crate::script;
use crate::terminal::Terminal;
use crate::transport::Body;

/// Where a node writes down what runs did to it.
const JOURNAL: &str = "/var/lib/kinstall/journal";

/// Tell what runs did, and when, the newest last: those from here, or with `--nodes` all.
#[derive(Debug, Args)]
pub(super) struct History {
    /// The inventory
    inventory: PathBuf,
    /// Ask the nodes too, which remember the runs from anywhere
    #[arg(long)]
    nodes: bool,
    #[command(flatten)]
    login: Login,
}

impl History {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let mut runs = journal::read(&inventory)?;
        if self.nodes {
            let settings = common.settings(&self.login);
            let told = Session::run(&inventory, &settings, terminal, ask).await?;
            add(&mut runs, told);
        }
        if common.json {
            terminal.print_json(&runs);
        } else {
            for run in &runs {
                let at = clock::date(run.at);
                terminal.print(&format!("{at}  {}\n", plain::line(&run.text())));
            }
        }
        Ok(Exit::Done)
    }
}

/// What the nodes remember.
async fn ask(session: &Session<'_>) -> Result<Vec<Entry>, Failure> {
    let transports = session.connect(&session.scope()?).await?;
    let mut told = Vec::new();
    for transport in transports.values() {
        let body = Body::text(format!("{JOURNAL}\n"));
        let output = transport.run(script::READ, &[], body).await;
        let output = output.map_err(|error| Failure::new(Exit::Unreachable, error))?;
        let text = output.trim().split_once(' ').map_or("", |(_, text)| text);
        // What cannot be read is left out, like a line that cannot.
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        told.extend(Entry::all(&text));
    }
    session::close(transports).await;
    Ok(told)
}

/// Adds what nodes told to what is known here: a run that is known stays as it is told here, and
/// one that several nodes tell of is one.
fn add(runs: &mut Vec<Entry>, told: Vec<Entry>) {
    let mut others = BTreeMap::<String, Entry>::new();
    for entry in told {
        if runs.iter().any(|run| run.run == entry.run) {
            continue;
        }
        others
            .entry(entry.run.clone())
            .and_modify(|other| {
                other.nodes.extend(entry.nodes.iter().cloned());
                other.changes.extend(entry.changes.clone());
            })
            .or_insert(entry);
    }
    runs.extend(others.into_values());
    runs.sort_by_key(|run| run.at);
}
