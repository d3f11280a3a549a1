//! The data of etcd that lie on nodes, before anything is touched: a push that would start etcd on
//! somebody else's, or split a cluster, is refused.

use crate::engine::comparison::Comparison;
use crate::engine::fleet::Fleet;
use crate::failure::{Exit, Failure};
use crate::plan::{self, LiveMember};
use crate::survey::members as survey;
use crate::transport;

/// Refuses; `adopt` says that data without a record may be taken over.
pub(crate) async fn check(comparison: &Comparison, adopt: bool) -> Result<(), Failure> {
    let views = &comparison.views();
    let living = if plan::unknown_data(views) {
        living(&comparison.fleet)
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
async fn living(fleet: &Fleet) -> Result<Option<LiveMember>, transport::Error> {
    for (node, transport) in &fleet.transports {
        let is_known = fleet.snapshots[node].recorded.is_some() && fleet.runs_etcd(node);
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
