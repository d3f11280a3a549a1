//! A mirror of what kinstall downloads, for machines that reach package registries and little else.
//!
//! It is a directory laid out as upstream's servers are, so that kinstall needs nothing but a base
//! URL. etcd and kubectl in it are genuine: they come out of packages ([`packages`]). The three
//! Kubernetes servers are in no package of a registry: they come from another mirror (the user's own,
//! or the one that [`crate::genuine`] builds), which is never touched, or else are stand-ins from the
//! crate `standin`, which refuse what the real ones refuse but hold no cluster.
//!
//! ```text
//! ~/.cache/kinstall-nodes/mirror/
//!   programs/                    what was taken out of packages, kept from run to run
//!   <purpose>/                   one mirror for each chore, made again each time, mostly of links
//!     release/v1.32.3/bin/linux/amd64/kube-apiserver{,.sha256}
//!     standin/standin, standin/mite   the programs that stand-ins are copies of
//!     v3.5.1/etcd-v3.5.1-linux-amd64.tar.gz, v3.5.1/SHA256SUMS
//!     containerd/ runc/ cni-plugins/ crictl/   what runs containers: see `runtime.rs`
//!     images/                      images for Pods: see `images.rs`
//! ```

mod error;
mod images;
mod packages;
pub(crate) mod runtime;
pub(crate) mod server;
mod version;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::command::Program;
use crate::nodes;
pub(crate) use error::Error;
pub(crate) use version::Version;

/// The programs that only a user's directory, or upstream, has.
pub(crate) const SERVERS: [&str; 3] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
/// The Kubernetes that is shown and tested unless told otherwise.
pub(crate) const KUBERNETES: Version = Version(1, 32, 3);
/// What of Kubernetes is on workers.
const OF_WORKERS: [&str; 2] = ["kubelet", "kube-proxy"];
/// Where a mirror of stand-ins has the program that makes them.
const STANDIN: &str = "standin/standin";
/// And the one that stand-ins of what does little are copies of.
const MITE: &str = "standin/mite";
/// Where upstream keeps what kinstall downloads: the servers and kubectl, and etcd.
const UPSTREAM: [&str; 2] = ["dl.k8s.io:443", "github.com:443"];
/// How long upstream may take to answer. It answers at once or not at all.
const UPSTREAM_WAIT: Duration = Duration::from_secs(3);
/// How much of a file is read at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a mirror should hold.
pub(crate) struct Wish {
    /// The chore it is for, and the name of its directory.
    pub(crate) purpose: String,
    /// The user's own mirror, with the servers at least.
    pub(crate) from: Option<PathBuf>,
    /// The Kubernetes wanted; without one, the newest of the user's mirror or [`KUBERNETES`].
    pub(crate) kubernetes: Option<Version>,
    /// What stand-ins are copies of.
    pub(crate) stand_ins: StandIns,
    /// For each server, a file that makes its stand-in as large as the real one.
    pub(crate) padding: BTreeMap<&'static str, PathBuf>,
}

/// The programs that stand-ins are copies of.
pub(crate) struct StandIns {
    /// Of what speaks TLS and reads flags: it also makes the copies.
    pub(crate) standin: PathBuf,
    /// Of what does little, and what images hold.
    pub(crate) mite: PathBuf,
}

/// A mirror, ready to be served.
pub(crate) struct Mirror {
    /// Where it is.
    pub(crate) directory: PathBuf,
    /// Whose servers these are.
    pub(crate) servers: Servers,
    /// The Kubernetes whose servers it has.
    pub(crate) kubernetes: Version,
    /// The etcd it has.
    pub(crate) etcd: Version,
    /// The kubectl it has.
    pub(crate) kubectl: Version,
    /// What runs containers, where it is not what kinstall would choose.
    runtime: Vec<(&'static str, Version)>,
    /// Whether anything in it is not, byte for byte, what upstream published under that name.
    pub(crate) rebuilt: bool,
}

impl StandIns {
    /// Makes a stand-in for a program that does little.
    pub(crate) fn make(&self, name: &str, version: Version, out: &Path) -> Result<(), Error> {
        let make = Program::new(&self.standin).args(["make", "--name", name, "--version"]);
        let make = make.arg(version.to_string()).arg("--of").arg(&self.mite);
        Ok(make.arg("--out").arg(out).done()?)
    }
}

/// Whose Kubernetes servers a mirror has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// Genuine ones, from this directory of the user's.
    Genuine(PathBuf),
    /// Stand-ins.
    StandIns,
}

/// Whether upstream can be reached from this machine, so that no mirror is needed.
pub(crate) fn upstream_answers() -> bool {
    UPSTREAM.iter().all(|server| {
        let (tell, told) = mpsc::channel();
        // Looking up a name has no time limit of its own, so a thread is left to it.
        thread::spawn(move || {
            let addresses = server.to_socket_addrs().into_iter().flatten();
            let mut first = addresses.take(2);
            // Nobody waits any more if the time is over.
            let _ = tell.send(
                first.any(|address| TcpStream::connect_timeout(&address, UPSTREAM_WAIT).is_ok()),
            );
        });
        told.recv_timeout(UPSTREAM_WAIT).unwrap_or(false)
    })
}

impl Mirror {
    /// Makes the mirror, with whatever it takes from registries.
    pub(crate) fn make(wish: &Wish) -> Result<Self, Error> {
        let root = nodes::cached("mirror");
        let directory = root.join(&wish.purpose);
        if directory.exists() {
            fs_err::remove_dir_all(&directory)?;
        }
        let shelf = Shelf { directory };
        if let Some(from) = &wish.from {
            shelf.overlay(&from.canonicalize().map_err(|source| Error::NoMirror {
                directory: from.clone(),
                source,
            })?)?;
        }
        let kubernetes = wish
            .kubernetes
            .or_else(|| shelf.newest_servers())
            .unwrap_or(KUBERNETES);
        let servers = shelf.servers(wish, kubernetes)?;
        let kubectl = shelf.kubectl(&root, kubernetes)?;
        let (etcd, repacked) = shelf.etcd(&root)?;
        let runtime = shelf.runtime(wish)?;
        let is_packed = wish.from.as_deref().is_some_and(runtime::is_there)
            || runtime::is_there(&shelf.directory);
        images::put(&shelf.directory, &wish.stand_ins.mite)?;
        Ok(Self {
            rebuilt: repacked || is_packed || servers == Servers::StandIns,
            directory: shelf.directory,
            servers,
            kubernetes,
            etcd,
            kubectl,
            runtime,
        })
    }

    /// The program that makes stand-ins, if it has any.
    pub(crate) fn standin(&self) -> PathBuf {
        self.directory.join(STANDIN)
    }

    /// A program in it.
    pub(crate) fn program(&self, version: Version, name: &str) -> PathBuf {
        self.directory.join(programs_of(version)).join(name)
    }

    /// etcd's archive in it.
    pub(crate) fn etcd_archive(&self) -> PathBuf {
        self.directory.join(etcd_archive(self.etcd))
    }

    /// What the `[cluster]` table of an inventory says of versions, to use this mirror.
    pub(crate) fn cluster_versions(&self) -> String {
        let Self {
            kubernetes, etcd, ..
        } = self;
        format!("kubernetes = \"{kubernetes}\"\netcd = \"{etcd}\"\n")
    }

    /// The tables of an inventory that let it use this mirror, served at that URL.
    pub(crate) fn tables(&self, url: &str) -> String {
        let mut text = format!("[source]\nkubernetes = [\"{url}\"]\netcd = [\"{url}\"]\n");
        // Writing to a String cannot fail.
        for name in runtime::NAMES {
            let _ = writeln!(text, "{name} = [\"{url}/{name}\"]");
        }
        let _ = writeln!(text, "images = [\"{url}/images\"]");
        if self.rebuilt {
            text += "rebuilt = true # not all of it is what upstream published under these names\n";
        }
        let kubectl = (self.kubectl != self.kubernetes).then_some(("kubectl", self.kubectl));
        for (name, version) in kubectl.iter().chain(&self.runtime) {
            let _ = write!(text, "\n[component.{name}]\nversion = \"{version}\"\n");
        }
        text
    }
}

impl std::fmt::Display for Mirror {
    /// What it holds, for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kubernetes,
            etcd,
            kubectl,
            ..
        } = self;
        match &self.servers {
            Servers::Genuine(from) => write!(
                f,
                "genuine Kubernetes servers {kubernetes} from {}",
                from.display()
            )?,
            Servers::StandIns => write!(
                f,
                "stand-ins for the Kubernetes servers {kubernetes} (they hold no cluster; \
                 give genuine ones with --mirror DIR)"
            )?,
        }
        write!(f, ", genuine etcd {etcd} and kubectl {kubectl}")
    }
}

/// The lines of Kubernetes whose kubectl tests take.
const KUBECTL_LINES: [u64; 3] = [31, 34, 36];

/// A mirror of genuine kubectls of several lines; none where nobody packs them for this machine.
pub(crate) fn kubectls(purpose: &str) -> Result<Option<PathBuf>, Error> {
    if arch() != "amd64" {
        return Ok(None);
    }
    let root = nodes::cached("mirror");
    let directory = root.join(format!("{purpose}-kubectls"));
    if directory.exists() {
        fs_err::remove_dir_all(&directory)?;
    }
    let shelf = Shelf { directory };
    for line in KUBECTL_LINES {
        let (version, program) = packages::kubectl(&root, Version(1, line, 0))?;
        shelf.put_program(&programs_of(version), &program)?;
    }
    Ok(Some(shelf.directory))
}

/// A mirror of two genuine etcds, of which the newer may follow the older: of the line after it.
/// None where packages have no such two.
pub(crate) fn etcds(purpose: &str) -> Result<Option<PathBuf>, Error> {
    let root = nodes::cached("mirror");
    let directory = root.join(format!("{purpose}-etcds"));
    if directory.exists() {
        fs_err::remove_dir_all(&directory)?;
    }
    let (older, newer) = (packages::debian_etcd(&root)?, packages::etcd(&root)?);
    if (older.0.0, older.0.1 + 1) != (newer.0.0, newer.0.1) {
        return Ok(None);
    }
    let shelf = Shelf { directory };
    for (version, archive) in [older, newer] {
        shelf.put_etcd(version, &archive)?;
    }
    Ok(Some(shelf.directory))
}

/// A genuine server of Vault's API.
pub(crate) fn openbao() -> Result<PathBuf, Error> {
    packages::openbao(&nodes::cached("mirror"))
}

/// A mirror's directory while it is filled.
struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    /// Puts links to everything of the user's mirror, and the digests it does not have.
    fn overlay(&self, from: &Path) -> Result<(), Error> {
        for version in Version::all_in(&from.join("release")) {
            let place = programs_of(version);
            for item in fs_err::read_dir(from.join(&place)).into_iter().flatten() {
                let path = item?.path();
                if path.is_file() && path.extension().is_none_or(|it| it != "sha256") {
                    self.put_program(&place, &path)?;
                }
            }
        }
        for version in Version::all_in(from) {
            let archive = from.join(etcd_archive(version));
            if archive.is_file() {
                self.put_etcd(version, &archive)?;
            }
        }
        Ok(())
    }

    fn newest_servers(&self) -> Option<Version> {
        let release = self.directory.join("release");
        let complete = |version: &Version| {
            let place = self.directory.join(programs_of(*version));
            SERVERS.iter().all(|name| place.join(name).exists())
        };
        Version::all_in(&release).into_iter().rfind(complete)
    }

    fn servers(&self, wish: &Wish, version: Version) -> Result<Servers, Error> {
        let place = programs_of(version);
        if let Some(from) = &wish.from {
            let absent = SERVERS.map(|name| self.directory.join(&place).join(name));
            return match absent.iter().position(|path| !path.exists()) {
                None => Ok(Servers::Genuine(from.clone())),
                Some(index) => Err(Error::NoServer {
                    path: from.join(&place).join(SERVERS[index]),
                }),
            };
        }
        let standin = self.directory.join(STANDIN);
        let copies = standin.parent().unwrap_or(&self.directory);
        fs_err::create_dir_all(copies)?;
        strip(&wish.stand_ins.standin, &standin)?;
        fs_err::copy(&wish.stand_ins.mite, self.directory.join(MITE))?;
        for name in SERVERS.into_iter().chain(OF_WORKERS) {
            let copy = copies.join(name);
            let make = |program: &Path| {
                let make = Program::new(program).args(["make", "--name", name, "--version"]);
                make.arg(version.to_string()).arg("--out").arg(&copy).done()
            };
            match wish.padding.get(name) {
                None => make(&standin)?,
                Some(padding) => {
                    // It copies itself, whatever follows its own end.
                    let padded = copies.join("padded");
                    fs_err::copy(&standin, &padded)?;
                    let mut end = fs_err::OpenOptions::new().append(true).open(&padded)?;
                    std::io::copy(&mut fs_err::File::open(padding)?, &mut end)?;
                    drop(end);
                    make(&padded)?;
                    fs_err::remove_file(&padded)?;
                }
            }
            self.put_program(&place, &copy)?;
        }
        Ok(Servers::StandIns)
    }

    /// What the user's mirror has of it, or else Debian's; stand-ins beside stand-ins.
    fn runtime(&self, wish: &Wish) -> Result<Vec<(&'static str, Version)>, Error> {
        let make = |name: &str, version, out: &Path| wish.stand_ins.make(name, version, out);
        let Some(from) = &wish.from else {
            runtime::stand_ins(&self.directory, make)?;
            return Ok(Vec::new());
        };
        if !runtime::overlay(&self.directory, &from.canonicalize()?)? {
            runtime::genuine(&self.directory, make)?;
        }
        let newest = |name| Some((name, Version::all_in(&self.directory.join(name)).pop()?));
        Ok(runtime::NAMES.into_iter().filter_map(newest).collect())
    }

    fn kubectl(&self, root: &Path, kubernetes: Version) -> Result<Version, Error> {
        if self
            .directory
            .join(programs_of(kubernetes))
            .join("kubectl")
            .exists()
        {
            return Ok(kubernetes);
        }
        let (version, program) = packages::kubectl(root, kubernetes)?;
        self.put_program(&programs_of(version), &program)?;
        Ok(version)
    }

    /// Which etcd it is, and whether it is out of a package and so packed by us.
    fn etcd(&self, root: &Path) -> Result<(Version, bool), Error> {
        if let Some(version) = Version::all_in(&self.directory).pop() {
            return Ok((version, false));
        }
        let (version, archive) = packages::etcd(root)?;
        self.put_etcd(version, &archive)?;
        Ok((version, true))
    }

    fn put_program(&self, place: &str, program: &Path) -> Result<(), Error> {
        let place = self.directory.join(place);
        fs_err::create_dir_all(&place)?;
        let name = program.file_name().unwrap_or_default();
        let link = place.join(name);
        fs_err::os::unix::fs::symlink(program, &link)?;
        let digest = place.join(format!("{}.sha256", name.to_string_lossy()));
        // A digest that the user's mirror has is kept, right or wrong: it is what is on trial.
        let own = program.with_file_name(digest.file_name().unwrap_or_default());
        if own.exists() {
            fs_err::os::unix::fs::symlink(own, digest)?;
        } else {
            fs_err::write(digest, sha256(program)?)?;
        }
        Ok(())
    }

    fn put_etcd(&self, version: Version, archive: &Path) -> Result<(), Error> {
        let link = self.directory.join(etcd_archive(version));
        let place = link.parent().unwrap_or(&self.directory);
        fs_err::create_dir_all(place)?;
        fs_err::os::unix::fs::symlink(archive, &link)?;
        let sums = place.join("SHA256SUMS");
        let own = archive.with_file_name("SHA256SUMS");
        if own.exists() {
            fs_err::os::unix::fs::symlink(own, sums)?;
        } else {
            let name = link.file_name().unwrap_or_default().to_string_lossy();
            fs_err::write(sums, format!("{}  {name}\n", sha256(archive)?))?;
        }
        Ok(())
    }
}

/// Copies a program without what only a debugger reads, if binutils are here.
fn strip(program: &Path, copy: &Path) -> Result<(), Error> {
    let strip = Program::new("strip").arg("-o").arg(copy).arg(program);
    if !strip.succeeds() {
        fs_err::copy(program, copy)?;
    }
    Ok(())
}

/// What upstream calls this machine's architecture.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Where upstream keeps the programs of a release, below its base URL.
pub(crate) fn programs_of(version: Version) -> String {
    format!("release/v{version}/bin/linux/{}", arch())
}

/// Where upstream keeps etcd, below its base URL.
fn etcd_archive(version: Version) -> String {
    format!("v{version}/etcd-v{version}-linux-{}.tar.gz", arch())
}

/// A file's SHA-256 in hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String, Error> {
    let mut digest = Sha256::new();
    let mut file = fs_err::File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => digest.update(&chunk[..count]),
        }
    }
    let mut text = String::new();
    for byte in digest.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
