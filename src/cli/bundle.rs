//! `kinstall bundle`: everything for a site without internet in one file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::fetch::architectures;
use super::own;
use super::prepare::{self, Talk};
use super::{Common, Exit, Failure, Login, load};
use crate::arch::Arch;
use crate::bundle::{self, Bundle, Error};
use crate::event::{Event, Events};
use crate::fetch;
use crate::inventory::Inventory;
use crate::terminal::Terminal;
use crate::terminal::releases::{Bundled, bundled_text};

/// Make or verify one file with everything for a site without internet.
#[derive(Debug, Args)]
pub(super) struct BundleCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Fetch what an inventory needs, and put it into one file with the lockfile
    Create(Create),
    /// Read a bundle to its end, and tell what it holds
    Verify {
        /// The bundle
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The inventory
    inventory: PathBuf,
    /// The bundle, ending in `.tar.zst` or `.tar.gz` [default: NAME.tar.zst, by the cluster's name]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The architectures of nodes that the inventory says none of, instead of asking the nodes
    #[arg(long, value_name = "ARCH,...", value_delimiter = ',')]
    arch: Vec<Arch>,
    #[command(flatten)]
    login: Login,
}

impl BundleCommand {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let bundle = match &self.what {
            What::Create(create) => {
                let inventory = load::inventory(&create.inventory, terminal)?;
                let talk = Talk::open(terminal);
                let outcome = create.create(&inventory, common, &talk.events).await;
                talk.close().await;
                outcome?
            }
            What::Verify { file } => bundle::verify(file).map_err(failure)?,
        };
        let bundled = Bundled::all(&bundle.manifest);
        if common.json {
            terminal.print_json(&bundled);
        } else {
            terminal.print(&bundled_text(&bundled));
        }
        Ok(Exit::Done)
    }
}

impl Create {
    async fn create(
        &self,
        inventory: &Inventory,
        common: &Common,
        events: &Events,
    ) -> Result<Bundle, Failure> {
        let cluster = inventory.cluster.name.as_str();
        let default = || PathBuf::from(format!("{cluster}.tar.zst"));
        let path = self.output.clone().unwrap_or_else(default);
        bundle::encoding(&path).map_err(failure)?;
        let cache = prepare::cache(common)?;
        let archs = architectures(inventory, &self.arch, &self.login, common, events).await?;
        let programs = archs
            .iter()
            .flat_map(|archs| prepare::programs(inventory, archs))
            .collect();
        let options = fetch::Options {
            compress: false,
            ..prepare::fetch_options(common)
        };
        let (lockfile, _) = prepare::pin(inventory, &programs, &cache, &options, events).await?;
        let tell = |event| events.send(Event::Fetch(event));
        fetch::ensure(inventory, &programs, &lockfile, &cache, &options, &tell)
            .await
            .map_err(prepare::fetch_failure)?;
        events.send(Event::Note(format!("writing {}", path.display())));
        let (templates, _) = own::files(inventory);
        let bundle = bundle::create(&path, cluster, &programs, templates, &lockfile, &cache).await;
        let bundle = bundle.map_err(failure)?;
        let size = fs_err::metadata(&path)?.len();
        let megabytes = size.div_ceil(1_000_000);
        events.send(Event::Note(format!(
            "wrote {}, {megabytes} MB",
            path.display()
        )));
        Ok(bundle)
    }
}

/// How a bundle that cannot be made or used ends a command.
pub(super) fn failure(error: Error) -> Failure {
    let exit = match error.exit_code() {
        2 => Exit::Usage,
        5 => Exit::Unverified,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}
