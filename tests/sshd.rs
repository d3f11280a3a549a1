//! Promises about what an sshd may forbid and what a user's ssh may be told to do: kinstall works
//! with what there is, or says which setting stands in the way before it changes anything.

use std::net::TcpListener;

use fs_err as fs;

use crate::bed::{Bed, NODES, PUSH};

const STATUS: [&str; 2] = ["status", "inventory.toml"];

/// Has node3's sshd start with this configuration.
fn configure(bed: &Bed, lines: &str) {
    let script = format!(
        "printf '{lines}\\n' >/etc/ssh/sshd_config.d/20-test.conf; sshd -t && kill -HUP $(cat /run/sshd.pid); sleep 0.5"
    );
    bed.on("node3", &script);
}

/// Puts a program of node3's away.
fn hide(bed: &Bed, program: &str) {
    let path = format!("/usr/bin/{program}");
    bed.on("node3", &format!("mv {path} {path}.away"));
}

#[test]
fn ssh_does_without_what_sshd_forbids_or_tells_it_first() {
    let test = "ssh_does_without_what_sshd_forbids_or_tells_it_first";
    let Some(mut bed) = Bed::take(test) else {
        return;
    };
    let lab = bed.pushed();
    for lines in [
        "DisableForwarding yes",
        "PermitOpen none",
        "AllowTcpForwarding no",
    ] {
        configure(&bed, lines);
        lab.run(STATUS).exits(0).prints("all healthy");
    }
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 67");
    lab.run(PUSH)
        .exits(0)
        .says("node3: sshd forbids forwarding to its services; they are asked there, by curl")
        .says("done: 3 nodes changed");
    lab.run(["certs", "check", "inventory.toml", "--nodes"])
        .exits(0);

    hide(&bed, "curl");
    lab.run(STATUS).exits(0).prints("all healthy");
    bed.on("node3", "systemctl stop kube-scheduler");
    lab.run(STATUS)
        .exits(3)
        .prints("unhealthy: inactive (dead)");
    bed.on("node3", "systemctl start kube-scheduler");
    lab.edit("audit-log-maxage = 67", "audit-log-maxage = 68");
    lab.run(PUSH)
        .exits(0)
        .says("they are asked there, by openssl");
    // What was shown to the services is gone.
    assert_eq!(
        bed.on("node3", "find /var/lib/kinstall/ask -mindepth 1"),
        ""
    );

    hide(&bed, "openssl");
    lab.edit("audit-log-maxage = 68", "audit-log-maxage = 69");
    let before = NODES.map(|node| bed.starts(node));
    lab.run(STATUS)
        .exits(3)
        .prints("not asked: sshd forbids forwarding to it")
        .never_says("unhealthy");
    lab.run(PUSH)
        .exits(4)
        .says("node3: port 2379 cannot be asked: sshd forbids forwarding to it, and the node has neither curl nor openssl")
        .says("`AllowTcpForwarding local` or `yes`");
    assert_eq!(NODES.map(|node| bed.starts(node)), before);

    configure(&bed, "MaxSessions 1");
    lab.run(PUSH)
        .exits(4)
        .says("node3: sshd refused a session for `lock`")
        .says("set `MaxSessions` to 2 or more");
    assert_eq!(NODES.map(|node| bed.starts(node)), before);
    configure(&bed, "MaxSessions 2");
    lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    lab.run(STATUS).exits(0);
    bed.on(
        "node3",
        "for it in curl openssl; do mv /usr/bin/$it.away /usr/bin/$it; done; rm /etc/ssh/sshd_config.d/20-test.conf; \
         kill -HUP $(cat /run/sshd.pid); sleep 0.5",
    );

    // What a user's own configuration asks of a connection is not for ours.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "PermitLocalCommand yes\nLocalCommand touch {touched}\nRemoteCommand false\nRequestTTY force\n\
         ForwardAgent yes\nExitOnForwardFailure yes\nLocalForward {port} 127.0.0.1:22\n{theirs}",
        touched = lab.path("touched").display(),
        port = taken.local_addr().unwrap().port(),
        theirs = fs::read_to_string(bed.ssh_config()).unwrap(),
    );
    fs::write(lab.path("ssh_config"), config).unwrap();
    let theirs = bed.ssh_config().display().to_string();
    lab.edit(&format!("config = \"{theirs}\""), "config = \"ssh_config\"");
    lab.run(STATUS).exits(0);
    assert!(!lab.path("touched").exists());
    bed.leave(lab);
}
