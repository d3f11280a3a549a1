//! kube-scheduler, which talks to the kube-apiserver of its own node.

use super::shared::{ETC_K8S, SERVER, SMALL_GOGC, small_heap};
use super::{
    Access, Account, BIN, Component, Directory, File, Flag, Probe, Reach, Scheme, Service, Skew,
    Stage, TemplateWord, Track, Valid, flag,
};
use crate::credential::Client;
use crate::role::Role;
use crate::template::builtin;
use crate::version::{Minor, Version};

const OWN: Access = Access::User("kube-scheduler");
const KUBECONFIG: &str = "/etc/k8s/kube-scheduler/kube-scheduler.kubeconfig";
const CONFIG: &str = "/etc/k8s/kube-scheduler/kube-scheduler.yaml";

/// kube-scheduler: one on each node of the control plane, one of them leading.
pub(super) const KUBE_SCHEDULER: Component = Component {
    name: "kube-scheduler",
    roles: &[Role::ControlPlane],
    feature: None,
    track: Track::Kubernetes(Skew::SERVER),
    programs: &["kube-scheduler"],
    directory: BIN,
    release: Some(SERVER),
    directories: &[
        ETC_K8S,
        Directory {
            path: "/etc/k8s/kube-scheduler",
            access: OWN,
        },
    ],
    files: &[
        File::Kubeconfig {
            path: KUBECONFIG,
            client: Client::Scheduler,
            access: OWN,
        },
        File::Template {
            path: CONFIG,
            text: builtin!("etc/k8s/kube-scheduler/kube-scheduler.yaml.hbs"),
            access: OWN,
        },
    ],
    words: WORDS,
    service: Some(Service {
        account: Account::Own {
            home: "/nonexistent",
        },
        stage: Stage::Controllers,
        template: builtin!("etc/systemd/system/kube-scheduler.service.hbs"),
        flags: FLAGS,
        first_start: &[],
        environment: &[small_heap("192MiB"), SMALL_GOGC],
        data: &[],
        reach: Reach::Machine,
        probe: Some(Probe {
            scheme: Scheme::Https,
            port: 10259,
            path: "/healthz",
            client: None,
            authority: None,
        }),
        registers: false,
        follows: &[],
        cleanup: &[],
    }),
};

/// The `apiVersion` of the configuration in each version: the newest one that it knows. One that
/// it does not know keeps it from starting.
const WORDS: &[TemplateWord] = &[
    TemplateWord {
        name: "config_api",
        value: "kubescheduler.config.k8s.io/v1beta1",
        valid: Valid::before(1, 22),
    },
    TemplateWord {
        name: "config_api",
        value: "kubescheduler.config.k8s.io/v1beta2",
        valid: Valid::between(Version::new(1, 22, 0), Minor::new(1, 23)),
    },
    TemplateWord {
        name: "config_api",
        value: "kubescheduler.config.k8s.io/v1beta3",
        valid: Valid::between(Version::new(1, 23, 0), Minor::new(1, 25)),
    },
    TemplateWord {
        name: "config_api",
        value: "kubescheduler.config.k8s.io/v1",
        valid: Valid::since(1, 25),
    },
    // Until 1.22 plain HTTP is served to everyone unless the configuration says otherwise, the
    // flag `--port=0` does not count beside `--config`.
    TemplateWord {
        name: "plain_http",
        value: "healthzBindAddress: 127.0.0.1:10251\nmetricsBindAddress: 127.0.0.1:10251",
        valid: Valid::before(1, 23),
    },
    TemplateWord {
        name: "plain_http",
        value: "# Nothing is served over plain HTTP in this version.",
        valid: Valid::since(1, 23),
    },
];

const FLAGS: &[Flag] = &[
    flag("config", CONFIG),
    flag("authentication-kubeconfig", KUBECONFIG),
    flag("authorization-kubeconfig", KUBECONFIG),
    flag("bind-address", "127.0.0.1"),
    flag("tls-min-version", "VersionTLS12"),
    // The configuration file is what counts; benchmarks look at the command line.
    flag("profiling", "false"),
];
