//! `kinstall fetch`: pin, download, verify.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::prepare::{self, Talk};
use super::{Common, Exit, Failure, Login};
use crate::arch::Arch;
use crate::event::Events;
use crate::fetch as engine;
use crate::inventory::{Inventory, NodeName};
use crate::survey::Reach;
use crate::terminal::Terminal;

/// Pin, download and verify what an inventory needs.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// The inventory
    inventory: PathBuf,
    /// Pin anew what is pinned already
    #[arg(long, conflicts_with = "locked")]
    update: bool,
    /// Refuse to pin anything: everything must be in kinstall.lock already
    #[arg(long)]
    locked: bool,
    /// The architectures of nodes that the inventory says none of, instead of asking the nodes
    #[arg(long, value_name = "ARCH,...", value_delimiter = ',')]
    arch: Vec<Arch>,
    #[command(flatten)]
    login: Login,
}

/// What `--json` prints: every program that the inventory needs.
#[derive(Serialize)]
struct Fetched {
    name: String,
    version: String,
    arch: String,
    size: u64,
    sha256: String,
}

impl Fetch {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = prepare::inventory(&self.inventory, terminal)?;
        let talk = Talk::open(terminal);
        let outcome = self.fetch(&inventory, common, &talk.events).await;
        talk.close().await;
        let fetched = outcome?;
        if common.json {
            let text = serde_json::to_string_pretty(&fetched).expect("texts and numbers");
            terminal.print(&(text + "\n"));
        } else {
            let size: u64 = fetched.iter().map(|program| program.size).sum();
            let megabytes = size / 1_000_000;
            terminal.say(&format!(
                "{} programs pinned and in the cache, {megabytes} MB",
                fetched.len()
            ));
        }
        Ok(Exit::Done)
    }

    async fn fetch(
        &self,
        inventory: &Inventory,
        common: &Common,
        events: &Events,
    ) -> Result<Vec<Fetched>, Failure> {
        let cache = prepare::cache(common)?;
        let mut programs = std::collections::BTreeSet::new();
        for archs in self.archs(inventory, common, events).await? {
            programs.extend(prepare::programs(inventory, &archs));
        }
        let options = engine::Options {
            update: self.update,
            locked: self.locked,
            ..prepare::fetch_options(common)
        };
        let (lockfile, _) = prepare::pin(inventory, &programs, &cache, &options, events).await?;
        let tell = |event| events.send(crate::event::Event::Fetch(event));
        engine::ensure(inventory, &programs, &lockfile, &cache, &options, &tell)
            .await
            .map_err(prepare::fetch_failure)?;
        let fetched = programs.iter().filter_map(|program| {
            let pin = lockfile.program(program)?;
            Some(Fetched {
                name: program.name.clone(),
                version: program.version.to_string(),
                arch: program.arch.to_string(),
                size: pin.size,
                sha256: pin.digest.to_string(),
            })
        });
        Ok(fetched.collect())
    }

    /// One assignment of architectures to nodes for each that must be fetched for.
    async fn archs(
        &self,
        inventory: &Inventory,
        common: &Common,
        events: &Events,
    ) -> Result<Vec<BTreeMap<NodeName, Arch>>, Failure> {
        let scope = prepare::scope(inventory, common)?;
        let nodes = || {
            inventory
                .nodes
                .values()
                .filter(|node| scope.contains(&node.name))
        };
        let known: BTreeMap<_, _> = nodes()
            .filter_map(|node| Some((node.name.clone(), node.arch?)))
            .collect();
        let unknown: std::collections::BTreeSet<_> = nodes()
            .filter(|node| node.arch.is_none())
            .map(|node| node.name.clone())
            .collect();
        if unknown.is_empty() {
            return Ok(vec![known]);
        }
        if !self.arch.is_empty() {
            let of = |arch| {
                let all = unknown.iter().map(|node| (node.clone(), arch));
                known.clone().into_iter().chain(all).collect()
            };
            return Ok(self.arch.iter().copied().map(of).collect());
        }
        let password = prepare::password(&self.login)?;
        let reach = Reach {
            into: None,
            password: password.as_ref(),
            jobs: usize::from(common.jobs),
        };
        let site = prepare::site(inventory, &unknown, reach, false, events).await?;
        let found = site.archs.clone();
        site.close().await;
        Ok(vec![known.into_iter().chain(found).collect()])
    }
}
