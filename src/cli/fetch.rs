//! `kinstall fetch`: pin, download, verify.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;

use super::prepare::{self, Talk};
use super::{Common, Exit, Failure, Login, load};
use crate::arch::Arch;
use crate::artifact::Program;
use crate::event::Events;
use crate::fetch::{self as engine, Update};
use crate::inventory::{Inventory, NodeName};
use crate::lockfile::Trust;
use crate::terminal::Terminal;
use crate::terminal::releases::Releases;

/// Pin, download and verify what an inventory needs.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// The inventory
    inventory: PathBuf,
    /// Pin anew what is pinned already: everything, or the programs named
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', num_args = 0.., require_equals = true,
          conflicts_with_all = ["locked", "bundle"])]
    update: Option<Vec<String>>,
    /// Refuse to pin anything: everything must be in kinstall.lock already
    #[arg(long)]
    locked: bool,
    /// Refuse what rests on less
    #[arg(long, value_name = "TRUST")]
    require: Option<Required>,
    /// Take everything out of a bundle, and ask no source
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Compress for nodes now, so that the first push has that behind it
    #[arg(long)]
    compress: bool,
    /// The architectures of nodes that the inventory says none of, instead of asking the nodes
    #[arg(long, value_name = "ARCH,...", value_delimiter = ',')]
    arch: Vec<Arch>,
    #[command(flatten)]
    login: Login,
}

/// What a fetch can be required to rest on.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Required {
    /// The digest that ships inside kinstall
    BuiltIn,
    /// That, or a checksum published over https
    Published,
}

impl Fetch {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let read = load::read(&self.inventory, self.bundle.as_deref(), terminal)?;
        read.report(&[], terminal)?;
        let inventory = read.inventory;
        let talk = Talk::open(terminal);
        let outcome = self.fetch(&inventory, common, &talk.events).await;
        talk.close().await;
        let releases = outcome?;
        if common.json {
            terminal.print_json(&releases.programs);
        } else {
            terminal.print(&releases.text());
        }
        terminal.say(&releases.summary());
        Ok(Exit::Done)
    }

    async fn fetch(
        &self,
        inventory: &Inventory,
        common: &Common,
        events: &Events,
    ) -> Result<Releases, Failure> {
        let cache = prepare::cache(common)?;
        let mut arch = self.arch.clone();
        if let Some(file) = &self.bundle {
            let bundle = prepare::unbundle(inventory, file, self.locked, &cache, events).await?;
            // A bundle says itself which architectures it was made for.
            let programs = bundle.manifest.programs.keys();
            arch.extend(
                programs
                    .map(|program| program.arch)
                    .filter(|_| self.arch.is_empty()),
            );
            arch.sort_unstable();
            arch.dedup();
        }
        let mut programs = BTreeSet::new();
        for archs in architectures(inventory, &arch, &self.login, common, events).await? {
            programs.extend(prepare::programs(inventory, &archs));
        }
        let options = engine::Options {
            update: self.update(&programs)?,
            locked: self.locked,
            require: self.require.map(|required| match required {
                Required::BuiltIn => Trust::BuiltIn,
                Required::Published => Trust::Published,
            }),
            bundle: self.bundle.clone(),
            compress: self.compress,
            ..prepare::fetch_options(common)
        };
        let (lockfile, report) =
            prepare::pin(inventory, &programs, &cache, &options, events).await?;
        let tell = |event| events.send(crate::event::Event::Fetch(event));
        engine::ensure(inventory, &programs, &lockfile, &cache, &options, &tell)
            .await
            .map_err(prepare::fetch_failure)?;
        let releases = Releases::of(inventory, &programs, &lockfile, &cache, &report);
        Ok(releases)
    }

    /// What `--update` asks for; a name that nothing has is a mistake.
    fn update(&self, programs: &BTreeSet<Program>) -> Result<Update, Failure> {
        let Some(names) = &self.update else {
            return Ok(Update::Nothing);
        };
        if names.is_empty() {
            return Ok(Update::All);
        }
        let known: BTreeSet<_> = programs
            .iter()
            .map(|program| program.name.as_str())
            .collect();
        if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
            let known: Vec<_> = known.into_iter().collect();
            let message = format!("`--update={name}`: the inventory needs no program of that name");
            let help = format!("it needs {}", known.join(", "));
            return Err(Failure::words(Exit::Usage, message, help));
        }
        Ok(Update::Programs(names.iter().cloned().collect()))
    }
}

/// One assignment of architectures to nodes for each that must be fetched for.
pub(super) async fn architectures(
    inventory: &Inventory,
    arch: &[Arch],
    login: &Login,
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
    let unknown: BTreeSet<_> = nodes()
        .filter(|node| node.arch.is_none())
        .map(|node| node.name.clone())
        .collect();
    if unknown.is_empty() {
        return Ok(vec![known]);
    }
    if !arch.is_empty() {
        let of = |arch| {
            let all = unknown.iter().map(|node| (node.clone(), arch));
            known.clone().into_iter().chain(all).collect()
        };
        return Ok(arch.iter().copied().map(of).collect());
    }
    let password = prepare::password(login)?;
    let reach = prepare::reach(password.as_ref(), common);
    let site = prepare::site(inventory, &unknown, reach, false, events).await?;
    let found = site.archs.clone();
    site.close().await;
    Ok(vec![known.into_iter().chain(found).collect()])
}
