//! What is wrong with an inventory, shown where it stands in the file.
//!
//! All problems of a file are reported at once, so that one run is enough to mend it.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

/// One thing that is wrong with an inventory, or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    places: Vec<Place>,
    help: Option<String>,
    severity: Gravity,
}

/// A place in the file, in bytes, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    span: Range<usize>,
    label: String,
}

/// Whether a problem stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gravity {
    Error,
    Warning,
}

impl Problem {
    /// A problem that makes the inventory unusable. The label says what is at the place.
    pub(crate) fn new(
        span: Range<usize>,
        label: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            places: Vec::new(),
            help: None,
            severity: Gravity::Error,
        }
        .and_at(span, label)
    }

    /// Says what is expected, or the way out.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says so only if there is something to say.
    pub(crate) fn maybe_help(mut self, help: Option<impl Into<String>>) -> Self {
        self.help = help.map(Into::into).or(self.help);
        self
    }

    /// Points at a further place.
    pub(crate) fn and_at(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        let label = label.into();
        self.places.push(Place { span, label });
        self
    }

    /// Makes a warning of it: the inventory is used all the same.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Gravity::Warning;
        self
    }

    /// The bytes of the file that the problem is about: the first place.
    pub fn span(&self) -> Range<usize> {
        self.places.first().map_or(0..0, |place| place.span.clone())
    }

    /// What is expected, or the way out.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether the inventory can be used all the same.
    pub fn is_warning(&self) -> bool {
        self.severity == Gravity::Warning
    }
}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(match self.severity {
            Gravity::Error => Severity::Error,
            Gravity::Warning => Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = |(index, place): (usize, &Place)| {
            let (text, span) = (Some(place.label.clone()), place.span.clone());
            if index == 0 {
                LabeledSpan::new_primary_with_span(text, span)
            } else {
                LabeledSpan::new_with_span(text, span)
            }
        };
        Some(Box::new(self.places.iter().enumerate().map(label)))
    }
}

/// All problems of a file, in the order of their places, and the text to show them in.
#[derive(Debug, thiserror::Error)]
#[error("the inventory `{}` has {}", source_code.name(), counted(problems))]
pub struct Problems {
    source_code: NamedSource<String>,
    problems: Vec<Problem>,
}

impl Problems {
    /// Problems found in a text that is shown under a file's name.
    ///
    /// [`super::Inventory::parse`] makes those that are errors; warnings that it returned are
    /// shown by giving them here.
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span().start);
        Self {
            source_code: NamedSource::new(file, text.to_owned()).with_language("TOML"),
            problems,
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }
}

impl Diagnostic for Problems {
    fn severity(&self) -> Option<Severity> {
        let warnings = self.problems.iter().all(Problem::is_warning);
        Some(if warnings {
            Severity::Warning
        } else {
            Severity::Error
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source_code)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let problems = self.problems.iter();
        Some(Box::new(problems.map(|problem| problem as &dyn Diagnostic)))
    }
}

/// `2 problems`, `1 warning`, `1 problem and 2 warnings`.
fn counted(problems: &[Problem]) -> String {
    let warnings = problems.iter().filter(|it| it.is_warning()).count();
    let count = |number: usize, noun: &str| (number > 0).then(|| crate::plain::count(number, noun));
    let words = [
        count(problems.len() - warnings, "problem"),
        count(warnings, "warning"),
    ];
    words
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}

/// The word among the known ones that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let near = |known: &&'a str| (strsim::jaro_winkler(&word, known), *known);
    let rated = known.iter().map(near);
    let (nearness, best) = rated.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (nearness >= NEARNESS_MIN).then_some(best)
}

/// How near a word must be to be suggested, from 0 to 1: enough for a slip or two, too little for
/// another word with the same beginning.
const NEARNESS_MIN: f64 = 0.85;

/// `a`, `b` or `c`, each between backticks.
pub(super) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
