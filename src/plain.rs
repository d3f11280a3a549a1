//! Text that is seen and does nothing else. What a node, a server or a file says may hold control
//! characters that a terminal obeys, and marks that show the reader another order or nothing at all
//! (Unicode Standard Annex 9; "Trojan Source", CVE-2021-42574): they are shown as escapes.

use std::borrow::Cow;
use std::fmt::{Display, Write};

/// Whether a character acts where it should be seen. Line feeds and tabs are not among them: whether
/// they fit, the place decides.
pub const fn acts(char: char) -> bool {
    matches!(char,
        // C0, DEL and C1; U+009B alone begins a control sequence.
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Marks of direction, separators of lines, and what is invisible.
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a text of several lines can be shown as it is.
pub fn is_plain(text: &str) -> bool {
    !text.contains(acts)
}

/// The most characters that are shown of what others say in a sentence of ours.
const BRIEF_CHARS: usize = 300;

/// As much of what others say as a person reads.
pub fn brief(text: &str) -> String {
    cut(text, BRIEF_CHARS)
}

/// The beginning of a text, and a sign that it is not all.
pub fn cut(text: impl Into<String>, chars_max: usize) -> String {
    let mut told = text.into();
    if let Some((end, _)) = told.char_indices().nth(chars_max) {
        told.truncate(end);
        told.push('…');
    }
    told
}

/// The most items that are shown of a list of what others say.
pub const ITEMS_MAX: usize = 12;

/// A list of what others say: its beginning, and how many more there are.
pub fn brief_list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut items = items.map(brief);
    let mut told: Vec<String> = items.by_ref().take(ITEMS_MAX).collect();
    let more = items.count();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join(", ")
}

/// So many of something: `1 node`, `3 nodes`, `2 entries`.
pub fn count(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    match noun.strip_suffix('y') {
        _ if number == "1" => format!("1 {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// A text of several lines, as it can be shown.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, acts)
}

/// What is to be one line: a line feed in it would begin a line of its own, which looks like ours.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |char| char == '\n' || acts(char))
}

/// JSON, with its strings escaped so that a terminal shows them; what they stand for stays the same.
pub fn json(text: &str) -> Cow<'_, str> {
    replaced(text, acts, |char, out| {
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escaped(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    replaced(text, acts, |char, out| {
        _ = match char {
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            char if char.is_ascii() => write!(out, "\\x{:02x}", u32::from(char)),
            char => write!(out, "{}", char.escape_unicode()),
        };
    })
}

fn replaced(
    text: &str,
    acts: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if acts(char) {
            escape(char, &mut out);
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown_as_an_escape() {
        #[track_caller]
        fn check(text: &str, shown: &str) {
            assert_eq!(lines(text), shown);
        }
        check("grün 日本語 🦀\n\tx → y", "grün 日本語 🦀\n\tx → y");
        check("\u{1b}]0;X\u{7}\u{1b}[2J", "\\x1b]0;X\\x07\\x1b[2J");
        check("a\rb\u{7f}", "a\\rb\\x7f");
        check("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}");
        check("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}");
        check(
            "a\u{200b}b\u{feff}\u{61c}\u{e0041}",
            "a\\u{200b}b\\u{feff}\\u{61c}\\u{e0041}",
        );
        assert_eq!(line("a\nb\u{1b}"), "a\\nb\\x1b");
    }

    #[test]
    fn what_others_say_is_told_in_brief() {
        let long = "é".repeat(BRIEF_CHARS + 1);
        assert_eq!(brief(&long), format!("{}…", &long[2..]));
        assert_eq!(brief(&long[2..]), long[2..]);
        let many = ["a"; 14];
        assert_eq!(brief_list(many[..2].iter().copied()), "a, a");
        let told = brief_list(many.iter().copied());
        assert!(told.ends_with("a, a, and 2 more"), "{told}");
    }

    #[test]
    fn one_is_counted_as_one() {
        let told = [0, 1, 2].map(|number| count(number, "node"));
        assert_eq!(told, ["0 nodes", "1 node", "2 nodes"]);
        let told = ["entry", "day"].map(|noun| count(2, noun));
        assert_eq!(told, ["2 entries", "2 days"]);
    }

    #[test]
    fn json_stays_what_it_stands_for() {
        let all: String = (0..=0x0010_ffff).filter_map(char::from_u32).collect();
        let text = serde_json::to_string_pretty(&[&all]).unwrap();
        let shown = json(&text);
        assert!(is_plain(&shown));
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [all]);
    }
}
