//! The kubeconfig of the user's that a cluster is merged into.

mod merge;
mod place;

pub(crate) use self::place::Place;
