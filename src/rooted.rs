//! Where a path of a node lies below a directory that holds the node's root: an image, a rendered
//! tree. Links on the way lead where they would lead on that node, so never out of the directory;
//! `script/root.sh` does the same for scripts.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::remote_path::RemotePath;

/// How many links may lie on the way (`MAXSYMLINKS` of Linux).
const LINKS_MAX: usize = 40;

/// Where a path lies. Its last word is not followed.
pub fn place(root: &Path, path: &RemotePath) -> io::Result<PathBuf> {
    let mut ahead: Vec<String> = words(Path::new(path.as_str())).collect();
    ahead.reverse();
    let mut below = PathBuf::new();
    let mut links = 0;
    while let Some(word) = ahead.pop() {
        if word == ".." {
            below.pop();
            continue;
        }
        let at = root.join(&below).join(&word);
        let target = std::fs::read_link(&at).ok();
        let Some(target) = target.filter(|_| !ahead.is_empty()) else {
            below.push(word);
            continue;
        };
        links += 1;
        if links > LINKS_MAX {
            let why = format!("`{}`: too many links on the way", at.display());
            return Err(io::Error::other(why));
        }
        if target.is_absolute() {
            below.clear();
        }
        let mut target: Vec<String> = words(&target).collect();
        target.reverse();
        ahead.extend(target);
    }
    Ok(root.join(below))
}

/// The words of a path; of one that is no text, what comes nearest.
fn words(path: &Path) -> impl Iterator<Item = String> {
    let words = path.components().filter_map(|word| match word {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    words.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path();
        fs_err::create_dir_all(root.join("data/lib")).unwrap();
        let links = [
            ("/data", "var"),
            ("../../../../tmp/x", "data/up"),
            ("/data/lib", "data/lib/again"),
            ("loop", "loop"),
            ("/tmp/last", "last"),
        ];
        for (target, at) in links {
            symlink(target, root.join(at)).unwrap();
        }
        let check = |path: &str, expected: Option<&str>| {
            let found = place(root, &RemotePath::fixed(path));
            assert_eq!(found.ok(), expected.map(|it| root.join(it)), "{path}");
        };
        check("/var/lib/a", Some("data/lib/a"));
        check("/var/up/a", Some("tmp/x/a"));
        check("/var/lib/again/again/a", Some("data/lib/a"));
        check("/usr/local/bin/a", Some("usr/local/bin/a"));
        check("/last", Some("last"));
        check("/loop/a", None);
    }
}
