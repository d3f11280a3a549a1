//! Kubeconfigs: how a client finds kube-apiserver and proves who it is, in one file.

mod merge;
mod shape;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::certificate::{AuthorityName, CertificateId, Credentials};
use crate::inventory::{Cluster, Node, Role};
use crate::secret::Secret;
use crate::yaml;

pub use crate::credential::Client;
pub use merge::{Merged, Problem};

/// The kube-apiserver of a component's own node, by its port. Each of its certificates is valid for
/// it, and a rolling upgrade never pairs a newer component with an older server.
pub fn own_node_server(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// What a kubeconfig needs is not among the credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kubeconfig of `{client}` needs the certificate `{missing}`, which the authority did not give"
)]
pub struct Missing {
    /// The client it is for.
    pub client: &'static str,
    /// The certificate, or the authority, that is missing.
    pub missing: String,
}

impl Client {
    /// Its name in the kubeconfig. The administrator's carries the cluster's name, so that the
    /// kubeconfigs of several clusters can be merged into one.
    fn user(self, cluster: &Cluster, node: Option<&Node>) -> String {
        match self {
            Self::Admin => format!("{}-admin", cluster.name),
            Self::ControllerManager => "system:kube-controller-manager".to_owned(),
            Self::Scheduler => "system:kube-scheduler".to_owned(),
            Self::Kubelet => {
                let name = node.map_or("", |node| node.name.as_str());
                format!("system:node:{name}")
            }
            Self::KubeProxy => "system:kube-proxy".to_owned(),
        }
    }

    /// A worker that has a kube-apiserver of its own needs nobody else's; any other one goes where
    /// everybody goes.
    fn server(self, cluster: &Cluster, node: Option<&Node>, port: u16) -> String {
        let has_own = node.is_some_and(|node| node.roles.contains(&Role::ControlPlane));
        match self {
            Self::ControllerManager | Self::Scheduler => own_node_server(port),
            Self::Kubelet | Self::KubeProxy if has_own => own_node_server(port),
            Self::Admin | Self::Kubelet | Self::KubeProxy => cluster.endpoint.to_string(),
        }
    }
}

/// The kubeconfig of a client, certificates embedded, in YAML; of a client on a node, that node's.
/// The port is that of the kube-apiserver on the client's own node.
///
/// The form is `v1` `Config` of <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.
pub fn render(
    client: Client,
    node: Option<&Node>,
    cluster: &Cluster,
    port: u16,
    credentials: &Credentials,
) -> Result<Secret, Missing> {
    let items = items(client, node, cluster, port, credentials)?;
    Ok(Secret::new(items.config().as_bytes()))
}

/// The administrator's entries put into a kubeconfig that holds other clusters.
pub fn merged(
    existing: &Secret,
    cluster: &Cluster,
    credentials: &Credentials,
) -> Result<Result<Merged, Problem>, Missing> {
    let items = items(
        Client::Admin,
        None,
        cluster,
        cluster.endpoint.port,
        credentials,
    )?;
    Ok(merge::merge(existing, &items))
}

/// Whether a kubeconfig has an entry of the cluster's.
pub fn holds(existing: &Secret, cluster: &Cluster) -> bool {
    let user = Client::Admin.user(cluster, None);
    merge::holds(existing, cluster.name.as_str(), &user)
}

/// The three entries that a client has in a kubeconfig, each an element of its list in YAML.
struct Items {
    cluster_name: String,
    user_name: String,
    context_name: String,
    cluster: Zeroizing<String>,
    user: Zeroizing<String>,
    context: Zeroizing<String>,
}

impl Items {
    /// A kubeconfig of them alone.
    fn config(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "\
apiVersion: v1
kind: Config
current-context: {context}
clusters:
{clusters}users:
{users}contexts:
{contexts}",
            context = yaml::quoted(&self.context_name),
            clusters = *self.cluster,
            users = *self.user,
            contexts = *self.context,
        ))
    }

    /// Each list, the entry's name and the entry.
    fn entries(&self) -> [(&'static str, &str, &str); 3] {
        [
            (
                "clusters",
                self.cluster_name.as_str(),
                self.cluster.as_str(),
            ),
            ("users", self.user_name.as_str(), self.user.as_str()),
            (
                "contexts",
                self.context_name.as_str(),
                self.context.as_str(),
            ),
        ]
    }
}

fn items(
    client: Client,
    node: Option<&Node>,
    cluster: &Cluster,
    port: u16,
    credentials: &Credentials,
) -> Result<Items, Missing> {
    let of_node = node.filter(|_| client == Client::Kubelet);
    let id = CertificateId {
        kind: client.kind(),
        node: of_node.map(|node| node.name.clone()),
    };
    let missing = |missing: String| Missing {
        client: client.kind().name(),
        missing,
    };
    let leaf = credentials.leaves.get(&id);
    let leaf = leaf.ok_or_else(|| missing(id.to_string()))?;
    let authority = credentials.authorities.get(&AuthorityName::Kubernetes);
    let authority = authority.ok_or_else(|| missing(AuthorityName::Kubernetes.to_string()))?;

    let (cluster_name, user_name) = (cluster.name.to_string(), client.user(cluster, node));
    let (name, user) = (yaml::quoted(&cluster_name), yaml::quoted(&user_name));
    let key = Zeroizing::new(STANDARD.encode(leaf.key_pem.expose()));
    Ok(Items {
        cluster: Zeroizing::new(format!(
            "\
- name: {name}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
",
            server = yaml::quoted(&client.server(cluster, node, port)),
            authority = STANDARD.encode(authority),
        )),
        user: Zeroizing::new(format!(
            "\
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
",
            certificate = STANDARD.encode(&leaf.chain_pem),
            key = *key,
        )),
        context: Zeroizing::new(format!(
            "\
- name: {name}
  context:
    cluster: {name}
    user: {user}
",
        )),
        context_name: cluster_name.clone(),
        cluster_name,
        user_name,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;
    use crate::certificate::{Kind, Leaf, ServiceAccountPair, fixture};

    fn credentials() -> Credentials {
        let leaf = |kind: Kind| {
            let id = CertificateId { kind, node: None };
            let leaf = Leaf {
                chain_pem: format!("certificate of {}", kind.name()),
                key_pem: Secret::new(format!("key of {}", kind.name())),
                dated: 0,
                not_before: 0,
                not_after: 1,
            };
            (id, leaf)
        };
        Credentials {
            authorities: [(AuthorityName::Kubernetes, "the authority".to_owned())].into(),
            leaves: [Kind::Admin, Kind::ControllerManager, Kind::Scheduler]
                .map(leaf)
                .into(),
            service_account: ServiceAccountPair {
                private_pem: Secret::new(""),
                public_pem: String::new(),
            },
            encryption_config: Secret::new(""),
            encryption_history: vec![],
            signing_key_pem: None,
        }
    }

    /// Needs the `kubectl` program: what it reads is what counts.
    #[track_caller]
    fn check(client: Client, jsonpath: &str, expected: &str) {
        let mut cluster = fixture::inventory().cluster;
        cluster.name = "1".parse().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = render(client, None, &cluster, 7443, &credentials()).unwrap();
        fs_err::write(file.path(), text.expose()).unwrap();
        let output = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(file.path())
            .args(["config", "view", "--raw", "-o"])
            .arg(format!("jsonpath={jsonpath}"))
            .output()
            .expect("this test needs `kubectl`");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }

    #[test]
    fn kubectl_reads_them() {
        let server = "{.clusters[?(@.name==\"1\")].cluster.server}";
        check(
            Client::Admin,
            server,
            "https://kube-apiserver.k8s.home:8443",
        );
        let own = "https://127.0.0.1:7443";
        check(Client::ControllerManager, server, own);
        check(Client::Scheduler, server, own);
        check(Client::Admin, "{.current-context}", "1");
        check(Client::Admin, "{.contexts[0].context.user}", "1-admin");
        check(
            Client::Scheduler,
            "{.contexts[0].context.cluster} {.users[0].name}",
            "1 system:kube-scheduler",
        );
        check(
            Client::ControllerManager,
            "{.users[0].user.client-key-data}",
            &STANDARD.encode("key of controller-manager"),
        );
        check(
            Client::Admin,
            "{.users[0].user.client-certificate-data} {.clusters[0].cluster.certificate-authority-data}",
            &["certificate of admin", "the authority"]
                .map(|text| STANDARD.encode(text))
                .join(" "),
        );
    }

    #[test]
    fn a_certificate_that_is_missing_is_named() {
        let mut credentials = credentials();
        credentials.leaves = BTreeMap::new();
        let cluster = fixture::inventory().cluster;
        let error = render(Client::Admin, None, &cluster, 6443, &credentials).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the kubeconfig of `admin` needs the certificate `admin`, which the authority did not give"
        );
    }
}
