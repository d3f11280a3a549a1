//! `cargo xtask numbers`: how large the project is, room by room, what its longest files are, which
//! modules use each other in circles, and where the time of the last whole run of the tests went.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use fs_err as fs;

use crate::say;
use crate::setup;

/// The directories that hold code.
const DIRECTORIES: [&str; 5] = ["src", "tests", "xtask/src", "standin/src", "mite/src"];
/// What begins the unit tests of a file, at its end. Others are files of their own.
const UNIT_TESTS: &str = "\n#[cfg(test)]\nmod tests {";
/// How many files are named.
const LONGEST: usize = 10;

/// A file of code.
struct Source {
    /// Its path within the project, with `/`.
    path: String,
    text: String,
    /// Whether all of it is compiled for tests alone.
    is_test: bool,
}

/// The lines of some code.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Lines {
    product: usize,
    tests: usize,
}

impl Source {
    /// Those before its unit tests, and those of the tests.
    fn lines(&self) -> Lines {
        let all = self.text.lines().count();
        let product = if self.is_test {
            0
        } else {
            self.product().lines().count()
        };
        Lines {
            product,
            tests: all - product,
        }
    }

    /// The room it is in: a directory of code, or a module of the top level of `src`.
    fn room(&self) -> &str {
        let Some(below) = self.path.strip_prefix("src/") else {
            return self
                .path
                .split_once("/src/")
                .or_else(|| self.path.split_once('/'))
                .map_or("", |it| it.0);
        };
        let module = below.split('/').next().unwrap_or(below);
        let end = "src/".len() + module.trim_end_matches(".rs").len();
        &self.path[..end]
    }

    /// All but its unit tests.
    fn product(&self) -> &str {
        let tests = self.text.find(UNIT_TESTS);
        &self.text[..tests.unwrap_or(self.text.len())]
    }

    /// Its code, without unit tests and comments.
    fn code(&self) -> String {
        let lines = self.product().lines();
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Prints them.
pub(crate) fn run() -> io::Result<()> {
    let sources = sources(&setup::workspace())?;
    say::data("product lines, tests' lines, room");
    let mut rooms: Vec<(&str, Lines)> = rooms(&sources).into_iter().collect();
    rooms.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.product + lines.tests));
    for (room, lines) in &rooms {
        say::data(format!("{:>7} {:>7}  {room}", lines.product, lines.tests));
    }
    let of_src = rooms.iter().filter(|(room, _)| room.starts_with("src/"));
    let product: usize = of_src.map(|(_, lines)| lines.product).sum();
    let files = sources.iter().filter(|it| it.path.starts_with("src/"));
    let mut lengths: Vec<usize> = files.map(|it| it.lines().product).collect();
    lengths.retain(|length| *length > 0);
    lengths.sort_unstable();
    say::data(format!(
        "{product} product lines in src, {} files, the median {} lines",
        lengths.len(),
        lengths[lengths.len() / 2]
    ));
    let mut longest: Vec<(usize, &str)> = sources
        .iter()
        .map(|it| (it.text.lines().count(), it.path.as_str()))
        .collect();
    longest.sort_unstable_by(|one, other| other.cmp(one));
    say::data("the longest files");
    for (lines, path) in longest.iter().take(LONGEST) {
        say::data(format!("{lines:>7}  {path}"));
    }
    let circle = in_circles(imports(&sources));
    if circle.is_empty() {
        say::data("no module of src uses one that uses it");
    } else {
        say::data(format!("in circles of imports: {circle:?}"));
    }
    tell_times();
    Ok(())
}

/// Where the time of the last whole run of the tests went, by the modules of tests.
fn tell_times() {
    let Ok(text) = fs::read_to_string(setup::test_times()) else {
        say::data("no times of tests: `cargo xtask test` writes them down");
        return;
    };
    let mut rooms: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        let (millis, test) = line.split_once(' ').unwrap_or_default();
        let room = test.split("::").next().unwrap_or(test);
        *rooms.entry(room).or_default() += millis.parse::<u64>().unwrap_or(0);
    }
    let mut rooms: Vec<(u64, &str)> = rooms.into_iter().map(|(room, it)| (it, room)).collect();
    rooms.sort_unstable_by(|one, other| other.cmp(one));
    say::data("seconds of the last whole run, by module of tests");
    for (millis, room) in rooms.iter().filter(|(millis, _)| *millis >= 1000) {
        say::data(format!("{:>7}  {room}", millis / 1000));
    }
}

fn rooms(sources: &[Source]) -> BTreeMap<&str, Lines> {
    let mut rooms: BTreeMap<&str, Lines> = BTreeMap::new();
    for source in sources {
        let lines = source.lines();
        let room = rooms.entry(source.room()).or_default();
        room.product += lines.product;
        room.tests += lines.tests;
    }
    rooms
}

/// What each module of the top level of `src` uses of the others.
fn imports(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let Some(module) = source.room().strip_prefix("src/") else {
            continue;
        };
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let used = imports.entry(module.to_owned()).or_default();
        for part in source.code().split("crate::").skip(1) {
            // `use crate::{a, b::C};` names several.
            let names = match part.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default(),
                None => part.split(',').next().unwrap_or_default(),
            };
            let is_part = |char: char| char.is_ascii_lowercase() || char == '_';
            used.extend(names.split(',').map(|name| {
                let name = name.trim_start();
                name[..name.find(|char| !is_part(char)).unwrap_or(name.len())].to_owned()
            }));
        }
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, used) in &mut imports {
        used.retain(|name| modules.contains(name) && name != module);
    }
    imports
}

/// The modules that use one that uses them, even by others, and those that use such ones.
fn in_circles(mut left: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        // Whatever uses nothing that is left is in no circle.
        let done: Vec<String> = left
            .iter()
            .filter(|(_, used)| used.iter().all(|name| !left.contains_key(name)))
            .map(|(name, _)| name.clone())
            .collect();
        if done.is_empty() {
            return left;
        }
        for name in &done {
            left.remove(name);
        }
    }
}

/// Every file of code.
fn sources(project: &Path) -> io::Result<Vec<Source>> {
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        collect(project, &project.join(directory), &mut found)?;
    }
    // Modules that a file declares for unit tests, and what lies below them.
    let mut tests = Vec::new();
    for Source { path, text, .. } in &found {
        let module = path.trim_end_matches(".rs");
        let declared = text.split("#[cfg(test)]\nmod ").skip(1);
        let declared = declared.filter_map(|rest| rest.split_once(';'));
        tests.extend(declared.map(|(test, _)| format!("{module}/{test}")));
    }
    for source in &mut found {
        let module = source.path.trim_end_matches(".rs");
        let is_below = |it: &String| module == it || module.starts_with(&format!("{it}/"));
        source.is_test = source.path.starts_with("tests/") || tests.iter().any(is_below);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn collect(project: &Path, directory: &Path, found: &mut Vec<Source>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(project, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let within = path.strip_prefix(project).unwrap_or(&path);
            found.push(Source {
                path: within.to_string_lossy().into_owned(),
                text: fs::read_to_string(&path)?,
                is_test: false,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            is_test: false,
        }
    }

    #[test]
    fn modules_of_src_do_not_use_each_other_in_circles() {
        let imports = imports(&sources(&setup::workspace()).unwrap());
        assert!(imports["plan"].contains("diff"), "{imports:?}");
        let none = BTreeMap::new();
        assert_eq!(in_circles(imports), none);
    }

    #[test]
    fn a_circle_is_found_by_whatever_way_it_goes() {
        let sources = [
            source("src/a.rs", "use crate::{b::C,\n d};\n"),
            source("src/b/part.rs", "// crate::a\nfn b() { crate::e::f() }\n"),
            source("src/e.rs", "use crate::a::G;\n"),
            source(
                "src/d.rs",
                "fn d() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
            ),
        ];
        let circle = in_circles(imports(&sources));
        assert_eq!(circle.into_keys().collect::<Vec<_>>(), ["a", "b", "e"]);
    }

    #[test]
    fn unit_tests_are_no_product_lines() {
        let mut all = vec![
            source("src/a.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"),
            source("src/a/part.rs", "fn b() {}\n"),
            source("xtask/src/nodes/c.rs", "fn c() {}\n"),
        ];
        all[1].is_test = true;
        let lines = |product, tests| Lines { product, tests };
        let expected = [("src/a", lines(1, 5)), ("xtask", lines(1, 0))];
        assert_eq!(rooms(&all), BTreeMap::from(expected));
    }
}
