//! What `kinstall verify` proves of a cluster: that it keeps Secrets, runs Pods and carries their
//! packets, by doing it. Here are the names of it all; [`Trial`] does it, `judge` says what an answer
//! is worth, and `object` has what is made for it.

mod judge;
mod kubelet;
mod object;
mod pods;
mod reach;
mod servers;
mod trial;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use trial::{Task, Told, Trial};

/// Where everything is made: what is in it goes with it.
pub const NAMESPACE: &str = "kinstall-verify";
/// The image of the Pods, unless another is named: `netexec` of what Kubernetes tests itself with.
pub const IMAGE: &str = "registry.k8s.io/e2e-test-images/agnhost:2.39";

/// Something to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Each kube-apiserver answers.
    Apiserver,
    /// A namespace for all the rest can be made.
    Namespace,
    /// The Node of a worker is as the inventory says, and Ready.
    Node,
    /// What one kube-apiserver wrote, the others read.
    Secret,
    /// It is encrypted in etcd.
    Encryption,
    /// A token that one kube-apiserver made is good at the others.
    Token,
    /// A Pod runs on each worker.
    Pod,
    /// It reaches the Pods of the others.
    PodToPod,
    /// It reaches itself through a Service.
    Hairpin,
    /// It reaches the API by the Service `kubernetes`.
    ApiService,
    /// The same by the Service's name.
    Dns,
    /// It reaches a name outside of the cluster.
    Outside,
    /// A port of a Service answers on the node's address.
    NodePort,
    /// A kube-apiserver's node reaches Pods, as webhooks need it.
    ControlPlaneToPod,
    /// What a Pod printed can be read.
    Logs,
    /// A program can be run in a Pod.
    Exec,
    /// A port of a Pod can be reached through the API.
    PortForward,
    /// A kubelet refuses who shows no certificate.
    KubeletAnonymous,
    /// All that was made is gone again.
    Cleanup,
}

impl Check {
    /// What to look at where it failed.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Apiserver => {
                "`kinstall status` tells how it is; `journalctl -u kube-apiserver` there, why"
            }
            Self::Namespace => {
                "nothing can be proven without it: what kube-apiserver says tells what is missing"
            }
            Self::Node => {
                "look at `kubectl describe node`, and at `journalctl -u kubelet -u containerd` there"
            }
            Self::Secret => {
                "do all kube-apiservers have one etcd and one encryption key? `kinstall encryption status` \
                 tells who is behind; `kinstall push` mends it"
            }
            Self::Encryption => {
                "kube-apiserver runs without its encryption configuration: `kinstall push`, and \
                 `kinstall encryption status`"
            }
            Self::Token => {
                "all kube-apiservers must have one service-account key pair and issuer: `kinstall push`"
            }
            Self::Pod => {
                "look at `kubectl -n kinstall-verify get pods,events` during the next run, and at \
                 `journalctl -u kubelet -u containerd` there; a site without internet has to import the \
                 image, or name one that is there by `--image`"
            }
            Self::PodToPod => {
                "look at the routes (`ip route`, on both nodes), at firewalls between them for the Pod \
                 network, and at the FORWARD chain"
            }
            Self::Hairpin => {
                "look at kube-proxy there, and at `hairpinMode` of the bridge in /etc/cni/net.d"
            }
            Self::ApiService => {
                "look at kube-proxy there (`journalctl -u kube-proxy`), and at firewalls between that \
                 node and the kube-apiservers"
            }
            Self::Dns => {
                "look at the Pods of the cluster's DNS, at the endpoints of its Service, and at \
                 `clusterDNS` in the kubelet's configuration"
            }
            Self::Outside => {
                "look at what the cluster's DNS forwards to, at masquerading of what leaves the Pod \
                 network, and at firewalls on the way out"
            }
            Self::NodePort => {
                "look at kube-proxy there (`journalctl -u kube-proxy`), and at firewalls on that node"
            }
            Self::ControlPlaneToPod => {
                "webhooks and aggregated APIs need it: look at the routes there (`ip route`), and at \
                 firewalls for the Pod network"
            }
            Self::Exec => {
                "look at `journalctl -u kubelet -u containerd` there; the image must have /agnhost, which \
                 knows `--help`; kube-apiserver reaches each kubelet at port 10250 of its Node's InternalIP"
            }
            Self::Logs | Self::PortForward => {
                "kube-apiserver reaches each kubelet at port 10250 of its Node's InternalIP: look at \
                 firewalls between them, and at `journalctl -u kubelet` there"
            }
            Self::KubeletAnonymous => {
                "`authentication.anonymous.enabled` must be false in the kubelet's configuration"
            }
            Self::Cleanup => {
                "`kubectl get namespace kinstall-verify -o yaml` tells what holds it; the next `kinstall \
                 verify` removes it, too"
            }
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is so.
    Proven,
    /// It is not.
    Failed,
    /// Nobody looked.
    NotChecked,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// What was to be proven.
    pub check: Check,
    /// On which node, or by which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was seen.
    pub found: String,
    /// What to look at, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'static str>,
}

/// Why something is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// It is not so.
    Failed(String),
    /// It could not be looked at, or has no meaning here.
    NotChecked(String),
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// A name outside of the cluster, and a port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    host: String,
    port: u16,
}

/// It is no host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name or IPv4 address with or without a port, as in `example.org` or `10.0.0.1:8080`"
)]
pub struct NotOutside;

impl FromStr for Outside {
    type Err = NotOutside;

    fn from_str(text: &str) -> Result<Self, NotOutside> {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| NotOutside)?),
            None => (text, 80),
        };
        let is_name = |it: char| it.is_ascii_alphanumeric() || "-.".contains(it);
        if host.is_empty() || !host.chars().all(is_name) || port == 0 {
            return Err(NotOutside);
        }
        let host = host.to_owned();
        Ok(Self { host, port })
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_is_a_host_and_maybe_a_port() {
        let told = |text: &str| text.parse::<Outside>().map(|it| it.to_string());
        assert_eq!(told("example.org").as_deref(), Ok("example.org:80"));
        assert_eq!(told("10.0.0.1:8080").as_deref(), Ok("10.0.0.1:8080"));
        for wrong in ["", ":80", "a:0", "a:b", "http://a/", "a b", "a:1:2"] {
            assert_eq!(told(wrong), Err(NotOutside), "{wrong}");
        }
    }
}
