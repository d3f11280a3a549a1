//! Genuine Kubernetes 1.20.2, built once a machine out of Debian's own source package with Debian's
//! own Go 1.15. (A newer Go compiles it too, but then kube-apiserver crashes when it runs.)
//!
//! Nothing is installed for it but make and rsync. A build that was cut goes on where it was. The
//! linker stamps the version, so the next patch release is the same code linked again, for tests
//! of upgrades. kubectl is left out: a published one is at hand.
//!
//! ```text
//! ~/.cache/kinstall-nodes/genuine/
//!   release/v1.20.2/bin/linux/amd64/kube-apiserver{,.sha256}   a mirror, as `--mirror` takes one
//!   release/v1.20.3/...
//!   containerd/ runc/ cni-plugins/ crictl/                     Debian's own, packed: see `mirror/runtime.rs`
//!   build/go/ source/ cache/                                   Go, Kubernetes, what Go compiled
//! ```

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::command::{CommandError, Program, last_lines};
use crate::debian::Packages;
use crate::mirror::{self, Version, runtime};
use crate::nodes::{self, Tool};
use crate::say;
use crate::setup;

/// The Kubernetes that Debian has the source of.
pub(crate) const KUBERNETES: Version = Version(1, 20, 2);
/// All that are there: it, and the one that it may be upgraded to.
pub(crate) const VERSIONS: [Version; 2] = [KUBERNETES, Version(1, 20, 3)];
/// What is built of it. The servers come first: the demo needs no more.
const PROGRAMS: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubeadm",
];

/// The last release of Debian with the source, and the last with this Go.
const SOURCE_SUITE: &str = "bookworm";
const GO_SUITE: &str = "bullseye";
const GO: &str = "1.15";
/// What Debian signs its archive with, where every Debian has it.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the makefiles of Kubernetes run.
const TOOLS: [Tool; 2] = [
    Tool {
        command: "make",
        package: "make",
    },
    Tool {
        command: "rsync",
        package: "rsync",
    },
];

/// The packages in which `-X` sets the version.
const STAMPED: [&str; 2] = [
    "k8s.io/component-base/version",
    "k8s.io/client-go/pkg/version",
];
/// How long the source may take to unpack, in seconds.
const UNPACK_SECONDS: u64 = 600;
/// One program on a busy machine, in seconds.
const BUILD_SECONDS: u64 = 3000;
/// How often it is told how far a build has come.
const TELL_EVERY: Duration = Duration::from_secs(15);
/// How many lines of a failed build an error repeats.
const TAIL_LINES: usize = 12;

/// The variable with the mirror's directory, for tests.
pub(crate) const VARIABLE: &str = "KINSTALL_KUBE_MIRROR";
/// The variable with the reason why there is none.
pub(crate) const WHY_NOT_VARIABLE: &str = "KINSTALL_NO_KUBE_MIRROR";

/// Why there are no genuine servers.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// Only Debian's archive has them.
    #[error("Kubernetes {KUBERNETES} is built from Debian's source, and this is no Debian")]
    NotDebian,
    /// Debian has another version of the source by now.
    #[error("Debian's source of Kubernetes is `{found}`, not of {KUBERNETES}")]
    OtherSource {
        /// The name of its archive.
        found: String,
    },
    /// A program could not be run, or failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The archive could not be reached, or has them no longer.
    #[error("Debian's mirror gave no {what}")]
    Download {
        /// What was asked for.
        what: &'static str,
        /// What apt said.
        source: nodes::Error,
    },
    /// A tool could not be installed, or this machine does not say which mirror it uses.
    #[error(transparent)]
    Setup(#[from] nodes::Error),
    /// A stand-in could not be built.
    #[error(transparent)]
    Build(#[from] setup::Error),
    /// A file could not be read or written; the error names it.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// A digest could not be made.
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    /// Something of Kubernetes could not be built.
    #[error("could not build {what}{said}")]
    Compile {
        /// It.
        what: String,
        /// The end of what was said, on lines of its own.
        said: String,
    },
    /// A program does not say that it is what it should be.
    #[error("{program} was to be {expected}, and says `{said}`")]
    WrongVersion {
        /// The program.
        program: &'static str,
        /// The version that it was stamped with.
        expected: Version,
        /// What it says.
        said: String,
    },
}

/// Whether a test takes them of those with this in their names: one whose name begins with
/// `genuine_`, in a file that asks for their mirror.
pub(crate) fn are_wanted(filter: &[String]) -> std::io::Result<bool> {
    if filter.is_empty() {
        return Ok(true);
    }
    for item in fs_err::read_dir(setup::workspace().join("tests"))? {
        let path = item?.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs_err::read_to_string(&path)?;
        let module = path.file_stem().unwrap_or_default().to_string_lossy();
        if tests_of(&module, &text).any(|test| filter.iter().any(|part| test.contains(part))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The names of the tests that take them in the text of a module of tests.
fn tests_of(module: &str, text: &str) -> impl Iterator<Item = String> {
    // By itself, or by what other tests have for it.
    let ways = ["kube_mirror(", "= servers(", "= genuine("];
    let asks = ways.iter().any(|way| text.contains(way));
    let lines = text.lines().filter(move |_| asks);
    let names = lines.filter_map(|line| line.strip_prefix("fn ")?.split('(').next());
    let names = names.filter(|name| name.starts_with("genuine_"));
    names.map(move |name| format!("{module}::{name}"))
}

/// The directory of their mirror; they are built if need be.
pub(crate) fn ready() -> Result<PathBuf, Error> {
    let root = nodes::cached("genuine");
    if missing(&root).is_empty() {
        add_runtime(&root)?;
        return Ok(root);
    }
    let mirror = nodes::debian_mirror()?.ok_or(Error::NotDebian)?;
    let lock = nodes::lock("genuine")?;
    let missing = missing(&root);
    if !missing.is_empty() {
        say::line(format!(
            "genuine: building Kubernetes {KUBERNETES} from Debian's source: 10 minutes and 4 GB, \
             once on this machine"
        ));
        nodes::require(&TOOLS)?;
        let workshop = Workshop::ready(&root, &mirror)?;
        for (number, (version, program)) in missing.iter().enumerate() {
            let what = format!("{program} {version} ({} of {})", number + 1, missing.len());
            workshop.make(*version, program, &root.join(place(*version)), &what)?;
        }
    }
    drop(lock);
    add_runtime(&root)?;
    Ok(root)
}

/// What runs containers beside the kubelet: of Debian's release that this machine has.
fn add_runtime(root: &Path) -> Result<(), Error> {
    let _lock = nodes::lock("genuine")?;
    if runtime::is_there(root) {
        return Ok(());
    }
    let stand_ins = setup::stand_ins()?;
    let make = |name: &str, version, out: &Path| stand_ins.make(name, version, out);
    Ok(runtime::genuine(root, make)?)
}

/// Where a version's programs are in the mirror.
fn place(version: Version) -> String {
    mirror::programs_of(version)
}

/// What is not there yet.
fn missing(root: &Path) -> Vec<(Version, &'static str)> {
    let all = VERSIONS
        .into_iter()
        .flat_map(|version| PROGRAMS.map(|program| (version, program)));
    // A digest is written when its program is in place.
    let is_missing = |(version, program): &(Version, &str)| {
        let digest = format!("{program}.sha256");
        !root.join(place(*version)).join(digest).exists()
    };
    all.filter(is_missing).collect()
}

/// Go, and Kubernetes ready to be compiled.
struct Workshop {
    go: PathBuf,
    source: PathBuf,
    cache: PathBuf,
    home: PathBuf,
}

impl Workshop {
    /// Downloads and generates what is not there yet.
    fn ready(root: &Path, mirror: &str) -> Result<Self, Error> {
        let build = root.join("build");
        fs_err::create_dir_all(&build)?;
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let packages = Packages::listed(
            "apt-genuine",
            &format!(
                "deb-src {signed}{mirror} {SOURCE_SUITE} main\n\
                 deb {signed}{mirror} {GO_SUITE} main\n"
            ),
        )?;
        let debs = build.join("go");
        if !debs.exists() {
            say::line(format!("genuine: getting Go {GO} from Debian"));
            let (tools, library) = (format!("golang-{GO}-go"), format!("golang-{GO}-src"));
            let unpacked = packages.unpack(&[&tools, &library], &[], &debs);
            unpacked.map_err(download("Go 1.15"))?;
        }
        let workshop = Self {
            go: debs.join(format!("usr/lib/go-{GO}")),
            source: build.join("source"),
            cache: build.join("cache"),
            home: build.join("home"),
        };
        fs_err::create_dir_all(&workshop.home)?;
        if !workshop.source.exists() {
            say::line("genuine: getting the source of Kubernetes from Debian");
            workshop.unpack(&packages, &build)?;
        }
        let generated = build.join("generated");
        if !generated.exists() {
            workshop.generate(&build)?;
            fs_err::write(generated, "")?;
        }
        Ok(workshop)
    }

    /// The source as upstream published it, without Debian's changes. It is there when it is whole.
    fn unpack(&self, packages: &Packages, build: &Path) -> Result<(), Error> {
        let (archives, tree) = (build.join("archives.partial"), build.join("source.partial"));
        for directory in [&archives, &tree] {
            if directory.exists() {
                fs_err::remove_dir_all(directory)?;
            }
            fs_err::create_dir_all(directory)?;
        }
        let downloaded = packages.source("kubernetes", &archives);
        downloaded.map_err(download("source of Kubernetes"))?;
        let mut names = Vec::new();
        for item in fs_err::read_dir(&archives)? {
            names.push(item?.file_name().to_string_lossy().into_owned());
        }
        let original = names.iter().find(|name| name.ends_with(".orig.tar.gz"));
        let found = original.cloned().unwrap_or_else(|| names.join(" "));
        if !found.ends_with(&format!("{KUBERNETES}.orig.tar.gz")) {
            return Err(Error::OtherSource { found });
        }
        Program::new("tar")
            .args(["--strip-components=1", "-xzf"])
            .arg(archives.join(found))
            .arg("-C")
            .arg(&tree)
            .limit_seconds(UNPACK_SECONDS)
            .done()?;
        fs_err::rename(&tree, &self.source)?;
        Ok(fs_err::remove_dir_all(&archives)?)
    }

    /// Has the makefiles write what is not kept in the source: deep copies, defaults, conversions.
    fn generate(&self, build: &Path) -> Result<(), Error> {
        let Version(major, minor, _) = KUBERNETES;
        let version = build.join("version");
        let text = format!(
            "KUBE_GIT_COMMIT='0'\nKUBE_GIT_TREE_STATE='archive'\nKUBE_GIT_VERSION='v{KUBERNETES}'\n\
             KUBE_GIT_MAJOR='{major}'\nKUBE_GIT_MINOR='{minor}'\n"
        );
        // Without it git would be asked, of which there is nothing here.
        fs_err::write(&version, text)?;
        let make = self.with_go(Program::new("make"));
        let make = make
            .args(["--silent", "generated_files"])
            .env("GO111MODULE", "off")
            .env("GOFLAGS", "")
            .env("KUBE_GIT_VERSION_FILE", version);
        told(make, "generated code")
    }

    /// Builds a program that says that it is of a version, and puts it in place.
    fn make(
        &self,
        version: Version,
        program: &'static str,
        place: &Path,
        what: &str,
    ) -> Result<(), Error> {
        fs_err::create_dir_all(place)?;
        let partial = place.join(format!("{program}.partial"));
        let go = self.with_go(Program::new(self.go.join("bin/go")));
        let go = go
            .args(["build", "-v", "-trimpath", "-ldflags", &stamp(version)])
            .arg("-o")
            .arg(&partial)
            .arg(format!("./cmd/{program}"));
        told(go, what)?;
        let ask = match program {
            "kubeadm" => ["version", "--output=short"].as_slice(),
            _ => &["--version"],
        };
        let ask = Program::new(&partial).args(ask).env("HOME", &self.home);
        let said = ask.text()?;
        if Version::said(&said) != Some(version) {
            return Err(Error::WrongVersion {
                program,
                expected: version,
                said,
            });
        }
        let digest = mirror::sha256(&partial)?;
        fs_err::rename(&partial, place.join(program))?;
        let partial = place.join(format!("{program}.sha256.partial"));
        fs_err::write(&partial, digest)?;
        Ok(fs_err::rename(
            partial,
            place.join(format!("{program}.sha256")),
        )?)
    }

    /// A program in the source with this Go, and nothing of the user's own.
    fn with_go(&self, program: Program) -> Program {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut all = self.go.join("bin").into_os_string();
        all.push(":");
        all.push(path);
        all.push(":/usr/sbin:/sbin");
        program
            .env_without("GO")
            .env_without("KUBE")
            .env_without("MAKE")
            .env("PATH", all)
            .env("HOME", &self.home)
            .env("GOROOT", &self.go)
            .env("GOPATH", self.home.join("go"))
            .env("GOCACHE", &self.cache)
            .env("GO111MODULE", "on")
            .env("GOFLAGS", "-mod=vendor")
            .env("GOPROXY", "off")
            .env("CGO_ENABLED", "0")
            .directory(&self.source)
            .limit_seconds(BUILD_SECONDS)
    }
}

fn download(what: &'static str) -> impl FnOnce(nodes::Error) -> Error {
    move |source| Error::Download { what, source }
}

/// What the linker is told, so that a program says that it is of a version.
fn stamp(version: Version) -> String {
    let Version(major, minor, _) = version;
    let mut flags = "-s -w".to_owned();
    for package in STAMPED {
        for (name, value) in [
            ("gitVersion", format!("v{version}")),
            ("gitMajor", major.to_string()),
            ("gitMinor", minor.to_string()),
            ("gitTreeState", "archive".to_owned()),
        ] {
            // Writing to a String cannot fail.
            let _ = write!(flags, " -X {package}.{name}={value}");
        }
    }
    flags
}

/// Runs a build, and tells from time to time how far it has come: it says a line for each package.
fn told(build: Program, what: &str) -> Result<(), Error> {
    say::line(format!("genuine: building {what}"));
    let (begun, mut count, mut said) = (Instant::now(), 0_u32, String::new());
    let mut next = TELL_EVERY;
    let status = build.lines(|line| {
        count += 1;
        said.push_str(line);
        said.push('\n');
        if begun.elapsed() >= next {
            say::line(format!("genuine: {what}: {count} packages"));
            next = begun.elapsed() + TELL_EVERY;
        }
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Compile {
        what: what.to_owned(),
        said: last_lines(&said, TAIL_LINES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_of_genuine_servers_want_them() {
        let text = "fn helper() {}\nfn genuine_one() {\n    kube_mirror(test);\n}\n    fn genuine_x() {}\n";
        let tests: Vec<String> = tests_of("servers", text).collect();
        assert_eq!(tests, ["servers::genuine_one"]);
        assert_eq!(tests_of("other", "fn genuine_kubectl() {}").count(), 0);
    }

    #[test]
    fn the_suite_has_tests_of_genuine_servers() {
        let wanted = |filter: &str| are_wanted(&[filter.to_owned()]).unwrap();
        assert!(wanted("genuine_with"));
        assert!(!wanted("push::"));
    }

    #[test]
    fn the_linker_stamps_every_package_that_tells_a_version() {
        let flags = stamp(Version(1, 20, 3));
        for package in STAMPED {
            assert!(flags.contains(&format!("-X {package}.gitVersion=v1.20.3")));
        }
    }
}
