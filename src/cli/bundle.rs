//! `kinstall bundle`: everything for a site without internet in one file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Common, Exit, Failure, Login};
use crate::arch::Arch;
use crate::artifact::{self, Needs};
use crate::bundle::{self, Bundle};
use crate::engine::fleet::architectures;
use crate::engine::releases::{self, bundle_failure};
use crate::engine::session::Session;
use crate::engine::{load, overrides};
use crate::fetch::Options;
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
                let settings = common.settings(&create.login);
                let create = async |session: &Session<'_>| create.create(session).await;
                Session::run(&inventory, &settings, terminal, create).await?
            }
            What::Verify { file } => bundle::verify(file).map_err(bundle_failure)?,
        };
        let bundled = Bundled::all(&bundle.manifest);
        terminal.print_data(common.json, &bundled, |_| bundled_text(&bundled));
        Ok(Exit::Done)
    }
}

impl Create {
    async fn create(&self, session: &Session<'_>) -> Result<Bundle, Failure> {
        let inventory = session.inventory;
        let cluster = inventory.cluster.name.as_str();
        let default = || PathBuf::from(format!("{cluster}.tar.zst"));
        let path = self.output.clone().unwrap_or_else(default);
        bundle::encoding(&path).map_err(bundle_failure)?;
        let cache = releases::cache(session.settings)?;
        let archs = architectures(session, &self.arch).await?;
        let mut needs = Needs::default();
        for archs in &archs {
            needs.extend(artifact::of_cluster(inventory, archs));
        }
        let options = Options {
            compress: false,
            ..releases::options(session.settings)
        };
        let (lockfile, _) = releases::fetch(session, &needs, &cache, &options).await?;
        session.note(format!("writing {}", path.display()));
        let (templates, _) = overrides::files(inventory);
        let bundle = bundle::create(&path, cluster, &needs, templates, &lockfile, &cache).await;
        let bundle = bundle.map_err(bundle_failure)?;
        let size = fs_err::metadata(&path)?.len();
        let megabytes = size.div_ceil(1_000_000);
        session.note(format!("wrote {}, {megabytes} MB", path.display()));
        Ok(bundle)
    }
}
