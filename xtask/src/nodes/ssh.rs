//! The keys, and the ssh configuration that reaches every node with strict host key checking.

use std::fmt::Write;
use std::path::Path;

use super::Bed;
use super::error::Error;
use super::name::NodeName;
use super::state::{Cache, replace};
use crate::command::Program;

/// The public key that may log in to every node; made the first time.
pub(super) fn public_key(cache: &Cache) -> Result<String, Error> {
    let key = cache.key();
    let _lock = cache.lock("ssh")?;
    generate(&key, "kinstall-nodes")?;
    read_public(&key)
}

/// Makes a node's host key, unless it has one already: a node that was reset keeps its identity.
pub(super) fn host_key(bed: &Bed, node: NodeName) -> Result<(), Error> {
    generate(&bed.place().host_key(node), &format!("root@{node}"))
}

/// Writes the known host keys and the configuration for all nodes of the bed.
pub(super) fn configure(bed: &Bed) -> Result<(), Error> {
    let place = bed.place();
    let mut known = String::new();
    let mut config = String::new();
    for node in place.whole()? {
        let address = bed.address(node);
        let key = read_public(&place.host_key(node))?;
        let _ = writeln!(known, "{node},{address} {key}");
        let _ = writeln!(config, "Host {node}\n  HostName {address}");
    }
    // The default exchange of keys, proof against quantum computers, costs tests more than what follows it.
    let _ = write!(
        config,
        "Host node* {subnet}.*\n  \
           KexAlgorithms curve25519-sha256\n  \
           User root\n  \
           IdentityFile \"{key}\"\n  \
           IdentitiesOnly yes\n  \
           IdentityAgent none\n  \
           UserKnownHostsFile \"{known}\"\n  \
           GlobalKnownHostsFile /dev/null\n  \
           StrictHostKeyChecking yes\n  \
           UpdateHostKeys no\n  \
           BatchMode yes\n  \
           ConnectTimeout 5\n",
        subnet = bed.subnet(),
        key = place.cache().key().display(),
        known = place.known_hosts().display(),
    );
    replace(&place.known_hosts(), &known)?;
    replace(&place.ssh_config(), &config)
}

fn generate(key: &Path, comment: &str) -> Result<(), Error> {
    if key.exists() && key.with_extension("pub").exists() {
        return Ok(());
    }
    if let Some(directory) = key.parent() {
        fs_err::create_dir_all(directory)?;
    }
    // Half a pair would make ssh-keygen ask whether to overwrite it.
    let _ = fs_err::remove_file(key);
    let keygen = Program::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", ""]);
    Ok(keygen.args(["-C", comment]).arg("-f").arg(key).done()?)
}

/// The type and the key, without the comment.
fn read_public(key: &Path) -> Result<String, Error> {
    let text = fs_err::read_to_string(key.with_extension("pub"))?;
    Ok(text
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" "))
}
