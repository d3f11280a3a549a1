//! A directory tree as it is: for each path what it is, whose, and what tells that it was touched.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use kinstall::digest::Digest;

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it holds: a digest, `-> target`, `directory`.
    pub(crate) what: String,
    /// Its permission bits; a link's mean nothing.
    pub(crate) mode: u32,
    /// Inode, time of change and time of modification in nanoseconds.
    pub(crate) touched: (u64, i128, i128),
}

/// A tree, by path below its root, each with a leading slash.
pub(crate) type Tree = BTreeMap<String, Item>;

/// Everything below a directory but kinstall's own state.
pub(crate) fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, "", &mut tree);
    tree.retain(|path, _| !path.starts_with("/var/lib/kinstall"));
    tree
}

/// What a tree is, without when it was made.
pub(crate) fn content(root: &Path) -> BTreeMap<String, (String, u32)> {
    let items = tree(root).into_iter();
    items
        .map(|(path, item)| (path, (item.what, item.mode)))
        .collect()
}

/// The paths at which two trees differ in anything.
pub(crate) fn differing(before: &Tree, after: &Tree) -> Vec<String> {
    let all = before.keys().chain(after.keys());
    let mut paths: Vec<String> = all
        .filter(|path| before.get(*path) != after.get(*path))
        .cloned()
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

fn walk(root: &Path, below: &str, tree: &mut Tree) {
    let directory = root.join(below.trim_start_matches('/'));
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        // What is gone by now was on its way out; see the promises about kills.
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let what = if metadata.is_symlink() {
            match fs::read_link(entry.path()) {
                Ok(target) => format!("-> {}", target.display()),
                Err(_) => continue,
            }
        } else if metadata.is_dir() {
            "directory".to_owned()
        } else {
            match fs::read(entry.path()) {
                Ok(bytes) => Digest::of(&bytes).to_string(),
                Err(_) => continue,
            }
        };
        let mode = if metadata.is_symlink() {
            0
        } else {
            metadata.permissions().mode() & 0o7777
        };
        let moment = |seconds: i64, nanoseconds: i64| {
            i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
        };
        let changed = moment(metadata.ctime(), metadata.ctime_nsec());
        let modified = moment(metadata.mtime(), metadata.mtime_nsec());
        let is_directory = metadata.is_dir();
        let touched = (metadata.ino(), changed, modified);
        tree.insert(
            path.clone(),
            Item {
                what,
                mode,
                touched,
            },
        );
        if is_directory {
            walk(root, &path, tree);
        }
    }
}
