//! kubectl: a tool, not a service.

use super::Component;
use crate::role::Role;

/// kubectl, for whoever is on a node of the control plane.
pub(super) const KUBECTL: Component = Component {
    name: "kubectl",
    role: Role::ControlPlane,
    programs: &["kubectl"],
    directories: &[],
    files: &[],
    words: &[],
    service: None,
};
