//! The data of etcd that lie on nodes, before anything is touched: a push that would start etcd on
//! somebody else's, or split a cluster, is refused.

use std::collections::BTreeMap;

use super::prepare::Site;
use super::{Exit, Failure, members};
use crate::inventory::NodeName;
use crate::plan::{self, Living, View};
use crate::survey::members as survey;
use crate::transport;

/// Refuses; `adopt` says that data without a record may be taken over.
pub(super) async fn check(
    site: &Site,
    views: &BTreeMap<NodeName, View<'_>>,
    adopt: bool,
) -> Result<(), Failure> {
    let living = if plan::unknown_data(views) {
        living(site)
            .await
            .map_err(|error| Failure::new(Exit::Unreachable, error))?
    } else {
        None
    };
    let problems = plan::data_problems(views, living.as_ref(), adopt);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::all(Exit::Failed, problems))
}

/// The cluster, as the first member on record that answers tells of it.
async fn living(site: &Site) -> Result<Option<Living>, transport::Error> {
    for (node, transport) in &site.transports {
        let is_known = site.snapshots[node].recorded.is_some() && members::runs(site, node);
        if transport.ssh().is_some()
            && is_known
            && let Ok(cluster) = survey::list(transport).await?
        {
            let members = cluster.members.iter().map(|member| member.id).collect();
            return Ok(Some((cluster.id, members)));
        }
    }
    Ok(None)
}
