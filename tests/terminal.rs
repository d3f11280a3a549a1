//! Promises to anyone who reads what kinstall prints: nothing that comes from a node, a server or a
//! file acts on the terminal. It is shown as an escape instead.

use fs_err as fs;

use crate::bed::{Bed, PUSH};
use crate::lab::{Lab, Output};

/// What a terminal, or a reader, would fall for.
const HOSTILE: &str = "\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{9b}8m\u{202e}txt\u{200b}\u{7f}\r";

/// Nothing in the output acts.
#[track_caller]
fn assert_plain(output: &Output) {
    let all = output.stdout.clone() + &output.stderr;
    let acts = all.chars().find(|char| kinstall::plain::acts(*char));
    assert_eq!(acts, None, "{all:?}");
}

#[test]
fn a_hostile_directory_or_journal_is_shown_and_does_nothing() {
    let lab = Lab::new();
    let into = |command: &str, more: &[&str]| {
        let mut words = vec![command, "inventory.toml", "--into", "nodes"];
        words.extend(more);
        lab.run(words)
    };
    into("push", &[]).exits(0);
    let unit = lab.path("nodes/node1/etc/systemd/system/kube-scheduler.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, format!("{text}\n# {HOSTILE}\n")).unwrap();
    let plan = into("plan", &[]).exits(3);
    assert_plain(&plan);
    plan.prints("-# \\x1b]0;PWNED\\x07\\x1b[2J\\u{9b}8m\\u{202e}txt\\u{200b}\\x7f");
    let json = into("plan", &["--json"]).exits(3);
    assert_plain(&json);
    let told = json.json();
    let entries = told["nodes"][0]["entries"].as_array().unwrap();
    let diffs: Vec<&str> = entries
        .iter()
        .filter_map(|it| it["diff"].as_str())
        .collect();
    assert!(diffs.concat().contains(HOSTILE.trim_end()), "{diffs:?}");

    // A journal that a colleague sent: a line of it stays one.
    let journal = lab.path("kinstall.history");
    let kept = fs::read_to_string(&journal).unwrap();
    let mut entry: serde_json::Value = serde_json::from_str(kept.trim()).unwrap();
    entry["who"] = format!("eve\n2026-11-28 00:00 UTC  forged {HOSTILE}").into();
    fs::write(&journal, format!("{entry}\n")).unwrap();
    let history = lab.run(["history", "inventory.toml"]).exits(0);
    assert_plain(&history);
    assert_eq!(history.stdout.lines().count(), 1, "{history}");
    let history = lab.run(["history", "inventory.toml", "--json"]).exits(0);
    assert_plain(&history);
    assert_eq!(history.json()[0]["who"], entry["who"]);
}

#[test]
fn hostile_words_of_files_and_of_the_command_line_are_shown_and_do_nothing() {
    let lab = Lab::new();
    let inventory = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    for color in ["never", "always"] {
        // Within a string, where a comment hides it, as a key, and as what a name may not be.
        for text in [
            inventory.replace("\"home\"", &format!("\"home{HOSTILE}\"")),
            inventory.replace("\"home\"", "\"ho\\u001b[2J\\u202eme\""),
            format!("# {HOSTILE}\n{inventory}"),
            inventory.replace(
                "[cluster]\n",
                "[cluster]\n\"x\\u001b[2J\\u009b\" = 1 # \u{202e}\n",
            ),
        ] {
            lab.write(&text);
            let output = lab
                .run(["check", "inventory.toml", "--color", color])
                .exits(2);
            if color == "never" {
                assert_plain(&output);
            }
            assert!(!output.stderr.contains("\u{1b}]0;"), "{output}");
            assert!(!output.stderr.contains("\u{1b}[2J"), "{output}");
            assert!(
                !output.stderr.contains(['\u{9b}', '\u{202e}', '\u{7f}']),
                "{output}"
            );
        }
    }
    lab.write(&inventory);
    for words in [
        vec!["check".to_owned(), format!("no{HOSTILE}")],
        vec![format!("no{HOSTILE}")],
        vec!["check".to_owned(), format!("--no{HOSTILE}")],
    ] {
        assert_plain(&lab.run(words).exits(2));
    }
    // Colour that is ours stays.
    lab.write(&inventory.replace("name = \"home\"", "name = 7"));
    let output = lab
        .run(["check", "inventory.toml", "--color", "always"])
        .exits(2);
    assert!(output.stderr.contains("\u{1b}["), "{output:?}");
}

#[test]
fn what_is_meant_for_a_file_is_byte_for_byte() {
    let lab = Lab::new();
    lab.run(["push", "inventory.toml", "--into", "nodes"])
        .exits(0);
    let printed = lab.run(["kubeconfig", "inventory.toml"]).exits(0);
    assert!(printed.stdout.starts_with("apiVersion: v1"), "{printed}");
    let completions = lab.run(["completions", "zsh"]).exits(0);
    assert!(completions.stdout.contains("_kinstall"));
}

/// What a hostile root has sshd run in the place of every command: it tells lies about a unit, or
/// fails with words that look like success.
const EVIL: &str = r#"#!/bin/bash
esc=$(printf '\033]0;PWNED\007\033[2J\033[1;1H\302\233\342\200\256')
case $(cat /run/evil):$SSH_ORIGINAL_COMMAND in
  lie:*)
    eval "$SSH_ORIGINAL_COMMAND" | sed -u "
      s/^show kube-scheduler.service ActiveState=.*/show kube-scheduler.service ActiveState=x${esc}all healthy/
      s/ExecMainStartTimestamp=.*/ExecMainStartTimestamp=$esc/" ;;
  fail:*) printf '%s' "${esc}nothing to do" >&2; exit 9 ;;
  *) eval "$SSH_ORIGINAL_COMMAND" ;;
esac
"#;

#[test]
fn a_hostile_node_is_shown_and_does_nothing() {
    let Some(mut bed) = Bed::take("a_hostile_node_is_shown_and_does_nothing") else {
        return;
    };
    let lab = bed.pushed();
    let unit = "/etc/systemd/system/kube-scheduler.service";
    let hurt = format!(
        "printf '\\n# \\033]0;PWNED\\007\\033[2J\\302\\233\\342\\200\\256\\n' >>{unit}
        cat >/run/evil.sh
        chmod 755 /run/evil.sh; echo lie >/run/evil
        echo ForceCommand /run/evil.sh >/etc/ssh/sshd_config.d/98-evil.conf"
    );
    let script = format!(
        "{}\n",
        hurt.replace(
            "cat >/run/evil.sh",
            &format!("cat >/run/evil.sh <<'EVIL'\n{EVIL}\nEVIL\n")
        )
    );
    bed.on(
        "node1",
        &format!("{script}kill -HUP $(cat /run/sshd.pid) && sleep 0.3"),
    );
    let run = |words: &[&str]| {
        let output = lab.run(words);
        assert_plain(&output);
        assert!(output.code != Some(0), "{output}");
        output
    };
    run(&["plan", "inventory.toml"])
        .exits(3)
        .prints("-# \\x1b]0;PWNED\\x07\\x1b[2J\\u{9b}\\u{202e}");
    run(&["status", "inventory.toml"])
        .exits(3)
        .prints("x\\x1b]0;PWNED");
    let status = run(&["status", "inventory.toml", "--json"]);
    assert!(
        status.json().to_string().contains("\\u001b]0;PWNED"),
        "{status}"
    );
    bed.on("node1", "echo fail >/run/evil");
    for words in [
        &["status", "inventory.toml"][..],
        &PUSH,
        &["plan", "inventory.toml", "--json"],
    ] {
        run(words).says("\\x1b]0;PWNED");
    }
    bed.on("node1", "rm /etc/ssh/sshd_config.d/98-evil.conf /run/evil /run/evil.sh; kill -HUP $(cat /run/sshd.pid) && sleep 0.3");
    lab.run(PUSH).exits(0);
    bed.leave(lab);
}
