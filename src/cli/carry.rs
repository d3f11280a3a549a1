//! Carrying a plan out: what push and rollback have in common. A run can be stopped between any two
//! things, is told to the journal, and never leaves half of anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::journal::{self, Journal};
use super::prepare;
use super::prepare::Site;
use super::{Common, Exit, Failure};
use crate::apply::{Pause, Run, Store};
use crate::certificate::Credentials;
use crate::event::{Event, Events};
use crate::inventory::{Inventory, NodeName};
use crate::journal::{Changes, DONE};
use crate::manifest::Desired;
use crate::plan::{Plan, View};

/// Whether the command stops by itself where nothing is half done.
static STOPS_BY_ITSELF: AtomicBool = AtomicBool::new(false);
/// How long any other command may take to end, in seconds.
const END_SECONDS: u64 = 2;

/// What is carried out.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) command: &'static str,
    pub(super) plan: &'a Plan,
    pub(super) desired: &'a Desired,
    pub(super) store: &'a Store,
    pub(super) credentials: &'a Credentials,
    /// What changes on each node.
    pub(super) changes: &'a BTreeMap<String, Changes>,
    /// Whether nodes are taken from another run that holds them.
    pub(super) break_lock: bool,
}

/// What changes on each node that a plan changes.
pub(super) fn changes(
    plan: &Plan,
    views: &BTreeMap<NodeName, View<'_>>,
) -> BTreeMap<String, Changes> {
    let nodes = plan.nodes().into_iter();
    let of = |node: &NodeName| (node.to_string(), views[node].changes());
    nodes.map(of).collect()
}

/// Notices a node that was last changed from elsewhere: what that inventory says and this one does
/// not is about to go.
pub(super) fn notice_others(
    inventory: &Inventory,
    views: &BTreeMap<NodeName, View<'_>>,
    events: &Events,
) {
    let ours = journal::entry(inventory, "", who(), BTreeMap::new());
    let mut others = BTreeMap::<String, Vec<&str>>::new();
    for (node, view) in views {
        let Some(last) = &view.snapshot.ran else {
            continue;
        };
        let is_ours =
            last.inventory == ours.inventory || (&last.who, &last.from) == (&ours.who, &ours.from);
        if !is_ours && !view.difference.is_empty() {
            let (who, from, at) = (&last.who, &last.from, prepare::date(last.at));
            let whence = format!("by {who} from {from} at {at}");
            others.entry(whence).or_default().push(node.as_str());
        }
    }
    for (whence, nodes) in others {
        let nodes = nodes.join(", ");
        events.send(Event::Warning(format!(
            "{nodes}: last changed {whence}, with another inventory than this one"
        )));
    }
}

/// Carries a plan out and tells the journal.
pub(super) async fn carry_out(
    inventory: &Inventory,
    site: &Site,
    task: Task<'_>,
    common: &Common,
    events: &Events,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let begun = std::time::Instant::now();
    let mut journal = Journal::open(inventory)?;
    let mut entry = journal::entry(inventory, task.command, who(), task.changes.clone());
    let run = Run {
        plan: task.plan,
        transports: &site.transports,
        snapshots: &site.snapshots,
        desired: task.desired,
        store: task.store,
        credentials: task.credentials,
        rollout: &inventory.rollout,
        jobs: usize::from(common.jobs),
        holder: holder(),
        break_lock: task.break_lock,
        entry: &entry,
        events,
        stop,
        pause: Pause::from_environment(),
    };
    let result = run.carry_out().await.map_err(Failure::from);
    entry.at = prepare::now();
    entry.outcome = match &result {
        Ok(()) => DONE.to_owned(),
        Err(failure) => failure.in_words(),
    };
    journal.add(&entry)?;
    result?;
    let seconds = begun.elapsed().as_secs_f64();
    events.send(Event::Note(format!(
        "done: {} nodes changed in {seconds:.1} s",
        entry.nodes.len()
    )));
    Ok(())
}

/// Who runs this, and where.
pub(super) fn who() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    format!("{}@{}", plain(&user), plain(host.trim()))
}

/// Who runs this, where and since when: shown to another run that finds a node held.
pub(super) fn holder() -> String {
    let now = time::OffsetDateTime::now_utc();
    let format =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let since = now.format(&format).unwrap_or_default();
    format!("{}, process {}, since {since}", who(), std::process::id())
}

/// Becomes true at the first Ctrl-C or SIGTERM; at the second one the program ends at once.
pub(super) fn stop_on_interrupt(events: Events) -> watch::Receiver<bool> {
    STOPS_BY_ITSELF.store(true, Ordering::Relaxed);
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

/// Ends at the first Ctrl-C or SIGTERM of a command that does not stop by itself, as those do that
/// change nodes, and gives it a moment to end its connections.
pub(super) async fn interrupted() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // Apart from the command, which may be waiting for an answer on the terminal.
    tokio::spawn(async move {
        interrupt().await;
        while STOPS_BY_ITSELF.load(Ordering::Relaxed) {
            interrupt().await;
        }
        // Without a receiver the command has ended.
        _ = sender.send(());
        tokio::time::sleep(Duration::from_secs(END_SECONDS)).await;
        std::process::exit(i32::from(Exit::Stopped as u8));
    });
    if receiver.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler can be set");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Ends when the user wants to stop.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // The sender is gone without a word: nobody will stop this any more.
        std::future::pending::<()>().await;
    }
}

/// How a run ends that was stopped before it changed anything.
pub(super) fn early_stop() -> Failure {
    Failure::words(
        Exit::Stopped,
        "stopped on request; no node was changed",
        "run the same command again to go on; what was downloaded is kept",
    )
}
