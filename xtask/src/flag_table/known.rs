//! What the facts' files do not say themselves: what they cover, and a few corrections.

/// The Kubernetes programs with a table, and the first and last minor of 1.x that it covers.
pub(super) const PROGRAMS: [&str; 5] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];
pub(super) const FIRST: u32 = 20;
pub(super) const SURE_TO: u32 = 36;
/// Nothing complete is known of 1.37: it repeats 1.36 and the few changes announced.
pub(super) const LAST: u32 = 37;

/// The genuine builds whose `--help` was recorded.
pub(super) const HELPS: [(&str, &str); 16] = [
    ("kube-apiserver", "1.20.2"),
    ("kube-apiserver", "1.31.14"),
    ("kube-apiserver", "1.36.3"),
    ("kube-controller-manager", "1.20.2"),
    ("kube-controller-manager", "1.31.14"),
    ("kube-controller-manager", "1.36.3"),
    ("kube-scheduler", "1.20.2"),
    ("kube-scheduler", "1.31.14"),
    ("kube-scheduler", "1.36.3"),
    ("kubelet", "1.20.2"),
    ("kubelet", "1.36.3"),
    ("kube-proxy", "1.20.2"),
    ("kube-proxy", "1.36.3"),
    ("etcd", "3.4.23"),
    ("etcd", "3.5.1"),
    ("etcd", "3.6.13"),
];

/// Two of the recorded builds were `OpenShift`'s, which carry flags of their own.
pub(super) const CARRIED: [&str; 3] = [
    "openshift-config",
    "send-retry-after-while-not-ready-once",
    "unsupported-kube-api-over-localhost",
];

/// Flags that came with a patch release (a fix for CVE-2022-3172), as `(flag, minor, patch)`.
pub(super) const PATCHED: [(&str, u32, u32); 4] = [
    ("aggregator-reject-forwarding-redirect", 22, 14),
    ("aggregator-reject-forwarding-redirect", 23, 11),
    ("aggregator-reject-forwarding-redirect", 24, 5),
    ("aggregator-reject-forwarding-redirect", 25, 1),
];

/// What to write instead of a flag that is going or gone.
pub(super) const INSTEAD: [(&str, &str); 12] = [
    ("admission-control", "enable-admission-plugins"),
    (
        "experimental-encryption-provider-config",
        "encryption-provider-config",
    ),
    (
        "experimental-cluster-signing-duration",
        "cluster-signing-duration",
    ),
    ("service-account-api-audiences", "api-audiences"),
    ("insecure-port", "secure-port"),
    ("port", "secure-port"),
    ("address", "bind-address"),
    ("insecure-bind-address", "bind-address"),
    ("policy-config-file", "config"),
    ("lock-object-name", "leader-elect-resource-name"),
    ("lock-object-namespace", "leader-elect-resource-namespace"),
    (
        "experimental-initial-corrupt-check",
        "feature-gates=InitialCorruptCheck=true",
    ),
];
