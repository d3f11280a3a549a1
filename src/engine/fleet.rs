//! The nodes of a run: their connections, and what each of them holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::clock;
use super::session::{self, Session};
use crate::arch::Arch;
use crate::check;
use crate::component::COMPONENTS;
use crate::etcd_data::Place;
use crate::event::{Event, Events};
use crate::failure::Failure;
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::manifest::UnitName;
use crate::plan;
use crate::remote_path::RemotePath;
use crate::snapshot::{End, Snapshot, UnitState};
use crate::survey::{self, Asked, ConnectOptions};
use crate::transport::Transport;
use crate::version::Version;

/// The nodes, reached and looked at.
pub(crate) struct Fleet {
    pub(crate) transports: BTreeMap<NodeName, Transport>,
    pub(crate) snapshots: BTreeMap<NodeName, Snapshot>,
    pub(crate) archs: BTreeMap<NodeName, Arch>,
    asked: BTreeMap<NodeName, Asked>,
}

/// How a fleet is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look<'a> {
    /// A directory with one directory a node in it, in place of machines.
    pub(crate) into: Option<&'a Path>,
    /// Whether every managed file is read again, whatever its size and times say.
    pub(crate) verify: bool,
    /// Whether one member of etcd tells which users it has, where authentication is to be enabled.
    pub(crate) users: bool,
}

impl Fleet {
    /// Connects to nodes and takes their snapshots.
    pub(crate) async fn reach(
        session: &Session<'_>,
        scope: &BTreeSet<NodeName>,
        look: Look<'_>,
    ) -> Result<Self, Failure> {
        let (inventory, events) = (session.inventory, &session.events);
        let password = session.password()?;
        let reach = ConnectOptions {
            into: look.into,
            password: password.as_ref(),
            jobs: session.settings.jobs,
        };
        let mut asked = asked(inventory);
        let mut members = inventory.with_role(Role::Etcd);
        let member = members.find(|node| scope.contains(&node.name));
        if look.users
            && inventory.etcd.auth
            && let Some(asked) = member.and_then(|node| asked.get_mut(&node.name))
        {
            asked.users = Some(inventory.etcd.role.clone());
        }
        let transports = survey::connect(inventory, scope, reach, events).await?;
        let snapshots = survey::take(&transports, &asked, look.verify, reach.jobs, events).await?;
        let archs = survey::archs(inventory, &snapshots, reach.into.is_some())?;
        Ok(Self {
            transports,
            snapshots,
            archs,
            asked,
        })
    }

    /// Waits for what nodes do by themselves, and tells how it ended.
    pub(crate) async fn settle(&mut self, events: &Events) -> Result<(), Failure> {
        survey::settle(&self.transports, &mut self.snapshots, &self.asked, events).await?;
        for (node, snapshot) in &self.snapshots {
            let Some(outcome) = &snapshot.outcome else {
                continue;
            };
            let (units, at) = (outcome.units.join(", "), clock::date(outcome.at));
            events.send(match outcome.end {
                End::Finished => Event::Note(format!(
                    "{node}: a run before this one was not finished; {units} came to its end there at {at}"
                )),
                End::Reverted => Event::Warning(format!(
                    "{node}: a run before this one was not finished; at {at} {units} did not start there, and the node took it back"
                )),
                End::Returned => Event::Warning(format!(
                    "{node}: a run before this one was not finished; at {at} {units} did not start there, nor did what the node then put back"
                )),
                End::Failed => Event::Warning(format!(
                    "{node}: a run before this one was not finished; at {at} {units} did not start there, and there was no way back"
                )),
            });
        }
        Ok(())
    }

    /// The oldest version of a component that runs on some node, by its unit there.
    pub(crate) fn oldest(&self, component: &str) -> Option<Version> {
        let unit: UnitName = format!("{component}.service")
            .parse()
            .expect("the name of a component is the name of a service");
        let states = self.snapshots.values().map(|it| it.units.get(&unit));
        let running = states.flatten().filter(|state| state.is_active());
        running.filter_map(plan::running).min()
    }

    /// Whether the etcd of a node runs.
    pub(crate) fn runs_etcd(&self, node: &NodeName) -> bool {
        let unit: UnitName = "etcd.service"
            .parse()
            .expect("`etcd.service` is the name of a service");
        let state = self.snapshots[node].units.get(&unit);
        state.is_some_and(UnitState::is_active)
    }

    /// Warns of what the versions that nodes would enter change, beyond flags.
    pub(crate) fn warn_of_upgrade(&self, session: &Session<'_>) {
        let inventory = session.inventory;
        let cluster = &inventory.cluster;
        let kubernetes = self.oldest("kube-apiserver").unwrap_or(cluster.kubernetes);
        let etcd = self.oldest("etcd").unwrap_or(cluster.etcd);
        for finding in check::entered(kubernetes, etcd, inventory) {
            let (subject, message) = (finding.subject(inventory), &finding.message);
            let help = finding.help.map(|help| format!("; {help}"));
            let help = help.unwrap_or_default();
            session.warn(format!("{subject}: {message}{help}"));
        }
    }

    /// Ends the connections.
    pub(crate) async fn close(self) {
        session::close(self.transports).await;
    }
}

/// What every node is asked for at first: each unit that any component may have, and where it is a
/// member of etcd, its data.
fn asked(inventory: &Inventory) -> BTreeMap<NodeName, Asked> {
    let components = COMPONENTS.iter();
    let units: BTreeSet<UnitName> = components.filter_map(|it| it.unit_name()).collect();
    let of = |node: &Node| Asked {
        paths: name_servers(inventory, node).into_iter().collect(),
        units: units.clone(),
        data: Place::of(inventory, node),
        users: None,
        worker: node.roles.contains(&Role::Worker),
    };
    let nodes = inventory.nodes.values();
    nodes.map(|node| (node.name.clone(), of(node))).collect()
}

/// The file that the user has a node's Pods be given their name servers of, if any.
fn name_servers(inventory: &Inventory, node: &Node) -> Option<RemotePath> {
    let kubelet = inventory.component("kubelet", node);
    let said = kubelet.config.get("resolvConf")?.as_str()?.parse().ok();
    said.filter(|_| node.roles.contains(&Role::Worker))
}

/// One assignment of architectures to nodes for each that must be fetched for.
pub(crate) async fn architectures(
    session: &Session<'_>,
    arch: &[Arch],
) -> Result<Vec<BTreeMap<NodeName, Arch>>, Failure> {
    let scope = session.scope()?;
    let nodes = || {
        let nodes = session.inventory.nodes.values();
        nodes.filter(|node| scope.contains(&node.name))
    };
    let known: BTreeMap<_, _> = nodes()
        .filter_map(|node| Some((node.name.clone(), node.arch?)))
        .collect();
    let unknown: BTreeSet<_> = nodes()
        .filter(|node| node.arch.is_none())
        .map(|node| node.name.clone())
        .collect();
    if unknown.is_empty() {
        return Ok(vec![known]);
    }
    if !arch.is_empty() {
        let of = |arch| {
            let all = unknown.iter().map(|node| (node.clone(), arch));
            known.clone().into_iter().chain(all).collect()
        };
        return Ok(arch.iter().copied().map(of).collect());
    }
    let fleet = Fleet::reach(session, &unknown, Look::default()).await?;
    let found = fleet.archs.clone();
    fleet.close().await;
    Ok(vec![known.into_iter().chain(found).collect()])
}
