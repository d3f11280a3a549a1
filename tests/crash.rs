//! The crash matrix: whatever befalls an upgrade of three nodes at whatever of its actions, what is
//! in place is whole, one member of a kind at most is away, and the next push ends as if nothing
//! had happened.
//!
//! `cargo xtask test` tries a few points of each fault, `cargo xtask test --crash-matrix` all.

mod fault;
mod site;

use std::io::Write;

use self::fault::Fault;
use self::site::Site;
use crate::bed::Bed;

/// `all` where every point is to be tried, or a number: one of so many, the first of them; `2/10` is
/// the second of every ten.
pub(crate) const FULL_VARIABLE: &str = "KINSTALL_CRASH_MATRIX";

#[test]
fn crash_matrix() {
    let Some(bed) = Bed::take("crash_matrix") else {
        return;
    };
    let mut site = Site::set(bed);
    let actions = site.actions();
    let full = std::env::var(FULL_VARIABLE).ok();
    let points = points(&actions, full.as_deref());
    say(&format!(
        "crash matrix: {} of {} points",
        points.len(),
        Fault::ALL.len() * actions.len()
    ));
    let mut fatal = Vec::new();
    for (fault, number) in &points {
        let begun = std::time::Instant::now();
        let outcome = site.point(*fault, *number);
        let seconds = begun.elapsed().as_secs_f64();
        let action = &actions[*number - 1];
        match outcome {
            Ok(()) => {
                if full.is_some() {
                    say(&format!("{number} {action}: {fault}: {seconds:.1} s"));
                }
            }
            Err(why) => {
                say(&format!("{number} {action}: {fault}: NOT SURVIVED: {why}"));
                fatal.push((fault, number, why));
                site.mend();
            }
        }
    }
    let survived = points.len() - fatal.len();
    say(&format!(
        "crash matrix: {} points, {survived} survived",
        points.len()
    ));
    assert!(fatal.is_empty(), "{fatal:#?}");
}

/// The points to be tried: all, or of each fault one.
fn points(actions: &[String], full: Option<&str>) -> Vec<(Fault, usize)> {
    let all = 1..=actions.len();
    if let Some(full) = full {
        // Disks are made small once, for all that comes after.
        let (last, first) = Fault::ALL.split_last().expect("there are faults");
        let at = |number| first.iter().map(move |fault| (*fault, number));
        let points = all.clone().flat_map(at);
        let points = points.chain(all.map(|number| (*last, number)));
        let (first, step) = share(full);
        return points.skip(first - 1).step_by(step).collect();
    }
    let transactions: Vec<usize> = all
        .filter(|number| actions[number - 1].contains("transaction"))
        .collect();
    vec![
        (Fault::Kill, transactions[4]),
        (Fault::Cut, transactions[1]),
        (Fault::Power, transactions[3]),
        (Fault::Disk, transactions[7]),
        // The worker's.
        (Fault::Kill, transactions[9]),
        (Fault::Cut, transactions[9]),
    ]
}

/// The first point that is tried, counted from 1, and the number of those of which one is.
fn share(text: &str) -> (usize, usize) {
    if text == "all" {
        return (1, 1);
    }
    let (first, step) = text.split_once('/').unwrap_or(("1", text));
    (first.parse().unwrap(), step.parse().unwrap())
}

/// Tells at once, whatever the test ends with: this takes a while.
fn say(line: &str) {
    // Who closed the standard error does not want to know.
    _ = writeln!(std::io::stderr(), "{line}");
}
