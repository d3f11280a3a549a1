//! `kinstall man`: manual pages, out of the same table as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::{Arguments, Exit, Failure};
use crate::terminal::Terminal;

/// Print a manual page, or write all of them.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The command whose page is printed [default: kinstall itself]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write the page of every command into DIR, as `kinstall-push.1`
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let mut root = Arguments::command();
        root.build();
        if let Some(directory) = self.out {
            fs_err::create_dir_all(&directory)?;
            clap_mangen::generate_to(root, &directory)?;
            return Ok(Exit::Done);
        }
        let page = match &self.command {
            None => Page::new(root),
            Some(name) => {
                let known = root.get_subcommands().map(clap::Command::get_name);
                let known = known.collect::<Vec<_>>().join(", ");
                let command = root.find_subcommand(name).cloned();
                let command = command.ok_or_else(|| {
                    let message = format!("there is no command `{name}`");
                    Failure::words(Exit::Usage, message, format!("there are {known}"))
                })?;
                Page::new(command).title(format!("kinstall-{name}"))
            }
        };
        let mut text = Vec::new();
        page.render(&mut text)?;
        terminal.print_exactly(&String::from_utf8_lossy(&text));
        Ok(Exit::Done)
    }
}
