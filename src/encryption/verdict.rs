//! Whether kube-apiserver takes a configuration: what it refuses it does not start with. Pure.
//!
//! Sources: `ValidateEncryptionConfiguration` of `k8s.io/apiserver` (`pkg/apis/apiserver/validation`,
//! until 1.29 `pkg/apis/config/validation`) and `pkg/server/options/encryptionconfig/config.go`, each
//! of 1.20 to 1.36.

use std::collections::BTreeSet;

use super::config::{Config, Key, Plugin, Provider, Rule};
use super::{Problem, endpoint};
use crate::flags;
use crate::inventory::{self, Inventory, Node, Role};
use crate::version::Minor;
use crate::yaml;

/// KMS v2 came (KEP 3299). Before, the word `apiVersion` was not known.
const V2_FIRST: u64 = 25;
/// Names of plugins are compared, for the file is read again when it changes.
const NAMES_COMPARED: u64 = 26;
/// Resources are checked, and may be named by wildcards (KEP 3299).
const RESOURCES_CHECKED: u64 = 27;
/// KMS v2 is on unless it is turned off.
const V2_ON: u64 = 27;
/// KMS v2 can no longer be turned off.
const V2_LOCKED: u64 = 29;
/// KMS v1 can be turned off.
const V1_GATED: u64 = 28;
/// KMS v1 is off unless it is turned on.
const V1_OFF: u64 = 29;
/// Words that are not known, and keys given twice, are errors
/// (<https://github.com/kubernetes/kubernetes/pull/124912>).
const STRICT: u64 = 31;

/// What a kube-apiserver takes depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its release.
    minor: Minor,
    /// The feature gates, as far as they are set.
    kms_v1: Option<bool>,
    kms_v2: Option<bool>,
    /// Whether it reads the file again when it changes.
    reloads: bool,
}

impl Target {
    /// The kube-apiservers of a cluster, those that take the same once.
    pub fn all(inventory: &Inventory) -> Vec<Self> {
        let mut targets = Vec::new();
        for node in inventory.with_role(Role::ControlPlane) {
            let target = Self::of(inventory, node);
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }

    fn of(inventory: &Inventory, node: &Node) -> Self {
        const COMPONENT: &str = "kube-apiserver";
        const RELOAD: &str = "encryption-provider-config-automatic-reload";
        let minor = inventory.version(COMPONENT, node).minor();
        let settings = inventory.component(COMPONENT, node);
        let gates = settings.flags.get("feature-gates");
        let gate = |name| flags::gate(gates?, name);
        let says_no = settings.flags.get(RELOAD).is_some_and(|it| it == "false");
        let is_removed = settings.flags_removed.contains(RELOAD);
        Self {
            minor,
            kms_v1: gate("KMSv1"),
            // `AllAlpha` and `AllBeta` stand for it while it is one.
            kms_v2: gate("KMSv2").or(match minor.minor {
                V2_FIRST..V2_ON => gate("AllAlpha"),
                V2_ON..V2_LOCKED => gate("AllBeta"),
                _ => None,
            }),
            reloads: minor.minor >= NAMES_COMPARED && !says_no && !is_removed,
        }
    }

    /// A kube-apiserver of a release, with what kinstall starts it with.
    #[cfg(test)]
    pub(super) fn plain(minor: u64) -> Self {
        Self {
            minor: Minor::new(1, minor),
            kms_v1: None,
            kms_v2: None,
            reloads: minor >= NAMES_COMPARED,
        }
    }
}

impl Config {
    /// Whether a kube-apiserver takes it.
    pub(super) fn accepted(&self, target: &Target) -> Result<(), Problem> {
        let minor = target.minor.minor;
        if minor >= STRICT {
            if let Some(place) = &self.unknown {
                let place = place.clone();
                return Err(Problem::Unknown { place });
            }
            if let Some(repeated) = &self.repeated {
                return Err(Problem::Repeated(repeated.clone()));
            }
        }
        if self.resources.is_empty() {
            return Err(Problem::Lacks("resources".to_owned()));
        }
        let mut plugins = BTreeSet::new();
        for (at, rule) in self.resources.iter().enumerate() {
            let place = format!("resources[{at}]");
            rule.accepted(&place, target, &mut plugins)?;
        }
        if minor >= RESOURCES_CHECKED {
            self.unmasked()?;
        }
        Ok(())
    }

    /// No rule may be out of reach behind a wildcard of an earlier one.
    fn unmasked(&self) -> Result<(), Problem> {
        let mut before = BTreeSet::new();
        for (at, rule) in self.resources.iter().enumerate() {
            for (number, resource) in rule.resources.iter().enumerate() {
                let (_, group) = parts(resource);
                let wide = [("*", group), ("*", "*")];
                let wide = wide.iter().find(|it| before.contains(*it));
                if let Some((_, group)) = wide {
                    let place = format!("resources[{at}].resources[{number}]");
                    let why = format!(
                        "`{resource}` is out of reach behind `*.{group}` of an earlier rule"
                    );
                    let help = "of several rules the first that fits counts: put this one before \
                                the wildcard";
                    return Err(refused(place, why, help));
                }
                before.insert(parts(resource));
            }
        }
        Ok(())
    }
}

impl Rule {
    fn accepted<'a>(
        &'a self,
        place: &str,
        target: &Target,
        plugins: &mut BTreeSet<&'a str>,
    ) -> Result<(), Problem> {
        let resources = format!("{place}.resources");
        if self.resources.is_empty() {
            return Err(Problem::Lacks(resources));
        }
        check_resources(&self.resources, &resources, target.minor)?;
        if self.providers.is_empty() {
            return Err(Problem::Lacks(format!("{place}.providers")));
        }
        for (at, provider) in self.providers.iter().enumerate() {
            let place = format!("{place}.providers[{at}]");
            provider.accepted(&place, target, plugins)?;
        }
        Ok(())
    }
}

impl Provider {
    fn accepted<'a>(
        &'a self,
        place: &str,
        target: &Target,
        plugins: &mut BTreeSet<&'a str>,
    ) -> Result<(), Problem> {
        let several = [
            self.aesgcm.is_some(),
            self.aescbc.is_some(),
            self.secretbox.is_some(),
            self.identity.is_some(),
            self.kms.is_some(),
        ];
        match several.iter().filter(|it| **it).count() {
            0 => {
                let why = "has no provider that kube-apiserver knows";
                let help = "write one of `aescbc`, `aesgcm`, `secretbox`, `kms` and `identity: {}`, \
                            with its braces";
                return Err(refused(place, why, help));
            }
            1 => {}
            _ => {
                let why = "has more than one provider";
                let help = "begin each with a `-` of its own: they are tried in order";
                return Err(refused(place, why, help));
            }
        }
        if let Some((kind, keys)) = self.keys() {
            check_keys(kind, keys, &format!("{place}.{}.keys", kind.name()))?;
        }
        if let Some(plugin) = &self.kms {
            plugin.accepted(&format!("{place}.kms"), target, plugins)?;
        }
        Ok(())
    }
}

fn check_keys(kind: inventory::Provider, keys: &[Key], place: &str) -> Result<(), Problem> {
    let (expected, lengths): (_, &[usize]) = match kind {
        inventory::Provider::Secretbox => ("32", &[32]),
        _ => ("16, 24 or 32", &[16, 24, 32]),
    };
    if keys.is_empty() {
        return Err(Problem::Lacks(place.to_owned()));
    }
    for (at, key) in keys.iter().enumerate() {
        if key.name.is_empty() {
            let place = format!("{place}[{at}]");
            let help = "every value that it encrypts begins with its name: give it the one that it \
                        had; where nothing is encrypted with it, any";
            return Err(refused(place, "has no name", help));
        }
        let bytes = yaml::decode(&key.secret);
        if !bytes.is_some_and(|bytes| lengths.contains(&bytes.len())) {
            return Err(Problem::BadKey {
                place: format!("{place}[{at}]"),
                provider: kind.name(),
                name: key.name.clone(),
                expected,
            });
        }
    }
    Ok(())
}

impl Plugin {
    fn accepted<'a>(
        &'a self,
        place: &str,
        target: &Target,
        plugins: &mut BTreeSet<&'a str>,
    ) -> Result<(), Problem> {
        let wrong = |field: &str, why: String, help: &'static str| {
            Err(refused(format!("{place}.{field}"), why, help))
        };
        let is_v1 = self.api(target, place)?;
        let name = self.name.as_str();
        if name.is_empty() {
            let why = "is empty".to_owned();
            return wrong("name", why, "every value that it encrypts begins with it");
        }
        if !is_v1 && name.contains(':') {
            let why = format!("`{name}` has a colon, and no plugin of v2 may");
            return wrong("name", why, "write another name in the plugin's place");
        }
        let is_compared = target.reloads || !is_v1 && target.minor.minor >= NAMES_COMPARED;
        if !plugins.insert(name) && is_compared {
            let why = format!("`{name}` is the name of another plugin too");
            return wrong("name", why, "give each plugin a name of its own");
        }
        if let Some(timeout) = &self.timeout
            && !is_positive(timeout)
        {
            let why = format!("`{timeout}` is not a duration above zero");
            return wrong("timeout", why, "write it as in `3s`, which is the default");
        }
        if let Err(why) = endpoint::check(&self.endpoint) {
            let why = format!("`{}` {why}", self.endpoint);
            let help = "kube-apiserver takes a UNIX socket alone: `unix:///run/kms.sock`";
            return wrong("endpoint", why, help);
        }
        match self.cachesize {
            Some(0) if is_v1 || target.minor.minor < RESOURCES_CHECKED => {
                let help = "write how many keys are kept in memory, or a negative number for none";
                wrong("cachesize", "is 0".to_owned(), help)
            }
            Some(_) if !is_v1 && target.minor.minor >= RESOURCES_CHECKED => {
                let why = "is of v1 only".to_owned();
                wrong("cachesize", why, "leave it out")
            }
            _ => Ok(()),
        }
    }

    /// Whether it is of v1, where this release takes it.
    fn api(&self, target: &Target, place: &str) -> Result<bool, Problem> {
        let minor = target.minor;
        let (why, help) = match (self.api_version.as_str(), minor.minor) {
            ("" | "v1", V1_GATED..) if !target.kms_v1.unwrap_or(minor.minor < V1_OFF) => (
                format!("v1 is off in Kubernetes {minor}"),
                "use a plugin of v2, or set the flag `feature-gates` of kube-apiserver to \
                 `KMSv1=true`",
            ),
            ("v2", ..V2_FIRST) => (
                format!("Kubernetes {minor} has no v2: it came with 1.{V2_FIRST}"),
                "use a plugin of v1",
            ),
            ("v2", ..V2_LOCKED) if !target.kms_v2.unwrap_or(minor.minor >= V2_ON) => (
                format!("v2 is off in Kubernetes {minor}"),
                "set the flag `feature-gates` of kube-apiserver to `KMSv2=true`",
            ),
            ("v2", _) => return Ok(false),
            // Before it came, the word was not known, and passed over.
            ("" | "v1", _) | (_, ..V2_FIRST) => return Ok(true),
            (other, _) => (
                format!("`{other}` is neither `v1` nor `v2`"),
                "write the version of the plugin's API",
            ),
        };
        Err(refused(format!("{place}.apiVersion"), why, help))
    }
}

fn is_positive(duration: &str) -> bool {
    flags::nanoseconds(duration).is_some_and(|it| it > 0)
}

/// What names a resource, and its group: `*`, `secrets` of none, `*` of `apps`.
fn parts(resource: &str) -> (&str, &str) {
    resource.split_once('.').unwrap_or((resource, ""))
}

fn check_resources(resources: &[String], place: &str, minor: Minor) -> Result<(), Problem> {
    for (at, resource) in resources.iter().enumerate() {
        let place = format!("{place}[{at}]");
        if minor.minor < RESOURCES_CHECKED {
            if resource.contains('*') {
                let why = format!(
                    "`{resource}` stands for nothing before Kubernetes 1.{RESOURCES_CHECKED}"
                );
                let help = "name each resource: this one would leave them in plain text";
                return Err(refused(place, why, help));
            }
            continue;
        }
        check_resource(resource, place)?;
    }
    if minor.minor >= RESOURCES_CHECKED {
        check_overlap(resources, place)?;
    }
    Ok(())
}

fn check_resource(resource: &str, place: String) -> Result<(), Problem> {
    let (why, help) = match (resource, parts(resource)) {
        _ if resource.to_lowercase() != resource => {
            ("has capital letters", "write it in small ones")
        }
        ("*", _) => (
            "stands for nothing",
            "write `*.` for all of the core group, or `*.*` for all of every group",
        ),
        ("apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations", _) => {
            ("has no API, and cannot be encrypted", "leave it out")
        }
        (_, (_, "events.k8s.io")) => ("is stored as `events`", "write `events`, without a group"),
        (_, (_, "extensions")) => (
            "is of a group that Kubernetes no longer has",
            "write the group that the resource is in today",
        ),
        (_, (name, "*")) if name != "*" => (
            "is one resource of every group, which kube-apiserver does not take",
            "write its group",
        ),
        _ => return Ok(()),
    };
    Err(refused(place, format!("`{resource}` {why}"), help))
}

/// Within one list nothing may be named twice.
fn check_overlap(resources: &[String], place: &str) -> Result<(), Problem> {
    for (at, resource) in resources.iter().enumerate() {
        let (name, group) = parts(resource);
        let holds = |other: &&String| {
            let (other, of) = parts(other);
            let is_same = (other, of) == (name, group);
            let is_all = (other, of) == ("*", "*") || (name, group) == ("*", "*");
            is_same || is_all || of == group && (other == "*" || name == "*")
        };
        if let Some(other) = resources[..at].iter().find(holds) {
            let place = format!("{place}[{at}]");
            let why = format!("`{resource}` is named already, by `{other}`");
            let help = "leave one of them out, or put the wildcard in a rule of its own behind \
                        this one";
            return Err(refused(place, why, help));
        }
    }
    Ok(())
}

fn refused(place: impl Into<String>, why: impl Into<String>, help: &'static str) -> Problem {
    Problem::Refused {
        place: place.into(),
        why: why.into(),
        help,
    }
}
