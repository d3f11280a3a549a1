//! What a run has to do with a living etcd cluster: asked before a plan is made, snapshotted before a
//! plan is applied, and given its users.

mod backup;
pub(crate) mod data;
pub(crate) mod members;
pub(crate) mod preflight;
pub(crate) mod snapshot;
pub(crate) mod users;
