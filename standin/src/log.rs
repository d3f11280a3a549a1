//! The only place that prints: klog's lines on stderr, an answer on stdout.

use std::io::Write as _;

use time::OffsetDateTime;

/// A line on stderr. When nobody listens any more, there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An answer on stdout.
pub(crate) fn answer(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line in klog's form: `I1121 23:04:00.123456    1234 server.go:1] text`.
pub(crate) fn klog(level: char, place: &str, text: &str) {
    let now = OffsetDateTime::now_utc();
    let (month, day) = (u8::from(now.month()), now.day());
    let (hour, minute, second, micros) = now.to_hms_micro();
    let pid = std::process::id();
    say(&format!(
        "{level}{month:02}{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} {pid:7} {place}] \
         {text}"
    ));
}
