//! Which tests a change touches: of the file itself, of the room that it is in, and of the texts that
//! it is about. Anything else is left to the whole suite.

use std::collections::BTreeSet;

use crate::command::{CommandError, Program};
use crate::setup;

/// How many parts of a module's path name its room.
const ROOM_PARTS: usize = 2;

/// The names of the tests of what differs from a commit, not committed files included.
pub(super) fn since(commit: &str) -> Result<Vec<String>, CommandError> {
    let git = |arguments: &[&str]| {
        let git = Program::new("git").args(arguments);
        git.directory(setup::workspace()).text()
    };
    let changed = git(&["diff", "--name-only", commit, "--"])?;
    let new = git(&["ls-files", "--others", "--exclude-standard"])?;
    let paths = changed.lines().chain(new.lines());
    let tests: BTreeSet<String> = paths.flat_map(of).collect();
    Ok(tests.into_iter().collect())
}

/// What tests of a file have in their names.
fn of(path: &str) -> Vec<String> {
    let (stem, kind) = path.split_once('.').unwrap_or((path, ""));
    let mut parts: Vec<&str> = stem.split('/').collect();
    let stem = parts.pop().unwrap_or_default();
    let mut tests = vec!["tidy::".to_owned()];
    let (place, room) = parts.split_first().unwrap_or((&"", &[]));
    let mut named = |names: &[&str]| tests.extend(names.iter().map(|name| format!("{name}::")));
    match *place {
        "src" if room.first() == Some(&"script") => named(&["script", "survey"]),
        "src" => {
            let is_own = kind == "rs" && !["lib", "main"].contains(&stem);
            let module = room.iter().copied().chain(is_own.then_some(stem));
            let module: Vec<&str> = module.take(ROOM_PARTS).collect();
            named(&[&module.join("::")]);
        }
        "tests" => named(&[room.first().copied().unwrap_or(stem)]),
        "xtask" => named(&[room.get(1).copied().unwrap_or(stem)]),
        "templates" | "inventories" => named(&["golden", "inventory", "manifest", "init"]),
        "standin" => named(&["refusals"]),
        "mite" => named(&[stem]),
        _ if kind == "md" => named(&["docs"]),
        _ => {}
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_leads_to_the_tests_of_its_room() {
        let told = |path: &str| of(path)[1..].join(" ");
        assert_eq!(told("src/authority/local/sign.rs"), "authority::local::");
        assert_eq!(told("src/cli/plan.rs"), "cli::plan::");
        assert_eq!(told("src/diff.rs"), "diff::");
        assert_eq!(told("src/artifact/SHA256SUMS"), "artifact::");
        assert_eq!(told("src/script/lock.sh"), "script:: survey::");
        assert_eq!(told("tests/push.rs"), "push::");
        assert_eq!(told("tests/vault/key.rs"), "vault::");
        assert_eq!(told("xtask/src/nodes/disk.rs"), "nodes::");
        assert_eq!(told("mite/src/resolve.rs"), "resolve::");
        assert_eq!(told("docs/push.md"), "docs::");
        assert_eq!(told("Cargo.toml"), "");
    }
}
