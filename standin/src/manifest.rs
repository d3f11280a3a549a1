//! YAML files with a kind: the audit policy and the scheduler's configuration. JSON is YAML too.

use kinstall::version::Version;
use serde_json::Value;

use crate::arguments::is_from;

/// The releases (first and last minor of 1.x) that serve each version of the scheduler's
/// configuration.
const SCHEDULER: [(&str, u64, u64); 4] = [
    ("kubescheduler.config.k8s.io/v1beta1", 19, 22),
    ("kubescheduler.config.k8s.io/v1beta2", 22, 27),
    ("kubescheduler.config.k8s.io/v1beta3", 23, 28),
    ("kubescheduler.config.k8s.io/v1", 25, u64::MAX),
];

/// The fields that every served version knows, and the two that went with v1beta3.
const SCHEDULER_FIELDS: [&str; 13] = [
    "apiVersion",
    "kind",
    "parallelism",
    "leaderElection",
    "clientConnection",
    "enableProfiling",
    "enableContentionProfiling",
    "percentageOfNodesToScore",
    "podInitialBackoffSeconds",
    "podMaxBackoffSeconds",
    "profiles",
    "extenders",
    "delayCacheUntilActive",
];
const SCHEDULER_OLD_FIELDS: [&str; 2] = ["healthzBindAddress", "metricsBindAddress"];

/// Reads a YAML text.
pub(crate) fn parse(text: &[u8]) -> Result<Value, String> {
    let value: Value = serde_yaml_ng::from_slice(text)
        .map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err("couldn't get version/kind".into())
    }
}

/// The apiVersion and the kind.
pub(crate) fn kind(value: &Value) -> (&str, &str) {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    (text("apiVersion"), text("kind"))
}

/// Refuses fields other than these, as a strict decoder does.
pub(crate) fn only(value: &Value, fields: &[&str], at: &str) -> Result<(), String> {
    let given = value
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    match given
        .into_iter()
        .find(|field| !fields.contains(&field.as_str()))
    {
        None => Ok(()),
        Some(field) => Err(format!(
            "strict decoding error: unknown field \"{at}{field}\""
        )),
    }
}

/// Judges an audit policy.
pub(crate) fn check_audit_policy(text: &[u8], version: Version) -> Result<(), String> {
    let value = parse(text)?;
    let (api, kind) = kind(&value);
    let old =
        !is_from(version, 24) && matches!(api, "audit.k8s.io/v1alpha1" | "audit.k8s.io/v1beta1");
    if kind != "Policy" || !(old || api == "audit.k8s.io/v1") {
        return Err(format!(
            "no kind {kind:?} is registered for version {api:?} in scheme"
        ));
    }
    let rules = value["rules"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if rules.is_empty() {
        return Err("loaded illegal policy with 0 rules".into());
    }
    for (index, rule) in rules.iter().enumerate() {
        let level = rule["level"].as_str().unwrap_or_default();
        if !matches!(level, "None" | "Metadata" | "Request" | "RequestResponse") {
            return Err(format!(
                "rules[{index}].level: Unsupported value: {level:?}"
            ));
        }
    }
    Ok(())
}

/// Judges the scheduler's configuration; the answer is the kubeconfig it names.
pub(crate) fn check_scheduler(text: &[u8], version: Version) -> Result<Option<String>, String> {
    let value = parse(text)?;
    let (api, kind) = kind(&value);
    let served = SCHEDULER
        .iter()
        .any(|(name, first, last)| *name == api && (*first..=*last).contains(&version.minor));
    if kind != "KubeSchedulerConfiguration" || !served {
        return Err(format!(
            "no kind {kind:?} is registered for version {api:?} in scheme \
             \"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme/scheme.go:30\""
        ));
    }
    let mut fields = SCHEDULER_FIELDS.to_vec();
    if matches!(
        api,
        "kubescheduler.config.k8s.io/v1beta1" | "kubescheduler.config.k8s.io/v1beta2"
    ) {
        fields.extend(SCHEDULER_OLD_FIELDS);
    }
    only(&value, &fields, "")?;
    Ok(value["clientConnection"]["kubeconfig"]
        .as_str()
        .map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_serves_its_own_scheduler_configurations() {
        for (api, first, last) in [
            ("v1beta1", 20, 22),
            ("v1beta2", 22, 27),
            ("v1beta3", 23, 28),
        ] {
            for minor in 20..=36 {
                let text = format!(
                    "apiVersion: kubescheduler.config.k8s.io/{api}\n\
                     kind: KubeSchedulerConfiguration\n"
                );
                let version = Version {
                    major: 1,
                    minor,
                    patch: 0,
                };
                let served = check_scheduler(text.as_bytes(), version).is_ok();
                assert_eq!(
                    served,
                    (first..=last).contains(&minor),
                    "{api} in 1.{minor}"
                );
            }
        }
    }
}
