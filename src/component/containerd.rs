//! containerd, which runs containers for the kubelet, and the image that each Pod begins with.
//!
//! The unit is upstream's (`containerd.service`): what a container may do is decided for each
//! container, and what its runtime is kept from, containers are kept from as well. The keys of the
//! configuration and where they stand are those of `docs/cri/config.md` of each line.

use super::{
    Access, Account, BIN, Checksums, Component, Data, Directory, File, Gap, Pair, Publisher, Reach,
    Release, Service, Stage, TemplateWord, Track, Valid,
};
use crate::arch::Arch;
use crate::role::Role;
use crate::template::builtin;
use crate::version::{Minor, Version};

/// Where it listens for the kubelet and for crictl.
pub const SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// The image of what holds the namespaces of a Pod open, without its tag.
pub const PAUSE: &str = "registry.k8s.io/pause";

/// The tag of [`PAUSE`] that goes with a line of Kubernetes; of a line that is not known, that of
/// the nearest one. The kubelet does not mind another: what matters is that one lies on the node.
///
/// Source: what `kubeadm config images list` of each line prints.
pub fn pause_tag(kubernetes: Minor) -> &'static str {
    match kubernetes.minor {
        ..=20 => "3.2",
        21 => "3.4.1",
        22 => "3.5",
        23 => "3.6",
        24 => "3.7",
        25 => "3.8",
        26..=30 => "3.9",
        31..=33 => "3.10",
        34..=35 => "3.10.1",
        36.. => "3.10.2",
    }
}

/// containerd's releases on GitHub, which have a list of one line beside each archive.
pub(super) const PUBLISHER: Publisher = Publisher {
    name: "containerd",
    url: "https://github.com/containerd/containerd/releases/download",
    checksums: Checksums::Beside(".sha256sum"),
};

/// An archive for each architecture. There never was one for 32-bit ARM (`RELEASES.md`, "Platform
/// Support").
const RELEASE: Release = Release {
    publisher: &PUBLISHER,
    path: "v{version}/containerd-{version}-linux-{arch}.tar.gz",
    member: Some("bin/{program}"),
    gaps: &[Gap {
        arch: Arch::Armhf,
        last: None,
        help: "take the programs of Debian's package `containerd` or build them for GOARCH=arm, \
                  and name the directory that holds `containerd`, `containerd-shim-runc-v2` and \
                  `ctr` as `path`, and their version, under `[component.containerd]`; or install a \
                  64-bit system on the node (arm64)",
    }],
};

/// The line that goes with each line of Kubernetes: 2.x has no v1alpha2, the only CRI that a
/// kubelet speaks before 1.23, and upstream tested it with 1.31 and later (`RELEASES.md`,
/// "Kubernetes Support").
const VERSIONS: &[Pair] = &[
    Pair {
        since: Minor::new(1, 20),
        version: Version::new(1, 7, 34),
    },
    Pair {
        since: Minor::new(1, 31),
        version: Version::new(2, 0, 11),
    },
    Pair {
        since: Minor::new(1, 35),
        version: Version::new(2, 3, 4),
    },
];

/// containerd: one on each worker.
pub(super) const CONTAINERD: Component = Component {
    name: "containerd",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Own(VERSIONS),
    programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
    directory: BIN,
    release: Some(RELEASE),
    directories: &[Directory {
        path: "/etc/containerd",
        access: Access::Root,
    }],
    files: &[File::Template {
        path: "/etc/containerd/config.toml",
        text: builtin!("etc/containerd/config.toml.hbs"),
        access: Access::Root,
    }],
    words: WORDS,
    service: Some(Service {
        account: Account::Root,
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/containerd.service.hbs"),
        // Its own default is `--config=/etc/containerd/config.toml`.
        flags: &[],
        first_start: &[],
        environment: &[],
        data: &[Data {
            directory: "/var/lib/containerd",
            flags: &["root"],
            contents: None,
        }],
        reach: Reach::Machine,
        probe: None,
        registers: false,
        follows: &[],
        cleanup: CLEANUP,
    }),
};

/// Pods live on under their shims while containerd is restarted; when it goes for good, they go. Their
/// processes are all in one slice, as systemd makes their control groups.
const CLEANUP: &[&str] = &[
    "systemctl stop kubepods.slice",
    "for it in /proc/[0-9]*/exe; do case $(readlink $it) in \
     /usr/local/bin/containerd-shim-runc-v2*) p=${it%/exe}; kill -9 ${p##*/} ;; esac; done; sleep 1",
    "awk '$2 ~ \"^(/run/containerd|/var/lib/containerd|/run/netns/cni-)\" && $2 != \"/var/lib/containerd\" { \
     print $2 }' /proc/mounts | sort -r | xargs -r umount -l",
    "rm -rf /run/containerd /run/netns/cni-*",
];

/// A configuration of version 4 is what 2.3 would write, but then neither 2.2 nor anything older
/// starts, and there is no way back. All of 2.x reads version 3.
const WORDS: &[TemplateWord] = &[
    TemplateWord {
        name: "config_version",
        value: "2",
        valid: Valid::before(2, 0),
    },
    TemplateWord {
        name: "config_version",
        value: "3",
        valid: Valid::since(2, 0),
    },
    TemplateWord {
        name: "images",
        value: "io.containerd.grpc.v1.cri",
        valid: Valid::before(2, 0),
    },
    TemplateWord {
        name: "images",
        value: "io.containerd.cri.v1.images",
        valid: Valid::since(2, 0),
    },
    TemplateWord {
        name: "runtime",
        value: "io.containerd.grpc.v1.cri",
        valid: Valid::before(2, 0),
    },
    TemplateWord {
        name: "runtime",
        value: "io.containerd.cri.v1.runtime",
        valid: Valid::since(2, 0),
    },
    // `sandbox_image` stands in the table of the plugin itself, `sandbox` in one of its own.
    TemplateWord {
        name: "is_first",
        value: "yes",
        valid: Valid::before(2, 0),
    },
    TemplateWord {
        name: "is_first",
        value: "",
        valid: Valid::since(2, 0),
    },
    // 2.1 calls `bin_dir` deprecated, 2.4 does not have it.
    TemplateWord {
        name: "cni_programs",
        value: "bin_dir = \"/opt/cni/bin\"",
        valid: Valid::before(2, 1),
    },
    TemplateWord {
        name: "cni_programs",
        value: "bin_dirs = [\"/opt/cni/bin\"]",
        valid: Valid::since(2, 1),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::compose::fixture::{Fixture, arguments, manifest, text};
    use crate::remote_path::RemotePath;

    const INVENTORY: &str = r#"
        [cluster]
        name = "home"
        kubernetes = "1.32.3"

        [[node]]
        name = "az1"
        address = "10.0.12.1"

        [[node]]
        name = "worker0"
        address = "10.0.12.20"
        roles = ["worker"]
    "#;

    fn rendered(kubernetes: &str, containerd: Option<&str>, path: &str) -> String {
        let mut said = INVENTORY.replace("1.32.3", kubernetes);
        if let Some(version) = containerd {
            said = format!("{said}\n[component.containerd]\nversion = \"{version}\"\n");
        }
        text(&Fixture::of(&said).composed(), "worker0", path)
    }

    #[test]
    fn each_line_of_kubernetes_has_its_own_pause() {
        for (minor, expected) in [
            (19, "3.2"),
            (20, "3.2"),
            (21, "3.4.1"),
            (26, "3.9"),
            (30, "3.9"),
            (31, "3.10"),
            (34, "3.10.1"),
            (36, "3.10.2"),
            (37, "3.10.2"),
        ] {
            assert_eq!(pause_tag(Minor::new(1, minor)), expected, "1.{minor}");
        }
    }

    /// A key by its path; none where it is not there.
    fn at<'a>(config: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Value> {
        let (last, tables) = path.split_last()?;
        let mut table = config;
        for name in tables {
            table = table.get(*name)?.as_table()?;
        }
        table.get(*last)
    }

    #[test]
    fn each_line_is_configured_where_it_looks() {
        const FIRST: &str = "io.containerd.grpc.v1.cri";
        const IMAGES: &str = "io.containerd.cri.v1.images";
        const RUNTIME: &str = "io.containerd.cri.v1.runtime";
        for (kubernetes, containerd, version, images, runtime) in [
            ("1.20.2", None, 2, FIRST, FIRST),
            ("1.26.15", Some("1.6.39"), 2, FIRST, FIRST),
            ("1.30.1", None, 2, FIRST, FIRST),
            ("1.32.3", None, 3, IMAGES, RUNTIME),
            ("1.34.0", Some("2.1.5"), 3, IMAGES, RUNTIME),
            ("1.36.3", None, 3, IMAGES, RUNTIME),
        ] {
            let case = format!("{kubernetes} {containerd:?}");
            let text = rendered(kubernetes, containerd, "/etc/containerd/config.toml");
            let config: toml::Table = text.parse().unwrap_or_else(|it| panic!("{case}: {it}"));
            let check = |path: &[&str], expected: toml::Value| {
                assert_eq!(
                    at(&config, path),
                    Some(&expected),
                    "{case}: {path:?}\n{text}"
                );
            };
            check(&["version"], version.into());
            check(&["grpc", "gid"], 0.into());
            let minor = kubernetes.parse::<Version>().unwrap().minor();
            let image = format!("{PAUSE}:{}", pause_tag(minor));
            let sandbox: &[&str] = if version == 2 {
                &["plugins", images, "sandbox_image"]
            } else {
                &["plugins", images, "pinned_images", "sandbox"]
            };
            check(sandbox, image.into());
            let registry = ["plugins", images, "registry", "config_path"];
            check(&registry, "/etc/containerd/certs.d".into());
            let runc = ["plugins", runtime, "containerd", "runtimes", "runc"];
            check(
                &[&runc[..], &["runtime_type"]].concat(),
                "io.containerd.runc.v2".into(),
            );
            check(
                &[&runc[..], &["options", "SystemdCgroup"]].concat(),
                true.into(),
            );
            check(
                &[&runc[..], &["options", "BinaryName"]].concat(),
                "/usr/local/bin/runc".into(),
            );
            check(
                &["plugins", runtime, "cni", "conf_dir"],
                "/etc/cni/net.d".into(),
            );
            check(
                &["plugins", FIRST, "stream_server_address"],
                "127.0.0.1".into(),
            );
            let nri = ["plugins", "io.containerd.nri.v1.nri", "disable"];
            let is_off = at(&config, &nri).and_then(toml::Value::as_bool);
            assert_eq!(is_off, (version == 3).then_some(true), "{case}");
            assert!(!text.contains("conf_template"), "{case}");
        }
    }

    #[test]
    fn the_key_of_the_network_plugins_is_the_one_that_each_line_has() {
        for (containerd, key) in [
            ("2.0.11", "bin_dir = \"/opt/cni/bin\""),
            ("2.1.0", "bin_dirs = [\"/opt/cni/bin\"]"),
            ("2.3.4", "bin_dirs = [\"/opt/cni/bin\"]"),
        ] {
            let text = rendered("1.34.0", Some(containerd), "/etc/containerd/config.toml");
            assert!(text.lines().any(|line| line == key), "{containerd}: {text}");
        }
    }

    #[test]
    fn its_unit_is_upstreams() {
        let desired = Fixture::of(INVENTORY).composed();
        let path = "/etc/systemd/system/containerd.service";
        let unit = text(&desired, "worker0", path);
        for line in [
            "Type=notify",
            "ExecStartPre=-/sbin/modprobe overlay",
            "ExecStart=/usr/local/bin/containerd",
            "Delegate=yes",
            "KillMode=process",
            "Restart=always",
            "RestartSec=5",
            "OOMScoreAdjust=-999",
            "LimitNPROC=infinity",
            "LimitCORE=infinity",
            "TasksMax=infinity",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
        }
        // Containers inherit both.
        assert!(
            !unit.contains("LimitNOFILE") && !unit.contains("Protect"),
            "{unit}"
        );
        assert_eq!(
            arguments(&desired, "worker0", "containerd"),
            Vec::<String>::new()
        );
        let unit = &manifest(&desired, "worker0").units[&"containerd.service".parse().unwrap()];
        assert_eq!((unit.stage, unit.probe.is_none()), (Stage::Workers, true));
        let watched = |path: &str| unit.watches.contains(&RemotePath::fixed(path));
        assert!(watched("/etc/containerd/config.toml"));
        assert!(watched("/usr/local/bin/containerd"));
        // The shims of Pods that run stay as they are; the next Pod gets the new one.
        assert!(!watched("/usr/local/bin/containerd-shim-runc-v2"));
    }
}
