//! Medians, ratios, and whether they are what is promised.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::method::Method;

/// A first push on the slow link takes at most so much of what parallel scp takes.
const FIRST_MAX: f64 = 0.30;
/// A push with nothing to do takes at most so much of what rsync takes.
const AGAIN_MAX: f64 = 1.5;

/// How fast the nodes' cables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    /// As fast as this machine.
    Free,
    /// Slowed down.
    Slow,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Until every node has every byte, for the first time.
    First,
    /// kinstall's first push to its end.
    Whole,
    /// When nothing has changed.
    Again,
}

/// Every time that was measured, in seconds.
#[derive(Default)]
pub(super) struct Table(BTreeMap<(Link, Phase, Method), Vec<f64>>);

impl Table {
    /// Takes down a time.
    pub(super) fn add(&mut self, link: Link, phase: Phase, method: Method, seconds: f64) {
        self.0
            .entry((link, phase, method))
            .or_default()
            .push(seconds);
    }

    /// The whole table, and the promises, for people.
    pub(super) fn text(&self, bytes: u64, nodes: u8) -> String {
        let mut text = format!("{} MB to {nodes} nodes\n", bytes / 1_000_000);
        let mut head = None;
        for ((link, phase, method), times) in &self.0 {
            let base = match phase {
                Phase::First | Phase::Whole => Method::Scp,
                Phase::Again => Method::Rsync,
            };
            if *phase != Phase::Whole && head != Some((link, phase)) {
                head = Some((link, phase));
                // Writing to a String cannot fail.
                let _ = writeln!(text, "\n{link}, {phase}; seconds, and of {base}");
            }
            let name = match phase {
                Phase::Whole => "kinstall, services healthy".to_owned(),
                _ => method.to_string(),
            };
            let of = if *phase == Phase::Whole {
                Phase::First
            } else {
                *phase
            };
            let ratio = self.ratio((*link, *phase, *method), (*link, of, base));
            let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let all: Vec<String> = times.iter().map(|time| format!("{time:.2}")).collect();
            let _ = writeln!(
                text,
                "  {name:<27} {:>7.2} {ratio:>7}   ({})",
                median(times),
                all.join(" ")
            );
        }
        text.push('\n');
        for (what, ratio, limit) in self.promises() {
            let verdict = if ratio <= limit { "kept" } else { "BROKEN" };
            let _ = writeln!(text, "{what}: {ratio:.2}, at most {limit:.2}: {verdict}");
        }
        text.trim_end().to_owned()
    }

    fn promises(&self) -> Vec<(String, f64, f64)> {
        let mut promises = Vec::new();
        let first = |method| (Link::Slow, Phase::First, method);
        if let Some(ratio) = self.ratio(first(Method::Kinstall), first(Method::Scp)) {
            let what = "first push of parallel scp, on the slow link".to_owned();
            promises.push((what, ratio, FIRST_MAX));
        }
        for link in [Link::Free, Link::Slow] {
            let again = |method| (link, Phase::Again, method);
            if let Some(ratio) = self.ratio(again(Method::Kinstall), again(Method::Rsync)) {
                promises.push((format!("nothing to do of rsync, {link}"), ratio, AGAIN_MAX));
            }
        }
        promises
    }

    fn ratio(&self, of: (Link, Phase, Method), to: (Link, Phase, Method)) -> Option<f64> {
        Some(median(self.0.get(&of)?) / median(self.0.get(&to)?))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "unshaped",
            Self::Slow => "100 Mbit/s and 5 ms each way",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First | Self::Whole => "first time, until every node has every byte",
            Self::Again => "nothing has changed",
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    match times.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => times[middle],
        _ => f64::midpoint(times[middle - 1], times[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_promises() {
        let mut table = Table::default();
        for seconds in [9.0, 8.0, 30.0] {
            table.add(Link::Slow, Phase::First, Method::Kinstall, seconds);
        }
        table.add(Link::Slow, Phase::Whole, Method::Kinstall, 20.0);
        table.add(Link::Slow, Phase::First, Method::Scp, 30.0);
        table.add(Link::Slow, Phase::Again, Method::Kinstall, 1.0);
        for seconds in [0.4, 0.6] {
            table.add(Link::Slow, Phase::Again, Method::Rsync, seconds);
        }
        assert_eq!(
            table.text(360_000_000, 3),
            "360 MB to 3 nodes\n\
             \n\
             100 Mbit/s and 5 ms each way, first time, until every node has every byte; \
             seconds, and of scp, parallel\n  \
             kinstall                       9.00    0.30   (9.00 8.00 30.00)\n  \
             scp, parallel                 30.00    1.00   (30.00)\n  \
             kinstall, services healthy    20.00    0.67   (20.00)\n\
             \n\
             100 Mbit/s and 5 ms each way, nothing has changed; seconds, and of rsync -az\n  \
             kinstall                       1.00    2.00   (1.00)\n  \
             rsync -az                      0.50    1.00   (0.40 0.60)\n\
             \n\
             first push of parallel scp, on the slow link: 0.30, at most 0.30: kept\n\
             nothing to do of rsync, 100 Mbit/s and 5 ms each way: 2.00, at most 1.50: BROKEN"
        );
    }
}
