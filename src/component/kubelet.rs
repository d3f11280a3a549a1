//! kubelet, which runs the Pods of its node.

use super::shared::{ETC_K8S, ETC_K8S_SHARED, KUBERNETES_CA, NODE_PROGRAM};
use super::{
    Access, Account, BIN, CONTAINERD_SOCKET, Component, Configuration, Data, Directory, File, Flag,
    Probe, Reach, Scheme, Service, Skew, Stage, TemplateWord, Track, Valid, flag,
};
use crate::credential::{AuthorityName, Client, Kind};
use crate::role::Role;
use crate::template::builtin;
use crate::version::{Minor, Version};

const CONFIG: &str = "/etc/k8s/kubelet/kubelet.yaml";
const KUBECONFIG: &str = "/etc/k8s/kubelet/kubelet.kubeconfig";

/// kubelet: one on each worker.
pub(super) const KUBELET: Component = Component {
    name: "kubelet",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Kubernetes(Skew::NODE),
    programs: &["kubelet"],
    directory: BIN,
    release: Some(NODE_PROGRAM),
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
            path: KUBECONFIG,
            client: Client::Kubelet,
            access: Access::Root,
        },
        File::Configuration {
            path: CONFIG,
            text: builtin!("etc/k8s/kubelet/kubelet.yaml.hbs"),
            of: Configuration::Kubelet,
            access: Access::Root,
        },
    ],
    words: WORDS,
    service: Some(Service {
        account: Account::Root,
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/kubelet.service.hbs"),
        flags: FLAGS,
        first_start: &[],
        environment: &[],
        data: &[Data {
            directory: "/var/lib/kubelet",
            flags: &["root-dir"],
            contents: None,
        }],
        reach: Reach::Nodes,
        // Plain HTTP on its loopback, which is what it has for those who look after it.
        probe: Some(Probe {
            scheme: Scheme::Http,
            port: 10248,
            path: "/healthz",
            client: None,
            authority: None,
        }),
        registers: true,
        // A kubelet that runs on tells of a runtime that it has lost, or that has lost the network, only a
        // while later; one that is started again tells how it finds them.
        follows: &["containerd"],
        cleanup: CLEANUP,
    }),
};

/// What it mounted for Pods is still mounted when they are gone, and what it remembers of them is of
/// no use to another cluster.
const CLEANUP: &[&str] = &[
    "systemctl stop kubepods.slice",
    "awk '$2 ~ \"^/var/lib/kubelet/\" { print $2 }' /proc/mounts | sort -r | xargs -r umount -l",
    "find /var/lib/kubelet -xdev -mindepth 1 -delete",
    "rm -f /run/kinstall/resolv.conf",
    // It keeps chains of its own beside kube-proxy's.
    "for it in iptables ip6tables; do $it-save | grep -v KUBE- | $it-restore; done",
];

/// Fields of its configuration that came later than the versions they matter in (`types.go` of
/// `kubelet.config.k8s.io/v1beta1` in each release).
const WORDS: &[TemplateWord] = &[
    TemplateWord {
        name: "runtime_endpoint",
        value: "# Where containerd listens is told by a flag in this version.",
        valid: Valid::before(1, 27),
    },
    TemplateWord {
        name: "runtime_endpoint",
        value: "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock",
        valid: Valid::since(1, 27),
    },
    // In 1.22 to 1.24 the field is there, and the gate before it is off.
    TemplateWord {
        name: "seccomp_default",
        value: "# Pods without a seccomp profile run without one in this version.",
        valid: Valid::before(1, 25),
    },
    TemplateWord {
        name: "seccomp_default",
        value: "seccompDefault: true",
        valid: Valid::since(1, 25),
    },
    // Alpha, and off, in 1.20.
    TemplateWord {
        name: "shutdown_grace",
        value: "# Pods are not told of a shutdown of the machine in this version.",
        valid: Valid::before(1, 21),
    },
    TemplateWord {
        name: "shutdown_grace",
        value: "shutdownGracePeriod: 60s\nshutdownGracePeriodCriticalPods: 10s\n\
                enableProfilingHandler: false\nenableDebugFlagsHandler: false",
        valid: Valid::since(1, 21),
    },
];

const FLAGS: &[Flag] = &[
    flag("config", CONFIG),
    flag("kubeconfig", KUBECONFIG),
    // Without it, 1.23 and older look for Docker; 1.27 does not know it any more.
    flag("container-runtime", "remote").valid(Valid::before(1, 24)),
    flag("container-runtime-endpoint", CONTAINERD_SOCKET).valid(Valid::before(1, 27)),
    // Or the kubelet would take its image for one that nobody needs. Deprecated in 1.23, without use
    // beside containerd from 1.27 on, gone in 1.35.
    flag("pod-infra-container-image", "{{cluster.pause_image}}")
        .valid(Valid::between(Version::new(0, 0, 0), Minor::new(1, 27))),
    // A machine with two interfaces would choose.
    flag("node-ip", "{{node.address}}"),
];
