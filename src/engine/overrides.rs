//! The directory of the user's own templates and drop-ins: reading it, and taking it out of a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::releases;
use crate::bundle;
use crate::component;
use crate::durable;
use crate::failure::Failure;
use crate::inventory::Inventory;
use crate::regular_file;
use crate::template::{BadText, Overrides};
use crate::terminal::Terminal;

/// The most files such a directory may hold.
const FILES_MAX: usize = 200;
/// The most names that are looked at in it and below.
const NAMES_MAX: usize = 2000;
/// The most bytes that one of them may have.
const BYTES_MAX: u64 = 256 * 1024;
/// How deep directories may lie in it: kinstall's own names are four deep.
const DEPTH_MAX: usize = 8;

/// What is in the directory; nothing where the default one is not there.
pub(crate) fn read(inventory: &Inventory) -> Result<Overrides, Vec<BadText>> {
    let shown = directory(inventory).display().to_string();
    let (files, mut bad) = files(inventory);
    match Overrides::of(&shown, files, &component::texts()) {
        Ok(own) if bad.is_empty() => Ok(own),
        Ok(_) => Err(bad),
        Err(more) => {
            bad.extend(more);
            Err(bad)
        }
    }
}

/// The directory, as the inventory names it.
fn directory(inventory: &Inventory) -> &Path {
    let named = inventory.templates.as_deref();
    named.unwrap_or_else(|| Path::new(Inventory::TEMPLATES))
}

/// Every file in the directory by its path there, and what is wrong with others.
pub(crate) fn files(inventory: &Inventory) -> (BTreeMap<String, String>, Vec<BadText>) {
    let directory = directory(inventory);
    let shown = directory.display().to_string();
    let at = inventory.directory.join(directory);
    let (mut files, mut bad) = (BTreeMap::new(), Vec::new());
    if inventory.templates.is_none() && fs_err::symlink_metadata(&at).is_err() {
        return (files, bad);
    }
    let found = |path: String, file: &Path| {
        let text = match text(file) {
            Ok(text) => text,
            Err(why) => {
                bad.push(BadText::new(&format!("{shown}/{path}"), &why));
                return Ok(());
            }
        };
        files.insert(path, text);
        if files.len() <= FILES_MAX {
            Ok(())
        } else {
            let why = format!("it holds more than {FILES_MAX} files");
            Err(io::Error::other(why))
        }
    };
    let mut walk = Walk {
        root: &at,
        met: 0,
        found,
    };
    if let Err(error) = walk.through(&at, "", 0) {
        let help = "it is the `templates` of `[cluster]`, relative to the inventory; what is in it \
                    are files, and links to files in it";
        bad.push(BadText::new(&shown, &error.to_string()).with_help(help));
    }
    (files, bad)
}

/// Puts the templates of a bundle beside an inventory that has none, after all of the bundle was found
/// to be right. An inventory that has some keeps them; which of them differ is told.
pub(crate) fn unpack(
    inventory: &Inventory,
    bundle: &Path,
    terminal: Terminal,
) -> Result<(), Failure> {
    let refuse = releases::bundle_failure;
    let templates = bundle::templates(bundle).map_err(refuse)?;
    if templates.is_empty() {
        return Ok(());
    }
    let shown = directory(inventory).display();
    let at = inventory.directory.join(directory(inventory));
    if fs_err::symlink_metadata(&at).is_ok() {
        let (own, _) = files(inventory);
        let names: BTreeSet<&String> = own.keys().chain(templates.keys()).collect();
        let mut names = names.into_iter();
        if let Some(other) = names.find(|name| own.get(*name) != templates.get(*name)) {
            let name = bundle.display();
            terminal.say(&format!(
                "warning: `{shown}` and the templates in {name} differ, in `{other}` first; those in `{shown}` are used"
            ));
        }
        return Ok(());
    }
    bundle::verify(bundle).map_err(refuse)?;
    // Whole or not at all: half of them would make another cluster.
    let parent = at.parent().unwrap_or(&inventory.directory);
    durable::create_directories(parent)?;
    let unfinished = tempfile::Builder::new()
        .prefix(".kinstall.templates-")
        .permissions(PermissionsExt::from_mode(0o755))
        .tempdir_in(parent)?;
    for (path, text) in &templates {
        let path = unfinished.path().join(path);
        durable::create_directories(path.parent().unwrap_or(parent))?;
        durable::create(&path, text.as_bytes(), 0o644)?;
    }
    // From then on nothing is at the name that is cleaned up; a rename that fails leaves nothing.
    fs_err::rename(unfinished.path(), &at)?;
    durable::sync_parent(&at)?;
    let name = bundle.display();
    terminal.say(&format!("took templates out of {name}, into `{shown}`"));
    Ok(())
}

/// A walk through the directory.
struct Walk<'a, F> {
    /// The directory: no link leads out of it.
    root: &'a Path,
    /// How many names it has met.
    met: usize,
    found: F,
}

impl<F: FnMut(String, &Path) -> io::Result<()>> Walk<'_, F> {
    /// Tells every file below a directory, by its path in the root. What begins with a dot is an
    /// editor's, or git's.
    fn through(&mut self, directory: &Path, below: &str, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            let why = format!("its directories lie deeper than {DEPTH_MAX}");
            return Err(io::Error::other(why));
        }
        for entry in fs_err::read_dir(directory)? {
            let entry = entry?;
            self.met += 1;
            if self.met > NAMES_MAX {
                let why = format!("it holds more than {NAMES_MAX} names");
                return Err(io::Error::other(why));
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let (at, path) = (entry.path(), format!("{below}{name}"));
            let real = regular_file::real(self.root, &at)?;
            if real.is_dir() {
                self.through(&at, &format!("{path}/"), depth + 1)?;
            } else {
                (self.found)(path, &at)?;
            }
        }
        Ok(())
    }
}

fn text(file: &Path) -> Result<String, String> {
    let text = regular_file::read_text(file, BYTES_MAX).map_err(|error| error.to_string())?;
    if text.contains('\0') {
        return Err("it holds a zero byte".to_owned());
    }
    Ok(text)
}
