//! Promises about nodes that answer late, never, or without end: each is given up with its name, what
//! it was asked and the limit; the others are left alone; and no memory is spent on it.

use std::time::{Duration, Instant};

use crate::bed::{Bed, NODES, PUSH};
use crate::interrupt::assert_no_sessions;
use crate::lab::{Going, Lab, MEMORY_MIB_MAX, Output};

/// What sshd runs on the node in place of whatever it is asked to: the same, with a twist in the
/// answer that `/run/twist` says. It does not look at what it is asked, only at what is answered.
const TWIST: &str = r#"#!/bin/bash
set -o pipefail
endless() { exec tr '\0' "$1" </dev/zero; }
wait_for_ever() { touch /run/hangs; exec sleep 600; }
eval "$SSH_ORIGINAL_COMMAND" | while IFS= read -r line || [ -n "$line" ]; do
  case "$(cat /run/twist):$line" in
    observe-hang:kinstall-observe* | lock-hang:locked* | read-hang:/*) wait_for_ever ;;
    observe-endless:kinstall-observe* | read-endless:/* | lock-endless-line:locked*) endless A ;;
    observe-stderr:kinstall-observe*) endless B >&2 ;;
    observe-entries:kinstall-observe*)
      printf '%s\n' "$line"
      awk 'BEGIN { for (i = 0; i < 480000; i++) print "entry ./etc/x" i " f 600 root root 0 1.5 1.5 7 ?"; print "end" }'
      ;;
    lock-endless-after:locked*) printf '%s\n' "$line"; endless A ;;
    *) printf '%s\n' "$line" ;;
  esac
done
"#;
/// No limit is longer than this, in seconds.
const SECONDS: u64 = 8;

/// Has node3 answer as the twist says.
fn twist(bed: &Bed, how: &str) {
    bed.on(
        "node3",
        &format!("rm -f /run/hangs; echo {how} >/run/twist"),
    );
}

#[track_caller]
fn run<const N: usize>(lab: &Lab, words: [&str; N]) -> Output {
    let mut command = lab.command(words);
    command.env("KINSTALL_SECONDS_MAX", SECONDS.to_string());
    let output = Going::start(&mut command).finish();
    let peak = output.peak_kib;
    assert!(peak <= MEMORY_MIB_MAX * 1024, "{peak} KiB: {output}");
    output
}

#[test]
fn ssh_gives_up_a_node_that_never_ends() {
    let Some(mut bed) = Bed::take("ssh_gives_up_a_node_that_never_ends") else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 66");
    let before = NODES.map(|node| bed.starts(node));
    let install = format!(
        "cat >/run/twist.sh <<'END'\n{TWIST}END\nchmod 755 /run/twist.sh; echo none >/run/twist
        echo 'ForceCommand /run/twist.sh' >/etc/ssh/sshd_config.d/20-twist.conf
        kill -HUP $(cat /run/sshd.pid); sleep 0.5"
    );
    bed.on("node3", &install);

    let (plan, status) = (["plan", "inventory.toml"], ["status", "inventory.toml"]);
    run(&lab, plan).exits(3);
    let too_much = "printed more than 4096 kB as its answer; it was given up";
    let cases = [
        ("observe-hang", plan, "`observe` "),
        ("observe-endless", plan, &format!("`observe` {too_much}")),
        ("observe-entries", plan, &format!("`observe` {too_much}")),
        (
            "observe-stderr",
            plan,
            "`observe` printed more than 1024 kB on its standard error",
        ),
        ("read-hang", status, "`read` "),
        (
            "read-endless",
            status,
            "`read` printed more than 8192 kB as its answer",
        ),
        (
            "lock-hang",
            PUSH,
            "`lock` gave no answer within 8 s; it was given up",
        ),
        (
            "lock-endless-line",
            PUSH,
            "`lock` printed more than 4 kB as its answer",
        ),
        (
            "lock-endless-after",
            PUSH,
            "`lock` printed more than 4 kB as its answer",
        ),
    ];
    for (how, words, expected) in cases {
        twist(&bed, how);
        let output = run(&lab, words)
            .exits(4)
            .says(&format!("node3: {expected}"))
            .says("it was given up")
            .never_says("node1: `");
        println!("{how}: {:.1} s, {} KiB", output.seconds, output.peak_kib);
        assert_eq!(NODES.map(|node| bed.starts(node)), before, "{how}");
    }

    // Whoever does not want to wait need not.
    for (how, words) in [
        ("observe-hang", plan),
        ("observe-hang", PUSH),
        ("lock-hang", PUSH),
    ] {
        twist(&bed, how);
        let mut going = lab.start(words);
        going.wait_until("node3 hangs", |_| {
            bed.try_on("node3", "test -e /run/hangs").code == Some(0)
        });
        let asked = Instant::now();
        going.signal("INT");
        going.finish().exits(130).says("stopped on request");
        assert!(asked.elapsed() < Duration::from_secs(5), "{how}");
        assert_no_sessions(&bed);
    }
    bed.on(
        "node3",
        "rm /etc/ssh/sshd_config.d/20-twist.conf; kill -HUP $(cat /run/sshd.pid); sleep 0.5",
    );
    lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    bed.leave(lab);
}

/// In kube-apiserver's place: asked, it answers with the certificate that the real one has, and never
/// stops.
const ENDLESS: &str = r"#!/bin/bash
certs=/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls
for i in {1..60}; do
  coproc server { exec openssl s_server -quiet -naccept 1 -accept 6443 -cert $certs.pem -key $certs.key; }
  exec 3>&${server[1]}
  read -r request <&${server[0]} &&
    (printf 'HTTP/1.1 200 OK\r\n\r\n'; exec yes AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA) >&3
  exec 3>&-
  wait
done
";

#[test]
fn a_service_that_never_stops_answering_is_not_healthy() {
    let test = "a_service_that_never_stops_answering_is_not_healthy";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    let lab = bed.pushed();
    let replace = format!(
        "cat >/run/endless <<'END'\n{ENDLESS}END\nchmod 755 /run/endless
        mkdir /run/systemd/system/kube-apiserver.service.d
        printf '[Service]\nExecStart=\nExecStart=/run/endless\nType=exec\nPrivateUsers=no\n' \
            >/run/systemd/system/kube-apiserver.service.d/50-endless.conf
        systemctl daemon-reload; systemctl restart kube-apiserver; sleep 1"
    );
    bed.on("node3", &replace);
    let status = run(&lab, ["status", "inventory.toml"]).exits(3);
    let told = status.stdout.lines().find(|line| line.contains("64 KiB"));
    println!("{told:?}: {:.1} s, {} KiB", status.seconds, status.peak_kib);
    assert!(
        told.is_some_and(|it| it.contains("kube-apiserver") && it.contains("unhealthy")),
        "{status}"
    );
    assert!(status.seconds < 30.0, "{status}");
    bed.on(
        "node3",
        "rm -r /run/systemd/system/kube-apiserver.service.d /run/endless
        systemctl daemon-reload; systemctl restart kube-apiserver",
    );
    bed.leave(lab);
}
