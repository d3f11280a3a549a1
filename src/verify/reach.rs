//! Who reaches whom: Pods each other, themselves by a Service, the API, names; nodes the Pods.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::Value;

use super::judge::{self, Pod, Sought};
use super::{Check, Trial, Why, object};
use crate::component::Scheme;
use crate::inventory::{NodeName, Role};
use crate::manifest::Probe;

/// How long the way to something may take to be there, in seconds: kube-proxies follow Services.
const WAY_SECONDS: u64 = 20;
/// How long a Pod may take to say what came of a request, in seconds.
const DIAL_SECONDS: u64 = 15;

/// The Pods that serve, by worker.
type Pods = BTreeMap<NodeName, Pod>;

impl Trial<'_> {
    /// From each Pod.
    pub(super) async fn reaching(&self, pods: &Pods) {
        let Some(first) = pods.values().next() else {
            return;
        };
        let has_dns = self.has_dns(first).await;
        let all = stream::iter(pods.iter().enumerate());
        let from_each =
            all.for_each_concurrent(self.task.jobs, |(number, (node, pod))| async move {
                let node = Some(node);
                self.prove(Check::PodToPod, node, self.to_others(pods, pod))
                    .await;
                self.prove(Check::Hairpin, node, self.to_itself(number, pod))
                    .await;
                self.prove(Check::ApiService, node, self.to_api(pod)).await;
                if has_dns {
                    self.prove(Check::Dns, node, self.to_api_by_name(pod)).await;
                }
            });
        from_each.await;
        if !has_dns {
            let none = format!(
                "no cluster DNS: no Service in kube-system has the address {}",
                self.task.inventory.cluster.dns
            );
            self.give_up(Check::Dns, Why::NotChecked(none));
        }
        self.outside(pods, has_dns).await;
    }

    async fn to_others(&self, pods: &Pods, own: &Pod) -> Result<(String, ()), Why> {
        let others = pods.iter().filter(|(_, pod)| *pod != own);
        let others: Vec<_> = others.collect();
        if others.is_empty() {
            let why = "there is no Pod on another worker to reach".to_owned();
            return Err(Why::NotChecked(why));
        }
        let mut names = Vec::new();
        for (node, pod) in others {
            let what = format!("a way to the Pod of {node}");
            let sought = Sought::Pod(&pod.name);
            let host = host(pod.address);
            let reached = self.dial(&what, own, &host, object::PORT, sought).await;
            reached.map_err(|why| before(&format!("the Pod of {node} ({})", pod.address), why))?;
            names.push(node.as_str());
        }
        let names = names.join(", ");
        Ok((format!("its Pod reaches the Pods of {names}"), ()))
    }

    async fn to_itself(&self, number: usize, pod: &Pod) -> Result<(String, ()), Why> {
        let path = object::path(&format!("pods/{}", pod.name));
        let label = object::label(number);
        let labelled = self.ask(Method::PATCH, &path, Some(&label)).await?;
        if !labelled.is_success() {
            return Err(Why::Failed(labelled.message()));
        }
        let service = object::service_of_one(number);
        let service = self.post(&object::path("services"), &service).await?;
        let address = address(&service)?;
        let sought = Sought::Pod(&pod.name);
        let what = "a way to it through its Service";
        self.dial(what, pod, &host(address), 80, sought).await?;
        Ok((
            format!("its Pod reaches itself through a Service, at {address}"),
            (),
        ))
    }

    async fn to_api(&self, pod: &Pod) -> Result<(String, ()), Why> {
        let address = self.task.inventory.cluster.service_address();
        let what = "a way to the API";
        self.dial(what, pod, &host(address), 443, Sought::Apiserver)
            .await?;
        Ok((format!("its Pod reaches the API at {address}"), ()))
    }

    async fn to_api_by_name(&self, pod: &Pod) -> Result<(String, ()), Why> {
        let name = self.api_name();
        self.dial("the cluster's DNS", pod, &name, 443, Sought::Apiserver)
            .await?;
        Ok((format!("its Pod reaches the API at {name}"), ()))
    }

    fn api_name(&self) -> String {
        format!(
            "kubernetes.default.svc.{}",
            self.task.inventory.cluster.domain
        )
    }

    /// Whether there is a DNS of the cluster's to be asked: a Service, or something that answers
    /// without one.
    async fn has_dns(&self, pod: &Pod) -> bool {
        let path = format!("{}/kube-system/services", object::NAMESPACES);
        let services = self.find(&path).await;
        let services = services.ok().flatten().unwrap_or_default();
        if judge::has_service_at(&services, self.task.inventory.cluster.dns) {
            return true;
        }
        let name = self.api_name();
        let once = self.dial_once(pod, &name, 443, Sought::Apiserver);
        once.await.is_ok()
    }

    async fn outside(&self, pods: &Pods, has_dns: bool) {
        let Some(outside) = self.task.outside else {
            return;
        };
        if !has_dns && outside.host.parse::<IpAddr>().is_err() {
            let why = format!("{outside}: there is no cluster DNS to find it by");
            self.give_up(Check::Outside, Why::NotChecked(why));
            return;
        }
        let from_each =
            stream::iter(pods).for_each_concurrent(self.task.jobs, |(node, pod)| async move {
                let work = async {
                    let (what, sought) = (format!("a way to {outside}"), Sought::Anybody);
                    self.dial(&what, pod, &outside.host, outside.port, sought)
                        .await?;
                    Ok((format!("its Pod reaches {outside}"), ()))
                };
                self.prove(Check::Outside, Some(node), work).await;
            });
        from_each.await;
    }

    /// By a port of a Service, on each worker's own address.
    pub(super) async fn node_ports(&self, pods: &Pods) {
        if pods.is_empty() {
            return;
        }
        let made = self
            .post(&object::path("services"), &object::service_of_all())
            .await;
        let port = made.and_then(|service| {
            let port = service["spec"]["ports"][0]["nodePort"].as_u64();
            let port = port.and_then(|port| u16::try_from(port).ok());
            port.ok_or_else(|| "its Service got no port".to_owned())
        });
        let port = match port {
            Ok(port) => port,
            Err(why) => {
                self.give_up(Check::NodePort, Why::Failed(why));
                return;
            }
        };
        let workers = stream::iter(self.with_role(Role::Worker));
        let at_each = workers.for_each_concurrent(self.task.jobs, |node| async move {
            let work = async {
                let address = node.address;
                let what = format!("port {port} to answer there");
                let look = async || self.serves(&node.name, address, port, pods).await;
                self.until(&what, WAY_SECONDS, look).await?;
                Ok((
                    format!("a NodePort answers at {}", host_and_port(address, port)),
                    (),
                ))
            };
            self.prove(Check::NodePort, Some(&node.name), work).await;
        });
        at_each.await;
    }

    /// From nodes that have a kube-apiserver, and no Pods of their own.
    pub(super) async fn control_plane(&self, pods: &Pods) {
        if pods.is_empty() {
            return;
        }
        let nodes = self.with_role(Role::ControlPlane);
        let nodes = nodes.filter(|node| !node.roles.contains(&Role::Worker));
        let from_each =
            stream::iter(nodes).for_each_concurrent(self.task.jobs, |node| async move {
                let work = async {
                    for (worker, pod) in pods {
                        let what = format!("a way to the Pod of {worker}");
                        let look = async || {
                            let (own, address) =
                                (Pods::from([(worker.clone(), pod.clone())]), pod.address);
                            self.serves(&node.name, address, object::PORT, &own).await
                        };
                        let reached = self.until(&what, WAY_SECONDS, look).await;
                        reached.map_err(|why| {
                            before(&format!("the Pod of {worker} ({})", pod.address), why)
                        })?;
                    }
                    let workers: Vec<&str> = pods.keys().map(NodeName::as_str).collect();
                    let workers = workers.join(", ");
                    Ok((
                        format!("this node of the control plane reaches the Pods of {workers}"),
                        (),
                    ))
                };
                self.prove(Check::ControlPlaneToPod, Some(&node.name), work)
                    .await;
            });
        from_each.await;
    }

    /// Whether one of these Pods answers there, as a node reaches it.
    async fn serves(
        &self,
        node: &NodeName,
        address: IpAddr,
        port: u16,
        pods: &Pods,
    ) -> Result<(), Why> {
        let probe = Probe {
            scheme: Scheme::Http,
            port,
            path: "/hostname".to_owned(),
            client: None,
            authority: None,
        };
        let answer = self
            .prober()
            .get_at(&self.task.transports[node], address, &probe)
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        judge::served(answer, pods.values().map(|pod| pod.name.as_str()))
    }

    /// Has a Pod ask, until it finds what is sought.
    async fn dial(
        &self,
        what: &str,
        pod: &Pod,
        host: &str,
        port: u16,
        sought: Sought<'_>,
    ) -> Result<(), Why> {
        let once = async || self.dial_once(pod, host, port, sought).await;
        self.until(what, WAY_SECONDS, once).await
    }

    async fn dial_once(
        &self,
        pod: &Pod,
        host: &str,
        port: u16,
        sought: Sought<'_>,
    ) -> Result<(), Why> {
        let path = object::dial(&pod.name, host, port, "hostname");
        let mut why = "no kube-apiserver answers".to_owned();
        for server in self.servers() {
            match server.api.get_within(DIAL_SECONDS, &path).await {
                Ok(reply) => return Ok(judge::dialled(&reply, sought)?),
                Err(error) => why = format!("{}: {error}", server.node),
            }
        }
        Err(Why::Failed(why))
    }
}

/// The address of a Service.
fn address(service: &Value) -> Result<IpAddr, Why> {
    let address = service["spec"]["clusterIP"].as_str();
    let address = address.and_then(|it| it.parse().ok());
    address.ok_or_else(|| Why::Failed("its Service got no address".to_owned()))
}

/// What was not reached, before why.
fn before(what: &str, why: Why) -> Why {
    match why {
        Why::Failed(why) => Why::Failed(format!("{what} is not reached: {why}")),
        Why::NotChecked(why) => Why::NotChecked(why),
    }
}

/// As it stands in a query.
fn host(address: IpAddr) -> String {
    address.to_string()
}

fn host_and_port(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}
