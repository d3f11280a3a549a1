//! What `status` tells: what runs, how it is, and what was changed by hand.

use std::collections::BTreeMap;

use super::fleet::{Fleet, Look};
use super::session::Session;
use super::{clock, generations, pki, remote_files};
use crate::certificate;
use crate::diff::{self, Difference};
use crate::failure::{Exit, Failure};
use crate::inventory::NodeName;
use crate::manifest::{Kind, Registration, Stage};
use crate::membership;
use crate::node_object::Node;
use crate::probe::{Health, Prober};
use crate::remote_path::RemotePath;
use crate::snapshot::{Recorded, Snapshot};
use crate::survey::{members as living, node as living_node};
use crate::terminal::drop_in;
use crate::terminal::report::{
    CertificateReport, DropInReport, GenerationReport, NodeReport, Report, UnitReport, WorkerReport,
};
use crate::transport::Transport;

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    /// Whether every managed file is read again, whatever its size and times say.
    pub(crate) verify: bool,
    /// Certificates that end within so many days are told.
    pub(crate) expiry_days: u32,
}

impl Status {
    /// Looks at all nodes.
    pub(crate) async fn report(&self, session: &Session<'_>) -> Result<Report, Failure> {
        let look = Look {
            verify: self.verify,
            ..Look::default()
        };
        let fleet = Fleet::reach(session, &session.scope()?, look).await?;
        // Nothing is made here: a cluster that was pushed has its credentials in pki/.
        let credentials = pki::credentials_in_effect(session)?;
        let prober = Prober::new(&credentials);
        let looking = fleet
            .snapshots
            .iter()
            .map(|(name, snapshot)| self.node(name, snapshot, &fleet.transports[name], &prober));
        let nodes = futures_util::future::try_join_all(looking).await?;
        let etcd = one_cluster(&fleet).await?;
        fleet.close().await;
        Ok(Report {
            cluster: session.inventory.cluster.name.to_string(),
            nodes,
            etcd,
        })
    }

    async fn node(
        &self,
        name: &NodeName,
        snapshot: &Snapshot,
        transport: &Transport,
        prober: &Prober<'_>,
    ) -> Result<NodeReport, Failure> {
        let mut report = NodeReport {
            node: name.to_string(),
            ..NodeReport::default()
        };
        report.arch = snapshot.arch.map(|arch| arch.to_string());
        report.unfinished = snapshot.begun.is_some();
        let Some(recorded) = &snapshot.recorded else {
            return Ok(report);
        };
        report.generation = Some(recorded.generation);
        let (have, _) = generations::ask(transport, "none").await?;
        report.generations = have
            .into_iter()
            .map(|it| GenerationReport {
                generation: it.number,
                recorded: clock::date(it.at),
                versions: it.versions,
            })
            .collect();
        let difference = diff::between(&recorded.manifest, snapshot);
        report.drop_ins = drop_ins(&difference, transport).await?;
        report.drift = drift(&difference);
        for (unit, wanted) in &recorded.manifest.units {
            let state = snapshot.units.get(unit).cloned().unwrap_or_default();
            let health = if state.is_active() && transport.ssh().is_some() {
                let asked = prober.health(transport, unit, wanted.probe.as_ref()).await;
                asked.map_err(|error| Failure::new(Exit::Unreachable, error))?
            } else {
                Health::Ill(format!("{} ({})", state.active, state.sub))
            };
            let (healthy, complaint) = match health {
                Health::Well => (Some(true), None),
                Health::Ill(why) => (Some(false), Some(why)),
                Health::NotAsked(why) => (None, Some(why)),
            };
            let fingerprint = diff::fingerprint(&recorded.manifest, wanted);
            report.units.push(UnitReport {
                unit: unit.to_string(),
                version: recorded.manifest.versions.get(&wanted.component).cloned(),
                active: state.active.clone(),
                enabled: state.enabled,
                healthy,
                complaint,
                since: state.since.clone(),
                restarts: state.restarts,
                outdated: state.applied.as_deref() != Some(&fingerprint),
                intruder: difference.intruders.get(unit).cloned(),
            });
        }
        report.certificates = self.certificates(recorded, transport).await?;
        report.routes.clone_from(&snapshot.ways);
        let units = recorded.manifest.units.values();
        let mut registrations = units.filter_map(|unit| unit.registration.as_ref());
        if let Some(registration) = registrations.next() {
            let asked = living_node::ask(prober, transport, &registration.servers).await;
            let asked = asked.map_err(|error| Failure::new(Exit::Unreachable, error))?;
            report.worker = Some(worker(&asked, registration));
        }
        Ok(report)
    }

    /// The certificates that lie on the node, the first to end first.
    async fn certificates(
        &self,
        recorded: &Recorded,
        transport: &Transport,
    ) -> Result<Vec<CertificateReport>, Failure> {
        let files = recorded.manifest.entries.iter().filter(|(path, entry)| {
            let is_file = matches!(entry.kind, Kind::File { .. });
            is_file && !entry.secret && path.has_extension("pem")
        });
        let asked = files.map(|(path, _)| path.clone()).collect();
        let texts = remote_files::read(transport, asked).await;
        let texts = texts.map_err(|error| Failure::new(Exit::Unreachable, error))?;
        let mut certificates: Vec<CertificateReport> = texts
            .into_iter()
            .filter_map(|(path, pem)| {
                let certificate = certificate::describe(&pem).ok()?;
                let days = (certificate.not_after - clock::now()).div_euclid(86_400);
                Some(CertificateReport {
                    path: path.to_string(),
                    subject: certificate.subject.to_string(),
                    days_left: days,
                    near_end: days < i64::from(self.expiry_days),
                })
            })
            .collect();
        certificates.sort_by(|a, b| (a.days_left, &a.path).cmp(&(b.days_left, &b.path)));
        Ok(certificates)
    }
}

/// How the Node of a worker is.
fn worker(asked: &Result<Option<Node>, String>, registration: &Registration) -> WorkerReport {
    let (node, ready, complaint) = match asked {
        Err(why) => (None, None, Some(why.clone())),
        Ok(None) => (None, Some(false), Some("there is no such Node".to_owned())),
        Ok(Some(node)) => {
            let due = registration.pod_range.map(|range| range.to_string());
            let odd = due.filter(|due| node.pod_range() != Some(due));
            let odd = odd.map(|due| format!("its Pods should be in {due}"));
            let complaint = node.lacks(registration, None).or(odd);
            (Some(node), Some(node.is_ready()), complaint)
        }
    };
    WorkerReport {
        ready,
        complaint,
        version: node.and_then(Node::version).map(str::to_owned),
        pod_range: node.and_then(Node::pod_range).map(str::to_owned),
    }
}

/// What differs from what was recorded: changed or removed by hand.
fn drift(difference: &Difference) -> BTreeMap<RemotePath, &'static str> {
    let changes = difference.entries.iter().map(|(path, change)| {
        let what = match change.kind {
            diff::ChangeKind::Create => "missing",
            diff::ChangeKind::Replace => "changed",
            diff::ChangeKind::Attributes => "mode or owner changed",
            diff::ChangeKind::Remove => "left over",
        };
        (path.clone(), what)
    });
    changes.collect()
}

/// What somebody dropped into units, with its text.
async fn drop_ins(
    difference: &Difference,
    transport: &Transport,
) -> Result<Vec<DropInReport>, Failure> {
    let found = difference.drop_ins.iter();
    let paths = found.clone().filter_map(|found| found.path.parse().ok());
    let texts = remote_files::read(transport, paths.collect()).await;
    let texts = texts.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    let reports = found.map(|found| DropInReport {
        unit: found.unit.to_string(),
        path: found.path.clone(),
        text: found
            .path
            .parse::<RemotePath>()
            .ok()
            .and_then(|path| texts.get(&path))
            .map_or_else(Vec::new, |text| drop_in::shown(text)),
    });
    Ok(reports.collect())
}

/// Whether the members that run are of one cluster; how not, in words.
async fn one_cluster(fleet: &Fleet) -> Result<Option<String>, Failure> {
    let mut told = BTreeMap::new();
    let asked = fleet.transports.iter().filter(|(node, transport)| {
        let recorded = fleet.snapshots[*node].recorded.as_ref();
        let is_member = recorded.is_some_and(|it| it.manifest.of_stage(Stage::Etcd).is_some());
        transport.ssh().is_some() && is_member && fleet.runs_etcd(node)
    });
    let asking = asked.map(|(node, transport)| async move {
        let cluster = living::list(transport).await;
        (node, cluster)
    });
    for (node, cluster) in futures_util::future::join_all(asking).await {
        let cluster = cluster.map_err(|error| Failure::new(Exit::Unreachable, error))?;
        // One that does not answer is unhealthy, and told as that.
        if let Ok(cluster) = cluster {
            told.insert(node.clone(), cluster);
        }
    }
    Ok(membership::disagreement(&told))
}
