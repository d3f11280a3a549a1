//! The digests that ship inside kinstall: `src/artifact/SHA256SUMS`, merged from a collection.
//!
//! The collection is JSON: `kubernetes_binary_sha256` by version, architecture and program,
//! `etcd_tarball_sha256` by version and architecture; each value is a list whose first element is
//! the digest. What the table has already is never changed: a contradiction stops the chore.

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

/// Collections contradict each other about these; neither side is taken.
const DOUBTFUL: [&str; 2] = [
    "release/v1.27.13/bin/linux/arm64/kubectl",
    "v3.5.0/etcd-v3.5.0-linux-arm64.tar.gz",
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
    /// A line or a value is no digest.
    #[error("`{0}` is not a digest and a path")]
    Line(String),
}

/// By origin, version, architecture and name: the order of the table.
type Key = (bool, Vec<u64>, String);
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
    let numbers = version.unwrap_or_default().split('.');
    let key = (
        !path.starts_with("release/"),
        numbers.filter_map(|number| number.parse().ok()).collect(),
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
