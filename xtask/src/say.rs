//! The only place of xtask that prints: talk goes to stderr, data to stdout.
//!
//! A reader that went away (a closed pipe) is nobody's failure, so errors of writing are dropped.

use std::error::Error;
use std::io::{Write, stderr, stdout};

/// Tells the person at the terminal one line.
pub(crate) fn line(text: impl AsRef<str>) {
    let _ = writeln!(stderr(), "{}", text.as_ref());
}

/// Writes one line of data, for a program that reads our stdout.
pub(crate) fn data(text: impl AsRef<str>) {
    let _ = writeln!(stdout(), "{}", text.as_ref());
}

/// Tells an error and what lies beneath it, outermost first.
pub(crate) fn error(error: &(dyn Error + 'static)) {
    line(format!("error: {}", sentence(error)));
}

/// An error and what lies beneath it as one sentence, outermost first.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        sentence = format!("{sentence}: {inner}");
        cause = inner.source();
    }
    sentence
}

/// A size in bytes, in megabytes with one digit after the point.
pub(crate) fn size(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
