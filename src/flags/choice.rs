//! Flags whose value is one of a few words, or a number between bounds: what the tables' kinds
//! cannot tell. Only what keeps a program from starting is here.

use crate::version::Version;

/// What a flag can be.
enum Choice {
    /// One of these words.
    One(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Some(&'static [&'static str]),
    /// A whole number between these two, both included.
    Within(i64, i64),
    /// A number from 0 to this.
    UpTo(f64),
    /// Labels that a kubelet may give to its Node.
    Labels,
}

use Choice::{Labels, One, Some as Several, UpTo, Within};

const SERVERS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];
const APISERVER: &[&str] = &["kube-apiserver"];
const ETCD: &[&str] = &["etcd"];

/// The programs, the flag, and what it can be. Sources: `Validate` of each program's options, and
/// the usage text of etcd.
const CHOICES: &[(&[&str], &str, Choice)] = &[
    (
        SERVERS,
        "tls-min-version",
        One(&[
            "VersionTLS10",
            "VersionTLS11",
            "VersionTLS12",
            "VersionTLS13",
        ]),
    ),
    (SERVERS, "logging-format", One(&["text", "json"])),
    // 0 would turn the controllers' serving off, and nobody could ask for their health.
    (SERVERS, "secure-port", Within(1, 65535)),
    (
        APISERVER,
        "authorization-mode",
        Several(&[
            "AlwaysAllow",
            "AlwaysDeny",
            "ABAC",
            "Webhook",
            "RBAC",
            "Node",
        ]),
    ),
    (APISERVER, "goaway-chance", UpTo(0.02)),
    (
        APISERVER,
        "audit-log-mode",
        One(&["batch", "blocking", "blocking-strict"]),
    ),
    (APISERVER, "audit-log-format", One(&["legacy", "json"])),
    (
        APISERVER,
        "endpoint-reconciler-type",
        One(&["master-count", "lease", "none"]),
    ),
    (APISERVER, "storage-backend", One(&["etcd3"])),
    (&["kubelet"], "node-labels", Labels),
    (ETCD, "tls-min-version", One(&["TLS1.2", "TLS1.3"])),
    (ETCD, "tls-max-version", One(&["", "TLS1.2", "TLS1.3"])),
    (ETCD, "initial-cluster-state", One(&["new", "existing"])),
    (ETCD, "auto-compaction-mode", One(&["periodic", "revision"])),
    (ETCD, "logger", One(&["zap", "capnslog"])),
    (
        ETCD,
        "log-level",
        One(&["debug", "info", "warn", "error", "panic", "fatal"]),
    ),
    (ETCD, "metrics", One(&["basic", "extensive"])),
];

/// What a flag of a release can be, if this value is not it.
pub(super) fn refused(
    program: &str,
    version: Version,
    flag: &str,
    value: &str,
) -> Option<(String, Option<&'static str>)> {
    let (.., choice) = CHOICES
        .iter()
        .find(|(programs, name, _)| *name == flag && programs.contains(&program))?;
    let words = |words: &'static [&'static str]| {
        let known = words.iter().filter(|word| exists(flag, word, version));
        known.copied().collect::<Vec<_>>()
    };
    match choice {
        UpTo(most) => {
            let number = value.parse::<f64>().ok()?;
            let expected = format!("a number from 0 to {most}");
            (!(0.0..=*most).contains(&number)).then_some((expected, None))
        }
        One(all) => one_of(value, &words(all)),
        Several(all) => {
            let all = words(all);
            value.split(',').find_map(|word| one_of(word.trim(), &all))
        }
        Labels => {
            let mut labels = value.split(',').filter_map(|it| it.split('=').next());
            labels.find(|label| !may_give_itself(label.trim()))?;
            Some((LABELS.to_owned(), None))
        }
        Within(least, most) => {
            let number = value.parse::<i64>().ok()?;
            let expected = format!("a number from {least} to {most}");
            (!(*least..=*most).contains(&number)).then_some((expected, None))
        }
    }
}

/// What is said of labels that are refused.
const LABELS: &str = "labels that a kubelet may give to its Node (those of `kubernetes.io` and `k8s.io` go into \
                      `labels` of the `[[node]]`)";
/// The labels of Kubernetes' own domains that a kubelet may give to its Node (`IsKubeletLabel` of
/// `k8s.io/kubelet/pkg/apis`); with any other it does not start.
const KUBELET_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
];

/// Whether a kubelet may give a label to its Node.
fn may_give_itself(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let is_of = |parent: &str| {
        let below = domain.strip_suffix(parent);
        below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    };
    let is_kubernetes = ["kubernetes.io", "k8s.io"].into_iter().any(is_of);
    let is_kubelets = ["kubelet.kubernetes.io", "node.kubernetes.io"]
        .into_iter()
        .any(is_of);
    !is_kubernetes || is_kubelets || KUBELET_LABELS.contains(&label)
}

/// Whether a word is known in a release: etcd's older logger went with 3.5.
fn exists(flag: &str, word: &str, version: Version) -> bool {
    flag != "logger" || word != "capnslog" || version.minor < 5
}

fn one_of(value: &str, words: &[&'static str]) -> Option<(String, Option<&'static str>)> {
    if words.contains(&value) {
        return None;
    }
    let shown: Vec<_> = words
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| format!("`{word}`"))
        .collect();
    let near = words.iter().map(|word| {
        let [value, word_lower] = [value, word].map(str::to_lowercase);
        (strsim::jaro_winkler(&value, &word_lower), *word)
    });
    let nearest = near
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(score, _)| *score > 0.8)
        .map(|(_, word)| word);
    Some((shown.join(", "), nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(program: &str, flag: &str, value: &str, expected: Option<(&str, Option<&str>)>) {
        let version = if program == "etcd" {
            Version::new(3, 5, 21)
        } else {
            Version::new(1, 32, 3)
        };
        let refused = refused(program, version, flag, value);
        let refused = refused
            .as_ref()
            .map(|(expected, near)| (expected.as_str(), *near));
        assert_eq!(refused, expected, "{program} {flag} {value}");
    }

    #[test]
    fn a_word_is_one_of_those_that_the_program_knows() {
        let server = "kube-apiserver";
        check(server, "authorization-mode", "Node,RBAC", None);
        let modes = "`AlwaysAllow`, `AlwaysDeny`, `ABAC`, `Webhook`, `RBAC`, `Node`";
        let found = Some((modes, Some("RBAC")));
        check(server, "authorization-mode", "Node,rbac", found);
        check("etcd", "logger", "capnslog", Some(("`zap`", None)));
        check("etcd", "log-level", "warn", None);
        check("etcd", "name", "anything", None);
    }

    #[test]
    fn a_kubelet_may_give_itself_few_labels_of_kubernetes_own() {
        for labels in [
            "",
            "disk=ssd,example.org/rack=1",
            "topology.kubernetes.io/zone=a,kubernetes.io/os=linux",
            "node.kubernetes.io/any=,x.kubelet.kubernetes.io/any=",
            "notkubernetes.io/any=",
        ] {
            check("kubelet", "node-labels", labels, None);
        }
        for labels in [
            "node-role.kubernetes.io/worker=",
            "disk=ssd, k8s.io/any=x",
            "kubernetes.io/any=x",
        ] {
            check("kubelet", "node-labels", labels, Some((LABELS, None)));
        }
    }

    #[test]
    fn a_number_lies_within_its_bounds() {
        let ports = Some(("a number from 1 to 65535", None));
        for port in ["0", "65536", "-1"] {
            check("kube-scheduler", "secure-port", port, ports);
        }
        check("kube-scheduler", "secure-port", "10259", None);
        let chance = Some(("a number from 0 to 0.02", None));
        check("kube-apiserver", "goaway-chance", "0.5", chance);
        check("kube-apiserver", "goaway-chance", "0.001", None);
    }
}
