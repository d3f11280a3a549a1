//! kube-proxy, which leads traffic to Services to their Pods.

use super::shared::{ETC_K8S, NODE_PROGRAM};
use super::{
    Access, Account, BIN, Component, Configuration, Directory, Feature, File, Flag, Probe, Reach,
    Scheme, Service, Skew, Stage, Track, flag,
};
use crate::credential::Client;
use crate::role::Role;
use crate::template::builtin;

const OWN: Access = Access::User("kube-proxy");
const CONFIG: &str = "/etc/k8s/kube-proxy/kube-proxy.yaml";

/// kube-proxy: one on each worker.
pub(super) const KUBE_PROXY: Component = Component {
    name: "kube-proxy",
    roles: &[Role::Worker],
    feature: Some(Feature::Proxy),
    track: Track::Kubernetes(Skew::NODE),
    programs: &["kube-proxy"],
    directory: BIN,
    release: Some(NODE_PROGRAM),
    directories: &[
        ETC_K8S,
        Directory {
            path: "/etc/k8s/kube-proxy",
            access: OWN,
        },
    ],
    files: &[
        File::Kubeconfig {
            path: "/etc/k8s/kube-proxy/kube-proxy.kubeconfig",
            client: Client::KubeProxy,
            access: OWN,
        },
        File::Configuration {
            path: CONFIG,
            text: builtin!("etc/k8s/kube-proxy/kube-proxy.yaml.hbs"),
            of: Configuration::KubeProxy,
            access: OWN,
        },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Own {
            home: "/nonexistent",
        },
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/kube-proxy.service.hbs"),
        flags: FLAGS,
        first_start: &[],
        environment: &[],
        data: &[],
        reach: Reach::Members,
        probe: Some(Probe {
            scheme: Scheme::Http,
            port: 10256,
            path: "/healthz",
            client: None,
            authority: None,
        }),
        registers: false,
        follows: &[],
        cleanup: &["/usr/local/bin/kube-proxy --cleanup"],
    }),
};

const FLAGS: &[Flag] = &[flag("config", CONFIG)];
