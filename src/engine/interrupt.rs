//! Ctrl-C and SIGTERM. A command that changes nodes stops by itself where nothing is half done; any
//! other ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::background;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};

/// Whether the command stops by itself where nothing is half done.
static STOPS_BY_ITSELF: AtomicBool = AtomicBool::new(false);
/// How long any other command may take to end, in seconds.
const END_SECONDS: u64 = 2;

/// Whether the user wants a command to stop that stops by itself.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Of a command that does not stop by itself.
    pub(crate) fn never() -> Self {
        let (_, receiver) = watch::channel(false);
        Self(receiver)
    }

    /// Asked for by the first Ctrl-C or SIGTERM; at the second one the program ends at once.
    pub(crate) fn on_interrupt(events: Events) -> Self {
        STOPS_BY_ITSELF.store(true, Ordering::Relaxed);
        let (sender, receiver) = watch::channel(false);
        background::spawn(async move {
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
        Self(receiver)
    }

    /// Whether it was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it is asked for.
    pub(crate) async fn asked(&self) {
        let mut stop = self.0.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            // The sender is gone without a word: nobody will stop this any more.
            std::future::pending::<()>().await;
        }
    }

    /// For what looks at it by itself.
    pub(crate) fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

/// How a run ends that was stopped before it changed anything.
pub(crate) fn early_stop() -> Failure {
    Failure::words(
        Exit::Stopped,
        "stopped on request; no node was changed",
        "run the same command again to go on; what was downloaded is kept",
    )
}

/// Ends at the first Ctrl-C or SIGTERM of a command that does not stop by itself, as those do that
/// change nodes, and gives it a moment to end its connections.
pub(crate) async fn interrupted() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // Apart from the command, which may be waiting for an answer on the terminal.
    background::spawn(async move {
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
