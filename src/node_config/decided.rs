//! The fields that kinstall says itself: the inventory has another word for them, or other files of
//! the same node and kinstall's own questions rely on them. All others are the user's to change,
//! `staticPodPath` and `resolvConf` among them.

use serde_json::Value;

use super::{Configuration, Problem};

/// A field and all below it, why it is not the user's, and what to do instead.
type Row = (&'static str, &'static str, &'static str);

const OUT: &str = "leave it out";

const BOTH: &[Row] = &[
    ("apiVersion", "there is one that each release reads", OUT),
    ("kind", "the file is of one kind", OUT),
];

const KUBELET: &[Row] = &[
    (
        "authentication.x509.clientCAFile",
        "it is the authority of the certificate that kube-apiserver shows",
        OUT,
    ),
    (
        "cgroupDriver",
        "containerd's configuration has to say the same, and no Pod starts where they differ",
        OUT,
    ),
    (
        "clusterDNS",
        "the cluster has one address for DNS",
        "say `dns` under `[cluster]`",
    ),
    (
        "clusterDomain",
        "certificates and DNS are made for it",
        "say `domain` under `[cluster]`",
    ),
    (
        "containerRuntimeEndpoint",
        "it is the socket of the containerd that kinstall installs",
        OUT,
    ),
    (
        "healthzBindAddress",
        "kinstall asks there whether the kubelet is healthy",
        OUT,
    ),
    (
        "healthzPort",
        "kinstall asks there whether the kubelet is healthy",
        OUT,
    ),
    (
        "imageServiceEndpoint",
        "it is the socket of the containerd that kinstall installs",
        OUT,
    ),
    (
        "podCIDR",
        "the Node says it, and a kubelet of a cluster does not read it here",
        OUT,
    ),
    (
        "registerNode",
        "kinstall makes the Node, and waits for the kubelet to take it over",
        OUT,
    ),
    (
        "registerWithTaints",
        "kinstall makes the Node, its taints included",
        "say `taints` of the node",
    ),
    (
        "rotateCertificates",
        "kinstall renews the kubelet's certificates",
        OUT,
    ),
    (
        "serverTLSBootstrap",
        "kinstall issues the kubelet's serving certificate, and nothing would approve another",
        OUT,
    ),
    (
        "tlsCertFile",
        "kinstall issues the kubelet's serving certificate",
        OUT,
    ),
    (
        "tlsPrivateKeyFile",
        "kinstall issues the kubelet's serving certificate",
        OUT,
    ),
];

const KUBE_PROXY: &[Row] = &[
    (
        "clientConnection.kubeconfig",
        "kinstall writes kube-proxy's kubeconfig",
        OUT,
    ),
    (
        "clusterCIDR",
        "it is the network of Pods",
        "say `pod-cidr` under `[cluster]`",
    ),
    (
        "conntrack",
        "kube-proxy may not change the kernel's settings, and would end over it",
        "write them into a file of your own in `/etc/sysctl.d`",
    ),
    (
        "hostnameOverride",
        "it is the name of the node",
        "say `name` of the node",
    ),
    (
        "mode",
        "all nodes forward in one way",
        "say `proxy` under `[cluster]`",
    ),
];

/// The fields of a user that are not for the user to say.
pub(super) fn problems(of: Configuration, value: &Value) -> Vec<Problem> {
    let rows = match of {
        Configuration::Kubelet => KUBELET,
        Configuration::KubeProxy => KUBE_PROXY,
    };
    let said = |field: &str| {
        let mut names = field.split('.');
        names
            .try_fold(value, |value, name| value.get(name))
            .is_some()
    };
    let rows = BOTH.iter().chain(rows).filter(|row| said(row.0));
    rows.map(|(field, why, instead)| Problem::Decided {
        field: (*field).to_owned(),
        why,
        instead,
    })
    .collect()
}

#[cfg(test)]
pub(super) fn rows(of: Configuration) -> impl Iterator<Item = &'static str> {
    let rows = match of {
        Configuration::Kubelet => KUBELET,
        Configuration::KubeProxy => KUBE_PROXY,
    };
    rows.iter().map(|row| row.0)
}
