//! `kinstall render`: the tree that push would install, without any node.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Common, Exit, Failure, Login};
use crate::arch::Arch;
use crate::artifact;
use crate::durable;
use crate::engine::pki::{self, PkiMode};
use crate::engine::session::Session;
use crate::engine::{load, releases};
use crate::fetch;
use crate::inventory::{Inventory, NodeName};
use crate::manifest::{Content, Desired, Entry, Kind};
use crate::plain::count;
use crate::rooted;
use crate::terminal::Terminal;

/// Write the tree that push would install on each node, without any node.
#[derive(Debug, Args)]
pub(super) struct Render {
    /// The inventory
    inventory: PathBuf,
    /// Where to: DIR/<node>/etc/... is written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The architecture of nodes that the inventory says none of
    #[arg(long)]
    arch: Option<Arch>,
    /// Write the binaries too, downloading what is not in the cache
    #[arg(long)]
    binaries: bool,
}

impl Render {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::checked(&self.inventory, terminal)?;
        let settings = common.settings(&Login::default());
        let render = async |session: &Session<'_>| self.render(session).await;
        let (nodes, files) = Session::run(&inventory, &settings, terminal, render).await?;
        terminal.say(&format!(
            "{} for {} in {}",
            count(files, "file"),
            count(nodes, "node"),
            self.out.display()
        ));
        Ok(Exit::Done)
    }

    async fn render(&self, session: &Session<'_>) -> Result<(usize, usize), Failure> {
        let (inventory, scope) = (session.inventory, session.scope()?);
        let archs = self.archs(inventory, &scope)?;
        let needs = artifact::of_cluster(inventory, &archs);
        let credentials = pki::credentials(session, PkiMode::Preview)?;
        let cache = releases::cache(session.settings)?;
        let lockfile = if self.binaries {
            let options = releases::options(session.settings);
            releases::fetch(session, &needs, &cache, &options).await?.0
        } else {
            releases::placeholder(inventory, &needs)?
        };
        let desired = releases::compose(inventory, &archs, &lockfile, &credentials)?;
        let mut files = 0;
        let mut directories = BTreeSet::new();
        for (node, manifest) in &desired.manifests {
            let root = self.out.join(node.as_str());
            for (path, entry) in &manifest.entries {
                let at = rooted::place(&root, path)?;
                files += usize::from(self.write(&at, entry, &desired, &cache)?);
                directories.extend(at.parent().map(Path::to_owned));
            }
        }
        durable::sync_file_systems(&directories)?;
        Ok((desired.manifests.len(), files))
    }

    fn archs(
        &self,
        inventory: &Inventory,
        scope: &BTreeSet<NodeName>,
    ) -> Result<BTreeMap<NodeName, Arch>, Failure> {
        let nodes = inventory
            .nodes
            .values()
            .filter(|node| scope.contains(&node.name));
        let arch = |node: &crate::inventory::Node| {
            let known = node.arch.or(self.arch);
            let known = known.ok_or_else(|| {
                let message = format!(
                    "the architecture of `{}` is not known without asking it",
                    node.name
                );
                Failure::words(
                    Exit::Usage,
                    message,
                    "write `arch` into the inventory, or give `--arch arm64`",
                )
            })?;
            Ok((node.name.clone(), known))
        };
        nodes.map(arch).collect()
    }

    /// Writes one entry; whether it was a file or a link.
    fn write(
        &self,
        at: &Path,
        entry: &Entry,
        desired: &Desired,
        cache: &fetch::Cache,
    ) -> Result<bool, Failure> {
        if let Some(parent) = at.parent() {
            fs_err::create_dir_all(parent)?;
        }
        match &entry.kind {
            Kind::Directory => {
                // What lies in a linked one is put where the link leads in the tree.
                if !at.is_symlink() {
                    fs_err::create_dir_all(at)?;
                }
                return Ok(false);
            }
            Kind::Link { target } => {
                if fs_err::symlink_metadata(at).is_ok() {
                    fs_err::remove_file(at)?;
                }
                fs_err::os::unix::fs::symlink(target, at)?;
            }
            Kind::File { digest, .. } => match desired.contents.get(digest) {
                Some(Content::Inline(bytes)) => write_file(at, entry, &mut bytes.expose())?,
                Some(Content::Fetched { .. }) if self.binaries => {
                    let mut source = cache
                        .read(*digest)
                        .map_err(|error| Failure::new(Exit::Failed, error))?;
                    write_file(at, entry, &mut source)?;
                }
                _ => return Ok(false),
            },
        }
        Ok(true)
    }
}

/// Written again with the mode it should have, so that a secret is never open in between.
fn write_file(at: &Path, entry: &Entry, source: &mut dyn std::io::Read) -> Result<(), Failure> {
    use fs_err::os::unix::fs::OpenOptionsExt;
    if fs_err::symlink_metadata(at).is_ok() {
        fs_err::remove_file(at)?;
    }
    let mode = u32::from(entry.mode.0);
    let mut file = fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(at)?;
    std::io::copy(source, &mut file)?;
    // The mask of the user may have taken bits away.
    fs_err::set_permissions(at, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}
