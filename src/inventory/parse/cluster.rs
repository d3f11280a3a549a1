//! `[cluster]`.

use super::{address, word};
use crate::inventory::draft::ClusterDraft;
use crate::inventory::table::{Found, Table};

/// Reads the table.
pub(super) fn read(mut table: Table<'_>, found: &mut Found) -> ClusterDraft {
    let draft = ClusterDraft {
        place: table.span.clone(),
        name: table.read_required("name", "name = \"home\"", found, word::name),
        kubernetes: table.read_required(
            "kubernetes",
            "kubernetes = \"1.32.3\"",
            found,
            word::kubernetes,
        ),
        etcd: table.read("etcd", found, word::etcd),
        domain: table.read("domain", found, address::domain),
        endpoint: table.read("endpoint", found, address::endpoint),
        service_cidr: table.read("service-cidr", found, address::network),
        pod_cidr: table.read("pod-cidr", found, address::network),
        profile: table.read("profile", found, super::node::profile),
        templates: table.read("templates", found, word::local_path),
    };
    table.finish(found);
    draft
}
