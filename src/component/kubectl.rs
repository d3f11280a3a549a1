//! kubectl: a tool, not a service.

use super::shared::TOOL;
use super::{BIN, Component, Skew, Track};
use crate::role::Role;

/// kubectl, for anyone who is on a node of the control plane.
pub(super) const KUBECTL: Component = Component {
    name: "kubectl",
    roles: &[Role::ControlPlane],
    feature: None,
    track: Track::Kubernetes(Skew {
        older: 1,
        newer: 1,
        is_tool: true,
    }),
    programs: &["kubectl"],
    directory: BIN,
    release: Some(TOOL),
    directories: &[],
    files: &[],
    words: &[],
    service: None,
};
