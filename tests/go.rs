//! What kinstall says of a chain of certificates is what Go says: random chains, most of them with
//! something odd about them, are judged by both.

mod chain;
mod der;
mod key;
mod part;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use kinstall::certificate::Usage;
use kinstall::certificate::path::{Go, Presented, Refusal};
use kinstall::inventory::San;

use chain::{Case, Dice};
use key::Keys;

/// The variable that says how many chains are judged.
const VARIABLE: &str = "KINSTALL_GO_CASES";
const CASES: u64 = 2000;

/// Where the verdicts may differ, and why.
struct Row {
    applies: fn(&Case, &Result<(), Refusal>) -> bool,
    why: &'static str,
}

const DIFFERENCES: [Row; 0] = [];

#[test]
fn chains_are_judged_as_go_judges_them() {
    let Some((program, go)) = judge() else {
        println!("NOT RUN: chains_are_judged_as_go_judges_them: there is no `go` here");
        return;
    };
    let cases = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok());
    let cases = cases.unwrap_or(CASES);
    let keys = Keys::make();
    let halves = std::thread::scope(|scope| {
        let (program, keys) = (&program, &keys);
        let half = |first: u64| move || compare(program, go, keys, (first..cases).step_by(2));
        let other = scope.spawn(half(1));
        [half(0)(), other.join().unwrap()]
    });
    let differences: Vec<&String> = halves.iter().flat_map(|half| &half.differences).collect();
    let sum = |of: fn(&Tally) -> usize| halves.iter().map(of).sum::<usize>();
    println!(
        "{cases} chains judged as Go 1.{} judges them, for three uses each: {} accepted, {} refused, {} explained",
        go.0,
        sum(|it| it.accepted),
        sum(|it| it.refused),
        sum(|it| it.explained),
    );
    let shown = differences.iter().take(10).map(|text| format!("\n{text}"));
    assert!(
        differences.is_empty(),
        "{} differences:{}",
        differences.len(),
        shown.collect::<String>()
    );
    // A generator that made nothing but junk would prove little.
    let (accepted, refused) = (sum(|it| it.accepted), sum(|it| it.refused));
    assert!(accepted * 6 > refused && refused * 6 > accepted);
}

#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    explained: usize,
    differences: Vec<String>,
}

fn compare(program: &Path, go: Go, keys: &Keys, seeds: impl Iterator<Item = u64>) -> Tally {
    let mut process = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut tally = Tally::default();
    for seed in seeds {
        let case = Case::make(&mut Dice::new(seed), keys);
        input.write_all(&message(&case)).unwrap();
        let answer = lines.next().unwrap().unwrap();
        let theirs: Vec<bool> = answer.bytes().take(3).map(|byte| byte == b'1').collect();
        for (ours, theirs) in verdicts(&case, go).into_iter().zip(theirs) {
            if ours.is_ok() == theirs {
                tally.accepted += usize::from(theirs);
                tally.refused += usize::from(!theirs);
                continue;
            }
            let row = DIFFERENCES.iter().find(|row| (row.applies)(&case, &ours));
            if let Some(row) = row {
                assert!(!row.why.is_empty());
                tally.explained += 1;
                continue;
            }
            let ours = ours.map_err(|refusal| refusal.to_string());
            tally.differences.push(format!(
                "seed {seed}: kinstall {ours:?}, Go {answer}\n  {}",
                case.told()
            ));
        }
    }
    drop(input);
    assert!(process.wait().unwrap().success());
    tally
}

/// For a DNS name, for an address, and as a client.
fn verdicts(case: &Case, go: Go) -> [Result<(), Refusal>; 3] {
    let pem = |all: &[Vec<u8>]| -> String {
        let lines = |der: &Vec<u8>| {
            let text = STANDARD.encode(der);
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                lines.join("\n")
            )
        };
        all.iter().map(lines).collect()
    };
    let presented = Presented::new(&pem(&case.chain), &pem(&case.roots), go, case.now);
    let presented = match presented {
        Ok(presented) => presented,
        Err(refusal) => return [0; 3].map(|_| Err(refusal.clone())),
    };
    [
        presented.verify(Usage::Server, Some(&San::Dns(case.name.parse().unwrap()))),
        presented.verify(Usage::Server, Some(&San::Ip(case.address.parse().unwrap()))),
        presented.verify(Usage::Client, None),
    ]
}

fn message(case: &Case) -> Vec<u8> {
    let mut bytes = Vec::new();
    let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    bytes.extend(number(usize::try_from(case.now).unwrap()));
    for list in [&case.roots, &case.chain] {
        bytes.extend(number(list.len()));
        for der in list {
            bytes.extend(number(der.len()));
            bytes.extend(der);
        }
    }
    for text in [case.name, case.address] {
        bytes.extend(number(text.len()));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The program of `tests/go_verify`, built, and the Go that it is built with.
fn judge() -> Option<(PathBuf, Go)> {
    let version = Command::new("go")
        .args(["env", "GOVERSION"])
        .output()
        .ok()?;
    let version = String::from_utf8(version.stdout).ok()?;
    let minor = version
        .trim()
        .strip_prefix("go1.")?
        .split(['.', 'r'])
        .next()?;
    let go = Go(minor.parse().ok()?);
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("go");
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("judge");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg("main.go")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go_verify"))
        .env("GOCACHE", directory.join("cache"))
        .env("GO111MODULE", "auto")
        .env("CGO_ENABLED", "0")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    Some((program, go))
}
