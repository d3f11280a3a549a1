//! The base: one Debian or Ubuntu tree that every node is an overlay of.
//!
//! mmdebstrap builds it once, into a directory that is renamed when all is done; the name holds
//! the digest of the recipe. So a base that exists is whole, and a changed recipe is another base.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::error::Error;
use super::state::{Cache, short_digest};
use super::{host, mirror, ssh};
use crate::command::Program;
use crate::say;

/// What the nodes have beyond a minimal system; from iptables on, what one is expected to have that runs
/// containers.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,sudo,iproute2,\
    procps,python3,rsync,tcsh,zstd,less,iptables,nftables,conntrack,kmod,curl,openssl";
/// Mirrors can be slow, and the machine busy.
const BUILD_SECONDS: u64 = 1200;
/// Nobody reads manuals in a test, and unpacking them takes time.
const LEFT_OUT: &[&str] = &[
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
];

/// The script that makes a node of a bare tree.
const CUSTOMIZE: &str = include_str!("base.sh");

/// The base of that release, built now if it is not there yet. Without a release, this machine's.
pub(super) fn ready(cache: &Cache, suite: Option<&str>) -> Result<PathBuf, Error> {
    let system = host::system()?;
    let suite = suite.unwrap_or(&system.suite);
    let key = ssh::public_key(cache)?;
    let name = format!("{suite}-{}", system.arch);
    let base = cache
        .bases()
        .join(format!("{name}-{}", recipe(&name, &key)));
    if base.exists() {
        return Ok(base);
    }
    let _lock = cache.lock("base")?;
    if !base.exists() {
        build(cache, &base, suite, &key)?;
    }
    Ok(base)
}

/// A name for everything that goes into a base but what the mirror has today.
fn recipe(name: &str, key: &str) -> String {
    let text = [name, PACKAGES, &LEFT_OUT.join(" "), CUSTOMIZE, key].join("\n");
    short_digest(&text)
}

fn build(cache: &Cache, base: &Path, suite: &str, key: &str) -> Result<(), Error> {
    let mirror = mirror::find(suite)?;
    say::line(format!(
        "nodes: building the base of {suite} from {mirror} (a minute or two)"
    ));
    let start = Instant::now();
    fs_err::create_dir_all(cache.bases())?;
    let partial = base.with_extension("partial");
    discard(&partial)?;
    // A mount and a process namespace of its own, and a signal when we die: whatever ends it,
    // no mount and no process is left to disturb the next attempt.
    Program::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
        ])
        .args([
            "--mount-proc",
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
        ])
        .arg(format!("--include={PACKAGES}"))
        .arg("--dpkgopt=force-unsafe-io")
        .args(
            LEFT_OUT
                .iter()
                .map(|path| format!("--dpkgopt=path-exclude={path}")),
        )
        .args([suite.as_ref(), partial.as_os_str(), mirror.as_ref()])
        .limit_seconds(BUILD_SECONDS)
        .done()?;
    Program::new("chroot")
        .arg(&partial)
        .args(["sh", "-c", CUSTOMIZE, "base.sh", key])
        .limit_seconds(60)
        .done()?;
    fs_err::rename(&partial, base)?;
    say::line(format!(
        "nodes: base ready in {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    forget_others(cache, base)
}

/// Removes bases of older recipes, unless a bed is up: its nodes may stand on one.
fn forget_others(cache: &Cache, base: &Path) -> Result<(), Error> {
    if !cache.beds()?.is_empty() {
        return Ok(());
    }
    let same = |path: &Path| {
        let kind = |path: &Path| {
            let name = path.file_name()?.to_str()?.to_owned();
            name.rsplit_once('-').map(|(kind, _)| kind.to_owned())
        };
        kind(path) == kind(base)
    };
    for item in fs_err::read_dir(cache.bases())? {
        let path = item?.path();
        if path != base && same(&path) {
            discard(&path)?;
        }
    }
    Ok(())
}

/// Removes a tree, never crossing into something mounted below it.
fn discard(tree: &Path) -> Result<(), Error> {
    let remove = Program::new("rm")
        .args(["-rf", "--one-file-system", "--"])
        .arg(tree);
    Ok(remove.limit_seconds(300).done()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_or_release_is_another_recipe() {
        let one = recipe("bookworm-amd64", "key");
        assert_eq!(one.len(), 16);
        assert_eq!(one, recipe("bookworm-amd64", "key"));
        assert_ne!(one, recipe("bookworm-amd64", "other"));
        assert_ne!(one, recipe("trixie-amd64", "key"));
    }
}
