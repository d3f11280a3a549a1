//! The minors in which something exists, written short: `1.20-1.25,1.27-1.37`, or from a patch
//! release on, `3.4.25-3.4,3.5.8-3.7`.

use std::{collections::BTreeSet, fmt};

/// A minor, and the patch release of it that brought the thing (0 when it was always there).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    pub(super) minor: u32,
    pub(super) patch: u32,
}

/// Runs of minors, in order.
pub(super) struct Spans {
    major: u32,
    runs: Vec<(Point, u32)>,
}

impl Spans {
    pub(super) fn of(major: u32, points: &BTreeSet<Point>) -> Self {
        let mut runs: Vec<(Point, u32)> = Vec::new();
        for point in points {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == point.minor && point.patch == 0 => *end = point.minor,
                _ => runs.push((*point, point.minor)),
            }
        }
        Self { major, runs }
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let major = self.major;
        for (index, (Point { minor, patch }, end)) in self.runs.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match patch {
                0 => write!(out, "{comma}{major}.{minor}-{major}.{end}")?,
                _ => write!(out, "{comma}{major}.{minor}.{patch}-{major}.{end}")?,
            }
        }
        Ok(())
    }
}
