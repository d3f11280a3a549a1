//! Debian packages, of this machine's architecture or of another one, downloaded and taken apart.
//!
//! Nothing is installed, and the system's own apt is not told of a foreign architecture: for one of
//! those apt keeps its lists in our cache.

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
        let root = nodes::cached(&format!("apt-{arch}"));
        let mut packages = Self::own();
        packages.options.extend([
            format!("APT::Architecture={arch}"),
            format!("APT::Architectures={arch}"),
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

    fn download(&self, packages: &[&str], parts: &[&str], debs: &Path) -> Result<(), nodes::Error> {
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
            let mut names: Vec<String> = packages.iter().map(ToString::to_string).collect();
            names.extend(self.parts(packages, parts));
            self.apt("apt-get")
                .args(["--quiet=2", "download"])
                .args(names)
                .directory(debs)
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
