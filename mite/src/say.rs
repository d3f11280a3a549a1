//! The only place that prints. A reader that went away is nobody's failure.

use std::io::Write as _;

/// Writes a line of data.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Tells a person something.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
