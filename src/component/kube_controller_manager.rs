//! kube-controller-manager, which talks to the kube-apiserver of its own node.

use super::shared::{
    APISERVER_CLIENT_CA, APISERVER_CLIENT_CA_PATH, ETC_K8S, ETC_K8S_SHARED, FRONT_PROXY_CA,
    KUBERNETES_CA, SERVER, SERVICE_ACCOUNT, SMALL_GOGC, small_heap,
};
use super::{
    Access, Account, BIN, Component, Directory, File, Flag, Probe, Reach, Scheme, Service, Skew,
    Stage, Track, Valid, When, flag,
};
use crate::credential::Client;
use crate::role::Role;
use crate::template::builtin;

const OWN: Access = Access::User("kube-controller-manager");
const KUBECONFIG: &str = "/etc/k8s/kube-controller-manager/kube-controller-manager.kubeconfig";
/// The authority that signs requests, with its key: the certificate alone, for more than one are
/// refused (`k8s.io/kubernetes/pkg/controller/certificates/signer`), and what is trusted may be more.
const SIGNER: &str = "/etc/k8s/kube-controller-manager/{{authority.apiserver_client}}";
const SIGNER_CERTIFICATE: &str =
    "/etc/k8s/kube-controller-manager/{{authority.apiserver_client}}.pem";
const SIGNER_KEY: &str = "/etc/k8s/kube-controller-manager/{{authority.apiserver_client}}.key";

/// kube-controller-manager: one on each node of the control plane, one of them leading.
pub(super) const KUBE_CONTROLLER_MANAGER: Component = Component {
    name: "kube-controller-manager",
    roles: &[Role::ControlPlane],
    feature: None,
    track: Track::Kubernetes(Skew::SERVER),
    programs: &["kube-controller-manager"],
    directory: BIN,
    release: Some(SERVER),
    directories: &[
        ETC_K8S,
        ETC_K8S_SHARED,
        Directory {
            path: "/etc/k8s/kube-controller-manager",
            access: OWN,
        },
    ],
    files: &[
        KUBERNETES_CA,
        APISERVER_CLIENT_CA,
        FRONT_PROXY_CA,
        SERVICE_ACCOUNT,
        File::Kubeconfig {
            path: KUBECONFIG,
            client: Client::ControllerManager,
            access: OWN,
        },
        File::Signer {
            stem: SIGNER,
            access: OWN,
        },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Own {
            home: "/nonexistent",
        },
        stage: Stage::Controllers,
        template: builtin!("etc/systemd/system/kube-controller-manager.service.hbs"),
        flags: FLAGS,
        first_start: &[],
        environment: &[small_heap("256MiB"), SMALL_GOGC],
        data: &[],
        reach: Reach::Machine,
        probe: Some(Probe {
            scheme: Scheme::Https,
            port: 10257,
            path: "/healthz",
            client: None,
            authority: None,
        }),
        registers: false,
        follows: &[],
        cleanup: &[],
    }),
};

const FLAGS: &[Flag] = &[
    flag("kubeconfig", KUBECONFIG),
    flag("authentication-kubeconfig", KUBECONFIG),
    flag("authorization-kubeconfig", KUBECONFIG),
    flag("bind-address", "127.0.0.1"),
    // Until 1.21 plain HTTP was served to everyone by default; 1.24 forgot the flag.
    flag("port", "0").valid(Valid::before(1, 24)),
    flag("tls-min-version", "VersionTLS12"),
    flag("profiling", "false"),
    flag("client-ca-file", APISERVER_CLIENT_CA_PATH),
    flag(
        "requestheader-client-ca-file",
        "/etc/k8s/shared/front-proxy-ca.pem",
    ),
    flag("requestheader-allowed-names", "front-proxy-client"),
    flag("cluster-name", "{{cluster.name}}"),
    flag("allocate-node-cidrs", "true"),
    flag("cluster-cidr", "{{cluster.pod_cidr}}"),
    flag("service-cluster-ip-range", "{{cluster.service_cidr}}"),
    flag("cluster-signing-cert-file", SIGNER_CERTIFICATE).when(When::SigningKey),
    flag("cluster-signing-key-file", SIGNER_KEY).when(When::SigningKey),
    flag("root-ca-file", "/etc/k8s/shared/kubernetes-ca.pem"),
    flag(
        "service-account-private-key-file",
        "/etc/k8s/shared/service-account.key",
    ),
    flag("use-service-account-credentials", "true"),
    flag("leader-elect", "true"),
    // The default of 12500 fills a small etcd with the dead.
    flag("terminated-pod-gc-threshold", "1000"),
];
