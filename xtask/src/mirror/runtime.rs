//! What runs containers on workers: containerd, runc, the CNI plugins and crictl, laid out as their publishers
//! do, each below a directory of its own that is a base URL.
//!
//! Genuine ones are Debian's, packed again; only crictl, which no package has, is a stand-in then. In a mirror of
//! stand-ins all of them are, in the versions that kinstall chooses by itself.
//!
//! ```text
//! containerd/v1.6.20/containerd-1.6.20-linux-amd64.tar.gz{,.sha256sum}        bin/containerd, bin/ctr, ...
//! runc/v1.1.5/runc.amd64, runc.sha256sum
//! cni-plugins/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tgz{,.sha256}             ./bridge, ./host-local, ...
//! crictl/v1.20.0/crictl-v1.20.0-linux-amd64.tar.gz{,.sha256}                  crictl
//! ```

use std::path::Path;

use super::{Error, Version, arch, sha256};
use crate::command::Program;
use crate::debian::Packages;
use crate::say;

/// Whoever publishes one of them.
struct Publisher {
    /// Its name, and that of its directory.
    name: &'static str,
    /// The name of its file.
    file: fn(Version) -> String,
    /// What stands before each program's name in the archive; none where the file is the program.
    before: Option<&'static str>,
    /// What its checksum is called: the end of a name of its own, or the name of a list.
    checksum: Checksum,
    /// The programs that stand-ins are needed of.
    programs: &'static [&'static str],
    /// The versions that kinstall chooses for one line of Kubernetes or another.
    versions: &'static [Version],
    /// Debian's package, and the directory in it.
    package: Option<(&'static str, &'static str)>,
}

enum Checksum {
    Beside(&'static str),
    List(&'static str),
}

const CONTAINERD: Publisher = Publisher {
    name: "containerd",
    file: |version| format!("containerd-{version}-linux-{}.tar.gz", arch()),
    before: Some("bin/"),
    checksum: Checksum::Beside(".sha256sum"),
    programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
    versions: &[Version(1, 7, 34), Version(2, 0, 11), Version(2, 3, 4)],
    package: Some(("containerd", "usr/bin")),
};

const RUNC: Publisher = Publisher {
    name: "runc",
    file: |_| format!("runc.{}", arch()),
    before: None,
    checksum: Checksum::List("runc.sha256sum"),
    programs: &["runc"],
    versions: &[Version(1, 1, 15), Version(1, 2, 9), Version(1, 4, 3)],
    package: Some(("runc", "usr/sbin")),
};

const CNI_PLUGINS: Publisher = Publisher {
    name: "cni-plugins",
    file: |version| format!("cni-plugins-linux-{}-v{version}.tgz", arch()),
    before: Some("./"),
    checksum: Checksum::Beside(".sha256"),
    programs: &["bridge", "host-local", "loopback", "portmap"],
    versions: &[Version(1, 9, 1)],
    package: Some(("containernetworking-plugins", "usr/lib/cni")),
};

const CRICTL: Publisher = Publisher {
    name: "crictl",
    file: |version| format!("crictl-v{version}-linux-{}.tar.gz", arch()),
    before: Some(""),
    checksum: Checksum::Beside(".sha256"),
    programs: &["crictl"],
    versions: &[
        Version(1, 20, 0),
        Version(1, 21, 0),
        Version(1, 22, 0),
        Version(1, 23, 0),
        Version(1, 24, 2),
        Version(1, 25, 0),
        Version(1, 26, 1),
        Version(1, 27, 1),
        Version(1, 28, 0),
        Version(1, 29, 0),
        Version(1, 30, 1),
        Version(1, 31, 1),
        Version(1, 32, 0),
        Version(1, 33, 0),
        Version(1, 34, 0),
        Version(1, 35, 0),
        Version(1, 36, 0),
    ],
    package: None,
};

const ALL: [&Publisher; 4] = [&CONTAINERD, &RUNC, &CNI_PLUGINS, &CRICTL];

/// What they are called in an inventory, as publishers and as components.
pub(super) const NAMES: [&str; 4] = ["containerd", "runc", "cni-plugins", "crictl"];

/// The crictl of the Kubernetes that genuine servers are of.
const GENUINE_CRICTL: Version = Version(1, 20, 0);
/// How long an archive may take to pack, in seconds.
const PACK_SECONDS: u64 = 300;
/// Where a tree of them says that it is whole.
const WHOLE: &str = "runtime.whole";

/// Whether a directory has Debian's.
pub(crate) fn is_there(directory: &Path) -> bool {
    directory.join(WHOLE).exists()
}

/// Puts Debian's into a directory; crictl is a stand-in that `make` makes: of a name and a version, there.
pub(crate) fn genuine(
    directory: &Path,
    make: impl Fn(&str, Version, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let work = directory.join("runtime.partial");
    remove(&work)?;
    fs_err::create_dir_all(&work)?;
    for publisher in ALL {
        remove(&directory.join(publisher.name))?;
        let Some((package, place)) = publisher.package else {
            continue;
        };
        say::line(format!("mirror: getting {} from Debian", publisher.name));
        let packages = Packages::own();
        let tree = work.join(package);
        packages.unpack(&[package], &[], &tree)?;
        let said = packages.version(package)?;
        let version = Version::said(&said).ok_or(Error::Version { text: said })?;
        publisher.put(directory, version, &tree.join(place))?;
    }
    let programs = work.join("crictl");
    fs_err::create_dir_all(&programs)?;
    make("crictl", GENUINE_CRICTL, &programs.join("crictl"))?;
    CRICTL.put(directory, GENUINE_CRICTL, &programs)?;
    remove(&work)?;
    Ok(fs_err::write(directory.join(WHOLE), "")?)
}

/// Puts stand-ins into a directory, which `make` makes: of a name and a version, there.
pub(super) fn stand_ins(
    directory: &Path,
    make: impl Fn(&str, Version, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let work = directory.join("runtime.partial");
    for publisher in ALL {
        for version in publisher.versions {
            fs_err::create_dir_all(&work)?;
            for name in publisher.programs {
                make(name, *version, &work.join(name))?;
            }
            publisher.put(directory, *version, &work)?;
            remove(&work)?;
        }
    }
    Ok(())
}

/// Links to what of this another mirror has.
pub(super) fn overlay(directory: &Path, from: &Path) -> Result<bool, Error> {
    let mut found = false;
    for publisher in ALL {
        let theirs = from.join(publisher.name);
        if theirs.is_dir() {
            fs_err::create_dir_all(directory)?;
            fs_err::os::unix::fs::symlink(theirs, directory.join(publisher.name))?;
            found = true;
        }
    }
    Ok(found)
}

impl Publisher {
    /// Publishes the programs of a directory.
    fn put(&self, root: &Path, version: Version, programs: &Path) -> Result<(), Error> {
        let place = root.join(self.name).join(format!("v{version}"));
        fs_err::create_dir_all(&place)?;
        let name = (self.file)(version);
        let file = place.join(&name);
        match self.before {
            None => drop(fs_err::copy(programs.join(self.programs[0]), &file)?),
            Some(before) => self.pack(before, programs, &file)?,
        }
        let list = match self.checksum {
            Checksum::Beside(end) => place.join(format!("{name}{end}")),
            Checksum::List(list) => place.join(list),
        };
        Ok(fs_err::write(
            list,
            format!("{}  {name}\n", sha256(&file)?),
        )?)
    }

    fn pack(&self, before: &str, programs: &Path, file: &Path) -> Result<(), Error> {
        Ok(Program::new("tar")
            .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=755"])
            .arg(format!("--transform=s,^,{before},"))
            .arg("-C")
            .arg(programs)
            .arg("-czf")
            .arg(file)
            .args(self.members(programs)?)
            .limit_seconds(PACK_SECONDS)
            .done()?)
    }

    /// The programs of a directory that its archive holds: of plugins all there are.
    fn members(&self, programs: &Path) -> Result<Vec<String>, Error> {
        if self.name != CNI_PLUGINS.name {
            return Ok(self.programs.iter().map(ToString::to_string).collect());
        }
        let mut names = Vec::new();
        for item in fs_err::read_dir(programs)? {
            names.push(item?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

fn remove(tree: &Path) -> Result<(), Error> {
    if tree.exists() {
        fs_err::remove_dir_all(tree)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_lie_where_their_publishers_keep_them() {
        let root = std::env::temp_dir().join(format!("xtask-runtime-{}", std::process::id()));
        let make = |name: &str, version: Version, out: &Path| {
            Ok(fs_err::write(out, format!("{name} {version}"))?)
        };
        stand_ins(&root, make).unwrap();
        let read = |path: String| fs_err::read_to_string(root.join(path)).unwrap();
        let arch = arch();
        assert_eq!(read(format!("runc/v1.2.9/runc.{arch}")), "runc 1.2.9");
        let list = read("runc/v1.2.9/runc.sha256sum".to_owned());
        assert!(list.ends_with(&format!("  runc.{arch}\n")), "{list}");
        for (archive, checksum, members) in [
            (
                format!("containerd/v2.0.11/containerd-2.0.11-linux-{arch}.tar.gz"),
                ".sha256sum",
                "bin/containerd\nbin/containerd-shim-runc-v2\nbin/ctr",
            ),
            (
                format!("cni-plugins/v1.9.1/cni-plugins-linux-{arch}-v1.9.1.tgz"),
                ".sha256",
                "./bridge\n./host-local\n./loopback\n./portmap",
            ),
            (
                format!("crictl/v1.24.2/crictl-v1.24.2-linux-{arch}.tar.gz"),
                ".sha256",
                "crictl",
            ),
        ] {
            let file = root.join(&archive);
            let list = Program::new("tar").arg("-tzf").arg(&file).text();
            assert_eq!(list.unwrap(), members);
            let digest = sha256(&file).unwrap();
            assert!(read(format!("{archive}{checksum}")).starts_with(&digest));
        }
        fs_err::remove_dir_all(root).unwrap();
    }
}
