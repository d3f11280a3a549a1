//! kube-apiserver.
//!
//! The flags are those of upstream's reference for each minor version, the values those that the
//! CIS benchmark for Kubernetes asks for, and what several servers behind one name need.

use super::shared::{
    APISERVER_CLIENT_CA, APISERVER_CLIENT_CA_PATH, ETC_K8S, ETC_K8S_SHARED, FRONT_PROXY_CA,
    KUBERNETES_CA, SERVER, SERVICE_ACCOUNT, SMALL_GOGC, small_heap,
};
use super::{
    Access, Account, BIN, Component, Data, Directory, File, Flag, Probe, Reach, Scheme, Service,
    Skew, Stage, Track, Valid, When, flag,
};
use crate::credential::{AuthorityName, Kind};
use crate::role::Role;
use crate::template::builtin;

const OWN: Access = Access::User("kube-apiserver");

/// kube-apiserver: one on each node of the control plane.
pub(super) const KUBE_APISERVER: Component = Component {
    name: "kube-apiserver",
    roles: &[Role::ControlPlane],
    feature: None,
    track: Track::Kubernetes(Skew::SERVER),
    programs: &["kube-apiserver"],
    directory: BIN,
    release: Some(SERVER),
    directories: &[
        ETC_K8S,
        ETC_K8S_SHARED,
        Directory {
            path: "/etc/k8s/kube-apiserver",
            access: OWN,
        },
        Directory {
            path: "/etc/k8s/kube-apiserver/certs",
            access: OWN,
        },
        Directory {
            path: "/etc/k8s/kube-apiserver/certs/etcd",
            access: OWN,
        },
        Directory {
            path: "/etc/k8s/kube-apiserver/certs/front-proxy",
            access: OWN,
        },
        Directory {
            path: "/etc/k8s/kube-apiserver/certs/kubelet",
            access: OWN,
        },
        Directory {
            path: "/etc/k8s/kube-apiserver/certs/tls",
            access: OWN,
        },
    ],
    files: &[
        KUBERNETES_CA,
        APISERVER_CLIENT_CA,
        File::Authority {
            path: "/etc/k8s/shared/{{authority.kubelet_server}}.pem",
            name: AuthorityName::KubeletServer,
        },
        FRONT_PROXY_CA,
        SERVICE_ACCOUNT,
        File::Authority {
            path: "/etc/k8s/kube-apiserver/certs/etcd/rootCA.pem",
            name: AuthorityName::Etcd,
        },
        File::Pair {
            stem: "/etc/k8s/kube-apiserver/certs/etcd/kube-apiserver",
            kind: Kind::ApiserverEtcdClient,
            access: OWN,
        },
        File::Pair {
            stem: "/etc/k8s/kube-apiserver/certs/front-proxy/front-proxy-client",
            kind: Kind::FrontProxyClient,
            access: OWN,
        },
        File::Pair {
            stem: "/etc/k8s/kube-apiserver/certs/kubelet/kube-apiserver-kubelet-client",
            kind: Kind::ApiserverKubeletClient,
            access: OWN,
        },
        File::Pair {
            stem: "/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls",
            kind: Kind::Apiserver,
            access: OWN,
        },
        File::EncryptionConfig {
            path: "/etc/k8s/kube-apiserver/encryption-config.yaml",
            access: OWN,
        },
        File::Template {
            path: "/etc/k8s/kube-apiserver/audit-policy.yaml",
            text: builtin!("etc/k8s/kube-apiserver/audit-policy.yaml"),
            access: OWN,
        },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Own {
            home: "/nonexistent",
        },
        stage: Stage::Apiserver,
        template: builtin!("etc/systemd/system/kube-apiserver.service.hbs"),
        flags: FLAGS,
        first_start: &[],
        environment: &[
            // kube-apiserver has most of the heap: its caches of everything that is watched.
            small_heap("768MiB"),
            SMALL_GOGC,
        ],
        data: &[Data {
            directory: "/var/log/kubernetes/kube-apiserver",
            flags: &["audit-log-path"],
            contents: None,
        }],
        reach: Reach::Cluster,
        // Anonymous requests are refused, so health is asked for with a certificate.
        probe: Some(Probe {
            scheme: Scheme::Https,
            port: 6443,
            path: "/readyz",
            client: Some(Kind::Admin),
            authority: Some(AuthorityName::Kubernetes),
        }),
        registers: false,
        follows: &[],
        cleanup: &[],
    }),
};

const FLAGS: &[Flag] = &[
    // Where it listens, and as whom it is known.
    flag("advertise-address", "{{node.address}}"),
    flag("bind-address", "{{node.any_address}}"),
    flag("secure-port", "6443"),
    flag("service-cluster-ip-range", "{{cluster.service_cidr}}"),
    flag("allow-privileged", "true"),
    // Serving, and who may come in.
    flag(
        "tls-cert-file",
        "/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls.pem",
    ),
    flag(
        "tls-private-key-file",
        "/etc/k8s/kube-apiserver/certs/tls/kube-apiserver-tls.key",
    ),
    flag("tls-min-version", "VersionTLS12"),
    flag(
        "tls-cipher-suites",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
         TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,\
         TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,\
         TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    flag("client-ca-file", APISERVER_CLIENT_CA_PATH),
    flag("anonymous-auth", "false"),
    flag("authorization-mode", "Node,RBAC"),
    // Only adds to the plugins that are on by themselves.
    flag("enable-admission-plugins", "NodeRestriction"),
    flag("profiling", "false"),
    // etcd, the member of this node first.
    flag("etcd-servers", "{{etcd.servers}}"),
    flag(
        "etcd-cafile",
        "/etc/k8s/kube-apiserver/certs/etcd/rootCA.pem",
    ),
    flag(
        "etcd-certfile",
        "/etc/k8s/kube-apiserver/certs/etcd/kube-apiserver.pem",
    ),
    flag(
        "etcd-keyfile",
        "/etc/k8s/kube-apiserver/certs/etcd/kube-apiserver.key",
    ),
    flag("etcd-prefix", "{{etcd.prefix}}").when(When::EtcdPrefix),
    flag(
        "encryption-provider-config",
        "/etc/k8s/kube-apiserver/encryption-config.yaml",
    ),
    flag("encryption-provider-config-automatic-reload", "true").valid(Valid::since(1, 26)),
    // Kubelets.
    flag(
        "kubelet-certificate-authority",
        "/etc/k8s/shared/{{authority.kubelet_server}}.pem",
    ),
    flag(
        "kubelet-client-certificate",
        "/etc/k8s/kube-apiserver/certs/kubelet/kube-apiserver-kubelet-client.pem",
    ),
    flag(
        "kubelet-client-key",
        "/etc/k8s/kube-apiserver/certs/kubelet/kube-apiserver-kubelet-client.key",
    ),
    flag(
        "kubelet-preferred-address-types",
        "InternalIP,ExternalIP,Hostname",
    ),
    // Service accounts. The issuer must never change: it is in every token.
    flag(
        "service-account-issuer",
        "https://kubernetes.default.svc.{{cluster.domain}}",
    ),
    flag(
        "service-account-key-file",
        "/etc/k8s/shared/service-account.pem",
    ),
    flag(
        "service-account-signing-key-file",
        "/etc/k8s/shared/service-account.key",
    ),
    flag("service-account-extend-token-expiration", "false"),
    // The aggregation layer. With the names unsaid, any certificate of its authority would do.
    flag(
        "proxy-client-cert-file",
        "/etc/k8s/kube-apiserver/certs/front-proxy/front-proxy-client.pem",
    ),
    flag(
        "proxy-client-key-file",
        "/etc/k8s/kube-apiserver/certs/front-proxy/front-proxy-client.key",
    ),
    flag(
        "requestheader-client-ca-file",
        "/etc/k8s/shared/front-proxy-ca.pem",
    ),
    flag("requestheader-allowed-names", "front-proxy-client"),
    flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
    flag("requestheader-group-headers", "X-Remote-Group"),
    flag("requestheader-username-headers", "X-Remote-User"),
    // Without kube-proxy, the addresses of Services lead nowhere on this node.
    flag("enable-aggregator-routing", "true").when(When::NotWorker),
    // Audit: without the policy, the log stays empty.
    flag(
        "audit-policy-file",
        "/etc/k8s/kube-apiserver/audit-policy.yaml",
    ),
    flag(
        "audit-log-path",
        "/var/log/kubernetes/kube-apiserver/audit.log",
    ),
    flag("audit-log-maxage", "30"),
    flag("audit-log-maxbackup", "10"),
    flag("audit-log-maxsize", "100"),
    // Half of the defaults: what a small machine answers in time, it answers; the rest waits or is
    // told to come again, and memory is not the first to give in.
    flag("max-requests-inflight", "200").when(When::Small),
    flag("max-mutating-requests-inflight", "100").when(When::Small),
    // Several servers: clients spread again after a restart, and leave one that is going.
    flag("goaway-chance", "0.001").when(When::SeveralApiservers),
    flag("shutdown-delay-duration", "10s").when(When::SeveralApiservers),
    flag("shutdown-send-retry-after", "true")
        .valid(Valid::since(1, 23))
        .when(When::SeveralApiservers),
];
