//! The fields of both files in each release, as `types.go` of `kubernetes/kubelet` and
//! `kubernetes/kube-proxy` has them on each release branch, and the few values that are words.
//! Fields of fields are there where those repositories define them.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Configuration, Problem};
use crate::flags::{Names, nanoseconds};
use crate::version::{Minor, Version};

/// The fields of a file by their paths.
pub(super) type Fields = Names<Kind>;

/// What the value of a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// Of 32 bits.
    Int,
    /// Of 64 bits.
    Long,
    Number,
    Text,
    /// As Go writes one: `1h30m`.
    Duration,
    /// Of anything.
    List,
    ListOfText,
    ListOfInt,
    /// Fields that have rows of their own.
    Table,
    /// Of anything, under any names.
    Map,
    MapOfText,
    MapOfBool,
}

impl Kind {
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "bool" => Self::Bool,
            "int" => Self::Int,
            "number" => Self::Number,
            "text" => Self::Text,
            "duration" => Self::Duration,
            "long" => Self::Long,
            "list" => Self::List,
            "list of int" => Self::ListOfInt,
            "list of text" => Self::ListOfText,
            "table" => Self::Table,
            "map" => Self::Map,
            "map of bool" => Self::MapOfBool,
            "map of text" => Self::MapOfText,
            _ => return None,
        })
    }

    /// Whether Go decodes a value of this kind from it.
    pub(super) fn accepts(self, value: &Value) -> bool {
        let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|it| it.iter().all(is));
        let each = |is: fn(&Value) -> bool| value.as_object().is_some_and(|it| it.values().all(is));
        match self {
            Self::Bool => value.is_boolean(),
            Self::Int => is_int(value),
            Self::Long => value.is_i64(),
            Self::Number => value.is_number(),
            Self::Text => value.is_string(),
            Self::Duration => value.as_str().is_some_and(|it| nanoseconds(it).is_some()),
            Self::List => value.is_array(),
            Self::ListOfText => all(Value::is_string),
            Self::ListOfInt => all(is_int),
            Self::Table | Self::Map => value.is_object(),
            Self::MapOfText => each(Value::is_string),
            Self::MapOfBool => each(Value::is_boolean),
        }
    }

    /// What a value should be, in words.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Bool => "`true` or `false`",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::Duration => "a duration such as \"1h30m\"",
            Self::List => "a list",
            Self::ListOfText => "a list of strings",
            Self::ListOfInt => "a list of whole numbers",
            Self::Table | Self::Map => "a table",
            Self::MapOfText => "a table of strings",
            Self::MapOfBool => "a table of `true` and `false`",
        }
    }
}

fn is_int(value: &Value) -> bool {
    value.as_i64().is_some_and(|it| i32::try_from(it).is_ok())
}

/// The fields of a file.
pub(super) fn of(configuration: Configuration) -> &'static Fields {
    match configuration {
        Configuration::Kubelet => &KUBELET,
        Configuration::KubeProxy => &KUBE_PROXY,
    }
}

static KUBELET: LazyLock<Fields> =
    LazyLock::new(|| Names::parse(include_str!("kubelet.tsv"), kind));
static KUBE_PROXY: LazyLock<Fields> =
    LazyLock::new(|| Names::parse(include_str!("kube-proxy.tsv"), kind));

fn kind(cells: &[&'static str]) -> Kind {
    Kind::named(cells[1]).expect("a test reads every row of the table")
}

/// A field whose value is one of some words, and the lines of Kubernetes that this is so in. A
/// program that reads another word does not start.
struct Choice {
    of: Configuration,
    field: &'static str,
    words: &'static [&'static str],
    since: u64,
    before: u64,
}

const fn choice(of: Configuration, field: &'static str, words: &'static [&'static str]) -> Choice {
    Choice {
        of,
        field,
        words,
        since: 0,
        before: u64::MAX,
    }
}

const TLS: &[&str] = &[
    "VersionTLS10",
    "VersionTLS11",
    "VersionTLS12",
    "VersionTLS13",
];

const CHOICES: &[Choice] = &[
    choice(
        Configuration::Kubelet,
        "authorization.mode",
        &["AlwaysAllow", "Webhook"],
    ),
    choice(
        Configuration::Kubelet,
        "configMapAndSecretChangeDetectionStrategy",
        &["Get", "Cache", "Watch"],
    ),
    choice(
        Configuration::Kubelet,
        "cpuManagerPolicy",
        &["none", "static"],
    ),
    choice(
        Configuration::Kubelet,
        "hairpinMode",
        &["promiscuous-bridge", "hairpin-veth", "none"],
    ),
    choice(
        Configuration::Kubelet,
        "memoryManagerPolicy",
        &["None", "Static"],
    ),
    Choice {
        before: 30,
        ..choice(
            Configuration::Kubelet,
            "memorySwap.swapBehavior",
            &["", "LimitedSwap", "UnlimitedSwap"],
        )
    },
    Choice {
        since: 30,
        ..choice(
            Configuration::Kubelet,
            "memorySwap.swapBehavior",
            &["", "LimitedSwap", "NoSwap"],
        )
    },
    choice(Configuration::Kubelet, "tlsMinVersion", TLS),
    choice(
        Configuration::Kubelet,
        "topologyManagerPolicy",
        &["none", "best-effort", "restricted", "single-numa-node"],
    ),
    choice(
        Configuration::Kubelet,
        "topologyManagerScope",
        &["container", "pod"],
    ),
    choice(
        Configuration::KubeProxy,
        "detectLocalMode",
        &[
            "ClusterCIDR",
            "NodeCIDR",
            "BridgeInterface",
            "InterfaceNamePrefix",
        ],
    ),
    // On its loopback kinstall asks whether it is healthy.
    choice(
        Configuration::KubeProxy,
        "healthzBindAddress",
        &["127.0.0.1:10256", "0.0.0.0:10256", "[::]:10256"],
    ),
];

/// A value that is none of the words that it can be.
pub(super) fn refused(
    of: Configuration,
    version: Version,
    field: &str,
    value: &Value,
) -> Option<Problem> {
    let mut choices = CHOICES.iter();
    let choice = choices.find(|choice| {
        (choice.of, choice.field) == (of, field)
            && (choice.since..choice.before).contains(&version.minor)
    })?;
    let text = value.as_str()?;
    (!choice.words.contains(&text)).then(|| Problem::Choice {
        field: field.to_owned(),
        value: text.to_owned(),
        words: choice.words,
    })
}

/// Fields that are read and mean nothing, from which line of Kubernetes on, and why.
const IDLE: &[(Configuration, &str, Minor, &str)] = &[
    (
        Configuration::Kubelet,
        "iptablesDropBit",
        Minor::new(1, 28),
        "",
    ),
    (
        Configuration::Kubelet,
        "iptablesMasqueradeBit",
        Minor::new(1, 28),
        "",
    ),
    (
        Configuration::Kubelet,
        "streamingConnectionIdleTimeout",
        Minor::new(1, 34),
        "",
    ),
    (Configuration::KubeProxy, "portRange", Minor::new(1, 20), ""),
    (
        Configuration::KubeProxy,
        "windowsRunAsService",
        Minor::new(1, 20),
        " on Linux",
    ),
    (
        Configuration::KubeProxy,
        "winkernel",
        Minor::new(1, 20),
        " on Linux",
    ),
];

/// A field that means nothing in a release.
pub(super) fn idle(of: Configuration, version: Version, field: &str) -> Option<Problem> {
    let mut rows = IDLE.iter();
    let row = rows.find(|row| (row.0, row.1) == (of, field) && row.2 <= version.minor())?;
    Some(Problem::Idle {
        program: of.program(),
        version,
        field: field.to_owned(),
        place: row.3,
    })
}
