//! `kinstall fetch`: pin, download, verify.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::arch::Arch;
use crate::artifact::{self, Needs};
use crate::engine::fleet::architectures;
use crate::engine::session::Session;
use crate::engine::{load, releases};
use crate::fetch::{Options, Update};
use crate::image::Reference;
use crate::lockfile::Trust;
use crate::terminal::Terminal;
use crate::terminal::releases::Releases;

/// Pin, download and verify what an inventory needs.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// The inventory
    inventory: PathBuf,
    /// Pin again what is pinned already: everything, or the programs and images named
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
        let settings = common.settings(&self.login);
        let fetch = async |session: &Session<'_>| self.fetch(session).await;
        let releases = Session::run(&inventory, &settings, terminal, fetch).await?;
        terminal.print_data(common.json, &releases.all, |_| releases.text());
        terminal.say(&releases.summary());
        Ok(Exit::Done)
    }

    async fn fetch(&self, session: &Session<'_>) -> Result<Releases, Failure> {
        let cache = releases::cache(session.settings)?;
        let mut arch = self.arch.clone();
        if let Some(file) = &self.bundle {
            let bundle = releases::unbundle(session, file, self.locked, &cache).await?;
            // A bundle says itself which architectures it was made for.
            let programs = bundle.manifest.programs.keys();
            let archs = programs.map(|program| program.arch);
            arch.extend(archs.filter(|_| self.arch.is_empty()));
            arch.sort_unstable();
            arch.dedup();
        }
        let mut needs = Needs::default();
        for archs in architectures(session, &arch).await? {
            needs.extend(artifact::of_cluster(session.inventory, &archs));
        }
        let options = Options {
            update: self.update(&needs)?,
            locked: self.locked,
            require: self.require.map(|required| match required {
                Required::BuiltIn => Trust::BuiltIn,
                Required::Published => Trust::Published,
            }),
            bundle: self.bundle.clone(),
            compress: self.compress,
            ..releases::options(session.settings)
        };
        let (lockfile, report) = releases::fetch(session, &needs, &cache, &options).await?;
        let inventory = session.inventory;
        Ok(Releases::of(inventory, &needs, &lockfile, &cache, &report))
    }

    /// What `--update` asks for; a name that nothing has is a mistake.
    fn update(&self, needs: &Needs) -> Result<Update, Failure> {
        let Some(names) = &self.update else {
            return Ok(Update::Nothing);
        };
        if names.is_empty() {
            return Ok(Update::All);
        }
        let programs = needs.programs.iter();
        let mut known: BTreeSet<_> = programs.map(|program| program.name.clone()).collect();
        let images = needs.images.iter();
        known.extend(images.map(|image| image.reference.to_string()));
        // An image may be named as the inventory does.
        let whole = |name: &String| match name.parse::<Reference>() {
            Ok(image) if !known.contains(name) => image.to_string(),
            _ => name.clone(),
        };
        let names: BTreeSet<String> = names.iter().map(whole).collect();
        if let Some(name) = names.iter().find(|name| !known.contains(*name)) {
            let known: Vec<_> = known.into_iter().collect();
            let message =
                format!("`--update={name}`: the inventory needs no program or image of that name");
            let help = format!("it needs {}", known.join(", "));
            return Err(Failure::words(Exit::Usage, message, help));
        }
        Ok(Update::Named(names))
    }
}
