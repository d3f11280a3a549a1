//! The digests that ship inside kinstall: `src/artifact/SHA256SUMS`, merged from a collection.
//!
//! A collection is JSON. Either `kubernetes_binary_sha256` by version, architecture and program, and
//! `etcd_tarball_sha256` by version and architecture: each value is a list whose first element is the
//! digest. Or `components`: by name, its `versions` by architecture, each with a `sha256`. What the
//! table has already is never changed: a contradiction stops the chore, and so does a digest that
//! two files would share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use fs_err as fs;
use serde_json::Value;

use crate::say;

const TABLE: &str = "src/artifact/SHA256SUMS";

/// The programs that kinstall may install.
const PROGRAMS: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// Upstream's names of the architectures that kinstall installs for.
const ARCHS: [&str; 3] = ["amd64", "arm", "arm64"];

/// What runs on workers: the name in a collection, the first line that goes with a Kubernetes that
/// kinstall installs, and the path below the base URL.
const OF_WORKERS: [(&str, [u64; 2], &str); 6] = [
    (
        "kubelet",
        [1, 20],
        "release/v{version}/bin/linux/{arch}/kubelet",
    ),
    (
        "kube-proxy",
        [1, 20],
        "release/v{version}/bin/linux/{arch}/kube-proxy",
    ),
    ("runc", [1, 1], "v{version}/runc.{arch}"),
    (
        "cni-plugins",
        [1, 0],
        "v{version}/cni-plugins-linux-{arch}-v{version}.tgz",
    ),
    (
        "crictl",
        [1, 20],
        "v{version}/crictl-v{version}-linux-{arch}.tar.gz",
    ),
    (
        "containerd",
        [1, 6],
        "v{version}/containerd-{version}-linux-{arch}.tar.gz",
    ),
];

/// What the files of each publisher begin with, in the order of the table.
const ORDER: [&str; 6] = [
    "kube",
    "etcd-",
    "runc.",
    "cni-plugins-",
    "crictl-",
    "containerd-",
];

/// Never taken: collections contradict each other about the first two; the third is what another
/// architecture's file has; the fourth is that of an error page.
const DOUBTFUL: [&str; 4] = [
    "release/v1.27.13/bin/linux/arm64/kubectl",
    "v3.5.0/etcd-v3.5.0-linux-arm64.tar.gz",
    "release/v1.25.14/bin/linux/arm/kubelet",
    "v1.29.0/crictl-v1.29.0-linux-arm.tar.gz",
];

/// `cargo xtask checksums COLLECTION`
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The collection, a JSON file
    collection: PathBuf,
}

/// The chore cannot be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The collection is no JSON.
    #[error("the collection is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The table and the collection, or two lines, differ.
    #[error("`{path}` is known as {known}, and the collection says {found}")]
    Contradiction {
        path: String,
        known: String,
        found: String,
    },
    /// Two files would have one digest: of one of them it is wrong.
    #[error("`{path}` and `{other}` cannot both have the digest {digest}")]
    Shared {
        path: String,
        other: String,
        digest: String,
    },
    /// A line or a value is no digest.
    #[error("`{0}` is not a digest and a path")]
    Line(String),
}

/// By publisher, version, architecture and name: the order of the table.
type Key = (usize, Vec<u64>, String);
type Table = BTreeMap<Key, (String, String)>;

/// Merges a collection into the table.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let collection: Value = serde_json::from_str(&fs::read_to_string(&arguments.collection)?)?;
    let mut table = Table::new();
    for line in fs::read_to_string(TABLE).unwrap_or_default().lines() {
        let (digest, file) = line
            .split_once("  ")
            .ok_or_else(|| Error::Line(line.to_owned()))?;
        enter(&mut table, file.to_owned(), digest)?;
    }
    let before = table.len();
    for (version, arch, builds) in pairs(&collection["kubernetes_binary_sha256"]) {
        for name in PROGRAMS {
            if let Some(digest) = builds[name][0].as_str() {
                let path = format!("release/v{version}/bin/linux/{arch}/{name}");
                enter(&mut table, path, digest)?;
            }
        }
    }
    for (version, arch, build) in pairs(&collection["etcd_tarball_sha256"]) {
        if let Some(digest) = build[0].as_str() {
            let path = format!("v{version}/etcd-v{version}-linux-{arch}.tar.gz");
            enter(&mut table, path, digest)?;
        }
    }
    enter_workers(&mut table, &collection["components"])?;
    distinct(&table)?;
    let line = |(digest, file): &(String, String)| format!("{digest}  {file}\n");
    fs::write(TABLE, table.values().map(line).collect::<String>())?;
    let count = table.len();
    say::line(format!("{TABLE}: {count} digests, {} new", count - before));
    Ok(ExitCode::SUCCESS)
}

/// Every version and architecture of a part of the collection that kinstall installs.
fn pairs(part: &Value) -> impl Iterator<Item = (&String, &'static str, &Value)> {
    let versions = part.as_object().into_iter().flatten();
    versions.flat_map(|(version, archs)| {
        let of = move |arch| archs.get(arch).map(|found| (version, arch, found));
        ARCHS.into_iter().filter_map(of)
    })
}

/// What a collection of components has of those on workers.
fn enter_workers(table: &mut Table, components: &Value) -> Result<(), Error> {
    for (name, first, path) in OF_WORKERS {
        let versions = components[name]["versions"].as_object();
        for (version, builds) in versions.into_iter().flatten() {
            let numbers: Vec<u64> = numbers(version).collect();
            if numbers < first.to_vec() {
                continue;
            }
            // runc's word for 32-bit ARM is Debian's.
            let archs = ARCHS.into_iter().chain((name == "runc").then_some("armhf"));
            for arch in archs {
                if let Some(digest) = builds[arch]["sha256"].as_str() {
                    let path = path.replace("{version}", version).replace("{arch}", arch);
                    enter(table, path, digest)?;
                }
            }
        }
    }
    Ok(())
}

/// No two files have one content.
fn distinct(table: &Table) -> Result<(), Error> {
    let mut files: BTreeMap<&str, &str> = BTreeMap::new();
    for (digest, path) in table.values() {
        if let Some(other) = files.insert(digest, path) {
            return Err(Error::Shared {
                path: path.clone(),
                other: other.to_owned(),
                digest: digest.clone(),
            });
        }
    }
    Ok(())
}

fn numbers(version: &str) -> impl Iterator<Item = u64> {
    version.split('.').filter_map(|number| number.parse().ok())
}

fn enter(table: &mut Table, path: String, digest: &str) -> Result<(), Error> {
    if DOUBTFUL.contains(&path.as_str()) {
        return Ok(());
    }
    if digest.len() != 64 || digest.bytes().any(|byte| !byte.is_ascii_hexdigit()) {
        return Err(Error::Line(format!("{digest}  {path}")));
    }
    let version = path
        .split('v')
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let file = path.rsplit('/').next().unwrap_or_default();
    let publisher = ORDER.iter().position(|start| file.starts_with(start));
    let key = (
        publisher.unwrap_or(ORDER.len()),
        numbers(version.unwrap_or_default()).collect(),
        path.clone(),
    );
    match table.get(&key) {
        Some((known, _)) if known != digest => Err(Error::Contradiction {
            path,
            known: known.clone(),
            found: digest.to_owned(),
        }),
        _ => {
            table.insert(key, (digest.to_owned(), path));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const B: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const C: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn paths(table: &Table) -> Vec<&str> {
        table.values().map(|(_, path)| path.as_str()).collect()
    }

    #[test]
    fn of_workers_what_kinstall_may_install_is_taken_in_the_order_of_publishers() {
        let of = |digest: &str| json!({ "sha256": digest, "src": [1] });
        let components = json!({
            "containerd": { "versions": {
                "1.7.34": { "amd64": of(A) },
                "1.5.9": { "amd64": of(B) },
            } },
            "runc": { "versions": { "1.1.15": { "armhf": of(B), "armel": of(C) } } },
            "crictl": { "versions": { "1.29.0": { "arm": of(C) } } },
            "nerdctl": { "versions": { "2.0.0": { "amd64": of(C) } } },
        });
        let mut table = Table::new();
        enter_workers(&mut table, &components).unwrap();
        let expected = [
            "v1.1.15/runc.armhf",
            "v1.7.34/containerd-1.7.34-linux-amd64.tar.gz",
        ];
        assert_eq!(paths(&table), expected);
    }

    #[test]
    fn contradictions_and_digests_of_two_files_stop_it() {
        let mut table = Table::new();
        let path = || "v1.1.15/runc.amd64".to_owned();
        enter(&mut table, path(), A).unwrap();
        enter(&mut table, path(), A).unwrap();
        let error = enter(&mut table, path(), B).unwrap_err();
        let said = format!("`{}` is known as {A}, and the collection says {B}", path());
        assert_eq!(error.to_string(), said);
        let error = enter(&mut table, path(), "abc").unwrap_err();
        let said = format!("`abc  {}` is not a digest and a path", path());
        assert_eq!(error.to_string(), said);
        assert!(distinct(&table).is_ok());
        enter(&mut table, "v1.1.15/runc.arm64".to_owned(), A).unwrap();
        let error = distinct(&table).unwrap_err();
        let said = format!(
            "`v1.1.15/runc.arm64` and `v1.1.15/runc.amd64` cannot both have the digest {A}"
        );
        assert_eq!(error.to_string(), said);
    }
}
