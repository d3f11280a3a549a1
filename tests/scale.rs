//! Promises about clusters of many nodes: a node more costs the same, however many there are.

use std::fmt::Write as _;
use std::process::Command;

use crate::lab::Lab;

/// By how much four times the nodes may take longer: what grows with their square takes sixteen times
/// as long.
const RATIO_MAX: f64 = 8.0;

#[test]
fn a_node_more_costs_the_same_however_many_there_are() {
    for words in ["check inventory.toml", "render inventory.toml --out out"] {
        let [few, many] = [60, 240].map(|nodes| seconds(nodes, words));
        assert!(many / few < RATIO_MAX, "{words}: {few} s, then {many} s");
    }
}

/// The processor's time that a command takes for so many nodes, most of them workers.
fn seconds(nodes: usize, words: &str) -> f64 {
    let lab = Lab::empty();
    let mut text = "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n".to_owned();
    for node in 0..nodes {
        let (high, low) = (node / 200, node % 200 + 1);
        let roles = if node < 3 {
            ""
        } else {
            "roles = [\"worker\"]\n"
        };
        _ = write!(
            text,
            "[[node]]\nname = \"n{node}\"\naddress = \"10.0.{high}.{low}\"\narch = \"arm64\"\n{roles}"
        );
    }
    lab.write(&text);
    let script = format!("\"$0\" {words} >/dev/null 2>said || {{ cat said; exit 1; }}; times");
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_kinstall")])
        .current_dir(lab.path(""))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    // `times` of POSIX: of the shell, then of what it ran; each in user's and the system's time.
    let all = told.lines().nth(1).unwrap().split(' ').map(|time| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
        60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
    });
    all.sum()
}
