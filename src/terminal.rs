//! The only part that prints. Data goes to the standard output, talk to the standard error; both
//! can be read without colour, and without a terminal.

pub mod benchmark;
pub mod listing;
pub mod outlook;
mod progress;
pub mod releases;
pub mod report;

use std::io::{IsTerminal, Write};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::event::Event;

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Volume {
    /// Errors only.
    Quiet,
    /// What matters.
    #[default]
    Normal,
    /// Every step.
    Verbose,
}

/// The terminal, or what stands in its place.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    color: bool,
    live: bool,
    volume: Volume,
}

impl Terminal {
    /// By what the user said and where the output goes.
    pub fn new(color: Color, volume: Volume) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let color = match color {
            Color::Auto => is_terminal && wanted,
            Color::Always => true,
            Color::Never => false,
        };
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            color,
            live: is_terminal && !dumb && volume != Volume::Quiet,
            volume,
        }
    }

    /// Prints data.
    pub fn print(&self, data: &str) {
        // A reader that has gone (`kinstall status | head`) is no failure.
        _ = std::io::stdout().write_all(data.as_bytes());
    }

    /// Prints data that already carries colour where it may.
    pub fn uses_color(&self) -> bool {
        self.color && std::io::stdout().is_terminal()
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        if self.volume > Volume::Quiet {
            _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Asks a person for a line; none where nobody sits at a terminal.
    pub fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        _ = write!(std::io::stderr(), "{question}");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// Reports an error or a warning, with the place in the file where there is one.
    pub fn report(&self, diagnostic: &dyn Diagnostic) {
        let theme = if self.color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
        if handler.render_report(&mut text, diagnostic).is_err() {
            text = format!("{diagnostic}\n");
        }
        _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Shows events as they come, until [`Event::End`].
    pub fn follow(&self, events: UnboundedReceiver<Event>) -> JoinHandle<()> {
        let progress = progress::Progress::new(self.live, self.volume);
        tokio::spawn(progress.follow(events))
    }
}
