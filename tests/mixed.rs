//! The promise that one cluster can be of several architectures: an amd64 node, an arm64 one, and a
//! Raspberry Pi whose 64-bit kernel runs a 32-bit system.
//!
//! The ARM nodes' systemd and sshd are native; what kinstall puts there is ARM, and runs through
//! qemu-user: stand-ins for the Kubernetes servers, cross-built, and Debian's own etcd.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use kinstall::digest::Digest;

use crate::bed::{Bed, PUSH};
use crate::lab::Lab;

/// The last Kubernetes whose servers were built for 32-bit ARM.
const KUBERNETES: &str = "1.26.15";
const SERVICES: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// An architecture, and what tells of it.
struct Kind {
    /// Debian's name.
    dpkg: &'static str,
    /// Upstream's.
    upstream: &'static str,
    /// `EI_CLASS` and `e_machine` of its programs (elf(5)).
    elf: (u8, u16),
    node: &'static str,
    number: u32,
    options: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        dpkg: "amd64",
        upstream: "amd64",
        elf: (2, 62),
        node: "node8",
        number: 8,
        options: "",
    },
    Kind {
        dpkg: "arm64",
        upstream: "arm64",
        elf: (2, 183),
        node: "node9",
        number: 9,
        options: "--arch arm64 --qemu",
    },
    Kind {
        dpkg: "armhf",
        upstream: "arm",
        elf: (1, 40),
        node: "node10",
        number: 10,
        options: "--arch armhf --qemu",
    },
];

#[test]
fn three_architectures_make_one_cluster() {
    let test = "three_architectures_make_one_cluster";
    let Some(parts) = parts(test) else { return };
    let Some(bed) = Bed::take(test) else { return };
    std::thread::scope(|scope| {
        for kind in &KINDS {
            let bed = &bed;
            scope.spawn(move || bed.special(kind.number, kind.options));
        }
    });
    // A Raspberry Pi as it comes: the kernel is a 64-bit one, whatever the system.
    bed.on("node10", "sed -i s/armv7l/aarch64/ /usr/bin/uname");
    assert_eq!(bed.on("node10", "uname -m"), "aarch64");
    assert_eq!(bed.on("node10", "dpkg --print-architecture"), "armhf");
    let lab = lab(&bed, &parts);

    refuses_what_a_node_is_not(&bed, &lab);
    let pushed = lab.run(PUSH).exits(0).says("done: 3 nodes changed");
    println!(
        "three nodes of three architectures in {:.0} s",
        pushed.seconds
    );
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("all healthy");
    for kind in &KINDS {
        holds_its_own(&bed, kind);
    }
    only_where_it_is_unsupported(&bed, &etcd_version(&parts));
    lab.run(PUSH).exits(0).says("nothing to do");
    for kind in &KINDS {
        bed.nodes(&format!("kill {}", kind.node));
    }
}

/// What was made for ARM beforehand; none, with the reason said, where there is nothing.
fn parts(test: &str) -> Option<PathBuf> {
    if let Some(parts) = std::env::var_os("KINSTALL_ARM") {
        return Some(PathBuf::from(parts));
    }
    let why = std::env::var("KINSTALL_NO_ARM");
    let why = why.unwrap_or_else(|_| {
        "`KINSTALL_ARM` is not set; `cargo xtask test` builds for ARM and sets it".to_owned()
    });
    assert!(std::env::var_os("CI").is_none(), "{test} must run: {why}");
    println!("NOT RUN: {test}: {}", why.replace('\n', " "));
    None
}

/// An inventory of the three nodes, none of which says what it is.
fn lab(bed: &Bed, parts: &Path) -> Lab {
    let lab = Lab::at(&bed.workshop().join("mixed"), &bed.workshop().join("cache"));
    let mirror = lab.path("mirror");
    for kind in &KINDS {
        stock(bed, &mirror, kind, parts);
    }
    let mut text = format!(
        "[cluster]\nname = \"mixed\"\nkubernetes = \"{KUBERNETES}\"\netcd = \"{etcd}\"\n\n\
         [ssh]\nuser = \"root\"\nconfig = \"{config}\"\n\n\
         [source]\nkubernetes = [\"file://{mirror}\"]\nrebuilt = true\n\n\
         [component.etcd]\npath = \"{parts}/{{arch}}\"\n\n\
         [component.kube-apiserver]\nflags = {{ shutdown-delay-duration = \"0s\" }}\n\n\
         [rollout]\nready-seconds = 60\nstable-seconds = 1\n",
        etcd = etcd_version(parts),
        config = bed.ssh_config().display(),
        mirror = mirror.display(),
        parts = parts.display(),
    );
    for Kind { node, .. } in &KINDS {
        let address = bed.address(node);
        _ = write!(
            text,
            "\n[[node]]\nname = \"{node}\"\naddress = \"{address}\"\n"
        );
    }
    lab.write(&text);
    // An emulator writes the code that it then runs, which kinstall's units forbid. Whoever has such
    // machines says so with a drop-in of their own, as here; real ARM machines need none of this.
    for service in SERVICES {
        let place = lab.path(&format!("templates/{service}.service.d"));
        fs::create_dir_all(&place).unwrap();
        let text = "[Service]\nMemoryDenyWriteExecute=no\n";
        fs::write(place.join("10-emulated.conf"), text).unwrap();
    }
    lab
}

/// Puts stand-ins for the servers of one architecture into a mirror.
fn stock(bed: &Bed, mirror: &Path, kind: &Kind, parts: &Path) {
    let place = mirror.join(format!("release/v{KUBERNETES}/bin/linux/{}", kind.upstream));
    fs::create_dir_all(&place).unwrap();
    let foreign = parts.join(kind.dpkg).join("standin");
    let of = if foreign.exists() {
        foreign
    } else {
        bed.standin().to_owned()
    };
    for name in &SERVICES[1..] {
        let made = Command::new(bed.standin())
            .args(["make", "--name", name, "--version", KUBERNETES, "--of"])
            .arg(&of)
            .arg("--out")
            .arg(place.join(name))
            .status();
        assert!(made.unwrap().success());
    }
    // Nobody runs kubectl on a node here: the stand-in itself is as good.
    fs::copy(&of, place.join("kubectl")).unwrap();
    for name in SERVICES[1..].iter().chain(&["kubectl"]) {
        let digest = Digest::of(&fs::read(place.join(name)).unwrap());
        fs::write(place.join(format!("{name}.sha256")), digest.to_string()).unwrap();
    }
}

/// The version of the etcds, as this machine's own says it: all are of one release of Debian.
fn etcd_version(parts: &Path) -> String {
    let output = Command::new(parts.join("amd64/etcd"))
        .arg("--version")
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut lines = text.lines();
    let version = lines.find_map(|line| line.strip_prefix("etcd Version: "));
    version.unwrap().trim().to_owned()
}

fn refuses_what_a_node_is_not(bed: &Bed, lab: &Lab) {
    let pi = "name = \"node10\"";
    lab.edit(pi, &format!("{pi}\narch = \"arm64\""));
    lab.run(PUSH)
        .exits(1)
        .says("node10: the inventory says `arch = \"arm64\"`, and the node's programs are armhf");
    let worker = "roles = [\"etcd\", \"control-plane\", \"worker\"]";
    lab.edit("arch = \"arm64\"", worker);
    lab.run(PUSH)
        .exits(1)
        .says("node10: a kubelet cannot run there: its kernel is aarch64, its programs are armhf")
        .says("a kubelet is not static");
    lab.edit(&format!("{pi}\n{worker}"), pi);
    for Kind { node, .. } in &KINDS {
        let ours = "ls -d /etc/k8s /etc/etcd /var/lib/kinstall/store 2>/dev/null || :";
        assert_eq!(bed.on(node, ours), "", "{node} was touched");
    }
}

/// Each program that runs on a node is of its architecture, and does run.
fn holds_its_own(bed: &Bed, kind: &Kind) {
    for service in SERVICES {
        let path = format!("/usr/local/bin/{service}");
        let header = bed.on(kind.node, &format!("od -An -v -tu1 -N20 {path}"));
        let bytes: Vec<u8> = header
            .split_whitespace()
            .map(|byte| byte.parse().unwrap())
            .collect();
        let found = (bytes[4], u16::from_le_bytes([bytes[18], bytes[19]]));
        assert_eq!(found, kind.elf, "{path} of {}", kind.node);
        let process = bed.on(
            kind.node,
            &format!("readlink /proc/$(systemctl show -p MainPID --value {service})/exe"),
        );
        assert_eq!(
            process.contains("qemu-"),
            kind.dpkg != "amd64",
            "{service} of {} is run by {process}",
            kind.node
        );
    }
}

/// etcd is told that it may run where upstream does not support it, and nowhere else.
fn only_where_it_is_unsupported(bed: &Bed, etcd: &str) {
    for kind in &KINDS {
        let expected = match kind.dpkg {
            "armhf" => "ETCD_UNSUPPORTED_ARCH=arm",
            "arm64" if etcd.starts_with("3.4.") => "ETCD_UNSUPPORTED_ARCH=arm64",
            _ => "",
        };
        let told = "systemctl show -p Environment --value etcd";
        assert_eq!(bed.on(kind.node, told), expected, "{}", kind.node);
        for service in &SERVICES[1..] {
            let told = format!("systemctl show -p Environment --value {service}");
            assert_eq!(bed.on(kind.node, &told), "", "{service} of {}", kind.node);
        }
    }
}
