//! A configuration as text: YAML that people read and that every reader takes for the same.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::merge;
use crate::yaml;

/// Why fields cannot be put into a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("what the fields are put into cannot be read")]
#[diagnostic(help("correct your own template of the file, or leave `config` out"))]
pub struct Unreadable(#[source] yaml::Problem);

/// What comes first, whatever else there is.
const FIRST: [&str; 2] = ["apiVersion", "kind"];

/// Words that a reader of YAML 1.1 or 1.2 takes for something else than text.
const NO_TEXT: [&str; 13] = [
    "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "~", "",
];

/// A text with the user's fields over its own: the comment at its beginning stays, all others go.
pub fn merged(text: &str, user: &Value) -> Result<String, Unreadable> {
    let root = yaml::parse(text).map_err(Unreadable)?;
    let read = yaml::read(root.as_deref()).map_err(Unreadable)?;
    let head = text.lines().take_while(|line| line.starts_with('#'));
    let mut merged: String = head.flat_map(|line| [line, "\n"]).collect();
    merged += &to_yaml(&merge(read.value, user.clone()));
    Ok(merged)
}

/// The text of a value: the same for the same value. Names are sorted, but for what says which file
/// it is.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => table(fields, 0, &mut text),
        Value::Array(values) if !values.is_empty() => list(values, 0, &mut text),
        other => {
            text += &scalar(other);
            text.push('\n');
        }
    }
    text
}

fn table(fields: &Map<String, Value>, depth: usize, text: &mut String) {
    let mut names: Vec<&String> = fields.keys().collect();
    let rank = |name: &str| {
        let first = FIRST.iter().position(|it| depth == 0 && *it == name);
        first.unwrap_or(FIRST.len())
    };
    names.sort_by_key(|name| (rank(name), *name));
    for name in names {
        indent(depth, text);
        *text += &plain_or_quoted(name);
        text.push(':');
        below(&fields[name], depth, text);
    }
}

fn list(values: &[Value], depth: usize, text: &mut String) {
    for value in values {
        indent(depth, text);
        text.push('-');
        below(value, depth, text);
    }
}

/// A value behind its name or dash.
fn below(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            table(fields, depth + 1, text);
        }
        Value::Array(values) if !values.is_empty() => {
            text.push('\n');
            list(values, depth + 1, text);
        }
        other => {
            // Writing to a string cannot fail.
            _ = writeln!(text, " {}", scalar(other));
        }
    }
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain_or_quoted(text),
        // As JSON has it: numbers, `true`, `null`, `[]` and `{}`.
        other => other.to_string(),
    }
}

/// A text without quotes where nobody could take it for anything else.
fn plain_or_quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let is_word = NO_TEXT.contains(&text.to_ascii_lowercase().as_str());
    if begins && !is_word && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        yaml::quoted(text)
    }
}
