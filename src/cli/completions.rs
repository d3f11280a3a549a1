//! `kinstall completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Exit};
use crate::terminal::Terminal;

/// Print completions for a shell.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, terminal: Terminal) -> Exit {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "kinstall", &mut text);
        terminal.print_exactly(&String::from_utf8_lossy(&text));
        Exit::Done
    }
}
