//! Carrying a plan out: what push and rollback have in common. A run can be stopped between any two
//! things, is told to the journal, and never leaves half of anything.

use tokio::sync::watch;

use super::prepare::Site;
use super::{Common, Exit, Failure, journal};
use crate::apply::{Run, Store};
use crate::certificate::Credentials;
use crate::event::{Event, Events};
use crate::inventory::Inventory;
use crate::manifest::Desired;
use crate::plan::Plan;

/// What is carried out.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) command: &'static str,
    pub(super) plan: &'a Plan,
    pub(super) desired: &'a Desired,
    pub(super) store: &'a Store,
    pub(super) credentials: &'a Credentials,
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
        events,
        stop,
    };
    let result = run.carry_out().await.map_err(Failure::from);
    let nodes: Vec<String> = task
        .plan
        .nodes()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    let outcome = match &result {
        Ok(()) => "done".to_owned(),
        Err(failure) => failure.in_words(),
    };
    journal::add(inventory, task.command, &who(), nodes.clone(), outcome)?;
    result?;
    let seconds = begun.elapsed().as_secs_f64();
    events.send(Event::Note(format!(
        "done: {} nodes changed in {seconds:.1} s",
        nodes.len()
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
