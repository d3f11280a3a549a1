//! What is set on a worker before anything of Kubernetes runs there: modules of the kernel, kernel
//! settings, and which `resolv.conf` Pods are given.

use super::shared::ETC_K8S;
use super::{Access, Account, BIN, Component, Directory, File, Reach, Service, Skew, Stage, Track};
use crate::role::Role;
use crate::template::builtin;

/// What kubelets, runtimes and kube-proxy expect of a machine, as a unit that sets it at each boot.
pub(super) const KINSTALL_NODE: Component = Component {
    name: "kinstall-node",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Kubernetes(Skew::NODE),
    programs: &[],
    directory: BIN,
    release: None,
    directories: &[
        ETC_K8S,
        Directory {
            path: "/etc/k8s/kinstall-node",
            access: Access::Anyone,
        },
    ],
    files: &[
        File::Template {
            path: "/etc/modules-load.d/kinstall.conf",
            text: builtin!("etc/modules-load.d/kinstall.conf"),
            access: Access::Anyone,
        },
        File::Template {
            path: "/etc/sysctl.d/90-kinstall.conf",
            text: builtin!("etc/sysctl.d/90-kinstall.conf.hbs"),
            access: Access::Anyone,
        },
        File::Template {
            path: "/etc/k8s/kinstall-node/setup.sh",
            text: builtin!("etc/k8s/kinstall-node/setup.sh"),
            access: Access::Anyone,
        },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Root,
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/kinstall-node.service.hbs"),
        flags: &[],
        first_start: &[],
        environment: &[],
        data: &[],
        reach: Reach::Cluster,
        probe: None,
        registers: false,
        follows: &[],
        cleanup: &[],
    }),
};
