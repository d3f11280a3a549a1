//! The names of what a cluster's parts prove themselves by: authorities, certificates, kubeconfigs.
//! The table of components and the inventory both speak of them.

use std::fmt;

/// An authority that signs one set of certificates, by what it is for.
///
/// A cluster of fewer authorities has one of them stand in for others:
/// [`crate::certificate::table::signer`] says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityName {
    /// What kube-apiserver shows its clients, and everything that no other one signs.
    Kubernetes,
    /// The clients of kube-apiserver.
    ApiserverClient,
    /// What kubelets show kube-apiserver.
    KubeletServer,
    /// The client of kubelets: kube-apiserver.
    KubeletClient,
    /// What etcd shows its clients.
    Etcd,
    /// etcd's members among themselves.
    EtcdPeer,
    /// The clients of etcd.
    EtcdClient,
    /// The aggregation layer's client certificate.
    FrontProxy,
}

impl AuthorityName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kubernetes,
        Self::ApiserverClient,
        Self::KubeletServer,
        Self::KubeletClient,
        Self::Etcd,
        Self::EtcdPeer,
        Self::EtcdClient,
        Self::FrontProxy,
    ];

    /// The word in file names: `kubernetes`, `etcd`, `front-proxy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::ApiserverClient => "apiserver-client",
            Self::KubeletServer => "kubelet-server",
            Self::KubeletClient => "kubelet-client",
            Self::Etcd => "etcd",
            Self::EtcdPeer => "etcd-peer",
            Self::EtcdClient => "etcd-client",
            Self::FrontProxy => "front-proxy",
        }
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One kind of certificate: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// etcd member to etcd member.
    EtcdPeer,
    /// What etcd shows its clients.
    EtcdServer,
    /// The client that asks etcd how it is.
    EtcdHealthcheckClient,
    /// kube-apiserver to etcd.
    ApiserverEtcdClient,
    /// What kube-apiserver shows its clients.
    Apiserver,
    /// kube-apiserver to kubelet.
    ApiserverKubeletClient,
    /// kube-apiserver to an aggregated API.
    FrontProxyClient,
    /// kube-controller-manager to kube-apiserver.
    ControllerManager,
    /// kube-scheduler to kube-apiserver.
    Scheduler,
    /// The administrator to kube-apiserver.
    Admin,
    /// kubelet to kube-apiserver.
    KubeletClient,
    /// What kubelet shows kube-apiserver.
    KubeletServer,
    /// kube-proxy to kube-apiserver.
    KubeProxy,
}

impl Kind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::EtcdPeer,
        Self::EtcdServer,
        Self::EtcdHealthcheckClient,
        Self::ApiserverEtcdClient,
        Self::Apiserver,
        Self::ApiserverKubeletClient,
        Self::FrontProxyClient,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Admin,
        Self::KubeletClient,
        Self::KubeletServer,
        Self::KubeProxy,
    ];

    /// The word in file names and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EtcdPeer => "etcd-peer",
            Self::EtcdServer => "etcd-server",
            Self::EtcdHealthcheckClient => "etcd-healthcheck-client",
            Self::ApiserverEtcdClient => "apiserver-etcd-client",
            Self::Apiserver => "apiserver",
            Self::ApiserverKubeletClient => "apiserver-kubelet-client",
            Self::FrontProxyClient => "front-proxy-client",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
            Self::Admin => "admin",
            Self::KubeletClient => "kubelet-client",
            Self::KubeletServer => "kubelet-server",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// A client of kube-apiserver that is given a kubeconfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// The administrator, from anywhere: goes to the cluster's endpoint.
    Admin,
    /// kube-controller-manager: goes to the kube-apiserver of its own node.
    ControllerManager,
    /// kube-scheduler: goes to the kube-apiserver of its own node.
    Scheduler,
    /// The kubelet of a node.
    Kubelet,
    /// The kube-proxy of a node.
    KubeProxy,
}

impl Client {
    /// The certificate it shows.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Admin => Kind::Admin,
            Self::ControllerManager => Kind::ControllerManager,
            Self::Scheduler => Kind::Scheduler,
            Self::Kubelet => Kind::KubeletClient,
            Self::KubeProxy => Kind::KubeProxy,
        }
    }
}
