//! A TOML table being read: what is taken from it, what is wrong with it, what nobody asked for.
//!
//! Serde stops at the first thing it does not like. This reader notes it and goes on, and knows
//! where in the file everything stands.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, alternatives, nearest};
use crate::plain;

/// Something, and where the file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, to: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: to(self.value),
            span: self.span,
        }
    }
}

/// What was found so far, errors and warnings together.
pub(super) type Found = Vec<Problem>;

/// A table, by the name a user knows it under, backticks included: of a node, `[cluster]`.
pub(super) struct Table<'a> {
    pub(super) name: String,
    /// Where to point when something is missing.
    pub(super) span: Range<usize>,
    entries: BTreeMap<&'a str, Value<'a>>,
    known: Vec<&'static str>,
}

/// A value, and the key it was found under.
#[derive(Clone)]
pub(super) struct Value<'a> {
    /// `port`, `flags.audit-log-maxage`.
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) span: Range<usize>,
    /// Whether it is an element of the value under the key.
    in_array: bool,
    content: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn new(name: impl Into<String>, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &'a Spanned<std::borrow::Cow<'a, str>> = key;
            let entry = Value {
                key: key.get_ref().to_string(),
                key_span: key.span(),
                span: value.span(),
                in_array: false,
                content: value.get_ref(),
            };
            (key.get_ref().as_ref(), entry)
        };
        Self {
            name: name.into(),
            span,
            entries: table.iter().map(entry).collect(),
            known: Vec::new(),
        }
    }

    /// Whether there is such a key that was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The text of a key that is still to be taken, where it is one.
    pub(super) fn peek_text(&self, key: &str) -> Option<At<String>> {
        let value = self.entries.get(key)?;
        Some(value.at(value.as_text()?.to_owned()))
    }

    /// The value of a key, where there is one. A key never taken is an unknown one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// The value of a key that exists elsewhere, so that it gets a message of its own rather than
    /// a suggestion, and is never suggested.
    pub(super) fn take_foreign(&mut self, key: &str) -> Option<Value<'a>> {
        self.entries.remove(key)
    }

    /// The value of a key that has no default.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        example: &str,
        found: &mut Found,
    ) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", self.name);
            found.push(
                Problem::new(self.span.clone(), "in this table", message)
                    .help(format!("it has no default: write for example `{example}`")),
            );
        }
        value
    }

    /// Everything that was not taken yet, for a table whose keys are the user's own.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        std::mem::take(&mut self.entries).into_iter()
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(mut self, found: &mut Found) {
        for (key, value) in std::mem::take(&mut self.entries) {
            found.push(unknown(&self.name, key, value.key_span, &self.known));
        }
    }
}

/// The problem of a key nobody asked for.
fn unknown(table: &str, key: &str, span: Range<usize>, known: &[&'static str]) -> Problem {
    let help = match nearest(key, known) {
        Some(meant) => format!("perhaps `{meant}` is meant"),
        None => format!("{table} knows {}", alternatives(known)),
    };
    let message = format!("{table} knows no key `{}`", shown(key));
    Problem::new(span, "unknown key", message).help(help)
}

impl<'a> Value<'a> {
    /// A problem of this value.
    pub(super) fn problem(&self, label: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.span.clone(), label, message)
    }

    /// Pairs something made from this value with its place.
    pub(super) fn at<T>(&self, value: T) -> At<T> {
        At {
            value,
            span: self.span.clone(),
        }
    }

    /// A short word for what is there: `an integer`.
    pub(super) fn kind(&self) -> &'static str {
        match self.content {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// The problem that this is of another type than was due.
    pub(super) fn mismatch(&self, due: &str) -> Problem {
        let (key, kind) = (shown(&self.key), self.kind());
        let place = if self.in_array { " in it" } else { "" };
        let message = format!("`{key}`: expected {due}, found {kind}{place}");
        let remedy = self.remedy(due).filter(|_| !self.in_array);
        self.problem(kind, message).maybe_help(remedy)
    }

    /// How to write what was probably meant.
    fn remedy(&self, due: &str) -> Option<String> {
        let key = shown(&self.key);
        let quoted = |text: &str| Some(format!("put it in quotes: `{key} = \"{}\"`", shown(text)));
        let bare = |text: &str| Some(format!("leave out the quotes: `{key} = {text}`"));
        match (self.content, due) {
            (DeValue::Integer(number), "a string") => quoted(number.as_str()),
            (DeValue::Float(number), "a string") => quoted(number.as_str()),
            (DeValue::Boolean(truth), "a string") => quoted(&truth.to_string()),
            (DeValue::String(text), "an array of strings") => {
                let text = shown(text);
                Some(format!("put it in brackets: `{key} = [\"{text}\"]`"))
            }
            (DeValue::String(text), "an integer") if text.parse::<i64>().is_ok() => bare(text),
            (DeValue::String(text), "a boolean") if ["true", "false"].contains(&text.as_ref()) => {
                bare(text)
            }
            (_, "an array of tables") => Some(format!("write `[[{key}]]` above each")),
            (_, "a table") => Some(format!(
                "write `{key} = {{ ... }}`, or a header above its keys"
            )),
            _ => None,
        }
    }

    pub(super) fn text(&self, found: &mut Found) -> Option<&'a str> {
        let text = self.as_text();
        text.or_else(|| refuse(found, self.mismatch("a string")))
    }

    pub(super) fn as_text(&self) -> Option<&'a str> {
        match self.content {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, found: &mut Found) -> Option<bool> {
        match self.content {
            DeValue::Boolean(truth) => Some(*truth),
            _ => refuse(found, self.mismatch("a boolean")),
        }
    }

    /// A whole number of this unit between bounds, both included.
    pub(super) fn integer(
        &self,
        unit: &str,
        bounds: std::ops::RangeInclusive<u32>,
        found: &mut Found,
    ) -> Option<u32> {
        let DeValue::Integer(written) = self.content else {
            return refuse(found, self.mismatch("an integer"));
        };
        let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
        let within = number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| bounds.contains(number));
        if within.is_none() {
            let message = format!("`{}` cannot be {}", self.key, shown(written.as_str()));
            let (least, most) = (bounds.start(), bounds.end());
            let help = format!("{unit} from {least} to {most} are possible");
            found.push(self.problem("out of bounds", message).help(help));
        }
        within
    }

    /// What a flag's value may be written as: a string, an integer, a boolean, or an array of
    /// strings, which is joined by commas.
    pub(super) fn flag_text(&self, found: &mut Found) -> Option<String> {
        match self.content {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            DeValue::Integer(written) => {
                let number = i64::from_str_radix(written.as_str(), written.radix());
                match number {
                    Ok(number) => Some(number.to_string()),
                    Err(_) => refuse(found, self.mismatch("an integer of 64 bits")),
                }
            }
            DeValue::Array(_) => {
                let texts = self.texts(found)?;
                let texts: Vec<_> = texts.iter().map(|text| text.value).collect();
                Some(texts.join(","))
            }
            _ => refuse(
                found,
                self.mismatch("a string, an integer, a boolean or an array of strings"),
            ),
        }
    }

    /// Whatever it is, as JSON; a date, which JSON has no word for, is refused.
    pub(super) fn json(&self, found: &mut Found) -> Option<serde_json::Value> {
        match self.content {
            DeValue::Table(table) => {
                let name = format!("`{}`", shown(&self.key));
                let mut table = Table::new(name, self.key_span.clone(), table);
                let fields = table
                    .take_all()
                    .map(|(key, value)| Some((key.to_owned(), value.json(found)?)));
                fields.collect::<Option<_>>().map(serde_json::Value::Object)
            }
            DeValue::Array(_) => {
                let elements = self.elements("an array", found)?;
                elements
                    .iter()
                    .map(|it| it.json(found))
                    .collect::<Option<_>>()
                    .map(serde_json::Value::Array)
            }
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(truth) => Some((*truth).into()),
            DeValue::Integer(written) => {
                let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
                number
                    .map(Into::into)
                    .or_else(|| refuse(found, self.mismatch("an integer of 64 bits")))
            }
            DeValue::Float(written) => {
                let number = written
                    .as_str()
                    .parse()
                    .ok()
                    .and_then(serde_json::Number::from_f64);
                number
                    .map(serde_json::Value::Number)
                    .or_else(|| refuse(found, self.mismatch("a finite number")))
            }
            DeValue::Datetime(_) => refuse(found, self.mismatch("a string")),
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&self, due: &str, found: &mut Found) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.content else {
            return refuse(found, self.mismatch(due));
        };
        let element = |value: &'a Spanned<DeValue<'a>>| Self {
            key: self.key.clone(),
            key_span: self.key_span.clone(),
            span: value.span(),
            in_array: true,
            content: value.get_ref(),
        };
        Some(array.iter().map(element).collect())
    }

    /// The strings of an array; none if any element is something else.
    pub(super) fn texts(&self, found: &mut Found) -> Option<Vec<At<&'a str>>> {
        let elements = self.elements("an array of strings", found)?;
        let texts: Vec<_> = elements
            .iter()
            .map(|element| Some(element.at(element.text(found)?)))
            .collect();
        texts.into_iter().collect()
    }

    /// The table that this value is, under the name a user knows it by.
    pub(super) fn table(&self, name: impl Into<String>, found: &mut Found) -> Option<Table<'a>> {
        match self.content {
            DeValue::Table(table) => Some(Table::new(name, self.key_span.clone(), table)),
            _ => refuse(found, self.mismatch("a table")),
        }
    }

    /// One of a few words. The aliases are words of elsewhere, each with the word it is here.
    pub(super) fn word<T: Copy>(
        &self,
        words: &[(&'static str, T)],
        aliases: &[(&str, &'static str)],
        found: &mut Found,
    ) -> Option<At<T>> {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let Some(text) = self.as_text() else {
            let help = format!("it can be {}, in quotes", alternatives(&known));
            return refuse(found, self.mismatch("a string").help(help));
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(self.at(*meaning));
        }
        let alias = aliases.iter().find(|(word, _)| *word == text);
        let meant = alias
            .map(|(_, meant)| *meant)
            .or_else(|| nearest(text, &known));
        let help = match meant {
            Some(meant) => format!("perhaps `{meant}` is meant"),
            None => format!("it can be {}", alternatives(&known)),
        };
        let message = format!("`{}` cannot be `{}`", self.key, shown(text));
        refuse(found, self.problem("unknown word", message).help(help))
    }
}

/// Notes a problem in place of a value.
pub(super) fn refuse<T>(found: &mut Found, problem: Problem) -> Option<T> {
    found.push(problem);
    None
}

/// A user's text as a message shows it: short, and without characters that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARACTERS_MAX).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    visible(&short)
}

/// The text with its control characters written out.
fn visible(text: &str) -> String {
    let mut visible = String::new();
    for character in text.chars() {
        if misleads(character) {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Whether a character is one that a terminal obeys, or that breaks or reorders a line.
pub(super) fn misleads(character: char) -> bool {
    matches!(character, '\n' | '\t') || plain::acts(character)
}
