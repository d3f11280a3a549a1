//! Reading the directory of the user's own templates and drop-ins.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::component;
use crate::inventory::Inventory;
use crate::regular_file;
use crate::template::{BadText, Own};

/// The most files such a directory may hold.
const FILES_MAX: usize = 200;
/// The most names that are looked at in it and below.
const NAMES_MAX: usize = 2000;
/// The most bytes that one of them may have.
const BYTES_MAX: u64 = 256 * 1024;
/// How deep directories may lie in it: kinstall's own names are four deep.
const DEPTH_MAX: usize = 8;

/// What is in the directory; nothing where the default one is not there.
pub(super) fn read(inventory: &Inventory) -> Result<Own, Vec<BadText>> {
    let named = inventory.templates.as_deref();
    let directory = named.unwrap_or_else(|| Path::new(Inventory::TEMPLATES));
    let shown = directory.display().to_string();
    let at = inventory.directory.join(directory);
    if named.is_none() && fs_err::symlink_metadata(&at).is_err() {
        return Ok(Own::default());
    }
    let mut files = BTreeMap::new();
    let mut bad = Vec::new();
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
        bad.push(BadText::new(&shown, &error.to_string()).way_out(help));
    }
    match Own::of(&shown, files, &component::texts()) {
        Ok(own) if bad.is_empty() => Ok(own),
        Ok(_) => Err(bad),
        Err(more) => Err(bad.into_iter().chain(more).collect()),
    }
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
