//! `kinstall certs`: every certificate of a cluster, seen, checked, renewed and drawn.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::{Common, Exit, Failure, Login};
use crate::authority::{self, Authority, Local};
use crate::certificate::{self, CertificateId, Credentials, Request};
use crate::engine::ca_migration::{MigrationOptions, migrate};
use crate::engine::deployed::Certificates;
use crate::engine::pki::PkiMode;
use crate::engine::session::Session;
use crate::engine::{self, PushOptions};
use crate::engine::{clock, load};
use crate::inventory::Inventory;
use crate::plain::count;
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
    /// Renew certificates, put them in place and restart what reads them, one node at a time
    Renew(Renew),
    /// Take a running cluster to who signs by the inventory: other `authorities`, another directory,
    /// Vault, or an authority that Vault exchanged. Both are trusted everywhere first, then
    /// everything is signed again, then the ones before are trusted no more
    Move(Move),
    /// Replace kinstall's own authorities, all or the ones named, and take a running cluster there as
    /// `move` does
    RotateCa(RotateCa),
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
struct Move {
    /// The inventory
    inventory: PathBuf,
    #[command(flatten)]
    migration: Migration,
}

#[derive(Debug, Args)]
struct RotateCa {
    /// The inventory
    inventory: PathBuf,
    /// The authorities to replace, as `list` names them (`etcd`); by default all that kinstall makes
    names: Vec<String>,
    #[command(flatten)]
    migration: Migration,
}

/// How a change is gone through.
#[derive(Debug, Args)]
struct Migration {
    /// Stop after so many of the three steps; the same command goes on from there
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Go back to who signed before; possible until the last step is done
    #[arg(long)]
    back: bool,
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
                let pki = PkiDirectory::open(&whose.inventory, terminal)?;
                let listing = pki.listing()?;
                terminal.print_data(common.json, &listing, |_| listing.text());
                Ok(Exit::Done)
            }
            Act::Check(check) => check.run(common, terminal).await,
            Act::Renew(renew) => renew.run(common, terminal).await,
            Act::Move(it) => {
                let migrating = it.migration.run(&it.inventory, None, common, terminal);
                Box::pin(migrating).await
            }
            Act::RotateCa(it) => {
                let names = Some(it.names.as_slice());
                let migrating = it.migration.run(&it.inventory, names, common, terminal);
                Box::pin(migrating).await
            }
            Act::Graph(draw) => {
                let pki = PkiDirectory::open(&draw.inventory, terminal)?;
                let graph = graph::of(&pki.requests, &pki.listing()?);
                let text = match draw.format {
                    Format::Text => graph.text(),
                    Format::Dot => graph::dot(&graph),
                    Format::Svg => graph::svg(&graph),
                };
                terminal.print_data(common.json, &graph, |_| text.clone());
                Ok(Exit::Done)
            }
        }
    }
}

/// An inventory and what is kept of its certificates.
struct PkiDirectory {
    inventory: Inventory,
    requests: Vec<Request>,
    authority: Box<Local>,
    kept: Credentials,
}

impl PkiDirectory {
    fn open(path: &Path, terminal: Terminal) -> Result<Self, Failure> {
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
        certificates::of(&self.inventory, &self.requests, &self.kept, clock::now())
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
        let pki = PkiDirectory::open(&self.inventory, terminal)?;
        let now = clock::now();
        let found = pki
            .authority
            .examine(&pki.requests, &pki.kept, now, self.days);
        let mut findings: Vec<FindingRow> = found.iter().map(FindingRow::of).collect();
        if self.nodes {
            let settings = common.settings(&self.login);
            let deployed = Certificates {
                kept: &pki.kept,
                days: self.days,
            };
            let look = async |session: &Session<'_>| deployed.find(session).await;
            findings.extend(Session::run(&pki.inventory, &settings, terminal, look).await?);
        }
        let line = |row: &FindingRow| {
            let word = if row.error { "error" } else { "warning" };
            format!("{word}  {}  {}: {}\n", row.place, row.about, row.message)
        };
        let mut text: String = findings.iter().map(line).collect();
        if text.is_empty() {
            let days = count(self.days, "day");
            text = format!("nothing is wrong, and nothing ends within {days}\n");
        }
        let exit = if findings.is_empty() {
            Exit::Done
        } else {
            Exit::Found
        };
        let cluster = pki.inventory.cluster.name.to_string();
        terminal.print_data(common.json, &Checked { cluster, findings }, |_| {
            text.clone()
        });
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
            let obtained = authority.renew(&requests, &ids, clock::now());
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
            terminal.print_data(common.json, &renewed, |_| text.clone());
            terminal.say("`kinstall push` puts them in place");
            return Ok(Exit::Done);
        }
        let settings = common.settings(&self.login);
        let push = async |session: &Session<'_>| {
            engine::push(&session.stoppable(), &PushOptions::of(PkiMode::Renew(&ids))).await
        };
        Session::run(&inventory, &settings, terminal, push).await
    }
}

impl Migration {
    async fn run(
        &self,
        inventory: &Path,
        replaced: Option<&[String]>,
        common: &Common,
        terminal: Terminal,
    ) -> Result<Exit, Failure> {
        if !common.limit.is_empty() {
            let message = "`--limit` has no meaning here: every peer must trust the same";
            return Err(Failure::words(Exit::Usage, message, "leave it out"));
        }
        let inventory = load::checked(inventory, terminal)?;
        let options = MigrationOptions {
            replaced,
            steps: self.steps,
            back: self.back,
        };
        let settings = common.settings(&self.login);
        let migrate = async |session: &Session<'_>| migrate(session, options).await;
        Session::run(&inventory, &settings, terminal, migrate).await
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
