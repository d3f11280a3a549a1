//! Promises of the documents: every link leads somewhere, every command line and every inventory in
//! them is one that the program takes, and the exit codes are those that it has.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

use crate::lab::Lab;

/// What a part of an inventory is added to; its node has every word that a pattern may name.
const BASE: &str = r#"
cluster = { name = "home", kubernetes = "1.32.3" }
[[node]]
name = "az1"
zone = "1"
address = "10.0.12.1"
domain = "az1.k8s.home"
"#;

/// A document: its path, what is not fenced in it, and the language and text of what is.
#[derive(Default)]
struct Document {
    path: String,
    prose: String,
    blocks: Vec<(String, String)>,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(project().join(path)).unwrap()
}

fn documents() -> Vec<Document> {
    let mut paths = vec!["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
    let chapters = fs::read_dir(project().join("docs")).unwrap();
    let chapters = chapters.map(|it| format!("docs/{}", it.unwrap().file_name().display()));
    let chapters: Vec<String> = chapters.collect();
    paths.extend(chapters.iter().map(String::as_str));
    paths.into_iter().map(Document::of).collect()
}

impl Document {
    fn of(path: &str) -> Self {
        let mut document = Self::default();
        path.clone_into(&mut document.path);
        for (index, part) in read(path).split("```").enumerate() {
            match part.split_once('\n') {
                Some((language, text)) if index % 2 == 1 => {
                    document.blocks.push((language.to_owned(), text.to_owned()));
                }
                _ => document.prose += part,
            }
        }
        document
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let anchor = |heading: &str| {
            let text = heading.trim_matches(['#', ' ']).to_lowercase();
            let is_odd = |it: char| !it.is_alphanumeric() && !"-_".contains(it);
            text.replace(' ', "-").replace(is_odd, "")
        };
        headings.map(anchor).collect()
    }

    /// Where its links lead.
    fn links(&self) -> Vec<String> {
        let bare: String = self.prose.split('`').step_by(2).collect();
        let links = bare.split("](").skip(1);
        let links = links.map(|rest| rest.split(')').next().unwrap());
        links.map(str::to_owned).collect()
    }

    /// The command lines of kinstall in it.
    fn commands(&self) -> Vec<&str> {
        let spans = self.prose.split('`').skip(1).step_by(2);
        let shell = self.blocks.iter().flat_map(|(language, text)| {
            let prompt = if language == "console" { "$ " } else { "" };
            let is_shell = ["sh", "console"].contains(&language.as_str());
            let lines = text.lines().filter(move |_| is_shell);
            lines.filter_map(move |line| line.strip_prefix(prompt))
        });
        let all = spans.chain(shell);
        all.filter_map(|it| it.strip_prefix("kinstall ")).collect()
    }
}

#[test]
fn every_link_leads_somewhere() {
    let (documents, mut wrong) = (documents(), Vec::new());
    for document in &documents {
        let at = document.path.rsplit_once('/');
        let (at, own) = at.unwrap_or((".", &document.path));
        for link in document.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = if path.is_empty() { own } else { path };
            let target = fs::canonicalize(project().join(at).join(path)).unwrap_or_default();
            let mut targets = documents.iter().filter(|it| target.ends_with(&it.path));
            let is_there = path.starts_with("http")
                || target.exists() && anchor.is_empty()
                || targets.any(|it| it.anchors().iter().any(|it| it == anchor));
            if !is_there {
                wrong.push(format!("{}: `{link}` leads nowhere", document.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let (lab, documents, mut wrong) = (Lab::empty(), documents(), Vec::new());
    let commands = documents.iter().flat_map(Document::commands);
    for line in commands.collect::<BTreeSet<_>>() {
        let words = line.split(' ').map(|word| word.trim_matches(['[', ']']));
        let words: Vec<&str> = words.take_while(|it| !it.starts_with(['#', '>'])).collect();
        let (mut depth, mut help) = (0, String::new());
        while depth <= words.len() {
            let ask = words[..depth].iter().chain(&["--help"]);
            help = lab.run(ask).exits(0).stdout;
            let known = subcommands(&help);
            match words.get(depth) {
                Some(word) if known.contains(word) => depth += 1,
                Some(word) if !known.is_empty() => {
                    wrong.push(format!("`kinstall {line}`: there is no `{word}`"));
                    break;
                }
                _ => break,
            }
        }
        let flags = words.iter().filter(|word| word.starts_with("--"));
        let flags = flags.filter_map(|flag| flag.split(['=', '[']).next());
        let unknown = flags.filter(|flag| !options(&help).contains(flag));
        wrong.extend(unknown.map(|flag| format!("`kinstall {line}`: there is no `{flag}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The commands that a help lists.
fn subcommands(help: &str) -> Vec<&str> {
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    words.collect()
}

/// The long flags that a help lists.
fn options(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start);
    let lines = lines.filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '=', '[', '<']));
    words.collect()
}

#[test]
fn every_inventory_is_one_that_the_program_takes() {
    let (lab, mut count) = (Lab::empty(), 0);
    for Document { path, blocks, .. } in documents() {
        for (_, text) in blocks.iter().filter(|(it, _)| it == "toml") {
            let base = if text.contains("[cluster]") { "" } else { BASE };
            lab.write(&format!("{base}{text}"));
            let checked = lab.run(["check", "inventory.toml", "--offline"]);
            assert_eq!(checked.code, Some(0), "{path}:\n{text}\n{checked}");
            count += 1;
        }
    }
    assert!(count > 10, "there are only {count} inventories");
}

#[test]
fn the_exit_codes_are_those_that_the_program_has() {
    let (table, source) = (read("docs/exit-codes.md"), read("src/failure.rs"));
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter_map(|row| row.split(' ').next());
    let (_, variants) = source.split_once("pub enum Exit {").unwrap();
    let variants = variants.lines().take_while(|line| *line != "}");
    let codes = variants.filter_map(|line| line.trim_end_matches(',').split(" = ").nth(1));
    let rows: BTreeSet<u8> = rows.filter_map(|it| it.parse().ok()).collect();
    let codes: BTreeSet<u8> = codes.filter_map(|it| it.parse().ok()).collect();
    assert!(codes.len() > 5);
    assert_eq!(rows, codes, "in the table, and in the program");
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 120, "README.md has {lines} lines");
}

/// How many of the newest lines of Kubernetes an example may name: those that upstream looks after, and
/// the one to come.
const LINES_OF_EXAMPLES: u64 = 4;
/// The last line that was built for 32-bit ARM.
const ARMHF: &str = "inventories/home-lab-armhf.toml";

#[test]
fn examples_name_lines_of_kubernetes_that_are_looked_after() {
    let newest = *kinstall::inventory::pairing::KUBERNETES.end();
    let lab = Lab::empty();
    lab.run(["init"]).exits(0);
    let starter = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    let mut texts = vec![("the starter".to_owned(), starter)];
    let examples = fs::read_dir(project().join("inventories")).unwrap();
    let examples = examples.map(|it| format!("inventories/{}", it.unwrap().file_name().display()));
    let documents = documents().into_iter().map(|document| document.path);
    let paths = examples.filter(|path| path != ARMHF).chain(documents);
    texts.extend(paths.map(|path| (path.clone(), read(&path))));
    let mut named = 0;
    for (place, text) in &texts {
        for before in ["kubernetes = \"", "--through ", "--kubernetes "] {
            for rest in text.split(before).skip(1) {
                let end = rest.find(|char: char| !char.is_ascii_digit() && !".,".contains(char));
                for version in rest[..end.unwrap_or(rest.len())].split(',') {
                    let Some(line) = version.strip_prefix("1.") else {
                        continue;
                    };
                    let line: u64 = line.split('.').next().unwrap().parse().unwrap();
                    assert!(line > newest - LINES_OF_EXAMPLES, "{place}: {version}");
                    named += 1;
                }
            }
        }
    }
    assert!(named > 8, "{named}");
}
