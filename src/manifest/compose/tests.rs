//! What stands where, whose it is, and what restarts whom.

use super::fixture::{Fixture, arguments, manifest, text};
use super::*;
use crate::manifest::{Content, Kind as EntryKind, Stage};

fn three() -> Fixture {
    Fixture::new(3, "1.32.3", "3.5.21")
}
