//! `kinstall init`: a commented starter inventory.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::artifact::newest_of_all;
use crate::durable;
use crate::inventory::Inventory;
use crate::terminal::Terminal;

/// Write a commented starter inventory.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where to
    #[arg(default_value = "inventory.toml")]
    file: PathBuf,
    /// The nodes: NAME=ADDRESS, ADDRESS or NAME each
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    nodes: Vec<String>,
}

impl Init {
    pub(super) fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let text = Inventory::starter(&self.nodes, newest_of_all()).map_err(|error| {
            let help = "write each node as `NAME=ADDRESS`, as in `--nodes az1=10.0.12.1`";
            Failure::words(Exit::Usage, error.to_string(), help)
        })?;
        let made = durable::create(&self.file, text.as_bytes(), 0o666);
        made.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let message = format!(
                    "`{}` is there already, and is left as it is",
                    self.file.display()
                );
                Failure::words(
                    Exit::Usage,
                    message,
                    "give another name: `kinstall init other.toml`",
                )
            }
            _ => Failure::from(error),
        })?;
        let name = self.file.display();
        terminal.say(&format!(
            "wrote {name}; next: edit it, then `kinstall push {name}`"
        ));
        Ok(Exit::Done)
    }
}
