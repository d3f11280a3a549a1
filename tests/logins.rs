//! Promises about odd logins: whatever a node's shells, login scripts, sudo and sshd are told to do, a
//! script runs there as it would for root, or its failure names its own cause and what mends it.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use fs_err as fs;

use crate::bed::{Bed, PUSH};
use crate::lab::{Going, Lab, Output};

const PLAN: [&str; 2] = ["plan", "inventory.toml"];

/// Makes a user on node1 whom the key lets in. `more` is run as root, in the user's home.
fn user(bed: &Bed, name: &str, shell: &str, more: &str) {
    let script = format!(
        "useradd --create-home --shell {shell} {name} && cd /home/{name} &&
        cp -r /root/.ssh . && chown -R {name}:{name} .ssh &&
        echo '{name} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{name} && {more}"
    );
    bed.on("node1", &script);
}

/// Has a node's sshd read its configuration again.
fn reload(bed: &Bed, node: &str) {
    bed.on(node, "sshd -t && kill -HUP $(cat /run/sshd.pid); sleep 0.5");
}

/// Has another user log in.
#[track_caller]
fn log_in_as(lab: &Lab, bed: &Bed, name: &str) {
    lab.write(&bed.inventory(&["node1"]));
    lab.edit("user = \"root\"", &format!("user = \"{name}\""));
}

#[test]
fn logins_of_any_shape_work_or_name_what_is_wrong() {
    let test = "logins_of_any_shape_work_or_name_what_is_wrong";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    drop(bed.fresh());
    let lab = bed.lab_named("logins", &["node1"]);
    // sudo says so before each command, and nothing is wrong.
    bed.on("node1", "hostname raspi9");
    // What sudo's own login gives to whatever it runs (pam_env).
    let environment = "printf '%s\\n' POSIXLY_CORRECT=1 TAR_OPTIONS=--nonsense GZIP=--nonsense \
        LANG=tlh CDPATH=/usr BASH_ENV=/nonsense >>/etc/environment";
    bed.on("node1", environment);
    let noise = "printf 'welcome \\033[31m'; printf 'a warning' >&2; export LC_ALL=tlh IFS=e POSIXLY_CORRECT=1 TAR_OPTIONS=--nonsense";
    user(
        &bed,
        "csh",
        "/bin/tcsh",
        "printf 'echo welcome\\nsetenv TAR_OPTIONS --nonsense\\n' >.cshrc",
    );
    user(
        &bed,
        "noisy",
        "/bin/bash",
        &format!("cat >.bashrc <<'END'\n{noise}\nEND"),
    );
    user(&bed, "wrapped", "/bin/bash", "cat >>/etc/ssh/sshd_config.d/20-test.conf <<'END'
Match User wrapped
  ForceCommand echo $SSH_ORIGINAL_COMMAND; bash -c \"$SSH_ORIGINAL_COMMAND\"; echo goodbye; echo goodbye >&2; exit 7
Match User menu
  ForceCommand echo managed by the bastion menu
END");
    reload(&bed, "node1");

    log_in_as(&lab, &bed, "csh");
    lab.run(PUSH).exits(0).says("done: 1 node");
    for (name, age) in [("noisy", 61), ("wrapped", 62)] {
        log_in_as(&lab, &bed, name);
        lab.edit(
            "audit-log-maxage = 60",
            &format!("audit-log-maxage = {age}"),
        );
        lab.run(PUSH).exits(0).says("done: 1 node");
        lab.run(PLAN).exits(0);
    }

    // A script that fails is told by its own words.
    let state = "/var/lib/kinstall";
    bed.on(
        "node1",
        &format!("mkdir {state}/begun.json.new {state}/begun.json.new/x"),
    );
    log_in_as(&lab, &bed, "noisy");
    lab.run(PUSH)
        .exits(1)
        .says("`begin` failed with status")
        .says("begun.json.new")
        .never_says("unable to resolve")
        .never_says("a warning")
        .never_says("cannot become root");
    bed.on("node1", &format!("rm -r {state}/begun.json.new"));
    refusals(&lab, &bed);
    sudo_refusals(&lab, &bed);
}

/// Logins that run nothing of ours.
fn refusals(lab: &Lab, bed: &Bed) {
    let nothing = "true";
    user(bed, "nologin", "/usr/sbin/nologin", nothing);
    user(bed, "nobash", "/bin/false", nothing);
    user(
        bed,
        "expired",
        "/bin/bash",
        "echo expired:abc123 | chpasswd && chage -d 0 expired",
    );
    user(bed, "menu", "/bin/bash", nothing);
    user(
        bed,
        "leaver",
        "/bin/bash",
        "echo 'echo see you; exit 0' >.bashrc",
    );
    user(bed, "reader", "/bin/bash", "echo 'cat >/dev/null' >.bashrc");
    for (name, why) in [
        ("nologin", "This account is currently not available."),
        ("nobash", "it ended at once with status 1 and said nothing"),
        ("expired", "Password change required but no TTY available."),
        ("menu", "managed by the bastion menu"),
        ("leaver", "see you"),
        (
            "reader",
            "nothing of ours ran within 4 s; a login script there may wait for input",
        ),
    ] {
        log_in_as(lab, bed, name);
        let host = bed.address("node1");
        let mut command = lab.command(PLAN);
        command.env("KINSTALL_SECONDS_MAX", "8");
        let output = Going::start(&mut command).finish().exits(4);
        let output = output.says(&format!("node1: `{host}` refused the login: "));
        let output = output.says(why).says("runs none of our commands");
        output.says(&format!(" -l {name} {host} true"));
    }
}

/// Logins that cannot become root.
fn sudo_refusals(lab: &Lab, bed: &Bed) {
    let rule = |name: &str, rule: &str| format!("echo '{name} {rule}' >/etc/sudoers.d/{name}");
    user(
        bed,
        "ttyonly",
        "/bin/bash",
        "echo 'Defaults:ttyonly requiretty' >>/etc/sudoers.d/ttyonly",
    );
    user(
        bed,
        "limited",
        "/bin/bash",
        &rule("limited", "ALL=(ALL) NOPASSWD: /bin/ls"),
    );
    user(
        bed,
        "noexec",
        "/bin/bash",
        &rule("noexec", "ALL=(ALL) NOPASSWD: NOEXEC: ALL"),
    );
    user(bed, "asked", "/bin/bash", &rule("asked", "ALL=(ALL) ALL"));
    for (name, why, help) in [
        (
            "ttyonly",
            "sudo: sorry, you must have a tty to run sudo",
            "`Defaults:ttyonly !requiretty`",
        ),
        (
            "limited",
            "cannot become root: sudo:",
            "`limited ALL=(ALL) NOPASSWD: ALL`",
        ),
        ("noexec", "Permission denied", "`NOEXEC`"),
        (
            "asked",
            "sudo: a password is required",
            "give `--ask-sudo-password`",
        ),
    ] {
        log_in_as(lab, bed, name);
        let output = cannot_become_root(lab);
        output.says(why).says(help);
    }
    bed.on("node1", "mv /usr/bin/sudo /usr/bin/sudo.away");
    log_in_as(lab, bed, "csh");
    let output = cannot_become_root(lab);
    bed.on("node1", "mv /usr/bin/sudo.away /usr/bin/sudo");
    output
        .says("sudo: not found")
        .says("sudo is not installed there");
    // Whoever is root needs none of it.
    log_in_as(lab, bed, "root");
    lab.run(PLAN).exits(3);
}

#[track_caller]
fn cannot_become_root(lab: &Lab) -> Output {
    let output = lab.run(PLAN).exits(4).says("node1: cannot become root: ");
    output
        .never_says("unable to resolve")
        .never_says("kinstall-observe")
}

#[test]
fn ssh_s_own_words_are_told_whatever_its_log_level_is() {
    let test = "ssh_s_own_words_are_told_whatever_its_log_level_is";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    drop(bed.fresh());
    let lab = bed.lab_named("words", &["node1"]);
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let theirs = fs::read_to_string(bed.ssh_config()).unwrap();
    let configure = |text: &str| {
        fs::write(lab.path("ssh_config"), text).unwrap();
        let named = format!("config = \"{}\"", bed.ssh_config().display());
        lab.write(&bed.inventory(&["node1"]));
        lab.edit(&named, "config = \"ssh_config\"");
    };
    let host = bed.address("node1");
    let own = lab.path("known_hosts");
    let known = theirs.lines().find(|it| it.contains("UserKnownHostsFile"));
    let known = known.unwrap().split('"').nth(1).unwrap();
    let others = fs::read_to_string(known).unwrap();
    // Every host has the key of some other one.
    let keys: Vec<&str> = others
        .lines()
        .map(|it| it.split_once(' ').unwrap().1)
        .collect();
    let mut changed = String::new();
    for (at, line) in others.lines().enumerate() {
        let names = line.split_once(' ').unwrap().0;
        _ = writeln!(changed, "{names} {}", keys[(at + 1) % keys.len()]);
    }
    fs::write(&own, changed).unwrap();
    for level in ["QUIET", "DEBUG3", "VERBOSE"] {
        let quiet = theirs.replace(
            "  BatchMode yes",
            &format!("  BatchMode yes\n  LogLevel {level}"),
        );
        let unwanted = quiet.replace("IdentityFile \"", "IdentityFile \"/nonexistent");
        configure(&unwanted);
        let output = lab.run(PLAN).exits(4).never_says("debug");
        output
            .says(&format!("node1: `{host}` refused the login: "))
            .says("Permission denied (publickey)");
        configure(&quiet.replace(known, &own.display().to_string()));
        let output = lab.run(PLAN).exits(4).never_says("debug");
        output.says(&format!("node1: the host key of `{host}` has changed"));
        configure(&format!("Host *\n  Port 9\n{quiet}"));
        let output = lab.run(PLAN).exits(4).never_says("debug");
        output
            .says(&format!("node1: cannot be reached at `{host}`: "))
            .says("Connection refused");
        configure(&quiet);
        lab.run(PLAN).exits(3);
    }
    configure("Nonsense yes\n");
    lab.run(PLAN)
        .exits(4)
        .says("node1: ssh cannot be started: ")
        .says("Bad configuration option: nonsense")
        .says("ssh_config");
}

#[test]
fn a_busy_jump_host_is_asked_again_and_then_named() {
    let Some(mut bed) = Bed::take("a_busy_jump_host_is_asked_again_and_then_named") else {
        return;
    };
    drop(bed.fresh());
    let nodes = ["node1", "node2"];
    let lab = bed.lab_named("jump", &nodes);
    lab.edit(
        "name = \"node2\"",
        "name = \"node2\"\nroles = [\"control-plane\"]",
    );
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let (theirs, jump) = (
        fs::read_to_string(bed.ssh_config()).unwrap(),
        bed.address("node3"),
    );
    let hosts = nodes.map(|node| bed.address(node)).join(" ");
    let config = format!("Host {hosts}\n  ProxyJump {jump}\n{theirs}");
    fs::write(lab.path("ssh_config"), config).unwrap();
    let named = bed.ssh_config().display().to_string();
    lab.edit(&named, "ssh_config");
    bed.on(
        "node3",
        "echo MaxStartups 1:100:1 >/etc/ssh/sshd_config.d/20-test.conf",
    );
    reload(&bed, "node3");
    lab.run(PLAN).exits(3);

    // Somebody who connects and says nothing takes the one place there is.
    let sitting = TcpStream::connect((jump.as_str(), 22)).unwrap();
    let mut going = lab.start(PLAN);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!going.has_ended(), "{}", going.said());
    drop(sitting);
    going.finish().exits(3);
    let sitting = TcpStream::connect((jump.as_str(), 22)).unwrap();
    lab.run(PLAN)
        .exits(4)
        .says(&format!(
            "node1: the jump host `{jump}` closed the connection before the key exchange, 6 times"
        ))
        .says("try `--jobs 1`, or raise `MaxStartups`")
        .says("in the sshd_config of the jump host");
    drop(sitting);

    // A jump host that refuses us says so, at once.
    bed.on("node3", "mv /root/.ssh/authorized_keys /root/.ssh/away");
    let refused = lab.run(PLAN).exits(4);
    bed.on("node3", "mv /root/.ssh/away /root/.ssh/authorized_keys");
    assert!(refused.seconds < 5.0, "{refused}");
    refused
        .says("node1: ")
        .says(&format!("root@{jump}: Permission denied (publickey)"));
    bed.nodes("cut node2");
    let output = lab.run(PLAN);
    bed.nodes("heal node2");
    output.exits(4).says("node2: cannot be reached at");
}
