//! One run of a command over a cluster: the inventory, what the command line says about how to run,
//! and where progress is reported. It goes wherever the work goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::interrupt::{self, Stop};
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::inventory::{Inventory, NodeName};
use crate::secret::Secret;
use crate::survey::{self, ConnectOptions};
use crate::terminal::Terminal;
use crate::transport::Transport;

/// What the command line says about how to run, the same for every command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The nodes of `--limit`; none where it is not given.
    pub(crate) limit: Vec<String>,
    /// How many nodes or downloads at a time.
    pub(crate) jobs: usize,
    /// Whether data are printed as JSON.
    pub(crate) json: bool,
    /// The directory of the cache, where it is not the default one.
    pub(crate) cache: Option<PathBuf>,
    /// Whether the user is asked for sudo's password.
    pub(crate) ask_sudo_password: bool,
}

/// The run. It is cheap to clone.
#[derive(Clone)]
pub(crate) struct Session<'a> {
    /// What is asked for.
    pub(crate) inventory: &'a Inventory,
    /// How to run.
    pub(crate) settings: &'a Settings,
    /// Where data are printed.
    pub(crate) terminal: Terminal,
    /// Where progress is reported.
    pub(crate) events: Events,
    /// Whether the user wants it to stop.
    pub(crate) stop: Stop,
}

impl<'a> Session<'a> {
    /// Works in a session, and has all progress shown before anything else is.
    pub(crate) async fn run<T>(
        inventory: &'a Inventory,
        settings: &'a Settings,
        terminal: Terminal,
        work: impl AsyncFnOnce(&Session<'a>) -> T,
    ) -> T {
        let (events, receiver) = Events::channel();
        let following = terminal.follow(receiver);
        let session = Self {
            inventory,
            settings,
            terminal,
            events,
            stop: Stop::never(),
        };
        let outcome = Box::pin(work(&session)).await;
        session.events.send(Event::End);
        // Showing does not panic, and if it did there would be nothing left to show.
        _ = following.await;
        outcome
    }

    /// The same run, over another form of the inventory.
    pub(crate) fn with<'b>(&self, inventory: &'b Inventory) -> Session<'b>
    where
        'a: 'b,
    {
        Session {
            inventory,
            ..self.clone()
        }
    }

    /// The same run, which from now on stops by itself where nothing is half done.
    pub(crate) fn stoppable(&self) -> Self {
        Self {
            stop: Stop::on_interrupt(self.events.clone()),
            ..self.clone()
        }
    }

    /// Does what changes no node, unless the user wants to stop first.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = self.stop.asked() => Err(interrupt::early_stop()),
        }
    }

    /// Reports a sentence.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.events.send(Event::Note(text.into()));
    }

    /// Warns.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.events.send(Event::Warning(text.into()));
    }

    /// The nodes of `--limit`, or all of them.
    pub(crate) fn scope(&self) -> Result<BTreeSet<NodeName>, Failure> {
        let nodes = &self.inventory.nodes;
        if self.settings.limit.is_empty() {
            return Ok(nodes.keys().cloned().collect());
        }
        let known: Vec<&str> = nodes.keys().map(NodeName::as_str).collect();
        let find = |word: &String| {
            let found = nodes.keys().find(|name| name.as_str() == word);
            found.cloned().ok_or_else(|| {
                let message = format!("`--limit {word}`: the inventory has no node of that name");
                Failure::words(Exit::Usage, message, format!("it has {}", known.join(", ")))
            })
        };
        self.settings.limit.iter().map(find).collect()
    }

    /// Connects to nodes, over SSH.
    pub(crate) async fn connect(
        &self,
        scope: &BTreeSet<NodeName>,
    ) -> Result<BTreeMap<NodeName, Transport>, Failure> {
        let password = self.password()?;
        let reach = ConnectOptions {
            into: None,
            password: password.as_ref(),
            jobs: self.settings.jobs,
        };
        Ok(survey::connect(self.inventory, scope, reach, &self.events).await?)
    }

    /// Asks for sudo's password, where that was asked for.
    pub(crate) fn password(&self) -> Result<Option<Secret>, Failure> {
        if !self.settings.ask_sudo_password {
            return Ok(None);
        }
        let password = rpassword::prompt_password("password for sudo on the nodes: ");
        Ok(Some(Secret::new(password?.into_bytes())))
    }
}

/// Ends connections.
pub(crate) async fn close(transports: BTreeMap<NodeName, Transport>) {
    let closing = transports.into_values().map(Transport::close);
    futures_util::future::join_all(closing).await;
}
