//! What the test of ARM nodes takes: stand-ins that are built for them, and genuine etcds.

use std::path::PathBuf;

use thiserror::Error;

use crate::cross_arm::{self, Target, toolchain::Toolchain};
use crate::debian::Packages;
use crate::mirror;
use crate::nodes;
use crate::say;
use crate::setup::Profile;

/// The variable with their directory: `<arch>/standin`, and `<arch>/etcd` and `<arch>/etcdctl` for
/// this machine's own architecture, too.
pub(super) const VARIABLE: &str = "KINSTALL_ARM";
/// The variable with the reason why there is none.
pub(super) const WHY_NOT_VARIABLE: &str = "KINSTALL_NO_ARM";
/// The test that takes them.
const TEST: &str = "mixed::three_architectures_make_one_cluster";

/// Why there is nothing to test on ARM nodes.
#[derive(Debug, Error)]
pub(super) enum Error {
    /// Nothing can be built for them.
    #[error(transparent)]
    Cross(#[from] cross_arm::Error),
    /// A package could not be had.
    #[error(transparent)]
    Package(#[from] nodes::Error),
    /// A file could not be copied; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// Whether a test takes them of those with this in their names.
pub(super) fn are_wanted(filter: &[String]) -> bool {
    super::is_named(TEST, filter)
}

/// Makes all of them, in a directory of that name in the cache.
pub(super) fn make(name: &str) -> Result<PathBuf, Error> {
    let directory = nodes::cached(name);
    if directory.exists() {
        fs_err::remove_dir_all(&directory)?;
    }
    let targets = [Target::Arm64, Target::Armhf];
    let triples = targets.map(Target::triple);
    let toolchain = Toolchain::ready(&triples, false)?;
    say::line("test: building stand-ins for arm64 and armhf");
    let built = toolchain.build(&["kinstall", "standin"], &triples, Profile::Debug, "cross")?;
    for target in targets {
        let place = directory.join(target.dpkg());
        fs_err::create_dir_all(&place)?;
        let standin = built.program("standin", target.triple());
        fs_err::copy(standin, place.join("standin"))?;
    }
    for arch in [mirror::arch(), "arm64", "armhf"] {
        let etcd = nodes::cached(&format!("etcd-{arch}"));
        if !etcd.exists() {
            say::line(format!("test: getting etcd for {arch} from Debian"));
            Packages::of(arch).unpack(&["etcd-server", "etcd-client"], &[], &etcd)?;
        }
        let place = directory.join(arch);
        fs_err::create_dir_all(&place)?;
        for program in ["etcd", "etcdctl"] {
            fs_err::copy(etcd.join("usr/bin").join(program), place.join(program))?;
        }
    }
    Ok(directory)
}
