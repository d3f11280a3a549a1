//! Puts a cluster into a kubeconfig that holds others, at its place in the text: not a byte of what
//! else is there changes, so that kubectl reads it as before. Pure.
//!
//! What comes out is read again and must be what was there with the cluster's entries; what cannot
//! be changed with that certainty is refused.

use std::ops::Range;

use miette::Diagnostic;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Items, shape};
use crate::secret::Secret;
use crate::yaml::{self, Node, Repeated, Text, What};

/// Why a cluster cannot be put into a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// It cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] yaml::Problem),
    /// It is YAML of something else.
    #[error("it is not a kubeconfig: {0}")]
    #[diagnostic(help("nothing was changed; name another file: `--merge=FILE`"))]
    NotAKubeconfig(&'static str),
    /// kubectl refuses the whole file for a field.
    #[error("kubectl cannot read it: {0}")]
    #[diagnostic(help("nothing was changed; a text that looks like something else wants quotes"))]
    Shape(#[from] yaml::Misfit),
    /// kubectl: "duplicate name in list".
    #[error("kubectl cannot read it: `{list}` has two entries of the name `{name}`")]
    #[diagnostic(help("nothing was changed; take one of them out, or give it another name"))]
    Twice {
        /// The list.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// It is written so that nothing can be put in with certainty.
    #[error("nothing can be put into it without a change to what else is there")]
    #[diagnostic(help(
        "nothing was changed; merge by hand: `KUBECONFIG=a:b kubectl config view --flatten`"
    ))]
    Unsure,
}

/// A kubeconfig with a cluster in it.
pub struct Merged {
    /// Its text; as it was where the cluster was there already.
    pub text: Secret,
    /// Keys that it gives twice: kubectl takes the last.
    pub repeated: Vec<Repeated>,
}

/// The kubeconfig with the cluster in it, its entries put in place of those of the same names.
///
/// The current context stays what it is, unless there is none.
pub(super) fn merge(existing: &Secret, items: &Items) -> Result<Merged, Problem> {
    let Text { text, marked } = Text::decode(existing.expose())?;
    let root = yaml::parse(&text)?;
    let yaml::Read { value, repeated } = yaml::read(root.as_deref())?;
    let expected = expected(&value, items)?;
    if expected == value {
        let text = existing.clone();
        return Ok(Merged { text, repeated });
    }
    let mark = if marked { "\u{feff}" } else { "" };
    for place in [Place::Last, Place::First] {
        let edited = match &root {
            Some(root) if !value.is_null() => Edits::new(&text, root, place).all(&value, items),
            _ => Some(after(&text, &items.config())),
        };
        if let Some(edited) = edited
            && yaml::parse(&edited)
                .and_then(|root| yaml::read(root.as_deref()))
                .is_ok_and(|read| read.value == expected)
        {
            let text = Zeroizing::new(format!("{mark}{}", *edited));
            let text = Secret::new(text.as_bytes());
            return Ok(Merged { text, repeated });
        }
    }
    Err(Problem::Unsure)
}

/// Whether there is an entry of the cluster, its context or its user.
pub(super) fn holds(existing: &Secret, cluster: &str, user: &str) -> bool {
    let read = Text::decode(existing.expose())
        .and_then(|it| yaml::parse(&it.text))
        .and_then(|root| yaml::read(root.as_deref()));
    let Ok(yaml::Read { value, .. }) = read else {
        return false;
    };
    let named = |list: &str, name: &str| {
        let entries = value[list].as_array().into_iter().flatten();
        entries.into_iter().any(|entry| entry["name"] == name)
    };
    named("clusters", cluster) || named("contexts", cluster) || named("users", user)
}

/// What must come out: everything that was there, with the cluster's entries.
fn expected(before: &Value, items: &Items) -> Result<Value, Problem> {
    shape::check(before)?;
    let mut whole = match before {
        Value::Null => Map::new(),
        Value::Object(whole) => whole.clone(),
        _ => return Err(Problem::NotAKubeconfig("it is no table")),
    };
    if before.is_null() {
        whole.insert("apiVersion".to_owned(), "v1".into());
        whole.insert("kind".to_owned(), "Config".into());
    }
    for (list, name, item) in items.entries() {
        let item = json(item)?;
        let entries = whole.entry(list).or_insert(Value::Null);
        if entries.is_null() {
            *entries = Value::Array(Vec::new());
        }
        let entries = entries.as_array_mut().ok_or(Problem::Unsure)?;
        match entries.iter_mut().find(|entry| entry["name"] == name) {
            Some(entry) => *entry = item,
            // Where it stands among the others says nothing: kubectl makes a map of them.
            None => entries.insert(0, item),
        }
    }
    let current = whole.entry("current-context").or_insert(Value::Null);
    if is_nothing(current) {
        *current = items.context_name.as_str().into();
    }
    Ok(Value::Object(whole))
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// The entry of a list of one.
fn json(item: &str) -> Result<Value, Problem> {
    let read = yaml::read(yaml::parse(item)?.as_deref())?;
    Ok(read.value[0].clone())
}

/// Where what is new in a table in block style goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Below everything: what a reader expects.
    Last,
    /// Above: the end of a text may belong to a block that keeps its empty lines, or to another document.
    First,
}

/// Changes to a text, each to bytes of their own.
struct Edits<'a> {
    text: &'a str,
    root: &'a Node,
    place: Place,
    changes: Vec<(Range<usize>, Zeroizing<String>)>,
    /// Keys that are not there yet, each with its value.
    new: Vec<Zeroizing<String>>,
}

impl<'a> Edits<'a> {
    fn new(text: &'a str, root: &'a Node, place: Place) -> Self {
        Self {
            text,
            root,
            place,
            changes: Vec::new(),
            new: Vec::new(),
        }
    }

    /// The text with all of the cluster's entries; none where a place for one cannot be told.
    fn all(mut self, before: &Value, items: &Items) -> Option<Zeroizing<String>> {
        for (list, name, item) in items.entries() {
            let known = before[list].as_array().map_or(&[][..], Vec::as_slice);
            let index = known.iter().position(|entry| entry["name"] == name);
            if index.is_none_or(|index| json(item).as_ref() != Ok(&known[index])) {
                self.put(list, index, item)?;
            }
        }
        let current = &before["current-context"];
        if is_nothing(current) {
            let name = yaml::quoted(&items.context_name);
            match self.root.get("current-context") {
                Some((key, value)) => self.replace(key, value, &name)?,
                None => self.add("current-context", &format!(" {name}\n"), &name)?,
            }
        }
        let below = self.add_new()?;
        let mut text = Zeroizing::new(self.text.to_owned());
        // From the end on, so that the places before stay what they are.
        self.changes.sort_by_key(|(range, _)| range.start);
        for (range, new) in self.changes.iter().rev() {
            text.replace_range(range.clone(), new);
        }
        Some(after(&text, &below))
    }

    /// An item into a list, in the place of the one at `index` if there is one.
    fn put(&mut self, list: &str, index: Option<usize>, item: &str) -> Option<()> {
        let Some((key, value)) = self.root.get(list) else {
            return self.add(list, &format!("\n{item}"), &format!("[{}]", flow(item)?));
        };
        let What::List {
            items,
            flow: is_flow,
        } = &value.what
        else {
            return self.fill(key, value, item);
        };
        if let Some(index) = index {
            return self.exchange(items.get(index)?, item);
        }
        if items.is_empty() {
            return self.fill(key, value, item);
        }
        if *is_flow {
            let at = value.span.start;
            self.text[at..].strip_prefix('[')?;
            let new = format!("{}, ", flow(item)?);
            return self.edit(at + 1..at + 1, new);
        }
        // Below the list's key, above what is said of its first item.
        let below = self.text[key.span.end..].find('\n')? + key.span.end + 1;
        let first = self.text[below..]
            .lines()
            .find(|line| line.trim_start().starts_with('-'))?;
        let indent = &first[..first.len() - first.trim_start().len()];
        self.edit(below..below, indented(item, indent)?)
    }

    /// An item in the place of another.
    fn exchange(&mut self, entry: &Node, item: &str) -> Option<()> {
        let What::Table { flow: is_flow, .. } = &entry.what else {
            return None;
        };
        if *is_flow {
            return self.edit(entry.span.clone(), flow(item)?);
        }
        let start = entry.span.start;
        let indent = " ".repeat(self.text[self.line_start(start)..start].chars().count());
        let new: Vec<&str> = item.lines().filter_map(|line| line.get(2..)).collect();
        let end = start + self.text[start..entry.end()].trim_end().len();
        self.edit(start..end, new.join(&format!("\n{indent}")))
    }

    /// An item as the only one of a list that is null or empty.
    fn fill(&mut self, key: &Node, value: &Node, item: &str) -> Option<()> {
        if self.is_flow() {
            let new = format!("[{}]", flow(item)?);
            return self.replace(key, value, &new);
        }
        let new = indented(item, &self.indent()?)?;
        self.replace(key, value, &format!("\n{}", new.trim_end()))
    }

    /// Something in the place of a value that may have no bytes at all.
    fn replace(&mut self, key: &Node, value: &Node, new: &str) -> Option<()> {
        if matches!(value.what, What::Alias(_)) {
            return None;
        }
        if !value.span.is_empty() {
            return self.edit(value.span.clone(), new.to_owned());
        }
        let colon = self.text[key.span.end..].find(':')? + key.span.end + 1;
        let space = if new.starts_with('\n') { "" } else { " " };
        self.edit(colon..colon, format!("{space}{new}"))
    }

    /// A key that is not there yet, its value in block style and in flow style.
    fn add(&mut self, key: &str, block: &str, flow: &str) -> Option<()> {
        let new = if self.is_flow() {
            format!("\"{key}\": {flow}")
        } else {
            indented(&format!("{key}:{block}"), &self.indent()?)?
        };
        self.new.push(Zeroizing::new(new));
        Some(())
    }

    /// Has the new keys put in at their place, unless that is below everything: then they are answered.
    fn add_new(&mut self) -> Option<Zeroizing<String>> {
        let new: Vec<&str> = self.new.iter().map(|it| it.as_str()).collect();
        let start = self.root.span.start;
        if new.is_empty() {
            return Some(Zeroizing::default());
        }
        if self.is_flow() {
            self.text[start..].strip_prefix('{')?;
            let comma = if self.root.is_empty() { "" } else { ", " };
            let new = new.join(", ") + comma;
            self.edit(start + 1..start + 1, new)?;
            return Some(Zeroizing::default());
        }
        let new = Zeroizing::new(new.concat());
        if self.place == Place::First {
            let at = self.line_start(start);
            self.edit(at..at, new.to_string())?;
            return Some(Zeroizing::default());
        }
        Some(new)
    }

    fn is_flow(&self) -> bool {
        matches!(self.root.what, What::Table { flow: true, .. })
    }

    /// What stands before every key of the root.
    fn indent(&self) -> Option<String> {
        let start = self.root.span.start;
        let indent = &self.text[self.line_start(start)..start];
        indent.trim().is_empty().then(|| indent.to_owned())
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    fn edit(&mut self, range: Range<usize>, new: String) -> Option<()> {
        self.text.get(range.clone())?;
        self.changes.push((range, Zeroizing::new(new)));
        Some(())
    }
}

/// An item on one line, as flow style and JSON have it.
fn flow(item: &str) -> Option<String> {
    json(item).ok().map(|value| value.to_string())
}

fn indented(lines: &str, indent: &str) -> Option<String> {
    let is_space = indent.bytes().all(|byte| byte == b' ');
    is_space.then(|| {
        let lines = lines.lines();
        lines.flat_map(|line| [indent, line, "\n"]).collect()
    })
}

/// A text with another one below it.
fn after(text: &str, new: &str) -> Zeroizing<String> {
    let is_whole = text.is_empty() || text.ends_with('\n') || new.is_empty();
    let end = if is_whole { "" } else { "\n" };
    Zeroizing::new(format!("{text}{end}{new}"))
}

#[cfg(test)]
mod tests;
