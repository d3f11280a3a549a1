//! The releases that a run needs: pinned in `kinstall.lock`, kept in the cache, from their sources or
//! out of a bundle.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::planned::Planned;
use super::session::{Session, Settings};
use crate::apply::{Encoded, Store};
use crate::arch::Arch;
use crate::artifact::{self, Needs};
use crate::bundle::{self, Bundle};
use crate::certificate::Credentials;
use crate::digest::Digest;
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::fetch::{self, Cache, Encoding, Options, PinReport};
use crate::inventory::{Inventory, NodeName};
use crate::lockfile::{ImagePin, Lockfile};
use crate::manifest::{self, Desired};

/// Where the releases of a push come from: the cache, as the lockfile pins it.
pub(crate) struct Releases {
    pub(crate) lockfile: Lockfile,
    cache: Cache,
    options: Options,
}

impl Releases {
    /// Opens the cache, and fills it from a bundle where there is one.
    pub(crate) async fn open(
        session: &Session<'_>,
        bundle: Option<&Path>,
    ) -> Result<Self, Failure> {
        let cache = cache(session.settings)?;
        if let Some(bundle) = bundle {
            unbundle(session, bundle, false, &cache).await?;
        }
        Ok(Self {
            lockfile: lockfile(session.inventory)?,
            cache,
            options: Options {
                bundle: bundle.map(Path::to_owned),
                ..options(session.settings)
            },
        })
    }

    /// Has the lockfile cover what the nodes need; a preview pins nothing.
    pub(crate) async fn pin(
        &mut self,
        session: &Session<'_>,
        archs: &BTreeMap<NodeName, Arch>,
        is_preview: bool,
    ) -> Result<(), Failure> {
        let needs = artifact::of_cluster(session.inventory, archs);
        let unpinned = self.lockfile.lacks(&needs);
        // What is pinned may rest on less than is required since; pinning looks for something better.
        let enough = fetch::check_required(session.inventory, &needs, &self.lockfile);
        if is_preview {
            if !unpinned.is_empty() {
                return Err(not_pinned(&unpinned));
            }
            enough.map_err(failure)?;
        } else if !unpinned.is_empty() || enough.is_err() {
            (self.lockfile, _) = pin(session, &needs, &self.cache, &self.options).await?;
        }
        Ok(())
    }

    /// Has the cache hold what some node lacks, compressed as that node can unpack it.
    pub(crate) async fn fetch(
        &self,
        session: &Session<'_>,
        planned: &Planned,
    ) -> Result<Store, Failure> {
        let (fleet, staging) = (&planned.comparison.fleet, &planned.plan.staging);
        let missing: BTreeSet<_> = staging.values().flatten().copied().collect();
        let needs = artifact::of_cluster(session.inventory, &fleet.archs);
        let needed = lacking(needs, &self.lockfile, &missing);
        let options = Options {
            compress: fleet.snapshots.values().any(|snapshot| snapshot.zstd),
            ..self.options.clone()
        };
        ensure(session, &needed, &self.lockfile, &self.cache, &options).await?;
        let mut store = Store::new();
        for (node, digests) in staging {
            let zstd = fleet.snapshots[node].zstd;
            let encoding = if zstd { Encoding::Zstd } else { Encoding::Gzip };
            let pinned = pinned(&needed, &self.lockfile);
            for digest in pinned.filter(|digest| digests.contains(digest)) {
                if let Entry::Vacant(place) = store.entry((digest, encoding)) {
                    place.insert(encoded(&self.cache, digest, encoding).await?);
                }
            }
        }
        Ok(store)
    }
}

/// What some node lacks: programs, and images of which it lacks any part.
fn lacking(mut needs: Needs, lockfile: &Lockfile, missing: &BTreeSet<Digest>) -> Needs {
    needs.programs.retain(|program| {
        let pinned = lockfile.program(program);
        pinned.is_some_and(|pin| missing.contains(&pin.digest))
    });
    needs.images.retain(|image| {
        let pinned = lockfile.image(image).into_iter();
        let mut parts = pinned.flat_map(ImagePin::parts);
        parts.any(|part| missing.contains(&part.digest))
    });
    needs
}

fn pinned(needs: &Needs, lockfile: &Lockfile) -> impl Iterator<Item = Digest> {
    let programs = needs.programs.iter();
    let programs = programs.filter_map(|program| Some(lockfile.program(program)?.digest));
    let images = needs.images.iter();
    let images = images.filter_map(|image| lockfile.image(image));
    programs.chain(images.flat_map(ImagePin::parts).map(|part| part.digest))
}

async fn encoded(cache: &Cache, digest: Digest, encoding: Encoding) -> Result<Encoded, Failure> {
    let path = cache.member(digest, encoding).await;
    let path = path.map_err(|error| Failure::new(Exit::Failed, error))?;
    let size = fs_err::metadata(&path)?.len();
    Ok(Encoded { path, size })
}

fn not_pinned(names: &[String]) -> Failure {
    let message = format!(
        "not pinned in `{}` yet: {}",
        fetch::LOCKFILE,
        names.join(", ")
    );
    Failure::words(
        Exit::Usage,
        message,
        "plan downloads nothing: run `kinstall fetch` on this inventory first",
    )
}

/// The cache that the user chose.
pub(crate) fn cache(settings: &Settings) -> Result<Cache, Failure> {
    Cache::open(settings.cache.as_deref()).map_err(|error| Failure::new(Exit::Failed, error))
}

/// How releases are fetched, by what the user said.
pub(crate) fn options(settings: &Settings) -> Options {
    Options {
        jobs: settings.jobs.min(8),
        ..Options::default()
    }
}

/// The lockfile beside the inventory.
fn lockfile(inventory: &Inventory) -> Result<Lockfile, Failure> {
    fetch::read_lockfile(inventory).map_err(failure)
}

/// The same, as if it covered what is needed: what is not pinned has a place in the tree, and no bytes
/// that anybody writes.
pub(crate) fn placeholder(inventory: &Inventory, needs: &Needs) -> Result<Lockfile, Failure> {
    let mut lockfile = lockfile(inventory)?;
    lockfile.suppose(needs);
    Ok(lockfile)
}

/// Makes the lockfile cover what is needed, and keeps it.
async fn pin(
    session: &Session<'_>,
    needs: &Needs,
    cache: &Cache,
    options: &Options,
) -> Result<(Lockfile, PinReport), Failure> {
    let inventory = session.inventory;
    let mut lockfile = lockfile(inventory)?;
    let tell = |event| session.events.send(Event::Fetch(event));
    let pinned = fetch::pin(inventory, needs, &mut lockfile, cache, options, &tell);
    let report = pinned.await.map_err(failure)?;
    write(session, &lockfile)?;
    Ok((lockfile, report))
}

fn write(session: &Session<'_>, lockfile: &Lockfile) -> Result<(), Failure> {
    if fetch::write_lockfile(session.inventory, lockfile).map_err(failure)? {
        session.note(format!("wrote {}", fetch::LOCKFILE));
    }
    Ok(())
}

/// Has the cache hold what is needed.
async fn ensure(
    session: &Session<'_>,
    needs: &Needs,
    lockfile: &Lockfile,
    cache: &Cache,
    options: &Options,
) -> Result<(), Failure> {
    let tell = |event| session.events.send(Event::Fetch(event));
    let ensured = fetch::ensure(session.inventory, needs, lockfile, cache, options, &tell);
    ensured.await.map_err(failure)
}

/// Pins what is needed, and has the cache hold it.
pub(crate) async fn fetch(
    session: &Session<'_>,
    needs: &Needs,
    cache: &Cache,
    options: &Options,
) -> Result<(Lockfile, PinReport), Failure> {
    let (lockfile, report) = pin(session, needs, cache, options).await?;
    ensure(session, needs, &lockfile, cache, options).await?;
    Ok((lockfile, report))
}

/// Fills the cache from a bundle, and has the lockfile pin what it holds.
pub(crate) async fn unbundle(
    session: &Session<'_>,
    file: &Path,
    locked: bool,
    cache: &Cache,
) -> Result<Bundle, Failure> {
    let bundle = bundle::admit(file, cache).await.map_err(bundle_failure)?;
    let (count, name) = (bundle.manifest.counted(), file.display());
    session.note(format!("took {count} out of {name}, all verified"));
    let mut lockfile = lockfile(session.inventory)?;
    let adopted = bundle.adopt(session.inventory, &mut lockfile);
    if adopted.map_err(bundle_failure)? && !locked {
        write(session, &lockfile)?;
    }
    Ok(bundle)
}

/// What each node should hold.
pub(crate) fn compose(
    inventory: &Inventory,
    archs: &BTreeMap<NodeName, Arch>,
    lockfile: &Lockfile,
    credentials: &Credentials,
) -> Result<Desired, Failure> {
    manifest::compose(inventory, archs, lockfile, credentials)
        .map_err(|error| Failure::new(Exit::Usage, error))
}

/// How a fetch that went wrong ends a command.
fn failure(error: fetch::Error) -> Failure {
    let exit = exit(error.exit_code());
    Failure::new(exit, error)
}

/// How a bundle that cannot be made or used ends a command.
pub(crate) fn bundle_failure(error: bundle::Error) -> Failure {
    let exit = exit(error.exit_code());
    Failure::new(exit, error)
}

fn exit(code: u8) -> Exit {
    match code {
        2 => Exit::Usage,
        5 => Exit::Unverified,
        _ => Exit::Failed,
    }
}
