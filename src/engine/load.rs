//! Loading the inventory, with the user's own templates beside it.

use std::path::{Path, PathBuf};

use super::overrides;
use super::pods;
use crate::check;
use crate::failure::{Exit, Failure};
use crate::inventory::{Inventory, Problem, Problems};
use crate::regular_file;
use crate::terminal::Terminal;

/// The most bytes of an inventory: a node takes a few hundred.
const INVENTORY_BYTES_MAX: u64 = 4 << 20;

/// Reads an inventory, and tells what is doubtful in it.
pub(crate) fn inventory(path: &Path, terminal: Terminal) -> Result<Inventory, Failure> {
    let read = read(path, None, terminal)?;
    read.report(&[], terminal)?;
    Ok(read.inventory)
}

/// The same, with every command line that it leads to checked: for what would be rendered.
pub(crate) fn checked(path: &Path, terminal: Terminal) -> Result<Inventory, Failure> {
    let read = read(path, None, terminal)?;
    let findings = check::command_lines(&read.inventory);
    read.report(&findings, terminal)?;
    Ok(read.inventory)
}

/// An inventory, and the text it was read from.
pub(crate) struct LoadedInventory {
    pub(crate) inventory: Inventory,
    pub(crate) text: String,
    pub(crate) name: String,
    warnings: Vec<Problem>,
}

impl LoadedInventory {
    /// Tells what is doubtful; fails with everything, if something is wrong.
    pub(crate) fn report(
        &self,
        findings: &[check::Finding],
        terminal: Terminal,
    ) -> Result<(), Failure> {
        let found = findings.iter().map(|it| it.problem(&self.inventory));
        let problems: Vec<Problem> = self.warnings.iter().cloned().chain(found).collect();
        let wrong = problems.iter().any(|problem| !problem.is_warning());
        let none = problems.is_empty();
        let problems = Problems::new(&self.name, &self.text, problems);
        if wrong {
            return Err(Failure::new(Exit::Usage, problems));
        }
        if !none {
            terminal.report(&problems);
        }
        Ok(())
    }
}

/// Reads an inventory, and the user's own templates beside it. A run that takes things out of a bundle
/// takes templates too, where there are none.
pub(crate) fn read(
    path: &Path,
    bundle: Option<&Path>,
    terminal: Terminal,
) -> Result<LoadedInventory, Failure> {
    let mut read = parse(path)?;
    if let Some(bundle) = bundle {
        overrides::unpack(&read.inventory, bundle, terminal)?;
    }
    let refuse = |bad| Failure::all(Exit::Usage, bad);
    read.inventory.own = overrides::read(&read.inventory).map_err(refuse)?;
    let bad = check::bad_texts(&read.inventory);
    if !bad.is_empty() {
        return Err(refuse(bad));
    }
    Ok(read)
}

fn parse(path: &Path) -> Result<LoadedInventory, Failure> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let text = text(path, &directory)?;
    let name = path.display().to_string();
    let (inventory, warnings) = Inventory::parse(&text, &name, &directory)
        .map_err(|problems| Failure::new(Exit::Usage, problems))?;
    let remembered = pods::read(&inventory)?;
    let inventory = inventory.with_pods(remembered);
    let inventory = inventory.map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(LoadedInventory {
        inventory,
        text,
        name,
        warnings,
    })
}

/// The text of an inventory. The user named it, but where it is a link, a repository may have made
/// that: out of its directory it leads to another inventory, or nowhere.
fn text(path: &Path, directory: &Path) -> Result<String, Failure> {
    let refuse = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "`kinstall init` writes a starter inventory",
            _ => "name the inventory itself, a file of TOML",
        };
        Failure::words(Exit::Usage, error.to_string(), help)
    };
    let leads_to_another = fs_err::canonicalize(path)
        .is_ok_and(|real| real.extension().is_some_and(|it| it == "toml"));
    if path.is_symlink() && !path.starts_with("/dev") && !leads_to_another {
        regular_file::real(directory, path).map_err(refuse)?;
    }
    regular_file::read_text(path, INVENTORY_BYTES_MAX).map_err(refuse)
}
