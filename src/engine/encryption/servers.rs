//! Proof that every kube-apiserver runs on a configuration, by its record and by what it does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::fleet::{Fleet, Look};
use super::super::pki;
use super::super::session::Session;
use super::rewrite::Api;
use crate::certificate::Credentials;
use crate::diff;
use crate::digest::Digest;
use crate::failure::{Exit, Failure};
use crate::inventory::{NodeName, Role};
use crate::manifest::{Kind, Stage, Unit};
use crate::probe::Prober;
use crate::remote_path::RemotePath;
use crate::script;
use crate::secret::Secret;
use crate::transport::Body;

const CONFIG: &str = "/etc/k8s/kube-apiserver/encryption-config.yaml";
/// A Secret that lives for a moment; it holds nothing.
const CANARY: &str = "kinstall-encryption-proof";
const NAMESPACE: &str = "/api/v1/namespaces/kube-system/secrets";

/// The nodes, reached, with what their API is asked with.
pub(crate) struct Servers {
    fleet: Fleet,
    credentials: Credentials,
    /// Those with a kube-apiserver.
    names: Vec<NodeName>,
    /// One with etcd.
    member: Option<NodeName>,
    /// Where kube-apiserver keeps everything in it.
    prefix: String,
}

impl Servers {
    pub(crate) async fn reach(session: &Session<'_>) -> Result<Self, Failure> {
        let inventory = session.inventory;
        let everyone = inventory.nodes.keys().cloned().collect();
        let fleet = Fleet::reach(session, &everyone, Look::default()).await?;
        let credentials = pki::credentials_in_effect(session)?;
        let name = |node: &crate::inventory::Node| node.name.clone();
        let first = inventory.with_role(Role::ControlPlane).next();
        let prefix = first.map(|node| inventory.etcd_prefix(node));
        Ok(Self {
            fleet,
            credentials,
            names: inventory.with_role(Role::ControlPlane).map(name).collect(),
            member: inventory.with_role(Role::Etcd).map(name).next(),
            prefix: prefix.expect("an inventory has a node of the control plane"),
        })
    }

    pub(crate) async fn close(self) {
        self.fleet.close().await;
    }

    /// The servers that do not run on this configuration, as far as their nodes' records tell.
    pub(crate) fn behind(&self, config: &Secret) -> Vec<String> {
        let wanted = Digest::of(config.expose());
        let path = RemotePath::fixed(CONFIG);
        let runs = |name: &&NodeName| {
            let snapshot = self.fleet.snapshots.get(*name)?;
            let manifest = &snapshot.recorded.as_ref()?.manifest;
            let entry = manifest.entries.get(&path)?;
            let (unit, watched) = manifest.of_stage(Stage::Apiserver)?;
            let state = snapshot.units.get(unit)?;
            let fingerprint = diff::fingerprint(manifest, watched);
            let in_place = matches!(entry.kind, Kind::File { digest, .. } if digest == wanted);
            let runs = state.is_active() && state.applied.as_deref() == Some(&fingerprint);
            (in_place && runs && snapshot.begun.is_none()).then_some(())
        };
        let behind = self.names.iter().filter(|name| runs(name).is_none());
        behind.map(ToString::to_string).collect()
    }

    /// Proves that every server has loaded the configuration: by the nodes' records, and in deed,
    /// for what each of them writes is read by all. Answers how many there are.
    pub(crate) async fn prove(&self, config: &Secret) -> Result<usize, Failure> {
        let behind = self.behind(config);
        if !behind.is_empty() {
            let message = format!("not every kube-apiserver runs on it: {}", behind.join(", "));
            return Err(Failure::words(
                Exit::Failed,
                message,
                "run the same command again",
            ));
        }
        let mut apis = Vec::new();
        for name in &self.names {
            apis.push((name, self.api(name).await?));
        }
        let at = format!("{NAMESPACE}/{CANARY}");
        for (writer, api) in &apis {
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": CANARY, "namespace": "kube-system"},
                "stringData": {"written-by": writer.to_string()},
            });
            _ = api.delete(&at).await;
            api.post(NAMESPACE, &secret).await?;
            for (reader, other) in &apis {
                let found: Value = other.get(&at).await.map_err(|failure| {
                    let message = format!("{reader} cannot read what {writer} wrote");
                    let mut all =
                        Failure::words(Exit::Failed, message, "nothing goes on from here");
                    all.reports.extend(failure.reports);
                    all
                })?;
                if found["data"]["written-by"].as_str().is_none() {
                    let message = format!("{reader} reads something else than {writer} wrote");
                    return Err(Failure::words(
                        Exit::Failed,
                        message,
                        "nothing goes on from here",
                    ));
                }
            }
        }
        if let Some((_, api)) = apis.first() {
            _ = api.delete(&at).await;
        }
        Ok(apis.len())
    }

    /// The API by way of the first server.
    pub(crate) async fn any_api(&self) -> Result<Api, Failure> {
        let name = self.names.first();
        let name = name.expect("an inventory has a node of the control plane");
        self.api(name).await
    }

    async fn api(&self, name: &NodeName) -> Result<Api, Failure> {
        let connection = self.fleet.transports[name].ssh();
        let connection = connection.expect("nodes are reached by ssh here");
        let snapshot = &self.fleet.snapshots[name];
        let units = snapshot
            .recorded
            .iter()
            .flat_map(|it| it.manifest.units.values());
        let port = units
            .filter(|unit| unit.stage == Stage::Apiserver)
            .find_map(Unit::port)
            .unwrap_or(6443);
        let prober = Prober::new(&self.credentials);
        let client = prober.api(connection, port).await;
        let client = client.map_err(|error| Failure::new(Exit::Unreachable, error))?;
        let client = client.map_err(|why| Failure::words(Exit::Failed, why, "is `pki/` whole?"))?;
        Ok(Api::new(name, port, client))
    }

    /// How many values in etcd each key encrypts.
    pub(crate) async fn stored(&self) -> Result<BTreeMap<String, u64>, Failure> {
        let Some(member) = &self.member else {
            return Ok(BTreeMap::new());
        };
        let transport = &self.fleet.transports[member];
        let output = transport
            .run(script::ETCD_KEYS, &[&self.prefix], Body::default())
            .await;
        let output = output.map_err(|error| Failure::new(Exit::Failed, error))?;
        let count = |line: &str| {
            let (count, prefix) = line.split_once(' ')?;
            Some((prefix.to_owned(), count.parse().ok()?))
        };
        Ok(output.lines().filter_map(count).collect())
    }
}
