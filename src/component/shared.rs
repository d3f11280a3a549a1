//! What several components of a node have in common: `/etc/k8s` and `/etc/k8s/shared`.

use super::{Access, Checksums, Directory, File, Gap, Publisher, Release, Valid, Variable, When};
use crate::arch::Arch;
use crate::credential::AuthorityName;
use crate::version::Version;

/// `dl.k8s.io`, which has a bare digest beside each file.
pub(super) const KUBERNETES: Publisher = Publisher {
    name: "kubernetes",
    url: "https://dl.k8s.io",
    checksums: Checksums::Beside(".sha256"),
};

const PROGRAM: &str = "release/v{version}/bin/linux/{arch}/{program}";

/// The servers of the control plane: single files. v1.26.15 was the last for 32-bit ARM
/// (Kubernetes 1.27's changelog lists no server for `linux/arm`).
pub(super) const SERVER: Release = Release {
    publisher: &KUBERNETES,
    path: PROGRAM,
    member: None,
    gaps: &[Gap {
        arch: Arch::Armhf,
        last: Some(Version::new(1, 26, 15)),
        help: "the last release with servers for 32-bit ARM is 1.26.15; take that, or install a \
                  64-bit system on the node (arm64), or name your own build as `path` under \
                  `[component.NAME]`",
    }],
};

/// What runs on every node: built for 32-bit ARM as long as the servers were.
pub(super) const NODE_PROGRAM: Release = SERVER;

/// What is built for every architecture.
pub(super) const TOOL: Release = Release {
    gaps: &[],
    ..SERVER
};

/// The group that may read the private service-account key: kube-apiserver signs with it,
/// kube-controller-manager too.
pub(super) const SERVICE_ACCOUNT_GROUP: &str = "kube-service-account";

/// On a small node Go's collector runs when half as much garbage as living data has gathered,
/// rather than as much: less memory for a little more work (runtime/debug.SetGCPercent).
pub(super) const SMALL_GOGC: Variable = Variable {
    name: "GOGC",
    value: "50",
    valid: Valid::ALWAYS,
    when: When::Small,
};

/// What the heap of a program should stay below on a small node. To Go it is a wish, not a wall
/// (runtime/debug.SetMemoryLimit), and programs built before Go 1.19 do not know it.
pub(super) const fn small_heap(value: &'static str) -> Variable {
    Variable {
        name: "GOMEMLIMIT",
        value,
        valid: Valid::ALWAYS,
        when: When::Small,
    }
}

/// Where the configuration of Kubernetes lies.
pub(super) const ETC_K8S: Directory = Directory {
    path: "/etc/k8s",
    access: Access::Anyone,
};

/// Where files lie that several services read.
pub(super) const ETC_K8S_SHARED: Directory = Directory {
    path: "/etc/k8s/shared",
    access: Access::Anyone,
};

/// The cluster's authority.
pub(super) const KUBERNETES_CA: File = File::Authority {
    path: "/etc/k8s/shared/kubernetes-ca.pem",
    name: AuthorityName::Kubernetes,
};

/// Where the authority of kube-apiserver's clients lies: the cluster's own, unless each set of
/// certificates has its own.
pub(super) const APISERVER_CLIENT_CA_PATH: &str =
    "/etc/k8s/shared/{{authority.apiserver_client}}.pem";

/// The authority of kube-apiserver's clients.
pub(super) const APISERVER_CLIENT_CA: File = File::Authority {
    path: APISERVER_CLIENT_CA_PATH,
    name: AuthorityName::ApiserverClient,
};

/// The authority of the aggregation layer.
pub(super) const FRONT_PROXY_CA: File = File::Authority {
    path: "/etc/k8s/shared/front-proxy-ca.pem",
    name: AuthorityName::FrontProxy,
};

/// The service-account pair.
pub(super) const SERVICE_ACCOUNT: File = File::ServiceAccount {
    stem: "/etc/k8s/shared/service-account",
    access: Access::Group(SERVICE_ACCOUNT_GROUP),
};
