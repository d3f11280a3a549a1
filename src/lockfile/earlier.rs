//! Pins that an earlier kinstall made of Kubernetes' archive of servers, from which it took single
//! programs. Pure.
//!
//! The digest that is pinned of such a program is the digest of the program itself, which upstream
//! publishes as a file too. So the pin of the archive is read as a pin of each of these files.

use std::collections::BTreeMap;

use super::{Pin, Trust};
use crate::artifact::{Artifact, Origin, Program};

/// The pins of single programs that a pin of the archive stands for; any other pin as it is.
pub(super) fn read(artifact: Artifact, pin: Pin) -> Vec<(Artifact, Pin)> {
    let Artifact {
        origin,
        version,
        arch,
        ..
    } = artifact;
    let upstream = arch.upstream();
    let archive = format!("v{version}/kubernetes-server-linux-{upstream}.tar.gz");
    if artifact.origin == Origin::Own || artifact.path != archive {
        return vec![(artifact, pin)];
    }
    let single = |(name, member): (String, super::PinnedProgram)| {
        let program = Program {
            name,
            version,
            arch,
            own: None,
        };
        let artifact = program.artifact().ok()?;
        let pin = Pin {
            size: member.size,
            digest: member.digest,
            // What was built in is the digest of the archive, and nothing is known of it any more.
            trust: pin.trust.max(Trust::Published),
            members: BTreeMap::new(),
        };
        // No release has etcd in it.
        (artifact.origin == origin).then_some((artifact, pin))
    };
    pin.members.into_iter().filter_map(single).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::digest::Digest;
    use crate::lockfile::{Lockfile, Malformed, PinnedProgram};

    /// What kinstall wrote with `[source] archive = true`, to the byte.
    fn text(trust: &str) -> String {
        format!(
            "# Made by `kinstall fetch`; commit it. It pins every byte that is downloaded, whatever mirror it\n\
             # comes from. `kinstall fetch --update` pins anew; nothing else changes a pin.\n\
             format = 1\n\n\
             [[artifact]]\nsource = \"kubernetes\"\n\
             path = \"v1.22.17/kubernetes-server-linux-arm.tar.gz\"\n\
             version = \"1.22.17\"\narch = \"armhf\"\nsize = 300000000\n\
             sha256 = \"{}\"\ntrust = \"{trust}\"\n\n\
             [[artifact.program]]\nname = \"kube-apiserver\"\nsize = 110000000\nsha256 = \"{}\"\n\n\
             [[artifact.program]]\nname = \"kube-scheduler\"\nsize = 40000000\nsha256 = \"{}\"\n",
            Digest::of(b"archive"),
            Digest::of(b"kube-apiserver"),
            Digest::of(b"kube-scheduler"),
        )
    }

    fn program(name: &str) -> Program {
        Program {
            name: name.to_owned(),
            version: "1.22.17".parse().unwrap(),
            arch: Arch::Armhf,
            own: None,
        }
    }

    #[test]
    fn a_program_pinned_in_the_archive_of_servers_is_pinned_as_the_same_single_file() {
        for (written, read) in [
            ("built-in", Trust::Published),
            ("published", Trust::Published),
            ("mirror", Trust::Mirror),
            ("bundle", Trust::Bundle),
        ] {
            let lockfile = Lockfile::parse(&text(written)).unwrap();
            assert_eq!(lockfile.pins().count(), 2);
            for (name, size) in [
                ("kube-apiserver", 110_000_000),
                ("kube-scheduler", 40_000_000),
            ] {
                let digest = Digest::of(name.as_bytes());
                let pinned = PinnedProgram { digest, size };
                let (artifact, found) = lockfile.artifact(&program(name)).unwrap();
                assert_eq!(found, pinned);
                assert_eq!(
                    artifact.path,
                    format!("release/v1.22.17/bin/linux/arm/{name}")
                );
                assert_eq!(lockfile.pin(&artifact).unwrap().trust, read);
            }
            assert_eq!(lockfile.program(&program("kubectl")), None);
            // What is written is a pin of single files.
            let written = lockfile.to_text();
            assert!(!written.contains("tar.gz"), "{written}");
            assert_eq!(Lockfile::parse(&written), Ok(lockfile));
        }
    }

    #[test]
    fn a_program_that_is_pinned_both_ways_is_pinned_twice() {
        let mut lockfile = Lockfile::parse(&text("mirror")).unwrap().to_text();
        lockfile.push('\n');
        lockfile.push_str(text("mirror").split_once("\n\n").unwrap().1);
        let path = "release/v1.22.17/bin/linux/arm/kube-apiserver".to_owned();
        assert_eq!(
            Lockfile::parse(&lockfile),
            Err(Malformed::Twice { line: 25, path })
        );
    }

    #[test]
    fn what_never_was_in_the_archive_is_not_pinned_by_it() {
        let edited = text("mirror").replace("kube-scheduler", "etcd");
        let lockfile = Lockfile::parse(&edited).unwrap();
        assert_eq!(lockfile.pins().count(), 1);
    }
}
