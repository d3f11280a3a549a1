//! Debian packages, of this machine or of another architecture or release, downloaded and taken apart.
//!
//! Nothing is installed, and the system's own apt is not told of anything foreign: for that apt keeps
//! its lists in our cache.

use std::path::{Path, PathBuf};

use crate::command::Program;
use crate::mirror;
use crate::nodes;

/// Lists and packages may take a while on a slow line, in seconds.
const DOWNLOAD_SECONDS: u64 = 900;
/// How long it may take to unpack a package, in seconds.
const UNPACK_SECONDS: u64 = 300;

/// The packages of one architecture, of this machine's release.
pub(crate) struct Packages {
    options: Vec<String>,
    /// Where apt's lists are ours.
    lists: Option<PathBuf>,
}

impl Packages {
    /// Those of this machine.
    pub(crate) fn own() -> Self {
        Self {
            // apt's own user may not write where we work.
            options: vec!["APT::Sandbox::User=root".to_owned()],
            lists: None,
        }
    }

    /// Those of an architecture, by Debian's name for it.
    pub(crate) fn of(arch: &str) -> Self {
        if arch == mirror::arch() {
            return Self::own();
        }
        let mut packages = Self::apart(&format!("apt-{arch}"));
        packages.options.extend([
            format!("APT::Architecture={arch}"),
            format!("APT::Architectures={arch}"),
        ]);
        packages
    }

    /// Those of a list of sources (sources.list(5)), which is kept in a directory of that name.
    pub(crate) fn listed(name: &str, sources: &str) -> Result<Self, nodes::Error> {
        let root = nodes::cached(name);
        let list = root.join("sources.list");
        fs_err::create_dir_all(&root)?;
        fs_err::write(&list, sources)?;
        let mut packages = Self::apart(name);
        packages.options.extend([
            format!("Dir::Etc::SourceList={}", list.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
        ]);
        Ok(packages)
    }

    /// With lists in a directory of that name.
    fn apart(name: &str) -> Self {
        let root = nodes::cached(name);
        let mut packages = Self::own();
        packages.options.extend([
            format!("Dir::State::Lists={}", root.join("lists").display()),
            format!("Dir::Cache={}", root.display()),
            // Nothing of it is installed here.
            "Dir::State::Status=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ]);
        packages.lists = Some(root);
        packages
    }

    /// Downloads packages and unpacks them into a tree; of what they depend on also those whose
    /// names begin so. The tree is there when it is whole.
    pub(crate) fn unpack(
        &self,
        packages: &[&str],
        parts: &[&str],
        tree: &Path,
    ) -> Result<(), nodes::Error> {
        let partial = tree.with_extension(format!("{}.partial", std::process::id()));
        let (debs, unpacked) = (partial.join("debs"), partial.join("tree"));
        fs_err::create_dir_all(&debs)?;
        self.download(packages, parts, &debs)?;
        for deb in fs_err::read_dir(&debs)? {
            let unpack = Program::new("dpkg-deb").arg("-x").arg(deb?.path());
            unpack.arg(&unpacked).limit_seconds(UNPACK_SECONDS).done()?;
        }
        fs_err::rename(&unpacked, tree)?;
        Ok(fs_err::remove_dir_all(&partial)?)
    }

    /// Which version of a package that is.
    pub(crate) fn version(&self, package: &str) -> Result<String, nodes::Error> {
        let show = self
            .apt("apt-cache")
            .args(["show", "--no-all-versions", package]);
        let said = show.text()?;
        let version = said.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version.unwrap_or_default().to_owned())
    }

    /// Downloads the archives of a source package into a directory.
    pub(crate) fn source(&self, package: &str, directory: &Path) -> Result<(), nodes::Error> {
        self.get(directory, || {
            ["source", "--download-only", package]
                .map(str::to_owned)
                .into()
        })
    }

    fn download(&self, packages: &[&str], parts: &[&str], debs: &Path) -> Result<(), nodes::Error> {
        self.get(debs, || {
            let words = std::iter::once(&"download").chain(packages);
            let mut words: Vec<String> = words.map(ToString::to_string).collect();
            words.extend(self.parts(packages, parts));
            words
        })
    }

    /// Has apt-get download something, with lists that know of it.
    fn get(&self, directory: &Path, words: impl Fn() -> Vec<String>) -> Result<(), nodes::Error> {
        let _lock = match &self.lists {
            // Two who write the same lists are in each other's way.
            Some(root) => {
                fs_err::create_dir_all(root.join("lists/partial"))?;
                fs_err::create_dir_all(root.join("archives/partial"))?;
                let name = root.file_name().unwrap_or_default().to_string_lossy();
                Some(nodes::lock(&name)?)
            }
            None => None,
        };
        let get = || {
            let get = self.apt("apt-get").arg("--quiet=2");
            get.args(words()).directory(directory)
        };
        if !get().succeeds() {
            // Some source may have no list for it: what counts is whether the packages are there.
            self.apt("apt-get").args(["--quiet=2", "update"]).succeeds();
            get().done()?;
        }
        Ok(())
    }

    /// The packages whose names begin so that those depend on, at any depth.
    fn parts(&self, packages: &[&str], starts: &[&str]) -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        let mut ask: Vec<String> = packages.iter().map(ToString::to_string).collect();
        while let Some(package) = ask.pop().filter(|_| !starts.is_empty()) {
            let depends = self.apt("apt-cache").arg("depends").arg(&package);
            // Without lists there is none, and nothing to download either.
            let depends = depends.text().unwrap_or_default();
            for line in depends.lines() {
                let Some(name) = line.trim().strip_prefix("Depends: ") else {
                    continue;
                };
                let is_part = starts.iter().any(|start| name.starts_with(start));
                if is_part && !packages.contains(&name) && !parts.iter().any(|part| part == name) {
                    parts.push(name.to_owned());
                    ask.push(name.to_owned());
                }
            }
        }
        parts
    }

    fn apt(&self, program: &str) -> Program {
        let options = self.options.iter().flat_map(|option| ["--option", option]);
        Program::new(program)
            .args(options)
            .limit_seconds(DOWNLOAD_SECONDS)
    }
}
