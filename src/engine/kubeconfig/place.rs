//! Which kubeconfig a cluster is merged into: the one that kubectl would write to.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};
use crate::inventory::Cluster;
use crate::kubeconfig;
use crate::regular_file;
use crate::secret::Secret;

/// What a kubeconfig of thousands of clusters takes, and more.
const BYTES_MAX: u64 = 16 << 20;
/// As Linux has it for a path.
const LINKS_MAX: usize = 40;

/// A kubeconfig of the user's, which need not exist yet.
#[derive(Debug)]
pub(crate) struct Place {
    /// As it was named.
    pub(crate) path: PathBuf,
    /// Whether kubectl reads it without being told to.
    pub(crate) by_default: bool,
}

impl Place {
    /// The file that was named, or kubectl's own choice.
    pub(crate) fn of(file: Option<PathBuf>, cluster: &Cluster) -> Result<Self, Failure> {
        let known = known();
        if let Some(path) = file {
            let by_default = known.iter().flatten().any(|known| *known == path);
            return Ok(Self { path, by_default });
        }
        let known = known.ok_or_else(|| {
            let message = "there is no `HOME` to find `.kube/config` in";
            Failure::words(Exit::Usage, message, "name the file: `--merge=FILE`")
        })?;
        let path = chosen(known, cluster);
        let by_default = true;
        Ok(Self { path, by_default })
    }

    /// The file itself, at the end of all links, also where it is not there yet.
    pub(crate) fn target(&self) -> io::Result<PathBuf> {
        let mut path = self.path.clone();
        for _ in 0..LINKS_MAX {
            match fs_err::symlink_metadata(&path) {
                Ok(it) if it.is_symlink() => {
                    let to = fs_err::read_link(&path)?;
                    path = path.parent().unwrap_or(Path::new("")).join(to);
                }
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path),
                Err(error) => return Err(error),
            }
        }
        let message = format!("`{}` is a link without an end", self.path.display());
        Err(io::Error::new(ErrorKind::InvalidInput, message))
    }

    /// The command by which kubectl reads it.
    pub(crate) fn kubectl(&self) -> String {
        if self.by_default {
            "kubectl".to_owned()
        } else {
            format!("kubectl --kubeconfig {}", self.path.display())
        }
    }
}

/// The text of a kubeconfig, if it is there.
pub(crate) fn read(path: &Path) -> io::Result<Option<Secret>> {
    match regular_file::read(path, BYTES_MAX) {
        Ok(bytes) => Ok(Some(Secret::new(bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What kubectl reads: all that `KUBECONFIG` lists, or the user's own (`k8s.io/client-go/tools/clientcmd`,
/// `loader.go`).
fn known() -> Option<Vec<PathBuf>> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(list) = set("KUBECONFIG") {
        let paths = std::env::split_paths(&list);
        let paths: Vec<_> = paths.filter(|it| !it.as_os_str().is_empty()).collect();
        if !paths.is_empty() {
            return Some(paths);
        }
    }
    set("HOME").map(|home| vec![PathBuf::from(home).join(".kube/config")])
}

/// Where kubectl would write: to the file that has an entry already, else to the first that is
/// there, else to the last (`config.go`, `ModifyConfig` and `GetDefaultFilename`).
fn chosen(mut known: Vec<PathBuf>, cluster: &Cluster) -> PathBuf {
    let holds = |path: &&PathBuf| {
        let text = read(path).ok().flatten();
        text.is_some_and(|text| kubeconfig::holds(&text, cluster))
    };
    let chosen = known.iter().find(holds);
    let chosen = chosen.or_else(|| known.iter().find(|path| path.exists()));
    match chosen {
        Some(path) => path.clone(),
        None => known.pop().unwrap_or_default(),
    }
}
