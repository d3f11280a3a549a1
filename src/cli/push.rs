//! `kinstall push`: the main job.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use clap::Args;
use tokio::sync::watch;

use super::plan::{Desk, desk, listing};
use super::prepare::{self, Keep, Talk};
use super::{Common, Exit, Failure, Login};
use crate::apply::{Encoded, Run, Store};
use crate::artifact::Program;
use crate::event::{Event, Events};
use crate::fetch::{self, Cache, Encoding};
use crate::lockfile::Lockfile;
use crate::plan::Plan;
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
        let inventory = prepare::checked_inventory(&self.inventory, terminal)?;
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
    let plan = Plan::new(&views).map_err(|refusals| Failure::all(Exit::Failed, refusals))?;
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
    let begun = std::time::Instant::now();
    let run = Run {
        plan: &plan,
        transports: &desk.site.transports,
        snapshots: &desk.site.snapshots,
        desired: &desk.desired,
        store: &store,
        credentials: &desk.credentials,
        rollout: &inventory.rollout,
        jobs: usize::from(common.jobs),
        holder: holder(),
        events: &events,
        stop,
    };
    run.carry_out().await?;
    let (nodes, seconds) = (plan.nodes().len(), begun.elapsed().as_secs_f64());
    events.send(Event::Note(format!(
        "done: {nodes} nodes changed in {seconds:.1} s"
    )));
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

/// Who runs this, where and since when.
fn holder() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let now = time::OffsetDateTime::now_utc();
    let format =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let since = now.format(&format).unwrap_or_default();
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    format!(
        "{}@{}, process {}, since {since}",
        plain(&user),
        plain(host.trim()),
        std::process::id()
    )
}

/// Becomes true at the first Ctrl-C or SIGTERM; at the second one the program ends at once.
fn stop_on_interrupt(events: Events) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        interrupt().await;
        events.send(Event::Warning(
            "stopping as soon as nothing is half done; once more to stop at once".to_owned(),
        ));
        drop(events);
        // Without a receiver there is nobody left to stop.
        _ = sender.send(true);
        interrupt().await;
        std::process::exit(i32::from(Exit::Stopped as u8));
    });
    receiver
}

async fn interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler can be set");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // The sender is gone without a word: nobody will stop this any more.
        std::future::pending::<()>().await;
    }
}

fn early_stop() -> Failure {
    Failure::words(
        Exit::Stopped,
        "stopped on request; no node was changed",
        "run the same command again to go on; what was downloaded is kept",
    )
}
