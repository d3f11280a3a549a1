//! The rules of the house that a compiler does not know.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

/// Modules that do no input or output, are not async and read no clock; see ARCHITECTURE.md.
const CORE: [&str; 33] = [
    "arch",
    "digest",
    "image",
    "plain",
    "remote_path",
    "secret",
    "version",
    "yaml",
    "inventory",
    "lockfile",
    "artifact",
    "certificate",
    "check",
    "component",
    "encryption",
    "etcd_data",
    "etcd_users",
    "flags",
    "kubeconfig",
    "template",
    "machine",
    "manifest",
    "membership",
    "node_config",
    "node_object",
    "snapshot",
    "action",
    "diff",
    "plan",
    "preflight",
    "removal",
    "script",
    "journal",
];
/// What none of them may say, with what it stands for.
const IMPURE: [&str; 12] = [
    "tokio::",
    "async fn",
    ".await",
    "std::fs",
    "fs_err",
    "SystemTime",
    "Instant",
    "now_utc",
    "std::env",
    "std::net::Tcp",
    "std::process",
    "println!",
];
/// The modules around them, which they may not know.
const EDGES: [&str; 10] = [
    "crate::apply",
    "crate::authority",
    "crate::cli",
    "crate::engine",
    "crate::failure",
    "crate::probe",
    "crate::survey",
    "crate::terminal",
    "crate::transport",
    "fetch::run",
];
/// The most lines that a file of code may have.
const LINES_MAX: usize = 500;
/// Files that are longer, and why.
const LONG: [(&str, &str); 2] = [
    (
        "src/plan/model.rs",
        "a whole cluster as a model for unit tests: it is read from end to end, or not at all",
    ),
    (
        "src/manifest/compose/tests.rs",
        "rows of what a manifest holds",
    ),
];

/// Licences of what is linked into kinstall.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below directories of the project with one of these extensions: its path within the
/// project, and its text.
fn files(directories: &[&str], extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for directory in directories {
        collect(&project().join(directory), extension, &mut found);
    }
    assert!(!found.is_empty(), "{directories:?} have no {extension}");
    found.sort();
    found
}

fn collect(directory: &Path, extension: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, found);
        } else if path.extension().is_some_and(|its| its == extension) {
            let name = path
                .strip_prefix(project())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The files below `src` that are compiled for unit tests alone: those of modules that are declared
/// so, and the ones below them.
fn unit_tests() -> Vec<String> {
    let all = files(&["src"], "rs");
    let mut roots = Vec::new();
    for (name, text) in &all {
        let module = name.trim_end_matches(".rs");
        let declared = text.split("#[cfg(test)]\n").skip(1);
        let declared = declared.filter_map(|rest| rest.strip_prefix("mod ")?.split_once(';'));
        roots.extend(declared.map(|(test, _)| format!("{module}/{test}")));
    }
    let names = all.into_iter().map(|(name, _)| name);
    names
        .filter(|name| {
            let below = |root: &String| {
                *name == format!("{root}.rs") || name.starts_with(&format!("{root}/"))
            };
            roots.iter().any(below)
        })
        .collect()
}

/// The code of a file: without its unit tests and its comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("\n#[cfg(test)]\nmod tests {");
    let lines = text[..tests.unwrap_or(text.len())].lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

#[track_caller]
fn assert_none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

#[test]
fn core_modules_are_pure() {
    let tests = unit_tests();
    let mut wrong = Vec::new();
    for (name, text) in files(&["src"], "rs") {
        let module = name.trim_start_matches("src/").trim_end_matches(".rs");
        let module = module.split('/').next().unwrap();
        if tests.contains(&name) || !CORE.contains(&module) {
            continue;
        }
        for (line, words) in code(&text) {
            for word in IMPURE.iter().chain(&EDGES) {
                if words.contains(word) {
                    wrong.push(format!("{name}:{line}: {}", words.trim()));
                }
            }
        }
    }
    assert_none(
        &wrong,
        "core modules do no input or output, and know no edge",
    );
}

#[test]
fn every_module_says_what_it_is() {
    let all = files(
        &["src", "tests", "xtask/src", "standin/src", "mite/src"],
        "rs",
    );
    let silent = all.iter().filter(|(_, text)| !text.starts_with("//! "));
    let wrong: Vec<_> = silent.map(|(name, _)| name.clone()).collect();
    assert_none(&wrong, "a file begins with `//!`");
}

#[test]
fn no_file_is_too_long() {
    let all = files(
        &["src", "tests", "xtask/src", "standin/src", "mite/src"],
        "rs",
    );
    let long = all.iter().filter(|(name, text)| {
        text.lines().count() > LINES_MAX && !LONG.iter().any(|(it, _)| it == name)
    });
    let wrong: Vec<_> = long
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    assert_none(&wrong, "a file has at most 500 lines");
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["todo!", "dbg!", "unimplemented!", "FIXME", "TODO", "XXX"];
    let mut wrong = Vec::new();
    let mut all = files(&["src", "xtask/src", "standin/src", "mite/src"], "rs");
    all.extend(files(&["src/script"], "sh"));
    for (name, text) in all {
        for (index, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(&wrong, "nothing is left for later");
}

#[test]
fn one_thing_is_not_told_as_many() {
    // A number that may be 1 goes through `plain::count`. The limits of this project are not 1.
    let nouns = [
        "certificates",
        "changes on",
        "days",
        "entries",
        "files",
        "images",
        "nodes",
        "objects",
        "programs",
        "seconds",
        "services",
        "values",
    ];
    let tests = unit_tests();
    let mut wrong = Vec::new();
    let all = files(&["src"], "rs").into_iter();
    for (name, text) in all.filter(|(name, _)| !tests.contains(name)) {
        for (line, words) in code(&text) {
            for noun in nouns {
                let told = words.match_indices(&format!("}} {noun}")).any(|(end, _)| {
                    let number = words[..end].rsplit('{').next().unwrap_or_default();
                    !number.to_lowercase().ends_with("max")
                });
                if told {
                    wrong.push(format!("{name}:{line}: {}", words.trim()));
                }
            }
        }
    }
    assert_none(&wrong, "`1 node`, not `1 nodes`: `plain::count`");
}

#[test]
fn only_the_terminal_prints_and_only_what_is_plain() {
    let prints = [
        "println!",
        "print!(",
        "write(std::io::std",
        "io::stderr().write",
        "io::stdout().write",
        ".println(",
        ".set_message(",
        ".with_prefix(",
        "error.print()",
        "GraphicalReportHandler::",
        "print_exactly(",
        "/dev/tty",
    ];
    // What needs no filter, and why.
    let exceptions = [
        // Data for files: what kinstall itself wrote, byte for byte.
        (
            "src/terminal.rs",
            "pub fn print_exactly(&self, data: &str) {",
        ),
        ("src/terminal.rs", "write(std::io::stdout(), data);"),
        ("src/cli/kubeconfig.rs", "terminal.print_exactly("),
        ("src/cli/completions.rs", "terminal.print_exactly("),
        ("src/cli/man.rs", "terminal.print_exactly("),
        // With colour, after the same without was found to be plain.
        ("src/terminal.rs", "write(std::io::stdout(), &text(true));"),
        ("src/terminal.rs", "write(std::io::stderr(), &colored);"),
        ("src/terminal.rs", "_ = error.print();"),
        // Into a text.
        ("src/terminal.rs", "let handler = GraphicalReportHandler::"),
    ];
    let tests = unit_tests();
    let mut wrong = Vec::new();
    for (name, text) in files(&["src"], "rs") {
        if tests.contains(&name) {
            continue;
        }
        for (line, words) in code(&text) {
            let filtered = name.starts_with("src/terminal") && words.contains("plain::");
            let excepted = exceptions
                .iter()
                .any(|(file, start)| *file == name && words.trim().starts_with(start));
            let may = filtered || excepted;
            if !may && prints.iter().any(|it| words.contains(it)) {
                wrong.push(format!("{name}:{line}: {}", words.trim()));
            }
        }
    }
    assert_none(&wrong, "only the terminal prints, and through `plain`");
}

#[test]
fn no_script_works_where_others_can_write() {
    let mut wrong = Vec::new();
    for (name, text) in files(&["src/script"], "sh") {
        for (index, line) in text.lines().enumerate() {
            // A directory of its own below kinstall's, which is root's alone.
            let line = line.replace("mktemp -d -p \"$state\"", "");
            let places = ["/tmp", "mktemp", "TMPDIR", "/dev/shm"];
            if places.iter().any(|place| line.contains(place)) {
                wrong.push(format!("{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(
        &wrong,
        "scripts work by pipes, or below the state directory",
    );
}

#[test]
fn every_script_and_template_is_used() {
    let sources: String = files(&["src"], "rs")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let mut wrong = Vec::new();
    for (name, _) in files(&["src/script"], "sh") {
        let stem = Path::new(&name)
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !sources.contains(&format!("\"{stem}\"")) {
            wrong.push(name);
        }
    }
    for (name, _) in files(&["templates"], "hbs") {
        let below = name
            .trim_start_matches("templates/")
            .trim_end_matches(".hbs");
        let file = Path::new(below).file_name().unwrap().to_str().unwrap();
        if !sources.contains(&format!("{file}.hbs")) && !sources.contains(&format!("{file}\"")) {
            wrong.push(name);
        }
    }
    assert_none(&wrong, "every script and every template is used");
}

#[test]
fn scripts_are_plain_sh() {
    let mut wrong = Vec::new();
    for (name, text) in files(&["src/script"], "sh") {
        if !text.starts_with("# ") {
            wrong.push(format!("{name} does not say what it does"));
        }
        let checked = Command::new("sh")
            .arg("-n")
            .arg(project().join(&name))
            .output();
        let checked = checked.unwrap();
        if !checked.status.success() {
            wrong.push(format!(
                "{name}: {}",
                String::from_utf8_lossy(&checked.stderr)
            ));
        }
    }
    assert_none(&wrong, "scripts are sh");
}

#[test]
fn every_licence_is_one_we_know() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args([
            "--filter-platform",
            &format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        ])
        .current_dir(project())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let mut wrong = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or_default();
        // One of those joined by OR is enough; of those joined by AND, each.
        let known = |words: &str| {
            words
                .split(" AND ")
                .all(|word| LICENCES.contains(&word.trim_matches(['(', ')', ' '])))
        };
        let parts = licence.replace('/', " OR ");
        if licence.is_empty() || !parts.split(" OR ").any(known) {
            wrong.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert_none(&wrong, "every licence is one that we know");
}

/// Words that are not those of the trade, or not of today's English, and what is said instead.
const WORDS_OF_OLD: [(&str, &str); 6] = [
    ("anew", "again"),
    ("shall", "should, must or is to"),
    ("not come to be", "failed"),
    ("way_out", "help"),
    ("foresee", "preview"),
    ("of another day", "different, or earlier"),
];

#[test]
fn words_of_old_do_not_come_back() {
    let mut wrong = Vec::new();
    let mut all = files(&["src", "xtask/src"], "rs");
    all.extend(files(&["docs"], "md"));
    // A text that stands in lockfiles of old.
    all.retain(|(name, _)| !name.starts_with("src/lockfile/"));
    all.extend(files(&["src/script"], "sh"));
    for (name, text) in all {
        for (index, line) in text.lines().enumerate() {
            let words = line.split(|char: char| !char.is_alphanumeric() && char != '_');
            let words = format!(" {} ", words.collect::<Vec<_>>().join(" "));
            for (word, instead) in WORDS_OF_OLD {
                if words.contains(&format!(" {word} ")) {
                    wrong.push(format!("{name}:{}: `{word}`: {instead}", index + 1));
                }
            }
        }
    }
    assert_none(
        &wrong,
        "documents, messages and comments are in the terms of the trade",
    );
}
