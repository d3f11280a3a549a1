//! The images that a worker must not have to ask a registry for: the one that each Pod begins with, and those that the
//! inventory names.
//!
//! They lie on the node as an image layout of the Open Container Initiative, each part under its digest, and containerd
//! is given all of them before the kubelet starts. Its configuration could only name a registry to ask.

use super::shared::ETC_K8S;
use super::{Access, Account, BIN, Component, Directory, File, Reach, Service, Skew, Stage, Track};
use crate::role::Role;
use crate::template::builtin;

/// Where they lie.
const PLACE: &str = "/var/lib/kinstall-images";

/// A unit that imports the images of a worker.
pub(super) const KINSTALL_IMAGES: Component = Component {
    name: "kinstall-images",
    roles: &[Role::Worker],
    feature: None,
    track: Track::Kubernetes(Skew::NODE),
    programs: &[],
    directory: BIN,
    release: None,
    directories: &[
        ETC_K8S,
        Directory {
            path: "/etc/k8s/kinstall-images",
            access: Access::Anyone,
        },
        Directory {
            path: PLACE,
            access: Access::Root,
        },
        Directory {
            path: "/var/lib/kinstall-images/blobs",
            access: Access::Root,
        },
        Directory {
            path: "/var/lib/kinstall-images/blobs/sha256",
            access: Access::Root,
        },
    ],
    files: &[
        File::Template {
            path: "/etc/k8s/kinstall-images/import.sh",
            text: builtin!("etc/k8s/kinstall-images/import.sh"),
            access: Access::Anyone,
        },
        File::Images { directory: PLACE },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Root,
        stage: Stage::Workers,
        template: builtin!("etc/systemd/system/kinstall-images.service.hbs"),
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
