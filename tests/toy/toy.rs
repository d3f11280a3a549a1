//! A component that nobody needs, added to a copy of kinstall by a test: this file, its templates, a
//! line for it and a line for whoever publishes it are all that a new one takes.

use super::{
    Access, Account, Checksums, Component, Data, Directory, File, Gap, Pair, Probe, Publisher,
    Reach, Release, Scheme, Service, Stage, Track, flag,
};
use crate::arch::Arch;
use crate::role::Role;
use crate::template::builtin;
use crate::version::{Minor, Version};

/// Who publishes it.
pub(super) const PUBLISHER: Publisher = Publisher {
    name: "toys",
    url: "https://toys.invalid/releases",
    checksums: Checksums::List("toys.sha256sum"),
};

/// The toy: a service of root's on workers, and the tool beside it.
pub(super) const TOY: Component = Component {
    name: "toy",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Own(&[
        Pair {
            since: Minor::new(1, 20),
            version: Version::new(1, 6, 0),
        },
        Pair {
            since: Minor::new(1, 32),
            version: Version::new(2, 0, 1),
        },
    ]),
    programs: &["toy", "toyctl"],
    directory: "/opt/toy/bin",
    release: Some(Release {
        publisher: &PUBLISHER,
        path: "v{version}/toy-{version}-{arch}.tar.gz",
        member: Some("bin/{program}"),
        gaps: &[Gap {
            arch: Arch::Armhf,
            last: None,
            help: "build it",
        }],
    }),
    directories: &[
        Directory {
            path: "/etc/toy",
            access: Access::Root,
        },
        Directory {
            path: "/opt/toy",
            access: Access::Anyone,
        },
        Directory {
            path: "/opt/toy/bin",
            access: Access::Anyone,
        },
    ],
    files: &[File::Template {
        path: "/etc/toy/toy.conf",
        text: builtin!("etc/toy/toy.conf.hbs"),
        access: Access::Root,
    }],
    words: &[],
    service: Some(Service {
        account: Account::Root,
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/toy.service.hbs"),
        flags: &[flag("config", "/etc/toy/toy.conf")],
        first_start: &[],
        environment: &[],
        data: &[Data {
            directory: "/var/lib/toy",
            flags: &["root"],
            contents: None,
        }],
        reach: Reach::Cluster,
        probe: Some(Probe {
            scheme: Scheme::Http,
            port: 10999,
            path: "/healthz",
            client: None,
            authority: None,
        }),
        registers: false,
        follows: &[],
        cleanup: &[],
    }),
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::arch::Arch;
    use crate::artifact::{Origin, Program};
    use crate::check::command_lines;
    use crate::inventory::{Inventory, Role};
    use crate::manifest::compose::fixture::{Fixture, manifest, text};
    use crate::manifest::{Probe, Stage};
    use crate::remote_path::RemotePath;

    const INVENTORY: &str = r#"
        [cluster]
        name = "home"
        kubernetes = "1.32.3"

        [source]
        toys = ["https://toys.home"]

        [component.toy]
        flags = { root = "/srv/toy" }

        [[node]]
        name = "az1"
        address = "10.0.12.1"

        [[node]]
        name = "worker0"
        address = "10.0.12.20"
        roles = ["worker"]
    "#;

    #[test]
    fn a_new_component_is_installed_like_any_other() {
        let desired = Fixture::of(INVENTORY).composed();
        assert!(!manifest(&desired, "az1").versions.contains_key("toy"));
        let worker = manifest(&desired, "worker0");
        assert_eq!(worker.versions["toy"], "2.0.1");
        for path in ["/opt/toy/bin/toy", "/opt/toy/bin/toyctl-v2.0.1"] {
            let path = RemotePath::fixed(path);
            assert!(worker.entries.contains_key(&path), "{path}");
        }
        let unit = &worker.units[&"toy.service".parse().unwrap()];
        assert_eq!(unit.stage, Stage::Workers);
        assert_eq!(unit.port(), Some(10999));
        let probe = serde_json::to_value(&unit.probe).unwrap();
        assert_eq!(probe["scheme"], "http");
        assert!(serde_json::from_value::<Probe>(probe).is_ok());
        // It runs as root, and is restarted for what only root may read.
        let conf = RemotePath::fixed("/etc/toy/toy.conf");
        assert!(unit.watches.contains(&conf), "{:?}", unit.watches);
        let file = text(&desired, "worker0", "/etc/systemd/system/toy.service");
        let start = "ExecStart=/opt/toy/bin/toy \\\n    --config=/etc/toy/toy.conf \\\n    --root=/srv/toy\n";
        assert!(file.contains(start), "{file}");
        let users = text(&desired, "worker0", "/etc/sysusers.d/kinstall.conf");
        assert!(!users.contains("toy"), "nobody is made for what runs as root: {users}");
    }

    #[test]
    fn its_release_is_found_and_its_gaps_are_told() {
        let program = |arch| Program {
            name: "toyctl".to_owned(),
            version: "2.0.1".parse().unwrap(),
            arch,
            own: None,
        };
        let artifact = program(Arch::Arm64).artifact().unwrap();
        assert_eq!(artifact.path, "v2.0.1/toy-2.0.1-arm64.tar.gz");
        assert_eq!(artifact.origin.name(), "toys");
        let members = [("toy", "bin/toy"), ("toyctl", "bin/toyctl")];
        let members = members.map(|(name, path)| (name, path.to_owned()));
        assert_eq!(artifact.members(), members);
        assert!(program(Arch::Armhf).artifact().is_err());
        let text = INVENTORY.replace("\"worker0\"", "\"worker0\"\narch = \"armhf\"");
        let problems = Inventory::parse(&text, "x", "/inventory".as_ref()).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let no_toy = "there is no toy for armhf, which node `worker0` wants";
        assert!(told.iter().any(|it| it == no_toy), "{told:?}");
    }

    #[test]
    fn what_it_may_not_write_is_told_and_its_source_is_the_users() {
        let (inventory, _) = Inventory::parse(INVENTORY, "x", "/inventory".as_ref()).unwrap();
        let Origin::Upstream(publisher) = Origin::all().find(|it| it.name() == "toys").unwrap()
        else {
            unreachable!("it is upstream's")
        };
        assert_eq!(inventory.source.of(publisher), ["https://toys.home"]);
        let roles = inventory.nodes.values().map(|node| node.roles.clone());
        assert!(roles.collect::<Vec<_>>().contains(&BTreeSet::from([Role::Worker])));
        let told: Vec<String> = command_lines(&inventory).into_iter().map(|it| it.message).collect();
        let may_not = "toy may not write `/srv/toy`: its unit lets it write below `/var/lib/toy` only";
        assert!(told.iter().any(|it| it == may_not), "{told:?}");
    }
}
