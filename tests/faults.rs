//! Promises about nodes on a bad day: each fault is named, with the node and a way out; nothing is
//! half done anywhere; and once the cause is gone, the same command ends right.

use fs_err as fs;

use crate::bed::{Bed, NODES, PUSH};
use crate::lab::Lab;

#[test]
fn a_node_that_cannot_be_reached_keeps_the_others_untouched() {
    let Some(mut bed) = Bed::take("a_node_that_cannot_be_reached_keeps_the_others_untouched")
    else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 64");
    let before = NODES.map(|node| bed.starts(node));
    bed.nodes("cut node2");
    let output = lab.run(PUSH);
    bed.nodes("heal node2");
    let host = bed.address("node2");
    output
        .exits(4)
        .says(&format!("node2: cannot be reached at `{host}`"))
        .says("is it on, is the address right")
        .never_says("node1:");
    assert_eq!(NODES.map(|node| bed.starts(node)), before);
    lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    bed.leave(lab);
}

#[test]
fn host_keys_are_checked() {
    let Some(mut bed) = Bed::take("host_keys_are_checked") else {
        return;
    };
    let lab = bed.pushed();
    let host = bed.address("node3");
    bed.on("node3", "cp -p /etc/ssh/ssh_host_ed25519_key* /root/");
    bed.nodes("rekey node3");
    let output = lab.run(["status", "inventory.toml"]);
    let back = "cp -p /root/ssh_host_ed25519_key* /etc/ssh/ && kill -HUP $(cat /run/sshd.pid) && sleep 0.3";
    bed.on("node3", back);
    output
        .exits(4)
        .says(&format!(
            "node3: the host key of `{host}` has changed: this may be another machine"
        ))
        .says(&format!("ssh-keygen -R {host}"));

    // A user who has never been there.
    let inventory = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    let config = inventory
        .split("config = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let stranger = fs::read_to_string(config)
        .unwrap()
        .lines()
        .fold(String::new(), |text, line| {
            let line = match line.trim().split_once(' ') {
                Some(("UserKnownHostsFile", _)) => {
                    format!("  UserKnownHostsFile {}", lab.path("known_hosts").display())
                }
                Some(("StrictHostKeyChecking", _)) => String::new(),
                _ => line.to_owned(),
            };
            text + &line + "\n"
        });
    fs::write(lab.path("ssh_config"), stranger).unwrap();
    lab.edit(config, "ssh_config");
    lab.run(["status", "inventory.toml"])
        .exits(4)
        .says(&format!("node3: the host key of `{host}` is not known"))
        .says("host-keys = \"accept-new\"");
    lab.edit(
        "config = \"ssh_config\"",
        "config = \"ssh_config\"\nhost-keys = \"accept-new\"",
    );
    lab.run(["status", "inventory.toml"]).exits(0);
    assert!(
        fs::read_to_string(lab.path("known_hosts"))
            .unwrap()
            .contains(&host)
    );
    bed.leave(lab);
}

#[test]
fn who_may_not_become_root_is_told() {
    let Some(mut bed) = Bed::take("who_may_not_become_root_is_told") else {
        return;
    };
    let lab = bed.pushed();
    for user in ["nosudo", "asksudo"] {
        lab.write(&bed.inventory(&NODES));
        lab.edit("user = \"root\"", &format!("user = \"{user}\""));
        lab.run(PUSH)
            .exits(4)
            .says("node1: cannot become root: sudo:")
            .says("give `--ask-sudo-password`");
    }
    lab.edit("user = \"asksudo\"", "user = \"stranger\"");
    lab.run(PUSH)
        .exits(4)
        .says("refused the login")
        .says("Permission denied");
    lab.edit("user = \"stranger\"", "user = \"ubuntu\"");
    lab.run(PUSH).exits(0).says("nothing to do");
    bed.leave(lab);
}

/// Runs `kinstall` on a terminal of its own, on which somebody types.
fn type_on_terminal(lab: &Lab, words: &str, typed: &str) -> crate::lab::Output {
    use std::process::{Command, Stdio};
    let line = format!("{} {words}", env!("CARGO_BIN_EXE_kinstall"));
    fs::write(lab.path("typed"), typed).unwrap();
    let mut command = Command::new("script");
    command
        .args([
            "--quiet",
            "--return",
            "--echo",
            "never",
            "--command",
            &line,
            "/dev/null",
        ])
        .current_dir(lab.path(""))
        .env("KINSTALL_CACHE", lab.cache())
        .stdin(Stdio::from(
            fs::File::open(lab.path("typed")).unwrap().into_parts().0,
        ))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut output = crate::lab::Going::start(&mut command).finish();
    // There is one stream on a terminal.
    output.stderr += &output.stdout;
    output
}

#[test]
fn sudo_s_password_is_asked_for_and_kept_secret() {
    let Some(mut bed) = Bed::take("sudo_s_password_is_asked_for_and_kept_secret") else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("user = \"root\"", "user = \"asksudo\"");
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 65");
    type_on_terminal(&lab, "push inventory.toml --ask-sudo-password", "wrong\n")
        .exits(4)
        .says("node2: cannot become root")
        .never_says("wrong\n");
    // All processes of this machine, which the nodes' are among, are watched meanwhile.
    let done = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut seen = (0, 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let ps = std::process::Command::new("ps")
                    .args(["axwwe", "-o", "args"])
                    .output();
                let text = String::from_utf8_lossy(&ps.unwrap().stdout).into_owned();
                seen.0 += text.matches("raspberry").count();
                seen.1 += text.matches("sudo -k -S").count();
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            seen
        });
        let pushed = type_on_terminal(
            &lab,
            "push inventory.toml --ask-sudo-password",
            "raspberry\n",
        );
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        pushed.exits(0).never_says("raspberry");
        watching.join().unwrap()
    });
    assert_eq!(seen.0, 0, "the password was in a list of processes");
    assert!(seen.1 > 0, "sudo was seen at work");
    for node in NODES {
        let found = bed.on(
            node,
            "journalctl -b --no-pager -o verbose | grep -c raspberry || :",
        );
        assert_eq!(found, "0", "{node}");
    }
    bed.leave(lab);
}

#[test]
fn a_service_that_does_not_become_healthy_is_told_with_its_last_words() {
    let Some(mut bed) =
        Bed::take("a_service_that_does_not_become_healthy_is_told_with_its_last_words")
    else {
        return;
    };
    let lab = bed.pushed();
    let before = NODES.map(|node| bed.starts(node));
    let flag = "audit-log-maxage = 60";
    lab.edit(
        flag,
        &format!("{flag}, audit-policy-file = \"/etc/k8s/none.yaml\""),
    );
    lab.run(PUSH)
        .exits(6)
        .says("node1: `kube-apiserver.service`")
        .says("systemd: Result=")
        .says("NRestarts=3")
        .says("journal: ")
        .says("/etc/k8s/none.yaml")
        .says("  node1: as before, generation ")
        .says("  node3: as before")
        .says("node1 was taken back to generation")
        .says("the others were not touched");
    let after = NODES.map(|node| bed.starts(node));
    assert_eq!(after[1..], before[1..], "the other nodes run on");
    lab.run(["status", "inventory.toml"])
        .exits(3)
        .prints("a push was not finished");
    // A way back from a push that was not finished leads to what was there before it.
    lab.run(["rollback", "inventory.toml"]).exits(0);
    lab.run(["status", "inventory.toml"]).exits(0);
    assert_eq!(NODES.map(|node| bed.starts(node))[1..], before[1..]);
    lab.write(&bed.inventory(&NODES));
    lab.run(PUSH).exits(0).says("nothing to do");
    bed.leave(lab);
}

#[test]
fn a_process_that_does_not_want_to_end_costs_the_next_one_no_time() {
    let Some(mut bed) = Bed::take("a_process_that_does_not_want_to_end_costs_the_next_one_no_time")
    else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("ready-seconds = 30", "ready-seconds = 12");
    lab.edit(
        "[rollout]\n",
        "[component.kube-scheduler]\nflags = { v = 3 }\n\n[rollout]\n",
    );
    // It hears no signal, and is killed after longer than the next one may take to become healthy.
    let stubborn = "d=/run/systemd/system/service.d; mkdir -p $d
        printf '[Service]\\nKillSignal=SIGWINCH\\nTimeoutStopSec=16\\n' >$d/test.conf
        systemctl daemon-reload";
    bed.on("node1", stubborn);
    let output = lab.run(PUSH);
    bed.on(
        "node1",
        "rm -r /run/systemd/system/service.d; systemctl daemon-reload",
    );
    let output = output.exits(0);
    assert!(
        output.seconds > 16.0,
        "nobody waited for it: {}",
        output.seconds
    );
    let runs = "tr '\\0' '\\n' </proc/$(pidof kube-scheduler)/cmdline | grep -e --v=";
    assert_eq!(bed.on("node1", runs), "--v=3");
    bed.leave(lab);
}

/// How many megabytes a run says it sent to a node.
#[track_caller]
fn sent(run: &crate::lab::Output, node: &str) -> f64 {
    let (_, staged) = run
        .stderr
        .split_once(&format!("{node}: staged ("))
        .unwrap_or_else(|| panic!("{node} was staged: {run}"));
    let number = staged.split(' ').next().unwrap_or_default();
    number.parse().unwrap()
}

#[test]
fn a_cable_cut_while_sending_is_made_good_by_a_rerun() {
    let Some(mut bed) = Bed::take("a_cable_cut_while_sending_is_made_good_by_a_rerun") else {
        return;
    };
    let lab = bed.fresh();
    bed.nodes("netem node2 10mbit");
    let mut going = lab.start(PUSH);
    // The others have all they need; node2 has a part.
    going.wait_until("node1 and node3 staged", |said| {
        said.contains("node1: staged") && said.contains("node3: staged")
    });
    let stored = "ls /var/lib/kinstall/store 2>/dev/null | grep -cE '^[0-9a-f]{64}$' || :";
    let mut patience = 1000;
    while bed.on("node2", stored) == "0" && patience > 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        patience -= 1;
    }
    bed.nodes("cut node2");
    let cut = going.finish();
    bed.nodes("heal node2");
    bed.nodes("netem node2 off");
    assert!([Some(1), Some(4)].contains(&cut.code), "{cut}");
    let cut = cut.says("node2: ");
    for node in NODES {
        let changed = bed.on(
            node,
            "ls /etc/k8s /etc/etcd /var/lib/kinstall/begun.json 2>/dev/null || :",
        );
        assert_eq!(changed, "", "{node}: nothing was activated anywhere");
    }
    println!("noticed after {:.0} s", cut.seconds);
    // The node holds the lost run's lock until that has been silent for a minute.
    let healed = std::time::Instant::now();
    let rest = loop {
        let rest = lab.run(PUSH);
        if rest.code != Some(7) {
            break rest.exits(0);
        }
        let rest = rest.says("and a minute after its network is");
        assert!(healed.elapsed().as_secs() < 90, "{rest}");
        std::thread::sleep(std::time::Duration::from_secs(2));
    };
    assert!(!rest.stderr.contains("node1: staged"), "{rest}");
    let (all, some) = (sent(&cut, "node1"), sent(&rest, "node2"));
    println!("{all} MB in all, and {some} MB after one of the largest had arrived");
    assert!(
        some < 0.9 * all,
        "only the rest is sent again: {some} of {all} MB"
    );
    lab.run(["status", "inventory.toml"]).exits(0);
    bed.leave(lab);
}
