//! Promises about what a user may write into a flag or a variable: it arrives at the process byte
//! for byte, through a real systemd, or it is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kinstall::template::{environment_assignment, exec_argument};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::bed::Bed;

/// How many values one unit carries, and how many units are tried.
const VALUES: usize = 200;
const UNITS: usize = 5;

/// Values that have gone wrong somewhere before.
const KNOWN: &[&str] = &[
    "",
    " ",
    "%",
    "%%",
    "%n",
    "100%",
    "$",
    "$$",
    "$HOME",
    "${HOME}",
    "a$$b",
    "\\",
    "\\\\",
    "\\n",
    "\\x41",
    "a\\",
    "\"",
    "'",
    "\"'\"",
    "it's",
    ";",
    " ; ",
    "#",
    "# no comment",
    "a b  c",
    "\t",
    "-",
    "--",
    "@x",
    "+x",
    "!x",
    ":x",
    "|",
    "&& reboot",
    "$(reboot)",
    "`reboot`",
    "*",
    "~",
    "grün",
    "日本語",
    "🦀",
    "\u{a0}",
    "e\u{301}",
    "{{cluster.name}}",
    "\\$x",
    "\\%n",
    "%\\",
    "\"\\",
    "=",
    "a=b=c",
    ",",
];

/// Any line: much of what systemd has a meaning for, some of what it has none for.
fn values() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "%", "$", "\\", "\"", "'", " ", "\t", ";", "#", "{", "}", "n", "x41", "HOME", "-", "=",
        "é", "\u{3000}", "🦀",
    ]);
    prop_oneof![
        8 => prop::collection::vec(odd, 0..12).prop_map(|parts| parts.concat()),
        3 => "[^\\p{Cc}]{0,40}",
        1 => "[ -~]{2000,4000}",
    ]
}

/// Values for one unit; the first ones are the known ones.
fn batch(runner: &mut TestRunner) -> Vec<String> {
    let drawn = (0..VALUES).map(|_| values().new_tree(runner).unwrap().current());
    KNOWN
        .iter()
        .map(|value| (*value).to_owned())
        .chain(drawn)
        .collect()
}

/// Runs a unit on a node and gives back what it wrote, cut at each zero byte.
#[track_caller]
fn ran(bed: &Bed, unit: &str) -> Vec<String> {
    let text = STANDARD.encode(unit);
    // The text goes in pieces: one argument of a command is no longer than 128 KiB.
    bed.on("node1", "rm -f /run/quoting.b64 /run/quoting.out");
    for piece in text.as_bytes().chunks(60_000) {
        let piece = std::str::from_utf8(piece).unwrap();
        bed.on("node1", &format!("printf %s {piece} >>/run/quoting.b64"));
    }
    let script = "base64 -d </run/quoting.b64 >/run/systemd/system/quoting.service \
                  && systemctl daemon-reload && systemctl start quoting.service \
                  && base64 -w0 /run/quoting.out; code=$?; \
                  rm -f /run/systemd/system/quoting.service /run/quoting.*; \
                  systemctl daemon-reload; exit $code";
    let output = bed.on("node1", script);
    let bytes = STANDARD.decode(output.trim()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let mut words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(words.pop().as_deref(), Some(""));
    words
}

#[track_caller]
fn assert_arrived(sent: &[String], arrived: &[String]) {
    for (sent, arrived) in sent.iter().zip(arrived) {
        assert_eq!(sent, arrived);
    }
    assert_eq!(sent.len(), arrived.len());
}

#[test]
fn every_flag_arrives_byte_for_byte() {
    let Some(bed) = Bed::take("every_flag_arrives_byte_for_byte") else {
        return;
    };
    let mut runner = TestRunner::deterministic();
    for _ in 0..UNITS {
        // As flags, and alone, as an argument could stand too.
        let values = batch(&mut runner);
        let flags = values.iter().map(|value| format!("--flag={value}"));
        let sent: Vec<String> = values.iter().cloned().chain(flags).collect();
        let quoted = sent
            .iter()
            .map(|word| format!(" \\\n    {}", exec_argument(word).unwrap()));
        let command: String = quoted.collect();
        let unit = format!(
            "[Service]\nType=oneshot\nStandardOutput=file:/run/quoting.out\n\
             ExecStart=/usr/bin/printf \"%%s\\\\0\"{command}\n"
        );
        assert_arrived(&sent, &ran(&bed, &unit));
    }
}

#[test]
fn every_variable_arrives_byte_for_byte() {
    let Some(bed) = Bed::take("every_variable_arrives_byte_for_byte") else {
        return;
    };
    let mut runner = TestRunner::deterministic();
    for _ in 0..UNITS {
        let named = batch(&mut runner).into_iter().enumerate();
        let named: Vec<_> = named
            .map(|(index, value)| (format!("VARIABLE_{index:04}"), value))
            .collect();
        let lines = named.iter().map(|(name, value)| {
            format!(
                "Environment={}\n",
                environment_assignment(name, value).unwrap()
            )
        });
        let lines: String = lines.collect();
        let unit = format!(
            "[Service]\nType=oneshot\nStandardOutput=file:/run/quoting.out\n{lines}\
             ExecStart=/bin/cat /proc/self/environ\n"
        );
        let mut arrived = ran(&bed, &unit);
        arrived.retain(|assignment| assignment.starts_with("VARIABLE_"));
        arrived.sort();
        let sent = named.iter().map(|(name, value)| format!("{name}={value}"));
        assert_arrived(&sent.collect::<Vec<_>>(), &arrived);
    }
}
