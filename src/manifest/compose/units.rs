//! Units: what they say, and what systemd says of them.
//!
//! These tests need the `systemd-analyze` program, version 252 or later.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::fixture::{Fixture, manifest, text};
use crate::manifest::{Content, Desired, Kind};

/// The services, each with the highest exposure that `systemd-analyze security` may find, on its
/// scale from 0 to 10 and rounded up by it. Whom etcd talks to and what it reads is known, so it is
/// kept from everyone and everything else: systemd 247, 252 and 257 show 0.9. What is left counts
/// for networks at all, for the sockets it says READY=1 through, and for a device that
/// `ProtectClock=` itself adds.
const EXPOSURE_MAX: [(&str, f64); 4] = [
    ("etcd", 0.9),
    ("kube-apiserver", 1.1),
    ("kube-controller-manager", 1.1),
    ("kube-scheduler", 1.1),
];

const SERVICES: [&str; 4] = [
    EXPOSURE_MAX[0].0,
    EXPOSURE_MAX[1].0,
    EXPOSURE_MAX[2].0,
    EXPOSURE_MAX[3].0,
];

/// One directive a line, as a service was seen to run healthily under.
const HARDENING: &[&str] = &[
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "PrivateUsers=yes",
    "PrivateMounts=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "DeviceAllow=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "KeyringMode=private",
    "UMask=0077",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "LimitNOFILE=65536",
    "Restart=on-failure",
    "StartLimitIntervalSec=0",
    "WantedBy=multi-user.target",
];

fn desired() -> Desired {
    let mut fixture = Fixture::new(3, "1.32.3", "3.5.21");
    let settings = fixture.inventory.components.entry("etcd".to_owned());
    let odd = ("GODEBUG".to_owned(), "a=b c \"d\" 50% $x \\".to_owned());
    settings.or_default().environment.extend([odd]);
    fixture.composed()
}

/// A node's tree in a directory: what is rendered as it is, programs as empty scripts.
fn tree(desired: &Desired, root: &Path) {
    for (path, entry) in &manifest(desired, "az1").entries {
        let path = root.join(&path.as_str()[1..]);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        match &entry.kind {
            Kind::Directory => fs_err::create_dir_all(path).unwrap(),
            Kind::Link { target } => fs_err::os::unix::fs::symlink(target, path).unwrap(),
            Kind::File { digest, .. } => {
                let (content, mode) = match &desired.contents[digest] {
                    Content::Inline(content) => (content.expose(), 0o644),
                    Content::Fetched { .. } => (&b"#!/bin/sh\n"[..], 0o755),
                };
                fs_err::write(&path, content).unwrap();
                let mode = std::fs::Permissions::from_mode(mode);
                fs_err::set_permissions(path, mode).unwrap();
            }
        }
    }
}

/// Runs `systemd-analyze` with the tree as its root; everything it says.
#[track_caller]
fn analyze(root: &Path, words: &[&str]) -> String {
    let output = Command::new("systemd-analyze")
        .args(words)
        .arg(format!("--root={}", root.display()))
        .args(["--no-pager", "--man=no"])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("this test needs `systemd-analyze`");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{out}{err}");
    out + &err
}

#[test]
fn every_unit_is_hardened() {
    let desired = desired();
    for service in SERVICES {
        let unit = text(
            &desired,
            "az1",
            &format!("/etc/systemd/system/{service}.service"),
        );
        for line in HARDENING {
            assert!(
                unit.lines().any(|found| found == *line),
                "{service}: {line}"
            );
        }
        let user = format!("User={service}");
        assert!(unit.lines().any(|found| found == user), "{unit}");
        let kind = match service {
            "etcd" | "kube-apiserver" => "Type=notify",
            _ => "Type=exec",
        };
        assert!(unit.lines().any(|found| found == kind), "{unit}");
    }
}

/// Every directive of the units that is newer than systemd 232, with the systemd that brought it:
/// the manual pages `systemd.unit(5)` to `systemd.resource-control(5)`, "History", and NEWS. An
/// older one warns of a line in `[Service]` that it does not know, and goes on without it.
const SINCE: [(&str, u32); 22] = [
    ("AmbientCapabilities", 229),
    ("BindReadOnlyPaths", 233),
    ("IPAddressAllow", 235),
    ("IPAddressDeny", 235),
    ("KeyringMode", 235),
    ("LockPersonality", 235),
    ("LogsDirectory", 235),
    ("LogsDirectoryMode", 235),
    ("MemoryDenyWriteExecute", 231),
    ("MountAPIVFS", 233),
    ("PrivateMounts", 239),
    ("ProcSubset", 247),
    ("ProtectClock", 245),
    ("ProtectHostname", 242),
    ("ProtectKernelLogs", 244),
    ("ProtectProc", 247),
    ("RemoveIPC", 232),
    ("RestrictNamespaces", 233),
    ("RestrictSUIDSGID", 242),
    ("RuntimeDirectory", 211),
    ("StateDirectory", 235),
    ("StateDirectoryMode", 235),
];

/// What every systemd from 232 on knows.
const OLD: [&str; 36] = [
    "After",
    "CapabilityBoundingSet",
    "Description",
    "DeviceAllow",
    "DevicePolicy",
    "Documentation",
    "Environment",
    "ExecStart",
    "Group",
    "LimitNOFILE",
    "NoNewPrivileges",
    "OOMScoreAdjust",
    "PrivateDevices",
    "PrivateTmp",
    "PrivateUsers",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectSystem",
    "Restart",
    "RestartSec",
    "RestrictAddressFamilies",
    "RestrictRealtime",
    "RootDirectory",
    "StartLimitIntervalSec",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "User",
    "WantedBy",
    "Wants",
];

/// What a systemd of Debian 10 (241), Ubuntu 20.04 (245) or Debian 11 (247) does without; all of
/// it only takes something away from a service, so that one starts without it as well.
const DONE_WITHOUT: [&str; 6] = [
    "ProcSubset",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectProc",
    "RestrictSUIDSGID",
];

#[test]
fn an_older_systemd_does_without_restrictions_alone() {
    let desired = desired();
    for service in SERVICES {
        let path = format!("/etc/systemd/system/{service}.service");
        let unit = text(&desired, "az1", &path);
        let lines = unit.lines().filter(|line| !line.starts_with([' ', '#']));
        let keys = lines.filter_map(|line| Some(line.split_once('=')?.0));
        for key in keys {
            let since = SINCE.iter().find(|(name, _)| *name == key);
            assert!(since.is_some() || OLD.contains(&key), "{service}: {key}");
            let newer = since.is_some_and(|(_, since)| *since > 241);
            assert_eq!(newer, DONE_WITHOUT.contains(&key), "{service}: {key}");
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_them() {
    let (root, desired) = (tempfile::tempdir().unwrap(), desired());
    tree(&desired, root.path());
    // The targets that the units name are the machine's part, not ours.
    let targets = root.path().join("usr/lib/systemd/system");
    fs_err::create_dir_all(&targets).unwrap();
    for target in [
        "basic",
        "multi-user",
        "network-online",
        "shutdown",
        "sysinit",
        "time-sync",
    ] {
        let text = "[Unit]\nDefaultDependencies=no\n";
        fs_err::write(targets.join(format!("{target}.target")), text).unwrap();
    }
    let units = SERVICES.map(|service| format!("{service}.service"));
    let mut words = vec!["verify", "--recursive-errors=no"];
    words.extend(units.iter().map(String::as_str));
    // A key it does not know is only a warning to it: nothing must be said at all.
    assert_eq!(analyze(root.path(), &words), "");
}

#[test]
fn they_are_little_exposed() {
    let (root, desired) = (tempfile::tempdir().unwrap(), desired());
    tree(&desired, root.path());
    for (service, max) in EXPOSURE_MAX {
        let unit = format!("{service}.service");
        let said = analyze(root.path(), &["security", "--offline=yes", &unit]);
        let (_, level) = said
            .split_once(&format!("Overall exposure level for {unit}: "))
            .unwrap();
        let level: f64 = level.split_whitespace().next().unwrap().parse().unwrap();
        assert!(level <= max, "{said}");
    }
}
