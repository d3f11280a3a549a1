//! `kinstall certs`: every certificate of a cluster, seen, checked, renewed and drawn.

mod moving;
mod nodes;
mod prove;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::plan::Ask;
use super::prepare::{self, Keep, Talk};
use super::{Common, Exit, Failure, Login, load, push};
use crate::authority::{self, Authority, Local};
use crate::certificate::{self, CertificateId, Credentials, Request};
use crate::inventory::Inventory;
use crate::terminal::certificates::{self, FindingRow, Listing};
use crate::terminal::{Terminal, graph};

/// Every certificate of the cluster: who signs, who presents, who verifies, until when.
#[derive(Debug, Args)]
pub(super) struct Certs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List every certificate: signer, subject, names, days left, where it lies, who reads it
    List(Whose),
    /// Look for what is wrong or ends soon; exit code 3 if there is anything
    Check(Check),
    /// Make certificates anew, put them in place and restart what reads them, one node at a time
    Renew(Renew),
    /// Take a running cluster to who signs by the inventory: other `authorities`, another directory,
    /// Vault, or an authority that Vault exchanged. Both are trusted everywhere first, then
    /// everything is signed anew, then the ones before are trusted no more
    Move(moving::Move),
    /// Make kinstall's own authorities anew, all or the ones named, and take a running cluster there as
    /// `move` does
    RotateCa(moving::Rotate),
    /// Draw who presents what to whom, and who signed it
    Graph(Draw),
}

#[derive(Debug, Args)]
struct Whose {
    /// The inventory
    inventory: PathBuf,
}

#[derive(Debug, Args)]
struct Check {
    /// The inventory
    inventory: PathBuf,
    /// Tell certificates that end within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    days: u32,
    /// Look on the nodes too: at what lies there, and at what the running processes show
    #[arg(long)]
    nodes: bool,
    #[command(flatten)]
    login: Login,
}

#[derive(Debug, Args)]
struct Renew {
    /// The inventory
    inventory: PathBuf,
    /// Certificates as `list` names them (`admin`), or all of a kind (`apiserver`); by default all
    names: Vec<String>,
    /// Only make them, in pki/; the next push puts them in place
    #[arg(long)]
    no_push: bool,
    #[command(flatten)]
    login: Login,
}

#[derive(Debug, Args)]
struct Draw {
    /// The inventory
    inventory: PathBuf,
    /// How
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines
    Text,
    /// For Graphviz
    Dot,
    /// A picture for a browser
    Svg,
}

impl Certs {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        match self.act {
            Act::List(whose) => {
                let desk = Desk::open(&whose.inventory, terminal)?;
                let listing = desk.listing()?;
                print(common, terminal, &listing, &listing.text());
                Ok(Exit::Done)
            }
            Act::Check(check) => check.run(common, terminal).await,
            Act::Renew(renew) => renew.run(common, terminal).await,
            Act::Move(it) => Box::pin(it.run(common, terminal)).await,
            Act::RotateCa(it) => Box::pin(it.run(common, terminal)).await,
            Act::Graph(draw) => {
                let desk = Desk::open(&draw.inventory, terminal)?;
                let graph = graph::of(&desk.requests, &desk.listing()?);
                let text = match draw.format {
                    Format::Text => graph.text(),
                    Format::Dot => graph::dot(&graph),
                    Format::Svg => graph::svg(&graph),
                };
                print(common, terminal, &graph, &text);
                Ok(Exit::Done)
            }
        }
    }
}

/// An inventory and what is kept of its certificates.
struct Desk {
    inventory: Inventory,
    requests: Vec<Request>,
    authority: Box<Local>,
    kept: Credentials,
}

impl Desk {
    fn open(path: &std::path::Path, terminal: Terminal) -> Result<Self, Failure> {
        let inventory = load::inventory(path, terminal)?;
        // While who signs changes, what the nodes hold may not be what the inventory leads to yet.
        let effective = Local::in_effect(&inventory);
        let (authority, inventory) = effective.map_err(|error| Failure::new(Exit::Usage, error))?;
        let requests = certificate::requests(&inventory);
        let kept = authority.kept(&requests);
        let kept = kept.map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok(Self {
            inventory,
            requests,
            authority: Box::new(authority),
            kept,
        })
    }

    fn listing(&self) -> Result<Listing, Failure> {
        certificates::of(&self.inventory, &self.requests, &self.kept, prepare::now())
            .map_err(|error| Failure::new(Exit::Usage, error))
    }
}

/// What `check` prints.
#[derive(Serialize)]
struct Checked {
    cluster: String,
    findings: Vec<FindingRow>,
}

impl Check {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.inventory, terminal)?;
        let now = prepare::now();
        let found = desk
            .authority
            .examine(&desk.requests, &desk.kept, now, self.days);
        let mut findings: Vec<FindingRow> = found.iter().map(FindingRow::of).collect();
        if self.nodes {
            let talk = Talk::open(terminal);
            let look = nodes::Look {
                desk: &desk,
                login: &self.login,
                days: self.days,
            };
            let more = look.all(common, &talk.events).await;
            talk.close().await;
            findings.extend(more?);
        }
        let line = |row: &FindingRow| {
            let word = if row.error { "error" } else { "warning" };
            format!("{word}  {}  {}: {}\n", row.place, row.about, row.message)
        };
        let mut text: String = findings.iter().map(line).collect();
        if text.is_empty() {
            let days = self.days;
            text = format!("nothing is wrong, and nothing ends within {days} days\n");
        }
        let exit = if findings.is_empty() {
            Exit::Done
        } else {
            Exit::Found
        };
        let cluster = desk.inventory.cluster.name.to_string();
        print(common, terminal, &Checked { cluster, findings }, &text);
        Ok(exit)
    }
}

impl Renew {
    async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::inventory(&self.inventory, terminal)?;
        let requests = certificate::requests(&inventory);
        let ids = chosen(&requests, &self.names)?;
        if self.no_push {
            let authority =
                Local::of(&inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
            let obtained = authority.renew(&requests, &ids, prepare::now());
            let obtained = obtained?;
            for warning in obtained.warnings() {
                terminal.say(&format!("warning: {warning}"));
            }
            let renewed = obtained.made().filter_map(|note| match &note.item {
                authority::Item::Certificate(id) => Some(id.to_string()),
                _ => None,
            });
            let renewed: Vec<String> = renewed.collect();
            let text = format!("renewed in pki/: {}\n", renewed.join(", "));
            print(common, terminal, &renewed, &text);
            terminal.say("`kinstall push` puts them in place");
            return Ok(Exit::Done);
        }
        let ask = Ask::of(&self.login, Keep::Renew(&ids));
        push::carry(&inventory, ask, common, terminal).await
    }
}

/// The certificates that were named, or all.
fn chosen(requests: &[Request], names: &[String]) -> Result<BTreeSet<CertificateId>, Failure> {
    let mut ids = BTreeSet::new();
    if names.is_empty() {
        ids.extend(requests.iter().map(|request| request.id.clone()));
    }
    for name in names {
        let is_meant = |request: &&Request| {
            request.id.to_string() == *name || request.id.kind.name() == name.as_str()
        };
        let before = ids.len();
        let meant = requests.iter().filter(is_meant);
        ids.extend(meant.map(|request| request.id.clone()));
        if ids.len() == before {
            let message = format!("the cluster has no certificate `{name}`");
            let help = "`kinstall certs list` names them";
            return Err(Failure::words(Exit::Usage, message, help));
        }
    }
    Ok(ids)
}

fn print(common: &Common, terminal: Terminal, data: &impl Serialize, text: &str) {
    if common.json {
        terminal.print_json(data);
    } else {
        terminal.print(text);
    }
}
