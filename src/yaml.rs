//! YAML as Kubernetes reads it. `sigs.k8s.io/yaml` makes JSON of it by go-yaml v2, for which `yes`
//! is true, `0b11` a number and a key given twice its last value; readers of YAML 1.2 disagree. Pure.
//!
//! The grammar is `granit-parser`'s, each value with its place; what a value means is told here.

mod scalar;
mod shape;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use miette::Diagnostic;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use shape::Misfit;
pub(crate) use shape::{Shape, decode};

/// How deep lists and tables may lie in one another.
const DEPTH_MAX: usize = 128;
/// How many values aliases may stand for, all together; a few dozen bytes each.
const ALIASED_MAX: usize = 20_000;

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// Neither of the encodings that go-yaml knows.
    #[error("it is neither UTF-8 nor UTF-16 with a byte-order mark")]
    #[diagnostic(help("save it as UTF-8"))]
    Encoding,
    /// go-yaml: "control characters are not allowed".
    #[error("line {line} has a control character, which YAML does not allow")]
    Control {
        /// The line.
        line: usize,
    },
    /// The grammar.
    #[error("it is not YAML (line {line}): {reason}")]
    Syntax {
        /// Where the parser stopped.
        line: usize,
        /// What the parser says: never what it found there, which may be a key.
        reason: String,
    },
    /// More than a file of that kind ever needs, and more than memory is spent on.
    #[error("its aliases stand for more than {ALIASED_MAX} values (line {line})")]
    #[diagnostic(help("write out what the aliases (`*name`) stand for"))]
    Aliases {
        /// The alias that is one too many.
        line: usize,
    },
    /// Deeper than anything of Kubernetes.
    #[error("its values are nested deeper than {DEPTH_MAX} levels (line {line})")]
    Depth {
        /// The line.
        line: usize,
    },
    /// What ends a line in YAML 1.1, and not in 1.2: the two take a text apart differently.
    #[error(
        "line {line} has a character that ends a line for Kubernetes alone (U+0085, U+2028 or U+2029)"
    )]
    #[diagnostic(help(
        "take it out, or write it as an escape in double quotes, as in `\"\\u2028\"`"
    ))]
    Separator {
        /// The line, by the others.
        line: usize,
    },
    /// A value or a key that JSON has no word for.
    #[error("line {line} has {what}, which Kubernetes cannot read")]
    Value {
        /// The line.
        line: usize,
        /// What it is.
        what: &'static str,
    },
}

/// A text in UTF-8, as it came or made from UTF-16.
pub(crate) struct Text {
    pub(crate) text: Zeroizing<String>,
    /// A byte-order mark stood before it.
    pub(crate) marked: bool,
}

impl Text {
    /// Takes the encodings that go-yaml takes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| unit(*pair));
            let text = char::decode_utf16(units).collect::<Result<String, _>>();
            text.ok().filter(|_| rest.is_empty())
        };
        let (marked, text) = match bytes {
            [0xff, 0xfe, rest @ ..] => (false, wide(rest, u16::from_le_bytes)),
            [0xfe, 0xff, rest @ ..] => (false, wide(rest, u16::from_be_bytes)),
            [0xef, 0xbb, 0xbf, rest @ ..] => (true, String::from_utf8(rest.to_vec()).ok()),
            bytes => (false, String::from_utf8(bytes.to_vec()).ok()),
        };
        let text = Zeroizing::new(text.ok_or(Problem::Encoding)?);
        let control = |char: &char| {
            matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}'
                | '\u{86}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        };
        if let Some(at) = text.find(|char| control(&char)) {
            let line = line_of(&text, at);
            return Err(Problem::Control { line });
        }
        Ok(Self { text, marked })
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// A value and where it stands.
pub(crate) struct Node {
    pub(crate) what: What,
    /// Its bytes. Of a list or table in block style, only the beginning is exact.
    pub(crate) span: Range<usize>,
    pub(crate) line: usize,
    depth: usize,
    /// How many values it stands for.
    weight: usize,
}

pub(crate) enum What {
    Scalar {
        text: String,
        meaning: scalar::Meaning,
    },
    List {
        items: Vec<Rc<Node>>,
        flow: bool,
    },
    Table {
        entries: Vec<(Rc<Node>, Rc<Node>)>,
        flow: bool,
    },
    Alias(Rc<Node>),
}

/// What a text says.
pub(crate) struct Read {
    pub(crate) value: Value,
    pub(crate) repeated: Vec<Repeated>,
}

/// A key that a table has twice; the last one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The key.
    pub key: String,
    /// Where it stands the second time.
    pub line: usize,
}

/// The first document of a text, the only one that Kubernetes reads; none where nothing is in it.
pub(crate) fn parse(text: &str) -> Result<Option<Rc<Node>>, Problem> {
    let options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        bom_inside_document_as_content: true,
    };
    check_directives(text)?;
    let mut tree = Tree {
        source: text,
        ..Tree::default()
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| syntax(&error))?;
        if event == Event::DocumentEnd {
            break;
        }
        tree.take(event, &span)?;
    }
    Ok(tree.root)
}

/// Refuses what ends a line in YAML 1.1 alone, for texts in which no value may go on behind it.
pub(crate) fn check_separators(text: &str) -> Result<(), Problem> {
    let at = text.find(['\u{85}', '\u{2028}', '\u{2029}']);
    at.map_or(Ok(()), |at| {
        let line = line_of(text, at);
        Err(Problem::Separator { line })
    })
}

/// go-yaml knows `%TAG`, and `%YAML` of 1.1 alone.
fn check_directives(text: &str) -> Result<(), Problem> {
    let lines = text.lines().enumerate();
    let head = lines.take_while(|(_, it)| it.is_empty() || it.starts_with(['#', '%', ' ']));
    for (at, line) in head {
        let mut words = line.split_ascii_whitespace();
        let is_known = match words.next() {
            Some("%YAML") => words.next() == Some("1.1"),
            Some(word) => !word.starts_with('%') || word == "%TAG",
            None => true,
        };
        if line.starts_with('%') && !is_known {
            let (line, what) = (at + 1, "a directive that YAML 1.1 does not have");
            return Err(Problem::Value { line, what });
        }
    }
    Ok(())
}

/// Whether a text in double quotes has the escape `\/`, which came with YAML 1.2.
fn has_new_escape(quoted: &str) -> bool {
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        if char == '\\' && chars.next() == Some('/') {
            return true;
        }
    }
    false
}

fn syntax(error: &ScanError) -> Problem {
    Problem::Syntax {
        line: error.marker().line(),
        reason: error.info(),
    }
}

/// The JSON that Kubernetes makes of a document.
pub(crate) fn read(root: Option<&Node>) -> Result<Read, Problem> {
    let mut repeated = Vec::new();
    let value = root.map_or(Ok(Value::Null), |root| root.value(&mut repeated))?;
    Ok(Read { value, repeated })
}

/// A text as every reader of YAML takes it for that text: in double quotes, and of what is not
/// printable or ends a line nothing but escapes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for char in Value::from(text).to_string().chars() {
        match char {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a string cannot fail.
                _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted
}

/// A tree while it is being made.
#[derive(Default)]
struct Tree<'a> {
    source: &'a str,
    root: Option<Rc<Node>>,
    /// Lists and tables that are not at their end, each with its anchor.
    open: Vec<(usize, Node, Option<Rc<Node>>)>,
    anchors: HashMap<usize, Rc<Node>>,
    aliased: usize,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let line = span.start.line();
        let (start, end) = (span.start.byte_offset(), span.end.byte_offset());
        let at = start.unwrap_or_default()..end.unwrap_or_default();
        let node = |what: What| Node {
            what,
            span: at.clone(),
            line,
            depth: 1,
            weight: 1,
        };
        let flow = |style| style == granit_parser::StructureStyle::Flow;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let raw = self.source.get(at.clone());
                let in_flow = self.open.last().is_some_and(|(_, node, _)| node.is_flow());
                let is_new = match style {
                    // In go-yaml `?` always begins a key, and in braces and brackets a `:` a value.
                    ScalarStyle::Plain if in_flow => {
                        text.contains('?') || text.starts_with(':') || tag.is_some() && start == end
                    }
                    ScalarStyle::Plain => text == "?",
                    // What begins with a brace is JSON to Kubernetes, which has the escape.
                    ScalarStyle::DoubleQuoted if !self.source.trim_start().starts_with('{') => {
                        raw.is_some_and(has_new_escape)
                    }
                    _ => false,
                };
                if is_new {
                    let what = "a `?`, `:`, `!` or `\\/` that YAML 1.1 does not have there";
                    return Err(Problem::Value { line, what });
                }
                let is_key = self.open.last().is_some_and(|(_, node, key)| {
                    key.is_none() && matches!(node.what, What::Table { flow: true, .. })
                });
                // A simple key is of one line (go-yaml, `yaml_simple_key_is_valid`).
                if is_key && raw.is_some_and(|raw| raw.trim().contains('\n')) {
                    let what = "a key that goes over the end of a line";
                    return Err(Problem::Value { line, what });
                }
                let meaning = scalar::Meaning::of(plain, tag.as_deref());
                // The parser has a `~` where nothing is.
                let is_nothing = plain && start == end;
                let text = if is_nothing {
                    String::new()
                } else {
                    text.into_owned()
                };
                self.close(anchor, node(What::Scalar { text, meaning }))?;
            }
            Event::SequenceStart(style, anchor, _) => {
                let (items, flow) = (Vec::new(), flow(style));
                self.open(anchor, node(What::List { items, flow }))?;
            }
            Event::MappingStart(style, anchor, _) => {
                let (entries, flow) = (Vec::new(), flow(style));
                self.open(anchor, node(What::Table { entries, flow }))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, mut node, _)) = self.open.pop() {
                    node.span.end = end.unwrap_or_default();
                    self.close(anchor, node)?;
                }
            }
            Event::Alias(anchor) => {
                let what = "an alias of what it is itself a part of";
                let meant = self.anchors.get(&anchor).cloned();
                let meant = meant.ok_or(Problem::Value { line, what })?;
                self.aliased = self.aliased.saturating_add(meant.weight);
                if self.aliased > ALIASED_MAX {
                    return Err(Problem::Aliases { line });
                }
                let mut node = node(What::Alias(Rc::clone(&meant)));
                (node.depth, node.weight) = (meant.depth, meant.weight);
                self.close(0, node)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, node: Node) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Problem::Depth { line: node.line });
        }
        self.open.push((anchor, node, None));
        Ok(())
    }

    /// A value is at its end: it goes into what is open.
    fn close(&mut self, anchor: usize, node: Node) -> Result<(), Problem> {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some((_, parent, key)) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.weight = parent.weight.saturating_add(node.weight);
        parent.depth = parent.depth.max(node.depth + 1);
        if parent.depth > DEPTH_MAX {
            return Err(Problem::Depth { line: node.line });
        }
        match &mut parent.what {
            What::List { items, .. } => items.push(node),
            What::Table { entries, .. } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
            What::Scalar { .. } | What::Alias(_) => {}
        }
        Ok(())
    }
}

impl Node {
    /// The value of a key that is written in this very table; of several, the last.
    pub(crate) fn get(&self, name: &str) -> Option<&(Rc<Self>, Rc<Self>)> {
        let What::Table { entries, .. } = &self.what else {
            return None;
        };
        let is = |key: &Node| matches!(&key.what, What::Scalar { text, .. } if text == name);
        entries.iter().rev().find(|(key, _)| is(key))
    }

    fn is_flow(&self) -> bool {
        matches!(
            &self.what,
            What::List { flow: true, .. } | What::Table { flow: true, .. }
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        match &self.what {
            What::List { items, .. } => items.is_empty(),
            What::Table { entries, .. } => entries.is_empty(),
            What::Scalar { .. } | What::Alias(_) => false,
        }
    }

    /// Where the last of it stands.
    pub(crate) fn end(&self) -> usize {
        match &self.what {
            What::List { items, flow: false } => items.last().map_or(self.span.end, |it| it.end()),
            What::Table {
                entries,
                flow: false,
            } => entries.last().map_or(self.span.end, |(_, it)| it.end()),
            _ => self.span.end,
        }
    }

    fn value(&self, repeated: &mut Vec<Repeated>) -> Result<Value, Problem> {
        match &self.what {
            What::Scalar { text, meaning } => {
                let line = self.line;
                meaning
                    .value(text)
                    .map_err(|what| Problem::Value { line, what })
            }
            What::List { items, .. } => items.iter().map(|item| item.value(repeated)).collect(),
            What::Alias(meant) => meant.value(repeated),
            What::Table { entries, .. } => {
                let mut table = Map::new();
                for (key, value) in entries {
                    if key.is_merge() {
                        value.merge(&mut table, repeated)?;
                        continue;
                    }
                    let name = key.name()?;
                    let value = value.value(repeated)?;
                    let line = key.line;
                    if table.insert(name.clone(), value).is_some() {
                        repeated.push(Repeated { key: name, line });
                    }
                }
                Ok(Value::Object(table))
            }
        }
    }

    fn is_merge(&self) -> bool {
        matches!(&self.what, What::Scalar { text, meaning } if text == "<<" && meaning.is_plain())
    }

    /// What `<<` brings in. go-yaml v2 takes it in its place: it gives way to what follows, not to
    /// what stands before it; of a list, the first has precedence.
    fn merge(
        &self,
        table: &mut Map<String, Value>,
        repeated: &mut Vec<Repeated>,
    ) -> Result<(), Problem> {
        match &self.what {
            What::List { items, .. } => {
                for item in items.iter().rev() {
                    item.merge(table, repeated)?;
                }
                return Ok(());
            }
            What::Table { .. } | What::Alias(_) => {
                if let Value::Object(merged) = self.value(repeated)? {
                    table.extend(merged);
                    return Ok(());
                }
            }
            What::Scalar { .. } => {}
        }
        let what = "a merge (`<<`) of something that is no table";
        let line = self.line;
        Err(Problem::Value { line, what })
    }

    /// A key as JSON has it: a text.
    fn name(&self) -> Result<String, Problem> {
        let line = self.line;
        match self.value(&mut Vec::new())? {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(is) => Ok(is.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let what = "a key that is null, a list or a table";
                Err(Problem::Value { line, what })
            }
        }
    }
}

#[cfg(test)]
mod tests;
