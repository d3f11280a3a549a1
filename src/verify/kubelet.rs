//! What only a kubelet can do: a Pod's logs, a program in it, a port of it; and whom it lets in.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use super::judge::{self, Pod};
use super::{Check, NAMESPACE, Trial, Why, object};
use crate::component::Scheme;
use crate::inventory::{Node, NodeName, Role};
use crate::manifest::Probe;
use crate::script;
use crate::survey::kubectl::Kubectl;
use crate::transport::Transport;

/// Where a kubelet listens that says nothing else.
const PORT: u16 = 10250;
/// How often it is tried, in seconds.
const KUBELET_SECONDS: u64 = 10;
/// How many kubectl run at a time: an sshd lets ten sessions onto a connection.
const KUBECTLS_MAX: usize = 4;

impl Trial<'_> {
    /// Of each Pod, and of each worker.
    pub(super) async fn kubelets(&self, pods: &BTreeMap<NodeName, Pod>) {
        let all = stream::iter(pods);
        let of_each =
            all.for_each_concurrent(self.task.jobs.min(KUBECTLS_MAX), |(node, pod)| async move {
                let node = Some(node);
                self.prove(Check::Logs, node, self.logs(pod)).await;
                self.prove(Check::Exec, node, self.exec(pod)).await;
                self.prove(Check::PortForward, node, self.port_forward(pod))
                    .await;
            });
        of_each.await;
        let workers = stream::iter(self.with_role(Role::Worker));
        let at_each = workers.for_each_concurrent(self.task.jobs, |node| async move {
            let work = async { Ok((self.anonymous(node).await?, ())) };
            self.prove(Check::KubeletAnonymous, Some(&node.name), work)
                .await;
        });
        at_each.await;
    }

    async fn logs(&self, pod: &Pod) -> Result<(String, ()), Why> {
        let path = object::path(&format!("pods/{}/log?tailLines=10", pod.name));
        let look = async || {
            let reply = self.ask(reqwest::Method::GET, &path, None).await?;
            if !reply.is_success() {
                return Err(Why::Failed(reply.message()));
            }
            if reply.text.trim().is_empty() {
                return Err(Why::Failed("its Pod's log is empty".to_owned()));
            }
            Ok(())
        };
        self.until("its Pod's log", KUBELET_SECONDS, look).await?;
        Ok(("its Pod's log is read".to_owned(), ()))
    }

    async fn exec(&self, pod: &Pod) -> Result<(String, ()), Why> {
        let once = async || {
            let said = self.kubectl(&["exec", &pod.name]).await?;
            expect("ok", &said)
        };
        self.until("a program in its Pod", KUBELET_SECONDS, once)
            .await?;
        Ok(("a program runs in its Pod by `kubectl exec`".to_owned(), ()))
    }

    async fn port_forward(&self, pod: &Pod) -> Result<(String, ()), Why> {
        let port = object::PORT.to_string();
        let once = async || {
            let said = self.kubectl(&["forward", &pod.name, &port]).await?;
            expect(&format!("answer {}", pod.name), &said)
        };
        self.until("a port of its Pod", KUBELET_SECONDS, once)
            .await?;
        Ok(("its Pod answers by `kubectl port-forward`".to_owned(), ()))
    }

    /// What kubectl says on a node of the control plane.
    async fn kubectl(&self, words: &[&str]) -> Result<String, Why> {
        let Some((node, transport)) = self.one_with_kubectl() else {
            let word = words.first().copied().unwrap_or_default();
            return Err(Why::NotChecked(format!(
                "{word}: kubectl is on nodes of the control plane, and none of those is looked at"
            )));
        };
        let kubectl = Kubectl {
            cluster: &self.task.inventory.cluster,
            credentials: self.task.credentials,
            port: self.task.inventory.api_port(node),
        };
        let words: Vec<&str> = [NAMESPACE].iter().chain(words).copied().collect();
        let said = kubectl.run(transport, script::KUBECTL, &words).await;
        said.map_err(|error| error.to_string())?
            .map_err(Why::Failed)
    }

    /// One whose kube-apiserver answers.
    fn one_with_kubectl(&self) -> Option<(&Node, &Transport)> {
        let mut servers = self.servers().iter();
        servers.find_map(|server| {
            let node = &self.task.inventory.nodes[&server.node];
            Some((node, self.task.transports.get(&server.node)?))
        })
    }

    async fn anonymous(&self, node: &Node) -> Result<String, Why> {
        let found = self.find(&format!("/api/v1/nodes/{}", node.name)).await?;
        let found = found.unwrap_or_default();
        let port = found["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
        let port = port.and_then(|port| u16::try_from(port).ok());
        let probe = Probe {
            scheme: Scheme::Https,
            port: port.unwrap_or(PORT),
            path: "/pods".to_owned(),
            client: None,
            authority: None,
        };
        let transport = &self.task.transports[&node.name];
        let answer = self.prober().get_at(transport, node.address, &probe).await;
        judge::refused(answer.map_err(|error| error.to_string())?)
    }
}

fn expect(wanted: &str, said: &str) -> Result<(), Why> {
    if said == wanted {
        return Ok(());
    }
    Err(Why::Failed(format!(
        "kubectl says `{said}`, and not `{wanted}`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_says_is_compared_with_what_it_should() {
        assert_eq!(expect("ok", "ok"), Ok(()));
        let why = "kubectl says `answer b`, and not `answer a`".to_owned();
        assert_eq!(expect("answer a", "answer b"), Err(Why::Failed(why)));
    }
}
