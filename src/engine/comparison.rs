//! What the nodes hold beside what they should hold, and what differs.

use std::collections::BTreeMap;

use super::fleet::Fleet;
use super::session::Session;
use crate::diff::{self, Difference};
use crate::failure::Failure;
use crate::inventory::NodeName;
use crate::manifest::{Desired, Manifest, Stage, Unit};
use crate::plan::View;
use crate::snapshot::UnitState;
use crate::survey::{self, members};
use crate::transport::Transport;

/// All of it: what a plan is made from.
pub(crate) struct Comparison {
    pub(crate) fleet: Fleet,
    pub(crate) desired: Desired,
    pub(crate) differences: BTreeMap<NodeName, Difference>,
    /// The node whose etcd member leads, where that matters.
    leader: Option<NodeName>,
}

impl Comparison {
    /// Compares; looks at what the nodes have not on record first.
    pub(crate) async fn of(
        session: &Session<'_>,
        mut fleet: Fleet,
        desired: Desired,
    ) -> Result<Self, Failure> {
        let (manifests, jobs) = (&desired.manifests, session.settings.jobs);
        survey::complete(&fleet.transports, &mut fleet.snapshots, manifests, jobs).await?;
        let differences = fleet.snapshots.iter().filter_map(|(name, snapshot)| {
            Some((name.clone(), diff::between(manifests.get(name)?, snapshot)))
        });
        Ok(Self {
            differences: differences.collect(),
            fleet,
            desired,
            leader: None,
        })
    }

    /// Finds out which etcd member leads, where one of them is to be restarted.
    pub(crate) async fn find_leader(&mut self) {
        let restarts = |name: &NodeName, manifest: &Manifest| {
            let member = manifest.of_stage(Stage::Etcd);
            let change = member.and_then(|(unit, _)| self.differences.get(name)?.units.get(unit));
            change.is_some_and(|change| change.running)
        };
        let asking = self
            .desired
            .manifests
            .iter()
            .filter_map(|(name, manifest)| {
                let transport = self.fleet.transports.get(name)?;
                let is_asked = transport.ssh().is_some() && restarts(name, manifest);
                is_asked.then_some(async move { members::leads(transport).await.then_some(name) })
            });
        let told = futures_util::future::join_all(asking).await;
        let leader = told.into_iter().flatten().next().cloned();
        self.leader = leader;
    }

    /// The nodes as a plan sees them.
    pub(crate) fn views(&self) -> BTreeMap<NodeName, View<'_>> {
        let view = |(name, difference)| {
            let manifest = self.desired.manifests.get(name)?;
            let snapshot = self.fleet.snapshots.get(name)?;
            let view = View {
                manifest,
                snapshot,
                difference,
                leads: self.leader.as_ref() == Some(name),
                retired: &self.desired.retired,
            };
            Some((name.clone(), view))
        };
        self.differences.iter().filter_map(view).collect()
    }

    /// The first node whose member of etcd runs, and that member.
    pub(crate) fn running_member(&self) -> Option<(&Transport, &Unit)> {
        self.desired.manifests.iter().find_map(|(node, manifest)| {
            let (name, unit) = manifest.of_stage(Stage::Etcd)?;
            let transport = self.fleet.transports.get(node)?;
            transport.ssh()?;
            let state = self.fleet.snapshots[node].units.get(name);
            let runs = state.is_some_and(UnitState::is_active);
            runs.then_some((transport, unit))
        })
    }
}
