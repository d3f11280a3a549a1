//! `kinstall push`: the main job.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use clap::Args;
use tokio::sync::watch;

use super::carry::{Task, carry_out, early_stop, stop_on_interrupt, stopped};
use super::plan::{Desk, desk, listing};
use super::prepare::{self, Keep, Talk};
use super::{Common, Exit, Failure, Login};
use crate::apply::{Encoded, Store};
use crate::artifact::Program;
use crate::event::{Event, Events};
use crate::fetch::{self, Cache, Encoding};
use crate::lockfile::Lockfile;
use crate::plan::{Direction, Plan};
use crate::terminal::Terminal;

/// Make every node what the inventory says: install, upgrade, or nothing.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// The inventory
    inventory: PathBuf,
    /// Write into DIR/<node> instead of reaching nodes: an SD card's root, an image
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Read every managed file again, whatever its size and times say
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    login: Login,
}

impl Push {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = prepare::inventory(&self.inventory, terminal)?;
        let talk = Talk::open(terminal);
        let ask = super::plan::Ask {
            into: self.into.as_deref(),
            login: &self.login,
            verify: self.verify,
            keep: Keep::Yes,
        };
        let stop = stop_on_interrupt(talk.events.clone());
        let prepared = tokio::select! {
            desk = desk(&inventory, ask, common, terminal, &talk.events) => desk,
            () = stopped(stop.clone()) => Err(early_stop()),
        };
        let outcome = match prepared {
            Ok(desk) => {
                push(
                    &inventory,
                    desk,
                    common,
                    terminal,
                    talk.events.clone(),
                    stop,
                )
                .await
            }
            Err(failure) => Err(failure),
        };
        talk.close().await;
        outcome
    }
}

/// Shows the plan, fetches what some node lacks, carries the plan out.
async fn push(
    inventory: &crate::inventory::Inventory,
    desk: Desk,
    common: &Common,
    terminal: Terminal,
    events: Events,
    stop: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let views = desk.site.views(&desk.desired, &desk.differences);
    let plan = Plan::new(&views, Direction::Forward)
        .map_err(|refusals| Failure::all(Exit::Failed, refusals))?;
    let listing = listing(inventory, &plan, &views, &desk).await;
    drop(views);
    if common.json {
        let text = serde_json::to_string_pretty(&listing).expect("a listing is texts and numbers");
        terminal.print(&(text + "\n"));
    } else {
        events.send(Event::Note(listing.summary()));
    }
    if plan.is_empty() {
        desk.site.close().await;
        return Ok(Exit::Done);
    }
    let store = tokio::select! {
        store = supply(inventory, &plan, &desk, common, &events) => store?,
        () = stopped(stop.clone()) => return Err(early_stop()),
    };
    let task = Task {
        command: "push",
        plan: &plan,
        desired: &desk.desired,
        store: &store,
        credentials: &desk.credentials,
    };
    carry_out(inventory, &desk.site, task, common, &events, stop).await?;
    desk.site.close().await;
    Ok(Exit::Done)
}

/// Has the cache hold what some node lacks, compressed as that node can unpack it.
async fn supply(
    inventory: &crate::inventory::Inventory,
    plan: &Plan,
    desk: &Desk,
    common: &Common,
    events: &Events,
) -> Result<Store, Failure> {
    let missing: BTreeSet<_> = plan.staging.values().flatten().copied().collect();
    let programs = prepare::programs(inventory, &desk.site.archs);
    let lacks = |program: &&Program| {
        desk.lockfile
            .program(program)
            .is_some_and(|pin| missing.contains(&pin.digest))
    };
    let needed: BTreeSet<Program> = programs.iter().filter(lacks).cloned().collect();
    let options = prepare::fetch_options(common);
    let tell = |event| events.send(Event::Fetch(event));
    fetch::ensure(
        inventory,
        &needed,
        &desk.lockfile,
        &desk.cache,
        &options,
        &tell,
    )
    .await
    .map_err(prepare::fetch_failure)?;
    let mut store = Store::new();
    for (node, digests) in &plan.staging {
        let zstd = desk.site.snapshots[node].zstd;
        let encoding = if zstd { Encoding::Zstd } else { Encoding::Gzip };
        for digest in pinned(&needed, &desk.lockfile).filter(|digest| digests.contains(digest)) {
            if let Entry::Vacant(place) = store.entry((digest, encoding)) {
                place.insert(encoded(&desk.cache, digest, encoding).await?);
            }
        }
    }
    Ok(store)
}

fn pinned(
    programs: &BTreeSet<Program>,
    lockfile: &Lockfile,
) -> impl Iterator<Item = crate::digest::Digest> {
    programs
        .iter()
        .filter_map(|program| Some(lockfile.program(program)?.digest))
}

async fn encoded(
    cache: &Cache,
    digest: crate::digest::Digest,
    encoding: Encoding,
) -> Result<Encoded, Failure> {
    let path = cache.member(digest, encoding).await;
    let path = path.map_err(|error| Failure::new(Exit::Failed, error))?;
    let size = fs_err::metadata(&path)?.len();
    Ok(Encoded { path, size })
}
