//! kinstall installs and upgrades a Kubernetes control plane over SSH.

pub mod flags;
pub mod version;
