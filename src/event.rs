//! Everything a run can tell while it goes on, as plain data. The terminal is one reader of it.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::action::WaveName;
use crate::fetch;
use crate::inventory::NodeName;
use crate::manifest::UnitName;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Nothing more will be told.
    End,
    /// A part of the run begins.
    Phase(&'static str),
    /// A sentence worth telling that belongs to no node.
    Note(String),
    /// Something that went right and may go wrong later.
    Warning(String),
    /// A download, or what became of it.
    Fetch(fetch::Event),
    /// A node begins to be talked to.
    Connecting(NodeName),
    /// A node has told what it holds.
    Surveyed(NodeName),
    /// A node is being sent contents.
    Staging {
        /// The node.
        node: NodeName,
        /// Bytes sent so far, as they travel.
        sent: u64,
        /// Bytes to be sent.
        total: u64,
    },
    /// A node has everything in its store.
    Staged(NodeName),
    /// A wave begins.
    Wave(WaveName),
    /// Entries were put in place or removed.
    Installed {
        /// The node.
        node: NodeName,
        /// How many.
        count: usize,
    },
    /// A unit is being started or restarted.
    Activating {
        /// The node.
        node: NodeName,
        /// The unit.
        unit: UnitName,
        /// Whether it ran before.
        restart: bool,
    },
    /// A unit is not healthy yet.
    Waiting {
        /// The node.
        node: NodeName,
        /// The unit.
        unit: UnitName,
        /// What it answered last.
        why: String,
    },
    /// A unit is healthy.
    Healthy {
        /// The node.
        node: NodeName,
        /// The unit.
        unit: UnitName,
        /// Seconds that took.
        seconds: f64,
    },
    /// A step failed on a node, and it goes back to its recorded generation.
    Reverting {
        /// The node.
        node: NodeName,
        /// The generation it goes back to.
        generation: u64,
    },
    /// A generation was recorded.
    Recorded {
        /// The node.
        node: NodeName,
        /// Its number.
        generation: u64,
    },
}

/// Where events are sent. Sending never waits and never fails: without a reader they are lost.
#[derive(Debug, Clone)]
pub struct Events(UnboundedSender<Event>);

impl Events {
    /// A sender and the reader's end.
    pub fn channel() -> (Self, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells.
    pub fn send(&self, event: Event) {
        // Nobody listens any more: nothing is lost that anybody wanted.
        _ = self.0.send(event);
    }
}
