//! The network of Pods without a daemon: a bridge on each worker, and on every node the way to the
//! Pods of all others.

use super::shared::ETC_K8S;
use super::{
    Access, Account, BIN, Component, Directory, Feature, File, Reach, Service, Skew, Stage, Track,
};
use crate::role::Role;
use crate::template::builtin;

/// The ways to other nodes' Pods. On the nodes of the control plane too: kube-apiserver calls
/// webhooks and aggregated APIs, and those are Pods.
pub(super) const KINSTALL_NETWORK: Component = Component {
    name: "kinstall-network",
    roles: &[Role::Worker, Role::ControlPlane],
    feature: Some(Feature::PodNetwork),
    track: Track::Kubernetes(Skew::NODE),
    programs: &[],
    directory: BIN,
    release: None,
    directories: &[
        ETC_K8S,
        Directory {
            path: "/etc/k8s/kinstall-network",
            access: Access::Anyone,
        },
    ],
    files: &[
        File::Template {
            path: "/etc/k8s/kinstall-network/network.sh",
            text: builtin!("etc/k8s/kinstall-network/network.sh"),
            access: Access::Anyone,
        },
        File::Template {
            path: "/etc/k8s/kinstall-network/network.conf",
            text: builtin!("etc/k8s/kinstall-network/network.conf.hbs"),
            access: Access::Anyone,
        },
        File::Ways {
            path: "/etc/k8s/kinstall-network/ways.conf",
        },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Root,
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/kinstall-network.service.hbs"),
        flags: &[],
        first_start: &[],
        environment: &[],
        data: &[],
        reach: Reach::Cluster,
        probe: None,
        registers: false,
        follows: &[],
        cleanup: &["sh /etc/k8s/kinstall-network/network.sh down"],
    }),
};

/// The bridge that a worker's Pods are on. containerd reads it whenever it changes.
pub(super) const POD_BRIDGE: Component = Component {
    name: "pod-bridge",
    roles: &[Role::Worker],
    feature: Some(Feature::PodNetwork),
    track: Track::Kubernetes(Skew::NODE),
    programs: &[],
    directory: BIN,
    release: None,
    directories: &[
        Directory {
            path: "/etc/cni",
            access: Access::Anyone,
        },
        Directory {
            path: "/etc/cni/net.d",
            access: Access::Anyone,
        },
    ],
    files: &[File::Template {
        path: "/etc/cni/net.d/10-kinstall.conflist",
        text: builtin!("etc/cni/net.d/10-kinstall.conflist.hbs"),
        access: Access::Root,
    }],
    words: &[],
    service: None,
};
