//! The 97 checks of the CIS Kubernetes Benchmark 1.12, in our words.

use super::Files::{
    Certificates, Configuration, Data, Keys, Kubeconfig, KubeletAuthority, Network, Pki, Unit,
};
use super::Requirement::{
    Among, AtLeast, Has, Is, IsUnlessUnset, Lacks, LacksOrUnset, Loopback, Set, SomeTime, Unset,
};
use super::Rule::{Elsewhere, Exactly, Field, Flag, Mode, OwnAuthority, Owner, Person, Provider};
use super::{Check, Rule};
use crate::node_config::Configuration::{KubeProxy, Kubelet};

const API: &str = "kube-apiserver";
const MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";
const ETCD: &str = "etcd";
const KUBELET: &str = "kubelet";
const PROXY: &str = "kube-proxy";

const NO_ADMIN: &str =
    "no node holds the administrator's kubeconfig: `kinstall kubeconfig` prints it";

/// The cipher suites that the benchmark calls strong.
const STRONG: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

const fn check(id: &'static str, about: &'static str, rule: Rule) -> Check {
    Check {
        id,
        about,
        rule,
        consider: None,
    }
}

impl Check {
    const fn consider(self, what: &'static str) -> Self {
        Self {
            consider: Some(what),
            ..self
        }
    }
}

/// Every check, in the order of the benchmark.
#[rustfmt::skip]
pub const CHECKS: &[Check] = &[
    check("1.1.1", "only root may read kube-apiserver's unit", Mode(Unit(API), 0o600)),
    check("1.1.2", "kube-apiserver's unit is root's", Owner(Unit(API))),
    check("1.1.3", "only root may read kube-controller-manager's unit", Mode(Unit(MANAGER), 0o600)),
    check("1.1.4", "kube-controller-manager's unit is root's", Owner(Unit(MANAGER))),
    check("1.1.5", "only root may read kube-scheduler's unit", Mode(Unit(SCHEDULER), 0o600)),
    check("1.1.6", "kube-scheduler's unit is root's", Owner(Unit(SCHEDULER))),
    check("1.1.7", "only root may read etcd's unit", Mode(Unit(ETCD), 0o600)),
    check("1.1.8", "etcd's unit is root's", Owner(Unit(ETCD))),
    check("1.1.9", "only root may read the network plugin's configuration", Mode(Network, 0o600)),
    check("1.1.10", "the network plugin's configuration is root's", Owner(Network)),
    check("1.1.11", "only its owner may enter etcd's data directory", Mode(Data, 0o700)),
    check("1.1.12", "etcd's data directory is etcd's", Exactly(Data, ETCD)),
    check("1.1.13", "only root may read the administrator's kubeconfig", Elsewhere(NO_ADMIN)),
    check("1.1.14", "the administrator's kubeconfig is root's", Elsewhere(NO_ADMIN)),
    check("1.1.15", "only its owner may read kube-scheduler's kubeconfig", Mode(Kubeconfig(SCHEDULER), 0o600)),
    check("1.1.16", "kube-scheduler's kubeconfig is root's", Owner(Kubeconfig(SCHEDULER))),
    check("1.1.17", "only its owner may read kube-controller-manager's kubeconfig", Mode(Kubeconfig(MANAGER), 0o600)),
    check("1.1.18", "kube-controller-manager's kubeconfig is root's", Owner(Kubeconfig(MANAGER))),
    check("1.1.19", "the directories of certificates and keys are root's", Owner(Pki)),
    check("1.1.20", "only their owner may write certificates", Mode(Certificates, 0o644)),
    check("1.1.21", "only their owner may read keys", Mode(Keys, 0o600)),
    check("1.2.1", "anonymous requests are refused", Flag(API, Is("anonymous-auth", "false"))),
    check("1.2.2", "there are no tokens in a file", Flag(API, Unset("token-auth-file"))),
    check("1.2.3", "Services take no external IPs", Flag(API, Has("enable-admission-plugins", "DenyServiceExternalIPs")))
        .consider("unless Services of yours use `externalIPs`: add `DenyServiceExternalIPs` to `enable-admission-plugins`"),
    check("1.2.4", "kubelets are asked with a client certificate", Flag(API, Set(&["kubelet-client-certificate", "kubelet-client-key"]))),
    check("1.2.5", "kubelets are verified", Flag(API, Set(&["kubelet-certificate-authority"]))),
    check("1.2.6", "not everything is allowed to everyone", Flag(API, Lacks("authorization-mode", "AlwaysAllow"))),
    check("1.2.7", "kubelets may do what concerns their own node", Flag(API, Has("authorization-mode", "Node"))),
    check("1.2.8", "roles say who may do what", Flag(API, Has("authorization-mode", "RBAC"))),
    check("1.2.9", "a flood of events is held back", Flag(API, Has("enable-admission-plugins", "EventRateLimit")))
        .consider("its limits depend on the cluster: write them into an `admission-control-config-file` and enable `EventRateLimit`"),
    check("1.2.10", "not everything is admitted", Flag(API, LacksOrUnset("enable-admission-plugins", "AlwaysAdmit"))),
    check("1.2.11", "images are pulled again for each Pod", Flag(API, Has("enable-admission-plugins", "AlwaysPullImages")))
        .consider("with it nothing starts while the registry is away: enable `AlwaysPullImages` where nodes are shared by strangers"),
    check("1.2.12", "service accounts are managed", Flag(API, LacksOrUnset("disable-admission-plugins", "ServiceAccount"))),
    check("1.2.13", "nothing is made in a namespace that goes", Flag(API, LacksOrUnset("disable-admission-plugins", "NamespaceLifecycle"))),
    check("1.2.14", "a kubelet changes its own node only", Flag(API, Has("enable-admission-plugins", "NodeRestriction"))),
    check("1.2.15", "kube-apiserver serves no profiles", Flag(API, Is("profiling", "false"))),
    check("1.2.16", "requests are logged", Flag(API, Set(&["audit-log-path"]))),
    check("1.2.17", "the log of requests is kept for 30 days", Flag(API, AtLeast("audit-log-maxage", 30))),
    check("1.2.18", "ten files of the log of requests are kept", Flag(API, AtLeast("audit-log-maxbackup", 10))),
    check("1.2.19", "a file of the log of requests may grow to 100 MB", Flag(API, AtLeast("audit-log-maxsize", 100))),
    check("1.2.20", "requests end in time", Person("a `request-timeout` of 60 s is the default: longer only for slow links")),
    check("1.2.21", "a service account's token ends with it", Flag(API, IsUnlessUnset("service-account-lookup", "true"))),
    check("1.2.22", "service accounts have a key of their own", Flag(API, Set(&["service-account-key-file"]))),
    check("1.2.23", "etcd is asked with a client certificate", Flag(API, Set(&["etcd-certfile", "etcd-keyfile"]))),
    check("1.2.24", "kube-apiserver serves TLS", Flag(API, Set(&["tls-cert-file", "tls-private-key-file"]))),
    check("1.2.25", "client certificates are verified", Flag(API, Set(&["client-ca-file"]))),
    check("1.2.26", "etcd is verified", Flag(API, Set(&["etcd-cafile"]))),
    check("1.2.27", "Secrets are encrypted at rest", Flag(API, Set(&["encryption-provider-config"]))),
    check("1.2.28", "Secrets are encrypted well", Provider),
    check("1.2.29", "kube-apiserver takes strong ciphers only", Flag(API, Among("tls-cipher-suites", STRONG))),
    check("1.2.30", "tokens of service accounts are not extended", Flag(API, Is("service-account-extend-token-expiration", "false"))),
    check("1.3.1", "ended Pods are cleared away", Flag(MANAGER, Set(&["terminated-pod-gc-threshold"]))),
    check("1.3.2", "kube-controller-manager serves no profiles", Flag(MANAGER, Is("profiling", "false"))),
    check("1.3.3", "each controller has an account of its own", Flag(MANAGER, Is("use-service-account-credentials", "true"))),
    check("1.3.4", "tokens are signed with the service accounts' key", Flag(MANAGER, Set(&["service-account-private-key-file"]))),
    check("1.3.5", "Pods are given the authority to verify kube-apiserver by", Flag(MANAGER, Set(&["root-ca-file"]))),
    check("1.3.6", "kubelets' serving certificates are rotated", Flag(MANAGER, LacksOrUnset("feature-gates", "RotateKubeletServerCertificate=false"))),
    check("1.3.7", "kube-controller-manager answers its own machine only", Flag(MANAGER, IsUnlessUnset("bind-address", "127.0.0.1"))),
    check("1.4.1", "kube-scheduler serves no profiles", Flag(SCHEDULER, Is("profiling", "false"))),
    check("1.4.2", "kube-scheduler answers its own machine only", Flag(SCHEDULER, IsUnlessUnset("bind-address", "127.0.0.1"))),
    check("2.1", "etcd serves TLS", Flag(ETCD, Set(&["cert-file", "key-file"]))),
    check("2.2", "etcd asks clients for a certificate", Flag(ETCD, Is("client-cert-auth", "true"))),
    check("2.3", "etcd makes no certificate for itself", Flag(ETCD, IsUnlessUnset("auto-tls", "false"))),
    check("2.4", "etcd's members speak TLS", Flag(ETCD, Set(&["peer-cert-file", "peer-key-file"]))),
    check("2.5", "etcd's members ask each other for a certificate", Flag(ETCD, Is("peer-client-cert-auth", "true"))),
    check("2.6", "etcd makes no certificate for its members", Flag(ETCD, IsUnlessUnset("peer-auto-tls", "false"))),
    check("2.7", "etcd has an authority of its own", OwnAuthority)
        .consider("any client certificate of the one authority gets into etcd: with `[pki] authorities = \"kubeadm\"` or `\"separate\"`, chosen before the first push, etcd has its own"),
    check("3.1.1", "people do not log in with client certificates", Person("the administrator's kubeconfig does: give people another way in, and keep it for emergencies")),
    check("3.1.2", "people do not log in with service accounts' tokens", Person("look at who holds tokens of service accounts")),
    check("3.1.3", "people do not log in with bootstrap tokens", Person("look at the Secrets of type `bootstrap.kubernetes.io/token` in kube-system")),
    check("3.2.1", "there is an audit policy", Flag(API, Set(&["audit-policy-file"]))),
    check("3.2.2", "the audit policy covers what matters", Person("kinstall's logs who did what to everything but events, probes and leases, without bodies: compare with what you need")),
    check("4.1.1", "only root may read the kubelet's unit", Mode(Unit(KUBELET), 0o600)),
    check("4.1.2", "the kubelet's unit is root's", Owner(Unit(KUBELET))),
    check("4.1.3", "only its owner may read kube-proxy's kubeconfig", Mode(Kubeconfig(PROXY), 0o600)),
    check("4.1.4", "kube-proxy's kubeconfig is root's", Owner(Kubeconfig(PROXY))),
    check("4.1.5", "only root may read the kubelet's kubeconfig", Mode(Kubeconfig(KUBELET), 0o600)),
    check("4.1.6", "the kubelet's kubeconfig is root's", Owner(Kubeconfig(KUBELET))),
    check("4.1.7", "only root may write the kubelet's authority", Mode(KubeletAuthority, 0o644)),
    check("4.1.8", "the kubelet's authority is root's", Owner(KubeletAuthority)),
    check("4.1.9", "only root may read the kubelet's configuration", Mode(Configuration(KUBELET), 0o600)),
    check("4.1.10", "the kubelet's configuration is root's", Owner(Configuration(KUBELET))),
    check("4.2.1", "the kubelet refuses anonymous requests", Field(Kubelet, IsUnlessUnset("authentication.anonymous.enabled", "false"))),
    check("4.2.2", "the kubelet does not allow everything", Field(Kubelet, IsUnlessUnset("authorization.mode", "Webhook"))),
    check("4.2.3", "the kubelet verifies client certificates", Field(Kubelet, Set(&["authentication.x509.clientCAFile"]))),
    check("4.2.4", "the kubelet has no read-only port", Field(Kubelet, IsUnlessUnset("readOnlyPort", "0"))),
    check("4.2.5", "the kubelet ends idle streams", Field(Kubelet, SomeTime("streamingConnectionIdleTimeout"))),
    check("4.2.6", "the kubelet makes its iptables chains", Field(Kubelet, IsUnlessUnset("makeIPTablesUtilChains", "true"))),
    check("4.2.7", "the kubelet keeps its machine's name", Flag(KUBELET, Unset("hostname-override"))),
    check("4.2.8", "the kubelet records enough events", Field(Kubelet, AtLeast("eventRecordQPS", 0))),
    check("4.2.9", "the kubelet serves TLS with a certificate of yours", Field(Kubelet, Set(&["tlsCertFile", "tlsPrivateKeyFile"]))),
    check("4.2.10", "the kubelet's client certificate is rotated", Field(Kubelet, IsUnlessUnset("rotateCertificates", "true"))),
    check("4.2.11", "the kubelet's serving certificate is rotated", Field(Kubelet, IsUnlessUnset("featureGates.RotateKubeletServerCertificate", "true"))),
    check("4.2.12", "the kubelet takes strong ciphers only", Field(Kubelet, Among("tlsCipherSuites", STRONG))),
    check("4.2.13", "a Pod's processes are limited", Field(Kubelet, AtLeast("podPidsLimit", 1))),
    check("4.2.14", "Pods have a system call filter by default", Field(Kubelet, Is("seccompDefault", "true"))),
    check("4.3.1", "kube-proxy tells its metrics to its own machine only", Field(KubeProxy, Loopback("metricsBindAddress"))),
];
