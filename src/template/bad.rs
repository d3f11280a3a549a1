//! A text of the user's own that cannot be used: where, and why.

use handlebars::{RenderError, RenderErrorReason, TemplateError};
use miette::{Diagnostic, NamedSource, SourceSpan};
use serde_json::Value;

use super::{Override, known};

/// The longest line that is shown with what is said of it.
const SHOWN_BYTES_MAX: usize = 1000;

/// A text of the user's own that cannot be used.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("`{file}`{}: {message}", at(*place))]
pub struct BadText {
    /// The file, as a message shows it.
    pub file: String,
    /// Line and column, both counted from 1; none where the file as a whole is meant.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    text: Option<NamedSource<String>>,
    #[label("here")]
    span: Option<SourceSpan>,
}

fn at(place: Option<(usize, usize)>) -> String {
    place.map_or_else(String::new, |(line, column)| {
        format!(", line {line}, column {column}")
    })
}

impl BadText {
    /// A file that as a whole is good for nothing.
    pub fn new(file: &str, message: &str) -> Self {
        Self {
            file: file.to_owned(),
            place: None,
            message: message.to_owned(),
            help: None,
            text: None,
            span: None,
        }
    }

    /// Says the way out.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// All of it in one line.
    pub fn in_words(&self) -> String {
        match &self.help {
            Some(help) => format!("{self}; {help}"),
            None => self.to_string(),
        }
    }

    /// A text that is no template.
    pub(super) fn unread(own: &Override, error: &TemplateError) -> Self {
        let (_, reason) = words(error);
        Self::new(&own.file, &format!("it is no template: {reason}")).seen(own, error.pos())
    }

    /// A template that does not render.
    pub(super) fn unrendered(own: &Override, error: &RenderError, data: &Value) -> Self {
        let place = error.line_no.zip(error.column_no);
        match error.reason() {
            RenderErrorReason::TemplateError(error) => Self::unread(own, error),
            RenderErrorReason::MissingVariable(Some(name)) => {
                let message = format!("there is nothing called `{name}`");
                Self::new(&own.file, &message)
                    .with_help(known::instead(name, data))
                    .seen(own, place)
            }
            RenderErrorReason::IOError(error) => {
                Self::new(&own.file, &error.to_string()).seen(own, place)
            }
            reason => {
                let message = reason.to_string().trim().to_lowercase();
                Self::new(&own.file, &message).seen(own, place)
            }
        }
    }

    /// The same, at a place of the text.
    pub(super) fn seen(self, own: &Override, place: Option<(usize, usize)>) -> Self {
        let Some((line, column)) = place else {
            return self;
        };
        let before = own.text.split_inclusive('\n').take(line.saturating_sub(1));
        let start: usize = before.map(str::len).sum::<usize>() + column.saturating_sub(1);
        let start = start.min(own.text.len());
        let shown = own.text.lines().nth(line.saturating_sub(1));
        if shown.is_some_and(|shown| shown.len() > SHOWN_BYTES_MAX) {
            let place = Some((line, column));
            return Self { place, ..self };
        }
        Self {
            place: Some((line, column)),
            text: Some(NamedSource::new(&own.file, own.text.clone())),
            span: Some((start, 0).into()),
            ..self
        }
    }
}

/// A template's error in a line: its place, and the first line of the reason.
fn words(error: &TemplateError) -> (Option<(usize, usize)>, String) {
    let reason = error.reason().to_string();
    let reason = reason.lines().rfind(|line| !line.trim().is_empty());
    let reason = reason.unwrap_or_default().trim().trim_start_matches("= ");
    (error.pos(), reason.to_owned())
}
