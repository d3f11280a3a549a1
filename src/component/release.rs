//! Where programs are published, with what checksums, and which builds there are.

use std::cmp::Ordering;

use super::PUBLISHERS;
use crate::arch::Arch;
use crate::version::Version;

/// Who publishes programs: a key of `[source]`, with a list of base URLs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Publisher {
    /// The key, which is also the word in a lockfile: `kubernetes`.
    pub name: &'static str,
    /// The base URL, unless the inventory says others.
    pub url: &'static str,
    /// Where the checksum of a file lies.
    pub checksums: Checksums,
}

/// In the order of [`PUBLISHERS`], which is that of a lockfile.
impl Ord for Publisher {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |it: &Self| PUBLISHERS.iter().position(|known| *known == it);
        place(self).cmp(&place(other))
    }
}

impl PartialOrd for Publisher {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a publisher keeps SHA-256 checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksums {
    /// In a file beside each file, whose name has this behind it.
    Beside(&'static str),
    /// In a list of this name in the same directory.
    List(&'static str),
}

/// How the programs of a component are published. In paths `{version}`, `{arch}` (Go's word, which
/// is most publishers': `arm`), `{debian-arch}` (Debian's: `armhf`) and `{program}` are filled in.
#[derive(Debug)]
pub struct Release {
    /// Who publishes them.
    pub publisher: &'static Publisher,
    /// Where the file lies below a base URL.
    pub path: &'static str,
    /// Where a program lies inside, if the file is an archive.
    pub member: Option<&'static str>,
    /// Builds that there are not.
    pub gaps: &'static [Gap],
}

/// Builds that a publisher does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// For this architecture.
    pub arch: Arch,
    /// After this release; none where there never was one.
    pub last: Option<Version>,
    /// What a user can do.
    pub help: &'static str,
}

impl Release {
    /// Where the file with a program lies below a base URL.
    pub fn path(&self, program: &str, version: Version, arch: Arch) -> String {
        filled(self.path, program, version, arch)
    }

    /// Where a program lies inside of the file; none if the file is the program.
    pub fn member(&self, program: &str, version: Version, arch: Arch) -> Option<String> {
        let path = self.member?;
        Some(filled(path, program, version, arch))
    }

    /// That nothing was ever built for an architecture, where it is so.
    pub fn never_built(&self, arch: Arch) -> Option<&'static Gap> {
        let mut gaps = self.gaps.iter();
        gaps.find(|gap| gap.arch == arch && gap.last.is_none())
    }

    /// Why there is no build of a version for an architecture; none where there is one.
    pub fn gap(&self, version: Version, arch: Arch) -> Option<&'static Gap> {
        let mut gaps = self.gaps.iter();
        gaps.find(|gap| gap.arch == arch && gap.last.is_none_or(|last| version > last))
    }
}

fn filled(text: &str, program: &str, version: Version, arch: Arch) -> String {
    text.replace("{version}", &version.to_string())
        .replace("{arch}", arch.upstream())
        .replace("{debian-arch}", arch.name())
        .replace("{program}", program)
}

#[cfg(test)]
mod tests {
    use crate::arch::Arch;
    use crate::artifact::Program;

    fn program(name: &str, version: &str, arch: Arch) -> Program {
        Program {
            name: name.to_owned(),
            version: version.parse().unwrap(),
            arch,
            own: None,
        }
    }

    /// Who publishes a program, the URL below its base, and the member if it is in an archive.
    #[track_caller]
    fn check(name: &str, version: &str, arch: Arch, publisher: &str, path: &str, member: &str) {
        let artifact = program(name, version, arch).artifact().unwrap();
        assert_eq!(artifact.origin.name(), publisher);
        assert_eq!(artifact.path, path);
        assert_eq!(artifact.is_archive(), !member.is_empty());
        let mut members = artifact.members().into_iter();
        let found = members.find(|(program, _)| *program == name);
        assert_eq!(found.map_or(String::new(), |(_, member)| member), member);
    }

    #[test]
    fn what_runs_containers_lies_where_its_publishers_put_it() {
        check(
            "containerd-shim-runc-v2",
            "1.7.34",
            Arch::Amd64,
            "containerd",
            "v1.7.34/containerd-1.7.34-linux-amd64.tar.gz",
            "bin/containerd-shim-runc-v2",
        );
        check(
            "runc",
            "1.2.9",
            Arch::Arm64,
            "runc",
            "v1.2.9/runc.arm64",
            "",
        );
        check(
            "runc",
            "1.1.15",
            Arch::Armhf,
            "runc",
            "v1.1.15/runc.armhf",
            "",
        );
        check(
            "host-local",
            "1.9.1",
            Arch::Armhf,
            "cni-plugins",
            "v1.9.1/cni-plugins-linux-arm-v1.9.1.tgz",
            "host-local",
        );
        check(
            "crictl",
            "1.28.0",
            Arch::Armhf,
            "crictl",
            "v1.28.0/crictl-v1.28.0-linux-arm.tar.gz",
            "crictl",
        );
    }

    #[test]
    fn what_runs_containers_has_gaps_with_a_way_out() {
        for (name, version, help) in [
            ("containerd", "1.7.34", "`[component.containerd]`"),
            ("ctr", "2.3.4", "Debian's package `containerd`"),
            ("crictl", "1.29.0", "`[component.crictl]`"),
        ] {
            let error = program(name, version, Arch::Armhf).artifact().unwrap_err();
            let said = format!("upstream never published `{name}` {version} for `armhf`");
            assert_eq!(error.to_string(), said);
            assert!(error.help.contains(help), "{}", error.help);
        }
    }

    #[test]
    fn each_line_of_kubernetes_gets_the_programs_that_go_with_it() {
        use crate::component::{Pair, Track, track};
        use crate::version::Minor;
        for (kubernetes, containerd, runc, crictl) in [
            (20, "1.7.34", "1.2.9", "1.20.0"),
            (24, "1.7.34", "1.2.9", "1.24.2"),
            (26, "1.7.34", "1.2.9", "1.26.1"),
            (30, "1.7.34", "1.2.9", "1.30.1"),
            (31, "2.0.11", "1.2.9", "1.31.1"),
            (34, "2.0.11", "1.2.9", "1.34.0"),
            (35, "2.3.4", "1.4.3", "1.35.0"),
            (37, "2.3.4", "1.4.3", "1.36.0"),
        ] {
            for (name, expected) in [
                ("containerd", containerd),
                ("runc", runc),
                ("crictl", crictl),
                ("cni-plugins", "1.9.1"),
            ] {
                let Track::Own(pairs) = track(name) else {
                    panic!("{name} has versions of its own");
                };
                let version = Pair::of(pairs, Minor::new(1, kubernetes)).unwrap();
                assert_eq!(version.to_string(), expected, "{name} for 1.{kubernetes}");
            }
        }
    }
}
