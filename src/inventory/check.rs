//! What no single key can tell: whether the parts of an inventory fit each other.

mod etcd;
mod group;
mod network;
mod version;

use super::draft::Draft;
use super::table::Found;

/// Everything that is wrong between the parts.
pub(super) fn all(draft: &Draft, found: &mut Found) {
    etcd::users(draft, found);
    group::distinct(draft, found);
    group::members(draft, found);
    group::widths(draft, found);
    network::sizes(draft, found);
    network::families(draft, found);
    network::disjoint(draft, found);
    version::skew(draft, found);
    version::etcd(draft, found);
    version::proxy(draft, found);
    version::published(draft, found);
}
