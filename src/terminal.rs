//! The only part that prints. Data goes to the standard output, talk to the standard error; both
//! can be read without colour, and without a terminal. Whatever nodes, servers and files say goes
//! through [`plain`] here; only data for files are printed as they are.

pub mod benchmark;
pub mod certificates;
pub mod drop_in;
pub mod graph;
pub mod in_the_way;
pub mod listing;
pub mod outlook;
mod progress;
pub mod proof;
pub mod releases;
pub mod report;

use std::io::{IsTerminal, Write};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::background;
use crate::event::Event;
use crate::plain;

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

    /// Prints data for a file or another program, byte for byte.
    pub fn print_exactly(&self, data: &str) {
        write(std::io::stdout(), data);
    }

    /// Prints data for a person.
    pub fn print(&self, text: &str) {
        write(std::io::stdout(), &plain::lines(text));
    }

    /// The same where colour may be in it. A text that would act on the terminal comes without: then
    /// every escape sequence that is printed is one of ours.
    pub fn print_colored(&self, text: impl Fn(bool) -> String) {
        let uncolored = text(false);
        if self.color && std::io::stdout().is_terminal() && plain::is_plain(&uncolored) {
            write(std::io::stdout(), &text(true));
        } else {
            self.print(&uncolored);
        }
    }

    /// Prints data as JSON.
    pub fn print_json(&self, data: &impl Serialize) {
        let text = serde_json::to_string_pretty(data).expect("what is told is texts and numbers");
        write(std::io::stdout(), &(plain::json(&text) + "\n"));
    }

    /// Prints data for a person, or as JSON.
    pub fn print_data(&self, json: bool, data: &impl Serialize, text: impl Fn(bool) -> String) {
        if json {
            self.print_json(data);
        } else {
            self.print_colored(text);
        }
    }

    /// Says a line, or several.
    pub fn say(&self, text: &str) {
        if self.volume > Volume::Quiet {
            write(std::io::stderr(), &(plain::lines(text) + "\n"));
        }
    }

    /// Asks a person for a line; none where nobody sits at a terminal.
    pub fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        write(std::io::stderr(), &plain::lines(question));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// Reports an error or a warning, with the place in the file where there is one.
    pub fn report(&self, diagnostic: &dyn Diagnostic) {
        let uncolored = rendered(diagnostic, GraphicalTheme::unicode_nocolor());
        if self.color && plain::is_plain(&uncolored) {
            let colored = rendered(diagnostic, GraphicalTheme::unicode());
            write(std::io::stderr(), &colored);
        } else {
            write(std::io::stderr(), &plain::lines(&uncolored));
        }
    }

    /// Tells what clap makes of the command line: help on the standard output, mistakes, which quote
    /// it, on the standard error.
    pub fn usage(error: &clap::Error) {
        let text = error.to_string();
        if plain::is_plain(&text) {
            // With colour, where that fits.
            _ = error.print();
        } else {
            write(std::io::stderr(), &plain::lines(&text));
        }
    }

    /// Shows events as they come, until [`Event::End`].
    pub fn follow(&self, events: UnboundedReceiver<Event>) -> JoinHandle<()> {
        let progress = progress::Progress::new(self.live, self.volume);
        background::spawn(progress.follow(events))
    }
}

/// Writes what is not to be filtered any more. A reader that has gone (`kinstall status | head`) is
/// no failure.
fn write(mut to: impl Write, text: &str) {
    _ = to.write_all(text.as_bytes());
}

fn rendered(diagnostic: &dyn Diagnostic, theme: GraphicalTheme) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
    if handler.render_report(&mut text, diagnostic).is_err() {
        text = format!("{diagnostic}\n");
    }
    text
}
