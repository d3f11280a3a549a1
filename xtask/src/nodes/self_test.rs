//! Proves what the nodes promise, on a bed of its own beside any other: a line for each promise.
//!
//! Everything is asked the way the project's own tests ask: over ssh with strict host key checking,
//! and through [`Bed`]. What should fail is shown to work first, where that can be.

mod ask;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::disk::Arch;
use super::error::Error;
use super::{ASKSUDO_PASSWORD, Bed, NodeOptions, Shape};
use crate::command::{Program, poll};
use crate::say;
use ask::{
    Test, Wrong, client, connect, failed, holds, node, pull, push, refused, same, silent, ssh,
    within,
};

/// The bed this uses unless told otherwise.
const NAME: &str = "kinself";
/// Its subnet.
const SUBNET: &str = "10.78.1";
/// How long a node that reboots itself may take.
const REBOOT_SECONDS: u64 = 60;

/// Checks everything; the exit code is a failure if anything was not as promised.
pub(super) fn run(name: Option<&str>, subnet: Option<&str>) -> Result<ExitCode, Error> {
    let bed = Bed::new(name.unwrap_or(NAME), subnet.unwrap_or(SUBNET))?;
    let start = Instant::now();
    let mut test = Test::on(bed);
    test.check("setup", |bed| Ok(bed.setup(None)?));
    test.check("nothing is left of an earlier bed", |bed| Ok(bed.down()?));
    test.check("up 3", |bed| Ok(bed.up(3, &NodeOptions::default())?));
    logins(&mut test);
    services(&mut test);
    containers(&mut test);
    wires(&mut test);
    power(&mut test);
    peculiar(&mut test);
    end(&mut test);
    let Test {
        checks, failures, ..
    } = test;
    let seconds = start.elapsed().as_secs_f64();
    say::line(format!(
        "nodes: {checks} checks, {failures} failed, {seconds:.0} s"
    ));
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Who can log in, and what they may do.
fn logins(test: &mut Test) {
    for number in 1..=3 {
        test.check(
            &format!("node{number}: root logs in, systemd runs"),
            |bed| {
                let script = "id -u; hostname; cat /proc/1/comm; systemctl is-system-running";
                let said = ssh(bed, &format!("node{number}"), script)?;
                same(&said, &format!("0\nnode{number}\nsystemd\nrunning"))
            },
        );
    }
    test.check("ubuntu: sudo without a password", |bed| {
        same(
            &ssh(bed, "ubuntu@node1", "id -un; sudo -n id -u")?,
            "ubuntu\n0",
        )
    });
    test.check("nosudo: no sudo", |bed| {
        refused(bed, "nosudo@node1", "sudo -n true", "sudo:")
    });
    test.check("asksudo: no sudo without the password", |bed| {
        refused(bed, "asksudo@node1", "sudo -n true", "password is required")
    });
    test.check("asksudo: sudo with the password", |bed| {
        let sudo = client(bed, "asksudo@node1", "sudo -S -p '' id -u")?;
        same(&sudo.input(format!("{ASKSUDO_PASSWORD}\n")).text()?, "0")
    });
    test.check("asksudo: no sudo with a wrong password", |bed| {
        let sudo = client(bed, "asksudo@node1", "sudo -S -p '' id -u")?.input("wrong\n");
        failed(&sudo.output()?, "")
    });
    test.check("a password alone does not log in", |bed| {
        let options = [
            "-o",
            "PubkeyAuthentication=no",
            "-o",
            "PreferredAuthentications=password",
        ];
        let ssh = Program::new("ssh")
            .arg("-F")
            .arg(bed.ssh_config()?)
            .args(options);
        failed(
            &ssh.args(["asksudo@node1", "true"]).output()?,
            "Permission denied",
        )
    });
    test.check("by address as well as by name", |bed| {
        let address = bed.address(node(2)).to_string();
        same(&ssh(bed, &address, "hostname")?, "node2")
    });
    test.check("one node reaches another by name", |bed| {
        ssh(
            bed,
            "node1",
            "timeout 3 bash -c 'exec 3<>/dev/tcp/node2/22'",
        )
        .map(drop)
    });
    test.check("the programs a push needs are there", |bed| {
        ssh(
            bed,
            "node1",
            "command -v tar gzip zstd sudo ps ip less sha256sum",
        )
        .map(drop)
    });
}

/// That systemd in a node is the real thing, sandboxing included.
fn services(test: &mut Test) {
    test.check("a unit: notify, enable, restart, journal", |bed| {
        let unit = "[Service]\nType=notify\nNotifyAccess=all\n\
            ExecStart=/bin/sh -c 'echo hello; systemd-notify --ready; exec sleep 1000'\n\
            [Install]\nWantedBy=multi-user.target\n";
        let script = "cat >/etc/systemd/system/try.service && systemctl daemon-reload && \
            systemctl enable --quiet --now try && systemctl restart try && \
            systemctl is-active try && journalctl --sync && journalctl -u try -o cat";
        let said = client(bed, "node1", script)?.input(unit).text()?;
        holds(said.starts_with("active") && said.contains("hello"), &said)
    });
    let sandboxed = |directive: &str, script: &str| {
        format!("systemd-run --quiet --wait --pipe --property {directive} sh -c '{script}'")
    };
    let touch = "touch /usr/tried && rm /usr/tried";
    test.check("ProtectSystem=strict is enforced", |bed| {
        ssh(bed, "node1", &sandboxed("Description=free", touch))?;
        refused(
            bed,
            "node1",
            &sandboxed("ProtectSystem=strict", touch),
            "Read-only",
        )
    });
    let make = "mkdir /run/tried && rmdir /run/tried";
    test.check("SystemCallFilter= is enforced", |bed| {
        ssh(bed, "node1", &sandboxed("Description=free", make))?;
        refused(
            bed,
            "node1",
            &sandboxed("SystemCallFilter=~mkdir", make),
            "",
        )
    });
    test.check(
        "User=, PrivateUsers= and an empty capability set work",
        |bed| {
            let script = "systemd-run --quiet --wait --pipe --property DynamicUser=yes \
            --property PrivateUsers=yes --property CapabilityBoundingSet= \
            grep CapBnd /proc/self/status";
            same(&ssh(bed, "node1", script)?, "CapBnd:\t0000000000000000")
        },
    );
}

/// What a container runtime, a kubelet and kube-proxy need of a node.
fn containers(test: &mut Test) {
    test.check("MemoryMax= is enforced", |bed| {
        let eat = |limit: &str| {
            format!(
                "systemd-run --quiet --wait --pipe --property MemoryMax={limit} \
                 python3 -c 'print(len(bytearray(64 << 20)))'"
            )
        };
        same(&ssh(bed, "node1", &eat("infinity"))?, "67108864")?;
        refused(bed, "node1", &eat("16M"), "")
    });
    test.check("an overlay can be mounted where containers lie", |bed| {
        let script = "cd /var/lib/containerd && mkdir lower upper work merged && \
            mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && \
            touch merged/tried && umount merged && ls upper && rm -r lower upper work merged";
        same(&ssh(bed, "node1", script)?, "tried")
    });
    test.check(
        "settings of the kernel that a node may make its own",
        |bed| {
            let script = "sysctl -q vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1 \
            net.ipv4.ip_forward=1 && sysctl -n vm.overcommit_memory net.ipv4.ip_forward";
            let machine = || fs_err::read_to_string("/proc/sys/vm/overcommit_memory");
            let before = machine()?;
            same(&ssh(bed, "node1", script)?, "1\n1")?;
            same(&machine()?, &before)?;
            refused(
                bed,
                "node1",
                "sysctl -q vm.swappiness=1",
                "permission denied",
            )
        },
    );
    test.check(
        "a session keyring, the kernel's log, rules for packets",
        |bed| {
            // keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL): the system call has one number on x86 and another elsewhere.
            let keyring = "python3 -c 'import ctypes, os; \
            call = 250 if os.uname().machine == \"x86_64\" else 219; \
            print(ctypes.CDLL(None).syscall(call, 1, None) > 0)'";
            same(&ssh(bed, "node1", keyring)?, "True")?;
            let script = "test -r /dev/kmsg && iptables -t nat -L -n >/dev/null && \
            nft list ruleset >/dev/null && conntrack -L 2>/dev/null; command -v curl modprobe";
            ssh(bed, "node1", script).map(drop)
        },
    );
}

/// Rate, delay, and a cable that is cut.
fn wires(test: &mut Test) {
    let bytes = 5_000_000;
    test.check(
        "netem 20mbit 10ms: there and back takes 20 to 30 ms",
        |bed| {
            bed.shape(node(2), Some(Shape::new("20mbit", "10ms")?))?;
            let fastest = (0..5)
                .map(|_| connect(bed, 2))
                .collect::<Result<Vec<_>, _>>()?;
            within(fastest.into_iter().min().unwrap_or_default(), 0.020, 0.030)
        },
    );
    test.check("  5 MB to the node take 2 to 3.2 s", |bed| {
        within(push(bed, "node2", bytes)?, 2.0, 3.2)
    });
    test.check("  5 MB from the node take 2 to 3.2 s", |bed| {
        within(pull(bed, "node2", bytes)?, 2.0, 3.2)
    });
    test.check("  another node is as fast as ever", |bed| {
        within(push(bed, "node1", bytes)?, 0.0, 1.5)
    });
    test.check(
        "netem 40mbit without a delay: 5 MB take 0.9 to 2 s",
        |bed| {
            bed.shape(node(2), Some(Shape::new("40mbit", "0")?))?;
            within(push(bed, "node2", bytes)?, 0.9, 2.0)
        },
    );
    test.check("netem off: fast again", |bed| {
        bed.shape(node(2), None)?;
        within(push(bed, "node2", bytes)?, 0.0, 1.5)
    });
    test.check("cut: unreachable, and no answer at all", |bed| {
        bed.cut(node(2))?;
        silent(bed, "node2")
    });
    test.check("heal: reachable", |bed| {
        bed.heal(node(2))?;
        ssh(bed, "node2", "true").map(drop)
    });
}

/// Power, disks and identity.
fn power(test: &mut Test) {
    test.check("kill: gone without a farewell", |bed| {
        bed.shape(node(3), Some(Shape::new("100mbit", "5ms")?))?;
        ssh(bed, "node3", "echo kept >/var/kept")?;
        bed.power_off(node(3))?;
        silent(bed, "node3")
    });
    test.check("start: booted, disk kept, cable as slow as before", |bed| {
        bed.power_on(node(3))?;
        same(
            &ssh(bed, "node3", "cat /var/kept; systemctl is-system-running")?,
            "kept\nrunning",
        )?;
        within(connect(bed, 3)?, 0.010, 0.030)?;
        Ok(bed.shape(node(3), None)?)
    });
    test.check("a node that reboots itself comes back", |bed| {
        let before = ssh(bed, "node3", "cat /proc/1/stat | cut -d' ' -f22")?;
        // The connection may end before the command does.
        let _ = ssh(bed, "node3", "systemctl reboot");
        let again = poll(Duration::from_secs(REBOOT_SECONDS), || {
            ssh(bed, "node3", "cat /proc/1/stat | cut -d' ' -f22")
                .ok()
                .filter(|start| *start != before)
        });
        again.map(drop).ok_or_else(|| Wrong("it did not".into()))?;
        same(&ssh(bed, "node3", "cat /var/kept")?, "kept")
    });
    test.check(
        "reset: the disk is wiped, ssh still trusts the node",
        |bed| {
            bed.reset(node(3))?;
            refused(bed, "node3", "cat /var/kept", "No such file")
        },
    );
    test.check("rekey: ssh refuses the changed host key", |bed| {
        bed.rekey(node(3))?;
        refused(bed, "node3", "true", "verification failed")
    });
    test.check("exec: output and exit code without ssh", |bed| {
        let output = bed.exec(node(3), &["sh", "-c", "hostname; exit 7"], 10)?;
        same(output.stdout.trim(), "node3")?;
        holds(output.status.code() == Some(7), &output.status.to_string())
    });
    test.check("exec: ends when its time is over", |bed| {
        let start = Instant::now();
        let output = bed.exec(node(3), &["sleep", "60"], 1)?;
        holds(
            output.status.code() == Some(124),
            &output.status.to_string(),
        )?;
        within(start.elapsed(), 1.0, 5.0)
    });
}

/// Nodes that are special in some way, beside ordinary ones.
fn peculiar(test: &mut Test) {
    test.check(
        "a fourth node: 32-bit ARM, no zstd, 8 MiB for kinstall",
        |bed| {
            let without = vec!["zstd".to_owned()];
            let (arch, small_disk) = (Some(Arch::Armhf), Some(8));
            bed.up(
                4,
                &NodeOptions {
                    arch,
                    without,
                    small_disk,
                    ..NodeOptions::default()
                },
            )?;
            let script = "uname -m; dpkg --print-architecture; command -v zstd || echo none";
            same(&ssh(bed, "node4", script)?, "armv7l\narmhf\nnone")?;
            same(&ssh(bed, "ubuntu@node4", "sudo -n uname -m")?, "armv7l")?;
            let fill = "head -c 20000000 /dev/zero >/var/lib/kinstall/big";
            refused(bed, "node4", fill, "No space left")
        },
    );
    test.check("  its small disk outlives a power loss", |bed| {
        ssh(
            bed,
            "node4",
            "cd /var/lib/kinstall && rm big && echo kept >small",
        )?;
        bed.power_off(node(4))?;
        bed.power_on(node(4))?;
        same(&ssh(bed, "node4", "cat /var/lib/kinstall/small")?, "kept")
    });
    test.check("  the others are as they were", |bed| {
        ssh(bed, "node1", "command -v zstd && systemctl is-active try").map(drop)
    });
    test.check(
        "a fifth node: no systemd to be seen, after a reboot neither",
        |bed| {
            bed.up(
                5,
                &NodeOptions {
                    no_systemd: true,
                    ..NodeOptions::default()
                },
            )?;
            let script = "command -v systemctl || test -d /run/systemd/system || echo none";
            same(&ssh(bed, "node5", script)?, "none")?;
            bed.power_off(node(5))?;
            bed.power_on(node(5))?;
            same(&ssh(bed, "node5", script)?, "none")
        },
    );
    test.check("the environment names this bed to other programs", |bed| {
        let [(_, program), (name, state)] = bed.environment()?;
        let status = Program::new("env").arg(format!("{name}={}", state.display()));
        let said = status.arg(program).args(["nodes", "status"]).text()?;
        holds(
            said.lines().count() == 5 && said.starts_with("node1 "),
            &said,
        )
    });
}

/// That `down` is thorough.
fn end(test: &mut Test) {
    test.check(
        "down: no link, namespace, mount, cgroup or file is left",
        |bed| Ok(bed.down()?),
    );
    test.check("  no process is left", |bed| {
        let state = bed.place().root().display().to_string();
        let links = format!("{}-", bed.name());
        let processes = fs_err::read_dir("/proc")?.flatten().filter(|item| {
            let line = fs_err::read(item.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(&state) || line.contains(&links)
        });
        let left: Vec<_> = processes.map(|item| item.file_name()).collect();
        holds(left.is_empty(), &format!("{left:?}"))
    });
    test.check("  a second down finds nothing to do", |bed| Ok(bed.down()?));
}
