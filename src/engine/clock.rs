//! The time, as runs remember and show it.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time as a person reads it: `2026-11-21 22:59 UTC`.
pub(crate) fn date(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at).map_or_else(
        |_| at.to_string(),
        |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
    )
}

/// Now, as a word that sorts: `20261121T225930Z`.
pub(crate) fn stamp() -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = OffsetDateTime::now_utc();
    now.format(&format).unwrap_or_default()
}

/// Now, to the second, as a person reads it.
pub(crate) fn since() -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let now = OffsetDateTime::now_utc();
    now.format(&format).unwrap_or_default()
}
