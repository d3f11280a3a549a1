//! Reading the directory of the user's own templates and drop-ins.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::component;
use crate::inventory::Inventory;
use crate::template::{BadText, Own};

/// The most files such a directory may hold.
const FILES_MAX: usize = 200;
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
    let walked = walk(&at, "", 0, &mut |path, file| {
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
    });
    if let Err(error) = walked {
        let help = "it is the `templates` of `[cluster]`, relative to the inventory";
        bad.push(BadText::new(&shown, &error.to_string()).way_out(help));
    }
    match Own::of(&shown, files, &component::texts()) {
        Ok(own) if bad.is_empty() => Ok(own),
        Ok(_) => Err(bad),
        Err(more) => Err(bad.into_iter().chain(more).collect()),
    }
}

/// Every file below a directory, by its path in it. What begins with a dot is an editor's, or
/// git's.
fn walk(
    directory: &Path,
    below: &str,
    depth: usize,
    found: &mut impl FnMut(String, &Path) -> io::Result<()>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        let why = format!("its directories lie deeper than {DEPTH_MAX}");
        return Err(io::Error::other(why));
    }
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let (at, path) = (entry.path(), format!("{below}{name}"));
        if fs_err::metadata(&at)?.is_dir() {
            walk(&at, &format!("{path}/"), depth + 1, found)?;
        } else {
            found(path, &at)?;
        }
    }
    Ok(())
}

fn text(file: &Path) -> Result<String, String> {
    let in_words = |error: io::Error| error.to_string();
    let size = fs_err::metadata(file).map_err(in_words)?.len();
    if size > BYTES_MAX {
        return Err(format!("it has {size} bytes, {BYTES_MAX} are the most"));
    }
    let bytes = fs_err::read(file).map_err(in_words)?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.contains('\0') {
        return Err("it holds a zero byte".to_owned());
    }
    Ok(text)
}
