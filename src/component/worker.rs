//! What a worker's kubelet and kube-proxy are given: authorities, certificates and kubeconfigs.
//!
//! Neither is installed or run by kinstall, and nothing is restarted when these files change: a
//! kubelet and a kube-proxy that run read them when they start. Both run as root.

use super::shared::{ETC_K8S, ETC_K8S_SHARED, KUBERNETES_CA};
use super::{Access, BIN, Component, Directory, File, Skew, Track};
use crate::credential::{AuthorityName, Client, Kind};
use crate::role::Role;

/// What runs on nodes may be three minor versions older than kube-apiserver.
const NODE: Track = Track::Kubernetes(Skew {
    older: 3,
    newer: 0,
    is_tool: false,
});

/// kubelet's share.
pub(super) const KUBELET: Component = Component {
    name: "kubelet",
    role: Role::Worker,
    track: NODE,
    programs: &[],
    directory: BIN,
    release: None,
    directories: &[
        ETC_K8S,
        ETC_K8S_SHARED,
        Directory {
            path: "/etc/k8s/kubelet",
            access: Access::Root,
        },
    ],
    files: &[
        KUBERNETES_CA,
        // Who may call the kubelet.
        File::Authority {
            path: "/etc/k8s/shared/{{authority.kubelet_client}}.pem",
            name: AuthorityName::KubeletClient,
        },
        File::Pair {
            stem: "/etc/k8s/kubelet/kubelet",
            kind: Kind::KubeletServer,
            access: Access::Root,
        },
        File::Kubeconfig {
            path: "/etc/k8s/kubelet/kubelet.kubeconfig",
            client: Client::Kubelet,
            access: Access::Root,
        },
    ],
    words: &[],
    service: None,
};

/// kube-proxy's share.
pub(super) const KUBE_PROXY: Component = Component {
    name: "kube-proxy",
    role: Role::Worker,
    track: NODE,
    programs: &[],
    directory: BIN,
    release: None,
    directories: &[
        ETC_K8S,
        Directory {
            path: "/etc/k8s/kube-proxy",
            access: Access::Root,
        },
    ],
    files: &[File::Kubeconfig {
        path: "/etc/k8s/kube-proxy/kube-proxy.kubeconfig",
        client: Client::KubeProxy,
        access: Access::Root,
    }],
    words: &[],
    service: None,
};
