//! What a user is told about an inventory, case by case, and what holds where nothing is said.

mod accepted;
mod arbitrary;

use std::fmt::Write as _;
use std::path::Path;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use super::{Inventory, Problem, Problems};

/// Stands between an inventory and what is said of it, and between two cases.
const ARROW: &str = "\n---- is told ----\n";
const END: &str = "\n================\n";

/// The shorthands of the cases, so that each shows only what it is about.
const SHORTHANDS: [(&str, &str); 5] = [
    (
        "@cluster",
        "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"",
    ),
    ("@az1", "[[node]]\nname = \"az1\"\naddress = \"10.0.12.1\""),
    ("@az2", "[[node]]\nname = \"az2\"\naddress = \"10.0.22.1\""),
    ("@az3", "[[node]]\nname = \"az3\"\naddress = \"10.0.32.1\""),
    ("@az4", "[[node]]\nname = \"az4\"\naddress = \"10.0.42.1\""),
];

fn expanded(text: &str) -> String {
    let expand = |text: String, (short, long): (&str, &str)| text.replace(short, long);
    SHORTHANDS.into_iter().fold(text.to_owned(), expand)
}

fn parse(text: &str) -> Result<(Inventory, Vec<Problem>), Problems> {
    Inventory::parse(text, "inventory.toml", Path::new("/lab"))
}

fn accepted(text: &str) -> Inventory {
    match parse(&expanded(text)) {
        Ok((inventory, _)) => inventory,
        Err(problems) => panic!("{}", report(&problems)),
    }
}

/// Checks each case of a file: an inventory, and what is said of it. With `UPDATE_GOLDEN=1` the
/// file is rewritten, to be reviewed as code is.
fn check_cases(name: &str, cases: &str, render: fn(&str) -> String) {
    let mut told = String::new();
    for case in cases.split_terminator(END) {
        let (input, _) = case.split_once(ARROW).unwrap_or((case, ""));
        let output = render(&expanded(input.trim_matches('\n')));
        write!(told, "{input}{ARROW}{}{END}", output.trim_end()).unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inventory/tests");
        fs_err::write(directory.join(name), &told).unwrap();
    } else {
        assert_same(cases, &told);
    }
}

/// Shows what differs rather than two long texts.
#[track_caller]
fn assert_same(expected: &str, told: &str) {
    let diff = similar::TextDiff::from_lines(expected, told);
    let diff = diff.unified_diff().context_radius(8).to_string();
    assert!(expected == told, "what is told has changed:\n{diff}");
}

/// Each problem in a few lines, with the words of the file that it points at.
fn brief(text: &str) -> String {
    match parse(text) {
        Ok((_, warnings)) if warnings.is_empty() => "accepted".to_owned(),
        Ok((_, warnings)) => {
            let warnings = Problems::new("inventory.toml", text, warnings);
            warnings.iter().map(|it| brief_problem(text, it)).collect()
        }
        Err(problems) => problems.iter().map(|it| brief_problem(text, it)).collect(),
    }
}

fn brief_problem(text: &str, problem: &Problem) -> String {
    let kind = if problem.is_warning() {
        "warning"
    } else {
        "error"
    };
    let mut told = format!("{kind}: {problem}\n");
    for label in problem.labels().unwrap() {
        let words = &text[label.offset()..label.offset() + label.len()];
        let label = label.label().unwrap();
        writeln!(told, "  at `{}`: {label}", words.escape_debug()).unwrap();
    }
    if let Some(help) = problem.help_text() {
        writeln!(told, "  help: {help}").unwrap();
    }
    told
}

/// A report as a terminal without colours shows it.
fn report(diagnostic: &dyn Diagnostic) -> String {
    let theme = GraphicalTheme::unicode_nocolor();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(90);
    let mut text = String::new();
    handler.render_report(&mut text, diagnostic).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn whole_report(text: &str) -> String {
    match parse(text) {
        Ok((_, warnings)) => report(&Problems::new("inventory.toml", text, warnings)),
        Err(problems) => report(&problems),
    }
}

#[test]
fn keys_and_types_that_are_wrong_are_all_told() {
    check_cases("keys.txt", include_str!("tests/keys.txt"), brief);
}

#[test]
fn values_that_are_wrong_are_told_with_a_way_out() {
    check_cases("values.txt", include_str!("tests/values.txt"), brief);
}

#[test]
fn parts_that_do_not_fit_each_other_are_told() {
    check_cases("fit.txt", include_str!("tests/fit.txt"), brief);
}

#[test]
fn a_report_shows_every_problem_in_the_text() {
    check_cases(
        "reports.txt",
        include_str!("tests/reports.txt"),
        whole_report,
    );
}

#[test]
fn a_flag_too_long_for_an_argument_is_refused() {
    for (length, bytes) in [(8192, None), (8193, Some("`v` holds 8193 bytes"))] {
        let flag = format!("v = \"{}\"", "x".repeat(length));
        let text = expanded(&format!("@cluster\n[component.etcd.flags]\n{flag}\n@az1"));
        let told = parse(&text).err().map(|problems| {
            let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
            told.join("; ")
        });
        assert_eq!(told.as_deref(), bytes);
    }
}
