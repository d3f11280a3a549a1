//! Who calls whom, what each of the two presents, and which flag on each side reads it.
//!
//! The flags are those of the components' own references; in a kubeconfig the fields of
//! <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/> stand in their place.

use serde::Serialize;

use super::Kind;

/// One kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// The port; none where it is not the cluster's to say.
    pub port: Option<u16>,
    /// What the caller presents.
    pub client: Kind,
    /// Where the caller reads it from.
    pub client_flag: &'static str,
    /// What the callee verifies it by.
    pub client_trust: &'static str,
    /// What the callee presents; none where that is no certificate of this cluster.
    pub server: Option<Kind>,
    /// Where the callee reads it from.
    pub server_flag: &'static str,
    /// What the caller verifies it by.
    pub server_trust: &'static str,
}

/// Somebody who calls or is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// People with the administrator's kubeconfig.
    Admin,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// kubelet.
    Kubelet,
    /// kube-proxy.
    KubeProxy,
    /// kube-apiserver.
    Apiserver,
    /// etcd.
    Etcd,
    /// etcdctl in root's hands, and kinstall asking for health.
    Etcdctl,
    /// An aggregated API.
    Aggregated,
}

impl Party {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Apiserver => "kube-apiserver",
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::Aggregated => "aggregated API",
        }
    }
}

const fn kubeconfig(caller: Party, client: Kind) -> Link {
    Link {
        caller,
        callee: Party::Apiserver,
        port: Some(6443),
        client,
        client_flag: "client-certificate-data",
        client_trust: "--client-ca-file",
        server: Some(Kind::Apiserver),
        server_flag: "--tls-cert-file",
        server_trust: "certificate-authority-data",
    }
}

/// All of them.
pub static LINKS: [Link; 10] = [
    kubeconfig(Party::Admin, Kind::Admin),
    kubeconfig(Party::ControllerManager, Kind::ControllerManager),
    kubeconfig(Party::Scheduler, Kind::Scheduler),
    kubeconfig(Party::Kubelet, Kind::KubeletClient),
    kubeconfig(Party::KubeProxy, Kind::KubeProxy),
    Link {
        caller: Party::Apiserver,
        callee: Party::Etcd,
        port: Some(2379),
        client: Kind::ApiserverEtcdClient,
        client_flag: "--etcd-certfile",
        client_trust: "--trusted-ca-file",
        server: Some(Kind::EtcdServer),
        server_flag: "--cert-file",
        server_trust: "--etcd-cafile",
    },
    Link {
        caller: Party::Etcdctl,
        callee: Party::Etcd,
        port: Some(2379),
        client: Kind::EtcdHealthcheckClient,
        client_flag: "--cert",
        client_trust: "--trusted-ca-file",
        server: Some(Kind::EtcdServer),
        server_flag: "--cert-file",
        server_trust: "--cacert",
    },
    Link {
        caller: Party::Etcd,
        callee: Party::Etcd,
        port: Some(2380),
        client: Kind::EtcdPeer,
        client_flag: "--peer-cert-file",
        client_trust: "--peer-trusted-ca-file",
        server: Some(Kind::EtcdPeer),
        server_flag: "--peer-cert-file",
        server_trust: "--peer-trusted-ca-file",
    },
    Link {
        caller: Party::Apiserver,
        callee: Party::Kubelet,
        port: Some(10250),
        client: Kind::ApiserverKubeletClient,
        client_flag: "--kubelet-client-certificate",
        client_trust: "--client-ca-file",
        server: Some(Kind::KubeletServer),
        server_flag: "--tls-cert-file",
        server_trust: "--kubelet-certificate-authority",
    },
    Link {
        caller: Party::Apiserver,
        callee: Party::Aggregated,
        port: None,
        client: Kind::FrontProxyClient,
        client_flag: "--proxy-client-cert-file",
        client_trust: "--requestheader-client-ca-file",
        server: None,
        server_flag: "",
        server_trust: "the caBundle of its APIService",
    },
];

/// Those who present a certificate of this kind, each with the one it is presented to.
pub fn of_kind(kind: Kind) -> impl Iterator<Item = (Party, Party)> {
    LINKS.iter().flat_map(move |link| {
        let called = (link.client == kind).then_some((link.caller, link.callee));
        let answered = (link.server == Some(kind)).then_some((link.callee, link.caller));
        called.into_iter().chain(answered)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_presented_to_somebody() {
        for kind in Kind::ALL {
            assert!(of_kind(kind).next().is_some(), "{}", kind.name());
        }
    }
}
