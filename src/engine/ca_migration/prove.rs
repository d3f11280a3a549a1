//! Whether every peer that runs takes certificates that it has not been shown yet: told by handshakes,
//! before any node is changed.

use std::net::{IpAddr, Ipv4Addr};

use crate::certificate::{AuthorityName, Credentials, Kind};
use crate::component::Scheme;
use crate::engine::fleet::{Fleet, Look};
use crate::engine::session::Session;
use crate::failure::{Exit, Failure};
use crate::inventory::{Node, Role};
use crate::manifest::{Probe, UnitName};
use crate::probe::{Answer, Prober, administrator};
use crate::snapshot::UnitState;

/// What is to be proven.
pub(crate) struct Proof<'a> {
    pub(crate) session: &'a Session<'a>,
    /// The certificates to come, and what is trusted of both sides.
    pub(crate) credentials: &'a Credentials,
}

/// A question that a peer answers only where it takes the certificate it is shown.
struct Question {
    unit: &'static str,
    address: IpAddr,
    probe: Probe,
    /// Whether a certificate that is not taken is answered, and with 401.
    is_answered_anyway: bool,
}

impl Proof<'_> {
    /// How many handshakes went well; the first that did not is an error.
    pub(crate) async fn run(&self) -> Result<usize, Failure> {
        let (session, inventory) = (self.session, self.session.inventory);
        let everyone = inventory.nodes.keys().cloned().collect();
        let fleet = Fleet::reach(session, &everyone, Look::default()).await?;
        let asking = inventory.nodes.values().map(|node| self.node(node, &fleet));
        let counts = futures_util::future::try_join_all(asking).await;
        fleet.close().await;
        Ok(counts?.into_iter().sum())
    }

    async fn node(&self, node: &Node, fleet: &Fleet) -> Result<usize, Failure> {
        let (transport, snapshot) = (&fleet.transports[&node.name], &fleet.snapshots[&node.name]);
        let prober = Prober::new(self.credentials);
        let mut count = 0;
        for question in self.questions(node) {
            let unit: UnitName = format!("{}.service", question.unit)
                .parse()
                .expect("the name of a component is the name of a service");
            // What does not run is shown nothing, and starts with what it trusts then.
            if !snapshot.units.get(&unit).is_some_and(UnitState::is_active) {
                continue;
            }
            let (probe, address) = (&question.probe, question.address);
            let port = probe.port;
            let answer = prober.get_at(transport, address, probe).await;
            let answer = answer.map_err(|error| Failure::new(Exit::Unreachable, error))?;
            let why = match answer {
                Answer::Given { status: 401, text } if question.is_answered_anyway => {
                    let text: String = text.chars().take(200).collect();
                    format!("401: {}", text.trim())
                }
                Answer::Given { .. } => {
                    count += 1;
                    continue;
                }
                Answer::NotAsked(why) => {
                    self.session.warn(format!(
                        "{}: whether port {port} takes the new certificates was not proven: {why}",
                        node.name
                    ));
                    continue;
                }
                Answer::Failed(why) => why,
            };
            let client = probe.client.as_deref().unwrap_or_default();
            let message = format!(
                "{}: port {port} ({}) does not take the new certificate `{client}`: {why}",
                node.name, question.unit
            );
            let help = "nothing was changed on any node. Mend that, and run the same command again; or \
                        go back with `--back`, or with the inventory as it was";
            return Err(Failure::words(Exit::Failed, message, help));
        }
        Ok(count)
    }

    fn questions(&self, node: &Node) -> Vec<Question> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut questions = Vec::new();
        if node.roles.contains(&Role::Etcd) {
            let mut ask = |port, address, path: &str, kind: Kind, authority| {
                let mut ids = self.credentials.leaves.keys();
                let own = ids.find(|id| {
                    id.kind == kind && id.node.as_ref().is_none_or(|it| *it == node.name)
                });
                questions.extend(own.map(|id| Question {
                    unit: "etcd",
                    address,
                    probe: Probe {
                        scheme: Scheme::Https,
                        port,
                        path: path.to_owned(),
                        client: Some(id.to_string()),
                        authority: Some(AuthorityName::name(authority).to_owned()),
                    },
                    is_answered_anyway: false,
                }));
            };
            let etcd = AuthorityName::Etcd;
            ask(2379, loopback, "/health", Kind::EtcdHealthcheckClient, etcd);
            ask(2379, loopback, "/health", Kind::ApiserverEtcdClient, etcd);
            // A member looks whether its peer calls from an address of its certificate, and this call
            // comes from the member's own: it is shown its own.
            let peer = AuthorityName::EtcdPeer;
            let address = node.etcd_address();
            ask(2380, address, "/version", Kind::EtcdPeer, peer);
        }
        if node.roles.contains(&Role::ControlPlane) {
            let port = self.session.inventory.api_port(node);
            questions.push(Question {
                unit: "kube-apiserver",
                address: loopback,
                probe: administrator(port, "/readyz".to_owned()),
                is_answered_anyway: true,
            });
        }
        questions
    }
}
