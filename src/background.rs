//! What goes on while the command computes, or waits for an answer on the terminal: the sign of life
//! to nodes that are held, Ctrl-C, progress. It has a thread of its own.
//!
//! The command itself has one thread as well: it waits for many nodes and computes little, and two
//! threads would wake each other for every piece of an answer.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a machine that runs kinstall can run two threads")
});

/// Begins something that does not wait for the command. What it reads and writes must be opened within
/// it: the command's own files and pipes wait for the command.
pub(crate) fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    RUNTIME.spawn(work)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn it_goes_on_while_the_command_does_not_wait() {
        let (sender, receiver) = mpsc::channel();
        super::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            sender.send(()).unwrap();
        });
        // Without an `await`: nothing else of this runtime runs now.
        receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
