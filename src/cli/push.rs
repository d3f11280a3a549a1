//! `kinstall push`: the main job.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::watch;

use super::carry::{
    Task, carry_out, changes, early_stop, notice_others, stop_on_interrupt, stopped,
};
use super::consent::Consent;
use super::plan::{Ask, Desk, desk};
use super::prepare::{self, Keep, Talk};
use super::{Common, Exit, Failure, Login, backup, load, through, users};
use crate::apply::{Encoded, Store};
use crate::artifact::Program;
use crate::check;
use crate::event::{Event, Events};
use crate::fetch::{self, Cache, Encoding};
use crate::inventory::Inventory;
use crate::lockfile::Lockfile;
use crate::plan::{Plan, is_upgrade};
use crate::terminal::Terminal;
use crate::version::Version;

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
    /// Take releases out of a bundle, and ask no source
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Upgrade by way of these versions, in one run, each healthy before the next; the last is the
    /// inventory's
    #[arg(long, value_name = "VERSION,...", value_delimiter = ',',
          conflicts_with_all = ["into", "bundle"])]
    through: Vec<Version>,
    /// Take no snapshot of etcd before an upgrade, or before its members change
    #[arg(long)]
    no_snapshot: bool,
    /// Take nodes from another run that holds them; that run stops
    #[arg(long)]
    break_lock: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    login: Login,
}

impl Push {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let read = load::read(&self.inventory, self.bundle.as_deref(), terminal)?;
        read.report(&check::command_lines(&read.inventory), terminal)?;
        let ask = Ask {
            into: self.into.as_deref(),
            login: &self.login,
            verify: self.verify,
            keep: Keep::Yes,
            snapshot: !self.no_snapshot,
            bundle: self.bundle.as_deref(),
            break_lock: self.break_lock,
            consent: self.consent,
        };
        if self.through.is_empty() {
            carry(&read.inventory, ask, common, terminal).await
        } else {
            through::carry(&read, &self.through, ask, common, terminal).await
        }
    }
}

/// The whole of a push, from looking at the nodes to their records.
pub(super) async fn carry(
    inventory: &Inventory,
    ask: Ask<'_>,
    common: &Common,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let talk = Talk::open(terminal);
    let stop = stop_on_interrupt(talk.events.clone());
    let outcome = once(inventory, ask, common, terminal, &talk.events, stop).await;
    talk.close().await;
    outcome
}

/// The same, in a run that has begun already.
pub(super) async fn once(
    inventory: &Inventory,
    ask: Ask<'_>,
    common: &Common,
    terminal: Terminal,
    events: &Events,
    stop: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let desk = tokio::select! {
        desk = desk(inventory, ask, common, terminal, events) => desk?,
        () = stopped(stop.clone()) => return Err(early_stop()),
    };
    push(inventory, desk, ask, common, terminal, events, stop).await
}

/// Shows the plan, fetches what some node lacks, carries the plan out.
async fn push(
    inventory: &Inventory,
    desk: Desk,
    ask: Ask<'_>,
    common: &Common,
    terminal: Terminal,
    events: &Events,
    stop: watch::Receiver<bool>,
) -> Result<Exit, Failure> {
    let views = desk.site.views(&desk.desired, &desk.differences);
    let plan = desk.plan(inventory, &views)?;
    let listing = desk.listing(inventory, &plan, &views).await;
    let upgrade = (is_upgrade(&views) || !plan.members.is_empty()) && ask.snapshot;
    let changes = changes(&plan, &views);
    let consent = ask.consent.check(&views);
    notice_others(inventory, &views, events);
    drop(views);
    if common.json {
        terminal.print_json(&listing);
    } else {
        events.send(Event::Note(listing.summary()));
        for change in &listing.members {
            events.send(Event::Note(format!("etcd: {change}")));
        }
        for rest in &listing.remains {
            events.send(Event::Warning(rest.clone()));
        }
    }
    consent?;
    if plan.is_empty() {
        users::make(inventory, &desk, users::Mode::Enable, events).await?;
        desk.site.close().await;
        return Ok(Exit::Done);
    }
    let options = fetch::Options {
        bundle: ask.bundle.map(Path::to_owned),
        compress: desk.site.snapshots.values().any(|snapshot| snapshot.zstd),
        ..prepare::fetch_options(common)
    };
    let store = tokio::select! {
        store = supply(inventory, &plan, &desk, &options, events) => store?,
        () = stopped(stop.clone()) => return Err(early_stop()),
    };
    if upgrade {
        let (site, desired, credentials) = (&desk.site, &desk.desired, &desk.credentials);
        tokio::select! {
            taken = backup::take(inventory, site, desired, credentials, events) => taken?,
            () = stopped(stop.clone()) => return Err(early_stop()),
        }
    }
    users::prepare(inventory, &desk, events).await;
    let task = Task {
        command: "push",
        plan: &plan,
        desired: &desk.desired,
        store: &store,
        credentials: &desk.credentials,
        changes: &changes,
        break_lock: ask.break_lock,
    };
    carry_out(inventory, &desk.site, task, common, events, stop).await?;
    users::make(inventory, &desk, users::Mode::Enable, events).await?;
    desk.site.close().await;
    Ok(Exit::Done)
}

/// Has the cache hold what some node lacks, compressed as that node can unpack it.
async fn supply(
    inventory: &Inventory,
    plan: &Plan,
    desk: &Desk,
    options: &fetch::Options,
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
    let tell = |event| events.send(Event::Fetch(event));
    let (lockfile, cache) = (&desk.lockfile, &desk.cache);
    fetch::ensure(inventory, &needed, lockfile, cache, options, &tell)
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
