//! What changes in a release beyond the flags it has: files it no longer reads, defaults that mean
//! something else, APIs that are gone. Each with what to do.
//!
//! Sources: the changelogs of Kubernetes and etcd, etcd's upgrade guides, the Kubernetes pages on
//! deprecations, and the options of each program in its source.

use crate::flags::Severity;
use crate::inventory::{ComponentSettings, Setting};
use crate::version::{Minor, Version};

/// Something that changes with a line of releases.
#[derive(Debug)]
pub struct Event {
    /// A stable name for it.
    pub name: &'static str,
    /// The component whose release brings it.
    pub component: &'static str,
    /// The line that brings it.
    pub since: Minor,
    /// Whether the component then fails to start, or something is to be looked at.
    pub severity: Severity,
    /// Whom it concerns.
    pub when: Trigger,
    /// What changes, as a fragment of a sentence.
    pub what: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

/// Whom an event concerns.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    /// Everyone.
    Everyone,
    /// Whoever gives one of these flags.
    Given(&'static [&'static str]),
    /// Whoever gives a flag, unless its value is one of these.
    Unless(&'static str, &'static [&'static str]),
    /// Whoever gives a flag one of these values.
    Is(&'static str, &'static [&'static str]),
    /// Whoever gives a flag a value that begins so.
    Begins(&'static str, &'static [&'static str]),
    /// Whoever gives a flag a value of which this is a part.
    Holding(&'static str, &'static str),
    /// Whoever leaves one of these flags out that kinstall would write.
    LeftOut(&'static [&'static str]),
    /// Whoever has an etcd older than the one of its own line here.
    EtcdBelow(&'static [Version]),
}

impl Event {
    /// Whether it concerns a component, and the word that the user said to bring it about.
    pub fn concerns(&self, settings: &ComponentSettings, etcd: Version) -> Option<Option<Setting>> {
        let flag = |name: &str| Some(Setting::Flag(name.to_owned()));
        match self.when {
            Trigger::Everyone => Some(None),
            Trigger::Given(names) => {
                let given = names
                    .iter()
                    .find(|name| settings.flags.contains_key(**name));
                given.map(|name| flag(name))
            }
            Trigger::Unless(name, values) => {
                let value = settings.flags.get(name)?;
                (!values.contains(&value.as_str())).then(|| flag(name))
            }
            Trigger::Is(name, values) => {
                let value = settings.flags.get(name)?;
                values.contains(&value.as_str()).then(|| flag(name))
            }
            Trigger::Begins(name, beginnings) => {
                let value = settings.flags.get(name)?;
                let begins = beginnings.iter().any(|begin| value.starts_with(begin));
                begins.then(|| flag(name))
            }
            Trigger::Holding(name, part) => {
                let value = settings.flags.get(name)?;
                value.contains(part).then(|| flag(name))
            }
            Trigger::LeftOut(names) => {
                let out = names
                    .iter()
                    .find(|name| settings.flags_removed.contains(**name));
                out.map(|name| Some(Setting::Removed((*name).to_owned())))
            }
            Trigger::EtcdBelow(floors) => {
                let floor = floors.iter().find(|floor| floor.minor() == etcd.minor())?;
                (etcd < *floor).then_some(None)
            }
        }
    }
}

const SERVER: &str = "kube-apiserver";
const MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// A change after which a component does not start.
const fn fatal(
    name: &'static str,
    component: &'static str,
    since: (u64, u64),
    when: Trigger,
    what: &'static str,
    help: &'static str,
) -> Event {
    Event {
        name,
        component,
        since: Minor::new(since.0, since.1),
        severity: Severity::Error,
        when,
        what,
        help,
    }
}

/// A change that is to be looked at.
const fn change(
    name: &'static str,
    component: &'static str,
    since: (u64, u64),
    when: Trigger,
    what: &'static str,
    help: &'static str,
) -> Event {
    Event {
        severity: Severity::Warning,
        ..fatal(name, component, since, when, what, help)
    }
}

/// Every event, in the order of releases.
pub const EVENTS: &[Event] = &[
    change(
        "apis-1.22",
        SERVER,
        (1, 22),
        Trigger::Everyone,
        "beta APIs are gone: Ingress of `extensions` and `networking.k8s.io/v1beta1`, and \
         `v1beta1` of webhook configurations, CRDs, RBAC, APIService, Lease, \
         CertificateSigningRequest, PriorityClass and storage classes",
        "move manifests, charts and clients to `v1` before; Ingress has new fields",
    ),
    change(
        "audit-v1beta1",
        SERVER,
        (1, 24),
        Trigger::Given(&["audit-policy-file"]),
        "an audit policy of `audit.k8s.io/v1beta1` or `v1alpha1` is no longer read",
        "write `apiVersion: audit.k8s.io/v1` into your policy; every version reads it",
    ),
    fatal(
        "audit-log-version",
        SERVER,
        (1, 24),
        Trigger::Unless("audit-log-version", &["audit.k8s.io/v1"]),
        "audit logs are written as `audit.k8s.io/v1` only",
        "leave `audit-log-version` out unless it is `audit.k8s.io/v1`",
    ),
    change(
        "token-secrets",
        MANAGER,
        (1, 24),
        Trigger::Everyone,
        "service accounts no longer get a Secret with a token by themselves",
        "use `kubectl create token`, or write a Secret of type \
         `kubernetes.io/service-account-token` where a lasting token is needed",
    ),
    change(
        "service-family",
        SERVER,
        (1, 24),
        Trigger::Given(&["advertise-address", "service-cluster-ip-range"]),
        "the advertised address and the first network of Services must be of one family",
        "compare the two: kube-apiserver does not start otherwise",
    ),
    change(
        "apis-1.25",
        SERVER,
        (1, 25),
        Trigger::Everyone,
        "PodSecurityPolicy is gone, and `v1beta1` of CronJob, EndpointSlice, Event, \
         PodDisruptionBudget and RuntimeClass",
        "move to Pod Security admission and to `v1` of the others before",
    ),
    change(
        "apis-1.26",
        SERVER,
        (1, 26),
        Trigger::Everyone,
        "`flowcontrol.apiserver.k8s.io/v1beta1` and `autoscaling/v2beta2` are gone",
        "move to `v1beta3` and `autoscaling/v2`",
    ),
    change(
        "apis-1.27",
        SERVER,
        (1, 27),
        Trigger::Everyone,
        "CSIStorageCapacity of `storage.k8s.io/v1beta1` is gone",
        "bring CSI drivers up to date before",
    ),
    change(
        "apis-1.29",
        SERVER,
        (1, 29),
        Trigger::Everyone,
        "`flowcontrol.apiserver.k8s.io/v1beta2` is gone",
        "move to `v1`",
    ),
    change(
        "apis-1.32",
        SERVER,
        (1, 32),
        Trigger::Everyone,
        "`flowcontrol.apiserver.k8s.io/v1beta3` is gone",
        "move to `v1`",
    ),
    fatal(
        "runtime-config-all",
        SERVER,
        (1, 22),
        Trigger::Holding("runtime-config", "extensions/v1beta1"),
        "`extensions/v1beta1` cannot be turned on any more",
        "leave it out of `runtime-config`",
    ),
    fatal(
        "scheduler-v1beta1",
        SCHEDULER,
        (1, 23),
        Trigger::Given(&["config"]),
        "configuration of `kubescheduler.config.k8s.io/v1beta1` is no longer read",
        "write `v1beta3` into your file; without `config`, kinstall writes the right one",
    ),
    fatal(
        "scheduler-v1beta2",
        SCHEDULER,
        (1, 28),
        Trigger::Given(&["config"]),
        "configuration of `kubescheduler.config.k8s.io/v1beta2` is no longer read",
        "write `v1` into your file (1.25 and later read it)",
    ),
    fatal(
        "scheduler-v1beta3",
        SCHEDULER,
        (1, 29),
        Trigger::Given(&["config"]),
        "configuration of `kubescheduler.config.k8s.io/v1beta3` is no longer read",
        "write `v1` into your file (1.25 and later read it)",
    ),
    change(
        "cloud-openstack",
        MANAGER,
        (1, 26),
        Trigger::Is("cloud-provider", &["openstack"]),
        "the OpenStack provider is no longer built in",
        "run its own cloud-controller-manager, and set `cloud-provider = \"external\"`",
    ),
    fatal(
        "cloud-in-tree",
        MANAGER,
        (1, 29),
        Trigger::Unless("cloud-provider", &["", "external"]),
        "cloud providers are no longer built in",
        "run the provider's cloud-controller-manager, and set `cloud-provider = \"external\"`",
    ),
    change(
        "kms-v1",
        SERVER,
        (1, 29),
        Trigger::Given(&["encryption-provider-config"]),
        "KMS plugins of version 1 are off",
        "move your encryption configuration to `apiVersion: v2` of `kms`, or turn the gate \
         `KMSv1` on for the time being",
    ),
    change(
        "authentication-config",
        SERVER,
        (1, 30),
        Trigger::Given(&["authentication-config"]),
        "AuthenticationConfiguration is `apiserver.config.k8s.io/v1beta1` from here on",
        "compare the `apiVersion` of your file with this release; `v1` comes with 1.34",
    ),
    change(
        "authorization-config",
        SERVER,
        (1, 30),
        Trigger::Given(&["authorization-config"]),
        "AuthorizationConfiguration is `apiserver.config.k8s.io/v1beta1` from here on",
        "compare the `apiVersion` of your file with this release; `v1` comes with 1.32",
    ),
    change(
        "encryption-strict",
        SERVER,
        (1, 31),
        Trigger::Given(&["encryption-provider-config"]),
        "the encryption configuration is read strictly: an unknown or repeated field keeps \
         kube-apiserver from starting",
        "look through your file for misspelt fields",
    ),
    change(
        "consistent-list",
        SERVER,
        (1, 31),
        Trigger::EtcdBelow(&[Version::new(3, 4, 31), Version::new(3, 5, 13)]),
        "lists are served from the cache only with etcd 3.4.31 or 3.5.13 and later; with an older \
         one they cost etcd as before",
        "take a newer etcd first: leave `etcd` out to have the one that upstream pairs",
    ),
    change(
        "admission-strict",
        SERVER,
        (1, 32),
        Trigger::Given(&[
            "admission-control-config-file",
            "egress-selector-config-file",
        ]),
        "the configuration of admission and of egress is read strictly",
        "look through your files for unknown or repeated fields",
    ),
    fatal(
        "requestheader-names",
        SERVER,
        (1, 35),
        Trigger::LeftOut(&["requestheader-allowed-names"]),
        "kube-apiserver does not start without `--requestheader-allowed-names` if the front \
         proxy's authority and the clients' have a certificate in common",
        "do not leave it out",
    ),
    change(
        "audit-defaults",
        SERVER,
        (1, 36),
        Trigger::LeftOut(&[
            "audit-log-maxage",
            "audit-log-maxbackup",
            "audit-log-maxsize",
        ]),
        "audit logs are kept 366 days and 100 files by default, no longer for ever",
        "set `audit-log-maxage` and `audit-log-maxbackup` to what you must keep",
    ),
    change(
        "audit-rotation",
        SERVER,
        (1, 36),
        Trigger::Is("audit-log-maxsize", &["0"]),
        "`--audit-log-maxsize=0` turns the rotation of audit logs off; it used to mean 100 MB",
        "set the megabytes you mean",
    ),
    change(
        "advertise-address",
        SERVER,
        (1, 37),
        Trigger::Begins("advertise-address", &["127.", "169.254.", "::1", "fe80"]),
        "a loopback or link-local `--advertise-address` is refused",
        "advertise an address that Pods can reach",
    ),
    change(
        "etcd-auth-3.5",
        "etcd",
        (3, 5),
        Trigger::Everyone,
        "with users and roles of etcd turned on, upstream does not support members of 3.4 and 3.5 \
         beside each other: `etcdctl auth status` asked of one of 3.5 ends those of 3.4",
        "where it is on, `etcdctl auth disable` for the time of the upgrade",
    ),
    change(
        "etcd-v2-3.6",
        "etcd",
        (3, 6),
        Trigger::Everyone,
        "the old v2 store is gone: a member whose store holds anything else than its membership \
         does not start",
        "ask `etcdutl check v2store` (3.5.32 and later) before",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component;
    use std::collections::BTreeSet;

    #[test]
    fn every_event_has_a_name_of_its_own_and_a_component() {
        let mut names = BTreeSet::new();
        for event in EVENTS {
            assert!(names.insert(event.name), "{}", event.name);
            assert!(component::named(event.component).is_some());
            let major = if event.component == "etcd" { 3 } else { 1 };
            assert_eq!(event.since.major, major, "{}", event.name);
            assert!(!event.what.ends_with('.') && !event.help.ends_with('.'));
        }
    }
}
